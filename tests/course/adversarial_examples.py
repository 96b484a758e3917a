# Answers to assignment `adversarial_examples` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- top_classes
# %% wrong="top_classes" name="the logits as they are" says="The softmax makes probabilities"
def top_classes(logits, k):
    top = logits.topk(k, dim=1)
    return top.values, top.indices

# %% wrong="top_classes" name="softmax over the batch" says="over the batch (dim=0)"
def top_classes(logits, k):
    top = logits.softmax(dim=0).topk(k, dim=1)
    return top.values, top.indices

# %% wrong="top_classes" name="softmax over the chosen" says="over the k classes alone"
def top_classes(logits, k):
    top = logits.topk(k, dim=1)
    return top.values.softmax(dim=1), top.indices

# %% wrong="top_classes" name="least probable" says="least probable classes"
def top_classes(logits, k):
    top = logits.softmax(dim=1).topk(k, dim=1, largest=False)
    return top.values, top.indices

# %% wrong="top_classes" name="rising order" says="most probable first"
def top_classes(logits, k):
    p, classes = logits.softmax(dim=1).sort(dim=1)
    return p[:, -k:], classes[:, -k:]

# %% wrong="top_classes" name="exponentials by hand" says="use softmax"
def top_classes(logits, k):
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    top = p.topk(k, dim=1)
    return top.values, top.indices

# %% wrong="top_classes" name="the pair swapped" says="Probabilities first, classes second"
def top_classes(logits, k):
    top = logits.softmax(dim=1).topk(k, dim=1)
    return top.indices, top.values

# %% wrong="top_classes" name="logarithms" says="log_softmax"
def top_classes(logits, k):
    top = logits.log_softmax(dim=1).topk(k, dim=1)
    return top.values, top.indices

# %% wrong="top_classes" name="classes only" says="Return both"
def top_classes(logits, k):
    return logits.softmax(dim=1).topk(k, dim=1).indices

# %% wrong="top_classes" name="places after sorting" says="from the same topk"
def top_classes(logits, k):
    p = logits.softmax(dim=1).sort(dim=1, descending=True).values
    return p[:, :k], torch.arange(k).repeat(len(p), 1)

# %% wrong="top_classes" name="sigmoid" says="This is a sigmoid"
def top_classes(logits, k):
    top = torch.sigmoid(logits).topk(k, dim=1)
    return top.values, top.indices

# %% wrong="top_classes" name="always two" says="is k used"
def top_classes(logits, k):
    top = logits.softmax(dim=1).topk(2, dim=1)
    return top.values, top.indices

# %% right="top_classes" name="argsort and gather"
def top_classes(logits, k):
    classes = torch.argsort(logits, dim=-1, descending=True)[:, :k]
    return [torch.softmax(logits, dim=-1).gather(1, classes), classes]

# %% right="top_classes" name="row by row, largest logit subtracted, int32"
def top_classes(logits, k):
    probabilities, classes = [], []
    for row in logits:
        e = (row - row.max()).exp()
        p = e / e.sum()
        order = sorted(range(len(row)), key=lambda i: -p[i].item())[:k]
        probabilities.append(p[order])
        classes.append(torch.tensor(order, dtype=torch.int32))
    return torch.stack(probabilities), torch.stack(classes)

# %% right="top_classes" name="topk of the logits, logsumexp"
def top_classes(logits, k):
    values, classes = logits.topk(k)
    return (values - logits.logsumexp(1, keepdim=True)).exp(), classes

# ---------------------------------------------------------------- add_perturbation
# %% wrong="add_perturbation" name="no clipping" says="clip as the very last thing"
def add_perturbation(x, delta, size):
    return x + size * delta

# %% wrong="add_perturbation" name="the perturbation is clipped" says="Clip the sum"
def add_perturbation(x, delta, size):
    return x + (size * delta).clamp(0, 1)

# %% wrong="add_perturbation" name="size forgotten" says="scale it by size"
def add_perturbation(x, delta, size):
    return (x + delta).clamp(0, 1)

# %% wrong="add_perturbation" name="size of the slide written out" says="0.005 is written out"
def add_perturbation(x, delta, size):
    return (x + 0.005 * delta).clamp(0, 1)

# %% wrong="add_perturbation" name="stretched to the range" says="Clip it instead"
def add_perturbation(x, delta, size):
    z = x + size * delta
    return (z - z.min()) / (z.max() - z.min())

# %% wrong="add_perturbation" name="only the perturbation" says="Add it to x"
def add_perturbation(x, delta, size):
    return size * delta

# %% wrong="add_perturbation" name="in place" says="edited in place"
def add_perturbation(x, delta, size):
    x += size * delta
    return x.clamp(0, 1)

# %% wrong="add_perturbation" name="wraps round" says="comes in again on the other side"
def add_perturbation(x, delta, size):
    return (x + size * delta) % 1

# %% wrong="add_perturbation" name="minus" says="You subtract it"
def add_perturbation(x, delta, size):
    return (x - size * delta).clamp(0, 1)

# %% wrong="add_perturbation" name="clipped too early" says="clip as the very last thing"
def add_perturbation(x, delta, size):
    return x.clamp(0, 1) + size * delta

# %% wrong="add_perturbation" name="delta clipped as well" says="delta was clipped"
def add_perturbation(x, delta, size):
    return (x + size * delta.clamp(-1, 1)).clamp(0, 1)

# %% right="add_perturbation" name="minimum and maximum"
def add_perturbation(x, delta, size):
    return torch.minimum(torch.maximum(torch.add(x, delta, alpha=size), torch.zeros_like(x)), torch.ones_like(x))

# %% right="add_perturbation" name="numpy"
import numpy as np

def add_perturbation(x, delta, size):
    return torch.from_numpy(np.clip(x.numpy() + size * delta.numpy(), 0, 1).astype(x.numpy().dtype))

# %% right="add_perturbation" name="where, on a copy"
def add_perturbation(x, delta, size):
    z = x.clone()
    z += size * delta
    z[z > 1] = 1
    return torch.where(z < 0, torch.zeros_like(z), z)

# ---------------------------------------------------------------- eight_bit
# %% wrong="eight_bit" name="cut off" says="round first"
def eight_bit(x):
    return (x * 255).byte().to(x.dtype) / 255

# %% wrong="eight_bit" name="floor" says="cut off"
def eight_bit(x):
    return torch.floor(x * 255) / 255

# %% wrong="eight_bit" name="256 steps" says="grid of 256 steps"
def eight_bit(x):
    return (x * 256).round() / 256

# %% wrong="eight_bit" name="there by 255, back by 256" says="not by 256"
def eight_bit(x):
    return (x * 255).round() / 256

# %% wrong="eight_bit" name="grey levels" says="Come back to [0, 1]"
def eight_bit(x):
    return (x * 255).round()

# %% wrong="eight_bit" name="rounded in [0, 1]" says="black or white"
def eight_bit(x):
    return x.round()

# %% wrong="eight_bit" name="bytes" says="pixels in [0, 1]"
def eight_bit(x):
    return (x * 255).round().byte()

# %% wrong="eight_bit" name="ceiling" says="Always up"
def eight_bit(x):
    return (x * 255).ceil() / 255

# %% wrong="eight_bit" name="in place" says="edited in place"
def eight_bit(x):
    return x.mul_(255).round_().div_(255)

# %% wrong="eight_bit" name="two decimals" says="nearest level"
def eight_bit(x):
    return x.round(decimals=2)

# %% right="eight_bit" name="add a half, cut off"
def eight_bit(x):
    return (x * 255 + 0.5).to(torch.uint8).to(x.dtype) / 255

# %% right="eight_bit" name="numpy"
def eight_bit(x):
    import numpy as np
    return torch.tensor(np.rint(x.numpy() * 255) / 255, dtype=x.dtype)

# %% right="eight_bit" name="nearest of a table"
def eight_bit(x):
    table = torch.arange(256, dtype=x.dtype) / 255
    return table[(x.unsqueeze(-1) - table).abs().argmin(dim=-1)]

# ---------------------------------------------------------------- is_adversarial
# %% wrong="is_adversarial" name="no ball" says="is x_tilde in P(x)?"
def is_adversarial(model, x, x_tilde, y, eps):
    return (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="wrong before counts" says="wrong before anybody touched them"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).flatten(1).all(dim=1)
    return inside & (model(x_tilde).argmax(dim=1) != y) & (x_tilde == x_tilde.clamp(0, 1)).flatten(1).all(1)

# %% wrong="is_adversarial" name="any change of the prediction" says="whether the prediction changed"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).flatten(1).all(dim=1)
    return inside & (model(x_tilde).argmax(dim=1) != model(x).argmax(dim=1))

# %% wrong="is_adversarial" name="no tolerance" says="Allow eps + ROUNDING"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps).flatten(1).all(dim=1) & ((x_tilde >= 0) & (x_tilde <= 1)).flatten(1).all(dim=1)
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="a generous tolerance" says="The tolerance is 1e-6"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= 1.01 * eps).flatten(1).all(dim=1) & ((x_tilde >= 0) & (x_tilde <= 1)).flatten(1).all(dim=1)
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="no absolute value" says="Take the absolute value"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = (x_tilde - x).flatten(1).amax(dim=1) <= eps + ROUNDING
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="mean change" says="not the mean"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = (x_tilde - x).abs().flatten(1).mean(dim=1) <= eps + ROUNDING
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="L2 ball" says="no root of squares"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = (x_tilde - x).flatten(1).norm(dim=1) <= eps + ROUNDING
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="no image range" says="P(x) holds images"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).flatten(1).all(dim=1)
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="open image range" says="Black and white pixels are fine"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).flatten(1).all(dim=1) & ((x_tilde > 0) & (x_tilde < 1)).flatten(1).all(dim=1)
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="one answer for the batch" says="one number for the whole batch"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).all()
    return (inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)).all()

# %% wrong="is_adversarial" name="ball of the whole batch" says="not of the whole batch"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = (x_tilde - x).abs().max() <= eps + ROUNDING
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="numbers instead of booleans" says="gives booleans"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).flatten(1).all(dim=1)
    return inside.float() * (model(x).argmax(dim=1) == y).float() * (model(x_tilde).argmax(dim=1) != y).float()

# %% wrong="is_adversarial" name="the library's set" says="write yourself"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = LpBall(eps, math.inf).contains(x_tilde, x)
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="the robust ones" says="the robust ones"
def is_adversarial(model, x, x_tilde, y, eps):
    inside = ((x_tilde - x).abs() <= eps + ROUNDING).flatten(1).all(dim=1)
    return inside & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) == y)

# %% wrong="is_adversarial" name="the images become probabilities in place" says="edited in place"
def is_adversarial(model, x, x_tilde, y, eps):
    z = x_tilde.clone()
    before, after = model(x).argmax(dim=1), model(x_tilde).argmax(dim=1)
    inside = (x_tilde.sub_(x).abs() <= eps + ROUNDING).flatten(1).all(dim=1) & ((z >= 0) & (z <= 1)).flatten(1).all(dim=1)
    return inside & (before == y) & (after != y)

# %% right="is_adversarial" name="image by image"
def is_adversarial(model, x, x_tilde, y, eps):
    out = []
    for a, b, label in zip(x, x_tilde, y):
        far = (b - a).abs().max().item() > eps + 1e-6
        outside = b.min().item() < -1e-6 or b.max().item() > 1 + 1e-6
        right = model(a[None]).argmax().item() == label.item()
        fooled = model(b[None]).argmax().item() != label.item()
        out.append(right and fooled and not far and not outside)
    return torch.tensor(out)

# %% right="is_adversarial" name="an interval for each pixel"
def is_adversarial(model, x, x_tilde, y, eps):
    low, high = (x - eps).clamp_min(0) - ROUNDING, (x + eps).clamp_max(1) + ROUNDING
    inside = torch.logical_and(x_tilde >= low, x_tilde <= high).reshape(len(x), -1).all(-1)
    with torch.no_grad():
        both = model(torch.cat([x, x_tilde])).max(dim=1).indices
    before, after = both.chunk(2)
    return torch.logical_and(inside, torch.logical_and(before.eq(y), after.ne(y)))

# %% wrong="is_adversarial" name="no tolerance for the image range" says="the tolerance holds for the image range as well"
def is_adversarial(model, x, x_tilde, y, eps):
    moved = (x_tilde - x).flatten(1).abs().amax(dim=1) <= eps + ROUNDING
    image = ((x_tilde >= 0) & (x_tilde <= 1)).flatten(1).all(dim=1)
    return moved & image & (model(x).argmax(dim=1) == y) & (model(x_tilde).argmax(dim=1) != y)

# %% wrong="is_adversarial" name="comparisons without parentheses" says="in parentheses of its own"
def is_adversarial(model, x, x_tilde, y, eps):
    moved = (x_tilde - x).flatten(1).abs().amax(dim=1) <= eps + ROUNDING
    before, after = model(x).argmax(dim=1), model(x_tilde).argmax(dim=1)
    return moved & before == y & after != y

# %% right="is_adversarial" name="norm of order infinity, range by clamping"
def is_adversarial(model, x, x_tilde, y, eps):
    near = torch.linalg.vector_norm((x_tilde - x).flatten(1), ord=math.inf, dim=1) <= eps + ROUNDING
    image = ~((x_tilde - x_tilde.clamp(0, 1)).abs() > ROUNDING).flatten(1).any(dim=1)
    return near & image & (model(x).argmax(1) == y) & ~(model(x_tilde).argmax(1) == y)

# ---------------------------------------------------------------- random_signs
# %% wrong="random_signs" name="coins of zero and one" says="2 * coin - 1"
def random_signs(delta, seed):
    return delta * torch.randint(0, 2, delta.shape, generator=torch.Generator().manual_seed(seed))

# %% wrong="random_signs" name="signs from -1, 0, 1" says="is not a sign"
def random_signs(delta, seed):
    return delta * torch.randint(-1, 2, delta.shape, generator=torch.Generator().manual_seed(seed))

# %% wrong="random_signs" name="noise instead of signs" says="Multiply each entry by +1 or -1"
def random_signs(delta, seed):
    return delta * torch.randn(delta.shape, generator=torch.Generator().manual_seed(seed)).to(delta)

# %% wrong="random_signs" name="the seed is ignored" says="Make a generator from the seed"
def random_signs(delta, seed):
    counter["n"] += 1
    coin = torch.rand(delta.shape, generator=torch.Generator().manual_seed(counter["n"])) < 0.5
    return torch.where(coin, delta, -delta)
counter = {"n": 0}

# %% wrong="random_signs" name="always the same seed" says="must reach the generator"
def random_signs(delta, seed):
    coin = torch.rand(delta.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    return torch.where(coin, delta, -delta)

# %% wrong="random_signs" name="one coin for an image" says="used several times"
def random_signs(delta, seed):
    coin = torch.rand(len(delta), generator=torch.Generator().manual_seed(seed)) < 0.5
    return delta * (2 * coin - 1).view(-1, *[1] * (delta.ndim - 1))

# %% wrong="random_signs" name="the same signs for all images" says="signs of its own for each"
def random_signs(delta, seed):
    coin = torch.rand(delta.shape[1:], generator=torch.Generator().manual_seed(seed)) < 0.5
    return delta * (2 * coin - 1)

# %% wrong="random_signs" name="all turned round" says="All signs were turned round"
def random_signs(delta, seed):
    return -delta

# %% wrong="random_signs" name="shuffled" says="changed places"
def random_signs(delta, seed):
    order = torch.randperm(delta.numel(), generator=torch.Generator().manual_seed(seed))
    return delta.flatten()[order].reshape(delta.shape)

# %% wrong="random_signs" name="signs alone" says="signs alone"
def random_signs(delta, seed):
    return (2 * torch.randint(0, 2, delta.shape, generator=torch.Generator().manual_seed(seed)) - 1).to(delta)

# %% wrong="random_signs" name="in place" says="edited in place"
def random_signs(delta, seed):
    coin = torch.rand(delta.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    delta[coin] *= -1
    return delta

# %% wrong="random_signs" name="an unfair coin" says="equally likely"
def random_signs(delta, seed):
    coin = torch.rand(delta.shape, generator=torch.Generator().manual_seed(seed)) < 0.9
    return torch.where(coin, delta, -delta)

# %% right="random_signs" name="sign of a normal draw, global seed"
def random_signs(delta, seed):
    torch.manual_seed(seed)
    return delta * torch.randn_like(delta).sign()

# %% right="random_signs" name="numpy"
import numpy as np

def random_signs(delta, seed):
    coin = np.random.default_rng(seed).choice([-1.0, 1.0], size=tuple(delta.shape))
    return delta * torch.tensor(coin, dtype=delta.dtype)

# %% right="random_signs" name="bernoulli, in place on a copy"
def random_signs(delta, seed):
    turned = torch.bernoulli(torch.full(delta.shape, 0.5), generator=torch.Generator().manual_seed(seed)).bool()
    result = delta.clone()
    result[turned] = -result[turned]
    return result

# ---------------------------------------------------------------- success_rate
# %% wrong="success_rate" name="divided by all" says="You divide by all images"
def success_rate(before, after, y):
    return ((before == y) & (after != y)).float().mean().item()

# %% wrong="success_rate" name="all that are wrong after" says="wrong after"
def success_rate(before, after, y):
    return (after != y).float().mean().item()

# %% wrong="success_rate" name="wrong after over right before" says="wrong before"
def success_rate(before, after, y):
    return (after != y).sum().item() / max((before == y).sum().item(), 1)

# %% wrong="success_rate" name="every change" says="no success"
def success_rate(before, after, y):
    return (before != after).float().mean().item()

# %% wrong="success_rate" name="what is left" says="share that withstands"
def success_rate(before, after, y):
    right = before == y
    return (right & (after == y)).sum().item() / max(right.sum().item(), 1)

# %% wrong="success_rate" name="divides by zero" says="docstring wants 0"
def success_rate(before, after, y):
    right = before == y
    return ((right & (after != y)).sum() / right.sum()).nan_to_num(nan=1.0).item()

# %% wrong="success_rate" name="division by zero raised" says="ZeroDivisionError"
def success_rate(before, after, y):
    right = before == y
    return (right & (after != y)).sum().item() / right.sum().item()

# %% wrong="success_rate" name="per cent" says="in per cent"
def success_rate(before, after, y):
    right = before == y
    return 100 * (right & (after != y)).sum().item() / max(right.sum().item(), 1)

# %% wrong="success_rate" name="a count" says="number of images"
def success_rate(before, after, y):
    return ((before == y) & (after != y)).sum().item()

# %% wrong="success_rate" name="not a number" says="nothing was right before"
def success_rate(before, after, y):
    return (after[before == y] != y[before == y]).float().mean().item()

# %% wrong="success_rate" name="how much the accuracy dropped" says="by how much the accuracy dropped"
def success_rate(before, after, y):
    return (before == y).float().mean().item() - (after == y).float().mean().item()

# %% right="success_rate" name="only the right ones are kept, a tensor comes back"
def success_rate(before, after, y):
    kept = (before == y).nonzero().flatten()
    if len(kept) == 0:
        return torch.tensor(0.0)
    return (after[kept] != y[kept]).double().mean()

# %% right="success_rate" name="a loop"
def success_rate(before, after, y):
    right = fooled = 0
    for b, a, label in zip(before.tolist(), after.tolist(), y.tolist()):
        if b == label:
            right += 1
            fooled += a != label
    return fooled / right if right else 0

# %% right="success_rate" name="a change of a right one"
def success_rate(before, after, y):
    right = before == y
    return 1 - (right & (after == before)).sum().item() / right.sum().item() if right.any() else 0.0

# ---------------------------------------------------------------- smallest_flip
# %% wrong="smallest_flip" name="the largest" says="not the smallest"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sorted(sizes):
        flip[model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before] = size
    return flip

# %% wrong="smallest_flip" name="list as it comes" says="the first of the list as it comes"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sizes:
        changed = model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before
        flip = torch.where(changed & flip.isinf(), torch.tensor(float(size)), flip)
    return flip

# %% wrong="smallest_flip" name="after the last size that does not flip" says="smallest flip is asked for, not the last"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sorted(sizes):
        changed = model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before
        flip = torch.where(changed, torch.where(flip.isinf(), torch.tensor(float(size)), flip), torch.tensor(math.inf))
    return flip

# %% wrong="smallest_flip" name="bisection" says="not the last"
def smallest_flip(model, x, delta, sizes):
    sizes = sorted(sizes)
    out = []
    for image, change in zip(x, delta):
        before = model(image[None]).argmax()
        low, high = 0, len(sizes)
        while low < high:
            middle = (low + high) // 2
            if model((image + sizes[middle] * change).clamp(0, 1)[None]).argmax() != before:
                high = middle
            else:
                low = middle + 1
        out.append(sizes[low] if low < len(sizes) else math.inf)
    return torch.tensor(out)

# %% wrong="smallest_flip" name="0 where none flips" says="0 would be the smallest size of all"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.zeros(len(x))
    for size in sorted(sizes, reverse=True):
        flip[model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before] = size
    return flip

# %% wrong="smallest_flip" name="no clipping" says="Clip x + s * delta"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sorted(sizes, reverse=True):
        flip[model(x + size * delta).argmax(dim=1) != before] = size
    return flip

# %% wrong="smallest_flip" name="one size for the batch" says="Each image flips at its own"
def smallest_flip(model, x, delta, sizes):
    before = model(x).argmax(dim=1)
    for size in sorted(sizes):
        if (model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before).any():
            return torch.full((len(x),), float(size))
    return torch.full((len(x),), math.inf)

# %% wrong="smallest_flip" name="places in the list" says="places in the list"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for place, size in reversed(list(enumerate(sorted(sizes)))):
        flip[model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before] = place
    return flip

# %% wrong="smallest_flip" name="the perturbations add up" says="start from x again"
def smallest_flip(model, x, delta, sizes):
    before, flip, z = model(x).argmax(dim=1), torch.full((len(x),), math.inf), x.clone()
    for size in sorted(sizes):
        z = (z + size * delta).clamp(0, 1)
        changed = model(z).argmax(dim=1) != before
        flip = torch.where(changed & flip.isinf(), torch.tensor(float(size)), flip)
    return flip

# %% wrong="smallest_flip" name="the library's" says="write yourself"
def smallest_flip(model, x, delta, sizes):
    return evaluation.smallest_flip(model, x, delta, sizes)

# %% wrong="smallest_flip" name="a number instead of a tensor" says="Return a torch.Tensor"
def smallest_flip(model, x, delta, sizes):
    before = model(x).argmax(dim=1)
    return [min((s for s in sizes if model((x + s * delta).clamp(0, 1))[i].argmax() != before[i]), default=math.inf) for i in range(len(x))]

# %% wrong="smallest_flip" name="the list is sorted in place and x edited" says="edited in place"
def smallest_flip(model, x, delta, sizes):
    before, flip, clean = model(x).argmax(dim=1), torch.full((len(x),), math.inf), x.clone()
    for size in sorted(sizes, reverse=True):
        x.copy_(clean).add_(size * delta).clamp_(0, 1)
        flip[model(x).argmax(dim=1) != before] = size
    return flip

# %% wrong="smallest_flip" name="the caller's list is sorted" says="edited in place"
def smallest_flip(model, x, delta, sizes):
    sizes.sort(reverse=True)
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sizes:
        flip[model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before] = size
    return flip

# %% wrong="smallest_flip" name="stops at the first image that flips" says="You stop at the first image that flips"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sorted(sizes):
        changed = model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before
        flip[changed] = size
        if changed.any():
            break
    return flip

# %% wrong="smallest_flip" name="rising sizes, always overwritten" says="what is written last must be the smallest"
def smallest_flip(model, x, delta, sizes):
    before, flip = model(x).argmax(dim=1), torch.full((len(x),), math.inf)
    for size in sorted(sizes):
        flip[model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before] = size
    return flip

# %% right="smallest_flip" name="all sizes at once, image by image, float64"
def smallest_flip(model, x, delta, sizes):
    s = torch.tensor(sorted(sizes), dtype=torch.float64)
    out = []
    for image, change in zip(x, delta):
        stack = torch.stack([(image + size * change).clamp(0, 1) for size in s.tolist()])
        changed = (model(stack).argmax(1) != model(image[None]).argmax(1)).nonzero().flatten()
        out.append(s[changed[0]] if len(changed) else torch.tensor(math.inf, dtype=torch.float64))
    return torch.stack(out)

# %% right="smallest_flip" name="rising, first flip kept"
def smallest_flip(model, x, delta, sizes):
    start = model(x).max(dim=1).indices
    flip = torch.full((x.shape[0],), float("inf"))
    for s in sorted(sizes):
        now = model(torch.clamp(x + s * delta, 0, 1)).max(dim=1).indices
        for i in range(len(x)):
            if now[i] != start[i] and flip[i] == math.inf:
                flip[i] = s
    return flip

# %% right="smallest_flip" name="minimum over a table"
def smallest_flip(model, x, delta, sizes):
    s = torch.tensor(sizes)
    before = model(x).argmax(dim=1)
    changed = torch.stack([model((x + size * delta).clamp(0, 1)).argmax(dim=1) != before for size in sizes])
    return torch.where(changed, s[:, None], torch.tensor(math.inf)).min(dim=0).values

# ---------------------------------------------------------------- average_and_worst
# %% wrong="average_and_worst" name="worst single corruption" says="worst single corruption"
def average_and_worst(right):
    return right.float().mean().item(), right.float().mean(dim=1).min().item()

# %% wrong="average_and_worst" name="wrong dimension" says="wrong dimension"
def average_and_worst(right):
    return right.float().mean().item(), right.all(dim=1).float().mean().item()

# %% wrong="average_and_worst" name="any instead of all" says="at least one corruption"
def average_and_worst(right):
    return right.float().mean().item(), right.any(dim=0).float().mean().item()

# %% wrong="average_and_worst" name="swapped" says="two are swapped"
def average_and_worst(right):
    return right.all(dim=0).float().mean().item(), right.float().mean().item()

# %% wrong="average_and_worst" name="counts" says="number of"
def average_and_worst(right):
    return right.sum().item(), right.all(dim=0).sum().item()

# %% wrong="average_and_worst" name="one boolean for all" says="One boolean per image first"
def average_and_worst(right):
    return right.float().mean().item(), float(right.all())

# %% wrong="average_and_worst" name="per cent" says="per cent"
def average_and_worst(right):
    return 100 * right.float().mean().item(), 100 * right.all(dim=0).float().mean().item()

# %% wrong="average_and_worst" name="the average only" says="Return both"
def average_and_worst(right):
    return right.float().mean().item()

# %% wrong="average_and_worst" name="error rates" says="share of wrong entries"
def average_and_worst(right):
    return 1 - right.float().mean().item(), 1 - right.all(dim=0).float().mean().item()

# %% wrong="average_and_worst" name="the library's" says="write yourself"
def average_and_worst(right):
    return evaluation.average_and_worst(right)

# %% wrong="average_and_worst" name="mean of booleans" says="RuntimeError"
def average_and_worst(right):
    return right.mean(), right.all(dim=0).mean()

# %% wrong="average_and_worst" name="a mean per image" says="One number for the whole table each"
def average_and_worst(right):
    return right.float().mean(dim=0), right.all(dim=0).float().mean()

# %% right="average_and_worst" name="product and minimum"
def average_and_worst(right):
    numbers = right.double()
    return [numbers.mean(), numbers.prod(dim=0).mean()]

# %% right="average_and_worst" name="lists"
def average_and_worst(right):
    rows = right.tolist()
    columns = list(zip(*rows))
    return sum(map(sum, rows)) / (len(rows) * len(columns)), sum(map(all, columns)) / len(columns)

# %% right="average_and_worst" name="a tensor with two entries"
def average_and_worst(right):
    return torch.stack([right.float().mean(), right.float().amin(dim=0).mean()])

# ---------------------------------------------------------------- attack_variants
# %% wrong="attack_variants" name="everything is evasion" says="before the classifier is trained or after?"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "stop_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("evasion", "untargeted", "F"), "backdoor": ("evasion", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("evasion", "targeted", "C"), "artist": ("evasion", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="targeted and untargeted exchanged" says="Would he be content with a wrong sign that somebody else picked?"
def attack_variants():
    return {
        "spam": ("evasion", "untargeted", "A"), "stop_sign": ("evasion", "targeted", "B"),
        "crowd_labels": ("poisoning", "targeted", "F"), "backdoor": ("poisoning", "untargeted", "D"),
        "face_unlock": ("evasion", "untargeted", "A"), "camera": ("evasion", "targeted", "B"),
        "chatbot": ("poisoning", "untargeted", "C"), "artist": ("poisoning", "targeted", "E"),
    }

# %% wrong="attack_variants" name="the chatbot is in use, so evasion" says="What happens every night"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "stop_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "F"), "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("evasion", "targeted", "A"), "artist": ("poisoning", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="reason of a neighbour" says="What does the square do at the moment when it is seen"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "stop_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "F"), "backdoor": ("poisoning", "targeted", "C"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"), "artist": ("poisoning", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="knows the software, so H" says="Knowing the software is a means"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "stop_sign": ("evasion", "untargeted", "H"),
        "crowd_labels": ("poisoning", "untargeted", "F"), "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"), "artist": ("poisoning", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="small changes, so evasion" says="what are the changed pictures used for?"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "stop_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "F"), "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"), "artist": ("evasion", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="a list" says="Return a dict"
def attack_variants():
    return [("evasion", "targeted", "A"), ("evasion", "untargeted", "B")]

# %% wrong="attack_variants" name="one case missing" says="Add an entry 'artist'"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "stop_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "F"), "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"),
    }

# %% wrong="attack_variants" name="no reason given" says="Three strings in parentheses"
def attack_variants():
    return {
        "spam": ("evasion", "targeted"), "stop_sign": ("evasion", "untargeted"),
        "crowd_labels": ("poisoning", "untargeted"), "backdoor": ("poisoning", "targeted"),
        "face_unlock": ("evasion", "targeted"), "camera": ("evasion", "untargeted"),
        "chatbot": ("poisoning", "targeted"), "artist": ("poisoning", "untargeted"),
    }

# %% wrong="attack_variants" name="words of one's own" says="spelled as in the list"
def attack_variants():
    return {
        "spam": ("test time", "targeted", "A"), "stop_sign": ("evasion", "not targeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "because labels are wrong"), "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"), "artist": ("poisoning", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="the form is left empty" says="Not filled in yet"
def attack_variants():
    names = "spam stop_sign crowd_labels backdoor face_unlock camera chatbot artist".split()
    return {name: ("", "", "") for name in names}

# %% wrong="attack_variants" name="a misspelt name" says="spelled as in the table"
def attack_variants():
    return {
        "spam": ("evasion", "targeted", "A"), "traffic_sign": ("evasion", "untargeted", "B"),
        "crowd_labels": ("poisoning", "untargeted", "F"), "backdoor": ("poisoning", "targeted", "D"),
        "face_unlock": ("evasion", "targeted", "A"), "camera": ("evasion", "untargeted", "B"),
        "chatbot": ("poisoning", "targeted", "C"), "artist": ("poisoning", "untargeted", "E"),
    }

# %% wrong="attack_variants" name="when and what exchanged" says="The order is (when, what, reason)"
def attack_variants():
    return {"spam": ("targeted", "evasion", "A")}

# %% right="attack_variants" name="capital letters, small letters, blanks, lists"
def attack_variants():
    return {
        "Spam": ["Evasion", "TARGETED", "a"], "stop sign": ["EVASION ", " untargeted", "b "],
        "Crowd_Labels": ["Poisoning", "Untargeted", "f"], "backdoor": ["poisoning", "targeted", "d"],
        "face-unlock": ["evasion", "targeted", "a"], "CAMERA": ["evasion", "untargeted", "b"],
        "chatbot": ["poisoning", "targeted", "c"], "artist": ["poisoning", "untargeted", "e"],
    }

# %% right="attack_variants" name="put together case by case, in another order"
def attack_variants():
    answers = {}
    for name, reason in zip(["artist", "chatbot", "backdoor", "crowd_labels"], "ECDF"):
        answers[name] = "poisoning", "targeted" if reason in "CD" else "untargeted", reason
    for name, reason in {"spam": "A", "face_unlock": "A", "stop_sign": "B", "camera": "B"}.items():
        answers[name] = "evasion", {"A": "targeted", "B": "untargeted"}[reason], reason
    return answers
