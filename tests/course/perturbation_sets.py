# Answers to assignment `perturbation_sets` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- lp_norm
# %% wrong="lp_norm" name="no absolute value in L1" says="Changes up and down cancel"
def lp_norm(delta, p):
    rows = delta.flatten(1)
    if p == math.inf:
        return rows.abs().amax(1)
    return rows.sum(1) if p == 1 else rows.square().sum(1).sqrt()

# %% wrong="lp_norm" name="largest change upwards only" says="A change downwards counts as well"
def lp_norm(delta, p):
    rows = delta.flatten(1)
    if p == math.inf:
        return rows.amax(1)
    return rows.abs().sum(1) if p == 1 else rows.square().sum(1).sqrt()

# %% wrong="lp_norm" name="general formula for infinity" says="breaks down at p = inf"
def lp_norm(delta, p):
    return delta.flatten(1).abs().pow(p).sum(1).pow(1 / p)

# %% wrong="lp_norm" name="root forgotten" says="root is missing"
def lp_norm(delta, p):
    rows = delta.flatten(1).abs()
    return rows.amax(1) if p == math.inf else rows.pow(p).sum(1)

# %% wrong="lp_norm" name="mean instead of sum" says="This is a mean over the pixels"
def lp_norm(delta, p):
    rows = delta.flatten(1).abs()
    return rows.amax(1) if p == math.inf else rows.pow(p).mean(1).pow(1 / p)

# %% wrong="lp_norm" name="one norm for the whole batch" says="keep one per image"
def lp_norm(delta, p):
    return torch.linalg.vector_norm(delta, ord=p)

# %% wrong="lp_norm" name="over the batch" says="shape"
def lp_norm(delta, p):
    return torch.linalg.vector_norm(delta, ord=p, dim=0)

# %% wrong="lp_norm" name="matrix norm of an image" says="one long vector"
def lp_norm(delta, p):
    if delta.ndim == 2:
        return torch.linalg.vector_norm(delta, ord=p, dim=1)
    return torch.linalg.matrix_norm(delta, ord=p).amax(dim=1)

# %% wrong="lp_norm" name="always L2" says="Does p reach your formula?"
def lp_norm(delta, p):
    return delta.flatten(1).norm(dim=1)

# %% wrong="lp_norm" name="in place" says="edited in place"
def lp_norm(delta, p):
    rows = delta.abs_().flatten(1)
    return torch.linalg.vector_norm(rows, ord=p, dim=1)

# %% wrong="lp_norm" name="the package's" says="write yourself"
def lp_norm(delta, p):
    return norm(delta, p)

# %% right="lp_norm" name="torch's, over all dimensions but the first"
def lp_norm(delta, p):
    return torch.linalg.vector_norm(delta, ord=p, dim=tuple(range(1, delta.ndim)))

# %% right="lp_norm" name="image by image, with the old torch.norm"
def lp_norm(delta, p):
    return torch.stack([torch.norm(image.reshape(-1), p=p) for image in delta])

# %% right="lp_norm" name="numpy"
import numpy as np

def lp_norm(delta, p):
    flat = delta.numpy().reshape(len(delta), -1)
    return torch.from_numpy(np.linalg.norm(flat, ord=p, axis=1))

# ---------------------------------------------------------------- covering_radius
# %% wrong="covering_radius" name="eps for every pair" says="corners stick out"
def covering_radius(eps, p, q, d):
    return eps

# %% wrong="covering_radius" name="no maximum with 1" says="smaller than eps"
def covering_radius(eps, p, q, d):
    return eps * d ** (1 / q - 1 / p)

# %% wrong="covering_radius" name="exponent turned round" says="You divide"
def covering_radius(eps, p, q, d):
    return eps * d ** (1 / p - 1 / q)

# %% wrong="covering_radius" name="p and q exchanged" says="p and q exchanged"
def covering_radius(eps, p, q, d):
    return eps * max(1, d ** (1 / p - 1 / q))

# %% wrong="covering_radius" name="d for the root" says="and take the root"
def covering_radius(eps, p, q, d):
    return eps if p <= q else eps * d

# %% wrong="covering_radius" name="the root for d" says="In L1 the pixels of a corner are added up"
def covering_radius(eps, p, q, d):
    return eps if p <= q else eps * d**0.5

# %% wrong="covering_radius" name="1 / infinity as 1" says="expected"
def covering_radius(eps, p, q, d):
    a, b = (1 if r == math.inf else 1 / r for r in (p, q))
    return eps * max(1, d ** (b - a))

# %% wrong="covering_radius" name="784 written out" says="no number of pixels may be written out"
def covering_radius(eps, p, q, d):
    d = d if d in (400, 50, 25, 36) else 784
    return eps * max(1, d ** (1 / q - 1 / p))

# %% right="covering_radius" name="the two candidates, measured"
def covering_radius(eps, p, q, d):
    corner = torch.ones(1, d, dtype=torch.float64)
    corner = eps * corner / norm(corner, p)
    return max(eps, norm(corner, q).item())

# %% right="covering_radius" name="a table of cases"
def covering_radius(eps, p, q, d):
    if p == math.inf and q == 2 or p == 2 and q == 1:
        return torch.tensor(eps * math.sqrt(d))
    if p == math.inf and q == 1:
        return eps * d
    return eps

# ---------------------------------------------------------------- contains
# %% wrong="contains" name="open ball" says="The closed ball holds its surface"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) < eps) & ((x_tilde >= 0) & (x_tilde <= 1)).flatten(1).all(1)

# %% wrong="contains" name="no tolerance" says="add the tolerance to eps"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps) & ((x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).flatten(1).all(1)

# %% wrong="contains" name="relative tolerance" says="not eps times (1 + tolerance)"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps * (1 + tolerance)) & ((x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).flatten(1).all(1)

# %% wrong="contains" name="tolerance subtracted" says="makes the ball larger"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps - tolerance) & ((x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).flatten(1).all(1)

# %% wrong="contains" name="no image range" says="two of them are no images"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return norm(x_tilde - x, p) <= eps + tolerance

# %% wrong="contains" name="no tolerance for the range" says="holds for the image range as well"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps + tolerance) & ((x_tilde >= 0) & (x_tilde <= 1)).flatten(1).all(1)

# %% wrong="contains" name="lower end forgotten" says="what is the lowest that is allowed"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps + tolerance) & (x_tilde <= 1 + tolerance).flatten(1).all(1)

# %% wrong="contains" name="range of x, not of x_tilde" says="look at the pixels of x_tilde"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps + tolerance) & ((x >= -tolerance) & (x <= 1 + tolerance)).flatten(1).all(1)

# %% wrong="contains" name="NaN slips through" says="also 'distance > eps'"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    outside = norm(x_tilde - x, p) > eps + tolerance
    out_of_range = ((x_tilde < -tolerance) | (x_tilde > 1 + tolerance)).flatten(1).any(1)
    return ~(outside | out_of_range)

# %% wrong="contains" name="pixel by pixel whatever p" says="the norm takes all pixels together"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (((x_tilde - x).abs() <= eps + tolerance) & (x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).flatten(1).all(1)

# %% wrong="contains" name="one verdict for the batch" says="keep one per image"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return (norm(x_tilde - x, p) <= eps + tolerance).all() & ((x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).all()

# %% wrong="contains" name="numbers for booleans" says="A comparison gives booleans"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return ((norm(x_tilde - x, p) <= eps + tolerance) & ((x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).flatten(1).all(1)).float()

# %% wrong="contains" name="the package's" says="write yourself"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    return LpBall(eps, p).contains(x_tilde, x)

# %% wrong="contains" name="another default" says="keep the default of the signature"
def contains(x_tilde, x, eps, p, tolerance=1e-2):
    return (norm(x_tilde - x, p) <= eps + tolerance) & ((x_tilde >= -tolerance) & (x_tilde <= 1 + tolerance)).flatten(1).all(1)

# %% right="contains" name="smallest and largest pixel"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    rows = x_tilde.flatten(1)
    far = torch.linalg.vector_norm(rows - x.flatten(1), ord=p, dim=1)
    return torch.logical_and(far - tolerance <= eps, torch.logical_and(rows.amin(1) + tolerance >= 0, rows.amax(1) <= 1 + tolerance))

# %% right="contains" name="image by image, NaN looked for"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    verdicts = []
    for z, c in zip(x_tilde, x):
        bad = bool(z.isnan().any()) or z.min() < -tolerance or z.max() > 1 + tolerance
        verdicts.append(not bad and bool(torch.norm((z - c).reshape(-1), p=p) <= eps + tolerance))
    return torch.tensor(verdicts)

# %% right="contains" name="how far the clamp moves it"
def contains(x_tilde, x, eps, p, tolerance=1e-6):
    in_range = (x_tilde - x_tilde.clamp(0, 1)).abs().flatten(1).amax(1) <= tolerance
    return in_range & (norm(x_tilde - x, p) <= eps + tolerance)

# ---------------------------------------------------------------- one_worse
# %% wrong="one_worse" name="stays" says="did not move"
def one_worse(x_tilde, x, g, eps, p):
    return x_tilde.clone()

# %% wrong="one_worse" name="downhill" says="downhill"
def one_worse(x_tilde, x, g, eps, p):
    left = eps - norm(x_tilde - x, p)
    return x_tilde - per_image(left / 2 / norm(g, p), x) * g

# %% wrong="one_worse" name="onto the surface" says="all nearer to x than eps"
def one_worse(x_tilde, x, g, eps, p):
    return x + eps * LpBall(1.0, p).steepest(g)

# %% wrong="one_worse" name="all of the room" says="at most half of it"
def one_worse(x_tilde, x, g, eps, p):
    left = eps - norm(x_tilde - x, p)
    return x_tilde + 0.9 * per_image(left / norm(g, p), x) * g

# %% wrong="one_worse" name="scaled with another norm" says="which norm do you divide by"
def one_worse(x_tilde, x, g, eps, p):
    left = eps - norm(x_tilde - x, p)
    return x_tilde + per_image(left / 2 / norm(g, math.inf), x) * g

# %% wrong="one_worse" name="the gradient as it is" says="Only eps minus the present distance"
def one_worse(x_tilde, x, g, eps, p):
    return x_tilde + g

# %% wrong="one_worse" name="outwards, away from x" says="did not move"
def one_worse(x_tilde, x, g, eps, p):
    length = norm(x_tilde - x, p)
    return x_tilde + (x_tilde - x) * per_image((eps - length) / 2 / length.clamp_min(1e-9), x)

# %% wrong="one_worse" name="from x instead of x_tilde" says="the point to improve on is x_tilde"
def one_worse(x_tilde, x, g, eps, p):
    return x + per_image((eps - norm(x_tilde - x, p)) / 2 / norm(g, p), x) * g

# %% wrong="one_worse" name="in place" says="edited in place"
def one_worse(x_tilde, x, g, eps, p):
    left = eps - norm(x_tilde - x, p)
    x_tilde += per_image(left / 2 / norm(g, p), x) * g
    return x_tilde.clone()

# %% wrong="one_worse" name="no shape that broadcasts" says="shape"
def one_worse(x_tilde, x, g, eps, p):
    left = eps - norm(x_tilde - x, p)
    return x_tilde + (left / 2 / norm(g, p)).reshape(-1, 1) * g

# %% right="one_worse" name="the steepest step, a third of the room"
def one_worse(x_tilde, x, g, eps, p):
    left = (eps - norm(x_tilde - x, p)) / 3
    return x_tilde + left.reshape(-1, *[1] * (x.ndim - 1)) * LpBall(1.0, p).steepest(g)

# %% right="one_worse" name="one pixel"
def one_worse(x_tilde, x, g, eps, p):
    z = x_tilde.clone().flatten(1)
    left = eps - norm(x_tilde - x, p)
    for b, row in enumerate(g.flatten(1)):
        i = int(row.abs().argmax())
        z[b, i] += 0.4 * left[b] * row[i].sign()
    return z.view_as(x_tilde)

# ---------------------------------------------------------------- project_linf
# %% wrong="project_linf" name="no image range" says="is no image"
def project_linf(x_tilde, x, eps):
    return x_tilde.clamp(x - eps, x + eps)

# %% wrong="project_linf" name="image range only" says="Only the image range was looked at"
def project_linf(x_tilde, x, eps):
    return x_tilde.clamp(0, 1)

# %% wrong="project_linf" name="onto the surface" says="Every pixel is put onto the surface"
def project_linf(x_tilde, x, eps):
    return (x + eps * (x_tilde - x).sign()).clamp(0, 1)

# %% wrong="project_linf" name="the whole perturbation shrunk" says="You shrink the whole perturbation"
def project_linf(x_tilde, x, eps):
    delta = x_tilde - x
    return (x + delta * per_image((eps / norm(delta, math.inf).clamp_min(1e-12)).clamp_max(1), x)).clamp(0, 1)

# %% wrong="project_linf" name="the perturbation is returned" says="You return the perturbation"
def project_linf(x_tilde, x, eps):
    return (x_tilde - x).clamp(-eps, eps)

# %% wrong="project_linf" name="x and x_tilde exchanged" says="The centre is x"
def project_linf(x_tilde, x, eps):
    return x.clamp(x_tilde - eps, x_tilde + eps).clamp(0, 1)

# %% wrong="project_linf" name="in place" says="edited in place"
def project_linf(x_tilde, x, eps):
    return x_tilde.clamp_(x - eps, x + eps).clamp_(0, 1)

# %% wrong="project_linf" name="the package's" says="write yourself"
def project_linf(x_tilde, x, eps):
    return LpBall(eps, math.inf).project(x_tilde, x)

# %% right="project_linf" name="perturbation first"
def project_linf(x_tilde, x, eps):
    return (x + (x_tilde - x).clamp(-eps, eps)).clamp(0, 1)

# %% right="project_linf" name="range first, with where"
def project_linf(x_tilde, x, eps):
    z = torch.where(x_tilde < 0, torch.zeros_like(x), torch.where(x_tilde > 1, torch.ones_like(x), x_tilde))
    return torch.minimum(torch.maximum(z, x - eps), x + eps)

# ---------------------------------------------------------------- project_l2
# %% wrong="project_l2" name="points inside are blown up" says="The factor is never above 1"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta * per_image(eps / norm(delta, 2).clamp_min(1e-12), x)

# %% wrong="project_l2" name="division by zero" says="What should the factor be there?"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    length = per_image(norm(delta, 2), x)
    factor = (eps / length).clamp_max(1)
    return x + factor * length * (delta / length)

# %% wrong="project_l2" name="L-inf projection" says="Each pixel was clipped by itself"
def project_l2(x_tilde, x, eps):
    return x + (x_tilde - x).clamp(-eps, eps)

# %% wrong="project_l2" name="squared length" says="You divide by the squared length"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    square = delta.flatten(1).square().sum(1)
    return x + delta * per_image((eps / square.clamp_min(1e-12)).clamp_max(1), x)

# %% wrong="project_l2" name="one length for the batch" says="One length for the whole batch"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta * min(1.0, eps / max(float(delta.norm()), 1e-12))

# %% wrong="project_l2" name="the perturbation is returned" says="You return the perturbation"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return delta * per_image(eps / norm(delta, 2).clamp_min(eps), x)

# %% wrong="project_l2" name="clipped to the image range" says="You clip to [0, 1]"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return (x + delta * per_image(eps / norm(delta, 2).clamp_min(eps), x)).clamp(0, 1)

# %% wrong="project_l2" name="to length 1" says="The length became 1"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta / per_image(norm(delta, 2).clamp_min(1), x)

# %% wrong="project_l2" name="L1 length" says="You divide by the L1 norm"
def project_l2(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta * per_image(eps / norm(delta, 1).clamp_min(eps), x)

# %% wrong="project_l2" name="in place" says="edited in place"
def project_l2(x_tilde, x, eps):
    x_tilde -= x
    return x + x_tilde * per_image(eps / norm(x_tilde, 2).clamp_min(eps), x)

# %% right="project_l2" name="where and renorm"
def project_l2(x_tilde, x, eps):
    return x + (x_tilde - x).renorm(2, 0, eps)

# %% right="project_l2" name="image by image"
def project_l2(x_tilde, x, eps):
    result = x_tilde.clone()
    for b in range(len(x)):
        length = (x_tilde[b] - x[b]).square().sum().sqrt()
        if length > eps:
            result[b] = x[b] + (x_tilde[b] - x[b]) / length * eps
    return result

# %% right="project_l2" name="a mixture of x and x_tilde"
def project_l2(x_tilde, x, eps):
    share = per_image((eps / (norm(x_tilde - x, 2) + 1e-12)).clamp(max=1), x)
    return share * x_tilde + (1 - share) * x

# ---------------------------------------------------------------- project_l1
# %% wrong="project_l1" name="scaled" says="You scale the perturbation"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta * per_image(eps / norm(delta, 1).clamp_min(eps), x)

# %% wrong="project_l1" name="as if all survived" says="all coordinates as if all survived"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    theta = ((size.sum(1, keepdim=True) - eps) / size.shape[1]).clamp_min(0)
    return x + delta.sign() * (size - theta).clamp_min(0).view(x.shape)

# %% wrong="project_l1" name="as if one survived" says="theta_1 was taken"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    theta = torch.where(size.sum(1, keepdim=True) > eps, (size.amax(1, keepdim=True) - eps).clamp_min(0), 0)
    return x + delta.sign() * (size - theta).clamp_min(0).view(x.shape)

# %% wrong="project_l1" name="only the largest is left" says="Only the largest coordinate is left"
def project_l1(x_tilde, x, eps):
    delta = (x_tilde - x).flatten(1)
    i = delta.abs().argmax(1, keepdim=True)
    z = torch.zeros_like(delta).scatter(1, i, delta.gather(1, i).clamp(-eps, eps))
    outside = per_image((delta.abs().sum(1) > eps).to(x.dtype), x)
    return x + outside * z.view(x.shape) + (1 - outside) * (x_tilde - x)

# %% wrong="project_l1" name="points inside pushed out" says="Points inside are pushed outwards"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    u = size.sort(dim=1, descending=True).values
    theta = (u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1)
    count = (u > theta).sum(1, keepdim=True)
    return x + delta.sign() * (size - theta.gather(1, count - 1)).clamp_min(0).view(x.shape)

# %% wrong="project_l1" name="signs lost" says="The signs were lost"
def project_l1(x_tilde, x, eps):
    size = (x_tilde - x).abs().flatten(1)
    u = size.sort(dim=1, descending=True).values
    theta = (u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1)
    count = (u > theta).sum(1, keepdim=True)
    return x + (size - theta.gather(1, count - 1).clamp_min(0)).clamp_min(0).view(x.shape)

# %% wrong="project_l1" name="not clipped at zero" says="must become 0, not change their side"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    u = size.sort(dim=1, descending=True).values
    theta = (u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1)
    count = (u > theta).sum(1, keepdim=True)
    return x + delta.sign() * (size - theta.gather(1, count - 1).clamp_min(0)).view(x.shape)

# %% wrong="project_l1" name="the perturbation is returned" says="You return the perturbation"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    u = size.sort(dim=1, descending=True).values
    theta = (u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1)
    count = (u > theta).sum(1, keepdim=True)
    return delta.sign() * (size - theta.gather(1, count - 1).clamp_min(0)).clamp_min(0).view(x.shape)

# %% wrong="project_l1" name="one threshold for the batch" says="Sort and add up along the pixels of an image"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten()
    u = size.sort(descending=True).values
    theta = (u.cumsum(0) - eps) / torch.arange(1, len(u) + 1)
    theta = theta[int((u > theta).sum()) - 1].clamp_min(0)
    return x + delta.sign() * (delta.abs() - theta).clamp_min(0)

# %% wrong="project_l1" name="sorted upwards" says="is it sorted from large to small"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    u = size.sort(dim=1).values
    theta = (u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1)
    count = (u > theta).sum(1, keepdim=True).clamp_min(1)
    return x + delta.sign() * (size - theta.gather(1, count - 1).clamp_min(0)).clamp_min(0).view(x.shape)

# %% wrong="project_l1" name="clipped to the image range" says="You clip to [0, 1]"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    u = size.sort(dim=1, descending=True).values
    theta = (u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1)
    count = (u > theta).sum(1, keepdim=True)
    return (x + delta.sign() * (size - theta.gather(1, count - 1).clamp_min(0)).clamp_min(0).view(x.shape)).clamp(0, 1)

# %% wrong="project_l1" name="the L2 projection" says="You scale with the L2 norm"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    return x + delta * per_image(eps / norm(delta, 2).clamp_min(eps), x)

# %% right="project_l1" name="theta by bisection"
def project_l1(x_tilde, x, eps):
    delta = x_tilde - x
    size = delta.abs().flatten(1)
    low, high = torch.zeros_like(size[:, :1]), size.amax(1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        too_long = (size - middle).clamp_min(0).sum(1, keepdim=True) > eps
        low, high = torch.where(too_long, middle, low), torch.where(too_long, high, middle)
    high = torch.where(size.sum(1, keepdim=True) <= eps, 0, high)
    return x + delta.sign() * (size - high).clamp_min(0).view(x.shape)

# %% right="project_l1" name="image by image, in numpy, as in the paper"
import numpy as np

def project_l1(x_tilde, x, eps):
    result = x_tilde.clone()
    for b in range(len(x)):
        v = (x_tilde[b] - x[b]).numpy().ravel()
        if np.abs(v).sum() <= eps:
            continue
        mu = np.sort(np.abs(v))[::-1]
        rho = max(j for j in range(1, len(mu) + 1) if mu[j - 1] - (mu[:j].sum() - eps) / j > 0)
        theta = (mu[:rho].sum() - eps) / rho
        w = np.sign(v) * np.maximum(np.abs(v) - theta, 0)
        result[b] = x[b] + torch.from_numpy(w.astype(v.dtype)).reshape(x[b].shape)
    return result

# %% right="project_l1" name="the largest theta_k is the right one"
def project_l1(x_tilde, x, eps):
    delta = (x_tilde - x).flatten(1)
    u = torch.sort(delta.abs(), dim=1, descending=True)[0]
    k = torch.arange(1, u.shape[1] + 1)
    theta = ((torch.cumsum(u, 1) - eps) / k).max(dim=1, keepdim=True).values
    return x + (torch.relu(delta - theta.clamp_min(0)) - torch.relu(-delta - theta.clamp_min(0))).reshape(x.shape)

# ---------------------------------------------------------------- steepest
# %% wrong="steepest" name="sign for every norm" says="This is the step for p = inf"
def steepest(g, p):
    return g.sign()

# %% wrong="steepest" name="normalised for every norm" says="This is the step for p = 2"
def steepest(g, p):
    length = norm(g, 2)
    return g / per_image(torch.where(length > 0, length, 1), g)

# %% wrong="steepest" name="divided by its own norm" says="only for p = 2 the direction"
def steepest(g, p):
    length = norm(g, p)
    return g / per_image(torch.where(length > 0, length, 1), g)

# %% wrong="steepest" name="NaN for a zero gradient" says="What should a gradient without direction give"
def steepest(g, p):
    if p == 2:
        return g / per_image(norm(g, 2), g)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    step = torch.nn.functional.one_hot(rows.abs().argmax(1), rows.shape[1]).to(g.dtype)
    return (step * rows.sign()).view(g.shape)

# %% wrong="steepest" name="a constant in the length" says="A constant added to the length"
def steepest(g, p):
    if p == 2:
        return g / per_image(norm(g, 2) + 1e-8, g)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    step = torch.nn.functional.one_hot(rows.abs().argmax(1), rows.shape[1]).to(g.dtype)
    return (step * rows.sign()).view(g.shape)

# %% wrong="steepest" name="no sign in L1" says="The sign is missing"
def steepest(g, p):
    if p == 2:
        return torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    return torch.nn.functional.one_hot(rows.abs().argmax(1), rows.shape[1]).to(g.dtype).view(g.shape)

# %% wrong="steepest" name="largest, not largest by size" says="A negative one counts as well"
def steepest(g, p):
    if p == 2:
        return torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    step = torch.nn.functional.one_hot(rows.argmax(1), rows.shape[1]).to(g.dtype)
    return (step * rows.sign()).view(g.shape)

# %% wrong="steepest" name="the budget of L1 spread" says="The budget is spread over all pixels"
def steepest(g, p):
    if p == 2:
        return torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    return g.sign() if p == math.inf else g.sign() / g[0].numel()

# %% wrong="steepest" name="the value of the gradient kept in L1" says="keeps the size of its gradient"
def steepest(g, p):
    if p == 2:
        return torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    return torch.where(rows.abs() == rows.abs().amax(1, keepdim=True), rows, 0).view(g.shape)

# %% wrong="steepest" name="all of a tie" says="step of L1 norm"
def steepest(g, p):
    if p == 2:
        return torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    return torch.where(rows.abs() == rows.abs().amax(1, keepdim=True), rows.sign(), 0).view(g.shape)

# %% wrong="steepest" name="one length for the batch" says="gains"
def steepest(g, p):
    if p == 2:
        return g / g.norm().clamp_min(1e-30)
    if p == math.inf:
        return g.sign()
    rows = g.flatten(1)
    step = torch.nn.functional.one_hot(rows.abs().argmax(1), rows.shape[1]).to(g.dtype)
    return (step * rows.sign()).view(g.shape)

# %% wrong="steepest" name="downhill" says="goes downhill"
def steepest(g, p):
    if p == 2:
        return -torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    if p == math.inf:
        return -g.sign()
    rows = g.flatten(1)
    step = torch.nn.functional.one_hot(rows.abs().argmax(1), rows.shape[1]).to(g.dtype)
    return -(step * rows.sign()).view(g.shape)

# %% wrong="steepest" name="always some step" says="No direction, no step"
def steepest(g, p):
    if p == 2:
        return torch.nn.functional.normalize(g.flatten(1), dim=1, eps=1e-30).view(g.shape)
    if p == math.inf:
        return torch.where(g >= 0, 1.0, -1.0).to(g.dtype)
    rows = g.flatten(1)
    step = torch.nn.functional.one_hot(rows.abs().argmax(1), rows.shape[1]).to(g.dtype)
    return (step * torch.where(rows >= 0, 1, -1)).view(g.shape)

# %% wrong="steepest" name="the package's" says="write yourself"
def steepest(g, p):
    return LpBall(1.0, p).steepest(g)

# %% right="steepest" name="ties shared, plus or minus one for a zero pixel"
def steepest(g, p):
    rows = g.flatten(1)
    some = (rows != 0).any(1, keepdim=True)
    if p == math.inf:
        step = torch.where(rows >= 0, 1, -1)
    elif p == 2:
        step = rows / rows.abs().amax(1, keepdim=True).clamp_min(1e-30)
        step = step / step.norm(dim=1, keepdim=True).clamp_min(1e-30)
    else:
        top = rows.abs() == rows.abs().amax(1, keepdim=True)
        step = rows.sign() * top / top.sum(1, keepdim=True)
    return (step * some).to(g.dtype).view(g.shape)

# %% right="steepest" name="nan_to_num, and a loop for L1"
def steepest(g, p):
    if p == 2:
        return (g / per_image(norm(g, 2), g)).nan_to_num(0.0)
    if p == math.inf:
        return (g / g.abs()).nan_to_num(0.0)
    step = torch.zeros_like(g)
    for b in range(len(g)):
        i = int(g[b].abs().argmax())
        step[b].view(-1)[i] = g[b].reshape(-1)[i].sign()
    return step

# %% right="steepest" name="autograd of the dual norm"
def steepest(g, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    g = g.clone().requires_grad_(True)
    scale = per_image(g.detach().flatten(1).abs().amax(1).clamp_min(1e-30), g)
    (step,) = torch.autograd.grad(torch.linalg.vector_norm((g / scale).flatten(1), ord=q, dim=1).sum(), g)
    return (step * scale).nan_to_num(0.0)

# ---------------------------------------------------------------- best_gain
# %% wrong="best_gain" name="the same norm" says="The gain is the dual norm"
def best_gain(g, eps, p):
    return eps * norm(g, p)

# %% wrong="best_gain" name="eps forgotten" says="eps is missing"
def best_gain(g, eps, p):
    return norm(g, {1: math.inf, 2: 2, math.inf: 1}[p])

# %% wrong="best_gain" name="step along the gradient itself" says="that step is as long as the gradient"
def best_gain(g, eps, p):
    return eps * norm(g, 2) ** 2 if p == 2 else eps * norm(g, 1 if p == math.inf else math.inf)

# %% wrong="best_gain" name="sum without sizes" says="cancel here"
def best_gain(g, eps, p):
    rows = g.flatten(1)
    if p == math.inf:
        return eps * rows.sum(1)
    return eps * (rows.abs().amax(1) if p == 1 else rows.norm(dim=1))

# %% wrong="best_gain" name="largest upwards only" says="also a negative one"
def best_gain(g, eps, p):
    rows = g.flatten(1)
    if p == 1:
        return eps * rows.amax(1)
    return eps * (rows.abs().sum(1) if p == math.inf else rows.norm(dim=1))

# %% wrong="best_gain" name="one number for the batch" says="keep one per image"
def best_gain(g, eps, p):
    return eps * torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p])

# %% wrong="best_gain" name="the step is returned" says="shape"
def best_gain(g, eps, p):
    return eps * LpBall(1.0, p).steepest(g)

# %% right="best_gain" name="by the formula for q, with p - 1"
def best_gain(g, eps, p):
    q = math.inf if p == 1 else 1 if p == math.inf else p / (p - 1)
    return eps * torch.linalg.vector_norm(g.flatten(1), ord=q, dim=1)

# %% right="best_gain" name="the inner product with the best step"
def best_gain(g, eps, p):
    return (g * eps * LpBall(eps, p).steepest(g)).flatten(1).sum(1)

# ---------------------------------------------------------------- first_angle_outside
# %% wrong="first_angle_outside" name="the number in the list" says="number of the angle in the list"
def first_angle_outside(x, angles, eps, p):
    outside = torch.stack([norm(rotate(x, a) - x, p) > eps for a in angles.tolist()])
    return torch.where(outside.any(0), outside.int().argmax(0).float(), math.inf)

# %% wrong="first_angle_outside" name="the last one inside" says="The first one outside is asked for"
def first_angle_outside(x, angles, eps, p):
    outside = torch.stack([norm(rotate(x, a) - x, p) > eps for a in angles.tolist()])
    return angles[(outside.int().argmax(0) - 1).clamp_min(0)]

# %% wrong="first_angle_outside" name="0 where none leaves" says="the answer is math.inf"
def first_angle_outside(x, angles, eps, p):
    outside = torch.stack([norm(rotate(x, a) - x, p) > eps for a in angles.tolist()])
    return angles[outside.int().argmax(0)]

# %% wrong="first_angle_outside" name="the last one outside" says="This is the last angle outside"
def first_angle_outside(x, angles, eps, p):
    first = torch.full((len(x),), math.inf)
    for a in angles.tolist():
        first = torch.where(norm(rotate(x, a) - x, p) > eps, a, first)
    return first

# %% wrong="first_angle_outside" name="one for the batch" says="One angle for each image"
def first_angle_outside(x, angles, eps, p):
    for a in angles.tolist():
        if (norm(rotate(x, a) - x, p) > eps).any():
            return torch.tensor(a)
    return torch.tensor(math.inf)

# %% wrong="first_angle_outside" name="comparison turned round" says="first angle that is still inside"
def first_angle_outside(x, angles, eps, p):
    first = torch.full((len(x),), math.inf)
    for a in angles.tolist():
        first = torch.where((norm(rotate(x, a) - x, p) <= eps) & first.isinf(), a, first)
    return first

# %% wrong="first_angle_outside" name="turned further and further" says="is it above eps"
def first_angle_outside(x, angles, eps, p):
    first, turned = torch.full((len(x),), math.inf), x
    for a in angles.tolist():
        turned = rotate(turned, a)
        first = torch.where((norm(turned - x, p) > eps) & first.isinf(), a, first)
    return first

# %% wrong="first_angle_outside" name="always L2" says="does p reach the norm"
def first_angle_outside(x, angles, eps, p):
    first = torch.full((len(x),), math.inf)
    for a in angles.tolist():
        first = torch.where((norm(rotate(x, a) - x, 2) > eps) & first.isinf(), a, first)
    return first

# %% wrong="first_angle_outside" name="no return" says="forget a return"
def first_angle_outside(x, angles, eps, p):
    first = torch.full((len(x),), math.inf)
    for a in angles.tolist():
        first = torch.where((norm(rotate(x, a) - x, p) > eps) & first.isinf(), a, first)

# %% wrong="first_angle_outside" name="counts the angles inside" says="in the order of the list"
def first_angle_outside(x, angles, eps, p):
    inside = torch.stack([norm(rotate(x, a) - x, p) <= eps for a in angles.tolist()]).sum(0)
    return torch.where(inside < len(angles), angles[inside.clamp_max(len(angles) - 1)], math.inf)

# %% right="first_angle_outside" name="image by image, with a break"
def first_angle_outside(x, angles, eps, p):
    found = []
    for image in x.split(1):
        found.append(math.inf)
        for a in angles:
            if norm(rotate(image, a) - image, p).item() > eps:
                found[-1] = a.item()
                break
    return torch.tensor(found, dtype=torch.float64)

# %% right="first_angle_outside" name="backwards, the last write wins"
def first_angle_outside(x, angles, eps, p):
    first = x.new_full((len(x),), math.inf)
    for a in reversed(angles.tolist()):
        first[norm(rotate(x, a) - x, p) > eps] = a
    return first

# %% right="first_angle_outside" name="stacked, with argmax"
def first_angle_outside(x, angles, eps, p):
    far = torch.stack([norm(rotate(x, float(a)) - x, p) for a in angles])
    outside = torch.cat([far > eps, torch.ones(1, len(x), dtype=torch.bool)])
    return torch.cat([angles, torch.tensor([math.inf])])[outside.int().argmax(dim=0)]

# ---------------------------------------------------------------- worst_angle
# %% wrong="worst_angle" name="the lowest loss" says="lowest loss"
def worst_angle(model, x, y, angles):
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return angles[loss.argmin(0)]

# %% wrong="worst_angle" name="the number in the list" says="number of the angle in the list"
def worst_angle(model, x, y, angles):
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return loss.argmax(0).float()

# %% wrong="worst_angle" name="one angle for the batch" says="All images got the same angle"
def worst_angle(model, x, y, angles):
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y).mean() for a in angles.tolist()])
    return angles[loss.argmax()].expand(len(x))

# %% wrong="worst_angle" name="one number" says="keep one per image"
def worst_angle(model, x, y, angles):
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y).mean() for a in angles.tolist()])
    return angles[loss.argmax()]

# %% wrong="worst_angle" name="argmax over the images" says="shape"
def worst_angle(model, x, y, angles):
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return angles[loss.argmax(1) % len(angles)]

# %% wrong="worst_angle" name="the loss is returned" says="The angle at which it occurs"
def worst_angle(model, x, y, angles):
    return torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()]).max(0).values

# %% wrong="worst_angle" name="flees the prediction" says="Is it the loss of y"
def worst_angle(model, x, y, angles):
    y = model(x).argmax(1)
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return angles[loss.argmax(0)]

# %% wrong="worst_angle" name="the last of equal ones" says="last of the equally bad angles"
def worst_angle(model, x, y, angles):
    best, worst = torch.full((len(x),), -math.inf), torch.zeros(len(x))
    for a in angles.tolist():
        loss = losses.cross_entropy(model(rotate(x, a)), y)
        worst, best = torch.where(loss >= best, a, worst), torch.maximum(loss, best)
    return worst

# %% wrong="worst_angle" name="radians" says="radians"
def worst_angle(model, x, y, angles):
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return angles[loss.argmax(0)].deg2rad()

# %% wrong="worst_angle" name="turned further and further" says="loss of this image largest"
def worst_angle(model, x, y, angles):
    table, turned = [], x
    for a in angles.tolist():
        turned = rotate(turned, a)
        table.append(losses.cross_entropy(model(turned), y))
    return angles[torch.stack(table).argmax(0)]

# %% wrong="worst_angle" name="a grid of its own" says="angles of the list"
def worst_angle(model, x, y, angles):
    angles = torch.linspace(-angles.abs().max(), angles.abs().max(), 13)
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return angles[loss.argmax(0)]

# %% wrong="worst_angle" name="model left in train mode" says="left in train mode"
def worst_angle(model, x, y, angles):
    model.train()
    loss = torch.stack([losses.cross_entropy(model(rotate(x, a)), y) for a in angles.tolist()])
    return angles[loss.argmax(0)]

# %% wrong="worst_angle" name="the first angle that fools" says="loss of this image largest"
def worst_angle(model, x, y, angles):
    wrong = torch.stack([model(rotate(x, a)).argmax(1) != y for a in angles.tolist()])
    return torch.where(wrong.any(0), angles[wrong.int().argmax(0)], angles[0])

# %% wrong="worst_angle" name="the logit of y alone" says="loss of this image largest"
def worst_angle(model, x, y, angles):
    logit = torch.stack([model(rotate(x, a)).gather(1, y[:, None])[:, 0] for a in angles.tolist()])
    return angles[logit.argmin(0)]

# %% right="worst_angle" name="the best so far, image by image"
def worst_angle(model, x, y, angles):
    result = []
    for i in range(len(x)):
        highest, where = -1.0, None
        for a in angles:
            loss = torch.nn.functional.cross_entropy(model(rotate(x[i : i + 1], a)), y[i : i + 1]).item()
            if loss > highest:
                highest, where = loss, a.item()
        result.append(where)
    return torch.tensor(result)

# %% right="worst_angle" name="all angles in one batch"
def worst_angle(model, x, y, angles):
    turned = torch.cat([rotate(x, float(a)) for a in angles])
    loss = torch.nn.functional.cross_entropy(model(turned), y.repeat(len(angles)), reduction="none").reshape(len(angles), len(x))
    return angles.gather(0, loss.max(dim=0).indices).double()

# %% right="worst_angle" name="the lowest probability of y"
def worst_angle(model, x, y, angles):
    with torch.no_grad():
        p = torch.stack([model(rotate(x, a)).log_softmax(1).gather(1, y[:, None])[:, 0] for a in angles.tolist()])
    return angles[(-p).argmax(0)]
