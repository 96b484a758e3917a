"""P(x) as a certificate sees it: a box, and for p = 2 a ball that it may cut into."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coursekit.attacks.common import check_range
from coursekit.perturbations import LpBall, per_image

NORMS = (2, math.inf)


class Interval(NamedTuple):
    """Every value between lower and upper, coordinate by coordinate; both (B, ...)."""

    lower: Tensor
    upper: Tensor

    @property
    def centre(self) -> Tensor:
        """Half way between the ends."""
        return (self.upper + self.lower) / 2

    @property
    def radius(self) -> Tensor:
        """From the centre to either end."""
        return (self.upper - self.lower) / 2

    def intersect(self, other: "Interval") -> "Interval":
        """What lies in both, of two that hold the same value."""
        lower, upper = torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper)
        # Of two that hold one value, rounding may put one end past the other.
        return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))

    def select(self, images: Tensor) -> "Interval":
        """Those of some images, by index."""
        return Interval(self.lower[images], self.upper[images])


class Region(NamedTuple):
    """P(x) around x (B, ...) with radius eps (B, 1, ...): the box, and for p = 2 the ball within it."""

    x: Tensor
    eps: Tensor
    p: float
    box: Interval

    @classmethod
    def of(cls, x: Tensor, threat: LpBall) -> "Region":
        """Raises ValueError or TypeError naming x or threat where these are no images or no such ball."""
        check(x, threat)
        eps = per_image(threat.eps, x)
        # Both ends stay in the range, so that lower <= upper whatever x is: else the radius is below 0.
        box = Interval((x - eps).clamp(*threat.bounds), (x + eps).clamp(*threat.bounds))
        return cls(x, eps, threat.p, box)

    def select(self, images: Tensor) -> "Region":
        """Those of some images, by index."""
        return Region(self.x[images], self.eps[images], self.p, self.box.select(images))

    def least(self, rows: Tensor) -> Tensor:
        """Lower bounds (B, m) of linear functions rows x~ on P(x), rows (B or 1, m, ...): the dual norm of each row.

        Exact for p = inf, a . c - |a| . r. For p = 2 the better of a . x - eps ||a||_2 and of the box.
        """
        a = rows.flatten(2)
        centre, radius = (value.flatten(1)[:, :, None] for value in (self.box.centre, self.box.radius))
        over_box = (a @ centre - a.abs() @ radius).squeeze(2)
        if self.p == math.inf:
            return over_box
        over_ball = (a @ self.x.flatten(1)[:, :, None]).squeeze(2) - self.eps.view(-1, 1) * a.norm(dim=2)
        return torch.maximum(over_box, over_ball)


def check(x: Tensor, threat: LpBall) -> None:
    """Raises unless x are images in the bounds of `threat`, an LpBall with p = 2 or inf."""
    if not isinstance(threat, LpBall) or threat.p not in NORMS:
        got = f"p = {threat.p:g}" if isinstance(threat, LpBall) else type(threat).__name__
        raise ValueError(f"threat must be an LpBall with p = 2 or p = inf; got {got}")
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x must be a floating tensor; got {x.dtype if isinstance(x, Tensor) else type(x).__name__}")
    check_range(x, threat.bounds, "the threat's bounds")
