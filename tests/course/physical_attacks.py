# Answers to assignment `physical_attacks` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- put_on
# %% wrong="put_on" name="no mask" says="Pixels outside the mask changed, too"
def put_on(x, delta, mask):
    return (x + delta).clamp(0, 1)

# %% wrong="put_on" name="mask turned round" says="Inside and outside are exchanged"
def put_on(x, delta, mask):
    return torch.where(mask, x, x + delta).clamp(0, 1)

# %% wrong="put_on" name="no clamp" says="is no image"
def put_on(x, delta, mask):
    return x + mask * delta

# %% wrong="put_on" name="delta is clamped" says="a perturbation may be negative"
def put_on(x, delta, mask):
    return (x + mask * delta.clamp(0, 1)).clamp(0, 1)

# %% wrong="put_on" name="delta replaces x" says="delta takes the place of x"
def put_on(x, delta, mask):
    return torch.where(mask, delta, x).clamp(0, 1)

# %% wrong="put_on" name="only the perturbation" says="Add it to x"
def put_on(x, delta, mask):
    return (mask * delta).clamp(0, 1)

# %% wrong="put_on" name="in place" says="edited in place"
def put_on(x, delta, mask):
    x += mask * delta
    return x.clamp(0, 1)

# %% wrong="put_on" name="mask used as an index, one colour only" says="same for all images and colours"
def put_on(x, delta, mask):
    z = x.clone()
    z[:, 0] += mask * (delta[:, 0] if delta.ndim == 4 else delta[0])
    return z.clamp(0, 1)

# %% wrong="put_on" name="no return" says="forget a return"
def put_on(x, delta, mask):
    z = (x + mask * delta).clamp(0, 1)

# %% wrong="put_on" name="the library's set" says="write yourself"
def put_on(x, delta, mask):
    return Masked(LpBall(1.0, math.inf), mask).project(x + delta, x)

# %% right="put_on" name="a float mask and minimum"
def put_on(x, delta, mask):
    m = mask.to(x.dtype)
    return torch.minimum(torch.maximum(x + m * delta, torch.zeros_like(x)), torch.ones_like(x))

# %% right="put_on" name="a convex combination"
def put_on(x, delta, mask):
    m = mask.to(x)
    return (1 - m) * x + m * torch.clip(x + delta, 0, 1)

# %% right="put_on" name="pixel by pixel on a copy"
def put_on(x, delta, mask):
    z = x.clone()
    delta = delta.expand_as(x)
    for i, j in mask.nonzero().tolist():
        z[:, :, i, j] = (z[:, :, i, j] + delta[:, :, i, j]).clamp(0, 1)
    return z

# ---------------------------------------------------------------- masked_pgd
# %% wrong="masked_pgd" name="no mask" says="Pixels outside the mask moved, too"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x = (x + step_size * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="downhill" says="downhill"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x = (x - mask * step_size * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="mask turned round" says="exchanged"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x = (x + ~mask * step_size * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="the image is multiplied by the mask" says="set to 0"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x = (mask * (x + step_size * attacks.input_gradient(model, x, y).sign())).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="no clamp" says="clamp after every step"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x = x + mask * step_size * attacks.input_gradient(model, x, y).sign()
    return x

# %% wrong="masked_pgd" name="gradient of x in every step" says="always that of x"
def masked_pgd(model, x, y, mask, steps, step_size):
    g, x_k = attacks.input_gradient(model, x, y).sign(), x
    for _ in range(steps):
        x_k = (x_k + mask * step_size * g).clamp(0, 1)
    return x_k

# %% wrong="masked_pgd" name="every step from x" says="Only one step was taken"
def masked_pgd(model, x, y, mask, steps, step_size):
    x_k = x
    for _ in range(steps):
        x_k = (x + mask * step_size * attacks.input_gradient(model, x_k, y).sign()).clamp(0, 1)
    return x_k

# %% wrong="masked_pgd" name="gradients added up" says="not added up with earlier ones"
def masked_pgd(model, x, y, mask, steps, step_size):
    x_k = x.clone().requires_grad_(True)
    for _ in range(steps):
        losses.cross_entropy(model(x_k), y).sum().backward()
        with torch.no_grad():
            x_k.copy_((x_k + mask * step_size * x_k.grad.sign()).clamp(0, 1))
    return x_k

# %% wrong="masked_pgd" name="stops when all are fooled" says="All steps are asked for"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        if (model(x).argmax(dim=1) != y).all():
            break
        x = (x + mask * step_size * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="the gradient itself" says="in the sign of its derivative"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x = (x + mask * step_size * attacks.input_gradient(model, x, y)).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="model left in train mode" says="left in train mode"
def masked_pgd(model, x, y, mask, steps, step_size):
    model.train()
    for _ in range(steps):
        x = (x + mask * step_size * attacks.input_gradient(model, x, y).sign()).clamp(0, 1)
    return x

# %% wrong="masked_pgd" name="in place on x" says="edited in place"
def masked_pgd(model, x, y, mask, steps, step_size):
    for _ in range(steps):
        x += mask * step_size * attacks.input_gradient(model, x, y).sign()
        x.clamp_(0, 1)
    return x

# %% wrong="masked_pgd" name="an eps-ball of 0.1 within the mask" says="no eps here"
def masked_pgd(model, x, y, mask, steps, step_size):
    x_k = x
    for _ in range(steps):
        x_k = x_k + mask * step_size * attacks.input_gradient(model, x_k, y).sign()
        x_k = torch.minimum(torch.maximum(x_k, x - 0.1), x + 0.1).clamp(0, 1)
    return x_k

# %% wrong="masked_pgd" name="the library's attack" says="write yourself"
def masked_pgd(model, x, y, mask, steps, step_size):
    return attacks.pgd(model, x, y, Masked(LpBall(1.0, math.inf), mask), steps=steps, step_size=step_size, random_start=False, early_stop=False)

# %% right="masked_pgd" name="perturbation as the variable, backward"
def masked_pgd(model, x, y, mask, steps, step_size):
    delta = torch.zeros_like(x)
    for _ in range(steps):
        delta.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model(x + mask * delta), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, delta)
        delta = (x + (delta.detach() + step_size * grad.sign())).clamp(0, 1) - x
    return torch.where(mask, x + delta, x)

# %% right="masked_pgd" name="mean loss, everything projected with where"
def masked_pgd(model, x, y, mask, steps, step_size):
    adv = x.detach().clone()
    for _ in range(steps):
        adv.requires_grad_(True)
        grad = torch.autograd.grad(torch.nn.CrossEntropyLoss()(model(adv), y), adv)[0]
        adv = torch.where(mask, torch.clip(adv.detach() + step_size * torch.sign(grad), 0.0, 1.0), x)
    return adv

# %% right="masked_pgd" name="image by image"
def masked_pgd(model, x, y, mask, steps, step_size):
    rows = []
    for image, label in zip(x, y):
        z = image[None].clone()
        for _ in range(steps):
            z = (z + mask * step_size * attacks.input_gradient(model, z, label[None]).sign()).clamp(0, 1)
        rows.append(z)
    return torch.cat(rows)

# ---------------------------------------------------------------- total_variation
# %% wrong="total_variation" name="the sum" says="This is the sum"
def total_variation(x, mask):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2) * (mask[1:] & mask[:-1])
    right[:, :, :, :-1] = x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])
    return (down**2 + right**2).sqrt().sum(dim=(1, 2, 3))

# %% wrong="total_variation" name="absolute differences" says="|d| + |r|"
def total_variation(x, mask):
    down = (x.diff(dim=2) * (mask[1:] & mask[:-1])).abs().sum(dim=(1, 2, 3))
    right = (x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])).abs().sum(dim=(1, 2, 3))
    return (down + right) / mask.sum()

# %% wrong="total_variation" name="squares" says="The root is missing"
def total_variation(x, mask):
    down = (x.diff(dim=2) * (mask[1:] & mask[:-1])).square().sum(dim=(1, 2, 3))
    right = (x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])).square().sum(dim=(1, 2, 3))
    return (down + right) / mask.sum()

# %% wrong="total_variation" name="one root at the end" says="One root of everything"
def total_variation(x, mask):
    down = (x.diff(dim=2) * (mask[1:] & mask[:-1])).square().sum(dim=(1, 2, 3))
    right = (x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])).square().sum(dim=(1, 2, 3))
    return (down + right).sqrt() / mask.sum()

# %% wrong="total_variation" name="only to the right" says="Where are those downwards?"
def total_variation(x, mask):
    return (x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])).abs().sum(dim=(1, 2, 3)) / mask.sum()

# %% wrong="total_variation" name="last row and column dropped" says="left out as a whole"
def total_variation(x, mask):
    down = x[:, :, 1:, :-1] - x[:, :, :-1, :-1]
    right = x[:, :, :-1, 1:] - x[:, :, :-1, :-1]
    down, right = down * (mask[1:, :-1] & mask[:-1, :-1]), right * (mask[:-1, 1:] & mask[:-1, :-1])
    return (down**2 + right**2).sqrt().sum(dim=(1, 2, 3)) / mask.sum()

# %% wrong="total_variation" name="differences across the border of the mask" says="Both must be inside"
def total_variation(x, mask):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2)
    right[:, :, :, :-1] = x.diff(dim=3)
    return ((down**2 + right**2).sqrt() * mask).sum(dim=(1, 2, 3)) / mask.sum()

# %% wrong="total_variation" name="outside set to zero first" says="set the pixels outside to 0"
def total_variation(x, mask):
    z = x * mask
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = z.diff(dim=2)
    right[:, :, :, :-1] = z.diff(dim=3)
    return (down**2 + right**2).sqrt().sum(dim=(1, 2, 3)) / mask.sum()

# %% wrong="total_variation" name="divided by all pixels" says="divided by all pixels"
def total_variation(x, mask):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2) * (mask[1:] & mask[:-1])
    right[:, :, :, :-1] = x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])
    return (down**2 + right**2).sqrt().sum(dim=1).mean(dim=(1, 2))

# %% wrong="total_variation" name="channels averaged" says="Channels are averaged"
def total_variation(x, mask):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2) * (mask[1:] & mask[:-1])
    right[:, :, :, :-1] = x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])
    return (down**2 + right**2).sqrt().mean(dim=1).sum(dim=(1, 2)) / mask.sum()

# %% wrong="total_variation" name="one root over all channels" says="One root over all channels"
def total_variation(x, mask):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2) * (mask[1:] & mask[:-1])
    right[:, :, :, :-1] = x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])
    return (down**2 + right**2).sum(dim=1).sqrt().sum(dim=(1, 2)) / mask.sum()

# %% wrong="total_variation" name="one number for the batch" says="mean or a sum"
def total_variation(x, mask):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = x.diff(dim=2) * (mask[1:] & mask[:-1])
    right[:, :, :, :-1] = x.diff(dim=3) * (mask[:, 1:] & mask[:, :-1])
    return (down**2 + right**2).sqrt().sum() / mask.sum()

# %% wrong="total_variation" name="the library's" says="write yourself"
def total_variation(x, mask):
    from coursekit.attacks import physical
    return physical.total_variation(x, mask)

# %% right="total_variation" name="padding and hypot"
def total_variation(x, mask):
    z = torch.nn.functional.pad(x, (0, 1, 0, 1))
    m = torch.nn.functional.pad(mask, (0, 1, 0, 1))
    d = (z[:, :, 1:, :-1] - x) * (m[1:, :-1] & mask)
    r = (z[:, :, :-1, 1:] - x) * (m[:-1, 1:] & mask)
    return torch.hypot(d, r).flatten(1).sum(dim=1) / mask.float().sum()

# %% right="total_variation" name="pixel by pixel"
def total_variation(x, mask):
    height, width = mask.shape
    totals = torch.zeros(len(x))
    for i, j in mask.nonzero().tolist():
        d = x[:, :, i + 1, j] - x[:, :, i, j] if i + 1 < height and mask[i + 1, j] else torch.zeros(x.shape[:2])
        r = x[:, :, i, j + 1] - x[:, :, i, j] if j + 1 < width and mask[i, j + 1] else torch.zeros(x.shape[:2])
        totals += (d**2 + r**2).sqrt().sum(dim=1)
    return totals / int(mask.sum())

# %% right="total_variation" name="NaN outside the mask, a small number under the root"
def total_variation(x, mask):
    z = torch.where(mask, x, torch.nan)
    d = torch.nn.functional.pad(z.diff(dim=2), (0, 0, 0, 1)).nan_to_num()
    r = torch.nn.functional.pad(z.diff(dim=3), (0, 1)).nan_to_num()
    return ((d**2 + r**2 + 1e-12).sqrt() * mask).sum(dim=(1, 2, 3)) / mask.sum()

# ---------------------------------------------------------------- non_printability
# %% wrong="non_printability" name="nearest colour" says="distance to the nearest colour"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return distance.amin(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="sum over the colours" says="You add up the distances"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return distance.sum(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="mean over the colours" says="mean of the distances"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return distance.mean(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="sum over pixels" says="sum over pixels"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return distance.prod(dim=1)[:, mask].sum(dim=1)

# %% wrong="non_printability" name="squared distances" says="squared distances"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).square().sum(dim=2)
    return distance.prod(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="absolute differences added up" says="channels' absolute differences"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).abs().sum(dim=2)
    return distance.prod(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="each channel by itself" says="Each channel has a product of its own"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).abs()
    return distance.prod(dim=1).sum(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="the whole picture" says="Pixels outside the mask count"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return distance.prod(dim=1).mean(dim=(1, 2))

# %% wrong="non_printability" name="divided by all pixels" says="divided by all pixels"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return (distance.prod(dim=1) * mask).mean(dim=(1, 2))

# %% wrong="non_printability" name="one number for the batch" says="mean or a sum"
def non_printability(x, colours, mask):
    distance = (x[:, None] - colours[:, :, None, None]).norm(dim=2)
    return distance.prod(dim=1)[:, mask].mean()

# %% wrong="non_printability" name="axes of colours and channels exchanged" says="RuntimeError"
def non_printability(x, colours, mask):
    distance = (x[:, :, None] - colours[None, :, :, None, None]).norm(dim=1)
    return distance.prod(dim=1)[:, mask].mean(dim=1)

# %% wrong="non_printability" name="the library's" says="write yourself"
def non_printability(x, colours, mask):
    from coursekit.attacks import physical
    return physical.non_printability(x, colours, mask)

# %% right="non_printability" name="cdist"
def non_printability(x, colours, mask):
    pixels = x[:, :, mask].transpose(1, 2)
    return torch.cdist(pixels, colours.expand(len(x), -1, -1), compute_mode="donot_use_mm_for_euclid_dist").prod(dim=-1).mean(dim=-1)

# %% right="non_printability" name="colour by colour"
def non_printability(x, colours, mask):
    score = torch.ones(len(x), *x.shape[2:], dtype=x.dtype)
    for colour in colours:
        score = score * ((x - colour.view(-1, 1, 1)) ** 2).sum(dim=1).sqrt()
    return (score * mask).sum(dim=(1, 2)) / mask.sum()

# %% right="non_printability" name="exponential of a sum of logarithms"
def non_printability(x, colours, mask):
    distance = torch.linalg.vector_norm(x.unsqueeze(1) - colours[None, :, :, None, None], dim=2)
    return torch.exp(torch.log(distance + 1e-30).sum(dim=1))[:, mask].mean(dim=1)

# ---------------------------------------------------------------- shared_gradient
# %% wrong="shared_gradient" name="sum over the people" says="This is the sum over the people"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, torch.where(mask, glasses, x), y).sum(dim=0) * mask

# %% wrong="shared_gradient" name="one gradient per person" says="shape"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, torch.where(mask, glasses, x), y) * mask

# %% wrong="shared_gradient" name="not masked" says="Outside the mask nobody wears"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, torch.where(mask, glasses, x), y).mean(dim=0)

# %% wrong="shared_gradient" name="glasses not put on" says="glasses are not on"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, x, y).mean(dim=0) * mask

# %% wrong="shared_gradient" name="glasses added" says="glasses are added to the faces"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, x + mask * glasses, y).mean(dim=0) * mask

# %% wrong="shared_gradient" name="the sign" says="Only the sign is left"
def shared_gradient(model, x, y, glasses, mask):
    return (attacks.input_gradient(model, torch.where(mask, glasses, x), y).mean(dim=0) * mask).sign()

# %% wrong="shared_gradient" name="minus the loss" says="sign is wrong"
def shared_gradient(model, x, y, glasses, mask):
    g = glasses.clone().requires_grad_(True)
    loss = -losses.cross_entropy(model(torch.where(mask, g, x)), y).mean()
    return torch.autograd.grad(loss, g)[0]

# %% wrong="shared_gradient" name="the first person only" says="first person's gradient"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, torch.where(mask, glasses, x), y)[0] * mask

# %% wrong="shared_gradient" name="the whole picture is replaced" says="keeps their own face"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, glasses.expand_as(x), y).mean(dim=0) * mask

# %% wrong="shared_gradient" name="glasses put on in place" says="edited in place"
def shared_gradient(model, x, y, glasses, mask):
    x[:, :, mask] = glasses[:, mask]
    return attacks.input_gradient(model, x, y).mean(dim=0) * mask

# %% wrong="shared_gradient" name="the glasses themselves require the gradient" says="made to require a gradient"
def shared_gradient(model, x, y, glasses, mask):
    glasses.requires_grad_(True)
    losses.cross_entropy(model(torch.where(mask, glasses, x)), y).mean().backward()
    return glasses.grad

# %% wrong="shared_gradient" name="mean over the wrong axis" says="shape"
def shared_gradient(model, x, y, glasses, mask):
    return attacks.input_gradient(model, torch.where(mask, glasses, x), y).mean(dim=1) * mask

# %% right="shared_gradient" name="autograd through where, mean reduction"
def shared_gradient(model, x, y, glasses, mask):
    g = glasses.clone().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(model(torch.where(mask, g, x)), y)
    return torch.autograd.grad(loss, g)[0]

# %% right="shared_gradient" name="person by person"
def shared_gradient(model, x, y, glasses, mask):
    total = torch.zeros_like(glasses)
    for photograph, label in zip(x, y):
        worn = photograph.clone()
        worn[:, mask] = glasses[:, mask]
        total += attacks.input_gradient(model, worn[None], label[None])[0]
    return torch.where(mask, total / len(x), torch.zeros_like(total))

# %% right="shared_gradient" name="a perturbation of zero on top"
def shared_gradient(model, x, y, glasses, mask):
    delta = torch.zeros_like(glasses, requires_grad=True)
    worn = (~mask) * x + mask * (glasses + delta)
    losses.cross_entropy(model(worn), y).mean().backward()
    return delta.grad

# ---------------------------------------------------------------- expected_loss
# %% wrong="expected_loss" name="loss of the mean logits" says="loss of the mean logits"
def expected_loss(model, seen, y):
    logits = model(seen.flatten(0, 1)).reshape(*seen.shape[:2], -1)
    return losses.cross_entropy(logits.mean(dim=1), y)

# %% wrong="expected_loss" name="loss of the mean picture" says="or of the mean picture"
def expected_loss(model, seen, y):
    return losses.cross_entropy(model(seen.mean(dim=1)), y)

# %% wrong="expected_loss" name="loss of the mean probabilities" says="loss of the mean probabilities"
def expected_loss(model, seen, y):
    p = model(seen.flatten(0, 1)).softmax(dim=1).reshape(*seen.shape[:2], -1).mean(dim=1)
    return -p.gather(1, y[:, None]).squeeze(1).log()

# %% wrong="expected_loss" name="sum over the views" says="sum of the losses"
def expected_loss(model, seen, y):
    return losses.cross_entropy(model(seen.flatten(0, 1)), y.repeat_interleave(seen.shape[1])).reshape(len(y), -1).sum(dim=1)

# %% wrong="expected_loss" name="labels in another order" says="different orders"
def expected_loss(model, seen, y):
    return losses.cross_entropy(model(seen.flatten(0, 1)), y.repeat(seen.shape[1])).reshape(len(y), -1).mean(dim=1)

# %% wrong="expected_loss" name="one number" says="mean or a sum"
def expected_loss(model, seen, y):
    return losses.cross_entropy(model(seen.flatten(0, 1)), y.repeat_interleave(seen.shape[1])).mean()

# %% wrong="expected_loss" name="the worst view" says="largest loss of all views"
def expected_loss(model, seen, y):
    return losses.cross_entropy(model(seen.flatten(0, 1)), y.repeat_interleave(seen.shape[1])).reshape(len(y), -1).amax(dim=1)

# %% wrong="expected_loss" name="the first view" says="first view alone"
def expected_loss(model, seen, y):
    return losses.cross_entropy(model(seen[:, 0]), y)

# %% wrong="expected_loss" name="reshaped the wrong way round" says="any B, S, K"
def expected_loss(model, seen, y):
    loss = losses.cross_entropy(model(seen.flatten(0, 1)), y.repeat_interleave(seen.shape[1]))
    return loss.reshape(seen.shape[1], len(y)).mean(dim=0)

# %% wrong="expected_loss" name="model given five axes" says="one axis first"
def expected_loss(model, seen, y):
    logits = model(seen)
    return torch.stack([losses.cross_entropy(logits[:, s], y) for s in range(seen.shape[1])]).mean(dim=0)

# %% wrong="expected_loss" name="logarithm of softmax" says="infinite"
def expected_loss(model, seen, y):
    p = model(seen.flatten(0, 1)).softmax(dim=1).reshape(*seen.shape[:2], -1)
    return -torch.stack([p[b, :, label].log().mean() for b, label in enumerate(y.tolist())])

# %% wrong="expected_loss" name="model left in train mode" says="left in train mode"
def expected_loss(model, seen, y):
    model.train()
    return torch.stack([losses.cross_entropy(model(some), label.expand(len(some))).mean() for some, label in zip(seen, y)])

# %% right="expected_loss" name="view by view"
def expected_loss(model, seen, y):
    return sum(losses.cross_entropy(model(seen[:, s]), y) for s in range(seen.shape[1])) / seen.shape[1]

# %% right="expected_loss" name="thing by thing, torch's own loss"
def expected_loss(model, seen, y):
    return torch.stack([torch.nn.functional.cross_entropy(model(some), label.repeat(len(some))) for some, label in zip(seen, y)])

# %% right="expected_loss" name="log-softmax by hand"
def expected_loss(model, seen, y):
    log_p = torch.log_softmax(model(seen.reshape(-1, *seen.shape[2:])), dim=-1).reshape(*seen.shape[:2], -1)
    return -log_p.mean(dim=1)[torch.arange(len(y)), y]

# ---------------------------------------------------------------- eot_attack
# %% wrong="eot_attack" name="away from the target" says="walk away from the target"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        sign = (sign + step_size * mask * g.sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="no mask" says="Pixels outside the mask changed, too"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        step = step_size * g.sign()
        step[3] = 0
        sign = (sign - step).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="no clamp" says="brighter than 1 does not exist"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        sign = sign - step_size * mask * g.sign()
    return sign

# %% wrong="eot_attack" name="return inside the loop" says="Only one step was taken"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        return (sign - step_size * mask * g.sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="always the first views" says="views of the first entry"
def eot_attack(model, sign, target, mask, shots, step_size):
    for _ in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], shots[0]))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        sign = (sign - step_size * mask * g.sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="only the first view of each step" says="Only the first view of the step counts"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))[:1]
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((1,), target)).mean(), z)[0]
        sign = (sign - step_size * mask * g.sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="gradient of the first sign" says="gradient is always that of the first sign"
def eot_attack(model, sign, target, mask, shots, step_size):
    x_k = sign
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        x_k = (x_k - step_size * mask * g.sign()).clamp(0, 1)
    return x_k

# %% wrong="eot_attack" name="gradients added up" says="added up over the steps"
def eot_attack(model, sign, target, mask, shots, step_size):
    z = sign.clone().requires_grad_(True)
    for view in shots:
        logits = model(signs.photograph(z[None], view))
        losses.cross_entropy(logits, torch.full((len(logits),), target)).mean().backward()
        with torch.no_grad():
            z.copy_((z - step_size * mask * z.grad.sign()).clamp(0, 1))
    return z

# %% wrong="eot_attack" name="the gradient itself" says="by step_size"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        sign = (sign - step_size * mask * g).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="loss of the mean logits" says="You follow the loss of the mean logits"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view)).mean(dim=0, keepdim=True)
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.tensor([target])).mean(), z)[0]
        sign = (sign - step_size * mask * g.sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="one label for many photographs" says="one label per image"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        loss = losses.cross_entropy(model(signs.photograph(z, view)), torch.tensor([target])).mean()
        sign = (sign - step_size * mask * torch.autograd.grad(loss, z)[0].sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="no gradient asked for" says="needs requires_grad=True"
def eot_attack(model, sign, target, mask, shots, step_size):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for view in shots:
        logits = model(signs.photograph(sign[None], view))
        loss = losses.cross_entropy(logits, torch.full((len(logits),), target)).mean()
        sign = (sign - step_size * mask * torch.autograd.grad(loss, sign)[0].sign()).clamp(0, 1)
    return sign

# %% wrong="eot_attack" name="the sign is edited in place" says="edited in place"
def eot_attack(model, sign, target, mask, shots, step_size):
    for view in shots:
        z = sign.clone().requires_grad_(True)
        logits = model(signs.photograph(z[None], view))
        g = torch.autograd.grad(losses.cross_entropy(logits, torch.full((len(logits),), target)).mean(), z)[0]
        sign -= step_size * mask * g.sign()
        sign.clamp_(0, 1)
    return sign

# %% wrong="eot_attack" name="the library's attack" says="write yourself"
def eot_attack(model, sign, target, mask, shots, step_size):
    return attacks.expectation(model, sign[None], torch.tensor([target]), Masked(LpBall(1.0, math.inf), mask), signs.any_photograph,
                               steps=max(1, len(shots)), step_size=step_size, target=target)[0]

# %% right="eot_attack" name="view by view, the sum of the losses"
def eot_attack(model, sign, target, mask, shots, step_size):
    x_k = sign.clone()
    for view in shots:
        total = torch.zeros_like(sign)
        for s in range(len(view.homography)):
            z = x_k.clone().requires_grad_(True)
            logits = model(signs.photograph(z[None], view.select(slice(s, s + 1))))
            total += torch.autograd.grad(losses.cross_entropy(logits, torch.tensor([target])).sum(), z)[0]
        x_k = torch.where(mask, torch.clip(x_k - step_size * total.sign(), 0, 1), x_k)
    return x_k

# %% right="eot_attack" name="up the log-probability, perturbation as the variable"
def eot_attack(model, sign, target, mask, shots, step_size):
    delta = torch.zeros_like(sign)
    for view in shots:
        delta.requires_grad_(True)
        log_p = torch.log_softmax(model(signs.photograph((sign + mask * delta).unsqueeze(0), view)), dim=-1)[:, target].mean()
        (grad,) = torch.autograd.grad(log_p, delta)
        delta = (sign + mask * (delta.detach() + step_size * torch.sign(grad))).clamp(0, 1) - sign
    return torch.where(mask, sign + delta, sign)

# %% right="eot_attack" name="an optimiser that is handed the sign"
def eot_attack(model, sign, target, mask, shots, step_size):
    z = sign.clone().requires_grad_(True)
    optimiser = torch.optim.SGD([z], lr=step_size)
    for view in shots:
        optimiser.zero_grad()
        photographs = signs.photograph(z[None], view)
        torch.nn.functional.cross_entropy(model(photographs), torch.tensor([target] * len(photographs))).backward()
        z.grad.copy_(z.grad.sign() * mask)
        optimiser.step()
        with torch.no_grad():
            z.clamp_(0, 1)
    return z

# ---------------------------------------------------------------- success_rate
# %% wrong="success_rate" name="not the target" says="not of the target class"
def success_rate(model, faces, target, view):
    return torch.stack([(model(signs.photograph(face[None], view)).argmax(dim=1) != target).float().mean() for face in faces])

# %% wrong="success_rate" name="a number of views" says="number of views"
def success_rate(model, faces, target, view):
    return torch.stack([(model(signs.photograph(face[None], view)).argmax(dim=1) == target).float().sum() for face in faces])

# %% wrong="success_rate" name="in per cent" says="per cent"
def success_rate(model, faces, target, view):
    return 100 * torch.stack([(model(signs.photograph(face[None], view)).argmax(dim=1) == target).float().mean() for face in faces])

# %% wrong="success_rate" name="one share for all signs" says="mean or a sum"
def success_rate(model, faces, target, view):
    called = torch.stack([model(signs.photograph(face[None], view)).argmax(dim=1) for face in faces])
    return (called == target).float().mean()

# %% wrong="success_rate" name="mean over the signs" says="shape"
def success_rate(model, faces, target, view):
    called = torch.stack([model(signs.photograph(face[None], view)).argmax(dim=1) for face in faces])
    return (called == target).float().mean(dim=0)

# %% wrong="success_rate" name="the mean probability" says="mean probability of the target"
def success_rate(model, faces, target, view):
    return torch.stack([model(signs.photograph(face[None], view)).softmax(dim=1)[:, target].mean() for face in faces])

# %% wrong="success_rate" name="all signs at once in views of their own" says="RuntimeError"
def success_rate(model, faces, target, view):
    return (model(signs.photograph(faces, view)).argmax(dim=1) == target).float().mean().expand(len(faces))

# %% wrong="success_rate" name="new views instead of those given" says="views of five"
def success_rate(model, faces, target, view):
    generator = torch.Generator().manual_seed(0)
    return torch.stack([(model(signs.photograph(face[None], signs.views(50, generator))).argmax(dim=1) == target).float().mean() for face in faces])

# %% wrong="success_rate" name="model left in train mode" says="left in train mode"
def success_rate(model, faces, target, view):
    model.train()
    return torch.stack([(model(signs.photograph(face[None], view)).argmax(dim=1) == target).float().mean() for face in faces])

# %% wrong="success_rate" name="the first sign's own class is the reference" says="which class is asked for"
def success_rate(model, faces, target, view):
    called = torch.stack([model(signs.photograph(face[None], view)).argmax(dim=1) for face in faces])
    return (called == called.mode(dim=1, keepdim=True).values).float().mean(dim=1) * (called == target).any(dim=1)

# %% right="success_rate" name="one big batch"
def success_rate(model, faces, target, view):
    count, samples = len(faces), len(view.homography)
    x = signs.photograph(faces.repeat_interleave(samples, dim=0), view.select(torch.arange(samples).repeat(count)))
    return (model(x).max(dim=1).indices == target).double().reshape(count, samples).mean(dim=1)

# %% right="success_rate" name="loops and a list of numbers"
def success_rate(model, faces, target, view):
    shares = []
    for face in faces:
        predictions = model(signs.photograph(face.unsqueeze(0), view)).argmax(dim=1).tolist()
        shares.append(predictions.count(target) / len(predictions))
    return torch.tensor(shares)

# ---------------------------------------------------------------- decide
# %% wrong="decide" name="majority vote" says="most frequent verdict would be 0"
def decide(model, frames):
    return model(frames.flatten(0, 1)).argmax(dim=1).reshape(frames.shape[:2]).mode(dim=1).values

# %% wrong="decide" name="mean of the logits" says="Softmax comes first"
def decide(model, frames):
    return model(frames.flatten(0, 1)).reshape(*frames.shape[:2], -1).mean(dim=1).argmax(dim=1)

# %% wrong="decide" name="mean of the pictures" says="pictures) averaged"
def decide(model, frames):
    return model(frames.mean(dim=1)).argmax(dim=1)

# %% wrong="decide" name="mean over the drives" says="shape"
def decide(model, frames):
    return model(frames.flatten(0, 1)).softmax(dim=1).reshape(*frames.shape[:2], -1).mean(dim=0).argmax(dim=1)

# %% wrong="decide" name="the first frame decides" says="the mean over the frames"
def decide(model, frames):
    return model(frames[:, 0]).argmax(dim=1)

# %% wrong="decide" name="the surest frame decides" says="one very sure frame does not overrule"
def decide(model, frames):
    p = model(frames.flatten(0, 1)).softmax(dim=1).reshape(*frames.shape[:2], -1)
    return p.amax(dim=1).argmax(dim=1)

# %% wrong="decide" name="the mean probabilities are returned" says="another shape"
def decide(model, frames):
    return model(frames.flatten(0, 1)).softmax(dim=1).reshape(*frames.shape[:2], -1).mean(dim=1)[:, :1]

# %% wrong="decide" name="frames and drives mixed up" says="first axis counts drives"
def decide(model, frames):
    p = model(frames.flatten(0, 1)).softmax(dim=1)
    return p.reshape(frames.shape[1], frames.shape[0], -1).mean(dim=0).argmax(dim=1)

# %% wrong="decide" name="softmax over the frames" says="softmax over the classes"
def decide(model, frames):
    logits = model(frames.flatten(0, 1)).reshape(*frames.shape[:2], -1)
    return logits.softmax(dim=1).mean(dim=1).argmax(dim=1)

# %% wrong="decide" name="floats" says="dtype"
def decide(model, frames):
    return model(frames.flatten(0, 1)).softmax(dim=1).reshape(*frames.shape[:2], -1).mean(dim=1).argmax(dim=1).float()

# %% right="decide" name="drive by drive"
def decide(model, frames):
    return torch.stack([torch.softmax(model(drive), dim=-1).sum(dim=0).argmax() for drive in frames])

# %% right="decide" name="frame by frame"
def decide(model, frames):
    total = 0
    for t in range(frames.shape[1]):
        total = total + torch.nn.functional.softmax(model(frames[:, t]), dim=1)
    return total.max(dim=1).indices
