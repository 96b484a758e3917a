"""Distance against being fooled, in the plane: what the weight lambda of Carlini and Wagner's penalty does."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from coursekit import plots
from coursekit.attacks import closest, penalty_path
from coursekit.losses import cw_margin
from coursekit.models.state import Classifier, evaluating
from coursekit.widgets.explorer import Explorer, Number
from coursekit.widgets.plane import Plane, classes_at, mesh

LOWEST, HIGHEST = 3e-4, 1.0  # lambda; the margin of a network in the unit square falls by ten or so within a tenth
LAMBDAS = torch.logspace(float(np.log10(LOWEST)), float(np.log10(HIGHEST)), 43, dtype=torch.float64)
CLOSE = 1.1  # times the true distance counts as close


class Descent(NamedTuple):
    """One point's descents with N lambdas: path (steps + 1, N, 2); of its end the distance to x and the margin, (N,);
    the closest point on its way that fools, (N, 2), and its distance (N,), inf where none does."""

    path: np.ndarray
    end: np.ndarray
    margin: np.ndarray
    nearest: np.ndarray
    found: np.ndarray


def tradeoff_explorer(
    model: Classifier | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    *,
    classes: Sequence[str] | None = None,
    lam: float = 0.002,
    steps: int = 30,
    point: int = 0,
) -> Explorer:
    """min ||x~ - x||^2 + lambda L(x~, y) in the plane: the objective's level lines, the descent, and every lambda.

    model: points (B, 2) in the unit square -> logits; None takes the one shipped for the two moons. x: (N, 2) points
    to choose from, y: (N,) their classes; None takes the moons' test points. The other arguments say where the
    controls stand to begin with. The star is the true nearest point of another class, by a dense search.
    """
    scene = _Tradeoff(Plane(model, x, y, classes))
    controls = {
        "lam": Number("λ", lam, LOWEST, HIGHEST, 0.05, log=True),
        "steps": Number("steps", steps, 1, 60, 1),
        "point": Number("point", point, 0, len(scene.plane.x) - 1, 1),
    }
    return Explorer(scene.draw, controls, size=(9.4, 5.3), panels=scene.PANELS, scenery=scene.scenery)


def descents(model: Classifier, x: Tensor, y: Tensor, lam: Tensor, *, steps: int) -> Descent:
    """The descent of `attacks.penalty_path` from one point with each of N lambdas. x: (1, 2), y: (1,), lam: (N,)."""
    many, labels = x.repeat(len(lam), 1), y.repeat(len(lam))
    path = penalty_path(model, many, labels, lam, steps=steps)
    nearest, fooled = closest(model, many, labels, path)
    with torch.no_grad(), evaluating(model):
        margin = cw_margin(model(path[-1]), labels)
    away, found = (torch.linalg.vector_norm(points - x, dim=1) for points in (path[-1], nearest))
    found = found.where(fooled, torch.inf)
    return Descent(*(plots.to_numpy(part) for part in (path, away, margin, nearest, found)))


def nearest_other(model: Classifier, x: Tensor, y: Tensor, *, grid: int = 201) -> np.ndarray | None:
    """The point of the unit square nearest to x that the model takes for another class, (2,), or None.

    x: (1, 2), y: (1,). A search of grid x grid points, then twice a finer one around the best: on a picture's scale
    that is the truth.
    """
    best: np.ndarray | None = None
    across, up = (0.0, 1.0), (0.0, 1.0)
    for _ in range(3):
        width = (across[1] - across[0]) / (grid - 1)
        points = mesh(across, up, grid)[2].clamp(0, 1).to(x)
        wrong = points[classes_at(model, points) != y]
        if not len(wrong):
            return best
        best = plots.to_numpy(wrong[torch.linalg.vector_norm(wrong - x, dim=1).argmin()])
        across, up = ((float(middle) - 1.5 * width, float(middle) + 1.5 * width) for middle in best)
        grid = 61
    return best


class _Tradeoff:
    """The picture of `tradeoff_explorer`."""

    PANELS = (0.02, 0.035, 0.455, 0.806), (0.585, 0.47, 0.395, 0.29), (0.585, 0.105, 0.395, 0.25)
    GRID = 120

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        # What moves with lambda alone need not be worked out anew.
        self.curve = lru_cache(maxsize=64)(self._curve)
        self.nearest = lru_cache(maxsize=512)(lambda point: nearest_other(plane.model, *self._at(point)))
        self.first, self.second, self.mesh = mesh((0, 1), (0, 1), self.GRID)
        self.loss = lru_cache(self._loss)

    def _at(self, point: int) -> tuple[Tensor, Tensor]:
        return self.plane.x[point : point + 1], self.plane.y[point : point + 1]

    def _curve(self, point: int, steps: int) -> Descent:
        return descents(self.plane.model, *self._at(point), LAMBDAS, steps=steps)

    def _loss(self, label: int) -> Tensor:
        """The margin loss of a class on the mesh, (GRID * GRID,)."""
        with torch.no_grad(), evaluating(self.plane.model):
            return cw_margin(self.plane.model(self.mesh.to(self.plane.x)), torch.full((len(self.mesh),), label))

    def scenery(self, figure: Figure) -> None:
        """The whole square with the model's regions and the data, and the axes of the curves."""
        square, distance, margin = figure.axes
        self.plane.draw(square, (0, 1), (0, 1), grid=200, size=4.5)
        self.plane.name_classes(square)
        with torch.no_grad(), evaluating(self.plane.model):
            top = max(1.0, float(cw_margin(self.plane.model(self.plane.x), self.plane.y).max()))
        distance.set(xscale="log", yscale="log", xlim=(LOWEST, HIGHEST), ylim=(0.002, 1.6))
        distance.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        distance.tick_params(labelbottom=False)
        margin.set(xscale="log", xlim=(LOWEST, HIGHEST), ylim=(-0.05 * top, 1.05 * top), xlabel="λ (log scale)")
        said = (
            (distance, 1.2, "distance from x (log scale)", "black"),
            (distance, 1.04, "■ where the descent ends", plots.BLUE),
            (margin, 1.05, "margin L where it ends", plots.GREEN),
        )
        for axes, height, text, colour in said:
            axes.text(0, height, text, fontsize=10.5, color=plots.ink(colour), transform=axes.transAxes)
        distance.text(
            0.52, 1.04, "✖ closest that fools", fontsize=10.5, color=plots.ink(plots.VERMILION),
            transform=distance.transAxes,
        )  # fmt: skip

    def draw(self, figure: Figure, lam: float, steps: int, point: int) -> str:
        """One redraw; returns the alt text."""
        x, y = self._at(point)
        here = descents(self.plane.model, x, y, torch.tensor([lam], dtype=torch.float64), steps=steps)
        star = self.nearest(point)
        verdict, why, colour = self._verdict(here, star, int(y), point)
        figure.text(0.02, 0.957, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.02, 0.908, why, fontsize=10.5, color=plots.GREY, va="center")
        plane, distance, margin = figure.axes
        self._draw_plane(plane, here, star, lam, point)
        self._draw_curves(distance, margin, self.curve(point, steps), here, star, lam, self.plane.points[point])
        where = f"({self.plane.points[point][0]:.2f}, {self.plane.points[point][1]:.2f})"
        return (
            f"{verdict}: {why}. Point {point} of class {self.plane.classes[int(y)]} at {where}, the level lines of "
            f"squared distance plus lambda = {lam:g} times the margin loss, and a descent of {steps} steps, which ends "
            f"{here.end[0]:.2g} away from it with margin {here.margin[0]:.2g}. Beside it distance and margin for "
            f"lambda from {LOWEST:g} to {HIGHEST:g}."
        )

    def _verdict(self, here: Descent, star: np.ndarray | None, label: int, point: int) -> tuple[str, str, str]:
        """The outcome, its reason, and a colour for it."""
        if here.found[0] == 0:
            return "Nothing to attack", "x itself is misclassified", plots.GREY
        if star is None:
            return "Nothing to find", "the model takes every point of the square for this class", plots.GREY
        truth = float(np.linalg.norm(star - self.plane.points[point]))
        if not np.isfinite(here.found[0]):
            why = (
                f"the descent ends {here.end[0]:.2g} away, with a margin of {here.margin[0]:.2g}; "
                f"the boundary is {truth:.2g} away (star)"
            )
            return "Not fooled: λ pushes too little", why, plots.GREEN
        found = float(here.found[0])
        why = f"the closest point of the way that fools lies {found:.2g} away, the nearest there is {truth:.2g} (star)"
        if found <= CLOSE * truth:
            return "Fooled, and close to the nearest point", why, plots.VERMILION
        return f"Fooled, but {found / truth:.2f} times as far as need be", why, plots.PURPLE

    def _draw_plane(self, axes: Axes, here: Descent, star: np.ndarray | None, lam: float, point: int) -> None:
        x, y = self._at(point)
        centre = self.plane.points[point]
        axes.axis("off")  # what does not change is part of the scenery
        objective = plots.to_numpy((self.mesh - x).square().sum(1) + lam * self.loss(int(y))).reshape(self.GRID, -1)
        low, high = objective.min(), objective.max()
        # Closer together at the bottom, where the descent ends.
        levels = low + (high - low) * (np.arange(1, 19) / 19) ** 2.5
        axes.contour(self.first, self.second, objective, levels, colors=plots.GREY, linewidths=0.8, alpha=0.8)
        axes.plot(*here.path[:, 0].T, "-o", color="black", markersize=4, linewidth=1.5)
        axes.plot(*centre, "o", color="black", markersize=9)
        axes.annotate("x", centre, xytext=(7, 6), textcoords="offset points", fontsize=12, weight="bold")
        if star is not None:
            axes.plot(*star, "*", color=plots.PURPLE, markeredgecolor="black", markersize=18)
        if np.isfinite(here.found[0]) and here.found[0] > 0:
            axes.plot(*here.nearest[0], "X", color=plots.VERMILION, markeredgecolor="black", markersize=12)
        axes.plot(*here.path[-1, 0], "s", color=plots.BLUE, markeredgecolor="white", markersize=8)

    def _draw_curves(
        self, distance: Axes, margin: Axes, curve: Descent, here: Descent, star: np.ndarray | None, lam: float,
        centre: np.ndarray,
    ) -> None:  # fmt: skip
        for axes in (distance, margin):
            axes.axis("off")  # their axes are part of the scenery
            axes.axvline(lam, color="black", linewidth=1.2, linestyle="-")
        weights = LAMBDAS.numpy()
        if star is not None:
            truth = float(np.linalg.norm(star - centre))
            distance.axhline(truth, color=plots.PURPLE, linestyle=":", linewidth=1.6)
            distance.plot(LOWEST * 1.25, truth, "*", color=plots.PURPLE, markeredgecolor="black", markersize=12)
        distance.plot(weights, np.maximum(curve.end, 1e-9), color=plots.BLUE, linestyle="-", linewidth=2.2)
        distance.plot(
            weights, np.where(np.isfinite(curve.found) & (curve.found > 0), curve.found, np.nan),
            color=plots.VERMILION, linestyle="--", linewidth=2.2,
        )  # fmt: skip
        margin.plot(weights, curve.margin, color=plots.GREEN, linestyle="-.", linewidth=2.2)
        distance.plot(lam, max(here.end[0], 1e-9), "s", color=plots.BLUE, markeredgecolor="white", markersize=9)
        if np.isfinite(here.found[0]) and here.found[0] > 0:
            distance.plot(lam, here.found[0], "X", color=plots.VERMILION, markeredgecolor="black", markersize=11)
        margin.plot(lam, here.margin[0], "s", color=plots.GREEN, markeredgecolor="white", markersize=9)
