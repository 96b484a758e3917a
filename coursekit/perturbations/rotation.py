"""Small rotations and shifts: they keep what a picture means, and are far away in every L_p norm."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from coursekit.perturbations.common import check_pair, norm, rows, widen
from coursekit.perturbations.lp_ball import LpBall

PADDINGS = ("zeros", "border", "reflection")
UNIT = LpBall(1.0, math.inf, bounds=(-1.0, 1.0))
# The search for coordinates: a grid of at most so many points an axis, then Gauss-Newton from its best points.
GRID, STARTS, NEWTON_STEPS = 17, 4, 15
DIFFERENCE = 0.01  # of a pixel, for the slopes in Gauss-Newton


@dataclass(frozen=True)
class Rotation:
    """P(x) = {x turned about its centre by at most `angle` degrees, then shifted by at most `shift` pixels each way}.

    angle: 0 to 180. shift: >= 0, right or left and up or down. bounds: (lo, hi) of a pixel. padding: what is seen
    from outside the picture: "zeros", its "border" pixels or its "reflection". Images are (B, C, H, W) of any size
    and floating dtype; between pixels they are interpolated bilinearly, half precision in float32.
    Raises ValueError or TypeError for anything else.

    Attacks step in three coordinates z (B, 3), each from -1 to 1: the share of `angle` (counter-clockwise), of
    `shift` to the right, of `shift` down. `render` is differentiable in z, and z = 0 is x itself, bit for bit.

    The set is no ball and not convex, so unlike that of `LpBall` and `Masked` its `project` is a search and not
    exact, and so is `contains`, which asks how far the search has come.
    Source: lecture, slide "On 'small' Perturbations"; Engstrom et al. 2019, section 3.
    """

    angle: float
    shift: float = 0.0
    bounds: tuple[float, float] = (0.0, 1.0)
    padding: str = "zeros"

    def __post_init__(self) -> None:
        check_number("angle", self.angle, 180)
        check_number("shift", self.shift)
        LpBall(0.0, 2, self.bounds)  # says what bounds must be
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(map(repr, PADDINGS))}; got {self.padding!r}")
        if self.padding == "zeros" and not self.bounds[0] <= 0 <= self.bounds[1]:
            raise ValueError(f"bounds must include 0 where padding is 'zeros'; got {self.bounds!r}")

    @property
    def search(self) -> LpBall:
        """The coordinates: three numbers from -1 to 1."""
        return UNIT

    @property
    def free(self) -> tuple[bool, bool, bool]:
        """Which coordinates move anything: none of those whose maximum is 0."""
        return self.angle > 0, self.shift > 0, self.shift > 0

    def origin(self, x: Tensor) -> Tensor:
        """The coordinates of x itself: zeros (B, 3) in float32, or float64 if x is."""
        check_images(x)
        return widen(x).new_zeros(len(x), 3)

    def render(self, z: Tensor, x: Tensor) -> Tensor:
        """x (B, C, H, W) turned and shifted as z (B, 3) says; like x, differentiable in z and x."""
        check_images(x)
        pixels = widen(x)
        turned = warp(pixels, self._to_source(z), self.padding)
        still = (z == 0).all(1).view(-1, 1, 1, 1)
        # Interpolation rounds: out of the range, and where nothing turns. Put right in the value, not in the slope.
        exact = torch.where(still, pixels, turned.clamp(*self.bounds))
        value = exact.detach() + (turned - turned.detach())
        return value.to(x.dtype)

    def coordinates(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """The z (B, 3) at which x looks most like x~ in the Euclidean distance: `render` backwards.

        A search: the distance is computed on a grid about two pixels wide (coarser if the set is large), then damped
        Gauss-Newton steps go on from the best points of it. Where the distance has many valleys, as in fine
        texture, it may end in one that is not the deepest.
        """
        check_pair(x_tilde, x)
        check_images(x)
        x_tilde, x = widen(x_tilde), widen(x)
        starts = self._best_of_grid(x_tilde, x)
        count = starts.shape[1]
        x_tilde, x = x_tilde.repeat_interleave(count, 0), x.repeat_interleave(count, 0)
        z, distance = self._gauss_newton(starts.flatten(0, 1), x_tilde, x)
        best = distance.view(-1, count).argmin(1).view(-1, 1, 1).expand(-1, 1, 3)
        return z.view(-1, count, 3).gather(1, best).squeeze(1)

    def project(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """The image of P(x) nearest to x~ (B, C, H, W), as `coordinates` finds it: a search, not exact."""
        return self.render(self.coordinates(x_tilde, x), x)

    def contains(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Which x~ lie in P(x), bool (B,): those with an image of the set less than a thousandth away.

        Measured per pixel (root mean square) and in units of the image range; half precision may be off by its own
        rounding in addition. Approximate both ways: an image so near counts as inside, and one inside does not if
        the search of `coordinates` misses it. Points with NaN are outside.
        """
        nearest = widen(self.project(x_tilde, x))
        per_pixel = norm(widen(x_tilde) - nearest, 2) / max(x.shape[1:].numel(), 1) ** 0.5
        lo, hi = self.bounds
        scale = hi - lo if math.isfinite(hi - lo) else 1.0
        slack = torch.finfo(x.dtype).eps
        in_range = rows((x_tilde >= lo - slack * abs(lo)) & (x_tilde <= hi + slack * abs(hi))).all(1)
        return in_range & (per_pixel <= (1e-3 + slack) * scale)

    def sample(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """x at a random angle and shift, each uniform, for every image; random numbers from `generator` if given."""
        return self.render(self.search.sample(self.origin(x), generator=generator), x)

    def select(self, images: slice | Tensor) -> "Rotation":
        """The set for some images of the batch: the same, since angle and shift are those of all."""
        return self

    def _to_source(self, z: Tensor) -> Tensor:
        """Where a pixel of the turned image lies in x, (B, 3, 3): shift it back, then turn it back."""
        turn, right, down = (z * z.new_tensor([math.radians(self.angle), self.shift, self.shift])).unbind(1)
        return turn_matrix(turn) @ shift_matrix(-right, -down)

    def _best_of_grid(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """The points of a grid, about two pixels apart, at which x is nearest to x~: (B, starts, 3)."""
        counts = [min(GRID, 2 * math.ceil(pixels / 2) + 1) for pixels in self._farthest(x)]
        axes = [torch.linspace(-1, 1, n, dtype=x.dtype) if n > 1 else torch.zeros(1, dtype=x.dtype) for n in counts]
        grid = torch.cartesian_prod(*axes).to(x.device)
        distance = torch.stack([norm(self.render(z.expand(len(x), 3), x) - x_tilde, 2) for z in grid], 1)
        return grid[distance.topk(min(STARTS, len(grid)), dim=1, largest=False).indices]

    def _gauss_newton(self, z: Tensor, x_tilde: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Levenberg and Marquardt's steps from z (B, 3) downhill in the distance; returns z and the distance (B,)."""
        moves = torch.diag(z.new_tensor([DIFFERENCE / max(pixels, DIFFERENCE) for pixels in self._farthest(x)]))
        identity, damping = torch.eye(3).to(z), torch.full_like(z[:, :1, None], 1e-3)
        image = self.render(z, x)
        distance = norm(image - x_tilde, 2)
        for _ in range(NEWTON_STEPS):
            slopes = torch.stack([rows(self.render(z + move, x) - image) / move.sum() for move in moves], 2)
            square, downhill = slopes.mT @ slopes, slopes.mT @ rows(x_tilde - image)[..., None]
            scale = square.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1) + torch.finfo(z.dtype).tiny
            step = torch.linalg.solve(square / scale + damping * identity, downhill / scale)
            tried = (z + step.squeeze(2)).clamp(-1, 1)
            tried_image = self.render(tried, x)
            tried_distance = norm(tried_image - x_tilde, 2)
            better = tried_distance < distance
            z = torch.where(better.view(-1, 1), tried, z)
            image = torch.where(better.view(-1, 1, 1, 1), tried_image, image)
            distance = torch.where(better, tried_distance, distance)
            damping = (damping * torch.where(better, 0.1, 10.0).to(z).view(-1, 1, 1)).clamp(1e-7, 1e7)
        return z, distance

    def _farthest(self, x: Tensor) -> tuple[float, float, float]:
        """By how many pixels each coordinate moves an image at most, about."""
        return math.radians(self.angle) * max(x.shape[2:]) / 2, self.shift, self.shift


def warp(x: Tensor, to_source: Tensor, padding: str) -> Tensor:
    """x seen through a plane projective map: the pixel at p shows what x has at to_source @ p.

    x: (B, C, H, W) in float32 or float64. to_source: (B, 3, 3) on (right, down, 1) in pixels from the centre of the
    image. padding: what is outside x. Bilinear, differentiable in both. Returns a tensor like x.
    """
    height, width = x.shape[2:]
    half = x.new_tensor([width / 2, height / 2])
    right, down = (torch.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2 for n in (width, height))
    pixels = torch.stack([*torch.meshgrid(right, down, indexing="xy"), x.new_ones(height, width)], 2)
    source = pixels.view(1, -1, 3) @ to_source.mT
    place = source[..., :2] / source[..., 2:] / half  # -1 to 1 from edge to edge, as grid_sample counts
    return F.grid_sample(
        x, place.view(-1, height, width, 2), mode="bilinear", padding_mode=padding, align_corners=False
    )


def turn_matrix(angle: Tensor) -> Tensor:
    """The map (B, 3, 3) that turns by angle (B,), in radians, clockwise as seen, since the second axis points down."""
    cos, sin, none, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, none, sin, cos, none, none, none, one], 1).view(-1, 3, 3)


def shift_matrix(right: Tensor, down: Tensor) -> Tensor:
    """The map (B, 3, 3) that moves by (right, down), each (B,), in pixels."""
    none, one = torch.zeros_like(right), torch.ones_like(right)
    return torch.stack([one, none, right, none, one, down, none, none, one], 1).view(-1, 3, 3)


def check_number(name: str, value: float, largest: float = math.inf) -> None:
    """Raises unless value is a number from 0 to the largest allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number; got {type(value).__name__}")
    if not (0 <= value <= largest and math.isfinite(value)):
        allowed = f"from 0 to {largest:g}" if math.isfinite(largest) else "finite and >= 0"
        raise ValueError(f"{name} must be {allowed}; got {value}")


def check_images(x: Tensor) -> None:
    """Raises unless x has the shape of images in the plane."""
    if x.ndim != 4:
        raise ValueError(f"x must be images (B, C, H, W) to be turned; got shape {tuple(x.shape)}")
