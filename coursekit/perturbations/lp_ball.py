"""The L_p ball within the image range."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from coursekit.perturbations.common import check_pair, norm, per_image, round_towards, rows, widen
from coursekit.perturbations.random import exponential, laplace, normal, uniform

NORMS = (1, 2, math.inf)
NORMAL = (1e-12, 1e12)  # gradients of such a norm can be squared in float32
NEWTON_STEPS = 10
LOOSE = 1e-3  # how far from the surface, relative to eps, a step of a loop may be before it is pulled inside

Projector = Callable[[Tensor], Tensor]
Shrink = Callable[[Tensor, Tensor, Tensor], Tensor]


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

    @property
    def search(self) -> "LpBall":
        """An attack steps in pixels: the set itself."""
        return self

    def origin(self, x: Tensor) -> Tensor:
        """The pixels of x, (B, ...), to start from; half precision as float32, where small steps are not lost."""
        return widen(x)

    def render(self, z: Tensor, x: Tensor) -> Tensor:
        """The pixels z as an image like x, in its dtype, rounded towards it."""
        return round_towards(z, x)

    def project(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Pi(x~): the point of P(x) nearest to x~ in the Euclidean distance; a point inside is its own projection.

        Exact for the ball and the range together, for each p; nothing alternates between the two, and nothing is
        clipped afterwards, which would give another point. x_tilde, x: (B, ...). Returns a tensor like x_tilde, in
        the dtype of x.
        """
        check_pair(x_tilde, x)
        nearest = {1: _nearest_l1, 2: _nearest_l2, math.inf: _nearest_linf}[self.p]
        centre = widen(x)
        inside = nearest(widen(x_tilde), centre, per_image(self.eps, centre), *self.bounds)
        return round_towards(inside, x)

    def projector(self, x: Tensor) -> Projector:
        """x~ -> Pi(x~) around x (B, ...), quick enough for every step of a loop.

        What depends on x alone is computed once. For p = 2, on the CPU, the result lies in P(x) but is only nearly
        the nearest point: the distance to that is of the order of LOOSE * eps.
        """
        centre = widen(x)
        eps = per_image(self.eps, centre)
        if self.p == math.inf:
            low, high = _box(centre, eps, *self.bounds)
            return lambda x_tilde: round_towards(torch.clamp(widen(x_tilde), low, high), x)
        nearest = _nearest_l1 if self.p == 1 else _nearest_l2 if x.device.type != "cpu" else _nearly_nearest_l2
        return lambda x_tilde: round_towards(nearest(widen(x_tilde), centre, eps, *self.bounds), x)

    def start(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random point of P(x) for every image (B, ...) to start a search from.

        As `sample`, but for p = 2. Nearly all of a ball of many dimensions lies at its surface, and a search that
        begins there ends worse than from within: the distance from x is shrunk by u^8, u uniform in
        [0, 1): mostly close to x, now and then far.
        """
        point = self.sample(x, generator=generator)
        if self.p != 2:
            return point
        centre = widen(x)
        nearer = uniform(per_image(0.0, centre), generator).pow(8)
        return round_towards(torch.lerp(centre, widen(point), nearer).clamp(*self.bounds), x)

    def sample(self, x: Tensor, *, generator: Generator | None = None, where: Tensor | None = None) -> Tensor:
        """A random point of P(x) for every image (B, ...); where: a bool tensor like x, only these pixels move.

        p = inf: uniform in P(x). p = 1, 2: uniform in the ball, then clipped to the range, which keeps it in the
        ball because clipping moves towards x. Random numbers come from `generator` alone if there is one.
        Source for the ball: Barthe et al. 2005, theorem 1.
        """
        centre = widen(x)
        eps = per_image(self.eps, centre)
        if self.p == math.inf:
            low, high = _box(centre, eps, *self.bounds)
            point = low + (high - low) * uniform(centre, generator)
            return self.project(point if where is None else torch.where(where, point, centre), x)
        noise = laplace(centre, generator) if self.p == 1 else normal(centre, generator) / math.sqrt(2)
        if where is not None:
            noise = torch.where(where, noise, 0)
        radial = exponential(eps, generator)
        size = (rows(noise).abs().pow(self.p).sum(1).view(eps.shape) + radial).pow(1 / self.p)
        inside = centre + eps * noise / size
        return round_towards(inside.clamp(*self.bounds), x)

    def contains(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Which x~ lie in P(x), as bool (B,): the closed ball, allowing for rounding.

        x + delta is stored rounded, so a point computed to lie on the surface may come to lie a little outside.
        Allowed is what that rounding can add: half a unit in the last place (doubled, for the subtraction) of each
        changed coordinate, and a few in the norm. Points with NaN are outside.
        """
        check_pair(x_tilde, x)
        z, centre = widen(x_tilde), widen(x)
        ulp = torch.finfo(x_tilde.dtype).eps
        rounding = ulp * torch.maximum(z.abs(), centre.abs()) * (z != centre)
        eps = per_image(self.eps, centre).view(-1)
        allowed = eps * (1 + 100 * torch.finfo(centre.dtype).eps) + norm(rounding, self.p)
        lo, hi = self.bounds
        # A bound may itself have been rounded: 0.1 has no exact binary form.
        in_range = rows((z >= lo - ulp * abs(lo)) & (z <= hi + ulp * abs(hi))).all(1)
        return in_range & (norm(z - centre, self.p) <= allowed)

    def steepest(self, grad: Tensor) -> Tensor:
        """The d with ||d||_p <= 1 that maximises <grad, d>: the unit step of steepest ascent in this norm.

        p = inf: sign(grad). p = 2: grad / ||grad||_2. p = 1: the sign of one largest coordinate, all others zero.
        grad: (B, ...). Returns a tensor like it; a zero gradient has no direction and gives zeros, NaN counts as 0.
        """
        if self.p == math.inf:
            return grad.sign()  # of NaN: 0
        flat = rows(widen(grad).nan_to_num(nan=0.0))
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
        if self.p == math.inf and not isinstance(eta, Tensor):
            return torch.add(x_t, self.steepest(grad), alpha=eta)
        eta = per_image(eta, x_t, "step_size")
        if self.p == 2 and x_t.device.type == "cpu":
            length = norm(grad, 2).view(eta.shape)
            if bool(((length > NORMAL[0]) & (length < NORMAL[1])).all()):  # no NaN, and no square vanishes or overflows
                return torch.addcmul(x_t, grad, eta / length)
        if self.p != 1:
            return torch.addcmul(x_t, self.steepest(grad), eta)
        slope = rows(grad).nan_to_num(nan=0.0)
        room = rows(torch.where(grad > 0, self.bounds[1] - x_t, x_t - self.bounds[0])).clamp_min(0)
        order = slope.abs().argsort(dim=1, descending=True)
        room_ahead = torch.minimum(room.gather(1, order), rows(eta))
        used = room_ahead.cumsum(1) - room_ahead
        length = torch.minimum((rows(eta) - used).clamp_min(0), room_ahead)
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


def _box(x: Tensor, eps: Tensor, lo: float, hi: float) -> tuple[Tensor, Tensor]:
    """For p = inf the ball and the range are one box: its lowest and its highest corner."""
    return (x - eps).clamp_min_(lo), (x + eps).clamp_max_(hi)


def _nearest_linf(z: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float) -> Tensor:
    """The point nearest to z with ||. - x||_inf <= eps and lo <= . <= hi; all (B, ...), eps (B, 1, ...)."""
    return torch.clamp(z, *_box(x, eps, lo, hi))


def _nearest_l2(z: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float) -> Tensor:
    """The point nearest to z with ||. - x||_2 <= eps and lo <= . <= hi; all (B, ...), eps (B, 1, ...)."""
    if z.device.type == "cpu":
        return _newton(z, x, eps, lo, hi)
    return _along(z, x, eps, lo, hi, _shrink_l2)


def _nearest_l1(z: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float) -> Tensor:
    """The point nearest to z with ||. - x||_1 <= eps and lo <= . <= hi; all (B, ...), eps (B, 1, ...)."""
    return _along(z, x, eps, lo, hi, _shrink_l1)


def _along(z: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float, shrink: Shrink) -> Tensor:
    """x plus the shrunk difference: no coordinate of the nearest point lies on the other side of x, or further."""
    delta = z - x
    room = (torch.where(delta > 0, x.new_full((), hi), x.new_full((), lo)) - x).abs()
    length = shrink(rows(delta.abs()), rows(room), rows(eps)).view(delta.shape)
    # An untouched coordinate is taken over as it is: x + (z - x) need not round to z.
    return torch.where(length == delta.abs(), z, x + delta.sign() * length).clamp(lo, hi)


def _nearly_nearest_l2(z: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float) -> Tensor:
    """Like `_nearest_l2`, but to within LOOSE; a fraction of the time, because no coordinate is looked at by itself.

    The nearest point is x + s (z - x), clipped, and its squared norm nearly linear in s^2: known at s = 1 and where s
    would end if nothing were clipped, it gives the s to take. What is then missing, or too much, is mended by moving
    straight towards x. Images for which that is too crude are left to `_newton`.
    """
    whole = z.clamp(lo, hi)
    length = norm(whole - x, 2).view(eps.shape)
    inside = length <= eps
    if bool(inside.all()):
        return whole
    guess = eps / length
    short = norm(torch.lerp(x, z, guess).clamp_(lo, hi).sub_(x), 2).view(eps.shape)
    slope = (length.square() - short.square()) / (1 - guess.square())
    s = (guess.square() + (eps.square() - short.square()) / slope).sqrt()
    delta = torch.lerp(x, z, torch.where(inside, 1, s)).clamp_(lo, hi).sub_(x)
    reached = norm(delta, 2).view(eps.shape)
    nearest = torch.addcmul(x, delta, torch.where(inside | (reached <= eps), 1, eps / reached)).clamp_(lo, hi)
    crude = ~(inside | ((reached - eps).abs() <= LOOSE * eps)).view(-1)
    if bool(crude.any()):
        nearest[crude] = _newton(z[crude], x[crude], eps[crude], lo, hi)
    return nearest


def _newton(z: Tensor, x: Tensor, eps: Tensor, lo: float, hi: float, s: Tensor | None = None, steps: int = 3) -> Tensor:
    """`_shrink_l2` for the CPU, where looking is free: ends as soon as it may, and goes on with the images left.

    The nearest point is x + s (z - x), clipped. While the same coordinates are clipped its squared norm is linear in
    s^2, so that a step from there ends on the surface, which shows. s: (B, 1, ...), None for 1.
    """
    point = z if s is None else torch.lerp(x, z, s)
    nearest = point.clamp(lo, hi)
    delta = nearest - x
    length = norm(delta, 2).view(eps.shape)
    reached = length <= eps if s is None else (length - eps).abs() <= 32 * torch.finfo(z.dtype).eps * eps
    left = ~reached.view(-1)
    if not bool(left.any()):
        return nearest
    rest: slice | Tensor = slice(None) if bool(left.all()) else left  # no copies if it is all of them
    z, x, eps, length = z[rest], x[rest], eps[rest], length[rest]
    if not steps:
        nearest[rest] = _along(z, x, eps, lo, hi, _shrink_l2)
        return nearest
    free = norm(delta[rest] * (point[rest] == nearest[rest]), 2).view(eps.shape).square()
    scale = ((eps.square() - (length.square() - free)) / free).sqrt()
    closer = _newton(z, x, eps, lo, hi, scale if s is None else scale * s[rest], steps - 1)
    if isinstance(rest, slice):
        return closer
    nearest[rest] = closer
    return nearest


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
