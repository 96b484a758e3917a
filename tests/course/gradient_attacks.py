# Answers to assignment `gradient_attacks` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- zero_one_loss
# %% wrong="zero_one_loss" name="accuracy instead of loss" says="the accuracy"
def zero_one_loss(logits, y):
    return (logits.argmax(dim=1) == y).float()

# %% wrong="zero_one_loss" name="mean over the batch" says="mean or a sum"
def zero_one_loss(logits, y):
    return (logits.argmax(dim=1) != y).float().mean()

# %% wrong="zero_one_loss" name="booleans" says="booleans"
def zero_one_loss(logits, y):
    return logits.argmax(dim=1) != y

# %% wrong="zero_one_loss" name="argmax over the batch" says="shape"
def zero_one_loss(logits, y):
    return (logits.argmax(dim=0) != y[: logits.shape[1]]).float()

# %% wrong="zero_one_loss" name="threshold at zero" says="negative"
def zero_one_loss(logits, y):
    return ((logits.argmax(dim=1) != y) | (logits.max(dim=1).values < -4.5)).float()

# %% wrong="zero_one_loss" name="no return" says="forget a return"
def zero_one_loss(logits, y):
    loss = (logits.argmax(dim=1) != y).float()

# %% right="zero_one_loss" name="a loop"
def zero_one_loss(logits, y):
    out = []
    for row, label in zip(logits.tolist(), y.tolist()):
        out.append(0.0 if row.index(max(row)) == label else 1.0)
    return torch.tensor(out)

# %% right="zero_one_loss" name="softmax first, one minus equality, float64"
def zero_one_loss(logits, y):
    return 1 - torch.softmax(logits, dim=-1).max(dim=-1).indices.eq(y).double()

# %% wrong="zero_one_loss" name="less than half of the probability" says="most probable class can have less than one half"
def zero_one_loss(logits, y):
    return (torch.softmax(logits, dim=1)[torch.arange(len(y)), y] < 0.5).float()

# %% wrong="zero_one_loss" name="a soft loss" says="0 or 1, nothing between"
def zero_one_loss(logits, y):
    return 1 - torch.softmax(logits, dim=1)[torch.arange(len(y)), y]

# %% wrong="zero_one_loss" name="the smallest logit" says="the smallest logit"
def zero_one_loss(logits, y):
    return (logits.argmin(dim=1) != y).float()

# %% wrong="zero_one_loss" name="whole numbers" says="whole numbers"
def zero_one_loss(logits, y):
    return (logits.argmax(dim=1) != y).long()

# %% wrong="zero_one_loss" name="a list" says="Return a torch.Tensor"
def zero_one_loss(logits, y):
    return [float(row.argmax() != label) for row, label in zip(logits, y)]

# %% right="zero_one_loss" name="some other logit is larger"
def zero_one_loss(logits, y):
    return (logits > logits.gather(1, y[:, None])).any(dim=1).to(logits.dtype)

# ---------------------------------------------------------------- cross_entropy
# %% wrong="cross_entropy" name="mean over the batch" says="mean or a sum"
def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y)

# %% wrong="cross_entropy" name="log of softmax" says="logsumexp or log_softmax"
def cross_entropy(logits, y):
    return -torch.log(torch.softmax(logits, dim=1)[torch.arange(len(y)), y])

# %% wrong="cross_entropy" name="a small number in the logarithm" says="bounds the loss"
def cross_entropy(logits, y):
    return -torch.log(torch.softmax(logits, dim=1)[torch.arange(len(y)), y] + 1e-12)

# %% wrong="cross_entropy" name="exponentials by hand" says="NaN or infinite"
def cross_entropy(logits, y):
    return logits.exp().sum(dim=1).log() - logits[torch.arange(len(y)), y]

# %% wrong="cross_entropy" name="sign" says="sign is wrong"
def cross_entropy(logits, y):
    return torch.log_softmax(logits, dim=1)[torch.arange(len(y)), y]

# %% wrong="cross_entropy" name="the probability" says="negative logarithm"
def cross_entropy(logits, y):
    return torch.softmax(logits, dim=1)[torch.arange(len(y)), y]

# %% wrong="cross_entropy" name="no softmax" says="minus the logit"
def cross_entropy(logits, y):
    return -logits[torch.arange(len(y)), y]

# %% wrong="cross_entropy" name="float32 whatever comes in" says="dtype float32"
def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits.float(), y, reduction="none")

# %% wrong="cross_entropy" name="all classes at once" says="Pair each row with its own"
def cross_entropy(logits, y):
    return -torch.log_softmax(logits, dim=1)[:, y]

# %% right="cross_entropy" name="the library's, not reduced"
def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")

# %% right="cross_entropy" name="one-hot and maximum subtracted by hand"
def cross_entropy(logits, y):
    top = logits.max(dim=1, keepdim=True).values
    log_p = logits - top - (logits - top).exp().sum(dim=1, keepdim=True).log()
    onehot = torch.nn.functional.one_hot(y, logits.shape[1]).to(logits.dtype)
    return -(onehot * log_p).sum(dim=1)

# %% wrong="cross_entropy" name="softmax over the batch" says="over the classes"
def cross_entropy(logits, y):
    return -torch.log_softmax(logits, dim=0)[torch.arange(len(y)), y]

# %% wrong="cross_entropy" name="softmax twice" says="softmax was taken twice"
def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(torch.softmax(logits, dim=1), y, reduction="none")

# %% wrong="cross_entropy" name="mean over the classes" says="divided by the number of classes"
def cross_entropy(logits, y):
    onehot = torch.nn.functional.one_hot(y, logits.shape[1])
    return -(onehot * torch.log_softmax(logits, dim=1)).mean(dim=1)

# %% wrong="cross_entropy" name="logarithm to base two" says="natural logarithm"
def cross_entropy(logits, y):
    return -torch.log_softmax(logits, dim=1)[torch.arange(len(y)), y] / math.log(2)

# %% wrong="cross_entropy" name="probability clamped" says="bounds the loss"
def cross_entropy(logits, y):
    return -torch.softmax(logits, dim=1)[torch.arange(len(y)), y].clamp_min(1e-7).log()

# %% right="cross_entropy" name="nll_loss"
def cross_entropy(logits, y):
    return torch.nn.functional.nll_loss(logits.log_softmax(-1), y, reduction="none")

# %% right="cross_entropy" name="softplus of the other logits, image by image"
def cross_entropy(logits, y):
    rows = []
    for z, label in zip(logits, y):
        others = torch.cat([z[:label], z[label + 1 :]])
        rows.append(torch.nn.functional.softplus(torch.logsumexp(others, dim=0) - z[label], threshold=100))
    return torch.stack(rows)

# ---------------------------------------------------------------- input_gradient
# %% wrong="input_gradient" name="mean of the losses" says="averaged"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), x)[0]

# %% wrong="input_gradient" name="minus the loss" says="sign is wrong"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(-losses.cross_entropy(model(x), y).sum(), x)[0]

# %% wrong="input_gradient" name="sign of the gradient" says="only the sign is left"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0].sign()

# %% wrong="input_gradient" name="gradient of the logit" says="gradient of the logit"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(model(x)[torch.arange(len(y)), y].sum(), x)[0]

# %% wrong="input_gradient" name="predicted label instead of y" says="not the predicted class"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    logits = model(x)
    return torch.autograd.grad(losses.cross_entropy(logits, logits.argmax(dim=1)).sum(), x)[0]

# %% wrong="input_gradient" name="the tuple is returned" says="take its entry [0]"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)

# %% wrong="input_gradient" name="model left in train mode" says="left in train mode"
def input_gradient(model, x, y):
    model.train()
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]

# %% wrong="input_gradient" name="no gradient asked for" says="needs requires_grad=True"
def input_gradient(model, x, y):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    loss = losses.cross_entropy(model(x), y).sum()
    return torch.autograd.grad(loss, x)[0]

# %% wrong="input_gradient" name="gradient asked for on the caller's images" says="made to require a gradient"
def input_gradient(model, x, y):
    x.requires_grad_(True)
    losses.cross_entropy(model(x), y).sum().backward()
    return x.grad

# %% wrong="input_gradient" name="parameters frozen" says="left with frozen parameters"
def input_gradient(model, x, y):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]

# %% wrong="input_gradient" name="28 x 28 written out" says="shape"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0].reshape(-1, 1, 28, 28)

# %% right="input_gradient" name="backward and .grad"
def input_gradient(model, x, y):
    x_var = x.detach().clone()
    x_var.requires_grad = True
    loss = torch.nn.functional.cross_entropy(model(x_var), y, reduction="sum")
    loss.backward()
    return x_var.grad

# %% right="input_gradient" name="image by image"
def input_gradient(model, x, y):
    rows = []
    for image, label in zip(x.clone(), y):
        image = image.unsqueeze(0).requires_grad_()
        torch.nn.CrossEntropyLoss()(model(image), label.unsqueeze(0)).backward()
        rows.append(image.grad)
    return torch.cat(rows)

# %% right="input_gradient" name="torch.func, image by image at once"
def input_gradient(model, x, y):
    def loss(image, label):
        return losses.cross_entropy(model(image[None]), label[None]).sum()
    return torch.func.vmap(torch.func.grad(loss))(x, y)

# %% right="input_gradient" name="mean times the batch size"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return len(x) * torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), x)[0]

# %% wrong="input_gradient" name="everything under no_grad" says="does not require grad"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    with torch.no_grad():
        loss = losses.cross_entropy(model(x), y).sum()
    return torch.autograd.grad(loss, x)[0]

# %% wrong="input_gradient" name="a copy goes through the model" says="does not come from the tensor"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    loss = losses.cross_entropy(model(x.clone().detach().requires_grad_(True)), y).sum()
    return torch.autograd.grad(loss, x)[0]

# %% wrong="input_gradient" name="grad of a tensor that is no leaf" says="None"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True) + 0
    losses.cross_entropy(model(x), y).sum().backward()
    return x.grad

# %% wrong="input_gradient" name="one backward for each loss, of the whole batch" says="one number"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    losses.cross_entropy(model(x), y).backward()
    return x.grad

# %% wrong="input_gradient" name="gradients of two passes added up" says="twice"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    for _ in range(2):
        losses.cross_entropy(model(x), y).sum().backward()
    return x.grad

# %% wrong="input_gradient" name="scaled to length one" says="length"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    g = torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]
    return g / g.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *[1] * (g.ndim - 1))

# %% wrong="input_gradient" name="absolute value" says="absolute value"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0].abs()

# %% wrong="input_gradient" name="gradient of the probability" says="gradient of the probability"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(model(x).softmax(dim=1)[torch.arange(len(y)), y].sum(), x)[0]

# %% wrong="input_gradient" name="only the last image" says="last image"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    for loss in losses.cross_entropy(model(x), y):
        gradient = torch.autograd.grad(loss, x, retain_graph=True)[0]
    return gradient

# %% wrong="input_gradient" name="through numpy in float64" says="dtype float64"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    g = torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]
    return torch.tensor(g.numpy().astype("float64") * 1.0).to(torch.float64)

# %% right="input_gradient" name="backward with a one for every loss"
def input_gradient(model, x, y):
    x_t = x.detach().requires_grad_()
    loss = losses.cross_entropy(model(x_t), y)
    loss.backward(torch.ones_like(loss))
    return x_t.grad.clone()

# %% right="input_gradient" name="the Jacobian's diagonal blocks"
def input_gradient(model, x, y):
    jacobian = torch.autograd.functional.jacobian(lambda x: losses.cross_entropy(model(x), y), x)
    return torch.stack([jacobian[b, b] for b in range(len(x))])

# %% right="input_gradient" name="the logits' gradient by hand, the rest by autograd"
def input_gradient(model, x, y):
    x = x.clone().requires_grad_(True)
    logits = model(x)
    by_logits = logits.detach().softmax(dim=1) - torch.nn.functional.one_hot(y, logits.shape[1])
    return torch.autograd.grad(logits, x, grad_outputs=by_logits.to(logits.dtype))[0]

# ---------------------------------------------------------------- fgsm
# %% wrong="fgsm" name="downhill" says="downhill"
def fgsm(model, x, y, eps):
    return (x - eps * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)

# %% wrong="fgsm" name="the gradient itself" says="along the gradient itself"
def fgsm(model, x, y, eps):
    return (x + eps * attacks.input_gradient(model, x, y)).clamp(0, 1)

# %% wrong="fgsm" name="no clamp" says="pixels in [0, 1]"
def fgsm(model, x, y, eps):
    return x + eps * attacks.input_gradient(model, x, y).sign()

# %% wrong="fgsm" name="clamp before the step" says="Clamp as the very last thing"
def fgsm(model, x, y, eps):
    return x.clamp(0, 1) + eps * attacks.input_gradient(model, x, y).sign()

# %% wrong="fgsm" name="only the perturbation" says="Add it to x"
def fgsm(model, x, y, eps):
    return eps * attacks.input_gradient(model, x, y).sign()

# %% wrong="fgsm" name="in place" says="edited in place"
def fgsm(model, x, y, eps):
    step = eps * attacks.input_gradient(model, x, y).sign()
    x += step
    return x.clamp(0, 1)

# %% wrong="fgsm" name="gradient divided by its size" says="NaN"
def fgsm(model, x, y, eps):
    g = attacks.input_gradient(model, x, y)
    return torch.where(g != 0, x + eps * g / g.abs(), x + 0 * g / g.abs().flatten(1).sum(1).reshape(-1, *[1] * (g.ndim - 1))).clamp(0, 1)

# %% wrong="fgsm" name="eps written out" says="times eps"
def fgsm(model, x, y, eps):
    return (x + 0.1 * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)

# %% wrong="fgsm" name="twice the step" says="2 times eps"
def fgsm(model, x, y, eps):
    return (x + 2 * eps * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)

# %% wrong="fgsm" name="eps forgotten" says="is the sign scaled by eps?"
def fgsm(model, x, y, eps):
    return (x + attacks.input_gradient(model, x, y).sign()).clamp(0, 1)

# %% wrong="fgsm" name="flees the prediction" says="Flee y"
def fgsm(model, x, y, eps):
    return (x + eps * attacks.input_gradient(model, x, model(x).argmax(dim=1)).sign()).clamp(0, 1)

# %% wrong="fgsm" name="the perturbation is clamped" says="not the perturbation"
def fgsm(model, x, y, eps):
    return (x + (eps * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)).clamp(0, 1)

# %% wrong="fgsm" name="the reference is called" says="write yourself"
def fgsm(model, x, y, eps):
    return attacks.fgsm(model, x, y, LpBall(eps, math.inf))

# %% wrong="fgsm" name="model left in train mode" says="left in train mode"
def fgsm(model, x, y, eps):
    model.train()
    return (x + eps * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)

# %% right="fgsm" name="backward, numpy sign, minimum and maximum"
import numpy as np

def fgsm(model, x, y, eps):
    x = x.detach().clone()
    x.requires_grad = True
    torch.nn.functional.cross_entropy(model(x), y).backward()
    step = torch.from_numpy(np.sign(x.grad.numpy()))
    return torch.minimum(torch.maximum(x + eps * step, torch.tensor(0.0)), torch.tensor(1.0))

# %% right="fgsm" name="minus the gradient of the log-probability, not detached"
def fgsm(model, x, y, eps):
    x = x.clone().requires_grad_()
    log_p = torch.log_softmax(model(x), dim=1).gather(1, y.view(-1, 1)).sum()
    (grad,) = torch.autograd.grad(log_p, [x])
    return torch.clip(x - eps * torch.sign(grad), 0, 1)

# %% right="fgsm" name="comparisons instead of sign"
def fgsm(model, x, y, eps):
    g = attacks.input_gradient(model, x, y)
    return (x + eps * ((g > 0).to(x.dtype) - (g < 0).to(x.dtype))).clamp(min=0, max=1)

# %% wrong="fgsm" name="through numpy in float64" says="dtype float64"
def fgsm(model, x, y, eps):
    g = attacks.input_gradient(model, x, y).numpy().astype("float64")
    return torch.tensor((x.numpy() + eps * (g > 0) - eps * (g < 0)).clip(0, 1))

# %% wrong="fgsm" name="ten small steps" says="several steps"
def fgsm(model, x, y, eps):
    x_t = x
    for _ in range(10):
        x_t = (x_t + eps / 10 * attacks.input_gradient(model, x_t, y).sign()).clamp(0, 1)
    return x_t

# %% wrong="fgsm" name="the L2 step" says="along the gradient itself"
def fgsm(model, x, y, eps):
    g = attacks.input_gradient(model, x, y)
    return (x + eps * g / g.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *[1] * (g.ndim - 1))).clamp(0, 1)

# %% wrong="fgsm" name="one sign pattern for the whole batch" says="its own gradient"
def fgsm(model, x, y, eps):
    return (x + eps * attacks.input_gradient(model, x, y).mean(dim=0, keepdim=True).sign()).clamp(0, 1)

# %% wrong="fgsm" name="random signs" says="direction"
def fgsm(model, x, y, eps):
    return (x + eps * (torch.rand_like(x) - 0.5).sign()).clamp(0, 1)

# %% wrong="fgsm" name="eps in grey levels" says="0.00392 times eps"
def fgsm(model, x, y, eps):
    return (x + eps / 255 * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)

# %% wrong="fgsm" name="clamped to the range of the batch" says="smallest and largest pixel of this batch"
def fgsm(model, x, y, eps):
    return (x + eps * attacks.input_gradient(model, x, y).sign()).clamp(x.min(), x.max())

# %% wrong="fgsm" name="clamped to [-1, 1]" says="pixels in [0, 1]"
def fgsm(model, x, y, eps):
    return (x + eps * attacks.input_gradient(model, x, y).sign()).clamp(-1, 1)

# %% right="fgsm" name="image by image"
def fgsm(model, x, y, eps):
    rows = [image + eps * attacks.input_gradient(model, image[None], label[None])[0].sign() for image, label in zip(x, y)]
    return torch.stack(rows).clamp(0, 1)

# %% right="fgsm" name="a zero gradient goes up"
def fgsm(model, x, y, eps):
    up = attacks.input_gradient(model, x, y) >= 0
    return torch.where(up, (x + eps).clamp_max(1), (x - eps).clamp_min(0))

# ---------------------------------------------------------------- longest_safe_step
# %% wrong="longest_safe_step" name="eps for every norm" says="right for p = inf only"
def longest_safe_step(eps, p, d):
    return eps

# %% wrong="longest_safe_step" name="times the root" says="You multiply with the root"
def longest_safe_step(eps, p, d):
    return eps if p == math.inf else eps * d ** (1 / p)

# %% wrong="longest_safe_step" name="divided by d in L2" says="You divide by d"
def longest_safe_step(eps, p, d):
    return eps if p == math.inf else eps / d

# %% wrong="longest_safe_step" name="root of d in L1" says="that is the L2 norm"
def longest_safe_step(eps, p, d):
    return eps if p == math.inf else eps / d**0.5

# %% wrong="longest_safe_step" name="784 written out" says="no number of pixels may be written out"
def longest_safe_step(eps, p, d):
    if d not in (784, 100, 12):
        d = 784
    return eps if p == math.inf else eps / d ** (1 / p)

# %% wrong="longest_safe_step" name="whole numbers" says="expected"
def longest_safe_step(eps, p, d):
    return eps if p == math.inf else eps // d ** (1 / p)

# %% right="longest_safe_step" name="one formula with 1/inf = 0"
def longest_safe_step(eps, p, d):
    return eps * d ** (-1.0 / p)

# %% right="longest_safe_step" name="through torch's norm, as a tensor"
def longest_safe_step(eps, p, d):
    return eps / torch.linalg.vector_norm(torch.ones(d, dtype=torch.float64), ord=p)

# %% wrong="longest_safe_step" name="d and p exchanged" says="expected"
def longest_safe_step(eps, p, d):
    return eps if p == math.inf else eps / p ** (1 / d)

# %% wrong="longest_safe_step" name="nothing for infinity" says="forget a return"
def longest_safe_step(eps, p, d):
    if p == 1:
        return eps / d
    if p == 2:
        return eps / d**0.5

# %% wrong="longest_safe_step" name="the length of the step instead" says="multiply with the root of d"
def longest_safe_step(eps, p, d):
    return float(torch.linalg.vector_norm(eps * torch.ones(d), ord=p))

# %% wrong="longest_safe_step" name="half of it" says="half"
def longest_safe_step(eps, p, d):
    return eps / d ** (1 / p) / 2

# %% wrong="longest_safe_step" name="the square of d" says="divide by the square"
def longest_safe_step(eps, p, d):
    return eps / d ** (0 if p == math.inf else p)

# %% right="longest_safe_step" name="by bisection"
def longest_safe_step(eps, p, d):
    low, high = 0.0, 2 * eps
    s = torch.ones(d, dtype=torch.float64)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if torch.linalg.vector_norm(middle * s, ord=p) <= eps else (low, middle)
    return low

# ---------------------------------------------------------------- project
# %% wrong="project" name="no image range" says="is no image"
def project(x_tilde, x, eps):
    return x_tilde.clamp(x - eps, x + eps)

# %% wrong="project" name="image range only" says="Nothing was brought back into the ball"
def project(x_tilde, x, eps):
    return x_tilde.clamp(0, 1)

# %% wrong="project" name="onto the surface" says="nearest point to one that is inside already is itself"
def project(x_tilde, x, eps):
    return (x + eps * (x_tilde - x).sign()).clamp(0, 1)

# %% wrong="project" name="the whole perturbation shrunk" says="shrink the whole perturbation"
def project(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1).max(dim=1).values.reshape(-1, *[1] * (x.ndim - 1))
    return (x + delta * (eps / size.clamp_min(1e-12)).clamp_max(1)).clamp(0, 1)

# %% wrong="project" name="the perturbation is returned" says="You return the perturbation"
def project(x_tilde, x, eps):
    return (x_tilde - x).clamp(-eps, eps)

# %% wrong="project" name="in place" says="edited in place"
def project(x_tilde, x, eps):
    return x_tilde.clamp_(x - eps, x + eps).clamp_(0, 1)

# %% wrong="project" name="x and x_tilde exchanged" says="x"
def project(x_tilde, x, eps):
    return x.clamp(x_tilde - eps, x_tilde + eps).clamp(0, 1)

# %% wrong="project" name="a double loop over a table" says="TypeError"
def project(x_tilde, x, eps):
    z = x_tilde.clone()
    for b in range(len(x)):
        for i in range(x.shape[1]):
            z[b, i] = min(max(float(x_tilde[b, i].item() if x.ndim == 2 else x_tilde[b, i].tolist()), float(x[b, i]) - eps), float(x[b, i]) + eps)
    return z.clamp(0, 1)

# %% right="project" name="perturbation first"
def project(x_tilde, x, eps):
    delta = torch.clamp(x_tilde - x, -eps, eps)
    return torch.clamp(x + delta, 0.0, 1.0)

# %% right="project" name="range first, then ball, with where"
def project(x_tilde, x, eps):
    z = x_tilde.clamp(0, 1)
    z = torch.where(z > x + eps, x + eps, z)
    return torch.where(z < x - eps, x - eps, z)

# %% wrong="project" name="the library's ball" says="write yourself"
def project(x_tilde, x, eps):
    return LpBall(eps, math.inf).project(x_tilde, x)

# %% wrong="project" name="one interval for all pixels" says="interval of its own"
def project(x_tilde, x, eps):
    return x_tilde.clamp(float(x.min()) - eps, float(x.max()) + eps).clamp(0, 1)

# %% wrong="project" name="what is outside goes back to x" says="all the way back to x"
def project(x_tilde, x, eps):
    return torch.where((x_tilde - x).abs() <= eps, x_tilde, x).clamp(0, 1)

# %% wrong="project" name="clamped around zero" says="around x, not around 0"
def project(x_tilde, x, eps):
    return x_tilde.clamp(-eps, eps).clamp(0, 1)

# %% wrong="project" name="onto the L2 ball" says="shrink the whole perturbation"
def project(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
    return (x + delta * (eps / size.clamp_min(1e-12)).clamp_max(1)).clamp(0, 1)

# %% wrong="project" name="only from above" says="below"
def project(x_tilde, x, eps):
    return torch.minimum(x_tilde, x + eps).clamp(0, 1)

# %% wrong="project" name="a value in float64" says="dtype float64"
def project(x_tilde, x, eps):
    import numpy as np
    return torch.tensor(np.clip(x_tilde.numpy(), x.numpy() - np.float64(eps), x.numpy() + np.float64(eps)).clip(0, 1).astype(float))

# %% wrong="project" name="the range for the perturbation" says="clamp the image"
def project(x_tilde, x, eps):
    return x + (x_tilde - x).clamp(-eps, eps).clamp(0, 1)

# %% right="project" name="the middle of three"
def project(x_tilde, x, eps):
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    return torch.stack([low, x_tilde, high]).median(dim=0).values

# %% right="project" name="numpy's clip"
def project(x_tilde, x, eps):
    import numpy as np
    low, high = np.maximum(x.numpy() - eps, 0), np.minimum(x.numpy() + eps, 1)
    return torch.from_numpy(np.clip(x_tilde.numpy(), low, high)).to(x.dtype)

# ---------------------------------------------------------------- pgd
# %% wrong="pgd" name="gradient of x in every step" says="gradient is always that of x"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    g = attacks.input_gradient(model, x, y)
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * g.sign(), x)
    return x_t

# %% wrong="pgd" name="gradients added up" says="not added up with earlier ones"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = (x if x_0 is None else x_0).clone().requires_grad_(True)
    for _ in range(steps):
        losses.cross_entropy(model(x_t), y).sum().backward()
        with torch.no_grad():
            x_t.copy_(LpBall(eps, math.inf).project(x_t + step_size * x_t.grad.sign(), x))
    return x_t

# %% wrong="pgd" name="projection around the last iterate" says="around x"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x_t)
    return x_t

# %% wrong="pgd" name="no projection" says="eps"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = (x_t + step_size * attacks.input_gradient(model, x_t, y).sign()).clamp(0, 1)
    return x_t

# %% wrong="pgd" name="projection only at the end" says="Project after each step"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = x_t + step_size * attacks.input_gradient(model, x_t, y).sign()
    return LpBall(eps, math.inf).project(x_t, x)

# %% wrong="pgd" name="no image range" says="pixels in [0, 1]"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = x_t + step_size * attacks.input_gradient(model, x_t, y).sign()
        x_t = x + (x_t - x).clamp(-eps, eps)
    return x_t

# %% wrong="pgd" name="downhill" says="the steps go downhill"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="steps of eps" says="Is step_size what each step moves by"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + eps * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="return inside the loop" says="Only one step was taken"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
        return x_t
    return x_t

# %% wrong="pgd" name="one step too many" says="One step too many"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps + 1):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="the gradient itself" says="along the gradient itself"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y), x)
    return x_t

# %% wrong="pgd" name="in place on x" says="edited in place"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    centre = x.clone()
    if x_0 is not None:
        x.copy_(x_0)
    for _ in range(steps):
        x += step_size * attacks.input_gradient(model, x, y).sign()
        x.copy_(LpBall(eps, math.inf).project(x, centre))
    return x

# %% right="pgd" name="backward with the gradient cleared, perturbation as the variable"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    delta = (torch.zeros_like(x) if x_0 is None else x_0 - x).requires_grad_(True)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(model(x + delta), y, reduction="sum")
        loss.backward()
        with torch.no_grad():
            delta.add_(step_size * delta.grad.sign()).clamp_(-eps, eps)
            delta.copy_((x + delta).clamp(0, 1) - x)
        delta.grad = None
    return x + delta

# %% wrong="pgd" name="image range only at the end" says="into the image range, too"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = x_t + step_size * attacks.input_gradient(model, x_t, y).sign()
        x_t = x + (x_t - x).clamp(-eps, eps)
    return x_t.clamp(0, 1)

# %% wrong="pgd" name="edits x_0" says="x_0 was edited in place"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x.clone() if x_0 is None else x_0
    for _ in range(steps):
        x_t += step_size * attacks.input_gradient(model, x_t, y).sign()
        x_t.copy_(LpBall(eps, math.inf).project(x_t, x))
    return x_t

# %% right="pgd" name="all of it under no_grad"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    with torch.no_grad():
        for _ in range(steps):
            x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% right="pgd" name="FGSM steps with bounds worked out once"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    low, high = torch.clip(x - eps, 0, 1), torch.clip(x + eps, 0, 1)
    adv = (x if x_0 is None else x_0).detach().clone()
    for t in range(steps):
        adv.requires_grad_(True)
        grad = torch.autograd.grad(torch.nn.CrossEntropyLoss()(model(adv), y), adv)[0]
        adv = adv.detach() + step_size * torch.sign(grad)
        adv = torch.max(torch.min(adv, high), low)
    return adv

# %% wrong="pgd" name="the reference is called" says="write yourself"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    return attacks.pgd(model, x, y, LpBall(eps, math.inf), steps=steps, step_size=step_size, random_start=False)

# %% wrong="pgd" name="stops when all are fooled" says="fooled or not"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        if (model(x_t).argmax(dim=1) != y).all():
            break
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="the best iterate is returned" says="earlier iterate"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = best = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
        if losses.cross_entropy(model(x_t), y).sum() > losses.cross_entropy(model(best), y).sum():
            best = x_t
    return best

# %% wrong="pgd" name="x_0 is not used" says="Here an x_0 is given"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="the ball moves along with x_0" says="the ball around x that counts"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x = x if x_0 is None else x_0
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="step size worked out from eps" says="Is step_size what each step moves by"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + eps / steps * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="a truth value of x_0" says="Boolean value"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x_0 or x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="own gradient under no_grad" says="does not require grad"
@torch.no_grad()
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = x_t.clone().requires_grad_(True)
        g = torch.autograd.grad(losses.cross_entropy(model(x_t), y).sum(), x_t)[0]
        x_t = LpBall(eps, math.inf).project(x_t + step_size * g.sign(), x)
    return x_t

# %% wrong="pgd" name="one step too few" says="One step too few"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(1, steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="fooled images stand still" says="fooled or not"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        right = (model(x_t).argmax(dim=1) == y).reshape(-1, *[1] * (x.ndim - 1))
        new = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
        x_t = torch.where(right, new, x_t)
    return x_t

# %% wrong="pgd" name="smaller and smaller steps" says="same length"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for t in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size / (t + 1) * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="momentum" says="not added up with earlier ones"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t, m = (x if x_0 is None else x_0), 0
    for _ in range(steps):
        m = 0.9 * m + attacks.input_gradient(model, x_t, y)
        x_t = LpBall(eps, math.inf).project(x_t + step_size * m.sign(), x)
    return x_t

# %% wrong="pgd" name="the perturbation is returned" says="You return the perturbation"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t - x

# %% wrong="pgd" name="always a random start" says="starts somewhere else than at x"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = LpBall(eps, math.inf).sample(x) if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="flees the prediction" says="Flee y"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    y = model(x).argmax(dim=1)
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="pgd" name="x and eps around 28 x 28" says="shape"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t.reshape(-1, 1, 28, 28)

# %% wrong="pgd" name="float64 on the way" says="dtype float64"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    x_t = (x if x_0 is None else x_0).double()
    for _ in range(steps):
        g = attacks.input_gradient(model, x_t.to(x.dtype), y).double()
        x_t = LpBall(eps, math.inf).project(x_t + step_size * g.sign(), x.double())
    return x_t

# %% wrong="pgd" name="the loss averaged over a gradient that is never cleared" says="fresh"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    delta = (torch.zeros_like(x) if x_0 is None else x_0 - x).requires_grad_(True)
    for _ in range(steps):
        torch.nn.functional.cross_entropy(model(x + delta), y).backward()
        delta.data = LpBall(eps, math.inf).project(x + delta.data + step_size * delta.grad.sign(), x) - x
    return (x + delta).detach()

# %% wrong="pgd" name="model left in train mode" says="left in train mode"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    model.train()
    x_t = x if x_0 is None else x_0
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% right="pgd" name="an optimiser that goes up"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    z = (x if x_0 is None else x_0).clone().requires_grad_(True)
    optimiser = torch.optim.SGD([z], lr=step_size, maximize=True)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(z), y, reduction="sum").backward()
        z.grad.sign_()
        optimiser.step()
        z.data = LpBall(eps, math.inf).project(z.data, x)
    return z.detach()

# %% right="pgd" name="recursion"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    if steps == 0:
        return x if x_0 is None else x_0
    before = pgd(model, x, y, eps, steps - 1, step_size, x_0)
    return LpBall(eps, math.inf).project(before + step_size * attacks.input_gradient(model, before, y).sign(), x)

# %% right="pgd" name="image by image"
def pgd(model, x, y, eps, steps, step_size, x_0=None):
    ends = []
    for b in range(len(x)):
        centre = x[b : b + 1]
        z = centre if x_0 is None else x_0[b : b + 1]
        for _ in range(steps):
            z = z + step_size * attacks.input_gradient(model, z, y[b : b + 1]).sign()
            z = torch.max(torch.min(z, centre + eps), centre - eps).clamp(0, 1)
        ends.append(z)
    return torch.cat(ends)

# ---------------------------------------------------------------- targeted_pgd
# %% wrong="targeted_pgd" name="away from the target" says="walk away from the target"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, target).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="towards the prediction" says="Go down the target's"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t, y = x, model(x).argmax(dim=1)
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="model left in train mode" says="left in train mode"
def targeted_pgd(model, x, target, eps, steps, step_size):
    model.train()
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, target).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="away from the prediction" says="target"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t, y = x, model(x).argmax(dim=1)
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t + step_size * attacks.input_gradient(model, x_t, y).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="no projection" says="eps"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = (x_t - step_size * attacks.input_gradient(model, x_t, target).sign()).clamp(0, 1)
    return x_t

# %% wrong="targeted_pgd" name="stops where the target is reached, everywhere" says="All steps are asked for"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        if (model(x_t).argmax(dim=1) == target).float().mean() > 0.9:
            break
        x_t = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, target).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="projection only at the end" says="Project after each step"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = x_t - step_size * attacks.input_gradient(model, x_t, target).sign()
    return LpBall(eps, math.inf).project(x_t, x)

# %% wrong="targeted_pgd" name="gradient of x in every step" says="gradient of the target's loss at the iterate"
def targeted_pgd(model, x, target, eps, steps, step_size):
    g = attacks.input_gradient(model, x, target).sign()
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - step_size * g, x)
    return x_t

# %% wrong="targeted_pgd" name="not written" says="not attempted"
def targeted_pgd(model, x, target, eps, steps, step_size):
    raise NotImplementedError()

# %% right="targeted_pgd" name="up the log-probability of the target"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x.clone()
    for _ in range(steps):
        x_t.requires_grad_(True)
        log_p = torch.log_softmax(model(x_t), dim=-1)[range(len(target)), target].sum()
        grad = torch.autograd.grad(log_p, x_t)[0]
        x_t = (x + (x_t.detach() + step_size * grad.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_t

# %% right="targeted_pgd" name="an optimiser that is handed the sign"
def targeted_pgd(model, x, target, eps, steps, step_size):
    z = x.clone().requires_grad_(True)
    optimiser = torch.optim.SGD([z], lr=step_size)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(z), target).backward()
        z.grad.sign_()
        optimiser.step()
        z.data = LpBall(eps, math.inf).project(z.data, x)
    return z.detach()

# %% wrong="targeted_pgd" name="steps of eps" says="step_size"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - eps * attacks.input_gradient(model, x_t, target).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="one step only" says="one step"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x - step_size * attacks.input_gradient(model, x, target).sign(), x)
    return x_t

# %% wrong="targeted_pgd" name="the gradient itself" says="sign"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, target), x)
    return x_t

# %% wrong="targeted_pgd" name="images that have arrived stand still" says="All steps are asked for"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        there = (model(x_t).argmax(dim=1) == target).reshape(-1, *[1] * (x.ndim - 1))
        new = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, target).sign(), x)
        x_t = torch.where(there, x_t, new)
    return x_t

# %% wrong="targeted_pgd" name="gradients added up" says="at the iterate"
def targeted_pgd(model, x, target, eps, steps, step_size):
    z = x.clone().requires_grad_(True)
    for _ in range(steps):
        losses.cross_entropy(model(z), target).sum().backward()
        z.data = LpBall(eps, math.inf).project(z.data - step_size * z.grad.sign(), x)
    return z.detach()

# %% wrong="targeted_pgd" name="projection around the last iterate" says="around x"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = LpBall(eps, math.inf).project(x_t - step_size * attacks.input_gradient(model, x_t, target).sign(), x_t)
    return x_t

# %% wrong="targeted_pgd" name="no image range" says="pixels in [0, 1]"
def targeted_pgd(model, x, target, eps, steps, step_size):
    x_t = x
    for _ in range(steps):
        x_t = x_t - step_size * attacks.input_gradient(model, x_t, target).sign()
        x_t = x + (x_t - x).clamp(-eps, eps)
    return x_t

# %% wrong="targeted_pgd" name="in place" says="edited in place"
def targeted_pgd(model, x, target, eps, steps, step_size):
    centre = x.clone()
    for _ in range(steps):
        x -= step_size * attacks.input_gradient(model, x, target).sign()
        x.copy_(LpBall(eps, math.inf).project(x, centre))
    return x

# %% wrong="targeted_pgd" name="the reference is called" says="write yourself"
def targeted_pgd(model, x, target, eps, steps, step_size):
    return attacks.pgd(model, x, target, LpBall(eps, math.inf), steps=steps, step_size=step_size, random_start=False, target=target)

# %% right="targeted_pgd" name="up minus the loss, with bounds worked out once"
def targeted_pgd(model, x, target, eps, steps, step_size):
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    z = x.clone()
    for _ in range(steps):
        z = z.detach().requires_grad_(True)
        (-torch.nn.functional.cross_entropy(model(z), target)).backward()
        z = torch.maximum(torch.minimum(z.detach() + step_size * z.grad.sign(), high), low)
    return z

# ---------------------------------------------------------------- random_start
# %% wrong="random_start" name="from 0 to eps" says="covers [-eps, eps]"
def random_start(x, eps, seed):
    return (x + eps * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)

# %% wrong="random_start" name="normal noise" says="hard edges"
def random_start(x, eps, seed):
    return (x + eps * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)

# %% wrong="random_start" name="normal noise, clamped to the ball" says="Every shift"
def random_start(x, eps, seed):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return (x + (eps * noise).clamp(-eps, eps)).clamp(0, 1)

# %% wrong="random_start" name="signs only" says="Every shift"
def random_start(x, eps, seed):
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return (x + eps * noise.sign()).clamp(0, 1)

# %% wrong="random_start" name="one noise for all images" says="the same noise for every image"
def random_start(x, eps, seed):
    noise = 2 * torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(seed)) - 1
    return (x + eps * noise).clamp(0, 1)

# %% wrong="random_start" name="one number for each image" says="a shift of its own for each pixel"
def random_start(x, eps, seed):
    noise = 2 * torch.rand((len(x), *[1] * (x.ndim - 1)), generator=torch.Generator().manual_seed(seed)) - 1
    return (x + eps * noise).clamp(0, 1)

# %% wrong="random_start" name="seed ignored" says="must reach the generator"
def random_start(x, eps, seed):
    torch.manual_seed(0)
    return (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)

# %% wrong="random_start" name="no clamp" says="pixels in [0, 1]"
def random_start(x, eps, seed):
    noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 1
    return x + eps * noise

# %% wrong="random_start" name="adds to x in place" says="edited in place"
def random_start(x, eps, seed):
    x += eps * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 1)
    return x.clamp(0, 1)

# %% right="random_start" name="uniform_ in place on a new tensor"
def random_start(x, eps, seed):
    noise = torch.empty_like(x).uniform_(-eps, eps, generator=torch.Generator().manual_seed(seed))
    return torch.clamp(x + noise, 0, 1)

# %% right="random_start" name="numpy's generator"
import numpy as np

def random_start(x, eps, seed):
    noise = np.random.default_rng(seed).uniform(-eps, eps, size=tuple(x.shape))
    return (x + torch.as_tensor(noise, dtype=x.dtype)).clamp(0, 1)

# %% wrong="random_start" name="uniform in what the range leaves" says="then the clamp"
def random_start(x, eps, seed):
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    return low + (high - low) * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))

# %% wrong="random_start" name="only two seeds" says="The seed, as it is"
def random_start(x, eps, seed):
    return (x + eps * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed % 2)) - 1)).clamp(0, 1)

# %% right="random_start" name="the global seed"
def random_start(x, eps, seed):
    torch.manual_seed(seed)
    return (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)

# %% wrong="random_start" name="half the radius" says="covers [-eps, eps]"
def random_start(x, eps, seed):
    return (x + eps * (torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 0.5)).clamp(0, 1)

# %% wrong="random_start" name="the difference of two draws" says="Every shift"
def random_start(x, eps, seed):
    source = torch.Generator().manual_seed(seed)
    return (x + eps * (torch.rand(x.shape, generator=source) - torch.rand(x.shape, generator=source))).clamp(0, 1)

# %% wrong="random_start" name="only the noise" says="Add it to x"
def random_start(x, eps, seed):
    return eps * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 1)

# %% wrong="random_start" name="a generator that is not used" says="must reach the generator"
def random_start(x, eps, seed):
    generator = torch.Generator().manual_seed(seed)
    return (x + eps * (2 * torch.rand(x.shape) - 1)).clamp(0, 1)

# %% wrong="random_start" name="anywhere in the image range" says="moved by"
def random_start(x, eps, seed):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))

# %% wrong="random_start" name="numpy's float64" says="dtype float64"
def random_start(x, eps, seed):
    import numpy as np
    noise = np.random.default_rng(seed).uniform(-eps, eps, size=tuple(x.shape))
    return torch.tensor((x.numpy() + noise).clip(0, 1))

# %% wrong="random_start" name="a few levels only" says="different shifts"
def random_start(x, eps, seed):
    noise = torch.randint(-2, 3, x.shape, generator=torch.Generator().manual_seed(seed)) / 2
    return (x + eps * noise).clamp(0, 1)

# %% wrong="random_start" name="no return" says="forget a return"
def random_start(x, eps, seed):
    generator = torch.Generator().manual_seed(seed)
    start = (x + eps * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)

# %% right="random_start" name="image by image from one generator"
def random_start(x, eps, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.stack([image + eps * (1 - 2 * torch.rand(image.shape, generator=source)) for image in x]).clamp(0, 1)

# ---------------------------------------------------------------- keep_worst
# %% wrong="keep_worst" name="one run for the whole batch" says="one run for the whole batch"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), y).mean() for c in candidates])
    return candidates[loss.argmax()]

# %% wrong="keep_worst" name="the lowest loss" says="lowest loss"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), y) for c in candidates])
    return candidates[loss.argmin(dim=0), torch.arange(len(y))]

# %% wrong="keep_worst" name="worst image of each run" says="shape"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), y) for c in candidates])
    return candidates[torch.arange(len(candidates)), loss.argmax(dim=1)]

# %% wrong="keep_worst" name="edits the candidates" says="edited in place"
def keep_worst(model, candidates, y):
    best = candidates[0]
    for c in candidates[1:]:
        better = losses.cross_entropy(model(c), y) > losses.cross_entropy(model(best), y)
        best[better] = c[better]
    return best

# %% wrong="keep_worst" name="indexing without the batch" says="Pair each row with its own"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), y) for c in candidates])
    return candidates[loss.argmax(dim=0)]

# %% wrong="keep_worst" name="by the margin" says="the cross-entropy decides"
def keep_worst(model, candidates, y):
    def margin(logits):
        others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
        return others - logits.gather(1, y[:, None]).squeeze(1)
    score = torch.stack([margin(model(c)) for c in candidates])
    return candidates[score.argmax(dim=0), torch.arange(len(y))]

# %% wrong="keep_worst" name="lowest logit of the label" says="depends on all logits"
def keep_worst(model, candidates, y):
    score = torch.stack([-model(c).gather(1, y[:, None]).squeeze(1) for c in candidates])
    return candidates[score.argmax(dim=0), torch.arange(len(y))]

# %% wrong="keep_worst" name="the last run" says="one run for the whole batch"
def keep_worst(model, candidates, y):
    return candidates[-1]

# %% wrong="keep_worst" name="the loss of class 0" says="label"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), torch.zeros_like(y)) for c in candidates])
    return candidates[loss.argmax(dim=0), torch.arange(len(y))]

# %% wrong="keep_worst" name="pixels of 1 x 28 x 28 written out" says="shape"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), y) for c in candidates])
    return candidates[loss.argmax(dim=0), torch.arange(len(y))].reshape(-1, 2)

# %% right="keep_worst" name="best so far with where"
def keep_worst(model, candidates, y):
    best, best_loss = candidates[0], losses.cross_entropy(model(candidates[0]), y)
    for x_adv in candidates[1:]:
        loss = losses.cross_entropy(model(x_adv), y)
        better = (loss > best_loss).reshape(-1, *[1] * (x_adv.ndim - 1))
        best, best_loss = torch.where(better, x_adv, best), torch.maximum(loss, best_loss)
    return best

# %% right="keep_worst" name="all runs as one big batch"
def keep_worst(model, candidates, y):
    runs, images = candidates.shape[:2]
    loss = torch.nn.functional.cross_entropy(model(candidates.flatten(0, 1)), y.repeat(runs), reduction="none").view(runs, images)
    return torch.stack([candidates[int(loss[:, b].argmax()), b] for b in range(images)])

# %% wrong="keep_worst" name="an image that fools, else the first" says="the cross-entropy decides"
def keep_worst(model, candidates, y):
    wrong = torch.stack([model(c).argmax(dim=1) != y for c in candidates]).float()
    return candidates[wrong.argmax(dim=0), torch.arange(len(y))]

# %% wrong="keep_worst" name="the losses instead of the images" says="shape"
def keep_worst(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(c), y) for c in candidates]).max(dim=0).values

# %% wrong="keep_worst" name="which run" says="shape"
def keep_worst(model, candidates, y):
    return torch.stack([losses.cross_entropy(model(c), y) for c in candidates]).argmax(dim=0)

# %% wrong="keep_worst" name="runs and images exchanged" says="error"
def keep_worst(model, candidates, y):
    loss = torch.stack([losses.cross_entropy(model(c), y) for c in candidates])
    return candidates[torch.arange(len(y)), loss.argmax(dim=0)]

# %% wrong="keep_worst" name="the mean of the runs" says="no run's own"
def keep_worst(model, candidates, y):
    return candidates.mean(dim=0)

# %% wrong="keep_worst" name="each only against the last" says="best so far"
def keep_worst(model, candidates, y):
    worst, before = candidates[0].clone(), losses.cross_entropy(model(candidates[0]), y)
    for c in candidates[1:]:
        loss = losses.cross_entropy(model(c), y)
        better = loss > before
        worst[better], before = c[better], loss
    return worst

# %% wrong="keep_worst" name="furthest from the first run" says="which run has the highest loss"
def keep_worst(model, candidates, y):
    far = (candidates - candidates[0]).abs().flatten(2).sum(dim=2)
    return candidates[far.argmax(dim=0), torch.arange(len(y))]

# %% right="keep_worst" name="take_along_dim"
def keep_worst(model, candidates, y):
    loss = torch.stack([torch.nn.functional.cross_entropy(model(c), y, reduction="none") for c in candidates])
    place = loss.argmax(dim=0).reshape(1, -1, *[1] * (candidates.ndim - 2))
    return torch.take_along_dim(candidates, place, dim=0)[0]

# ---------------------------------------------------------------- robust_accuracy
# %% wrong="robust_accuracy" name="attacked images only" says="wrong before"
def robust_accuracy(model, x, x_adv, y):
    return (model(x_adv).argmax(dim=1) == y).float().mean().item()

# %% wrong="robust_accuracy" name="share fooled" says="fooled"
def robust_accuracy(model, x, x_adv, y):
    return ((model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) != y)).float().mean().item()

# %% wrong="robust_accuracy" name="clean accuracy" says="clean accuracy"
def robust_accuracy(model, x, x_adv, y):
    return (model(x).argmax(dim=1) == y).float().mean().item()

# %% wrong="robust_accuracy" name="of those that were right" says="leave the images that were wrong before out"
def robust_accuracy(model, x, x_adv, y):
    right = model(x).argmax(dim=1) == y
    return (model(x_adv[right]).argmax(dim=1) == y[right]).float().mean().item()

# %% wrong="robust_accuracy" name="a count" says="divide by the size of the batch"
def robust_accuracy(model, x, x_adv, y):
    return ((model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) == y)).sum().item()

# %% wrong="robust_accuracy" name="same prediction before and after" says="expected"
def robust_accuracy(model, x, x_adv, y):
    return (model(x).argmax(dim=1) == model(x_adv).argmax(dim=1)).float().mean().item()

# %% wrong="robust_accuracy" name="per cent" says="per cent"
def robust_accuracy(model, x, x_adv, y):
    return 100 * ((model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) == y)).float().mean().item()

# %% right="robust_accuracy" name="a loop that counts"
def robust_accuracy(model, x, x_adv, y):
    count = 0
    for image, attacked, label in zip(x, x_adv, y):
        ok = model(image[None]).argmax() == label and model(attacked[None]).argmax() == label
        count += int(ok)
    return count / len(y)

# %% right="robust_accuracy" name="a zero-dimensional tensor"
def robust_accuracy(model, x, x_adv, y):
    with torch.no_grad():
        right = model(x).argmax(1).eq(y).logical_and(model(x_adv).argmax(1).eq(y))
    return right.double().mean()

# %% wrong="robust_accuracy" name="product of two accuracies" says="image by image"
def robust_accuracy(model, x, x_adv, y):
    return ((model(x).argmax(dim=1) == y).float().mean() * (model(x_adv).argmax(dim=1) == y).float().mean()).item()

# %% wrong="robust_accuracy" name="the smaller of two accuracies" says="image by image"
def robust_accuracy(model, x, x_adv, y):
    return min((model(images).argmax(dim=1) == y).float().mean().item() for images in (x, x_adv))

# %% wrong="robust_accuracy" name="either of them" says="Both conditions"
def robust_accuracy(model, x, x_adv, y):
    return ((model(x).argmax(dim=1) == y) | (model(x_adv).argmax(dim=1) == y)).float().mean().item()

# %% wrong="robust_accuracy" name="argmax over the batch" says="dim=1"
def robust_accuracy(model, x, x_adv, y):
    k = model(x).argmax(dim=0)
    return ((k == y[: len(k)]) & (model(x_adv).argmax(dim=0) == y[: len(k)])).float().mean().item()

# %% wrong="robust_accuracy" name="one flag per image" says="one number"
def robust_accuracy(model, x, x_adv, y):
    return (model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) == y)

# %% wrong="robust_accuracy" name="rounded" says="expected"
def robust_accuracy(model, x, x_adv, y):
    return round(((model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) == y)).float().mean().item(), 1)

# %% wrong="robust_accuracy" name="no return" says="forget a return"
def robust_accuracy(model, x, x_adv, y):
    robust = ((model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) == y)).float().mean().item()

# %% right="robust_accuracy" name="numpy, and one minus the share of errors"
def robust_accuracy(model, x, x_adv, y):
    wrong = (model(x).argmax(1) != y).numpy() | (model(x_adv).argmax(1) != y).numpy()
    return 1 - wrong.mean()
