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
