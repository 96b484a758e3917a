"""What the perturbation sets share: their interface, norms, and rounding."""

from collections.abc import Callable
from typing import Protocol, Self

import torch
from torch import Generator, Tensor


class PerturbationSet(Protocol):
    """P(x): what an attacker may turn x into. Attacks, training and certificates know no more of a set than this.

    An attack does not step from image to image but in the set's coordinates: pixels for a ball, an angle and a shift
    for a rotation. `search` is the ball of coordinates around `origin(x)`, the coordinates of x itself; `render`
    turns coordinates into images, differentiably. All take batches (B, ...).
    """

    @property
    def bounds(self) -> tuple[float, float]:
        """The image range (lo, hi)."""

    @property
    def search(self) -> "Steps":
        """The set of coordinates, to step and project in."""

    def origin(self, x: Tensor) -> Tensor:
        """The coordinates of x itself, (B, ...), in float32 or float64."""

    def render(self, z: Tensor, x: Tensor) -> Tensor:
        """The images (B, ...) like x at the coordinates z around x."""

    def project(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """The image of P(x) nearest to x_tilde, (B, ...)."""

    def sample(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random image of P(x) for every x, (B, ...)."""

    def contains(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Which x_tilde lie in P(x), bool (B,)."""

    def select(self, images: slice | Tensor) -> Self:
        """The set for some images of the batch (slice, indices or mask)."""


class Steps(Protocol):
    """Coordinates that an attack can step in: `LpBall`, or a part of one."""

    def projector(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """x_tilde -> the point nearest to it, or nearly so, around x (B, ...)."""

    def start(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random point for every x, (B, ...), to start a search from."""

    def sample(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random point for every x, (B, ...)."""

    def step(self, x_t: Tensor, grad: Tensor, eta: float | Tensor) -> Tensor:
        """Uphill from x_t by a step of length eta, not yet projected."""

    def default_step(self, steps: int) -> float | Tensor:
        """The step size if the attack is given none: a number, or one per image (B,)."""

    def select(self, images: slice | Tensor) -> Self:
        """The coordinates of some images of the batch."""


def per_image(value: float | Tensor, x: Tensor, name: str = "eps") -> Tensor:
    """A number, or one number per image (B,), in the shape, dtype and device that broadcast against x (B, ...)."""
    shape = (len(x),) + (1,) * (x.ndim - 1)
    if not isinstance(value, Tensor):
        return torch.full(shape, value, dtype=x.dtype, device=x.device)
    if value.ndim and value.shape != (len(x),):
        raise ValueError(f"{name} must be one number or one per image, ({len(x)},); got shape {tuple(value.shape)}")
    return value.to(x).expand(len(x)).view(shape)


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


def rows(x: Tensor) -> Tensor:
    """(B, ...) as (B, n); unlike flatten also for an empty batch and for one number per image."""
    return x.reshape(len(x), x.shape[1:].numel())


def norm(delta: Tensor, p: float) -> Tensor:
    """||delta||_p of each image, (B,)."""
    return torch.linalg.vector_norm(rows(delta), ord=p, dim=1)


def broad(mask: Tensor, like: Tensor) -> Tensor:
    """One value per image (B,) in the shape that broadcasts against (B, ...)."""
    return mask.view(-1, *(1,) * (like.ndim - 1))


def choose(images: Tensor, this: Tensor, that: Tensor) -> Tensor:
    """For each image, by a mask (B,), this or that, both (B, ...)."""
    return torch.where(broad(images, this), this, that)


def check_pair(x_tilde: Tensor, x: Tensor) -> None:
    """Raises unless x~ and x are floating tensors of one shape."""
    for name, value in (("x_tilde", x_tilde), ("x", x)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor; got {type(value).__name__}")
        if not value.is_floating_point():
            raise TypeError(f"{name} must be a floating tensor; got {value.dtype}")
    if x_tilde.shape != x.shape:
        raise ValueError(f"x_tilde must have the shape of x, {tuple(x.shape)}; got {tuple(x_tilde.shape)}")
