"""A ball of which the attacker reaches only some pixels: glasses, a sticker, a single pixel."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from coursekit.perturbations.common import check_pair, widen
from coursekit.perturbations.lp_ball import LpBall, Projector


@dataclass(frozen=True)
class Masked:
    """P(x) = {x~ in ball(x) : x~_i = x_i outside the mask}.

    ball: the LpBall; LpBall(1., math.inf) lets the pixels of the mask take any value. mask: bool, True where pixels
    may change; the shape of one image, or anything that broadcasts to it, or, with per_image, (B, ...): a mask of
    its own for every image of the batch. Raises ValueError or TypeError for anything else.

    The projection is exact: the set lies in the subspace in which the other pixels are those of x, and the distance
    from a point splits into the part outside the mask, which no choice changes, and the part inside.
    Source: Sharif et al. 2016, section 4.2 (glasses); Eykholt et al. 2018, eq. 2 (stickers).
    """

    ball: LpBall
    mask: Tensor
    per_image: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.ball, LpBall):
            raise TypeError(f"ball must be an LpBall; got {type(self.ball).__name__}")
        if not isinstance(self.mask, Tensor) or self.mask.dtype != torch.bool:
            got = self.mask.dtype if isinstance(self.mask, Tensor) else type(self.mask).__name__
            raise TypeError(f"mask must be a bool tensor; got {got}")

    @property
    def bounds(self) -> tuple[float, float]:
        """The image range (lo, hi)."""
        return self.ball.bounds

    @property
    def search(self) -> "Masked":
        """Coordinates are pixels: the set itself."""
        return self

    def origin(self, x: Tensor) -> Tensor:
        """The pixels of x, (B, ...)."""
        return self.ball.origin(x)

    def render(self, z: Tensor, x: Tensor) -> Tensor:
        """The pixels z as an image like x."""
        return self.ball.render(z, x)

    def project(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """The point of P(x) nearest to x~; exact. x_tilde, x: (B, ...)."""
        check_pair(x_tilde, x)
        return self.ball.project(torch.where(self._mask(x), widen(x_tilde), widen(x)), x)

    def projector(self, x: Tensor) -> Projector:
        """x~ -> Pi(x~) around x (B, ...), for a loop."""
        nearest, mask, pixels = self.ball.projector(x), self._mask(x), widen(x)
        return lambda x_tilde: nearest(torch.where(mask, widen(x_tilde), pixels))

    def sample(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random point of P(x) for every image (B, ...), distributed over the mask as LpBall.sample over all."""
        return self.ball.sample(x, generator=generator, where=self._mask(x))

    def start(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A random point of P(x) for every image (B, ...) to start a search from; see LpBall.start."""
        return torch.where(self._mask(x), self.ball.start(x, generator=generator), x)

    def contains(self, x_tilde: Tensor, x: Tensor) -> Tensor:
        """Which x~ lie in P(x), bool (B,): in the ball, and equal to x outside the mask."""
        untouched = ((x_tilde == x) | self._mask(x)).reshape(len(x), x.shape[1:].numel()).all(1)
        return self.ball.contains(x_tilde, x) & untouched

    def steepest(self, grad: Tensor) -> Tensor:
        """The d with ||d||_p <= 1, zero outside the mask, that maximises <grad, d>; like grad (B, ...)."""
        return self.ball.steepest(self._inside(grad))

    def step(self, x_t: Tensor, grad: Tensor, eta: float | Tensor) -> Tensor:
        """x_t + eta * steepest(grad), not yet projected; for p = 1 see LpBall.step."""
        return self.ball.step(x_t, self._inside(grad), eta)

    def default_step(self, steps: int) -> float | Tensor:
        """As that of the ball."""
        return self.ball.default_step(steps)

    def select(self, images: slice | Tensor) -> "Masked":
        """The set for some images of the batch (slice, indices or mask)."""
        mask = self.mask[images] if self.per_image else self.mask
        return Masked(self.ball.select(images), mask, self.per_image)

    def _inside(self, grad: Tensor) -> Tensor:
        return torch.where(self._mask(grad), grad, 0)

    def _mask(self, x: Tensor) -> Tensor:
        """The mask where x is, after checking that it fits."""
        try:
            fits = torch.broadcast_shapes(self.mask.shape, x.shape) == x.shape
        except RuntimeError:
            fits = False
        # A mask of one image must not be taken for one of a batch: `select` would then leave it as it is.
        of_batch = self.mask.ndim == x.ndim and (self.per_image or len(self.mask) > 1)
        if not fits or of_batch != self.per_image or (self.per_image and len(self.mask) != len(x)):
            allowed = tuple(x.shape if self.per_image else x.shape[1:])
            raise ValueError(f"mask must fit {allowed}; got shape {tuple(self.mask.shape)}")
        return self.mask.to(x.device)
