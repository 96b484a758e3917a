"""Randomised smoothing in the plane: the noise cloud of a point, its votes, and the circle that they certify."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy import special, stats
from torch import Tensor

from coursekit import models, plots
from coursekit.certify.smoothing import SmoothedClassifier, lower_bound, radius
from coursekit.widgets.explorer import Choice, Explorer, Number
from coursekit.widgets.plane import CLASS, MARKS, REGION, Plane, classes_at, mesh

LOW, HIGH = -0.25, 1.25  # what is seen of the plane: the noise does not stop at the unit square
REACH, CELLS = 2.5, 520  # how far outside of it the smoothed probabilities look, in how many cells along each axis
FAR = 6  # in units of sigma, beyond which there is no noise worth counting
N0, MOST, DOTS, AROUND = 100, 10_000, 400, 48
SPACING, SIZE = 0.1, 0.022  # of the islands
WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.0}


def smoothing_explorer(
    *, base: str = "network", sigma: float = 0.12, n: int = 1000, alpha: float = 0.001, point: int = 30, draw: int = 0
) -> Explorer:
    """A point of the plane, its noise cloud, the votes, and the circle in which the smoothed classifier is constant.

    base: the base classifier, "network" (that of the two moons) or "with islands", the same with small islands of the
    other class all over, which nobody would call robust. sigma, n, alpha: of the noise, the votes and the risk. point:
    which of the test points; draw: the seed of the noise. The arguments say where the controls stand to begin with. The
    dashed line is the boundary of the smoothed classifier, computed without any drawing of lots: where the circle does
    not cross it, the certificate is true; where it does, the draw was unlucky, and the verdict says so.
    """
    if base not in BASES:
        raise ValueError(f"base must be one of {', '.join(BASES)}; got {base!r}")
    controls: dict[str, Number | Choice] = {
        "base": Choice("base f", base, {name: name for name in BASES}, width="16em"),
        "sigma": Number("sigma", float(sigma), 0.02, 0.5, 0.01),
        "n": Number("votes n", float(n), 10.0, float(MOST), 0.01, log=True),
        "alpha": Choice("alpha", alpha, {f"{value:g}": value for value in (0.1, 0.01, 0.001, 1e-6)}),
        "point": Number("point", point, 0, 199, 1),
        "draw": Number("draw", draw, 0, 50, 1),
    }
    for name in BASES:  # what takes long is done before anybody moves a control
        smoothed_map(name, sigma)
        _picture(name)
    scene = _Scene(Plane())
    return Explorer(scene.draw, controls, size=(9.4, 5.3), panels=scene.PANELS, scenery=scene.scenery)


def islands(x: Tensor) -> Tensor:
    """Which points (N, 2) lie on an island: small discs, one in each field of a lattice, 15 % of all."""
    field = (x / SPACING).floor()
    column, row = field.unbind(1)
    shift = torch.stack([(12.9898 * column + 78.233 * row).sin(), (39.346 * column + 11.135 * row).sin()], dim=1)
    centre = (field + 0.5 + 0.27 * shift) * SPACING
    return torch.linalg.vector_norm(x - centre, dim=1) < SIZE


def with_islands(x: Tensor) -> Tensor:
    """The network of the two moons, but for the islands, where it says the other class: (N, 2) -> logits (N, 2)."""
    logits = _network()(x)
    return torch.where(islands(x)[:, None], logits.flip(1), logits)


@lru_cache
def _network() -> torch.nn.Module:
    return models.load("moons_mlp")


BASES: dict[str, Callable[[Tensor], Tensor]] = {"network": lambda x: _network()(x), "with islands": with_islands}


@lru_cache
def _labels(base: str, low: float, high: float, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the cells of a square, (grid,), and the class of f in each, (grid, grid), rows upwards."""
    edges = np.linspace(low, high, grid + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    ends = (float(middles[0]), float(middles[-1]))
    _, _, points = mesh(ends, ends, grid)
    return middles, classes_at(BASES[base], points.float()).numpy().reshape(grid, grid)


@lru_cache
def _picture(base: str) -> np.ndarray:
    """The regions of f as colours, (grid, grid, 3), in whole numbers: they are drawn faster."""
    _, labels = _labels(base, LOW, HIGH, 300)
    return (255 * np.array([to_rgb(colour) for colour in REGION[:2]])).round().astype(np.uint8)[labels]


@lru_cache(maxsize=128)
def smoothed_map(base: str, sigma: float, grid: int = 61) -> tuple[np.ndarray, np.ndarray]:
    """P[f(z + e) = 1] on a grid over what is seen: ticks (grid,), probabilities (grid, grid), rows upwards."""
    ticks = np.linspace(LOW, HIGH, grid)
    shares, near = _shares(sigma, ticks)
    return ticks, shares @ _cells(base)[near, near] @ shares.T


def smoothed_at(base: str, sigma: float, points: np.ndarray) -> np.ndarray:
    """P[f(z + e) = 1] at points (N, 2), (N,): no lots are drawn, so here is what votes only estimate."""
    (across, columns), (up, rows) = (_shares(sigma, places) for places in points.T)
    return ((up @ _cells(base)[rows, columns]) * across).sum(axis=1)


def _shares(sigma: float, places: np.ndarray) -> tuple[np.ndarray, slice]:
    """How much of the noise around each place (N,) of a line falls into each cell near by, (N, cells); and which cells
    these are."""
    edges = np.linspace(LOW - REACH, HIGH + REACH, CELLS + 1)
    first, last = np.searchsorted(edges, (places.min() - FAR * sigma, places.max() + FAR * sigma))
    near = slice(max(int(first) - 1, 0), min(int(last), CELLS))
    ends = np.concatenate([[-np.inf], edges[near][1:], [np.inf]])  # the outermost take what is beyond
    return np.diff(special.ndtr((ends - places[:, None]) / sigma), axis=1), near


@lru_cache
def _cells(base: str) -> np.ndarray:
    """The class of f in each cell of the plane, (CELLS, CELLS), rows upwards, as numbers to multiply with."""
    _, labels = _labels(base, LOW - REACH, HIGH + REACH, CELLS)
    return labels.astype(np.float64)


class _Scene:
    """The picture of `smoothing_explorer`: what stays the same from redraw to redraw, and how to draw one."""

    PANELS = (0.025, 0.045, 0.455, 0.807), (0.575, 0.55, 0.385, 0.24), (0.575, 0.105, 0.385, 0.30)

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.names = plane.classes

    def scenery(self, figure: Figure) -> None:
        """The key to the panels, and their axes."""
        seen, share, normal = figure.axes
        for axes in (seen, share, normal):
            axes.grid(False)
        seen.set(xlim=(LOW, HIGH), ylim=(LOW, HIGH), xticks=[], yticks=[])
        seen.spines[:].set_visible(False)
        figure.text(0.575, 0.80, "votes of the noisy copies", fontsize=11.5, weight="bold")
        figure.text(0.575, 0.425, "radius = σ · quantile of the bound", fontsize=11.5, weight="bold")
        share.set(xlim=(0, 1), ylim=(1.62, -0.62), yticks=[], xticks=[0, 0.5, 1])
        share.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        normal.set(xlim=(-4.2, 4.2), ylim=(0, 0.5), yticks=[], xlabel="noise along a line, in units of σ")

    def draw(self, figure: Figure, base: str, sigma: float, n: float, alpha: float, point: int, draw: int) -> str:
        """One redraw; returns the alt text."""
        f, votes = BASES[base], round(n)
        x = self.plane.x[point : point + 1]
        smoothed, generator = SmoothedClassifier(f, sigma), torch.Generator().manual_seed(draw)
        # CERTIFY, step by step, for its copies are to be seen
        first, copies = (smoothed.noisy(x.expand(count, 2), generator=generator) for count in (N0, votes))
        label, said = int(classes_at(f, first).bincount(minlength=2).argmax()), classes_at(f, copies)
        right = int((said == label).sum())
        bound = lower_bound(right, votes, alpha)
        far, claim = radius(bound, sigma).item(), bound.item()
        place = plots.to_numpy(x[0])

        seen, share, normal = figure.axes
        for axes in figure.axes:
            axes.axis("off")  # what there is of it is part of the scenery
        self._plane(seen, base, sigma)
        dots = plots.to_numpy(copies[:DOTS])
        for class_ in (0, 1):
            these = dots[said[:DOTS].numpy() == class_]
            seen.plot(*these.T, MARKS[class_], color=CLASS[class_], markersize=3.2, markeredgewidth=0, alpha=0.75)
        seen.plot(*place, "o", color="black", markersize=7)
        shown = "all copies are drawn" if votes <= DOTS else f"{DOTS} of {votes:,} copies are drawn"
        seen.text(LOW + 0.02, LOW + 0.02, shown, fontsize=9, color=plots.GREY, bbox=WHITE, zorder=0.8)
        if far:
            seen.add_artist(
                Circle((float(place[0]), float(place[1])), far, fill=False, edgecolor="black", linewidth=2.4)
            )
        self._votes(share, said, votes, label, claim)
        self._normal(normal, claim)
        name = self.names[label]
        why = f"{right:,} of {votes:,} votes for {name}, so at least {100 * claim:.1f} % (risk {alpha:g})"
        if far:
            disc = _disc(x, far)
            verdict, colour = f"Certified: {name} within {far:.3f} of x", plots.GREEN
            if ((smoothed_at(base, sigma, plots.to_numpy(disc[-2 * AROUND :])) > 0.5) != label).any():
                verdict, colour = f"A false certificate: not {name} all over the circle", plots.VERMILION
                why += "; an unlucky draw"
            elif bool((classes_at(f, disc) != label).any()):
                why += "; f itself says otherwise at points in it, g at none"
            else:
                why += "; f agrees in it, too"
        else:
            verdict, colour = "g abstains: no majority is proven", plots.GREY
        figure.text(0.025, 0.955, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.025, 0.903, why, fontsize=10.5, color=plots.GREY, va="center")
        truth = abs(1 - label - float(smoothed_at(base, sigma, place[None])[0]))
        return (
            f"{verdict}. {why}. Point {point} of class {self.names[int(self.plane.y[point])]} at ({place[0]:.2f}, "
            f"{place[1]:.2f}), base f: {base}, sigma = {sigma:g}, draw {draw}. In truth {100 * truth:.1f} % of all its "
            f"noisy copies are {name}. The dashed line is the boundary of the smoothed classifier."
        )

    def _plane(self, axes: Axes, base: str, sigma: float) -> None:
        axes.imshow(
            _picture(base), extent=(LOW, HIGH, LOW, HIGH), origin="lower", aspect="auto", interpolation="nearest"
        )
        ticks, one = smoothed_map(base, sigma)
        if one.min() < 0.5 < one.max():
            axes.contour(ticks, ticks, one, [0.5], colors="black", linewidths=2, linestyles="--")
        axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=plots.GREY, linestyle="-", linewidth=1)
        axes.text(0.01, 1.015, "pixels in [0, 1]", fontsize=9, color=plots.GREY, bbox=WHITE, zorder=0.8)

    def _votes(self, axes: Axes, said: Tensor, n: int, label: int, bound: float) -> None:
        for class_ in (0, 1):
            part = float((said == class_).sum()) / n
            axes.barh(class_, part, color=CLASS[class_], alpha=0.8 if class_ == label else 0.4, height=0.4)
            axes.plot([0.5, 0.5], [class_ - 0.25, class_ + 0.25], color="black", linestyle=":", linewidth=1.4)
            axes.text(0.008, class_ - 0.27, f"{self.names[class_]}: {100 * part:.1f} %", fontsize=10)
        axes.plot([bound, bound], [label - 0.2, label + 0.26], color="black", linewidth=3, linestyle="-")
        side, beside = ("right", -0.015) if bound > 0.35 else ("left", 0.015)
        told = f"at least {100 * bound:.1f} %"  # below the bar, whose colour may be dark
        axes.text(bound + beside, label + 0.27, told, ha=side, va="top", weight="bold", fontsize=10)

    def _normal(self, axes: Axes, bound: float) -> None:
        z = np.linspace(-4.2, 4.2, 300)
        density, quantile = stats.norm.pdf(z), float(stats.norm.ppf(min(max(bound, 1e-5), 1 - 1e-9)))
        axes.plot(z, density, color="black", linestyle="-", linewidth=1.6)
        axes.fill_between(z, density, where=list(z <= quantile), color=plots.SKY, alpha=0.5, linewidth=0)
        axes.axvline(0, color=plots.GREY, linestyle=":", linewidth=1.2)
        axes.axvline(quantile, color="black", linestyle="-", linewidth=2)
        side, beside = ("right", -0.12) if quantile > 2.6 or quantile < 0 else ("left", 0.12)
        axes.text(quantile + beside, 0.49, f"{quantile:.2f} σ", va="top", ha=side, weight="bold", fontsize=10.5)
        if bound > 0.5:
            axes.annotate("", (quantile, 0.06), (0, 0.06), arrowprops={"arrowstyle": "<|-|>", "color": "black"})


def _disc(x: Tensor, far: float, rings: int = 14, points: int = AROUND) -> Tensor:
    """Points of the disc of radius `far` around x (1, 2), (N, 2)."""
    angle = torch.linspace(0, math.tau, points + 1)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    return (x + far * torch.linspace(0, 1, rings)[:, None, None] * circle).reshape(-1, 2)
