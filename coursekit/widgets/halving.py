"""Bisection between two points of different labels: a pair that no classifier can keep apart."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from coursekit import models, plots
from coursekit.attacks import opposite_ends
from coursekit.widgets.ball import NORMS, ball_outline
from coursekit.widgets.explorer import Choice, Explorer, Number
from coursekit.widgets.plane import CLASS, MARKS, REGION, mesh

Labels = Callable[[Tensor], Tensor]  # points (N, 2) -> labels (N,)
FINEST, MOST = 1e-4, 14
ENDS = torch.tensor([[0.12, 0.2], [0.9, 0.78]], dtype=torch.float64)


def halving_explorer(*, kind: str = "wild", halvings: int = 3, eps: float = 0.02, p: float = 2) -> Explorer:
    """Bisection in the plane, halving by halving, for four classifiers, one of them wild: the pair and the verdict.

    kind: "half-plane", "network" (that of the two moons), "checkerboard" or "wild", a label for each little field by
    lot. halvings: how many are shown; eps, p: the open ball that the pair must fit into. The arguments say where the
    controls stand to begin with.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    controls: dict[str, Number | Choice] = {
        "kind": Choice("classifier", kind, {name: name for name in KINDS}),
        "halvings": Number("halvings", halvings, 0, MOST, 1),
        "eps": Number("eps", eps, FINEST, 0.5, 0.1, log=True),
        "p": Choice("norm p", p, NORMS),
    }
    panels = [(0.02, 0.03, 0.455, 0.822), (0.535, 0.03, 0.455, 0.822)]
    return Explorer(_draw, controls, size=(9.4, 5.2), panels=panels, scenery=_scenery)


def _half_plane(points: Tensor) -> Tensor:
    return (points @ torch.tensor([1.0, 0.6], dtype=torch.float64) > 0.93).long()


def _checkerboard(points: Tensor) -> Tensor:
    return ((points / 0.18).floor().sum(1) % 2).long()


def _moons(points: Tensor) -> Tensor:
    with torch.no_grad():
        return models.load("moons_mlp")(points.float()).argmax(1)


def _wild(points: Tensor) -> Tensor:
    """A label for each field of side 1/40 by lot: the same for the same field."""
    column, row = (points * 40).floor().long().T
    return (((column * 73_856_093) ^ (row * 19_349_663)) % 1009 * 7919 % 1013) % 2


KINDS: dict[str, Labels] = {"half-plane": _half_plane, "network": _moons, "checkerboard": _checkerboard, "wild": _wild}


@lru_cache
def path(kind: str) -> tuple[int, list[tuple[np.ndarray, np.ndarray]]]:
    """The label of a, and the pairs after 0, 1, ... halvings, the first of each with that label, the second without."""
    labels = KINDS[kind]
    a, b = ENDS
    label = int(labels(a[None]))
    if int(labels(b[None])) == label:  # another point close by
        ring = b + 0.05 * torch.from_numpy(ball_outline(2, 60))
        b = ring[labels(ring) != label][0]
    pairs = opposite_ends(lambda x: int(labels(x[None])), a, b, eps=FINEST / 2, p=1)
    return label, [(plots.to_numpy(first), plots.to_numpy(second)) for first, second in pairs]


@lru_cache(maxsize=256)
def _regions(kind: str, across: tuple[float, float], up: tuple[float, float], grid: int) -> np.ndarray:
    """The labels on a grid as colours, (grid, grid, 3)."""
    colours = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in REGION[:2]], dtype=np.uint8)
    return colours[KINDS[kind](mesh(across, up, grid)[2]).numpy().reshape(grid, grid)]


def _scenery(figure: Figure) -> None:
    for axes in figure.axes:
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=True, color=plots.GREY, linewidth=0.8)


def _draw(figure: Figure, kind: str, halvings: int, eps: float, p: float) -> str:
    """One redraw; returns the alt text."""
    label, pairs = path(kind)
    distances = [float(np.linalg.norm(first - second, ord=p)) for first, second in pairs]
    needed = next(i for i, distance in enumerate(distances) if distance < eps)
    verdict, why, colour = _verdict(halvings, needed, distances[halvings], eps)
    figure.text(0.02, 0.955, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
    figure.text(0.02, 0.902, why, fontsize=10.5, color=plots.GREY, va="center")
    overview, close = figure.axes
    first, second = pairs[halvings]
    apart = float(np.abs(first - second).max())
    half = min(
        max(0.75 * apart, 0.5 * apart + 1.1 * eps), 3 * apart, 0.5
    )  # the ball, as long as it is not all there is
    middle = (first + second) / 2
    across, up = ((float(value) - half, float(value) + half) for value in middle)
    _backdrop(overview, kind, (0.0, 1.0), (0.0, 1.0))
    _draw_way(overview, pairs[: halvings + 1], label)
    _backdrop(close, kind, across, up)
    _draw_pair(close, first, second, label, eps, p)
    close.text(0.02, 0.03, f"from near: {2 * half:.2g} wide", fontsize=10.5, transform=close.transAxes,
               bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 2})  # fmt: skip
    overview.add_artist(Polygon(_square(middle, half), fill=False, edgecolor="black", linewidth=1.2))
    norm = next(name for name, value in NORMS.items() if value == p).replace("∞", "infinity")
    return (
        f"{verdict}: {why}. The unit square with the labels of the {kind} classifier, the straight way between two "
        f"points of different labels, and beside it the present pair from near with the open L-{norm} ball of radius "
        f"{eps:g} around one of them. After {halvings} halvings the two are {distances[halvings]:.3g} apart."
    )


def _verdict(halvings: int, needed: int, distance: float, eps: float) -> tuple[str, str, str]:
    """The outcome, its reason, and a colour for it."""
    takes = f"it takes {needed} halving{'s' * (needed != 1)}"
    if distance < eps:
        why = f"different labels, {distance:.3g} apart, less than eps = {eps:g}; {takes}"
        return "Found: neither of the two points is robust", why, plots.VERMILION
    why = f"the ends are {distance:.3g} apart, not less than eps = {eps:g}; {takes}"
    return f"After {halvings} halving{'s' * (halvings != 1)}: still too far apart", why, plots.BLUE


def _backdrop(axes: Axes, kind: str, across: tuple[float, float], up: tuple[float, float]) -> None:
    axes.axis("off")  # its frame is part of the scenery
    image = _regions(kind, across, up, 200)
    axes.imshow(image, origin="lower", extent=(*across, *up), interpolation="nearest", aspect="auto")
    axes.set(xlim=across, ylim=up)


def _mark(axes: Axes, place: np.ndarray, label: int, name: str, size: float, away: tuple[float, float]) -> None:
    """A point with the mark and colour of its label, and its name."""
    axes.plot(*place, MARKS[label], color=CLASS[label], markeredgecolor="black", markersize=size)
    axes.annotate(
        name,
        (place[0], place[1]),
        xytext=away,
        textcoords="offset points",
        fontsize=13,
        weight="bold",
        ha="center",
        va="center",
    )


def _draw_way(axes: Axes, pairs: list[tuple[np.ndarray, np.ndarray]], label: int) -> None:
    """The two points, and the middles that were asked about, the first of them numbered."""
    (a, b), (first, second) = pairs[0], pairs[-1]
    axes.plot(*np.stack([a, b]).T, "-", color=plots.GREY, linewidth=1.2)
    axes.plot(*np.stack([first, second]).T, "-", color="black", linewidth=3)
    for number, (left, right) in enumerate(pairs[:-1], start=1):
        middle = (left + right) / 2
        axes.plot(*middle, "o", color="white", markeredgecolor="black", markersize=6)
        if number <= 3:
            axes.annotate(
                str(number),
                (middle[0], middle[1]),
                xytext=(5, -12),
                textcoords="offset points",
                fontsize=10,
                weight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
                zorder=6,
            )
    _mark(axes, a, label, "a", 10, (-11, -9))
    _mark(axes, b, 1 - label, "b", 10, (11, 9))


def _draw_pair(axes: Axes, first: np.ndarray, second: np.ndarray, label: int, eps: float, p: float) -> None:
    outline = first + eps * ball_outline(p)
    axes.add_artist(Polygon(outline, facecolor=(1, 1, 1, 0.45), edgecolor="black", linestyle="--", linewidth=1.8))
    axes.plot(*np.stack([first, second]).T, "-", color="black", linewidth=2)
    _mark(axes, first, label, "x", 12, (-15, -9))
    _mark(axes, second, 1 - label, "x̃", 12, (15, 9))


def _square(middle: np.ndarray, half: float) -> np.ndarray:
    return middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
