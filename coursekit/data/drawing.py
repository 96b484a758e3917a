"""Flat shapes as distances: d(p) < 0 inside, 0 on the edge, > 0 outside, so that any size is drawn without steps.

p: points (..., 2), first to the right, then down. What can be said of a shape is arithmetic: `d - r` is the shape
grown by r with round corners, `d + r` shrunk, `minimum(d, e)` both, `abs(d) - r` its outline.
"""

import functools
import math
from itertools import pairwise

import torch
from torch import Tensor

Point = tuple[float, float]


def grid(size: int) -> Tensor:
    """The centres of size x size pixels that fill [-1, 1]^2, (size, size, 2)."""
    line = (2 * torch.arange(size) + 1) / size - 1
    down, right = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([right, down], dim=-1)


def covered(d: Tensor) -> Tensor:
    """How much of each pixel of a `grid` a shape covers, in [0, 1]; d: its distances (size, size)."""
    return (0.5 - d * d.shape[-1] / 2).clamp(0, 1)


def union(*shapes: Tensor) -> Tensor:
    """All the shapes together."""
    return functools.reduce(torch.minimum, shapes)


def disc(p: Tensor, centre: Point, radius: float) -> Tensor:
    """A filled circle."""
    return (p - p.new_tensor(centre)).norm(dim=-1) - radius


def line(p: Tensor, *points: Point) -> Tensor:
    """An infinitely thin line from point to point: take the width off it."""
    return torch.stack([_segment(p, a, b) for a, b in pairwise(points)]).amin(0)


def arc(p: Tensor, centre: Point, radius: float, start: float, end: float) -> Tensor:
    """An infinitely thin arc from angle start clockwise to angle end, in degrees: 0 is right, 90 is down."""
    q = p - p.new_tensor(centre)
    beyond = (torch.atan2(q[..., 1], q[..., 0]).rad2deg() - start) % 360
    on_circle = (q.norm(dim=-1) - radius).abs()
    ends = [
        (q - radius * q.new_tensor([math.cos(math.radians(angle)), math.sin(math.radians(angle))])).norm(dim=-1)
        for angle in (start, end)
    ]
    return torch.where(beyond <= end - start, on_circle, union(*ends))


def polygon(p: Tensor, *corners: Point) -> Tensor:
    """A filled polygon, convex or not."""
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    crossings = sum(_crosses_right_of(p, a, b).int() for a, b in edges)
    inside = torch.as_tensor(crossings) % 2 == 1
    return torch.where(inside, -1, 1) * line(p, *corners, corners[0])


def regular(p: Tensor, sides: int, radius: float, turn: float = 0.0) -> Tensor:
    """A regular polygon around the origin, its corners at `radius`, the first at angle `turn` (degrees)."""
    angles = [math.radians(turn + 360 * k / sides) for k in range(sides)]
    return polygon(p, *((radius * math.cos(angle), radius * math.sin(angle)) for angle in angles))


def _segment(p: Tensor, a: Point, b: Point) -> Tensor:
    start, way = p.new_tensor(a), p.new_tensor(b) - p.new_tensor(a)
    along = ((p - start) @ way / (way @ way)).clamp(0, 1)
    return (p - start - along[..., None] * way).norm(dim=-1)


def _crosses_right_of(p: Tensor, a: Point, b: Point) -> Tensor:
    """Whether the edge from a to b meets the ray from p to the right: an odd number of edges do if p is inside."""
    u, v = p.unbind(-1)
    if a[1] == b[1]:
        return torch.zeros_like(u, dtype=torch.bool)
    between = (a[1] > v) != (b[1] > v)
    return between & (u < a[0] + (v - a[1]) * (b[0] - a[0]) / (b[1] - a[1]))
