# Answers to assignment `adversarial_training` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- robust_loss
# %% wrong="robust_loss" name="mean over all candidates" says="an expected loss"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).mean()

# %% wrong="robust_loss" name="the worst run for all" says="The mean came first"
def robust_loss(model, candidates, y):
    return max(losses.cross_entropy(model(points), y).mean().item() for points in candidates)

# %% wrong="robust_loss" name="the highest loss of all" says="single highest loss"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).max().item()

# %% wrong="robust_loss" name="a sum" says="The expectation is a mean"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).amax(0).sum().item()

# %% wrong="robust_loss" name="the lowest loss" says="Robust training fears the highest"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).amin(0).mean().item()

# %% wrong="robust_loss" name="maximum over the images" says="the maximum goes over the other dimension"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).amax(1).mean().item()

# %% wrong="robust_loss" name="the mean is forgotten" says="one number"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).amax(0)

# %% wrong="robust_loss" name="the last run stays" says="best so far must be kept"
def robust_loss(model, candidates, y):
    for points in candidates:
        worst = losses.cross_entropy(model(points), y)
    return worst.mean().item()

# %% wrong="robust_loss" name="no return" says="forget a return"
def robust_loss(model, candidates, y):
    torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).amax(0).mean()

# %% wrong="robust_loss" name="the first candidate" says="Only the first candidate"
def robust_loss(model, candidates, y):
    return losses.cross_entropy(model(candidates[0]), y).mean().item()

# %% right="robust_loss" name="all candidates as one batch"
def robust_loss(model, candidates, y):
    logits = model(candidates.flatten(0, 1))
    loss = nn.functional.cross_entropy(logits, y.repeat(len(candidates)), reduction="none")
    return loss.view(len(candidates), -1).max(dim=0).values.mean()

# %% right="robust_loss" name="image by image"
def robust_loss(model, candidates, y):
    total = 0.0
    for b in range(len(y)):
        total += max(float(-model(points[b : b + 1]).log_softmax(1)[0, y[b]].detach()) for points in candidates)
    return total / len(y)

# %% right="robust_loss" name="a running maximum, a tensor with one element"
def robust_loss(model, candidates, y):
    worst = torch.full((len(y),), -math.inf)
    with torch.no_grad():
        for points in candidates:
            worst = torch.maximum(worst, losses.cross_entropy(model(points), y))
    return worst.mean().reshape(1)

# %% wrong="robust_loss" name="max without .values" says="take .values"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).max(dim=0)

# %% wrong="robust_loss" name="one value for each image" says="the mean over the images is missing"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).max(dim=0).values

# %% wrong="robust_loss" name="the worst run, on digits, too" says="The mean came first" most="0.5"
def robust_loss(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(points), y) for points in candidates]).mean(dim=1).max()

# ---------------------------------------------------------------- worst_point
# %% wrong="worst_point" name="the best point" says="this is the best point"
def worst_point(w, x, y, eps):
    return x + eps * y[:, None] * w.sign()

# %% wrong="worst_point" name="no label" says="The label is left out"
def worst_point(w, x, y, eps):
    return x - eps * w.sign()

# %% wrong="worst_point" name="along w" says="You go along w itself"
def worst_point(w, x, y, eps):
    return x - eps * y[:, None] * w

# %% wrong="worst_point" name="the L2 ball" says="in the L2 ball"
def worst_point(w, x, y, eps):
    return x - eps * y[:, None] * w / w.norm().clamp_min(1e-9)

# %% wrong="worst_point" name="the L1 ball" says="Only the pixel with the largest weight moves"
def worst_point(w, x, y, eps):
    delta = torch.zeros_like(w)
    delta[w.abs().argmax()] = eps * w[w.abs().argmax()].sign()
    return x - y[:, None] * delta

# %% wrong="worst_point" name="only the perturbation" says="Add it to x"
def worst_point(w, x, y, eps):
    return -eps * y[:, None] * w.sign().expand(len(x), -1)

# %% wrong="worst_point" name="clamped to the image range" says="You clamp to [0, 1]"
def worst_point(w, x, y, eps):
    return (x - eps * y[:, None] * w.sign()).clamp(0, 1)

# %% wrong="worst_point" name="divided by the absolute value" says="NaN"
def worst_point(w, x, y, eps):
    return x - eps * y[:, None] * w / w.abs()

# %% wrong="worst_point" name="in place" says="edited in place"
def worst_point(w, x, y, eps):
    x -= eps * y[:, None] * w.sign()
    return x

# %% wrong="worst_point" name="the sign of w is forgotten" says="Every pixel moves the same way"
def worst_point(w, x, y, eps):
    return x - eps * y[:, None] * torch.ones_like(w)

# %% right="worst_point" name="where"
def worst_point(w, x, y, eps):
    grows = y[:, None] * w > 0
    return torch.where(grows, x - eps, x + eps)

# %% right="worst_point" name="the gradient of the loss"
def worst_point(w, x, y, eps):
    z = x.clone().requires_grad_(True)
    loss = nn.functional.softplus(-y * (z @ w)).sum()
    return x + eps * torch.autograd.grad(loss, z)[0].sign()

# %% right="worst_point" name="pixel by pixel"
def worst_point(w, x, y, eps):
    z = x.clone()
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            ends = (x[b, i] - eps, x[b, i] + eps)
            z[b, i] = min(ends, key=lambda value: float(y[b] * w[i] * value))
    return z

# ---------------------------------------------------------------- exact_robust_loss
# %% wrong="exact_robust_loss" name="the attacker adds" says="The attacker takes away"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return nn.functional.softplus(-(y * (x @ w + b) + eps * torch.linalg.vector_norm(w, ord=q)))

# %% wrong="exact_robust_loss" name="the norm of p" says="norm of p itself"
def exact_robust_loss(w, b, x, y, eps, p):
    return nn.functional.softplus(-(y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=p)))

# %% wrong="exact_robust_loss" name="always the L1 norm" says="right for p = inf only"
def exact_robust_loss(w, b, x, y, eps, p):
    return nn.functional.softplus(-(y * (x @ w + b) - eps * w.abs().sum()))

# %% wrong="exact_robust_loss" name="overflow" says="softplus or logaddexp"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    margin = y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=q)
    return torch.log(1 + torch.exp(-margin))

# %% wrong="exact_robust_loss" name="the exponent is bounded" says="bounds the loss"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    margin = y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=q)
    return torch.log(1 + torch.exp((-margin.double()).clamp_max(100))).to(x.dtype)

# %% wrong="exact_robust_loss" name="no eps" says="eps is not used"
def exact_robust_loss(w, b, x, y, eps, p):
    return nn.functional.softplus(-y * (x @ w + b))

# %% wrong="exact_robust_loss" name="the label outside" says="for class -1 the margin grows"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return nn.functional.softplus(-y * (x @ w + b - eps * torch.linalg.vector_norm(w, ord=q)))

# %% wrong="exact_robust_loss" name="mean over the batch" says="mean or a sum"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return nn.functional.softplus(-(y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=q))).mean()

# %% wrong="exact_robust_loss" name="hinge" says="hinge loss"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return (1 - (y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=q))).clamp_min(0)

# %% wrong="exact_robust_loss" name="the margin" says="The loss of it is asked for"
def exact_robust_loss(w, b, x, y, eps, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return y * (x @ w + b) - eps * torch.linalg.vector_norm(w, ord=q)

# %% wrong="exact_robust_loss" name="the package's own" says="write yourself"
def exact_robust_loss(w, b, x, y, eps, p):
    return training.linear.robust_loss(w, b, x, y, eps, p)

# %% right="exact_robust_loss" name="logaddexp and norms by hand"
def exact_robust_loss(w, b, x, y, eps, p):
    size = w.abs().max() if p == 1 else (w**2).sum().sqrt() if p == 2 else w.abs().sum()
    m = y * ((x * w).sum(dim=1) + b) - eps * size
    return torch.logaddexp(torch.zeros_like(m), -m)

# %% right="exact_robust_loss" name="cross-entropy of two logits"
def exact_robust_loss(w, b, x, y, eps, p):
    q = math.inf if p == 1 else p / (p - 1) if p < math.inf else 1
    m = y * (x @ w + b) - eps * w.norm(p=q)
    logits = torch.stack([torch.zeros_like(m), m], dim=1)
    return losses.cross_entropy(logits, torch.ones(len(x), dtype=torch.int64))

# %% right="exact_robust_loss" name="minus logsigmoid at the worst point"
def exact_robust_loss(w, b, x, y, eps, p):
    if p == math.inf:
        step = w.sign()
    elif p == 2:
        step = w / w.norm()
    else:
        step = torch.zeros_like(w)
        step[w.abs().argmax()] = w[w.abs().argmax()].sign()
    return -nn.functional.logsigmoid(y * ((x - eps * y[:, None] * step) @ w + b))

# ---------------------------------------------------------------- finite_differences
# %% wrong="finite_differences" name="forward difference" says="forward difference"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).mean()
    return torch.stack([(loss(w + e) - loss(w)) / h for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="divided by h" says="Twice too much"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).mean()
    return torch.stack([(loss(w + e) - loss(w - e)) / h for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="a sum" says="R is their mean"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).sum()
    return torch.stack([(loss(w + e) - loss(w - e)) / (2 * h) for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="in place, never put back" says="edited in place"
def finite_differences(w, b, x, y, eps, h):
    slopes = []
    for i in range(len(w)):
        w[i] += h
        up = training.linear.robust_loss(w, b, x, y, eps).mean()
        w[i] -= 2 * h
        down = training.linear.robust_loss(w, b, x, y, eps).mean()
        slopes.append((up - down) / (2 * h))
    return torch.stack(slopes)

# %% wrong="finite_differences" name="all weights at once" says="All weights move together"
def finite_differences(w, b, x, y, eps, h):
    up, down = (training.linear.robust_loss(w + s * h, b, x, y, eps).mean() for s in (1, -1))
    return ((up - down) / (2 * h)).expand(len(w))

# %% wrong="finite_differences" name="minus" says="The sign is wrong"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).mean()
    return torch.stack([(loss(w - e) - loss(w + e)) / (2 * h) for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="without the attacker" says="eps does not arrive"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, 0.0).mean()
    return torch.stack([(loss(w + e) - loss(w - e)) / (2 * h) for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="not divided" says="not divided by the distance"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).mean()
    return torch.stack([loss(w + e) - loss(w - e) for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="in float32" says="dtype float32"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).mean()
    return torch.tensor([(loss(w + e) - loss(w - e)).item() / (2 * h) for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% right="finite_differences" name="copies in a loop"
def finite_differences(w, b, x, y, eps, h):
    slopes = torch.zeros_like(w)
    for i in range(w.numel()):
        up, down = w.clone(), w.clone()
        up[i] += h
        down[i] -= h
        slopes[i] = (training.linear.robust_loss(up, b, x, y, eps) - training.linear.robust_loss(down, b, x, y, eps)).mean() / (2 * h)
    return slopes

# %% right="finite_differences" name="vmap over the shifts"
def finite_differences(w, b, x, y, eps, h):
    shifts = h * torch.eye(len(w), dtype=w.dtype)
    loss = torch.func.vmap(lambda v: training.linear.robust_loss(v, b, x, y, eps, math.inf).mean())
    return (loss(w + shifts) - loss(w - shifts)) / (2 * h)

# %% right="finite_differences" name="own closed form"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return nn.functional.softplus(-(y * (x @ v + b) - eps * v.abs().sum())).mean().item()
    return torch.tensor([(loss(w + e) - loss(w - e)) / (2 * h) for e in h * torch.eye(len(w), dtype=w.dtype)], dtype=w.dtype)

# %% wrong="finite_differences" name="divided by 2, times h" says="Write / (2 * h)"
def finite_differences(w, b, x, y, eps, h):
    def loss(v):
        return training.linear.robust_loss(v, b, x, y, eps).mean()
    return torch.stack([(loss(w + e) - loss(w - e)) / 2 * h for e in h * torch.eye(len(w), dtype=w.dtype)])

# %% wrong="finite_differences" name="up is no copy" says="is no copy"
def finite_differences(w, b, x, y, eps, h):
    slopes = []
    for i in range(len(w)):
        up = down = w.clone()
        up[i] += h
        down[i] -= h
        slopes.append((training.linear.robust_loss(up, b, x, y, eps).mean() - training.linear.robust_loss(down, b, x, y, eps).mean()) / (2 * h))
    return torch.stack(slopes)

# %% wrong="finite_differences" name="the copies are made once" says="Make new ones for each weight"
def finite_differences(w, b, x, y, eps, h):
    up, down, slopes = w.clone(), w.clone(), []
    for i in range(len(w)):
        up[i] += h
        down[i] -= h
        slopes.append((training.linear.robust_loss(up, b, x, y, eps).mean() - training.linear.robust_loss(down, b, x, y, eps).mean()) / (2 * h))
    return torch.stack(slopes)

# %% wrong="finite_differences" name="one copy, left below" says="A weight that was moved stays moved"
def finite_differences(w, b, x, y, eps, h):
    v, slopes = w.clone(), []
    for i in range(len(w)):
        v[i] += h
        up = training.linear.robust_loss(v, b, x, y, eps).mean()
        v[i] -= 2 * h
        down = training.linear.robust_loss(v, b, x, y, eps).mean()
        slopes.append((up - down) / (2 * h))
    return torch.stack(slopes)

# %% wrong="finite_differences" name="the package's" says="write yourself"
def finite_differences(w, b, x, y, eps, h):
    return training.linear.measured_gradient(w, b, x, y, eps, h)

# ---------------------------------------------------------------- danskin_gradient
# %% wrong="danskin_gradient" name="gradient at x" says="gradient at x itself"
def danskin_gradient(w, b, x, y, eps):
    v = w.clone().requires_grad_(True)
    return torch.autograd.grad(nn.functional.softplus(-y * (x @ v + b)).mean(), v)[0]

# %% wrong="danskin_gradient" name="a sum" says="The losses are added up"
def danskin_gradient(w, b, x, y, eps):
    z, v = training.linear.worst_point(w, x, y, eps), w.clone().requires_grad_(True)
    return torch.autograd.grad(nn.functional.softplus(-y * (z @ v + b)).sum(), v)[0]

# %% wrong="danskin_gradient" name="minus" says="A gradient points uphill"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    return ((torch.sigmoid(-y * (z @ w + b)) * y)[:, None] * z).mean(dim=0)

# %% wrong="danskin_gradient" name="by the points" says="by the points, not by the weights"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps).requires_grad_(True)
    return torch.autograd.grad(nn.functional.softplus(-y * (z @ w + b)).sum(), z)[0].sum(0)

# %% wrong="danskin_gradient" name="one for each image" says="That is a gradient for each image"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    return -(torch.sigmoid(-y * (z @ w + b)) * y)[:, None] * z

# %% wrong="danskin_gradient" name="the caller's weights" says="made to require a gradient"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    w.requires_grad_(True)
    nn.functional.softplus(-y * (z @ w + b)).mean().backward()
    return w.grad

# %% wrong="danskin_gradient" name="the best point" says="The points are the best of their balls"
def danskin_gradient(w, b, x, y, eps):
    z, v = training.linear.worst_point(w, x, -y, eps), w.clone().requires_grad_(True)
    return torch.autograd.grad(nn.functional.softplus(-y * (z @ v + b)).mean(), v)[0]

# %% wrong="danskin_gradient" name="the sigmoid's sign" says="sigmoid(-margin)"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    return -((torch.sigmoid(y * (z @ w + b)) * y)[:, None] * z).mean(dim=0)

# %% wrong="danskin_gradient" name="no b" says="b is left out"
def danskin_gradient(w, b, x, y, eps):
    z, v = training.linear.worst_point(w, x, y, eps), w.clone().requires_grad_(True)
    return torch.autograd.grad(nn.functional.softplus(-y * (z @ v)).mean(), v)[0]

# %% wrong="danskin_gradient" name="the closed form of the package" says="write yourself"
def danskin_gradient(w, b, x, y, eps):
    v = w.clone().requires_grad_(True)
    return torch.autograd.grad(training.linear.robust_loss(v, b, x, y, eps).mean(), v)[0]

# %% right="danskin_gradient" name="autograd"
def danskin_gradient(w, b, x, y, eps):
    z, v = training.linear.worst_point(w, x, y, eps).detach(), w.clone().requires_grad_(True)
    nn.functional.softplus(-y * (z @ v + b)).mean().backward()
    return v.grad

# %% right="danskin_gradient" name="differentiated through the worst point, where sign has slope zero"
def danskin_gradient(w, b, x, y, eps):
    v = w.clone().requires_grad_(True)
    z = training.linear.worst_point(v, x, y, eps)
    return torch.autograd.grad(-nn.functional.logsigmoid(y * (z @ v + b)).mean(), v)[0]

# %% right="danskin_gradient" name="image by image"
def danskin_gradient(w, b, x, y, eps):
    total = torch.zeros_like(w)
    for image, label in zip(training.linear.worst_point(w, x, y, eps), y):
        margin = label * (image @ w + b)
        total -= label * image / (1 + margin.exp())
    return total / len(y)

# %% wrong="danskin_gradient" name="y forgotten in the chain rule" says="The y in front is forgotten"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    return -(torch.sigmoid(-y * (z @ w + b))[:, None] * z).mean(dim=0)

# %% wrong="danskin_gradient" name="x instead of the worst points, at the end" says="the direction is x"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    return -((torch.sigmoid(-y * (z @ w + b)) * y)[:, None] * x).mean(dim=0)

# %% wrong="danskin_gradient" name="softplus of the margin" says="A minus is missing"
def danskin_gradient(w, b, x, y, eps):
    z, v = training.linear.worst_point(w, x, y, eps), w.clone().requires_grad_(True)
    return torch.autograd.grad(nn.functional.softplus(y * (z @ v + b)).mean(), v)[0]

# %% wrong="danskin_gradient" name="for each image, no case survives" says="That is a gradient for each image" most="0"
def danskin_gradient(w, b, x, y, eps):
    z = training.linear.worst_point(w, x, y, eps)
    return -(torch.sigmoid(-y * (z @ w + b)) * y)[:, None] * z

# %% wrong="danskin_gradient" name="the package's" says="write yourself"
def danskin_gradient(w, b, x, y, eps):
    return training.linear.gradient(w, b, x, y, eps)

# ---------------------------------------------------------------- directional_derivative
# %% wrong="directional_derivative" name="the first worst point" says="you take one of the worst points"
def directional_derivative(values, gradients, direction):
    return (gradients[values.argmax()] @ direction).item()

# %% wrong="directional_derivative" name="the mean of the tied" says="mean of the tied gradients"
def directional_derivative(values, gradients, direction):
    return (gradients[values >= values.max() - 1e-6].mean(0) @ direction).item()

# %% wrong="directional_derivative" name="all candidates" says="All candidates take part"
def directional_derivative(values, gradients, direction):
    return (gradients @ direction).max().item()

# %% wrong="directional_derivative" name="the smaller slope" says="worst points"
def directional_derivative(values, gradients, direction):
    return (gradients[values >= values.max() - 1e-6] @ direction).min().item()

# %% wrong="directional_derivative" name="sizes" says="The slope has a sign"
def directional_derivative(values, gradients, direction):
    return (gradients[values >= values.max() - 1e-6] @ direction).abs().max().item()

# %% wrong="directional_derivative" name="unit direction" says="Its length counts"
def directional_derivative(values, gradients, direction):
    return (gradients[values >= values.max() - 1e-6] @ (direction / direction.norm())).max().item()

# %% wrong="directional_derivative" name="exact equality" says="compare with a tolerance"
def directional_derivative(values, gradients, direction):
    return (gradients[values == values.max()] @ direction).max().item()

# %% wrong="directional_derivative" name="too large a tolerance" says="no worst point"
def directional_derivative(values, gradients, direction):
    return (gradients[values >= values.max() - 0.01] @ direction).max().item()

# %% wrong="directional_derivative" name="the lowest loss" says="lowest loss"
def directional_derivative(values, gradients, direction):
    return (gradients[values <= values.min() + 1e-6] @ direction).max().item()

# %% wrong="directional_derivative" name="a running best from 0" says="neither start a running maximum at 0"
def directional_derivative(values, gradients, direction):
    best = 0.0
    for value, gradient in zip(values, gradients):
        if value >= values.max() - 1e-6:
            best = max(best, float(gradient @ direction))
    return best

# %% right="directional_derivative" name="a loop"
def directional_derivative(values, gradients, direction):
    highest = max(values.tolist())
    slopes = [float((g * direction).sum()) for v, g in zip(values.tolist(), gradients) if highest - v <= 1e-6]
    return max(slopes)

# %% right="directional_derivative" name="others masked by minus infinity"
def directional_derivative(values, gradients, direction):
    slopes = torch.mv(gradients, direction)
    return slopes.masked_fill(values < values.max() - 1e-6, -math.inf).max()

# %% right="directional_derivative" name="isclose"
def directional_derivative(values, gradients, direction):
    tied = torch.isclose(values, values.max(), rtol=0, atol=1e-6)
    return torch.einsum("mn,n->m", gradients[tied], direction).amax()

# %% wrong="directional_derivative" name="a mask of 0 and 1" says="nor set the other candidates to 0"
def directional_derivative(values, gradients, direction):
    worst = (values >= values.max() - 1e-6).to(gradients.dtype)
    return (worst * (gradients @ direction)).max().item()

# ---------------------------------------------------------------- training_step
# %% wrong="training_step" name="ordinary training" says="a step of ordinary training"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="uphill" says="training minimises over the weights"
def training_step(model, x, y, eps, lr):
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    grads = torch.autograd.grad(losses.cross_entropy(model(x_adv), y).mean(), list(model.parameters()), allow_unused=True)
    return [p.detach() + lr * (0 if g is None else g) for p, g in zip(model.parameters(), grads)]

# %% wrong="training_step" name="a sum" says="losses of the batch are added up"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x_adv), y).sum().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="in eval mode" says="The update was made in eval mode"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    optimizer.zero_grad()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="gradients never cleared" says="clear them, after the attack" most="2"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="gradients cleared before the attack" says="clear them, after the attack"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    optimizer.zero_grad()
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="train mode before the attack" says="The attack met the network in train mode"
def training_step(model, x, y, eps, lr):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x_adv), y).backward()
    optimizer.step()
    return [p.data.clone() for p in model.parameters()]

# %% wrong="training_step" name="every slip at once" says="After the attack: model.train(), and clear the gradients"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses.cross_entropy(model(careless_attack(model, x, y, eps)), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="the attack that cleans up" says="write yourself"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = inner_attack(model, x, y, eps)
    model.train()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="the clean loss first, cleared before it only" says="is .grad cleared in between?"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    optimizer.zero_grad()
    losses.cross_entropy(model(x), y).mean().backward()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="own attack leaves gradients" says="The attack left gradients in .grad"
def training_step(model, x, y, eps, lr):
    ball, z = LpBall(eps, math.inf), x.clone()
    for _ in range(5):
        z = z.detach().requires_grad_(True)
        losses.cross_entropy(model(z), y).sum().backward()
        z = ball.project(z.detach() + 2.5 * eps / 5 * z.grad.sign(), x)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()
    losses.cross_entropy(model(z.detach()), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="half clean, half attacked" says="mean over clean and attacked images"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(torch.cat([x, x_adv])), y.repeat(2)).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="the gradients are returned" says="This is the gradient. The new weights"
def training_step(model, x, y, eps, lr):
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]

# %% wrong="training_step" name="copied before the step" says="The weights are as they were"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    weights = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    return weights

# %% wrong="training_step" name="the model is returned" says="a list of 4 tensors"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return model

# %% wrong="training_step" name="the package's step" says="write yourself"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    training.training_step(model, optimizer, x, y, partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="towards the prediction" says="Train towards y"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv, predicted = careless_attack(model, x, y, eps), model(x).argmax(1)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x_adv), predicted).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="training_step" name="Adam" says="a step of Adam"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    model.zero_grad()
    losses.cross_entropy(model(x_adv), y).mean().backward()
    optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% right="training_step" name="SGD of torch, modes set twice"
def training_step(model, x, y, eps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = careless_attack(model.eval(), x, y, eps).detach()
    model.train()
    optimizer.zero_grad(set_to_none=False)
    nn.functional.cross_entropy(model(x_adv), y).backward()
    optimizer.step()
    return [p.data.clone() for p in model.parameters()]

# %% right="training_step" name="own attack, cleared afterwards, on a copy of the model"
def training_step(model, x, y, eps, lr):
    model = copy.deepcopy(model)
    ball, z = LpBall(eps, math.inf), x.clone()
    for _ in range(5):
        z = z.detach().requires_grad_(True)
        losses.cross_entropy(model(z), y).sum().backward()
        z = ball.project(z.detach() + 2.5 * eps / 5 * z.grad.sign(), x)
    model.zero_grad()
    model.train()
    losses.cross_entropy(model(z.detach()), y).mean().backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p -= lr * p.grad
    return list(model.parameters())

# %% right="training_step" name="functional_call"
def training_step(model, x, y, eps, lr):
    x_adv = careless_attack(model, x, y, eps)
    model.train()
    weights = {name: p.detach().clone().requires_grad_(True) for name, p in model.named_parameters()}
    loss = losses.cross_entropy(torch.func.functional_call(model, weights, (x_adv,)), y).mean()
    slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
    return [w - lr * slope for w, slope in zip(weights.values(), slopes)]

# ---------------------------------------------------------------- adversarial_training
# %% wrong="adversarial_training" name="attacked once, before training" says="attacked once, before training"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x_adv = inner_attack(model, x, y, eps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x_adv[batch], y[batch])
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="gradients never cleared" says="Gradients of earlier steps"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            x_adv = inner_attack(model, x[batch], y[batch], eps)
            losses.cross_entropy(model(x_adv), y[batch]).mean().backward()
            optimizer.step()
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the attack does not reach the step" says="ordinary training"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch])
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="return inside the loop" says="Only one epoch"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
        return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the last batch is dropped" says="smaller batch is left out"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    batch_size = min(batch_size, len(x))
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for i in range(len(x) // batch_size):
            batch = order[i * batch_size : (i + 1) * batch_size]
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="one batch for all" says="All three images went into one batch"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        training.training_step(model, optimizer, x, y, partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="never shuffled" says="is the order random"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.arange(len(x)).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the seed is not used" says="with another seed"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the package's loop" says="write yourself"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    training.adversarial_fit(model, x, y, LpBall(eps, math.inf), epochs=epochs, batch_size=batch_size, lr=lr)
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="eps written out" says="trained classifier is robust"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=0.01))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="labels of other images" says="labels of its own images"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[: len(batch)], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the generator anew in every epoch" says="Make the generator once"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        generator = torch.Generator().manual_seed(seed)
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="stale weights: the attack meets a copy" says="attacked once, before training"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator, first = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, inner_attack(first, x[batch], y[batch], eps), y[batch])
    return [p.detach().clone() for p in model.parameters()]

# %% right="adversarial_training" name="all by hand"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    torch.manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            x_adv = inner_attack(model, x[batch], y[batch], eps)
            slopes = torch.autograd.grad(nn.functional.cross_entropy(model(x_adv), y[batch]), list(model.parameters()))
            with torch.no_grad():
                for p, slope in zip(model.parameters(), slopes):
                    p.sub_(lr * slope)
    return [p.detach() for p in model.parameters()]

# %% right="adversarial_training" name="a DataLoader"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    from torch.utils.data import DataLoader, TensorDataset
    loader = DataLoader(TensorDataset(x, y), batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            training.training_step(model, optimizer, images, labels, lambda m, a, b: inner_attack(m, a, b, eps))
    return list(model.parameters())

# %% right="adversarial_training" name="numpy's order"
import numpy as np

def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(epochs):
        order = torch.from_numpy(rng.permutation(len(x)))
        while len(order):
            batch, order = order[:batch_size], order[batch_size:]
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return tuple(p.detach().clone() for p in model.parameters())

# %% wrong="adversarial_training" name="attacked at the start of each epoch" says="examples of yesterday"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        x_adv = inner_attack(model, x, y, eps)
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x_adv[batch], y[batch])
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="one order for all epochs" says="the same order in both epochs"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    order = torch.randperm(len(x), generator=generator)
    for _ in range(epochs):
        for batch in order.split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="drawn with replacement" says="Draw without putting back"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randint(len(x), (len(x),), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="momentum" says="SGD with momentum"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="Adam" says="step of Adam"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the images shuffled, the labels not" says="take x[batch] and y[batch]"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        shuffled = x[torch.randperm(len(x), generator=generator)]
        for images, labels in zip(shuffled.split(batch_size), y.split(batch_size)):
            training.training_step(model, optimizer, images, labels, partial(inner_attack, eps=eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="the attack unbound" says="bind it first" most="0"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], inner_attack)
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="a lambda of two arguments" says="Count the arguments of your lambda" most="0"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], lambda a, b: inner_attack(model, a, b, eps))
    return [p.detach().clone() for p in model.parameters()]

# %% wrong="adversarial_training" name="what the attack found instead of the attack" says="hand over the function" most="0"
def adversarial_training(model, x, y, eps, epochs, batch_size, lr, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(batch_size):
            training.training_step(model, optimizer, x[batch], y[batch], inner_attack(model, x[batch], y[batch], eps))
    return [p.detach().clone() for p in model.parameters()]


# ---------------------------------------------------------------- slowdown
# %% wrong="slowdown" name="the update forgotten" says="The update takes one as well"
def slowdown(method, steps):
    return {"standard": 1, "fgsm": 1, "fast": 1, "pgd": steps, "trades": steps + 1}[method]

# %% wrong="slowdown" name="forward and back counted apart" says="Forward and back together are one pass"
def slowdown(method, steps):
    return {"standard": 1, "fgsm": 2, "fast": 2, "pgd": 2 * (steps + 1), "trades": 2 * (steps + 2)}[method]

# %% wrong="slowdown" name="steps for everyone" says="This method takes one step"
def slowdown(method, steps):
    return 1 if method == "standard" else steps + 1

# %% wrong="slowdown" name="a pass for the random start" says="A random start takes no"
def slowdown(method, steps):
    return {"standard": 1, "fgsm": 2, "fast": 3, "pgd": steps + 2, "trades": steps + 3}[method]

# %% wrong="slowdown" name="TRADES as PGD" says="two passes: one at x"
def slowdown(method, steps):
    return {"standard": 1, "fgsm": 2, "fast": 2, "pgd": steps + 1, "trades": steps + 1}[method]

# %% wrong="slowdown" name="no update in ordinary training" says="but there is an update"
def slowdown(method, steps):
    return {"standard": 0, "fgsm": 2, "fast": 2, "pgd": steps + 1, "trades": steps + 2}[method]

# %% wrong="slowdown" name="ten times, says the slide" says="expected 8"
def slowdown(method, steps):
    return {"standard": 1, "fgsm": 2, "fast": 2}.get(method, 10)

# %% right="slowdown" name="if and elif"
def slowdown(method, steps):
    if method == "standard":
        return 1.0
    elif method in ("fgsm", "fast"):
        return 1.0 + 1.0
    elif method == "pgd":
        return steps + 1
    return steps + 1 + 1

# %% right="slowdown" name="a sum of parts, as a tensor"
def slowdown(method, steps):
    attack = steps * (method in ("pgd", "trades")) + (method in ("fgsm", "fast"))
    return torch.tensor(attack + 1 + (method == "trades"))

# ---------------------------------------------------------------- fast_point
# %% wrong="fast_point" name="a step of eps" says="The step has length eps"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x_0 + eps * attacks.input_gradient(model, x_0, y).sign(), x)

# %% wrong="fast_point" name="the gradient of x" says="The gradient is taken at x"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * attacks.input_gradient(model, x, y).sign(), x)

# %% wrong="fast_point" name="no noise" says="The noise is left out"
def fast_point(model, x, y, eps, noise):
    return LpBall(eps, math.inf).project(x + 1.25 * eps * attacks.input_gradient(model, x, y).sign(), x)

# %% wrong="fast_point" name="around the start" says="around x that counts"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign(), x_0)

# %% wrong="fast_point" name="no projection" says="it is not projected"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return (x_0 + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign()).clamp(0, 1)

# %% wrong="fast_point" name="no image range" says="pixels in [0, 1]"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    delta = eps * noise + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign()
    return x + delta.clamp(-eps, eps)

# %% wrong="fast_point" name="the start is clamped" says="The start is clamped"
def fast_point(model, x, y, eps, noise):
    x_0 = (x + eps * noise).clamp(0, 1)
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign(), x)

# %% wrong="fast_point" name="downhill" says="downhill"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x_0 - 1.25 * eps * attacks.input_gradient(model, x_0, y).sign(), x)

# %% wrong="fast_point" name="the noise unscaled" says="noise is scaled by eps"
def fast_point(model, x, y, eps, noise):
    x_0 = x + noise
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign(), x)

# %% wrong="fast_point" name="only the perturbation" says="Add it to x"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign(), x) - x

# %% wrong="fast_point" name="in place" says="edited in place"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    noise *= eps
    noise += 1.25 * eps * attacks.input_gradient(model, x_0, y).sign()
    return (x + noise.clamp(-eps, eps)).clamp(0, 1)

# %% right="fast_point" name="the perturbation, as in the paper"
def fast_point(model, x, y, eps, noise):
    delta = (eps * noise).requires_grad_(True)
    nn.functional.cross_entropy(model(x + delta), y).backward()
    delta = (delta.detach() + 1.25 * eps * delta.grad.sign()).clamp(-eps, eps)
    return (x + delta).clamp(0, 1)

# %% right="fast_point" name="box by minimum and maximum"
def fast_point(model, x, y, eps, noise):
    start = torch.add(x, noise, alpha=eps)
    z = start + torch.sign(attacks.input_gradient(model, start, y)) * (eps * 5 / 4)
    z = torch.maximum(torch.minimum(z, x + eps), x - eps)
    return torch.clip(z, 0.0, 1.0)

# %% right="fast_point" name="image by image"
def fast_point(model, x, y, eps, noise):
    rows = []
    for image, label, n in zip(x, y, noise):
        start = (image + eps * n)[None]
        g = attacks.input_gradient(model, start, label[None])
        rows.append(LpBall(eps, math.inf).project(start + 1.25 * eps * g.sign(), image[None])[0])
    return torch.stack(rows)

# %% wrong="fast_point" name="divided by its size" says="sign(), which is 0 there"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    g = attacks.input_gradient(model, x_0, y)
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * g / g.abs(), x)

# %% wrong="fast_point" name="the gradient itself" says="You step along the gradient itself"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x_0 + 1.25 * eps * attacks.input_gradient(model, x_0, y), x)

# %% wrong="fast_point" name="from x, with the gradient of the start" says="the step begins there, too"
def fast_point(model, x, y, eps, noise):
    x_0 = x + eps * noise
    return LpBall(eps, math.inf).project(x + 1.25 * eps * attacks.input_gradient(model, x_0, y).sign(), x)

# ---------------------------------------------------------------- breakdown
# %% wrong="breakdown" name="counted from 0" says="Epochs are counted from 1"
def breakdown(one_step, many_steps, drop):
    best = -1.0
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many < best - drop and one > many + drop:
            return i
        best = max(best, many)
    return 0

# %% wrong="breakdown" name="the epoch before" says="You compare with the epoch before"
def breakdown(one_step, many_steps, drop):
    for i in range(1, len(many_steps)):
        if many_steps[i] < many_steps[i - 1] - drop and one_step[i] > many_steps[i] + drop:
            return i + 1
    return 0

# %% wrong="breakdown" name="the gap alone" says="has not fallen yet"
def breakdown(one_step, many_steps, drop):
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if one > many + drop:
            return i + 1
    return 0

# %% wrong="breakdown" name="the fall alone" says="one step and many fall together"
def breakdown(one_step, many_steps, drop):
    best = -1.0
    for i, many in enumerate(many_steps):
        if many < best - drop:
            return i + 1
        best = max(best, many)
    return 0

# %% wrong="breakdown" name="the last one" says="The first is asked for"
def breakdown(one_step, many_steps, drop):
    best, found = -1.0, 0
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many < best - drop and one > many + drop:
            found = i + 1
        best = max(best, many)
    return found

# %% wrong="breakdown" name="the best epoch" says="This is the best epoch"
def breakdown(one_step, many_steps, drop):
    return many_steps.index(max(many_steps)) + 1 if many_steps else 0

# %% wrong="breakdown" name="the best of all epochs" says="Look back only"
def breakdown(one_step, many_steps, drop):
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many < max(many_steps) - drop / 4 and one > many + drop / 4:
            return i + 1
    return 0

# %% wrong="breakdown" name="None if there is none" says="Return 0 where there is no such epoch"
def breakdown(one_step, many_steps, drop):
    best = -1.0
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many < best - drop and one > many + drop:
            return i + 1
        best = max(best, many)

# %% wrong="breakdown" name="the history is eaten up" says="edited in place"
def breakdown(one_step, many_steps, drop):
    best, epoch = -1.0, 0
    while many_steps:
        epoch += 1
        one, many = one_step.pop(0), many_steps.pop(0)
        if many < best - drop and one > many + drop:
            return epoch
        best = max(best, many)
    return 0

# %% right="breakdown" name="tensors and cummax"
def breakdown(one_step, many_steps, drop):
    if len(many_steps) < 2:
        return 0
    one, many = torch.tensor(one_step, dtype=torch.float64), torch.tensor(many_steps, dtype=torch.float64)
    best = many.cummax(0).values[:-1]
    hit = (many[1:] < best - drop) & (one[1:] - many[1:] > drop)
    return int(hit.int().argmax()) + 2 if hit.any() else 0

# %% right="breakdown" name="next with a default"
def breakdown(one_step, many_steps, drop):
    return next((t + 1 for t in range(1, len(many_steps))
                 if max(many_steps[:t]) - many_steps[t] > drop and one_step[t] - many_steps[t] > drop), 0)

# %% right="breakdown" name="backwards"
def breakdown(one_step, many_steps, drop):
    answer = 0
    for t in reversed(range(1, len(one_step))):
        if one_step[t] > many_steps[t] + drop and any(before > many_steps[t] + drop for before in many_steps[:t]):
            answer = t + 1
    return float(answer)

# %% wrong="breakdown" name="or" says="not with `or`"
def breakdown(one_step, many_steps, drop):
    best = -1.0
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many < best - drop or one > many + drop:
            return i + 1
        best = max(best, many)
    return 0

# %% wrong="breakdown" name="at least instead of more" says="more than drop means >" most="1.8"
def breakdown(one_step, many_steps, drop):
    best = -1.0
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many <= best - drop and one >= many + drop:
            return i + 1
        best = max(best, many)
    return 0

# %% wrong="breakdown" name="empty lists" says="empty lists"
def breakdown(one_step, many_steps, drop):
    best = many_steps[0]
    for i, (one, many) in enumerate(zip(one_step, many_steps)):
        if many < best - drop and one > many + drop:
            return i + 1
        best = max(best, many)
    return 0

# %% wrong="breakdown" name="the package's" says="write yourself"
def breakdown(one_step, many_steps, drop):
    return training.breakdown(one_step, many_steps, drop)

# ---------------------------------------------------------------- summary_row
# %% wrong="summary_row" name="the smaller of the accuracies" says="smaller of two accuracies"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    each = [(clean & (model(z).argmax(1) == y)).double().mean().item() for z in x_adv]
    return {"clean": clean.double().mean().item(), "each": each, "worst": min(each)}

# %% wrong="summary_row" name="wrong before counts" says="Image 9 was wrong before"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([model(z).argmax(1) == y for z in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(1).tolist(), "worst": (clean & kept.all(0)).double().mean().item()}

# %% wrong="summary_row" name="one attack is enough" says="It must withstand all"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(1).tolist(), "worst": kept.any(0).double().mean().item()}

# %% wrong="summary_row" name="the mean over attacks" says="the mean of the accuracies"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv]).double()
    return {"clean": clean.double().mean().item(), "each": kept.mean(1).tolist(), "worst": kept.mean().item()}

# %% wrong="summary_row" name="the product" says="product of two accuracies"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    each = [(clean & (model(z).argmax(1) == y)).double().mean().item() for z in x_adv]
    return {"clean": clean.double().mean().item(), "each": each, "worst": math.prod(each)}

# %% wrong="summary_row" name="the share that was fooled" says="the share that was fooled"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) != y) for z in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(1).tolist(), "worst": (clean & ~kept.any(0)).double().mean().item()}

# %% wrong="summary_row" name="of those that were right" says="All images count"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv])[:, clean].double()
    return {"clean": clean.double().mean().item(), "each": kept.mean(1).tolist(), "worst": kept.amin(0).mean().item()}

# %% wrong="summary_row" name="a tuple" says='a dictionary with "clean"'
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv])
    return clean.double().mean().item(), kept.double().mean(1).tolist(), kept.all(0).double().mean().item()

# %% wrong="summary_row" name="one number for each image" says="a list of 2 numbers"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(0).tolist(), "worst": kept.all(0).double().mean().item()}

# %% wrong="summary_row" name="left in train mode" says="left in train mode"
def summary_row(model, x, y, x_adv):
    model.train()
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(1).tolist(), "worst": kept.all(0).double().mean().item()}

# %% right="summary_row" name="one big batch"
def summary_row(model, x, y, x_adv):
    everything = torch.cat([x[None], x_adv])
    right = (model(everything.flatten(0, 1)).argmax(-1).view(len(everything), -1) == y).float()
    together = right.cumprod(0)
    return {"worst": together[-1].mean(), "clean": right[0].mean(), "each": (right[0] * right[1:]).mean(1)}

# %% right="summary_row" name="sets of numbers"
def summary_row(model, x, y, x_adv):
    def right(images):
        return {i for i, row in enumerate(model(images)) if int(row.argmax()) == int(y[i])}
    clean = right(x)
    kept = [clean & right(images) for images in x_adv]
    n = len(y)
    return {"clean": len(clean) / n, "each": [len(k) / n for k in kept], "worst": len(set.intersection(*kept)) / n}

# %% right="summary_row" name="extra entries do no harm"
def summary_row(model, x, y, x_adv):
    with torch.no_grad():
        alive = first = model(x).argmax(1).eq(y)
        each = []
        for z in x_adv:
            ok = model(z).argmax(1).eq(y)
            each.append(float((first & ok).float().mean()))
            alive = alive & ok
    return {"clean": float(first.float().mean()), "each": tuple(each), "worst": float(alive.float().mean()), "n": len(y)}

# %% wrong="summary_row" name="one entry wrong, one case lost" says="smaller of two accuracies"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    each = [(clean & (model(z).argmax(1) == y)).double().mean().item() for z in x_adv]
    return {"clean": clean.double().mean().item(), "each": each, "worst": min(each)}

# %% wrong="summary_row" name="an entry forgotten" says="no entry 'worst'"
def summary_row(model, x, y, x_adv):
    clean = model(x).argmax(1) == y
    kept = torch.stack([clean & (model(z).argmax(1) == y) for z in x_adv])
    return {"clean": clean.double().mean().item(), "each": kept.double().mean(1).tolist()}
