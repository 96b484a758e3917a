"""Interval bounds: every layer takes the box of what its neurons can be to the box of what it can make of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coursekit.certify.layers import offset, pull_back, spread
from coursekit.certify.relaxations.region import Interval, Region


def outputs(layers: Sequence[nn.Module], region: Region) -> Interval:
    """The box of what the layers make of P(x). Source: Gowal et al. 2018, eqs. 4 to 6; Mirman et al. 2018."""
    return (boxes(layers, region) or [region.box])[-1]


def boxes(layers: Sequence[nn.Module], region: Region) -> list[Interval]:
    """The box behind each layer."""
    found, box, front = [], region.box, 0
    if region.p != math.inf:
        front = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU)), len(layers))
    for i, layer in enumerate(layers):
        box = through(layer, box)
        if 0 < i + 1 == front:  # up to here all is linear, and a linear function's range over a ball is known
            box = box.intersect(_over_ball(layers[:front], region, box))
        found.append(box)
    return found


def through(layer: nn.Module, box: Interval) -> Interval:
    """The box of layer(h) over the box of h. W h + b: the centre goes through the layer, the radius through |W|."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        centre, radius = layer(box.centre), spread(layer, box.radius)
        return Interval(centre - radius, centre + radius)
    return Interval(layer(box.lower), layer(box.upper))  # nowhere falling: ends go to ends


def differences(last: nn.Linear, box: Interval, y: Tensor) -> Tensor:
    """Upper bounds (B, K) of z_i - z_y over the box of what the last layer is given; 0 at i = y.

    The difference of two logits is one more linear function, bounded at once: tighter than upper_i - lower_y.
    Source: Gowal et al. 2018, section 3 (elision of the last layer).
    """
    rows = last.weight - last.weight[y][:, None]  # (B, K, features)
    worst = (rows @ box.centre[..., None] + rows.abs() @ box.radius[..., None]).squeeze(-1)
    return worst if last.bias is None else worst + last.bias - last.bias[y][:, None]


def least(last: nn.Linear, box: Interval, rows: Tensor) -> Tensor:
    """Lower bounds (B, m) of rows z over the box of what the last layer makes z of; rows: (m, K)."""
    weight = rows @ last.weight
    lowest = box.centre @ weight.T - box.radius @ weight.abs().T
    return lowest if last.bias is None else lowest + rows @ last.bias


def _over_ball(front: Sequence[nn.Module], region: Region, like: Interval) -> Interval:
    """The range of each output of affine layers, by the dual norm of its row: W x + b -+ eps ||w||_2."""
    h, offsets = region.x, []
    for layer in front:
        offsets.append((layer, h, offset(layer, h)))
        h = layer(h)
    size = like.lower.shape[1:].numel()
    rows = torch.eye(size, dtype=h.dtype, device=h.device).view(size, *like.lower.shape[1:])
    constant = torch.zeros(size, dtype=h.dtype, device=h.device)
    for layer, before, bias in reversed(offsets):
        constant = constant + (rows * bias).flatten(1).sum(1)
        rows = pull_back(layer, rows, before.shape[1:])
    ends = region.least(rows[None]) + constant, -region.least(-rows[None]) + constant
    return Interval(*(end.view_as(like.lower) for end in ends))
