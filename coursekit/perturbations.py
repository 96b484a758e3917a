"""The lecture's perturbation set P(x): what an attacker may turn x into.

Attacks search it, training hardens against it, certificates cover it; all of them take it as an argument
and know nothing of norms.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

NORMS = (1, 2, math.inf)
NEWTON_STEPS = 10


@dataclass(frozen=True)
class LpBall:
    """P(x) = {x~ : ||x~ - x||_p <= eps, lo <= x~ <= hi}: the L_p ball and the image range as one set.

    eps: radius >= 0, one number, or one per image as a tensor (B,). p: 1, 2 or math.inf. bounds: (lo, hi) of a
    pixel; (-math.inf, math.inf) for all of R^d. Raises ValueError or TypeError for anything else.

    The lecture's ball is open (< eps). This one is closed: the largest loss is often reached on the surface,
    where FGSM steps to, and an open set need not contain a worst point at all.

    Every method takes batches (B, ...) of any rank, in any floating dtype, on any device, in any memory layout;
    x must itself lie in the range. Half precision is computed in float32 and rounded towards x.
    Source: lecture, slide "On 'small' Perturbations".
    """

    eps: float | Tensor
    p: float
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_eps(self.eps)
        if self.p not in NORMS:
            raise ValueError(f"p must be 1, 2 or math.inf; got {self.p!r}")
        if not (isinstance(self.bounds, tuple) and len(self.bounds) == 2 and self.bounds[0] < self.bounds[1]):
            raise ValueError(f"bounds must be (lo, hi) with lo < hi; got {self.bounds!r}")

    def project(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Pi(x~): the point of P(x) nearest to x~ in the Euclidean distance; a point inside is its own projection.

        Exact for the ball and the range together, which clipping after projecting onto the ball is not.
        x_tilde, x: (B, ...). Returns a tensor like x_tilde, in the dtype of x.
        """
        _check_pair(x_tilde, x)
        z, centre = widen(x_tilde), widen(x)
        eps = per_image(self.eps, centre)
        if self.p == math.inf:
            inside = torch.clamp(z, (centre - eps).clamp_min(self.bounds[0]), (centre + eps).clamp_max(self.bounds[1]))
        else:
            delta = z - centre
            lo, hi = (centre.new_full((), bound) for bound in self.bounds)
            room = (torch.where(delta > 0, hi, lo) - centre).abs()
            shrink = _shrink_l2 if self.p == 2 else _shrink_l1
            length = shrink(_rows(delta.abs()), _rows(room), _rows(eps)).view(delta.shape)
            # An untouched coordinate is taken over as it is: x + (x~ - x) need not round to x~.
            inside = torch.where(length == delta.abs(), z, centre + delta.sign() * length)
            inside = inside.clamp(*self.bounds)
        return round_towards(inside, x)

    def sample(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random point of P(x) for every image (B, ...).

        p = inf: uniform in P(x). p = 1, 2: uniform in the ball, then clipped to the range, which keeps it in the
        ball because clipping moves towards x. Random numbers come from `generator` alone if there is one.
        Source for the ball: Barthe et al. 2005, theorem 1.
        """
        centre = widen(x)
        eps = per_image(self.eps, centre)
        if self.p == math.inf:
            low, high = (centre - eps).clamp_min(self.bounds[0]), (centre + eps).clamp_max(self.bounds[1])
            return self.project(low + (high - low) * _uniform(centre, generator), x)
        noise = _laplace(centre, generator) if self.p == 1 else _normal(centre, generator) / math.sqrt(2)
        radial = _exponential(eps, generator)
        norm = (_rows(noise).abs().pow(self.p).sum(1).view(eps.shape) + radial).pow(1 / self.p)
        inside = centre + eps * noise / norm
        return round_towards(inside.clamp(*self.bounds), x)

    def contains(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Which x~ lie in P(x), as bool (B,): the closed ball, allowing for rounding.

        x + delta is stored rounded, so a point computed to lie on the surface may come to lie a little outside.
        Allowed is what that rounding can add: half a unit in the last place (doubled, for the subtraction) of each
        changed coordinate, and a few in the norm. Points with NaN are outside.
        """
        _check_pair(x_tilde, x)
        z, centre = widen(x_tilde), widen(x)
        ulp = torch.finfo(x_tilde.dtype).eps
        rounding = ulp * torch.maximum(z.abs(), centre.abs()) * (z != centre)
        eps = per_image(self.eps, centre).view(-1)
        allowed = eps * (1 + 100 * torch.finfo(centre.dtype).eps) + _norm(rounding, self.p)
        lo, hi = self.bounds
        # A bound may itself have been rounded: 0.1 has no exact binary form.
        in_range = _rows((z >= lo - ulp * abs(lo)) & (z <= hi + ulp * abs(hi))).all(1)
        return in_range & (_norm(z - centre, self.p) <= allowed)

    def steepest(self, grad: Tensor) -> Tensor:
        """The d with ||d||_p <= 1 that maximises <grad, d>: the unit step of steepest ascent in this norm.

        p = inf: sign(grad). p = 2: grad / ||grad||_2. p = 1: the sign of one largest coordinate, all others zero.
        grad: (B, ...). Returns a tensor like it; a zero gradient has no direction and gives zeros, NaN counts as 0.
        """
        if self.p == math.inf:
            return grad.sign()  # of NaN: 0
        flat = _rows(widen(grad).nan_to_num(nan=0.0))
        largest, where = flat.abs().max(dim=1, keepdim=True)
        if self.p == 1:
            step = torch.zeros_like(flat).scatter(1, where, flat.gather(1, where).sign())
        else:
            # Scaled first: the square of 1e-30 would vanish, that of 1e30 overflow.
            flat = flat / largest.where(largest > 0, 1)
            norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
            step = flat / norm.where(norm > 0, 1)
        return step.view(grad.shape).to(grad.dtype)

    def step(self, x_t: Tensor, grad: Tensor, eta: float | Tensor) -> Tensor:
        """x_t + eta * steepest(grad): uphill from x_t by a step of length eta, one number or one per image.

        p = 1 is the exception: a pixel has room for less than eta, and what goes beyond the range would be lost. So
        the largest coordinate takes what it has room for, then the next, until eta is used up. That maximises
        <grad, d> over ||d||_1 <= eta within the range, and is steepest(grad) where there is no range.
        x_t, grad: (B, ...). Returns a tensor like x_t, not yet projected.
        """
        eta = per_image(eta, x_t, "step_size")
        if self.p != 1:
            return x_t + eta * self.steepest(grad)
        slope = _rows(grad).nan_to_num(nan=0.0)
        room = _rows(torch.where(grad > 0, self.bounds[1] - x_t, x_t - self.bounds[0])).clamp_min(0)
        order = slope.abs().argsort(dim=1, descending=True)
        room_ahead = torch.minimum(room.gather(1, order), _rows(eta))
        used = room_ahead.cumsum(1) - room_ahead
        length = torch.minimum((_rows(eta) - used).clamp_min(0), room_ahead)
        delta = torch.zeros_like(slope).scatter(1, order, length) * slope.sign()
        return x_t + delta.view(x_t.shape)

    def default_step(self, steps: int) -> float | Tensor:
        """eta = 2.5 eps / steps, at most eps: can reach the surface from anywhere inside and move along it.

        Source: Madry et al. 2018, section 4 and appendix. Returns a number, or (B,) if eps is one per image.
        """
        return self.eps * min(1.0, 2.5 / max(steps, 1))

    def select(self, images: slice | Tensor) -> "LpBall":
        """The set for some images of the batch (slice, indices or mask); matters when eps is one per image."""
        eps = self.eps[images] if isinstance(self.eps, Tensor) and self.eps.ndim else self.eps
        return LpBall(eps, self.p, self.bounds)


def per_image(value: float | Tensor, x: Tensor, name: str = "eps") -> Tensor:
    """A number, or one number per image (B,), in the shape, dtype and device that broadcast against x (B, ...)."""
    shape = (len(x),) + (1,) * (x.ndim - 1)
    if not isinstance(value, Tensor):
        return torch.full(shape, value, dtype=x.dtype, device=x.device)
    if value.ndim and value.shape != (len(x),):
        raise ValueError(f"{name} must be one number or one per image, ({len(x)},); got shape {tuple(value.shape)}")
    return value.to(x).expand(len(x)).view(shape)


def _shrink_l2(length: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """min(s |delta_i|, room_i) with the largest s <= 1 whose L2 norm is at most eps; all (B, n), eps (B, 1).

    The Lagrangian of the projection separates into coordinates: each is scaled by the same s = 1 / (1 + mu), then
    clipped. In u = s^2 the squared norm, sum_i min(u |delta_i|^2, room_i^2), is increasing, concave and piecewise
    linear. So Newton's method is on the near side of the solution after one step, never overshoots from there, and
    ends on the exact piece, mostly after two or three. At worst the error shrinks fourfold each step; their number
    is fixed because looking at the values would make a GPU wait.
    """
    largest = length.amax(1, keepdim=True)
    unit = length / largest.where(largest > 0, 1)  # squares neither vanish nor overflow
    square, room_square = unit.square(), room.square()
    u = whole = largest.square().clamp_max(torch.finfo(length.dtype).max)  # the u that means s = 1
    for _ in range(NEWTON_STEPS):
        before, scaled = u, u * square
        slope = torch.linalg.vecdot(square, (scaled < room_square).to(square.dtype))[:, None]
        excess = torch.minimum(scaled, room_square).sum(1, keepdim=True) - eps.square()
        # Where nothing is free the slope is 0 and the quotient infinite: all of delta, or none of it.
        u = u - (excess / slope).nan_to_num(nan=-torch.inf)
        u = u.clamp_min(0).minimum(whole)
        if u.device.type == "cpu" and torch.allclose(u, before, rtol=4 * torch.finfo(u.dtype).eps, atol=0):
            break  # on the exact piece; here looking is free
    return torch.minimum((u.sqrt() * unit).where(u < whole, length), room)


def _shrink_l1(length: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """min(max(|delta_i| - mu, 0), room_i) with the least mu >= 0 whose L1 norm is at most eps; all (B, n), eps (B, 1).

    As mu falls from the largest |delta_i| by nu, coordinate i starts to grow once nu is its gap to the largest, and
    stops when it has used up its room. In between the norm is linear in nu: sort these kinks, add up the norm from
    kink to kink, solve on the piece that reaches eps.
    """
    full = torch.minimum(length, room)
    gap = length.amax(1, keepdim=True) - length
    kinks, order = torch.cat([gap, gap + full], dim=1).sort(dim=1)
    starts = order < length.shape[1]
    growing = (2 * starts.to(length.dtype) - 1).cumsum(1)
    norm = torch.zeros_like(kinks)
    norm[:, 1:] = (growing[:, :-1] * kinks.diff(dim=1)).cumsum(1)
    piece = ((norm <= eps).sum(1, keepdim=True) - 1).clamp_min(0)
    nu = kinks.gather(1, piece) + (eps - norm.gather(1, piece)) / growing.gather(1, piece).clamp_min(1)
    shrunk = torch.minimum((nu - gap).clamp_min(0), room)
    total = shrunk.sum(1, keepdim=True)  # for points very far out, rounding of nu - gap can exceed eps by itself
    shrunk = torch.where(total > eps, shrunk * (eps / total), shrunk)
    return torch.where(full.sum(1, keepdim=True) <= eps, full, shrunk)


def round_towards(z: Tensor, x: Tensor) -> Tensor:
    """z in the dtype of x, rounded so that no coordinate gets further from x than it was."""
    if z.dtype == x.dtype:
        return z
    rounded = z.to(x.dtype)
    too_far = (rounded.to(z.dtype) - x).abs() > (z - x).abs()
    return torch.where(too_far, torch.nextafter(rounded, x), rounded)


def widen(x: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is: a step of eps / 40 would round to none in bfloat16."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _rows(x: Tensor) -> Tensor:
    """(B, ...) as (B, n); unlike flatten also for an empty batch and for one number per image."""
    return x.reshape(len(x), x.shape[1:].numel())


def _norm(delta: Tensor, p: float) -> Tensor:
    """||delta||_p of each image, (B,)."""
    return torch.linalg.vector_norm(_rows(delta), ord=p, dim=1)


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    # Drawn where the generator lives: a seeded CPU generator gives the same start on every device.
    device = like.device if generator is None else generator.device
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def _exponential(like: Tensor, generator: Generator | None) -> Tensor:
    return -torch.log1p(-_uniform(like, generator))


def _laplace(like: Tensor, generator: Generator | None) -> Tensor:
    sign = (_uniform(like, generator) - 0.5).sign()
    return sign * _exponential(like, generator)


def _normal(like: Tensor, generator: Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def _check_eps(eps: float | Tensor) -> None:
    if isinstance(eps, Tensor):
        if not eps.is_floating_point() or eps.ndim > 1:
            raise TypeError(
                f"eps must be a number or a floating tensor (B,); got {eps.dtype} of shape {tuple(eps.shape)}"
            )
        # Looking at values on another device would wait for it.
        if eps.device.type == "cpu" and not bool(((eps >= 0) & eps.isfinite()).all()):
            raise ValueError(f"eps must be finite and >= 0 for every image; got {eps.tolist()}")
    elif isinstance(eps, bool) or not isinstance(eps, (int, float)):
        raise TypeError(f"eps must be a number or a floating tensor (B,); got {type(eps).__name__}")
    elif not 0 <= eps < math.inf:
        raise ValueError(f"eps must be finite and >= 0; got {eps}")


def _check_pair(x_tilde: Tensor, x: Tensor) -> None:
    for name, value in (("x_tilde", x_tilde), ("x", x)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor; got {type(value).__name__}")
        if not value.is_floating_point():
            raise TypeError(f"{name} must be a floating tensor; got {value.dtype}")
    if x_tilde.shape != x.shape:
        raise ValueError(f"x_tilde must have the shape of x, {tuple(x.shape)}; got {tuple(x_tilde.shape)}")
