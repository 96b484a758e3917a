"""Which perturbation sets can be trained against, and how a checkpoint names them."""

import dataclasses
from typing import Any

from torch import Tensor

from coursekit.attacks.common import check_range
from coursekit.perturbations import LpBall, Masked, PerturbationSet
from coursekit.training.loop import check_data
from coursekit.training.progress import fingerprint


def check_threat(threat: PerturbationSet, x: Tensor, y: Tensor) -> None:
    """Raises unless threat is one set for all images, and x (N, ...) and y are images of its range and their labels."""
    if not hasattr(threat, "project"):
        raise TypeError(f"threat must be a perturbation set such as LpBall(0.1, math.inf); got {type(threat).__name__}")
    ball = threat.ball if isinstance(threat, Masked) else threat
    if isinstance(ball, LpBall) and isinstance(ball.eps, Tensor) and ball.eps.ndim:
        raise ValueError(
            f"threat must have one radius for all images, because batches are shuffled; got {len(ball.eps)} radii"
        )
    if isinstance(threat, Masked) and threat.per_image:
        raise ValueError(
            "threat must have one mask for all images, because batches are shuffled; got a Masked with per_image=True"
        )
    check_data("x", "y", x, y)
    check_range(x, threat.bounds, "the threat's bounds")


def in_words(threat: Any) -> str:
    """The class of a set with its fields, tensors by their fingerprint: the same words for the same set."""
    if isinstance(threat, Tensor):
        return fingerprint(threat)
    if dataclasses.is_dataclass(threat):
        fields = [f"{field.name}={in_words(getattr(threat, field.name))}" for field in dataclasses.fields(threat)]
        return f"{type(threat).__name__}({', '.join(fields)})"
    # Of other objects not the repr: it may hold an address, which is another one the next time.
    return repr(threat) if isinstance(threat, int | float | str | tuple) else type(threat).__name__
