"""The linear pieces of a small network in a box: the smallest lead of each, and the smallest of all, which is exact."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import nn

from coursekit import plots
from coursekit.attacks import pgd
from coursekit.losses import margin
from coursekit.perturbations import LpBall
from coursekit.widgets.explorer import Explorer, Number

NEURONS = 8
# lead = VALUE . relu(WAY x - PLACE) + START: z_0 - z_1 of a network with two inputs and eight neurons in front of it.
WAY = np.array([[0.73, 0.68], [-0.7, 0.72], [-0.13, 0.99], [-0.4, -0.92], [0.99, 0.13], [-0.48, -0.88], [-0.86, 0.5],
                [-0.8, -0.6]])  # fmt: skip
PLACE = np.array([0.87, 0.02, 0.12, -0.86, 0.34, -0.68, 0.03, -1.1])
VALUE = np.array([-2.0, -6.0, -0.9, 3.6, 1.1, 4.3, -12.4, -0.2])
START = 2.2
FINE = 121  # points of the background along each side
MERGE = 1e-9  # corners closer together than this are one


class Piece(NamedTuple):
    """A part of the box where no neuron switches: its corners in order, (n, 2), and the lead at each, (n,)."""

    corners: np.ndarray
    leads: np.ndarray

    @property
    def least(self) -> float:
        """The smallest lead: in a piece it is linear, so a corner has it."""
        return float(self.leads.min())


def lead(points: np.ndarray) -> np.ndarray:
    """z_0 - z_1 at points (..., 2): above 0 class 0, below 0 class 1."""
    return np.maximum(points @ WAY.T - PLACE, 0) @ VALUE + START


def network() -> nn.Module:
    """The same as a classifier: points (B, 2) -> logits (B, 2), float64."""
    model = nn.Sequential(nn.Linear(2, NEURONS), nn.ReLU(), nn.Linear(NEURONS, 2)).double()
    with torch.no_grad():
        for target, value in zip(model.parameters(), (WAY, -PLACE, [VALUE, 0 * VALUE], [START, 0.0]), strict=True):
            target.copy_(torch.as_tensor(np.asarray(value)))
    return model


def pieces(x: Sequence[float], eps: float) -> list[Piece]:
    """The box of radius eps around x, within the unit square, cut along the kink of each neuron."""
    (left, right), (down, up) = ((max(value - eps, 0.0), min(value + eps, 1.0)) for value in x)
    parts = [np.array([[left, down], [right, down], [right, up], [left, up]])]
    for way, place in zip(WAY, PLACE, strict=True):
        parts = [half for part in parts for half in _cut(part, part @ way - place)]
    return [Piece(part, lead(part)) for part in parts]


def switching(x: Sequence[float], eps: float) -> int:
    """How many neurons can be on and off in the box."""
    low, high = (np.clip(np.asarray(x) + side * eps, 0, 1) for side in (-1, 1))
    least = np.minimum(WAY * low, WAY * high).sum(1) - PLACE
    most = np.maximum(WAY * low, WAY * high).sum(1) - PLACE
    return int(((least < 0) & (most > 0)).sum())


def _cut(part: np.ndarray, height: np.ndarray) -> list[np.ndarray]:
    """A convex polygon (n, 2), cut where the height of its corners, linear in between, is 0: one or two of them."""
    if (height > -MERGE).all() or (height < MERGE).all():
        return [part]
    sides: tuple[list, list] = ([], [])
    for here, there, a, b in zip(part, np.roll(part, -1, axis=0), height, np.roll(height, -1), strict=True):
        for side, sign in zip(sides, (1, -1), strict=True):
            if sign * a >= 0:
                side.append(here)
        if a * b < 0:
            crossing = here + a / (a - b) * (there - here)
            for side in sides:
                side.append(crossing)
    return [np.array(side) for side in sides if len(side) > 2]


def pieces_explorer(*, eps: float = 0.25, x1: float = 0.5, x2: float = 0.5) -> Explorer:
    """A network of two inputs and eight neurons: the linear pieces in the box around x, the smallest lead of each, the
    point that PGD finds, the truth, and the verdict in words.

    eps: radius of the L-inf ball; x1, x2: the point. The arguments say where the controls stand to begin with.
    """
    controls = {
        "eps": Number("eps", eps, 0.01, 0.5, 0.01),
        "x1": Number("x1", x1, 0.0, 1.0, 0.01),
        "x2": Number("x2", x2, 0.0, 1.0, 0.01),
    }
    panels = [(0.02, 0.03, 0.49, 0.83), (0.6, 0.15, 0.385, 0.64)]
    return Explorer(_draw, controls, size=(9.4, 5.4), panels=panels, scenery=_scenery)


def _scenery(figure: Figure) -> None:
    plane, bars = figure.axes
    ticks = np.linspace(0, 1, FINE)
    height = lead(np.stack(np.meshgrid(ticks, ticks), axis=-1))
    plane.contourf(ticks, ticks, height, [-np.inf, 0, np.inf], colors=["#FBE3D0", "#D3E6F3"])
    plane.contour(ticks, ticks, height, [0], colors="black", linewidths=1.6)
    for way, place in zip(WAY, PLACE, strict=True):
        _line(plane, way, place)
    plane.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    plane.grid(False)
    plane.spines[:].set(visible=True, color=plots.GREY, linewidth=0.8)
    bars.set(xlim=(0, 1), ylim=(height.min() - 0.3, height.max() + 0.3), xticks=[])
    bars.spines[:].set_visible(False)
    bars.set_title("smallest lead in each piece", fontsize=11)


def _line(axes: Axes, way: np.ndarray, place: float) -> None:
    """The kink of a neuron, way x = place."""
    along = np.array([-way[1], way[0]])
    ends = place * way / (way @ way) + np.outer([-2, 2], along)
    axes.plot(*ends.T, "-", color=plots.GREY, linewidth=0.8, alpha=0.75)


def _draw(figure: Figure, eps: float, x1: float, x2: float) -> str:
    """One redraw; returns the alt text."""
    plane, bars = figure.axes
    for axes in figure.axes:
        axes.axis("off")  # frames, ticks and the background are part of the scenery
    x = np.array([x1, x2])
    parts = sorted(pieces((x1, x2), eps), key=lambda part: part.least)
    worst = parts[0].corners[parts[0].leads.argmin()]
    found = _attacked(x, eps)
    at_x, at_found = float(lead(x)), float(lead(found))
    verdict, why, colour = _verdict(at_x, at_found, parts[0].least)
    free = switching((x1, x2), eps)
    figure.text(0.02, 0.955, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
    figure.text(0.02, 0.902, why, fontsize=10.5, color=plots.GREY, va="center")
    for part in parts:
        wrong = part.least < 0
        inside = to_rgba(plots.VERMILION, 0.3) if wrong else (1, 1, 1, 0.45)
        plane.add_patch(Polygon(part.corners, facecolor=inside, edgecolor="black", linewidth=0.9))
    low, high = np.clip(x - eps, 0, 1), np.clip(x + eps, 0, 1)
    plane.add_patch(Rectangle(tuple(low), *(high - low), fill=False, linewidth=2.4, linestyle="--"))
    plane.add_patch(Polygon(parts[0].corners, fill=False, edgecolor=plots.PURPLE, linewidth=2.8))
    plane.plot(*found, "s", color=plots.VERMILION, markeredgecolor="black", markersize=15, clip_on=False)
    plane.plot(*worst, "*", color=plots.PURPLE, markeredgecolor="black", markersize=15, clip_on=False)
    plane.plot(*x, "o", color="black", markersize=8, clip_on=False)
    _draw_bars(bars, [part.least for part in parts])
    count = f"{len(parts)} piece{'s' * (len(parts) != 1)} in the box"
    text = f"{free} of {NEURONS} neurons can switch: 2^{free} = {2**free} patterns,\n{count}"
    figure.text(0.6, 0.09, text, fontsize=10.5, va="center")
    key = "red: reaches below 0; purple outline: the lowest of all"
    figure.text(0.6, 0.025, key, fontsize=9.5, color=plots.GREY, va="center")
    figure.text(0.985, 0.902, "● x   ■ PGD   ★ the truth", fontsize=10.5, color=plots.GREY, va="center", ha="right")
    return (
        f"{verdict}: {why}. The unit square with the regions of two classes and the kinks of eight neurons as straight "
        f"lines, which cut the box of radius {eps:g} around x = ({x1:g}, {x2:g}) into {len(parts)} pieces; "
        f"{sum(part.least < 0 for part in parts)} of them reach into the other class. {free} of {NEURONS} neurons can "
        f"be on and off in the box. The lead is {at_x:.2f} at x and {at_found:.2f} at the point that PGD finds; the "
        f"smallest of all pieces is {parts[0].least:.2f}, at ({worst[0]:.2f}, {worst[1]:.2f})."
    )


def _draw_bars(axes: Axes, least: list[float]) -> None:
    """The smallest lead of each piece, the lowest first."""
    colours = [plots.VERMILION if value < 0 else plots.SKY for value in least]
    width = 1 / max(len(least), 8)
    places = width * (np.arange(len(least)) + 0.5)
    flat = 0.012 * np.ptp(axes.get_ylim())  # a lead near 0 is still a bar to be seen
    heights = [np.copysign(max(abs(value), flat), value) for value in least]
    bars = axes.bar(places, heights, 0.8 * width, color=colours, edgecolor="black", linewidth=0.5)
    bars[0].set(edgecolor=plots.PURPLE, linewidth=2.8)
    axes.axhline(0, color="black", linewidth=1.2)


def _attacked(x: np.ndarray, eps: float) -> np.ndarray:
    """Where PGD on the margin ends, from x."""
    point = torch.as_tensor(x)[None]
    threat = LpBall(eps, torch.inf)
    return pgd(network(), point, torch.tensor([0]), threat, steps=20, random_start=False, loss=margin)[0].numpy()


def _verdict(at_x: float, attacked: float, truth: float) -> tuple[str, str, str]:
    """The outcome, its reason, and a colour for it."""
    if at_x <= 0:
        return "Nothing to certify", "x itself is not classified as class 0", plots.GREY
    if truth > 0:
        why = f"the smallest lead of all pieces is {truth:.2f}, above 0: no attack will ever find anything"
        return "Robust, proven", why, plots.GREEN
    if attacked < 0:
        return "Counterexample, and PGD finds one", f"the smallest lead is {truth:.2f}, below 0", plots.VERMILION
    why = f"PGD stops at a lead of {attacked:.2f}; the star has {truth:.2f}"
    return "Counterexample, and PGD misses it", why, plots.PURPLE
