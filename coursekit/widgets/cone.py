"""A slope, a height, a safe distance: the cone below the lead, and the circle that it certifies in the plane."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor, nn

from coursekit import models, plots
from coursekit.certify import lipschitz
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall
from coursekit.widgets.explorer import Explorer, Number
from coursekit.widgets.plane import Plane, classes_at, mesh

FARTHEST = 1.5  # nobody looks for the boundary further away than this
FALSE, LUCKY, LIKELY, PROVEN = "false", "lucky", "likely", "proven"


class Nearest(NamedTuple):
    """The boundary as seen from a point: how far it is, and the unit vector (2,) that leads to it."""

    distance: float
    direction: np.ndarray


def cone_explorer(
    model: nn.Module | None = None, x: Tensor | None = None, y: Tensor | None = None, *,
    classes: Sequence[str] | None = None, point: int = 0, slope: float = 20.0,
) -> Explorer:  # fmt: skip
    """A point of the plane, a slope L, and the certificate lead / L: a circle around the point, and the cone behind it.

    model: points (B, 2) in the unit square -> two logits, of layers that `certify.lipschitz` knows; None takes the one
    shipped for the two moons. x: (N, 2) points to choose from, y: (N,) their classes; None takes the moons' test
    points. point, slope: where the controls stand to begin with. The verdict holds L against three things: the nearest
    boundary, by a dense search of all directions up to 1.5 away; the steepest slope seen on a mesh of the square; and
    the constant that is proven. Raises ValueError for a model with another number of classes.
    """
    scene = _Cone(model or models.load("moons_mlp"), x, y, classes)
    low, high = scene.range
    controls = {
        "point": Number("point", point, 0, len(scene.plane.x) - 1, 1),
        "slope": Number("slope L", float(min(max(slope, low), high)), low, high, 0.02, log=True),
    }
    return Explorer(scene.draw, controls, size=(9.4, 5.2), panels=scene.PANELS, scenery=scene.scenery)


@plots.styled
def certified_circles(
    networks: Mapping[str, nn.Module], x: Tensor, y: Tensor, *, classes: Sequence[str] | None = None, most: int = 60
) -> Figure:
    """Networks of the plane side by side, and around points that are right the circle that is certified.

    networks: title -> network of points (B, 2) in the unit square, of layers that `certify.lipschitz` knows. x: (N, 2),
    y: (N,). most: circles are drawn for no more than so many points. Crosses mark points that are wrong.
    """
    count = len(networks)
    figure = Figure(figsize=(4.6 * count, 4.9))
    said = []
    for number, (title, model) in enumerate(networks.items()):
        axes = figure.add_axes((0.02 + number / count, 0.03, 0.96 / count - 0.02, 0.8))
        plane = Plane(model, x, y, classes)
        radii = plots.to_numpy(lipschitz.radius(model, plane.x, y))
        plane.draw(axes, (0, 1), (0, 1), grid=201, size=4)
        plane.name_classes(axes)
        right = radii > 0
        some = np.random.default_rng(0).permutation(len(x))[:most]  # the same ones for every network
        drawn = some[right[some]]
        edges = EllipseCollection(
            2 * radii[drawn], 2 * radii[drawn], np.zeros(len(drawn)), units="xy", offsets=plane.points[drawn],
            transOffset=axes.transData, facecolors="none", edgecolors="black", linewidths=0.6, alpha=0.6,
        )  # fmt: skip
        axes.add_collection(edges, autolim=False)
        axes.plot(*plane.points[~right].T, "x", color="black", markersize=7, markeredgewidth=1.8, linestyle="none")
        numbers = f"{plots.percent(right.mean())} right, median certified radius {np.median(radii):.3f}"
        axes.text(0, 1.13, title, fontsize=13, weight="bold", transform=axes.transAxes)
        axes.text(0, 1.075, numbers, fontsize=10.5, color=plots.GREY, transform=axes.transAxes)
        said.append(f"{title}: {numbers}.")
    figure.set_label(
        f"Decision regions in the plane and {len(x)} points, around those that are right the circles within which "
        f"their class is certified; the others are crossed out. {' '.join(said)}"
    )
    return figure


class _Cone:
    """The picture of `cone_explorer`: the plane with the circle, and a cut through it with the cone."""

    PANELS = (0.02, 0.055, 0.43, 0.765), (0.565, 0.125, 0.42, 0.645)

    def __init__(self, model: nn.Module, x: Tensor | None, y: Tensor | None, classes: Sequence[str] | None) -> None:
        self.model, self.plane = model, Plane(model, x, y, classes)
        plane = self.plane
        constants = lipschitz.pair_constants(self.model, (2,))
        if len(constants) != 2:
            raise ValueError(f"model must have two classes; got {len(constants)}")
        self.proven = float(constants[0, 1])
        self.steepest = self._steepest()
        with torch.no_grad(), evaluating(self.model):
            logits = self.model(plane.x)
        self.leads = plots.to_numpy(logits.gather(1, plane.y[:, None]).squeeze(1) * 2 - logits.sum(1))
        self.right = plots.to_numpy(classes_at(self.model, plane.x) == plane.y).astype(bool)
        self.nearest = lru_cache(maxsize=64)(self._nearest)

    @property
    def range(self) -> tuple[float, float]:
        """Slopes worth trying: from far too small to a little above what is proven."""
        return float(f"{self.steepest / 30:.1g}"), float(f"{2 * self.proven:.1g}")

    def _steepest(self) -> float:
        """The steepest slope of the lead on a mesh of the square."""
        points = mesh((0, 1), (0, 1), 61)[2].to(self.plane.x)
        labels = torch.zeros(len(points), dtype=torch.int64)
        return float(lipschitz.local_slopes(self.model, points, labels, LpBall(0.0, 2), points=1)[:, 1].max())

    def _nearest(self, point: int) -> Nearest:
        """By looking in all directions, then more closely around the best of them."""
        label, found = int(self.plane.y[point]), Nearest(math.inf, np.array([1.0, 0.0]))
        angles, reach = np.linspace(0, 2 * np.pi, 181), (0.0, FARTHEST)
        for _ in range(2):
            ticks = np.linspace(*reach, 301)[1:]
            ways = np.column_stack([np.cos(angles), np.sin(angles)])
            places = self.plane.points[point] + ticks[None, :, None] * ways[:, None]
            other = classes_at(self.model, torch.from_numpy(places.reshape(-1, 2)).to(self.plane.x)) != label
            crossed = plots.to_numpy(other).reshape(len(ways), -1).astype(bool)
            if not crossed.any():
                break
            first = np.where(crossed.any(1), crossed.argmax(1), len(ticks))
            best = int(first.argmin())
            found = Nearest(float(ticks[first[best]]), ways[best])
            step = angles[1] - angles[0]
            angles = angles[best] + np.linspace(-step, step, 41)
            reach = (max(0.0, found.distance - 0.03), found.distance + 0.002)
        return found

    def scenery(self, figure: Figure) -> None:
        """The square with regions and data, and what the cut shows."""
        square, cut = figure.axes
        self.plane.draw(square, (0, 1), (0, 1), grid=200, size=4.5)
        self.plane.name_classes(square)
        cut.axis("off")
        cut.text(0, 1.105, "The lead on the straight way to the boundary ✕", fontsize=10.5, transform=cut.transAxes)
        key = "dashed: slope L    shaded: allowed by L    thick: lead / L"
        cut.text(0, 1.03, key, fontsize=10.5, color=plots.GREY, transform=cut.transAxes)

    def draw(self, figure: Figure, point: int, slope: float) -> str:
        """One redraw; returns the alt text."""
        lead, place = float(self.leads[point]), self.plane.points[point]
        square, cut = figure.axes
        square.axis("off")  # its axis is part of the scenery
        square.plot(*place, "o", color="black", markersize=7)
        if not self.right[point]:
            verdict, why = "Nothing to certify", f"point {point} is misclassified: its certified radius is 0"
            self._write(figure, verdict, why, plots.GREY)
            cut.axis("off")
            return f"{verdict}: {why}."
        radius, nearest = lead / slope, self.nearest(point)
        kind, verdict, why, colour = self._verdict(slope, radius, nearest.distance)
        self._write(figure, verdict, why, colour)
        self._draw_circles(square, place, radius, nearest, colour)
        self._draw_cut(cut, point, slope, nearest, colour)
        below = " The lead dips below the cone." if kind == FALSE else ""
        return (
            f"{verdict}: {why}. Point {point} of class {self.plane.classes[int(self.plane.y[point])]} with a lead of "
            f"{lead:.3g}; with the slope L = {slope:.3g} the circle has the radius {radius:.3g}, the boundary is "
            f"{nearest.distance:.3g} away.{below} The steepest slope seen in the square is {self.steepest:.3g}, proven "
            f"is {self.proven:.3g}."
        )

    def _verdict(self, slope: float, radius: float, distance: float) -> tuple[str, str, str, str]:
        """What the certificate is worth, why, and a colour for it."""
        if radius > distance:
            why = f"the circle of radius {radius:.3g} holds points of the other class, {distance:.3g} away"
            return FALSE, "A false certificate: L is too small", why, plots.VERMILION
        share = f"{100 * radius / distance:.0f} % of the true distance"
        if slope < self.steepest:
            why = f"{share}; but elsewhere slopes of {self.steepest:.3g} were seen, so L is no bound"
            return LUCKY, "True by luck, not by proof", why, plots.PURPLE
        if slope < self.proven:
            why = f"{share}; no slope above {self.steepest:.3g} was seen, but {self.proven:.3g} is what is proven"
            return LIKELY, "True as far as anyone has looked", why, plots.BLUE
        why = f"{share}; the constant proven for this lead, {self.proven:.3g}, is not above L"
        return PROVEN, "Proven", why, plots.GREEN

    @staticmethod
    def _write(figure: Figure, verdict: str, why: str, colour: str) -> None:
        figure.text(0.02, 0.957, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.02, 0.905, why, fontsize=10.5, color=plots.GREY, va="center")

    def _draw_circles(self, axes: Axes, place: np.ndarray, radius: float, nearest: Nearest, colour: str) -> None:
        """The certified disc, and dashed the largest one that would be true."""
        at = (float(place[0]), float(place[1]))
        axes.add_artist(Circle(at, radius, facecolor=(1, 1, 1, 0.35), edgecolor=colour, linewidth=2.4))
        axes.add_artist(Circle(at, nearest.distance, fill=False, edgecolor="black", linestyle="--", linewidth=1.4))
        end = place + nearest.distance * nearest.direction
        axes.plot(*np.stack([place, end]).T, "-", color="black", linewidth=1.2)

    def _draw_cut(self, axes: Axes, point: int, slope: float, nearest: Nearest, colour: str) -> None:
        """The lead along the line to the nearest boundary, and the cone of slope L below and above it."""
        place, lead, label = self.plane.points[point], float(self.leads[point]), int(self.plane.y[point])
        radius = lead / slope
        distance = min(nearest.distance, FARTHEST)
        t = np.linspace(-0.6 * distance, 1.7 * distance, 301)
        points = torch.from_numpy(place + t[:, None] * nearest.direction).to(self.plane.x)
        with torch.no_grad(), evaluating(self.model):
            logits = plots.to_numpy(self.model(points))
        curve = logits[:, label] - logits[:, 1 - label]
        top = 1.25 * max(lead, curve.max())
        bottom = min(-0.45 * top, 1.1 * curve.min())
        axes.set(xlim=(t[0], t[-1]), ylim=(bottom, top), xlabel="distance from x", ylabel="lead")
        axes.fill_between(t, np.maximum(lead - slope * np.abs(t), bottom), np.minimum(lead + slope * np.abs(t), top),
                          color=colour, alpha=0.13, linewidth=0)  # fmt: skip
        axes.plot(t, lead - slope * np.abs(t), "--", color=colour, linewidth=1.8)
        axes.axhline(0, color="black", linewidth=1.0, linestyle="-")
        axes.plot(t, curve, "-", color="black", linewidth=2.4)
        safe = np.clip([-radius, radius], t[0], t[-1])
        axes.plot(safe, [0, 0], "-", color=colour, linewidth=6, solid_capstyle="butt")
        axes.plot(0, lead, "o", color="black", markersize=8)
        axes.plot(nearest.distance, 0, "X", color="white", markeredgecolor="black", markersize=11)
        axes.annotate("x", (0, lead), xytext=(7, 7), textcoords="offset points", weight="bold", fontsize=11)
        axes.axis("on")
