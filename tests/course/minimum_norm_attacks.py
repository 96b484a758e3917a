# Answers to assignment `minimum_norm_attacks` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- margin_loss
# %% wrong="margin_loss" name="y not left out of the maximum" says="Is y left out of the maximum"
def margin_loss(logits, y):
    return (logits[torch.arange(len(y)), y] - logits.max(dim=1).values).clamp_min(0)

# %% wrong="margin_loss" name="the famous trap: 0 in the place of y" says="larger than every log-probability"
def margin_loss(logits, y):
    onehot = torch.nn.functional.one_hot(y, logits.shape[1])
    other = ((1 - onehot) * logits).max(dim=1).values
    return (logits.gather(1, y[:, None]).squeeze(1) - other).clamp_min(0)

# %% wrong="margin_loss" name="the trap, twice" says="Nothing may depend on whether the logits are positive"
def margin_loss(logits, y):
    onehot = torch.nn.functional.one_hot(y, logits.shape[1])
    real, other = (onehot * logits).max(dim=1).values, ((1 - onehot) * logits - onehot).max(dim=1).values
    return (real - other).clamp_min(0)

# %% wrong="margin_loss" name="a large number taken away from y" says="by a number that others can exceed"
def margin_loss(logits, y):
    onehot = torch.nn.functional.one_hot(y, logits.shape[1])
    other = (logits - 10000 * onehot).max(dim=1).values
    return (logits.gather(1, y[:, None]).squeeze(1) - other).clamp_min(0)

# %% wrong="margin_loss" name="sign turned round" says="turned round"
def margin_loss(logits, y):
    others = logits.scatter(1, y[:, None], -math.inf).max(dim=1).values
    return (others - logits.gather(1, y[:, None]).squeeze(1)).clamp_min(0)

# %% wrong="margin_loss" name="no [.]_+" says="without [.]_+"
def margin_loss(logits, y):
    others = logits.scatter(1, y[:, None], -math.inf).max(dim=1).values
    return logits.gather(1, y[:, None]).squeeze(1) - others

# %% wrong="margin_loss" name="probabilities" says="differences of probabilities"
def margin_loss(logits, y):
    p = logits.softmax(dim=1)
    return (p.gather(1, y[:, None]).squeeze(1) - p.scatter(1, y[:, None], -1).max(dim=1).values).clamp_min(0)

# %% wrong="margin_loss" name="log of the softmax" says="logarithm of 0"
def margin_loss(logits, y):
    Z = torch.log(torch.softmax(logits, dim=1))
    return (Z.gather(1, y[:, None]).squeeze(1) - Z.scatter(1, y[:, None], -math.inf).max(dim=1).values).clamp_min(0)

# %% wrong="margin_loss" name="a small number inside the logarithm" says="a small one inside a logarithm"
def margin_loss(logits, y):
    Z = torch.log(torch.softmax(logits, dim=1) + 1e-12)
    return (Z.gather(1, y[:, None]).squeeze(1) - Z.scatter(1, y[:, None], -math.inf).max(dim=1).values).clamp_min(0)

# %% wrong="margin_loss" name="mean of the others" says="mean of the others"
def margin_loss(logits, y):
    own = logits.gather(1, y[:, None]).squeeze(1)
    return (own - (logits.sum(dim=1) - own) / (logits.shape[1] - 1)).clamp_min(0)

# %% wrong="margin_loss" name="mean over the batch" says="mean or a sum"
def margin_loss(logits, y):
    others = logits.scatter(1, y[:, None], -math.inf).max(dim=1).values
    return (logits.gather(1, y[:, None]).squeeze(1) - others).clamp_min(0).mean()

# %% wrong="margin_loss" name="all labels from every row" says="Pair each row with its own"
def margin_loss(logits, y):
    others = logits.scatter(1, y[:, None], -math.inf).max(dim=1, keepdim=True).values
    return (logits[:, y] - others).clamp_min(0)

# %% wrong="margin_loss" name="edits the logits" says="edited in place"
def margin_loss(logits, y):
    own = logits.gather(1, y[:, None]).squeeze(1).clone()
    logits[torch.arange(len(y)), y] = -math.inf
    return (own - logits.max(dim=1).values).clamp_min(0)

# %% right="margin_loss" name="log_softmax and a loop"
def margin_loss(logits, y):
    Z = torch.log_softmax(logits, dim=-1)
    out = []
    for row, label in zip(Z, y.tolist()):
        rest = torch.cat([row[:label], row[label + 1:]])
        out.append(torch.relu(row[label] - rest.max()))
    return torch.stack(out)

# %% right="margin_loss" name="the second largest logit"
def margin_loss(logits, y):
    second = logits.topk(2, dim=1).values[:, 1]
    return torch.maximum(logits[torch.arange(len(y)), y] - second, torch.zeros_like(second))

# %% right="margin_loss" name="a mask of booleans"
def margin_loss(logits, y):
    mask = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    return torch.relu(logits[mask] - logits.masked_fill(mask, float("-inf")).amax(dim=1))

# ---------------------------------------------------------------- objective
# %% wrong="objective" name="distance without the square" says="without the square"
def objective(model, x_tilde, x, y, lam):
    return (x_tilde - x).flatten(1).norm(dim=1) + lam * losses.cw_margin(model(x_tilde), y)

# %% wrong="objective" name="mean over the pixels" says="averaged over the pixels"
def objective(model, x_tilde, x, y, lam):
    return (x_tilde - x).flatten(1).square().mean(dim=1) + lam * losses.cw_margin(model(x_tilde), y)

# %% wrong="objective" name="loss at x" says="L is taken at x"
def objective(model, x_tilde, x, y, lam):
    return (x_tilde - x).flatten(1).square().sum(dim=1) + lam * losses.cw_margin(model(x), y)

# %% wrong="objective" name="lambda on the distance" says="λ multiplies the distance"
def objective(model, x_tilde, x, y, lam):
    return lam * (x_tilde - x).flatten(1).square().sum(dim=1) + losses.cw_margin(model(x_tilde), y)

# %% wrong="objective" name="loss subtracted" says="is subtracted"
def objective(model, x_tilde, x, y, lam):
    return (x_tilde - x).flatten(1).square().sum(dim=1) - lam * losses.cw_margin(model(x_tilde), y)

# %% wrong="objective" name="lambda left out" says="λ is left out"
def objective(model, x_tilde, x, y, lam):
    return (x_tilde - x).flatten(1).square().sum(dim=1) + losses.cw_margin(model(x_tilde), y)

# %% wrong="objective" name="one number for the batch" says="mean or a sum"
def objective(model, x_tilde, x, y, lam):
    return ((x_tilde - x) ** 2).sum() + (lam * losses.cw_margin(model(x_tilde), y)).sum()

# %% wrong="objective" name="only rows" says="one number for each image"
def objective(model, x_tilde, x, y, lam):
    return ((x_tilde - x) ** 2).sum(dim=1) + lam * losses.cw_margin(model(x_tilde), y)

# %% wrong="objective" name="model left in train mode" says="left in train mode"
def objective(model, x_tilde, x, y, lam):
    model.train()
    return (x_tilde - x).flatten(1).square().sum(dim=1) + lam * losses.cw_margin(model(x_tilde), y)

# %% right="objective" name="squared norm, sum over all other dimensions, not detached"
def objective(model, x_tilde, x, y, lam):
    delta = x_tilde - x
    D = torch.linalg.vector_norm(delta, dim=tuple(range(1, x.ndim))) ** 2
    return D + lam * losses.cw_margin(model(x_tilde), y)

# %% right="objective" name="margin by hand, image by image"
def objective(model, x_tilde, x, y, lam):
    values = []
    for b in range(len(x)):
        z = model(x_tilde[b:b + 1])[0]
        rest = [z[k] for k in range(len(z)) if k != y[b]]
        values.append(((x_tilde[b] - x[b]) ** 2).sum() + lam[b] * torch.relu(z[y[b]] - max(rest)))
    return torch.stack(values)

# ---------------------------------------------------------------- objective_gradient
# %% wrong="objective_gradient" name="factor 2 forgotten" says="twice the difference"
def objective_gradient(model, x_tilde, x, y, lam):
    return x_tilde - x + lam.view(-1, *[1] * (x.ndim - 1)) * attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="lambda forgotten" says="λ is missing"
def objective_gradient(model, x_tilde, x, y, lam):
    return 2 * (x_tilde - x) + attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="the first lambda for all" says="λ of its first image"
def objective_gradient(model, x_tilde, x, y, lam):
    return 2 * (x_tilde - x) + lam[0] * attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="lambda along the last dimension" says="bring it to (B, 1)"
def objective_gradient(model, x_tilde, x, y, lam):
    return 2 * (x_tilde - x) + lam * attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="mean over the batch" says="divided by the number of images"
def objective_gradient(model, x_tilde, x, y, lam):
    z = x_tilde.clone().requires_grad_(True)
    J = (z - x).flatten(1).square().sum(dim=1) + lam * losses.cw_margin(model(z), y)
    return torch.autograd.grad(J.mean(), z)[0]

# %% wrong="objective_gradient" name="a root at zero" says="NaN"
def objective_gradient(model, x_tilde, x, y, lam):
    z = x_tilde.clone().requires_grad_(True)
    D = (z - x).flatten(1).square().sum(dim=1).sqrt() ** 2
    return torch.autograd.grad((D + lam * losses.cw_margin(model(z), y)).sum(), z)[0]

# %% wrong="objective_gradient" name="sign of the loss" says="L must fall"
def objective_gradient(model, x_tilde, x, y, lam):
    return 2 * (x_tilde - x) - lam.view(-1, *[1] * (x.ndim - 1)) * attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="downhill already" says="minus the gradient"
def objective_gradient(model, x_tilde, x, y, lam):
    return -2 * (x_tilde - x) - lam.view(-1, *[1] * (x.ndim - 1)) * attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="margin without [.]_+" says="the [.]_+ is missing"
def objective_gradient(model, x_tilde, x, y, lam):
    return 2 * (x_tilde - x) - lam.view(-1, *[1] * (x.ndim - 1)) * attacks.input_gradient(model, x_tilde, y, losses.margin)

# %% wrong="objective_gradient" name="only the loss" says="the distance has a gradient, too"
def objective_gradient(model, x_tilde, x, y, lam):
    return lam.view(-1, *[1] * (x.ndim - 1)) * attacks.input_gradient(model, x_tilde, y, losses.cw_margin)

# %% wrong="objective_gradient" name="gradient on the caller's tensor" says="made to require a gradient"
def objective_gradient(model, x_tilde, x, y, lam):
    x_tilde.requires_grad_(True)
    J = (x_tilde - x).flatten(1).square().sum(dim=1) + lam * losses.cw_margin(model(x_tilde), y)
    J.sum().backward()
    return x_tilde.grad

# %% right="objective_gradient" name="autograd, sum over the batch"
def objective_gradient(model, x_tilde, x, y, lam):
    z = x_tilde.detach().clone().requires_grad_(True)
    J = ((z - x) ** 2).sum() + (lam * losses.cw_margin(model(z), y)).sum()
    J.backward()
    return z.grad

# %% right="objective_gradient" name="image by image"
def objective_gradient(model, x_tilde, x, y, lam):
    rows = []
    for b in range(len(x)):
        z = x_tilde[b:b + 1].clone().requires_grad_(True)
        J = ((z - x[b:b + 1]) ** 2).sum() + lam[b] * losses.cw_margin(model(z), y[b:b + 1]).sum()
        rows.append(torch.autograd.grad(J, z)[0])
    return torch.cat(rows)

# %% right="objective_gradient" name="einsum brings lambda in"
def objective_gradient(model, x_tilde, x, y, lam):
    slope = attacks.input_gradient(model, x_tilde, y, losses.cw_margin)
    return 2 * x_tilde - 2 * x + torch.einsum("b,b...->b...", lam, slope)

# ---------------------------------------------------------------- descend
# %% wrong="descend" name="uphill" says="uphill"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        g = 2 * (path[-1] - x) + lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin)
        path.append((path[-1] + g / (t + 2)).clamp(0, 1))
    return torch.stack(path)

# %% wrong="descend" name="steps that do not shrink" says="do not shrink"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        g = 2 * (path[-1] - x) + lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin)
        path.append((path[-1] - g / 2).clamp(0, 1))
    return torch.stack(path)

# %% wrong="descend" name="1 / (t + 1)" says="first step is too long"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        g = 2 * (path[-1] - x) + lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin)
        path.append((path[-1] - g / (t + 1)).clamp(0, 1))
    return torch.stack(path)

# %% wrong="descend" name="t counted from 1" says="Is t counted from 0"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(1, steps + 1):
        g = 2 * (path[-1] - x) + lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin)
        path.append((path[-1] - g / (t + 2)).clamp(0, 1))
    return torch.stack(path)

# %% wrong="descend" name="no clamp" says="Clamp after every step"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        g = 2 * (path[-1] - x) + lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin)
        path.append(path[-1] - g / (t + 2))
    return torch.stack(path)

# %% wrong="descend" name="clamp at the end" says="You clamp once, at the end"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        g = 2 * (path[-1] - x) + lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin)
        path.append(path[-1] - g / (t + 2))
    return torch.stack(path).clamp(0, 1)

# %% wrong="descend" name="slope of x in every step" says="always that of x"
def descend(model, x, y, lam, steps):
    slope = lam.view(-1, *[1] * (x.ndim - 1)) * attacks.input_gradient(model, x, y, losses.cw_margin)
    path = [x]
    for t in range(steps):
        path.append((path[-1] - (2 * (path[-1] - x) + slope) / (t + 2)).clamp(0, 1))
    return torch.stack(path)

# %% wrong="descend" name="no pull back" says="pull back to x is missing"
def descend(model, x, y, lam, steps):
    lam, path = lam.view(-1, *[1] * (x.ndim - 1)), [x]
    for t in range(steps):
        path.append((path[-1] - lam * attacks.input_gradient(model, path[-1], y, losses.cw_margin) / (t + 2)).clamp(0, 1))
    return torch.stack(path)

# %% wrong="descend" name="only the last iterate" says="All iterates are asked for"
def descend(model, x, y, lam, steps):
    lam, x_t = lam.view(-1, *[1] * (x.ndim - 1)), x
    for t in range(steps):
        g = 2 * (x_t - x) + lam * attacks.input_gradient(model, x_t, y, losses.cw_margin)
        x_t = (x_t - g / (t + 2)).clamp(0, 1)
    return x_t

# %% wrong="descend" name="x_0 is missing" says="x_0 = x included"
def descend(model, x, y, lam, steps):
    lam, x_t, path = lam.view(-1, *[1] * (x.ndim - 1)), x, []
    for t in range(steps):
        g = 2 * (x_t - x) + lam * attacks.input_gradient(model, x_t, y, losses.cw_margin)
        x_t = (x_t - g / (t + 2)).clamp(0, 1)
        path.append(x_t)
    return torch.stack(path)

# %% wrong="descend" name="every iterate is the same tensor" says="The iterates begin with x_0"
def descend(model, x, y, lam, steps):
    lam, x_t = lam.view(-1, *[1] * (x.ndim - 1)), x.clone()
    path = [x_t]
    for t in range(steps):
        g = 2 * (x_t - x) + lam * attacks.input_gradient(model, x_t, y, losses.cw_margin)
        x_t -= g / (t + 2)
        x_t.clamp_(0, 1)
        path.append(x_t)
    return torch.stack(path)

# %% wrong="descend" name="the package's own" says="write yourself"
def descend(model, x, y, lam, steps):
    return attacks.penalty_path(model, x, y, lam, steps=steps)

# %% right="descend" name="autograd on the objective"
def descend(model, x, y, lam, steps):
    path = [x.clone()]
    for t in range(steps):
        z = path[-1].detach().clone().requires_grad_(True)
        J = ((z - x) ** 2).flatten(1).sum(1) + lam * losses.cw_margin(model(z), y)
        (grad,) = torch.autograd.grad(J.sum(), z)
        path.append(torch.clip(z.detach() - 1 / (t + 2) * grad, 0.0, 1.0))
    return torch.stack(path)

# %% right="descend" name="an optimiser whose step size is set by hand"
def descend(model, x, y, lam, steps):
    z = x.clone().requires_grad_(True)
    optimiser = torch.optim.SGD([z], lr=1.0)
    path = [x]
    for t in range(steps):
        optimiser.param_groups[0]["lr"] = 1.0 / (t + 2)
        optimiser.zero_grad()
        (((z - x) ** 2).sum() + (lam * losses.cw_margin(model(z), y)).sum()).backward()
        optimiser.step()
        with torch.no_grad():
            z.clamp_(0, 1)
        path.append(z.detach().clone())
    return torch.stack(path)

# %% right="descend" name="the running average"
def descend(model, x, y, lam, steps):
    price, x_t = lam.reshape([-1] + [1] * (x.dim() - 1)), x
    path = torch.empty(steps + 1, *x.shape, dtype=x.dtype)
    path[0] = x
    for t in range(steps):
        answer = x - price / 2 * attacks.input_gradient(model, x_t, y, losses.cw_margin)
        x_t = torch.clamp(t / (t + 2) * x_t + 2 / (t + 2) * answer, 0, 1)
        path[t + 1] = x_t
    return path

# ---------------------------------------------------------------- closest_adversarial
# %% wrong="closest_adversarial" name="the first that fools" says="first that fools"
def closest_adversarial(model, x, y, candidates):
    x_adv, found = x.clone(), model(x).argmax(1) != y
    for point in candidates:
        new = (model(point).argmax(1) != y) & ~found
        x_adv[new] = point[new]
        found = found | new
    return x_adv, found

# %% wrong="closest_adversarial" name="the last that fools" says="last that fools"
def closest_adversarial(model, x, y, candidates):
    x_adv, found = x.clone(), model(x).argmax(1) != y
    start = found.clone()
    for point in candidates:
        new = (model(point).argmax(1) != y) & ~start
        x_adv[new] = point[new]
        found = found | new
    return x_adv, found

# %% wrong="closest_adversarial" name="the closest, fooled or not" says="whether it fools the model or not"
def closest_adversarial(model, x, y, candidates):
    d = (candidates - x).flatten(2).norm(dim=2)
    best = candidates[d.argmin(0), torch.arange(len(x))]
    return best, model(best).argmax(1) != y

# %% wrong="closest_adversarial" name="one candidate for the whole batch" says="Each image has a best one of its own"
def closest_adversarial(model, x, y, candidates):
    fooled = torch.stack([(model(c).argmax(1) != y) for c in candidates])
    d = (candidates - x).flatten(2).norm(dim=2).sum(1)
    d[~fooled.all(1)] = math.inf
    best = candidates[d.argmin()]
    return best, fooled.any(0)

# %% wrong="closest_adversarial" name="the farthest" says="the thrifty attacker"
def closest_adversarial(model, x, y, candidates):
    points = torch.cat([x[None], candidates])
    fooled = torch.stack([model(p).argmax(1) != y for p in points])
    d = (points - x).flatten(2).norm(dim=2).masked_fill(~fooled, -1)
    d[0] = torch.where(fooled[0], 1e9, d[0])
    return torch.where(fooled.any(0).view(-1, *[1] * (x.ndim - 1)), points[d.argmax(0), torch.arange(len(x))], x), fooled.any(0)

# %% wrong="closest_adversarial" name="a candidate though nothing fools" says="Where nothing fools, return x"
def closest_adversarial(model, x, y, candidates):
    fooled = torch.stack([model(c).argmax(1) != y for c in candidates])
    d = (candidates - x).flatten(2).norm(dim=2).masked_fill(~fooled, math.inf)
    return candidates[d.argmin(0), torch.arange(len(x))], fooled.any(0)

# %% wrong="closest_adversarial" name="misclassified images forgotten" says="Nothing is closer to x than x itself"
def closest_adversarial(model, x, y, candidates):
    fooled = torch.stack([model(c).argmax(1) != y for c in candidates])
    d = (candidates - x).flatten(2).norm(dim=2).masked_fill(~fooled, math.inf)
    best = candidates[d.argmin(0), torch.arange(len(x))]
    found = fooled.any(0)
    return torch.where(found.view(-1, *[1] * (x.ndim - 1)), best, x), found

# %% wrong="closest_adversarial" name="L1 distance" says="closer in L1"
def closest_adversarial(model, x, y, candidates):
    points = torch.cat([x[None], candidates])
    fooled = torch.stack([model(p).argmax(1) != y for p in points])
    d = (points - x).flatten(2).abs().sum(dim=2).masked_fill(~fooled, math.inf)
    return points[d.argmin(0), torch.arange(len(x))], fooled.any(0)

# %% wrong="closest_adversarial" name="found is forgotten" says="return x_adv, found"
def closest_adversarial(model, x, y, candidates):
    return attacks.carlini_wagner(model, x, y)

# %% wrong="closest_adversarial" name="found as numbers" says="keep them as they are"
def closest_adversarial(model, x, y, candidates):
    points = torch.cat([x[None], candidates])
    fooled = torch.stack([model(p).argmax(1) != y for p in points])
    d = (points - x).flatten(2).norm(dim=2).masked_fill(~fooled, math.inf)
    return points[d.argmin(0), torch.arange(len(x))], fooled.any(0).float()

# %% right="closest_adversarial" name="best so far, with torch.where"
def closest_adversarial(model, x, y, candidates):
    shape = (-1,) + (1,) * (x.ndim - 1)
    x_adv, least = x, torch.full((len(x),), math.inf, dtype=x.dtype)
    for point in [x] + list(candidates):
        d = ((point - x) ** 2).flatten(1).sum(1)
        better = (model(point).argmax(1) != y) & (d < least)
        x_adv, least = torch.where(better.view(shape), point, x_adv), torch.where(better, d, least)
    return x_adv, least < math.inf

# %% right="closest_adversarial" name="image by image"
def closest_adversarial(model, x, y, candidates):
    out, found = [], []
    for b in range(len(x)):
        own = candidates[:, b]
        hits = [p for p in own if model(p[None]).argmax().item() != y[b].item()]
        if model(x[b:b + 1]).argmax().item() != y[b].item():
            hits = [x[b]]
        found.append(len(hits) > 0)
        out.append(min(hits, key=lambda p: (p - x[b]).norm().item()) if hits else x[b])
    return torch.stack(out), torch.tensor(found)

# ---------------------------------------------------------------- next_lambda
# %% wrong="next_lambda" name="directions exchanged" says="it is the upper end that comes down"
def next_lambda(lam, low, high, fooled):
    low, high = torch.where(fooled, lam, low), torch.where(fooled, high, lam)
    return torch.where(high.isinf(), 10 * lam, (low + high) / 2), low, high

# %% wrong="next_lambda" name="the middle of infinity" says="The middle between a number and infinity is infinity"
def next_lambda(lam, low, high, fooled):
    low, high = torch.where(fooled, low, lam), torch.where(fooled, lam, high)
    return (low + high) / 2, low, high

# %% wrong="next_lambda" name="always ten times where not fooled" says="Here one is known"
def next_lambda(lam, low, high, fooled):
    low, high = torch.where(fooled, low, lam), torch.where(fooled, lam, high)
    return torch.where(fooled, (low + high) / 2, 10 * lam), low, high

# %% wrong="next_lambda" name="halved" says="λ is halved"
def next_lambda(lam, low, high, fooled):
    new_low, new_high = torch.where(fooled, low, lam), torch.where(fooled, lam, high)
    return torch.where(fooled, lam / 2, torch.where(new_high.isinf(), 10 * lam, (new_low + new_high) / 2)), new_low, new_high

# %% wrong="next_lambda" name="doubled" says="too timid"
def next_lambda(lam, low, high, fooled):
    low, high = torch.where(fooled, low, lam), torch.where(fooled, lam, high)
    return torch.where(high.isinf(), 2 * lam, (low + high) / 2), low, high

# %% wrong="next_lambda" name="middle of the old interval" says="First take λ in"
def next_lambda(lam, low, high, fooled):
    middle = torch.where(high.isinf(), torch.where(fooled, lam / 2, 10 * lam), (low + high) / 2)
    return middle, torch.where(fooled, low, lam), torch.where(fooled, lam, high)

# %% wrong="next_lambda" name="one decision for the batch" says="torch.where"
def next_lambda(lam, low, high, fooled):
    if fooled.all():
        high = lam
    else:
        low = lam
    return (10 * lam if high.isinf().any() else (low + high) / 2), low, high

# %% wrong="next_lambda" name="if on a tensor" says="one for each image"
def next_lambda(lam, low, high, fooled):
    if fooled:
        high = lam
    else:
        low = lam
    return torch.where(high.isinf(), 10 * lam, (low + high) / 2), low, high

# %% wrong="next_lambda" name="edits low and high" says="edited in place"
def next_lambda(lam, low, high, fooled):
    low[~fooled] = lam[~fooled]
    high[fooled] = lam[fooled]
    return torch.where(high.isinf(), 10 * lam, (low + high) / 2), low, high

# %% wrong="next_lambda" name="only lambda is returned" says="return lam, low, high"
def next_lambda(lam, low, high, fooled):
    low, high = torch.where(fooled, low, lam), torch.where(fooled, lam, high)
    return torch.where(high.isinf(), 10 * lam, (low + high) / 2)

# %% wrong="next_lambda" name="arithmetic with infinity" says="infinity"
def next_lambda(lam, low, high, fooled):
    f = fooled.to(lam.dtype)
    low, high = f * low + (1 - f) * lam, f * lam + (1 - f) * high
    known = (~high.isinf()).to(lam.dtype)
    return known * (low + high) / 2 + (1 - known) * 10 * lam, low, high

# %% right="next_lambda" name="image by image"
def next_lambda(lam, low, high, fooled):
    rows = []
    for l, a, b, f in zip(lam.tolist(), low.tolist(), high.tolist(), fooled.tolist()):
        if f:
            b = min(b, l)
        else:
            a = max(a, l)
        rows.append((10 * l if b == math.inf else a + (b - a) / 2, a, b))
    return tuple(torch.tensor(column, dtype=lam.dtype) for column in zip(*rows))

# %% right="next_lambda" name="copies that are edited"
def next_lambda(lam, low, high, fooled):
    low, high = low.clone(), high.clone()
    high[fooled] = torch.minimum(high, lam)[fooled]
    low[~fooled] = lam[~fooled]
    new = (low + high) / 2
    unknown = torch.isinf(high)
    new[unknown] = 10 * lam[unknown]
    return [new, low, high]

# ---------------------------------------------------------------- carlini_wagner
# %% wrong="carlini_wagner" name="one lambda for the whole batch" says="for every image by itself"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam, low, high, results = first_lambda, 0.0, math.inf, []
    for _ in range(search_steps):
        x_adv, fooled = attacks.closest(model, x, y, attacks.penalty_path(model, x, y, lam, steps=steps))
        results.append(x_adv)
        if bool(fooled.all()):
            high = lam
        else:
            low = lam
        lam = 10 * lam if high == math.inf else (low + high) / 2
    return attacks.closest(model, x, y, torch.stack(results))[0]

# %% wrong="carlini_wagner" name="the result of the last lambda" says="must not be forgotten"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam = torch.full((len(x),), first_lambda, dtype=x.dtype)
    low, high = torch.zeros_like(lam), torch.full_like(lam, math.inf)
    for _ in range(search_steps):
        x_adv, fooled = attacks.closest(model, x, y, attacks.penalty_path(model, x, y, lam, steps=steps))
        lam, low, high = attacks.narrow(lam, low, high, fooled)
    return x_adv

# %% wrong="carlini_wagner" name="the end of each path" says="not the last"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam = torch.full((len(x),), first_lambda, dtype=x.dtype)
    low, high = torch.zeros_like(lam), torch.full_like(lam, math.inf)
    for _ in range(search_steps):
        x_adv = attacks.penalty_path(model, x, y, lam, steps=steps)[-1]
        lam, low, high = attacks.narrow(lam, low, high, model(x_adv).argmax(1) != y)
    return x_adv

# %% wrong="carlini_wagner" name="no search" says="grow"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    return attacks.closest(model, x, y, attacks.penalty_path(model, x, y, first_lambda, steps=steps))[0]

# %% wrong="carlini_wagner" name="lambda only grows" says="closest point of all descents"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam = torch.full((len(x),), first_lambda, dtype=x.dtype)
    for _ in range(search_steps):
        x_adv, fooled = attacks.closest(model, x, y, attacks.penalty_path(model, x, y, lam, steps=steps))
        lam = torch.where(fooled, lam, 10 * lam)
    return x_adv

# %% wrong="carlini_wagner" name="fooled and not fooled exchanged" says="grow"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam = torch.full((len(x),), first_lambda, dtype=x.dtype)
    low, high, results = torch.zeros_like(lam), torch.full_like(lam, math.inf), []
    for _ in range(search_steps):
        x_adv, fooled = attacks.closest(model, x, y, attacks.penalty_path(model, x, y, lam, steps=steps))
        results.append(x_adv)
        lam, low, high = attacks.narrow(lam, low, high, ~fooled)
    return attacks.closest(model, x, y, torch.stack(results))[0]

# %% wrong="carlini_wagner" name="first_lambda ignored" says="first_lambda the first λ that is tried"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam = torch.full((len(x),), 1.0, dtype=x.dtype)
    low, high, results = torch.zeros_like(lam), torch.full_like(lam, math.inf), []
    for _ in range(search_steps):
        x_adv, fooled = attacks.closest(model, x, y, attacks.penalty_path(model, x, y, lam, steps=steps))
        results.append(x_adv)
        lam, low, high = attacks.narrow(lam, low, high, fooled)
    return attacks.closest(model, x, y, torch.stack(results))[0]

# %% wrong="carlini_wagner" name="the library's attack" says="write yourself"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    return attacks.carlini_wagner(model, x, y, steps=steps, search_steps=search_steps)

# %% wrong="carlini_wagner" name="another attack" says="write yourself"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    return attacks.ddn(model, x, y, steps=steps * search_steps)

# %% wrong="carlini_wagner" name="the order of what narrow returns" says="closest"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    lam = torch.full((len(x),), first_lambda, dtype=x.dtype)
    low, high, results = torch.zeros_like(lam), torch.full_like(lam, 1e9), []
    for _ in range(search_steps):
        x_adv, fooled = attacks.closest(model, x, y, attacks.penalty_path(model, x, y, lam, steps=steps))
        results.append(x_adv)
        low, lam, high = attacks.narrow(lam, low, high, fooled)
    return attacks.closest(model, x, y, torch.stack(results))[0]

# %% right="carlini_wagner" name="best so far with its distance"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    def size(points):
        return (points - x).flatten(1).norm(dim=1)
    lam = torch.ones(len(x), dtype=x.dtype) * first_lambda
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.ones(len(x), dtype=x.dtype) * math.inf
    best, least = x.clone(), torch.full_like(lam, math.inf)
    for _ in range(search_steps):
        path = attacks.penalty_path(model, x, y, lam, steps=steps)
        point, fooled = attacks.closest(model, x, y, path)
        better = fooled & (size(point) < least)
        best[better], least[better] = point[better], size(point)[better]
        lam, low, high = attacks.narrow(lam, low, high, fooled)
    return best

# %% right="carlini_wagner" name="image by image, all written out"
def carlini_wagner(model, x, y, steps, search_steps, first_lambda=1.0):
    out = []
    for b in range(len(x)):
        x0, y0, lam, low, high = x[b:b + 1], y[b:b + 1], first_lambda, 0.0, math.inf
        best, least = x0, math.inf
        if model(x0).argmax() != y0:
            out.append(x0)
            continue
        for _ in range(search_steps):
            x_t, hit = x0, False
            for t in range(steps + 1):
                d = (x_t - x0).norm().item()
                if model(x_t).argmax() != y0:
                    hit = True
                    if d < least:
                        best, least = x_t, d
                g = 2 * (x_t - x0) + lam * attacks.input_gradient(model, x_t, y0, losses.cw_margin)
                x_t = (x_t - g / (t + 2)).clamp(0, 1)
            low, high = (low, lam) if hit else (lam, high)
            lam = 10 * lam if high == math.inf else (low + high) / 2
        out.append(best)
    return torch.cat(out)

# ---------------------------------------------------------------- boundary_distance
# %% wrong="boundary_distance" name="the norm p itself" says="It is the dual one that counts"
def boundary_distance(weight, bias, x, y, p):
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    w = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=p, dim=2)
    return torch.where(w > 0, lead / w, torch.where(lead < 0, -1.0, math.inf).to(lead)).amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="L2 whatever p is" says="whatever p is"
def boundary_distance(weight, bias, x, y, p):
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    w = (weight[y][:, None] - weight).norm(dim=2)
    return torch.where(w > 0, lead / w, torch.where(lead < 0, -1.0, math.inf).to(lead)).amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="the runner-up" says="distance to the runner-up"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    i = z.scatter(1, y[:, None], -math.inf).argmax(1)
    rows = torch.arange(len(x))
    lead = z[rows, y] - z[rows, i]
    return (lead / torch.linalg.vector_norm(weight[y] - weight[i], ord=q, dim=1)).clamp_min(0)

# %% wrong="boundary_distance" name="0/0 for i = y" says="0/0"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    return (lead / torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2)).amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="a small number below the line" says="leave y out of the minimum"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    return (lead / (torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2) + 1e-12)).amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="negative where misclassified" says="not negative"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    w = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2)
    return torch.where(w > 0, lead / w, math.inf).amin(1)

# %% wrong="boundary_distance" name="twins not left out" says="never"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    w = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2)
    ratio = torch.nan_to_num(lead / w, nan=0.0, posinf=0.0, neginf=0.0).scatter(1, y[:, None], math.inf)
    return ratio.amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="norm of w_y" says="norm of w_y"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], math.inf)
    return (lead / torch.linalg.vector_norm(weight[y], ord=q, dim=1)[:, None]).amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="squared norm" says="squared norm"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], math.inf)
    w = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2) ** 2
    return (lead / w.clamp_min(1e-30)).amin(1).clamp_min(0)

# %% wrong="boundary_distance" name="no bias" says="bias is left out"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T
    lead = (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], math.inf)
    w = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2)
    return (lead / w.clamp_min(1e-30)).amin(1)

# %% wrong="boundary_distance" name="twins that are ahead are left out, too" says="Here the twin is ahead"
def boundary_distance(weight, bias, x, y, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    z = x @ weight.T + bias
    lead = z.gather(1, y[:, None]) - z
    w = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=q, dim=2)
    return torch.where(w > 0, lead / w, math.inf).amin(1).clamp_min(0)

# %% right="boundary_distance" name="two loops"
def boundary_distance(weight, bias, x, y, p):
    out = []
    for point, label in zip(x, y.tolist()):
        z = weight @ point + bias
        best = math.inf
        for i in range(len(weight)):
            if i == label:
                continue
            w = weight[label] - weight[i]
            size = {1: w.abs().max(), 2: (w * w).sum().sqrt(), math.inf: w.abs().sum()}[p].item()
            lead = (z[label] - z[i]).item()
            if lead <= 0:
                best = 0.0
            elif size > 0:
                best = min(best, lead / size)
        out.append(best)
    return torch.tensor(out, dtype=x.dtype)

# %% right="boundary_distance" name="q from 1/p + 1/q = 1"
def boundary_distance(weight, bias, x, y, p):
    q = math.inf if p == 1 else 1 / (1 - 1 / p)
    z = torch.nn.functional.linear(x, weight, bias)
    lead = z[torch.arange(len(y)), y].unsqueeze(1) - z
    size = torch.linalg.vector_norm(weight[y].unsqueeze(1) - weight.unsqueeze(0), ord=q, dim=-1)
    own = torch.nn.functional.one_hot(y, len(weight)).bool()
    ratio = torch.where((size == 0) & (lead > 0) | own, torch.inf, lead / size.clamp_min(1e-300 if x.dtype == torch.float64 else 1e-30))
    return torch.clamp(ratio.min(dim=1).values, min=0)

# ---------------------------------------------------------------- closest_point
# %% wrong="closest_point" name="the runner-up" says="boundary to the runner-up"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    i = z.scatter(1, y[:, None], -math.inf).argmax(1)
    w = weight[y] - weight[i]
    lead = z[rows, y] - z[rows, i]
    return torch.where((lead > 0)[:, None], x - (lead / w.square().sum(1))[:, None] * w, x)

# %% wrong="closest_point" name="norm enters once" says="the norm enters twice"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).argmin(1)
    step = (lead / w.norm(dim=2))[rows, i][:, None] * w[rows, i]
    return torch.where((z.argmax(1) == y)[:, None], x - step, x)

# %% wrong="closest_point" name="away from the boundary" says="away from the boundary"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).argmin(1)
    step = (lead / w.square().sum(2))[rows, i][:, None] * w[rows, i]
    return torch.where((z.argmax(1) == y)[:, None], x + step, x)

# %% wrong="closest_point" name="the step alone" says="Add it to x"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).argmin(1)
    return -(lead / w.square().sum(2))[rows, i][:, None] * w[rows, i]

# %% wrong="closest_point" name="misclassified points move" says="Class 0 is ahead of 1"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).argmin(1)
    return x - (lead / w.square().sum(2))[rows, i][:, None] * w[rows, i]

# %% wrong="closest_point" name="NaN from i = y" says="leave y out"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    i = (lead / w.norm(dim=2)).argmin(1)
    step = (lead / w.square().sum(2))[rows, i][:, None] * w[rows, i]
    return torch.where((z.argmax(1) == y)[:, None], x - step, x)

# %% wrong="closest_point" name="one class for the whole batch" says="nearest boundary of each point"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    ratio = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf)
    i = ratio.argmin(1)[:1].expand(len(x))
    step = torch.where((w.norm(dim=2) > 0)[..., None], (lead / w.square().sum(2))[..., None] * w, 0.0)[rows, i]
    return torch.where((z.argmax(1) == y)[:, None], x - step, x)

# %% wrong="closest_point" name="the package's own" says="write yourself"
def closest_point(weight, bias, x, y):
    model = torch.nn.Linear(*weight.T.shape, dtype=weight.dtype)
    model.load_state_dict({"weight": weight, "bias": bias})
    return attacks.nearest_boundary(model, x, y)

# %% wrong="closest_point" name="in place" says="edited in place"
def closest_point(weight, bias, x, y):
    z, rows = x @ weight.T + bias, torch.arange(len(x))
    lead = z[rows, y][:, None] - z
    w = weight[y][:, None] - weight
    i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).argmin(1)
    step = (lead / w.square().sum(2))[rows, i][:, None] * w[rows, i]
    x -= torch.where((z.argmax(1) == y)[:, None], step, 0 * step)
    return x

# %% right="closest_point" name="point by point"
def closest_point(weight, bias, x, y):
    out = []
    for point, label in zip(x, y.tolist()):
        z = weight @ point + bias
        best, least = point, math.inf
        for i in range(len(weight)):
            w = weight[label] - weight[i]
            if i == label:
                continue
            if z[label] <= z[i]:
                best, least = point, 0.0
            elif w.abs().sum() > 0:
                step = (z[label] - z[i]) / (w @ w) * w
                if step.norm().item() < least:
                    best, least = point - step, step.norm().item()
        out.append(best)
    return torch.stack(out)

# %% right="closest_point" name="all candidates, then the nearest"
def closest_point(weight, bias, x, y):
    z = torch.nn.functional.linear(x, weight, bias)
    lead = z.gather(1, y[:, None]) - z
    w = weight[y][:, None] - weight[None]
    squared = (w * w).sum(-1, keepdim=True)
    steps = torch.where(squared > 0, lead[..., None] * w / squared.clamp_min(torch.finfo(x.dtype).tiny), torch.inf)
    nearest = steps.norm(dim=2).argmin(1)
    chosen = steps[torch.arange(len(x)), nearest]
    beaten = (z.argmax(1) != y) | ((lead <= 0).sum(1) > 1)
    return x - torch.where(beaten[:, None], 0.0, chosen)

# ---------------------------------------------------------------- deepfool_step
# %% wrong="deepfool_step" name="the runner-up" says="boundary to the runner-up"
def deepfool_step(model, x, y):
    x = x.clone().requires_grad_(True)
    z, rows = model(x), torch.arange(len(x))
    i = z.detach().scatter(1, y[:, None], -math.inf).argmax(1)
    lead = z[rows, y] - z[rows, i]
    (w,) = torch.autograd.grad(lead.sum(), x)
    squared = w.flatten(1).square().sum(1)
    scale = torch.where((squared > 0) & (lead > 0), lead / squared, 0.0).detach()
    return x.detach() - scale.view(-1, *[1] * (x.ndim - 1)) * w

# %% wrong="deepfool_step" name="norm enters once" says="the norm enters twice"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    ratio = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf)
    r, i = ratio.min(1)
    stay = r.isinf() | (z.argmax(1) != y)
    step = torch.where(stay[:, None], 0.0, r[:, None] * w[rows, i])
    return x - step.reshape(x.shape)

# %% wrong="deepfool_step" name="clamped" says="Here it may leave [0, 1]"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    r, i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).min(1)
    stay = r.isinf() | (z.argmax(1) != y)
    step = torch.where(stay[:, None], 0.0, (r / w[rows, i].norm(dim=1))[:, None] * w[rows, i])
    return (x - step.reshape(x.shape)).clamp(0, 1)

# %% wrong="deepfool_step" name="2 per cent further" says="2 % further"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    r, i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).min(1)
    stay = r.isinf() | (z.argmax(1) != y)
    step = torch.where(stay[:, None], 0.0, 1.02 * (r / w[rows, i].norm(dim=1))[:, None] * w[rows, i])
    return x - step.reshape(x.shape)

# %% wrong="deepfool_step" name="wrong way" says="wrong way"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    r, i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).min(1)
    stay = r.isinf() | (z.argmax(1) != y)
    step = torch.where(stay[:, None], 0.0, (r / w[rows, i].norm(dim=1))[:, None] * w[rows, i])
    return x + step.reshape(x.shape)

# %% wrong="deepfool_step" name="zero gradients divide" says="what is divided by what"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    r, i = (lead / w.norm(dim=2)).scatter(1, y[:, None], math.inf).min(1)
    step = torch.where((z.argmax(1) != y)[:, None], 0.0, (r / w[rows, i].norm(dim=1))[:, None] * w[rows, i])
    return x - step.reshape(x.shape)

# %% wrong="deepfool_step" name="misclassified images move" says="The first image is misclassified"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    r, i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).min(1)
    step = torch.where(r.isinf()[:, None], 0.0, (r / w[rows, i].norm(dim=1).clamp_min(1e-12))[:, None] * w[rows, i])
    return x - step.reshape(x.shape)

# %% wrong="deepfool_step" name="graph freed" says="retain_graph=True keeps"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z = model(x0)
    G = torch.stack([torch.autograd.grad(z[:, k].sum(), x0)[0] for k in range(z.shape[1])], 1)
    return x - G[:, 0]

# %% wrong="deepfool_step" name="the whole attack" says="write yourself"
def deepfool_step(model, x, y):
    return attacks.deepfool(model, x, y, steps=1)

# %% wrong="deepfool_step" name="batch averaged" says="expected"
def deepfool_step(model, x, y):
    x0 = x.clone().requires_grad_(True)
    z, rows = model(x0), torch.arange(len(x))
    G = torch.stack([torch.autograd.grad(z[:, k].mean(), x0, retain_graph=True)[0] for k in range(z.shape[1])], 1).flatten(2)
    z = z.detach()
    lead, w = z[rows, y][:, None] - z, G[rows, y][:, None] - G
    r, i = torch.where(w.norm(dim=2) > 0, lead / w.norm(dim=2), math.inf).min(1)
    stay = r.isinf() | (z.argmax(1) != y)
    step = torch.where(stay[:, None], 0.0, (r / w[rows, i].norm(dim=1))[:, None] * w[rows, i])
    return x - step.reshape(x.shape)

# %% right="deepfool_step" name="gradients of the leads, image by image"
def deepfool_step(model, x, y):
    out = []
    for image, label in zip(x, y.tolist()):
        z = image[None].clone().requires_grad_(True)
        logits = model(z)[0]
        if int(logits.argmax()) != label:
            out.append(image)
            continue
        best, least = torch.zeros_like(image), math.inf
        for k in range(len(logits)):
            if k == label:
                continue
            lead = logits[label] - logits[k]
            w = torch.autograd.grad(lead, z, retain_graph=True)[0][0]
            size = w.norm().item()
            if size > 0 and lead.item() / size < least:
                best, least = lead.item() / size**2 * w, lead.item() / size
        out.append(image - best)
    return torch.stack(out)

# %% right="deepfool_step" name="jacobian by torch.func"
def deepfool_step(model, x, y):
    def one(image):
        return model(image[None])[0]
    J = torch.func.vmap(torch.func.jacrev(one))(x).detach()
    z = model(x).detach()
    own = y.view(-1, 1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[1:])
    w = (J.gather(1, own) - J).flatten(2)
    lead = z.gather(1, y[:, None]) - z
    squared = w.square().sum(2)
    steps = torch.where(squared[..., None] > 0, (lead / squared.clamp_min(1e-30))[..., None] * w, math.inf)
    length, i = steps.norm(dim=2).min(1)
    chosen = steps[torch.arange(len(x)), i]
    stay = length.isinf() | (z.argmax(1) != y)
    return x - torch.where(stay[:, None], 0.0, chosen).reshape(x.shape)

# ---------------------------------------------------------------- smallest_eps
# %% wrong="smallest_eps" name="the lower end" says="lower ends"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)).argmax(1) != y
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings):
        mid = (low + high) / 2
        f = fooled(mid)
        low, high = torch.where(f, low, mid), torch.where(f, mid, high)
    return low.masked_fill(never, math.inf).masked_fill(model(x).argmax(1) != y, 0)

# %% wrong="smallest_eps" name="the middle at the end" says="not tried yet"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)).argmax(1) != y
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings):
        mid = (low + high) / 2
        f = fooled(mid)
        low, high = torch.where(f, low, mid), torch.where(f, mid, high)
    return ((low + high) / 2).masked_fill(never, math.inf).masked_fill(model(x).argmax(1) != y, 0)

# %% wrong="smallest_eps" name="one interval for the batch" says="a radius of its own for each"
def smallest_eps(model, x, y, p, eps_max, halvings):
    low, high = 0.0, eps_max
    for _ in range(halvings):
        mid = (low + high) / 2
        x_adv = attacks.pgd(model, x, y, LpBall(mid, p), steps=10, random_start=False)
        if (model(x_adv).argmax(1) != y).all():
            high = mid
        else:
            low = mid
    return torch.full((len(x),), high, dtype=x.dtype)

# %% wrong="smallest_eps" name="never fooled is not noticed" says="no radius is known to be enough"
def smallest_eps(model, x, y, p, eps_max, halvings):
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    for _ in range(halvings):
        mid = (low + high) / 2
        f = model(attacks.pgd(model, x, y, LpBall(mid, p), steps=10, random_start=False)).argmax(1) != y
        low, high = torch.where(f, low, mid), torch.where(f, mid, high)
    return high.masked_fill(model(x).argmax(1) != y, 0)

# %% wrong="smallest_eps" name="misclassified images not at 0" says="misclassified as it is: 0"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)).argmax(1) != y
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings):
        mid = (low + high) / 2
        f = fooled(mid)
        low, high = torch.where(f, low, mid), torch.where(f, mid, high)
    return high.masked_fill(never, math.inf)

# %% wrong="smallest_eps" name="always L-inf" says="The ball has the norm p"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, math.inf), steps=10, random_start=False)).argmax(1) != y
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings):
        mid = (low + high) / 2
        f = fooled(mid)
        low, high = torch.where(f, low, mid), torch.where(f, mid, high)
    return high.masked_fill(never, math.inf).masked_fill(model(x).argmax(1) != y, 0)

# %% wrong="smallest_eps" name="ends exchanged" says="the middle becomes `high`"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)).argmax(1) != y
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings):
        mid = (low + high) / 2
        f = fooled(mid)
        low, high = torch.where(f, mid, low), torch.where(f, high, mid)
    return high.masked_fill(never, math.inf).masked_fill(model(x).argmax(1) != y, 0)

# %% wrong="smallest_eps" name="one halving too few" says="too few"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)).argmax(1) != y
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.full((len(x),), eps_max, dtype=x.dtype)
    never = ~fooled(high)
    for _ in range(halvings - 1):
        mid = (low + high) / 2
        f = fooled(mid)
        low, high = torch.where(f, low, mid), torch.where(f, mid, high)
    return high.masked_fill(never, math.inf).masked_fill(model(x).argmax(1) != y, 0)

# %% wrong="smallest_eps" name="the distance found instead of the radius" says="the next smaller one of the grid"
def smallest_eps(model, x, y, p, eps_max, halvings):
    x_adv = attacks.pgd(model, x, y, LpBall(eps_max, p), steps=10, random_start=False)
    d = torch.linalg.vector_norm((x_adv - x).flatten(1), ord=p, dim=1)
    return torch.where(model(x_adv).argmax(1) != y, d, math.inf)

# %% wrong="smallest_eps" name="the package's own" says="write yourself"
def smallest_eps(model, x, y, p, eps_max, halvings):
    return attacks.smallest_eps(model, x, y, p, eps_max=eps_max, halvings=halvings, steps=10)

# %% right="smallest_eps" name="image by image, with numbers"
def smallest_eps(model, x, y, p, eps_max, halvings):
    out = []
    for b in range(len(x)):
        x0, y0 = x[b:b + 1], y[b:b + 1]
        def fooled(eps):
            return bool(model(attacks.pgd(model, x0, y0, LpBall(eps, p), steps=10, random_start=False)).argmax() != y0)
        if model(x0).argmax() != y0:
            out.append(0.0)
        elif not fooled(eps_max):
            out.append(math.inf)
        else:
            low, high = 0.0, eps_max
            for _ in range(halvings):
                mid = (low + high) / 2
                low, high = (low, mid) if fooled(mid) else (mid, high)
            out.append(high)
    return torch.tensor(out, dtype=x.dtype)

# %% right="smallest_eps" name="through the package's narrow"
def smallest_eps(model, x, y, p, eps_max, halvings):
    def fooled(eps):
        return model(attacks.pgd(model, x, y, LpBall(eps, p), steps=10, random_start=False)).argmax(1) != y
    high = torch.full((len(x),), float(eps_max), dtype=x.dtype)
    low, enough, eps = torch.zeros_like(high), fooled(high), high / 2
    for _ in range(halvings):
        eps, low, high = attacks.narrow(eps, low, high, fooled(eps))
    high = torch.where(enough, high, torch.full_like(high, math.inf))
    return torch.where(model(x).argmax(1) == y, high, torch.zeros_like(high))
