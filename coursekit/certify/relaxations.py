"""Convex relaxations: bounds on a network's logits that hold for every point of P(x)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.attacks.common import check_range
from coursekit.losses import check_labels
from coursekit.models.architectures import Normalize
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall, per_image

METHODS = ("interval",)
Affine = Callable[[Tensor], Tensor]


class Interval(NamedTuple):
    """Every value between lower and upper, coordinate by coordinate; both (B, ...)."""

    lower: Tensor
    upper: Tensor


def bounds(model: nn.Module, x: Tensor, threat: LpBall, method: str = "interval") -> Interval:
    """lower, upper (B, K) with lower <= f(x~) <= upper for every x~ in P(x).

    model: a Sequential of Linear, Conv2d, ReLU, Flatten and the course's Normalize, used in eval mode. x: (B, ...)
    floating, in threat.bounds. threat: LpBall with p = inf, eps one number or one per image. method: "interval": every
    layer takes the box of what its neurons can be to the box of what it can make of them. Differentiable in the
    model's parameters. Sound up to floating-point rounding. Raises ValueError naming layers or methods it does not
    know, ValueError or TypeError for an x that is not in the range.
    Source: Gowal et al. 2018, eqs. 4 to 6; Mirman et al. 2018.
    """
    _check(x, threat, method)
    layers = _layers(model)
    with evaluating(model):
        return _through(layers, _box(x, threat))


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
    _check(x, threat, method)
    layers = _layers(model)
    last = layers[-1]
    if not isinstance(last, nn.Linear):
        raise ValueError(f"model must end with a Linear layer; got {type(last).__name__}")
    check_labels("y", y, batch=len(x), classes=last.out_features)
    with evaluating(model):
        lower, upper = _through(layers[:-1], _box(x, threat))
        centre, radius = (upper + lower) / 2, (upper - lower) / 2
        difference = last.weight - last.weight[y][:, None]  # (B, K, features)
        worst = (difference @ centre[..., None] + difference.abs() @ radius[..., None]).squeeze(-1)
        return worst if last.bias is None else worst + last.bias - last.bias[y][:, None]


def _through(layers: Sequence[nn.Module], box: Interval) -> Interval:
    for layer in layers:
        box = _RULES[type(layer)](layer, box)
    return box


def _linear(layer: nn.Linear, box: Interval) -> Interval:
    return _affine(box, layer, lambda radius: F.linear(radius, layer.weight.abs()))


def _convolution(layer: nn.Conv2d, box: Interval) -> Interval:
    if layer.padding_mode != "zeros":
        raise ValueError(f"Conv2d's padding_mode must be 'zeros'; got {layer.padding_mode!r}")

    def spread(radius: Tensor) -> Tensor:
        return F.conv2d(
            radius, layer.weight.abs(), None, layer.stride, layer.padding, layer.dilation, layer.groups
        )  # fmt: skip

    return _affine(box, layer, spread)


def _affine(box: Interval, layer: Affine, spread: Affine) -> Interval:
    """The box of W h + b over the box of h: the centre goes through the layer, the radius through |W|."""
    centre, radius = layer((box.upper + box.lower) / 2), spread((box.upper - box.lower) / 2)
    return Interval(centre - radius, centre + radius)


def _monotone(layer: Affine, box: Interval) -> Interval:
    """A layer that is nowhere falling takes ends to ends."""
    return Interval(layer(box.lower), layer(box.upper))


_RULES: dict[type, Callable[..., Interval]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.ReLU: _monotone,
    nn.Flatten: _monotone,
    Normalize: _monotone,
}


def _box(x: Tensor, threat: LpBall) -> Interval:
    """P(x) for p = inf. Both ends stay in the range, so that lower <= upper whatever x is: else the radius is < 0."""
    eps = per_image(threat.eps, x)
    return Interval((x - eps).clamp(*threat.bounds), (x + eps).clamp(*threat.bounds))


def _layers(model: nn.Module) -> list[nn.Module]:
    """The layers in order. Raises ValueError naming the first that is not supported."""
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"model must be a torch.nn.Sequential; got {type(model).__name__}")
    layers = [inner for layer in model for inner in (_layers(layer) if isinstance(layer, nn.Sequential) else [layer])]
    for layer in layers:
        if type(layer) not in _RULES:
            known = ", ".join(rule.__name__ for rule in _RULES)
            raise ValueError(f"model must consist of {known}; got {type(layer).__name__}")
    return layers


def _check(x: Tensor, threat: LpBall, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
    if not isinstance(threat, LpBall) or threat.p != math.inf:
        got = f"p = {threat.p:g}" if isinstance(threat, LpBall) else type(threat).__name__
        raise ValueError(f"threat must be an LpBall with p = inf; got {got}")
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x must be a floating tensor; got {x.dtype if isinstance(x, Tensor) else type(x).__name__}")
    check_range(x, threat.bounds, "the threat's bounds")
