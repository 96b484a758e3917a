# Answers to assignment `randomized_smoothing` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- count_votes
# %% wrong="count_votes" name="copies clamped to the image range" says="Are they clamped to the image range"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noisy = (image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype)).clamp(0, 1)
        logits = model(noisy)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="sigma taken for the variance" says="noise of variance 0.2"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + math.sqrt(sigma) * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="sigma forgotten" says="is it multiplied by sigma"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="uniform noise" says="Uniform noise ends at sigma"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = 2 * torch.rand((n, *image.shape), generator=rng, dtype=x.dtype) - 1
        logits = model(image + sigma * noise)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="one noise for all copies" says="have the same noise"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = torch.randn(image.shape, generator=rng, dtype=x.dtype)
        logits = model((image + sigma * noise).expand(n, *image.shape))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="one number for all pixels of a copy" says="all of its pixels, have the same noise"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = torch.randn((n, *[1] * image.ndim), generator=rng, dtype=x.dtype)
        logits = model(image + sigma * noise)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="the generator is made anew for each image" says="The images of the batch share their noise"
def count_votes(model, x, sigma, n, seed):
    rows = []
    for image in x:
        rng = torch.Generator().manual_seed(seed)
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="shares instead of votes" says="neither shares nor probabilities"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]) / n)
    return torch.stack(rows)

# %% wrong="count_votes" name="sums of probabilities" says="Each copy votes for one class"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.softmax(dim=1).sum(dim=0))
    return torch.stack(rows).detach()

# %% wrong="count_votes" name="the seed is not used" says="Make a generator from the seed"
def count_votes(model, x, sigma, n, seed):
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), dtype=x.dtype, generator=count_votes.rng))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

count_votes.rng = torch.Generator()

# %% wrong="count_votes" name="always the same seed" says="must reach the generator"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(0)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="ten classes written out" says="also for those without a vote"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        classes = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype)).argmax(dim=1)
        rows.append(classes.bincount(minlength=10))
    return torch.stack(rows)

# %% wrong="count_votes" name="the votes of the whole batch together" says="shape"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    total = 0
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        total = total + logits.argmax(dim=1).bincount(minlength=logits.shape[1])
    return total

# %% wrong="count_votes" name="the package's own" says="write yourself"
def count_votes(model, x, sigma, n, seed):
    return smoothing.SmoothedClassifier(model, sigma).counts(x, n, torch.Generator().manual_seed(seed))

# %% wrong="count_votes" name="no return" says="forget a return"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))

# %% wrong="count_votes" name="sigma squared" says="not by sigma squared"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = sigma**2 * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype)
        logits = model(image + noise)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="rand, which is never negative" says="centred at 0 (randn, not rand)"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = sigma * torch.rand((n, *image.shape), generator=rng, dtype=x.dtype)
        logits = model(image + noise)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="rand, centred" says="uniform noise, and narrow"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = sigma * (torch.rand((n, *image.shape), generator=rng, dtype=x.dtype) - 0.5)
        logits = model(image + noise)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="a generator that is not handed over" says="not handed over"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        noise = sigma * torch.randn((n, *image.shape), dtype=x.dtype)
        logits = model(image + noise)
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="bincount without minlength" says="also for those without a vote"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount())
    return torch.stack(rows)

# %% wrong="count_votes" name="the answers instead of counts" says="These are the n answers themselves"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1))
    return torch.stack(rows)

# %% wrong="count_votes" name="argmax over the copies" says="does argmax run over the copies"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=0).bincount(minlength=logits.shape[1]))
    return torch.stack(rows)

# %% wrong="count_votes" name="a list of rows" says="torch.stack"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]))
    return rows

# %% wrong="count_votes" name="floats, which cost one case" most=3.5 says="int64"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for image in x:
        logits = model(image + sigma * torch.randn((n, *image.shape), generator=rng, dtype=x.dtype))
        rows.append(logits.argmax(dim=1).bincount(minlength=logits.shape[1]).float())
    return torch.stack(rows)


# %% right="count_votes" name="all copies of all images at once, one-hot"
def count_votes(model, x, sigma, n, seed):
    rng = torch.Generator().manual_seed(seed)
    many = x.repeat_interleave(n, dim=0)
    logits = model(many + sigma * torch.randn(many.shape, generator=rng, dtype=x.dtype))
    votes = torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1])
    return votes.reshape(len(x), n, -1).sum(dim=1)

# %% right="count_votes" name="copy by copy, with torch.normal"
def count_votes(model, x, sigma, n, seed):
    rng, total = torch.Generator().manual_seed(seed), 0
    for _ in range(n):
        logits = model(torch.normal(x, sigma, generator=rng))
        total = total + (logits == logits.max(dim=1, keepdim=True).values).long()
    return total

# %% right="count_votes" name="numpy's noise and numpy's histogram"
def count_votes(model, x, sigma, n, seed):
    import numpy as np
    rng = np.random.default_rng(seed)
    rows = []
    for image in x.numpy():
        copies = torch.from_numpy(image[None] + rng.normal(0, sigma, (n, *image.shape))).to(x.dtype)
        logits = model(copies).detach()
        rows.append(np.bincount(logits.argmax(dim=1).numpy(), minlength=logits.shape[1]))
    return torch.tensor(np.stack(rows))

# ---------------------------------------------------------------- worst_case_probability
# %% wrong="worst_case_probability" name="the best case" says="the best that can happen"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p) + r / sigma)

# %% wrong="worst_case_probability" name="sigma forgotten" says="not divided by sigma"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p) - r)

# %% wrong="worst_case_probability" name="multiplied by sigma" says="You multiply by sigma"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p) - r * sigma)

# %% wrong="worst_case_probability" name="divided by the variance" says="divide by the variance"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p) - r / sigma**2)

# %% wrong="worst_case_probability" name="the quantile" says="This is the quantile itself"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtri(p) - r / sigma

# %% wrong="worst_case_probability" name="the other classes" says="share of the other classes"
def worst_case_probability(p, sigma, r):
    return 1 - torch.special.ndtr(torch.special.ndtri(p) - r / sigma)

# %% wrong="worst_case_probability" name="Phi of a probability" says="p is a probability"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(p - r / sigma)

# %% wrong="worst_case_probability" name="t not in pixels" says="t = sigma times the quantile"
def worst_case_probability(p, sigma, r):
    t = torch.special.ndtri(p)
    return torch.special.ndtr((t - r) / sigma)

# %% wrong="worst_case_probability" name="half of the shift" says="The shift is halved"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p) - r / (2 * sigma))

# %% wrong="worst_case_probability" name="one half at least" says="nothing is clamped"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr((torch.special.ndtri(p) - r / sigma).clamp_min(0))

# %% wrong="worst_case_probability" name="float32, which costs one case" most=2.4 says="dtype"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p.float()) - r / sigma)

# %% wrong="worst_case_probability" name="the package's own" says="write yourself"
def worst_case_probability(p, sigma, r):
    return smoothing.least_probability(p, sigma, r)

# %% wrong="worst_case_probability" name="the quantile of a probability less a distance" says="wants a probability"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p - r / sigma))

# %% wrong="worst_case_probability" name="p raised to one half" says="p is raised to one half"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(p.clamp_min(0.5)) - r / sigma)

# %% wrong="worst_case_probability" name="1 - p below one half" says="1 - p is taken in place of p"
def worst_case_probability(p, sigma, r):
    return torch.special.ndtr(torch.special.ndtri(torch.maximum(p, 1 - p)) - r / sigma)

# %% wrong="worst_case_probability" name="edited in place" says="was edited in place"
def worst_case_probability(p, sigma, r):
    p.copy_(torch.special.ndtr(torch.special.ndtri(p) - r / sigma))
    return p


# %% right="worst_case_probability" name="scipy, with location and scale"
def worst_case_probability(p, sigma, r):
    t = stats.norm.ppf(p.numpy(), loc=0, scale=sigma)
    return torch.from_numpy(stats.norm.cdf(t, loc=r, scale=sigma))

# %% right="worst_case_probability" name="torch.distributions"
def worst_case_probability(p, sigma, r):
    def normal(mean):
        return torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64))
    return normal(float(r)).cdf(normal(0.0).icdf(p))

# %% right="worst_case_probability" name="one by one, with the standard library"
def worst_case_probability(p, sigma, r):
    from statistics import NormalDist
    unit = NormalDist()
    return torch.tensor([unit.cdf(unit.inv_cdf(one) - r / sigma) for one in p.tolist()], dtype=torch.float64)

# ---------------------------------------------------------------- certified_radius
# %% wrong="certified_radius" name="negative radii" says="A negative radius"
def certified_radius(p, sigma):
    return sigma * torch.special.ndtri(p.clamp_min(1e-12))

# %% wrong="certified_radius" name="sigma forgotten" says="sigma does not appear"
def certified_radius(p, sigma):
    return torch.special.ndtri(p.clamp_min(0.5))

# %% wrong="certified_radius" name="Phi instead of its inverse" says="the inverse"
def certified_radius(p, sigma):
    return torch.where(p > 0.5, sigma * torch.special.ndtr(p), 0.0)

# %% wrong="certified_radius" name="erfinv without the root of two" says="root of 2"
def certified_radius(p, sigma):
    return sigma * torch.erfinv(2 * p.clamp_min(0.5) - 1)

# %% wrong="certified_radius" name="the theorem halved once too often" says="they add up"
def certified_radius(p, sigma):
    return sigma / 2 * torch.special.ndtri(p.clamp_min(0.5))

# %% wrong="certified_radius" name="the theorem not halved" says="still has to be halved"
def certified_radius(p, sigma):
    p = p.clamp_min(0.5)
    return sigma * (torch.special.ndtri(p) - torch.special.ndtri(1 - p))

# %% wrong="certified_radius" name="the absolute value" says="There is nothing to certify"
def certified_radius(p, sigma):
    return sigma * torch.special.ndtri(p.clamp_min(1e-12)).abs()

# %% wrong="certified_radius" name="NaN at zero" says="0 times infinity"
def certified_radius(p, sigma):
    return sigma * torch.special.ndtri(p) * (p > 0.5)

# %% wrong="certified_radius" name="the variance" says="multiply by the variance"
def certified_radius(p, sigma):
    return sigma**2 * torch.special.ndtri(p.clamp_min(0.5))

# %% wrong="certified_radius" name="divided by sigma" says="You divide by sigma"
def certified_radius(p, sigma):
    return torch.special.ndtri(p.clamp_min(0.5)) / sigma

# %% wrong="certified_radius" name="the lead over one half" says="how far p is above one half"
def certified_radius(p, sigma):
    return sigma * (p - 0.5).clamp_min(0)

# %% wrong="certified_radius" name="the package's own" says="write yourself"
def certified_radius(p, sigma):
    return smoothing.radius(p, sigma)

# %% wrong="certified_radius" name="erfinv of p" says="erfinv is not the inverse of Phi"
def certified_radius(p, sigma):
    return torch.where(p > 0.5, sigma * torch.erfinv(p), 0.0)

# %% wrong="certified_radius" name="erfinv of p, stretched" says="it wants 2 p - 1"
def certified_radius(p, sigma):
    return torch.where(p > 0.5, sigma * 2**0.5 * torch.erfinv(p), 0.0)

# %% wrong="certified_radius" name="one half off the quantile" says="One half is taken off the quantile"
def certified_radius(p, sigma):
    return torch.where(p > 0.5, sigma * (torch.special.ndtri(p) - 0.5), 0.0)

# %% wrong="certified_radius" name="float32, which costs one case" most=2.6 says="float32"
def certified_radius(p, sigma):
    return sigma * torch.special.ndtri(p.float().clamp_min(0.5))

# %% wrong="certified_radius" name="the digits lost on the way" most=2.6 says="The digits of p are lost"
def certified_radius(p, sigma):
    return (sigma * torch.special.ndtri(p.float().clamp_min(0.5))).double()


# %% right="certified_radius" name="clamped at one half"
def certified_radius(p, sigma):
    return torch.special.ndtri(p.clamp_min(0.5)).mul(sigma)

# %% right="certified_radius" name="the theorem with both quantiles"
def certified_radius(p, sigma):
    upper = torch.from_numpy(stats.norm.ppf(p.numpy()))
    lower = torch.from_numpy(stats.norm.isf(p.numpy()))
    return (sigma / 2 * (upper - lower)).clamp(min=0)

# %% right="certified_radius" name="erfinv, one by one"
def certified_radius(p, sigma):
    found = []
    for one in p:
        found.append(sigma * math.sqrt(2) * torch.erfinv(2 * one - 1) if one > 0.5 else one.new_zeros(()))
    return torch.stack(found)

# ---------------------------------------------------------------- lower_bound
# %% wrong="lower_bound" name="the share itself" says="the estimate"
def lower_bound(k, n, alpha):
    return k / n

# %% wrong="lower_bound" name="normal approximation" says="normal approximation"
def lower_bound(k, n, alpha):
    return max(0.0, k / n - stats.norm.isf(alpha) * math.sqrt(k / n * (1 - k / n) / n))

# %% wrong="lower_bound" name="two-sided" says="two-sided interval"
def lower_bound(k, n, alpha):
    return float(stats.beta.ppf(alpha / 2, k, n - k + 1)) if k else 0.0

# %% wrong="lower_bound" name="more than k" says="k votes or more"
def lower_bound(k, n, alpha):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if 1 - stats.binom.cdf(k, n, middle) <= alpha:
            low = middle
        else:
            high = middle
    return low if k else 0.0

# %% wrong="lower_bound" name="the other half is kept" says="come out as 0.05"
def lower_bound(k, n, alpha):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if tail(k, n, middle) > alpha:
            low = middle
        else:
            high = middle
    return low if k else 0.0

# %% wrong="lower_bound" name="a tail of 1 - alpha" says="1 - alpha, not alpha"
def lower_bound(k, n, alpha):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if tail(k, n, middle) <= 1 - alpha:
            low = middle
        else:
            high = middle
    return low if k else 0.0

# %% wrong="lower_bound" name="an upper bound" says="This is an upper bound"
def lower_bound(k, n, alpha):
    return float(stats.beta.ppf(1 - alpha, k + 1, n - k)) if k < n else 1.0

# %% wrong="lower_bound" name="Hoeffding" says="Hoeffding's bound"
def lower_bound(k, n, alpha):
    return max(0.0, k / n - math.sqrt(math.log(1 / alpha) / (2 * n)))

# %% wrong="lower_bound" name="a Bayesian quantile" says="Bayesian quantile"
def lower_bound(k, n, alpha):
    return float(stats.beta.ppf(alpha, k + 1, n - k + 1)) if k else 0.0

# %% wrong="lower_bound" name="beta without the case of no vote" says="a case of its own"
def lower_bound(k, n, alpha):
    return float(stats.beta.ppf(alpha, max(k, 1), n - max(k, 1) + 1))

# %% wrong="lower_bound" name="NaN for no vote" says="The beta quantile has no answer"
def lower_bound(k, n, alpha):
    return float(stats.beta.ppf(alpha, k, n - k + 1))

# %% wrong="lower_bound" name="a coarse grid" says="0.05 for the p that you return"
def lower_bound(k, n, alpha):
    claims = [i / 100 for i in range(101) if tail(k, n, i / 100) <= alpha]
    return max(claims) if claims else 0.0

# %% wrong="lower_bound" name="the package's own" says="write yourself"
def lower_bound(k, n, alpha):
    return smoothing.lower_bound(k, n, alpha).item()

# %% wrong="lower_bound" name="k - 1 votes or more" says="This counts k - 1 votes or more"
def lower_bound(k, n, alpha):
    return float(stats.beta.ppf(alpha, k - 1, n - k + 2)) if k > 1 else 0.0

# %% wrong="lower_bound" name="exactly k votes" says="exactly k votes"
def lower_bound(k, n, alpha):
    low, high = 0.0, k / n
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stats.binom.pmf(k, n, middle) <= alpha else (low, middle)
    return low

# %% wrong="lower_bound" name="the formula for unanimous votes" says="right if all votes agree"
def lower_bound(k, n, alpha):
    return alpha ** (1 / n) if k else 0.0

# %% wrong="lower_bound" name="alpha to the power of n" says="It is p to the power of n"
def lower_bound(k, n, alpha):
    return alpha**n if k == n else float(stats.beta.ppf(alpha, k, n - k + 1)) if k else 0.0

# %% wrong="lower_bound" name="certain of a unanimous vote" says="No number of votes proves p = 1"
def lower_bound(k, n, alpha):
    return 1.0 if k == n else float(stats.beta.ppf(alpha, k, n - k + 1)) if k else 0.0

# %% wrong="lower_bound" name="twelve halvings" says="Nearly: asked for are 6 decimals"
def lower_bound(k, n, alpha):
    low, high = 0.0, k / n
    for _ in range(13):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(k, n, middle) <= alpha else (low, middle)
    return low

# %% wrong="lower_bound" name="a root of something negative" says="a logarithm taken, of something below 0"
def lower_bound(k, n, alpha):
    return float(torch.tensor(k / n - 1.1).sqrt()) if k else 0.0


# %% right="lower_bound" name="the beta quantile"
def lower_bound(k, n, alpha):
    if k == 0:
        return 0.0
    return stats.beta.ppf(alpha, k, n - k + 1)

# %% right="lower_bound" name="brentq on the tail"
def lower_bound(k, n, alpha):
    from scipy.optimize import brentq
    return brentq(lambda p: tail(k, n, p) - alpha, 0.0, 1.0, xtol=1e-12) if k > 0 else 0

# %% right="lower_bound" name="scipy's exact interval, at twice the risk for two sides"
def lower_bound(k, n, alpha):
    return stats.binomtest(k, n).proportion_ci(confidence_level=1 - 2 * alpha, method="exact").low

# %% right="lower_bound" name="bisection between 0 and 1, as a tensor"
def lower_bound(k, n, alpha):
    low, high = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(k, n, middle.item()) < alpha else (low, middle)
    return low

# ---------------------------------------------------------------- certify
# %% wrong="certify" name="the class from the second sample" says="Choose it in counts0 alone"
def certify(counts0, counts, sigma, alpha):
    k, label = counts.max(dim=1)
    p = smoothing.lower_bound(k, int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="the largest count instead of that of the class" says="You count the votes of the class with most votes in counts"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.max(dim=1).values, int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="both samples in one count" says="thrown together"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    both = counts0 + counts
    p = smoothing.lower_bound(both.gather(1, label[:, None])[:, 0], int(both[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="everything from the first sample" says="The votes are counted in counts0"
def certify(counts0, counts, sigma, alpha):
    k, label = counts0.max(dim=1)
    p = smoothing.lower_bound(k, int(counts0[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="the estimate instead of the bound" says="Take the lower bound"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = counts.gather(1, label[:, None])[:, 0].double() / counts.sum(dim=1)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="abstains by the estimate" says="It is the bound that must be above one half"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    k, n = counts.gather(1, label[:, None])[:, 0], int(counts[0].sum())
    return label, smoothing.radius(smoothing.lower_bound(k, n, alpha), sigma), k / n <= 0.5

# %% wrong="certify" name="True where it certifies" says="not where it certifies"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p > 0.5

# %% wrong="certify" name="label -1 where it abstains" says="the label stays the chosen class"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), alpha)
    return torch.where(p > 0.5, label, -1), smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="half of the risk" says="The risk is halved"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), alpha / 2)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="every row with every class" says="shape"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts[:, label], int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="n of the whole batch" says="n is that of the whole batch"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts.sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="two of three" says="three tensors"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma)

# %% wrong="certify" name="the package's own" says="write yourself"
def certify(counts0, counts, sigma, alpha):
    return tuple(smoothing.certificate(counts0, counts, int(counts[0].sum()), sigma, alpha))

# %% wrong="certify" name="gather without squeeze" says="squeeze(1)"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None]), int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), (p <= 0.5)

# %% wrong="certify" name="n from the first sample" says="n is the number of votes in counts"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts0[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="sigma is one" says="sigma is missing"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, 1.0), p <= 0.5

# %% wrong="certify" name="the usual alpha" says="alpha is not the one given"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), 0.001)
    return label, smoothing.radius(p, sigma), p <= 0.5

# %% wrong="certify" name="radii in float32, which cost one case" most=3.5 says="double precision"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None])[:, 0], int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma).float(), p <= 0.5

# %% wrong="certify" name="counts edited in place" says="was edited in place"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    counts0[torch.arange(len(label)), label] = 0
    p = smoothing.lower_bound(counts[torch.arange(len(label)), label], int(counts[0].sum()), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5


# %% right="certify" name="image by image, with scipy"
def certify(counts0, counts, sigma, alpha):
    labels, radii, silent = [], [], []
    for first, second in zip(counts0.tolist(), counts.tolist()):
        c = first.index(max(first))
        k, n = second[c], sum(second)
        p = stats.beta.ppf(alpha, k, n - k + 1) if k else 0.0
        labels.append(c)
        radii.append(sigma * stats.norm.ppf(p) if p > 0.5 else 0.0)
        silent.append(not p > 0.5)
    return torch.tensor(labels), torch.tensor(radii, dtype=torch.float64), torch.tensor(silent)

# %% right="certify" name="a mask of the chosen class; abstains where the radius is zero"
def certify(counts0, counts, sigma, alpha):
    chosen = torch.nn.functional.one_hot(counts0.max(1)[1], counts.shape[1])
    n = int(counts.sum(1)[0])
    radii = smoothing.radius(smoothing.lower_bound((counts * chosen).sum(1), n, alpha), sigma)
    return [chosen.argmax(1), radii, ~(radii > 0)]

# %% right="certify" name="the number of votes as a tensor"
def certify(counts0, counts, sigma, alpha):
    label = counts0.argmax(dim=1)
    p = smoothing.lower_bound(counts.gather(1, label[:, None]).squeeze(1), counts[0].sum(), alpha)
    return label, smoothing.radius(p, sigma), p <= 0.5

# ---------------------------------------------------------------- votes_needed
# %% wrong="votes_needed" name="rounded down" says="Rounded down"
def votes_needed(radius, sigma, alpha):
    return math.floor(math.log(alpha) / stats.norm.logcdf(radius / sigma))

# %% wrong="votes_needed" name="not rounded" says="whole numbers"
def votes_needed(radius, sigma, alpha):
    return math.log(alpha) / stats.norm.logcdf(radius / sigma)

# %% wrong="votes_needed" name="sigma forgotten" says="in units of sigma"
def votes_needed(radius, sigma, alpha):
    return math.ceil(math.log(alpha) / stats.norm.logcdf(radius))

# %% wrong="votes_needed" name="multiplied by sigma, not divided" says="You multiply by sigma"
def votes_needed(radius, sigma, alpha):
    return math.ceil(math.log(alpha) / stats.norm.logcdf(radius * sigma))

# %% wrong="votes_needed" name="two-sided" says="The risk is halved"
def votes_needed(radius, sigma, alpha):
    return math.ceil(math.log(alpha / 2) / stats.norm.logcdf(radius / sigma))

# %% wrong="votes_needed" name="one too many" says="One too many"
def votes_needed(radius, sigma, alpha):
    return math.floor(math.log(alpha) / stats.norm.logcdf(radius / sigma)) + 2

# %% wrong="votes_needed" name="1 - alpha" says="it is alpha that n unanimous votes"
def votes_needed(radius, sigma, alpha):
    return math.ceil(math.log(1 - alpha) / stats.norm.logcdf(radius / sigma))

# %% wrong="votes_needed" name="gives up after ten thousand" says="Is it the logarithm of Phi"
def votes_needed(radius, sigma, alpha):
    phi = stats.norm.cdf(radius / sigma)
    for n in range(1, 10_000):
        if alpha ** (1 / n) >= phi:
            return n
    return 10_000

# %% wrong="votes_needed" name="single precision" says="in double precision"
def votes_needed(radius, sigma, alpha):
    phi = torch.special.ndtr(torch.tensor(radius / sigma))
    return math.ceil(math.log(alpha) / torch.log(phi).item())

# %% wrong="votes_needed" name="the package's own" says="write yourself"
def votes_needed(radius, sigma, alpha):
    n = 1
    while smoothing.largest_radius(n, sigma, alpha) < radius:
        n += 1
    return n

# %% wrong="votes_needed" name="the share of wrong copies" says="the share of wrong copies"
def votes_needed(radius, sigma, alpha):
    return math.ceil(-math.log(alpha) / stats.norm.sf(radius / sigma))

# %% wrong="votes_needed" name="upside down" says="upside down"
def votes_needed(radius, sigma, alpha):
    return math.ceil(stats.norm.logcdf(radius / sigma) / math.log(alpha))

# %% wrong="votes_needed" name="a minus too many" says="A negative number of votes"
def votes_needed(radius, sigma, alpha):
    return math.ceil(-math.log(alpha) / stats.norm.logcdf(radius / sigma))

# %% wrong="votes_needed" name="sigma over the radius" says="You divide sigma by the radius"
def votes_needed(radius, sigma, alpha):
    return math.ceil(math.log(alpha) / stats.norm.logcdf(sigma / radius))

# %% wrong="votes_needed" name="the other tail" says="Phi of minus the radius"
def votes_needed(radius, sigma, alpha):
    return math.ceil(math.log(alpha) / stats.norm.logsf(radius / sigma))

# %% wrong="votes_needed" name="rounded to the nearest" says="Rounded down"
def votes_needed(radius, sigma, alpha):
    return round(math.log(alpha) / stats.norm.logcdf(radius / sigma))

# %% wrong="votes_needed" name="counted up to" says="Do not count up"
def votes_needed(radius, sigma, alpha):
    n = 1
    while sigma * stats.norm.ppf(alpha ** (1 / n)) < radius:
        n += 1
    return n


# %% right="votes_needed" name="the survival function and log1p"
def votes_needed(radius, sigma, alpha):
    return int(-(-math.log(1 / alpha) // -math.log1p(-stats.norm.sf(radius / sigma))))

# %% right="votes_needed" name="bisection over n"
def votes_needed(radius, sigma, alpha):
    low, high = 0, 10**9
    while high - low > 1:
        n = (low + high) // 2
        if alpha ** (1 / n) >= stats.norm.cdf(radius / sigma):
            high = n
        else:
            low = n
    return high

# %% right="votes_needed" name="base ten, as a tensor"
def votes_needed(radius, sigma, alpha):
    return torch.tensor(math.log10(alpha) / math.log10(stats.norm.cdf(radius, scale=sigma)), dtype=torch.float64).ceil()

# ---------------------------------------------------------------- certified_accuracy
# %% wrong="certified_accuracy" name="at least r" says="Strictly above"
def certified_accuracy(label, radius, y, r):
    return ((label == y) & (radius >= r[:, None])).double().mean(dim=1)

# %% wrong="certified_accuracy" name="labels forgotten" says="One for the wrong class"
def certified_accuracy(label, radius, y, r):
    return (radius > r[:, None]).double().mean(dim=1)

# %% wrong="certified_accuracy" name="radii forgotten" says="the radius counts as well"
def certified_accuracy(label, radius, y, r):
    return (label == y).double().mean().expand(len(r))

# %% wrong="certified_accuracy" name="a count" says="divide by all of them"
def certified_accuracy(label, radius, y, r):
    return ((label == y) & (radius > r[:, None])).sum(dim=1).double()

# %% wrong="certified_accuracy" name="the other way round" says="Certified are those with more"
def certified_accuracy(label, radius, y, r):
    return ((label == y) & (radius <= r[:, None])).double().mean(dim=1)

# %% wrong="certified_accuracy" name="divided by those that are right" says="divide by the images that are right"
def certified_accuracy(label, radius, y, r):
    right = label == y
    return (right & (radius > r[:, None])).double().sum(dim=1) / right.sum()

# %% wrong="certified_accuracy" name="without those that abstained" says="They stay in the count"
def certified_accuracy(label, radius, y, r):
    spoke = radius > 0
    return ((label == y) & (radius > r[:, None]))[:, spoke].double().mean(dim=1)

# %% wrong="certified_accuracy" name="the mean over the radii" says="One share for each r"
def certified_accuracy(label, radius, y, r):
    return ((label == y) & (radius > r[:, None])).double().mean(dim=0)

# %% wrong="certified_accuracy" name="a product of two shares" says="image by image"
def certified_accuracy(label, radius, y, r):
    return (label == y).double().mean() * (radius > r[:, None]).double().mean(dim=1)

# %% wrong="certified_accuracy" name="or instead of and" says="Both are needed"
def certified_accuracy(label, radius, y, r):
    return ((label == y) | (radius > r[:, None])).double().mean(dim=1)

# %% wrong="certified_accuracy" name="per cent" says="in per cent"
def certified_accuracy(label, radius, y, r):
    return 100 * ((label == y) & (radius > r[:, None])).double().mean(dim=1)

# %% wrong="certified_accuracy" name="the package's own" says="write yourself"
def certified_accuracy(label, radius, y, r):
    return smoothing.certified_accuracy(smoothing.Certificate(label, radius, radius == 0), y, r.tolist())

# %% wrong="certified_accuracy" name="radii of wrong labels erased in place" says="was edited in place"
def certified_accuracy(label, radius, y, r):
    radius[label != y] = 0
    return (radius > r[:, None]).double().mean(dim=1)

# %% wrong="certified_accuracy" name="wrong labels erased in place" says="was edited in place"
def certified_accuracy(label, radius, y, r):
    label[label != y] = -1
    return ((label >= 0) & (radius > r[:, None])).double().mean(dim=1)

# %% wrong="certified_accuracy" name="the mean of booleans" says=".double() makes some of booleans"
def certified_accuracy(label, radius, y, r):
    return ((label == y) & (radius > r[:, None])).mean(dim=1)

# %% wrong="certified_accuracy" name="of those that reach the radius" says="divide by the images that reach the radius"
def certified_accuracy(label, radius, y, r):
    reach = radius > r[:, None]
    return ((label == y) & reach).double().sum(dim=1) / reach.sum(dim=1).clamp_min(1)


# %% right="certified_accuracy" name="a loop over the radii, float32"
def certified_accuracy(label, radius, y, r):
    share = []
    for edge in r.tolist():
        share.append(sum(a == b and c > edge for a, b, c in zip(label.tolist(), y.tolist(), radius.tolist())) / len(y))
    return torch.tensor(share)

# %% right="certified_accuracy" name="wrong labels get a radius below every r"
def certified_accuracy(label, radius, y, r):
    reach = torch.where(label == y, radius, -1.0)
    return torch.stack([torch.gt(reach, edge).to(torch.float64).mean() for edge in r])

# %% right="certified_accuracy" name="by sorting and searching"
def certified_accuracy(label, radius, y, r):
    reach = radius[label == y].sort().values
    return (len(reach) - torch.searchsorted(reach, r, right=True)) / len(y)
