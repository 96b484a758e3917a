# Answers to assignment `failed_defenses` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- quantize
# %% wrong="quantize" name="cut off" says="cut off instead of rounding"
def quantize(x, levels):
    return (x * (levels - 1)).floor() / (levels - 1)

# %% wrong="quantize" name="rounded up" says="always round up"
def quantize(x, levels):
    return (x * (levels - 1)).ceil() / (levels - 1)

# %% wrong="quantize" name="steps of 1 / levels" says="which makes six levels"
def quantize(x, levels):
    return (x * levels).round() / levels

# %% wrong="quantize" name="numbers of the levels" says="Shrink them back"
def quantize(x, levels):
    return (x * (levels - 1)).round()

# %% wrong="quantize" name="stretched and shrunk by different numbers" says="shrink by levels"
def quantize(x, levels):
    return (x * (levels - 1)).round() / levels

# %% wrong="quantize" name="not rounded" says="Nothing was rounded"
def quantize(x, levels):
    return x * (levels - 1) / (levels - 1)

# %% wrong="quantize" name="integers" says="dtype of the input"
def quantize(x, levels):
    return (x * (levels - 1)).round().long()

# %% wrong="quantize" name="in place" says="edited in place"
def quantize(x, levels):
    return x.mul_(levels - 1).round_().div_(levels - 1)

# %% wrong="quantize" name="no return" says="forget a return"
def quantize(x, levels):
    q = (x * (levels - 1)).round() / (levels - 1)

# %% wrong="quantize" name="the library's" says="write yourself"
def quantize(x, levels):
    return defenses.Quantized(model, levels).transform(x)

# %% wrong="quantize" name="equal bins" says="five equal parts"
def quantize(x, levels):
    return (x * levels).floor().clamp(max=levels - 1) / (levels - 1)

# %% wrong="quantize" name="in float64" says="dtype of the input"
def quantize(x, levels):
    return (x.double() * (levels - 1)).round() / (levels - 1)

# %% right="quantize" name="the nearest of a list"
def quantize(x, levels):
    grid = torch.linspace(0, 1, levels).to(x.dtype)
    return grid[(x.unsqueeze(-1) - grid).abs().argmin(-1)]

# %% right="quantize" name="half up by floor"
def quantize(x, levels):
    return torch.floor(x * (levels - 1) + 0.5) / (levels - 1)

# %% right="quantize" name="bucket by bucket"
def quantize(x, levels):
    q, step = torch.zeros_like(x), 1 / (levels - 1)
    for k in range(levels):
        q = torch.where((x - k * step).abs() <= step / 2, torch.full_like(x, k * step), q)
    return q

# ---------------------------------------------------------------- symptoms
# %% wrong="symptoms" name="comparisons turned round" says="Which way round is the comparison"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if measured[name] > pgd + slack]
    if measured["twice eps"] >= pgd - slack and pgd > slack:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > slack else [])

# %% wrong="symptoms" name="no slack" says="that is chance"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if measured[name] < pgd]
    if measured["twice eps"] >= pgd and pgd > 0:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > 0 else [])

# %% wrong="symptoms" name="slack written out" says="The slack is 0.1 here"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if measured[name] < pgd - 0.02]
    if measured["twice eps"] >= pgd - 0.02 and pgd > 0.02:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > 0.02 else [])

# %% wrong="symptoms" name="twice eps without the second condition" says="nothing was left to bring down"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if measured[name] < pgd - slack]
    if measured["twice eps"] >= pgd - slack:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > slack else [])

# %% wrong="symptoms" name="twice eps must be larger" says="from 0.61 to 0.6"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if measured[name] < pgd - slack]
    if measured["twice eps"] > pgd + slack and pgd > slack:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > slack else [])

# %% wrong="symptoms" name="order of the dictionary" says="in another order"
def symptoms(measured, slack=0.02):
    pgd, found = measured["pgd"], []
    for name, value in measured.items():
        if name in ("one step", "random", "transfer") and value < pgd - slack:
            found.append(name)
        if name == "twice eps" and value >= pgd - slack and pgd > slack:
            found.append(name)
        if name == "no limit" and value > slack:
            found.append(name)
    return found

# %% wrong="symptoms" name="a string for a single one" says="Return a list of strings"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if measured[name] < pgd - slack]
    if measured["twice eps"] >= pgd - slack and pgd > slack:
        found.append("twice eps")
    found += ["no limit"] if measured["no limit"] > slack else []
    return found[0] if len(found) == 1 else found

# %% wrong="symptoms" name="stops at the first" says="is missing"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    if measured["one step"] < pgd - slack:
        return ["one step"]
    elif measured["random"] < pgd - slack:
        return ["random"]
    elif measured["transfer"] < pgd - slack:
        return ["transfer"]
    elif measured["twice eps"] >= pgd - slack and pgd > slack:
        return ["twice eps"]
    return ["no limit"] if measured["no limit"] > slack else []

# %% wrong="symptoms" name="None where all is well" says="forget a return"
def symptoms(measured, slack=0.02):
    found = reference = [n for n in ("one step", "random", "transfer") if measured[n] < measured["pgd"] - slack]
    if found:
        return found

# %% wrong="symptoms" name="something left means more than zero" says="nothing was left to bring down"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if pgd - measured[name] > slack]
    if pgd > 0 and pgd - measured["twice eps"] <= slack:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > slack else [])

# %% wrong="symptoms" name="takes pgd out of the dictionary" says="left as they were"
def symptoms(measured, slack=0.02):
    pgd = measured.pop("pgd")
    found = [name for name in ("one step", "random", "transfer") if pgd - measured[name] > slack]
    if pgd > slack and pgd - measured["twice eps"] <= slack:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > slack else [])

# %% wrong="symptoms" name="slack only for the comparisons with PGD" says="is listed, which stands for accuracy that is left without any limit"
def symptoms(measured, slack=0.02):
    pgd = measured["pgd"]
    found = [name for name in ("one step", "random", "transfer") if pgd - measured[name] > slack]
    if pgd > slack and pgd - measured["twice eps"] <= slack:
        found.append("twice eps")
    return found + (["no limit"] if measured["no limit"] > 0 else [])

# %% right="symptoms" name="a dictionary of rules, a tuple"
def symptoms(measured, slack=0.02):
    m = dict(measured)
    rules = {"one step": m["pgd"] - m["one step"], "random": m["pgd"] - m["random"], "transfer": m["pgd"] - m["transfer"]}
    out = tuple(k for k, gain in rules.items() if gain > slack)
    helps = m["pgd"] - m["twice eps"] > slack
    return out + (("twice eps",) if m["pgd"] > slack and not helps else ()) + (("no limit",) if m["no limit"] > slack else ())

# %% right="symptoms" name="one if after the other"
def symptoms(measured, slack=0.02):
    found = []
    if measured["one step"] + slack < measured["pgd"]:
        found.append("one step")
    if measured["random"] + slack < measured["pgd"]:
        found.append("random")
    if measured["transfer"] + slack < measured["pgd"]:
        found.append("transfer")
    if measured["pgd"] > slack:
        if measured["twice eps"] + slack >= measured["pgd"]:
            found.append("twice eps")
    if measured["no limit"] > slack:
        found.append("no limit")
    return found

# ---------------------------------------------------------------- loss_surface
# %% wrong="loss_surface" name="rows and columns" says="Rows and columns are exchanged"
def loss_surface(model, x, y, v, r, n):
    u = r - (r * v).sum() / (v * v).sum() * v
    w = u / u.norm() * v.norm()
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * w), y)[0] for a in t]) for b in t]).detach()

# %% wrong="loss_surface" name="r as it is" says="r itself"
def loss_surface(model, x, y, v, r, n):
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * r), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="orthogonal, not scaled" says="another length than v"
def loss_surface(model, x, y, v, r, n):
    w = r - (r * v).sum() / (v * v).sum() * v
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * w), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="scaled, not orthogonal" says="not orthogonal to v"
def loss_surface(model, x, y, v, r, n):
    w = r * v.norm() / r.norm()
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * w), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="scaled first, then made orthogonal" says="You scale first" most="0"
def loss_surface(model, x, y, v, r, n):
    w = r * v.norm() / r.norm()
    w = w - (w * v).sum() / (v * v).sum() * v
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * w), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="divided by the length" says="the square of the length"
def loss_surface(model, x, y, v, r, n):
    u = r - (r * v).sum() / v.norm() * v
    w = u / u.norm() * v.norm()
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * w), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="clamped" says="clamped to [0, 1]"
def loss_surface(model, x, y, v, r, n):
    u = r - (r * v).sum() / (v * v).sum() * v
    w = u / u.norm() * v.norm()
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model((x + a * v + b * w).clamp(0, 1)), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="unit length" says="has length 1"
def loss_surface(model, x, y, v, r, n):
    u = r - (r * v).sum() / (v * v).sum() * v
    w = u / u.norm()
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    return torch.stack([torch.stack([losses.cross_entropy(model(x + a * v + b * w), y)[0] for b in t]) for a in t])

# %% wrong="loss_surface" name="a flat list" says="arranged in another shape"
def loss_surface(model, x, y, v, r, n):
    u = r - (r * v).sum() / (v * v).sum() * v
    w = u / u.norm() * v.norm()
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    points = torch.cat([x + a * v + b * w for a in t for b in t])
    return losses.cross_entropy(model(points), y.expand(n * n))

# %% wrong="loss_surface" name="edits v" says="edited in place"
def loss_surface(model, x, y, v, r, n):
    scale = v.norm()
    r -= (r * v).sum() / (v * v).sum() * v
    w = r * (scale / r.norm())
    t = torch.linspace(-1, 1, n, dtype=x.dtype)
    points = torch.cat([x + a * v + b * w for a in t for b in t])
    return losses.cross_entropy(model(points), y.expand(n * n)).view(n, n)

# %% wrong="loss_surface" name="the package's" says="write yourself"
def loss_surface(model, x, y, v, r, n):
    u = r - (r * v).sum() / (v * v).sum() * v
    return plots.loss_plane(model, x, y, v, u / u.norm() * v.norm(), points=n)[0]

# %% right="loss_surface" name="one batch by broadcasting"
def loss_surface(model, x, y, v, r, n):
    u = r - torch.dot(r.flatten(), v.flatten()) / v.pow(2).sum() * v
    w = u * (v.pow(2).sum() / u.pow(2).sum()).sqrt()
    t = torch.linspace(-1, 1, n).to(x.dtype)
    a, b = torch.meshgrid(t, t, indexing="ij")
    shape = (-1,) + (1,) * (x.ndim - 1)
    points = x + a.reshape(shape) * v + b.reshape(shape) * w
    return torch.nn.functional.cross_entropy(model(points), y.repeat(n * n), reduction="none").reshape(n, n)

# %% right="loss_surface" name="orthogonal by projecting twice, filled in place"
def loss_surface(model, x, y, v, r, n):
    unit = v / v.norm()
    u = r
    for _ in range(2):
        u = u - (u * unit).sum() * unit
    w = u / u.norm() * v.norm()
    table = torch.empty(n, n, dtype=x.dtype)
    for i in range(n):
        for j in range(n):
            z = x + (2 * i / (n - 1) - 1) * v + (2 * j / (n - 1) - 1) * w
            table[i, j] = -model(z).log_softmax(1)[0, y[0]]
    return table

# ---------------------------------------------------------------- straight_through_gradient
# %% wrong="straight_through_gradient" name="through the rounding" says="the true gradient, through the rounding"
def straight_through_gradient(defended, x, y):
    return attacks.input_gradient(defended, x, y)

# %% wrong="straight_through_gradient" name="at x" says="The network sees q(x)"
def straight_through_gradient(defended, x, y):
    return attacks.input_gradient(defended.model, x, y)

# %% wrong="straight_through_gradient" name="averaged over the batch" says="divided by the number of images"
def straight_through_gradient(defended, x, y):
    x = x.clone().requires_grad_(True)
    z = x + (defended.transform(x) - x).detach()
    return torch.autograd.grad(torch.nn.functional.cross_entropy(defended.model(z), y), x)[0]

# %% wrong="straight_through_gradient" name="sign" says="Only the sign"
def straight_through_gradient(defended, x, y):
    return attacks.input_gradient(defended.model, defended.transform(x), y).sign()

# %% wrong="straight_through_gradient" name="downhill" says="gradient of minus the loss"
def straight_through_gradient(defended, x, y):
    return -attacks.input_gradient(defended.model, defended.transform(x), y)

# %% wrong="straight_through_gradient" name="all detached" says="requires_grad=True before"
def straight_through_gradient(defended, x, y):
    z = defended.transform(x).detach()
    return torch.autograd.grad(losses.cross_entropy(defended.model(z), y).sum(), z)[0]

# %% wrong="straight_through_gradient" name="detach in the wrong place" says="the true gradient, through the rounding"
def straight_through_gradient(defended, x, y):
    x = x.clone().requires_grad_(True)
    z = x.detach() + (defended.transform(x) - x.detach())
    return torch.autograd.grad(losses.cross_entropy(defended.model(z), y).sum(), x)[0]

# %% wrong="straight_through_gradient" name="x detached instead of the rest" says="x has to keep its gradient"
def straight_through_gradient(defended, x, y):
    x = x.clone().requires_grad_(True)
    z = x.detach() + (defended.transform(x) - x)
    return torch.autograd.grad(losses.cross_entropy(defended.model(z), y).sum(), x)[0]

# %% wrong="straight_through_gradient" name="summed over the batch" says="A dimension is missing"
def straight_through_gradient(defended, x, y):
    return attacks.input_gradient(defended.model, defended.transform(x), y).sum(0)

# %% wrong="straight_through_gradient" name="marks the caller's x" says="was made to require a gradient"
def straight_through_gradient(defended, x, y):
    x.requires_grad_(True)
    z = x + (defended.transform(x) - x).detach()
    return torch.autograd.grad(losses.cross_entropy(defended.model(z), y).sum(), x)[0]

# %% wrong="straight_through_gradient" name="a tuple" says="take its entry [0]"
def straight_through_gradient(defended, x, y):
    z = defended.transform(x).clone().requires_grad_(True)
    return torch.autograd.grad(losses.cross_entropy(defended.model(z), y).sum(), z)

# %% wrong="straight_through_gradient" name="the package's" says="write yourself"
def straight_through_gradient(defended, x, y):
    return attacks.input_gradient(defenses.bpda(defended), x, y)

# %% right="straight_through_gradient" name="detach trick"
def straight_through_gradient(defended, x, y):
    x = x.clone().requires_grad_(True)
    z = x + (defended.transform(x) - x).detach()
    loss = torch.nn.functional.cross_entropy(defended.model(z), y, reduction="sum")
    loss.backward()
    return x.grad

# %% right="straight_through_gradient" name="image by image"
def straight_through_gradient(defended, x, y):
    rows = []
    for i in range(len(x)):
        z = defended.transform(x[i : i + 1]).detach().requires_grad_(True)
        rows.append(torch.autograd.grad(-defended.model(z).log_softmax(1)[0, y[i]], z)[0])
    return torch.cat(rows)

# %% right="straight_through_gradient" name="an autograd function"
def straight_through_gradient(defended, x, y):
    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return defended.transform(z)
        @staticmethod
        def backward(ctx, g):
            return g
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(losses.cross_entropy(defended.model(Through.apply(x)), y).sum(), x)[0]

# ---------------------------------------------------------------- break_quantized
# %% wrong="break_quantized" name="plain PGD without random start" says="did not move at all"
def break_quantized(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, random_start=False)

# %% wrong="break_quantized" name="plain PGD" says="still that of the rounding" most="0"
def break_quantized(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20)

# %% wrong="break_quantized" name="naive PGD, many steps and restarts" says="more steps will not help"
def break_quantized(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=100, restarts=3)

# %% wrong="break_quantized" name="one FGSM step on the bare network" says="many steps" most="0.67"
def break_quantized(defended, x, y, eps):
    return attacks.fgsm(defended.model, x, y, LpBall(eps, math.inf))

# %% wrong="break_quantized" name="one straight-through step" says="many steps" most="0.67"
def break_quantized(defended, x, y, eps):
    slope = attacks.input_gradient(defended.model, defended.transform(x), y)
    return LpBall(eps, math.inf).project(x + eps * slope.sign(), x)

# %% wrong="break_quantized" name="project with its arguments exchanged" says="project(x_tilde, x)"
def break_quantized(defended, x, y, eps):
    z, ball = x, LpBall(eps, math.inf)
    for _ in range(20):
        z = ball.project(x, z + eps / 8 * attacks.input_gradient(defended.model, defended.transform(z), y).sign())
    return z

# %% wrong="break_quantized" name="no projection" says="a pixel that moved by"
def break_quantized(defended, x, y, eps):
    z = x
    for _ in range(20):
        z = (z + eps / 8 * attacks.input_gradient(defended.model, defended.transform(z), y).sign()).clamp(0, 1)
    return z

# %% wrong="break_quantized" name="no image" says="is no image"
def break_quantized(defended, x, y, eps):
    z = x
    for _ in range(20):
        z = z + eps / 8 * attacks.input_gradient(defended.model, defended.transform(z), y).sign()
        z = x + (z - x).clamp(-eps, eps)
    return z

# %% wrong="break_quantized" name="downhill" says="go up the loss of y"
def break_quantized(defended, x, y, eps):
    z, ball = x, LpBall(eps, math.inf)
    for _ in range(20):
        z = ball.project(z - eps / 8 * attacks.input_gradient(defended.model, defended.transform(z), y).sign(), x)
    return z

# %% wrong="break_quantized" name="a quarter of the way" says="robust accuracy"
def break_quantized(defended, x, y, eps):
    return attacks.pgd(defended.model, x, y, LpBall(eps / 4, math.inf), steps=5)

# %% wrong="break_quantized" name="returns the quantised image" says="a pixel that moved by"
def break_quantized(defended, x, y, eps):
    z, ball = x, LpBall(eps, math.inf)
    for _ in range(20):
        z = ball.project(z + eps / 8 * attacks.input_gradient(defended.model, defended.transform(z), y).sign(), x)
    return defended.transform(z)

# %% wrong="break_quantized" name="the package's" says="write yourself"
def break_quantized(defended, x, y, eps):
    return attacks.pgd(defenses.bpda(defended), x, y, LpBall(eps, math.inf))

# %% right="break_quantized" name="PGD on a stand-in"
def break_quantized(defended, x, y, eps):
    def stand_in(z):
        return defended.model(z + (defended.transform(z) - z).detach())
    return attacks.pgd(stand_in, x, y, LpBall(eps, math.inf), steps=20, restarts=2)

# %% right="break_quantized" name="transfer from the bare model, all steps"
def break_quantized(defended, x, y, eps):
    return attacks.pgd(defended.model, x, y, LpBall(eps, math.inf), steps=30, early_stop=False)

# %% right="break_quantized" name="margin loss, momentum"
def break_quantized(defended, x, y, eps):
    z, m = x.clone(), torch.zeros_like(x)
    for _ in range(25):
        g = attacks.input_gradient(defended.model, defended.transform(z), y, losses.margin)
        m = 0.8 * m + g / g.abs().flatten(1).sum(1).clamp_min(1e-12).view(-1, 1, 1, 1)
        z = torch.minimum(torch.maximum(z + eps / 8 * m.sign(), x - eps), x + eps).clamp(0, 1)
    return z

# ---------------------------------------------------------------- fooled_shares
# %% wrong="fooled_shares" name="right ones" says="You count right draws"
def fooled_shares(logits, y):
    right = (logits.argmax(2) == y[:, None]).float()
    return right.amax(1).mean().item(), right.mean().item(), right.amin(1).mean().item()

# %% wrong="fooled_shares" name="order" says="The order is"
def fooled_shares(logits, y):
    wrong = (logits.argmax(2) != y[:, None]).float()
    return wrong.amin(1).mean().item(), wrong.mean().item(), wrong.amax(1).mean().item()

# %% wrong="fooled_shares" name="mean logits" says="averaged first"
def fooled_shares(logits, y):
    wrong = (logits.mean(1).argmax(1) != y).float().mean().item()
    return wrong, wrong, wrong

# %% wrong="fooled_shares" name="wrong axis" says="run over the images"
def fooled_shares(logits, y):
    wrong = logits.argmax(2) != y[:, None]
    return wrong.any(0).float().mean().item(), wrong.float().mean().item(), wrong.all(0).float().mean().item()

# %% wrong="fooled_shares" name="counts" says="These are counts"
def fooled_shares(logits, y):
    wrong = logits.argmax(2) != y[:, None]
    return wrong.any(1).sum().item(), wrong.sum().item(), wrong.all(1).sum().item()

# %% wrong="fooled_shares" name="labels not broadcast" says="y[:, None] has the shape (B, 1)"
def fooled_shares(logits, y):
    wrong = logits.argmax(2) != y
    return wrong.any(1).float().mean().item(), wrong.float().mean().item(), wrong.all(1).float().mean().item()

# %% wrong="fooled_shares" name="labels beside the draws where it happens to fit" says="held against a draw instead of an image"
def fooled_shares(logits, y):
    labels = y if len(y) == logits.shape[1] else y[:, None]
    wrong = logits.argmax(2) != labels
    return wrong.any(1).float().mean().item(), wrong.float().mean().item(), wrong.all(1).float().mean().item()

# %% wrong="fooled_shares" name="argmax over the draws" says="The argmax runs over the draws"
def fooled_shares(logits, y):
    wrong = logits.argmax(dim=1) != y[:, None]
    return wrong.any(1).float().mean().item(), wrong.float().mean().item(), wrong.all(1).float().mean().item()

# %% wrong="fooled_shares" name="per image" says="one number"
def fooled_shares(logits, y):
    wrong = logits.argmax(2) != y[:, None]
    return wrong.any(1).float(), wrong.float().mean(1), wrong.all(1).float()

# %% wrong="fooled_shares" name="percentages" says="These are percentages"
def fooled_shares(logits, y):
    wrong = logits.argmax(2) != y[:, None]
    return [100 * part.float().mean().item() for part in (wrong.any(1), wrong, wrong.all(1))]

# %% wrong="fooled_shares" name="only the average" says="Return three"
def fooled_shares(logits, y):
    return (logits.argmax(2) != y[:, None]).float().mean().item()

# %% right="fooled_shares" name="a tensor"
def fooled_shares(logits, y):
    wrong = (logits.max(-1).indices != y.unsqueeze(1)).double()
    return torch.stack([wrong.amax(1).mean(), wrong.mean(), wrong.amin(1).mean()])

# %% right="fooled_shares" name="plain Python"
def fooled_shares(logits, y):
    table = [[int(row.argmax()) != int(label) for row in image] for image, label in zip(logits, y)]
    n = len(table)
    return [sum(map(any, table)) / n, sum(map(sum, table)) / (n * len(table[0])), sum(map(all, table)) / n]

# ---------------------------------------------------------------- averaged_gradient
# %% wrong="averaged_gradient" name="sum" says="sum over the draws"
def averaged_gradient(model, x, y, samples):
    return sum(attacks.input_gradient(model, x, y) for _ in range(samples))

# %% wrong="averaged_gradient" name="mean logits" says="the loss of the mean logits" most="1"
def averaged_gradient(model, x, y, samples):
    x = x.clone().requires_grad_(True)
    logits = torch.stack([model(x) for _ in range(samples)]).mean(0)
    return torch.autograd.grad(losses.cross_entropy(logits, y).sum(), x)[0]

# %% wrong="averaged_gradient" name="one draw, repeated" says="as far off as a single draw"
def averaged_gradient(model, x, y, samples):
    g = attacks.input_gradient(model, x, y)
    return torch.stack([g] * samples).mean(0)

# %% wrong="averaged_gradient" name="averaged signs" says="signs"
def averaged_gradient(model, x, y, samples):
    return torch.stack([attacks.input_gradient(model, x, y).sign() for _ in range(samples)]).mean(0)

# %% wrong="averaged_gradient" name="mean over batch and draws" says="averaged over the batch as well"
def averaged_gradient(model, x, y, samples):
    x = x.clone().requires_grad_(True)
    total = 0
    for _ in range(samples):
        total = total + losses.cross_entropy(model(x), y).mean()
    return torch.autograd.grad(total / samples, x)[0]

# %% wrong="averaged_gradient" name="one image for all" says="shape"
def averaged_gradient(model, x, y, samples):
    return torch.stack([attacks.input_gradient(model, x, y) for _ in range(samples)]).mean((0, 1))

# %% wrong="averaged_gradient" name="grad gathered in x" says="require a gradient"
def averaged_gradient(model, x, y, samples):
    x.requires_grad_(True)
    for _ in range(samples):
        (losses.cross_entropy(model(x), y).sum() / samples).backward()
    return x.grad

# %% wrong="averaged_gradient" name="the package's" says="write yourself"
def averaged_gradient(model, x, y, samples):
    return attacks.input_gradient(defenses.averaged(model, samples), x, y, mean_loss)

# %% wrong="averaged_gradient" name="no average" says="as far off as a single draw" most="1"
def averaged_gradient(model, x, y, samples):
    return attacks.input_gradient(model, x, y)

# %% wrong="averaged_gradient" name="the last draw, divided" says="divided by the number of all"
def averaged_gradient(model, x, y, samples):
    if samples < 10:
        return attacks.input_gradient(model, x, y)
    for _ in range(samples):
        mean = attacks.input_gradient(model, x, y) / samples
    return mean

# %% wrong="averaged_gradient" name="half of the draws" says="of the length is there"
def averaged_gradient(model, x, y, samples):
    return sum(attacks.input_gradient(model, x, y) for _ in range((samples + 1) // 2)) / samples

# %% wrong="averaged_gradient" name="copies taken apart the wrong way" says="the images were mixed"
def averaged_gradient(model, x, y, samples):
    many = attacks.input_gradient(model, torch.cat([x] * samples), torch.cat([y] * samples))
    return many.unflatten(0, (len(x), samples)).mean(1)

# %% right="averaged_gradient" name="one large batch"
def averaged_gradient(model, x, y, samples):
    many = x.repeat(samples, *[1] * (x.ndim - 1))
    g = attacks.input_gradient(model, many, y.repeat(samples))
    return g.view(samples, *x.shape).mean(0)

# %% right="averaged_gradient" name="backward of the mean loss"
def averaged_gradient(model, x, y, samples):
    z = x.detach().clone().requires_grad_(True)
    for _ in range(samples):
        (losses.cross_entropy(model(z), y).sum() / samples).backward()
    return z.grad

# %% right="averaged_gradient" name="running mean"
def averaged_gradient(model, x, y, samples):
    mean = torch.zeros_like(x)
    for s in range(1, samples + 1):
        mean += (attacks.input_gradient(model, x, y) - mean) / s
    return mean

# ---------------------------------------------------------------- break_random
# %% wrong="break_random" name="plain PGD" says="do not stop at a lucky draw"
def break_random(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=40)

# %% wrong="break_random" name="one step" says="Take many steps"
def break_random(defended, x, y, eps):
    return attacks.fgsm(defended, x, y, LpBall(eps, math.inf))

# %% wrong="break_random" name="random noise of its own" says="hardly any worse"
def break_random(defended, x, y, eps):
    return LpBall(eps, math.inf).sample(x)

# %% wrong="break_random" name="downhill" says="go up the loss of y"
def break_random(defended, x, y, eps):
    z, ball = x, LpBall(eps, math.inf)
    for _ in range(10):
        g = sum(attacks.input_gradient(defended, z, y) for _ in range(4))
        z = ball.project(z - eps / 5 * g.sign(), x)
    return z

# %% wrong="break_random" name="not into the ball" says="a pixel that moved by"
def break_random(defended, x, y, eps):
    z = x
    for _ in range(10):
        g = sum(attacks.input_gradient(defended, z, y) for _ in range(4))
        z = (z + eps / 5 * g.sign()).clamp(0, 1)
    return z

# %% wrong="break_random" name="the perturbation alone" says="a pixel that moved by"
def break_random(defended, x, y, eps):
    return eps * attacks.input_gradient(defended, x, y).sign().clamp_min(0)

# %% wrong="break_random" name="the package's" says="write yourself"
def break_random(defended, x, y, eps):
    return attacks.pgd(defenses.averaged(defended, 6), x, y, LpBall(eps, math.inf), steps=12, early_stop=False)

# %% wrong="break_random" name="steps around the defence" says="attack it as it is" most="0"
def break_random(defended, x, y, eps):
    return attacks.pgd(defended.model, x, y, LpBall(eps, math.inf), steps=20, early_stop=False)

# %% wrong="break_random" name="examples of another network" says="More steps"
def break_random(defended, x, y, eps):
    return attacks.pgd(checks.model("mnist_mlp").build(), x, y, LpBall(eps, math.inf), steps=20, early_stop=False)

# %% right="break_random" name="PGD on the mean loss of several calls"
def break_random(defended, x, y, eps):
    def mean_log(z):
        return torch.stack([defended(z).log_softmax(1) for _ in range(5)], 1)
    return attacks.pgd(mean_log, x, y, LpBall(eps, math.inf), steps=12, early_stop=False)

# %% right="break_random" name="one draw a step, never content"
def break_random(defended, x, y, eps):
    z, ball, m = x, LpBall(eps, math.inf), 0
    for k in range(40):
        m = 0.9 * m + attacks.input_gradient(defended, z, y)
        z = ball.project(z + eps / 8 * m.sign(), x)
    return z

# %% right="break_random" name="a batch of copies"
def break_random(defended, x, y, eps):
    z, ball = x, LpBall(eps, math.inf)
    for _ in range(12):
        g = attacks.input_gradient(defended, z.repeat(6, 1, 1, 1), y.repeat(6)).view(6, *x.shape).sum(0)
        z = ball.project(z + eps / 5 * g.sign(), x)
    return z

# ---------------------------------------------------------------- logit_slope
# %% wrong="logit_slope" name="sign" says="the loss falls where z_y grows"
def logit_slope(logits, y):
    return torch.nn.functional.one_hot(y, logits.shape[1]) - logits.softmax(1)

# %% wrong="logit_slope" name="only probabilities" says="Where is the first term"
def logit_slope(logits, y):
    return logits.softmax(1)

# %% wrong="logit_slope" name="averaged" says="divided by the number of images"
def logit_slope(logits, y):
    z = logits.clone().requires_grad_()
    return torch.autograd.grad(torch.nn.functional.cross_entropy(z, y), z)[0]

# %% wrong="logit_slope" name="softmax over the batch" says="within each row"
def logit_slope(logits, y):
    return logits.softmax(0) - torch.nn.functional.one_hot(y, logits.shape[1])

# %% wrong="logit_slope" name="index of all rows" says="taken away from every class"
def logit_slope(logits, y):
    return logits.softmax(1) - 1

# %% wrong="logit_slope" name="columns of all labels" says="Pair each row with its own"
def logit_slope(logits, y):
    slope = logits.softmax(1)
    slope[:, y] -= 1
    return slope

# %% wrong="logit_slope" name="of the right class only" says="derivative by a single logit"
def logit_slope(logits, y):
    return logits.softmax(1)[torch.arange(len(y)), y] - 1

# %% wrong="logit_slope" name="exponential by hand" says="use softmax"
def logit_slope(logits, y):
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return p - torch.nn.functional.one_hot(y, logits.shape[1])

# %% wrong="logit_slope" name="in place" says="edited in place"
def logit_slope(logits, y):
    p = logits.softmax(1)
    p[range(len(y)), y] -= 1
    return logits.copy_(p)

# %% right="logit_slope" name="autograd"
def logit_slope(logits, y):
    z = logits.detach().clone().requires_grad_(True)
    losses.cross_entropy(z, y).sum().backward()
    return z.grad

# %% right="logit_slope" name="by hand, shifted"
def logit_slope(logits, y):
    e = (logits - logits.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True) - torch.eye(logits.shape[1], dtype=logits.dtype)[y]

# %% right="logit_slope" name="scatter"
def logit_slope(logits, y):
    return logits.log_softmax(-1).exp().scatter_add(1, y[:, None], -torch.ones_like(logits[:, :1]))

# ---------------------------------------------------------------- break_saturated
# %% wrong="break_saturated" name="plain PGD without random start" says="did not move"
def break_saturated(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, random_start=False)

# %% wrong="break_saturated" name="plain PGD" says="it passes through a softmax"
def break_saturated(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20)

# %% wrong="break_saturated" name="margin turned round" says="large where the model is wrong"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], -math.inf).amax(1)
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, loss=loss)

# %% wrong="break_saturated" name="y is its own rival" says="gradient of your loss is zero"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return logits.amax(1) - logits.gather(1, y[:, None])[:, 0]
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, loss=loss, random_start=False)

# %% wrong="break_saturated" name="minus the probability" says="softmax"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return -logits.softmax(1).gather(1, y[:, None])[:, 0]
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, loss=loss, random_start=False)

# %% wrong="break_saturated" name="no ball" says="a pixel that moved by"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return logits.scatter(1, y[:, None], -math.inf).amax(1) - logits.gather(1, y[:, None])[:, 0]
    z = x
    for _ in range(20):
        z = (z + eps / 8 * attacks.input_gradient(defended, z, y, loss).sign()).clamp(0, 1)
    return z

# %% wrong="break_saturated" name="the package's" says="write yourself"
def break_saturated(defended, x, y, eps):
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), loss=lambda logits, y: losses.margin(logits, y))

# %% wrong="break_saturated" name="steps around the defence" says="attack it as it is" most="0"
def break_saturated(defended, x, y, eps):
    return attacks.pgd(defended.model, x, y, LpBall(eps, math.inf), steps=20)

# %% wrong="break_saturated" name="cut off at zero" says="cut off at zero"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return (logits.scatter(1, y[:, None], -math.inf).amax(1) - logits.gather(1, y[:, None])[:, 0]).clamp(min=0)
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, loss=loss)

# %% wrong="break_saturated" name="minus infinity into the logits themselves" says="written into the logits themselves"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        rivals = logits.scatter_(1, y[:, None], -math.inf)
        return rivals.amax(1) - logits.gather(1, y[:, None])[:, 0]
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=20, loss=loss)

# %% right="break_saturated" name="the logits made smaller again"
def break_saturated(defended, x, y, eps):
    with torch.no_grad():
        size = defended(x).abs().amax(1, keepdim=True).mean()
    return attacks.pgd(lambda z: 5 * defended(z) / size, x, y, LpBall(eps, math.inf), steps=30)

# %% right="break_saturated" name="minus the logit of y against the sum of the others"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        top = logits.topk(2, dim=1).values
        mine = logits[torch.arange(len(y)), y]
        return torch.where(top[:, 0] == mine, top[:, 1], top[:, 0]) - mine
    z, ball = x, LpBall(eps, math.inf)
    for _ in range(25):
        z = ball.project(z + eps / 8 * attacks.input_gradient(defended, z, y, loss).sign(), x)
    return z

# %% right="break_saturated" name="a single step of the right loss"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return logits.scatter(1, y[:, None], -math.inf).amax(1) - logits.gather(1, y[:, None])[:, 0]
    slope = attacks.input_gradient(defended, x, y, loss)
    return LpBall(eps, math.inf).project(x + eps * slope.sign(), x)

# %% right="break_saturated" name="cross-entropy of logits that are made small first"
def break_saturated(defended, x, y, eps):
    def loss(logits, y):
        return losses.cross_entropy(logits / logits.detach().abs().amax(dim=1, keepdim=True), y)
    return attacks.pgd(defended, x, y, LpBall(eps, math.inf), steps=30, loss=loss)

# ---------------------------------------------------------------- alarm_threshold
# %% wrong="alarm_threshold" name="one too few above" says="A smaller threshold still keeps the rate"
def alarm_threshold(scores, rate):
    return scores.sort(descending=True).values[max(int(rate * len(scores)) - 1, 0)].item()

# %% wrong="alarm_threshold" name="one too many above" says="Three scores are above that"
def alarm_threshold(scores, rate):
    return scores.sort(descending=True).values[min(int(rate * len(scores)) + 1, len(scores) - 1)].item()

# %% wrong="alarm_threshold" name="the other end" says="the other end"
def alarm_threshold(scores, rate):
    return scores.sort().values[int(rate * len(scores))].item()

# %% wrong="alarm_threshold" name="not sorted" says="not sorted"
def alarm_threshold(scores, rate):
    return scores[int(rate * len(scores))].item()

# %% wrong="alarm_threshold" name="quantile between two" says="between two scores"
def alarm_threshold(scores, rate):
    return torch.quantile(scores, 1 - rate).item()

# %% wrong="alarm_threshold" name="place instead of value" says="Its value is asked for"
def alarm_threshold(scores, rate):
    return len(scores) - int(rate * len(scores))

# %% wrong="alarm_threshold" name="sorts in place" says="edited in place"
def alarm_threshold(scores, rate):
    scores.copy_(scores.sort(descending=True).values)
    return scores[int(rate * len(scores))].item()

# %% wrong="alarm_threshold" name="rounds up" says="3 of 7 are 0.43"
def alarm_threshold(scores, rate):
    return scores.sort(descending=True).values[math.ceil(rate * len(scores))].item()

# %% wrong="alarm_threshold" name="rounds to the nearest" says="3 of 7 are 0.43"
def alarm_threshold(scores, rate):
    return scores.sort(descending=True).values[round(rate * len(scores))].item()

# %% right="alarm_threshold" name="tries all"
def alarm_threshold(scores, rate):
    return min(t for t in scores.tolist() if (scores > t).double().mean() <= rate)

# %% right="alarm_threshold" name="the first that is large enough, in single precision"
def alarm_threshold(scores, rate):
    for t in scores.sort().values:
        if (scores > t).float().mean().item() <= rate:
            return t.item()

# %% right="alarm_threshold" name="from the other end"
def alarm_threshold(scores, rate):
    return scores.sort().values[math.ceil((1 - rate) * len(scores)) - 1].item()

# %% right="alarm_threshold" name="kth value, as a tensor"
def alarm_threshold(scores, rate):
    return torch.kthvalue(scores, len(scores) - math.floor(rate * len(scores))).values

# %% right="alarm_threshold" name="topk"
def alarm_threshold(scores, rate):
    return float(scores.topk(int(rate * len(scores)) + 1).values[-1])

# ---------------------------------------------------------------- slip_past
# %% wrong="slip_past" name="no thought of the detector" says="Its score must be a part of what is minimised"
def slip_past(model, detector, x, target, eps, threshold):
    return attacks.pgd(model, x, target, LpBall(eps, math.inf), target=target, steps=30, early_stop=False)

# %% wrong="slip_past" name="only the detector" says="is the score all that counts"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        g = torch.autograd.grad(detector.score(z).sum(), z)[0]
        z = ball.project(z.detach() - eps / 16 * g.sign(), x)
    return z

# %% wrong="slip_past" name="away from the target" says="the loss of the target"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        cost = -losses.cross_entropy(model(z), target) + 5 * (detector.score(z) / threshold - 0.9).clamp_min(0)
        z = ball.project(z.detach() - eps / 16 * torch.autograd.grad(cost.sum(), z)[0].sign(), x)
    return z

# %% wrong="slip_past" name="wants a strange image" says="raises an alarm at"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        cost = losses.cross_entropy(model(z), target) - 5 * (detector.score(z) / threshold - 0.9).clamp_min(0)
        z = ball.project(z.detach() - eps / 16 * torch.autograd.grad(cost.sum(), z)[0].sign(), x)
    return z

# %% wrong="slip_past" name="raw score" says="is the score all that counts"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        cost = losses.cross_entropy(model(z), target) + 5 * detector.score(z)
        z = ball.project(z.detach() - eps / 16 * torch.autograd.grad(cost.sum(), z)[0].sign(), x)
    return z

# %% wrong="slip_past" name="score detached" says="Its score must be a part of what is minimised"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        cost = losses.cross_entropy(model(z), target) + 5 * (detector.score(z).detach() / threshold - 0.9).clamp_min(0)
        z = ball.project(z.detach() - eps / 8 * torch.autograd.grad(cost.sum(), z)[0].sign(), x)
    return z

# %% wrong="slip_past" name="excess in raw units, no room" says="in units of the threshold"
def slip_past(model, detector, x, target, eps, threshold):
    z = x.clone()
    for _ in range(40):
        z = z.detach().requires_grad_(True)
        cost = losses.cross_entropy(model(z), target).mean() + 5 * torch.relu(detector.score(z) - threshold).mean()
        z = LpBall(eps, math.inf).project(z.detach() - eps / 16 * torch.autograd.grad(cost, z)[0].sign(), x)
    return z

# %% wrong="slip_past" name="a random point of the ball" says="must be a part of what is minimised" most="0"
def slip_past(model, detector, x, target, eps, threshold):
    return LpBall(eps, math.inf).sample(x)

# %% wrong="slip_past" name="up instead of down" says="go DOWN the sum"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        cost = losses.cross_entropy(model(z), target) + 5 * (detector.score(z) / threshold - 0.8).clamp_min(0)
        z = ball.project(z.detach() + eps / 16 * torch.autograd.grad(cost.sum(), z)[0].sign(), x)
    return z

# %% wrong="slip_past" name="leaves the ball" says="a pixel that moved by"
def slip_past(model, detector, x, target, eps, threshold):
    z = x.clone()
    for _ in range(20):
        z = z.detach().requires_grad_(True)
        cost = losses.cross_entropy(model(z), target) + 5 * (detector.score(z) / threshold - 0.9).clamp_min(0)
        z = (z.detach() - eps / 8 * torch.autograd.grad(cost.sum(), z)[0].sign()).clamp(0, 1)
    return z

# %% wrong="slip_past" name="the package's" says="write yourself"
def slip_past(model, detector, x, target, eps, threshold):
    return defenses.evade(model, detector, x, target, LpBall(eps, math.inf), threshold=threshold, target=target)

# %% right="slip_past" name="a further class, rejected"
def slip_past(model, detector, x, target, eps, threshold):
    def both(z):
        logits = model(z)
        rejected = logits.amax(1, keepdim=True) + (detector.score(z) / threshold - 1)[:, None]
        return torch.cat([logits, rejected], 1)
    return attacks.pgd(both, x, target, LpBall(eps, math.inf), target=target, steps=40)

# %% right="slip_past" name="score first, where there is an alarm, else the target"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball, best = x.clone(), LpBall(eps, math.inf), x.clone()
    for k in range(60):
        z = z.detach().requires_grad_(True)
        score = detector.score(z)
        silent = score <= 0.95 * threshold
        cost = torch.where(silent, losses.cross_entropy(model(z), target), 3 * score / threshold)
        g = torch.autograd.grad(cost.sum(), z)[0]
        hit = (score <= threshold) & (model(z).argmax(1) == target)
        best = torch.where(hit.view(-1, 1, 1, 1), z.detach(), best)
        z = ball.project(z.detach() - eps / 20 * g.sign(), x)
    return best.detach()

# %% right="slip_past" name="squared excess, margin towards the target"
def slip_past(model, detector, x, target, eps, threshold):
    z, ball = x.clone(), LpBall(eps, math.inf)
    for k in range(50):
        z = z.detach().requires_grad_(True)
        excess = (detector.score(z) / threshold - 0.8).clamp_min(0)
        cost = losses.cw_margin_targeted(model(z), target) + 30 * excess**2
        z = ball.project(z.detach() - eps / 20 * torch.autograd.grad(cost.sum(), z)[0].sign(), x)
    return z.detach()
