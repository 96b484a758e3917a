"""Convex relaxations: bounds on a network's logits that hold for every point of P(x).

Each method knows less than the network does, and so never says too much: "interval" forgets how neurons depend on each
other, "crown" keeps one linear function of them, "lp" keeps all linear constraints at once. Each is at least as tight
as the one before, and takes longer.
"""

import math

import torch
from torch import Tensor, nn

from coursekit.certify.layers import layers as layers_of
from coursekit.certify.relaxations import interval, lp
from coursekit.certify.relaxations.crown import Walk
from coursekit.certify.relaxations.region import Interval, Region
from coursekit.losses import check_labels
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall

__all__ = ["METHODS", "Interval", "bounds", "certified", "least", "worst_case_logits"]

METHODS = ("interval", "crown", "lp")


def bounds(model: nn.Module, x: Tensor, threat: LpBall, method: str = "interval") -> Interval:
    """lower, upper (B, K) with lower <= f(x~) <= upper for every x~ in P(x).

    model: a Sequential of Linear, Conv2d, ReLU, Flatten and the course's Normalize, used in eval mode. x: (B, ...)
    floating, in threat.bounds. threat: LpBall with p = 2 or inf, eps one number or one per image. method: "interval",
    "crown" (see `crown`) or "lp" (see `lp`; on the CPU, image by image). The first two are differentiable in the
    model's parameters. Sound up to floating-point rounding. Raises ValueError naming layers or methods it does not
    know, ValueError or TypeError for an x that is not in the range.
    """
    _check_method(method)
    layers = layers_of(model)
    region = Region.of(x, threat)
    with evaluating(model):
        if method == "interval":
            return interval.outputs(layers, region)
        walk = Walk(layers, region)
        found = walk.after.intersect(walk.outputs(len(layers), walk.after))
        return found if method == "crown" else lp.outputs(walk, found)


def certified(model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, method: str = "interval") -> Tensor:
    """Which images no point of P(x) can make the model get wrong, proven, bool (B,).

    y: (B,) int64. Arguments and errors otherwise as for `bounds`. False means not proven, not that there is an attack.
    """
    with torch.no_grad():
        worst = worst_case_logits(model, x, y, threat, method)
    # argmax of NaN is a class like any other, but a bound that is NaN bounds nothing.
    return (worst.argmax(dim=1) == y) & ~worst.isnan().any(dim=1)


def worst_case_logits(model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, method: str = "interval") -> Tensor:
    """Upper bounds (B, K) of f(x~)_i - f(x~)_y over P(x), 0 at i = y: logits whose loss no x~ exceeds.

    Tighter than upper_i - lower_y: the last layer is linear, so the difference of two logits is one more linear
    function, bounded at once. Arguments and errors as for `bounds`. Source: Gowal et al. 2018, section 3 (elision).
    """
    _check_method(method)
    layers = layers_of(model)
    region = Region.of(x, threat)
    last = _last_of(layers)
    check_labels("y", y, batch=len(x), classes=last.out_features)
    with evaluating(model):
        if method == "interval" and _has_box(layers, region):
            return interval.differences(last, interval.outputs(layers[:-1], region), y)
        walk = Walk(layers, region)
        worst = walk.differences(y)
        return lp.differences(walk, y, worst) if method == "lp" else worst


def least(model: nn.Module, x: Tensor, rows: Tensor, threat: LpBall, method: str = "interval") -> Tensor:
    """Lower bounds (B, m) of the linear functions rows f(x~) of the logits over P(x); of -rows, minus upper bounds.

    rows: (m, K). Each row is put together with the last layer, so it is tighter than the same function of `bounds`.
    With rows in many directions: a polytope that holds all logits of P(x). Arguments and errors otherwise as for
    `worst_case_logits`.
    """
    _check_method(method)
    layers = layers_of(model)
    region = Region.of(x, threat)
    last = _last_of(layers)
    if rows.ndim != 2 or rows.shape[1] != last.out_features:
        raise ValueError(f"rows must be (m, {last.out_features}); got {tuple(rows.shape)}")
    with evaluating(model):
        if method == "interval" and _has_box(layers, region):
            return interval.least(last, interval.outputs(layers[:-1], region), rows)
        walk = Walk(layers, region)
        found = torch.maximum(walk.least(rows[None], len(layers)), interval.least(last, walk.before[-1], rows))
        return lp.least(walk, rows, found) if method == "lp" else found


def _last_of(layers: list[nn.Module]) -> nn.Linear:
    last = layers[-1] if layers else None
    if not isinstance(last, nn.Linear):
        raise ValueError(f"model must end with a Linear layer; got {type(last).__name__}")
    return last


def _has_box(layers: list[nn.Module], region: Region) -> bool:
    """Whether a box is what is known in front of the last layer: for p = 2 and one linear layer it is a ball."""
    return region.p == math.inf or any(isinstance(layer, nn.ReLU) for layer in layers)


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
