"""What adversarial training does to a boundary in the plane, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from coursekit import plots
from coursekit.models.state import Classifier
from coursekit.widgets.explorer import Explorer, Number
from coursekit.widgets.plane import Plane, classes_at, mesh

GRID = 201  # points along a side of the square: boundaries are known to a 200th of it


def training_explorer(
    models: Mapping[float, Classifier],
    x: Tensor,
    y: Tensor,
    *,
    classes: Sequence[str] | None = None,
    trained: float = 0.0,
    attack: float = 0.1,
) -> Explorer:
    """Networks that were trained for several radii, and an attack of any radius: boundary, squares, accuracies.

    models: radius of training -> classifier of points (B, 2) in the unit square; at least two, 0 stands for ordinary
    training. x: (N, 2), y: (N,): points that were not trained on. trained, attack: where the controls stand to begin
    with; a radius between two networks shows the nearer one. A square is cut if it reaches a point of another class, as
    found on a mesh of 201 x 201 points. Raises ValueError for fewer networks and other shapes.
    """
    if len(models) < 2:
        raise ValueError(f"models must hold networks for at least two radii; got {len(models)}")
    scene = _Training(models, x, y, classes)
    controls = {
        "trained": Number("trained ε", trained, scene.radii[0], scene.radii[-1], scene.step),
        "attack": Number("attack ε", attack, 0.0, _Training.REACH, 0.01),
    }
    return Explorer(scene.draw, controls, size=(9.4, 5.3), panels=scene.PANELS, scenery=scene.scenery)


@plots.styled
def boundaries(
    models: Mapping[str, Classifier], x: Tensor, y: Tensor, eps: float, *, classes: Sequence[str] | None = None
) -> Figure:
    """Classifiers of the plane side by side, with the L-inf ball of radius eps round every point: a square.

    models: title -> classifier of points (B, 2) in the unit square. x: (N, 2), y: (N,). Thick black squares are cut by
    the boundary, crosses mark points that are wrong to begin with; a key says so.
    Source: Madry et al. 2018, figure 3, for the idea.
    """
    count = len(models)
    figure = Figure(figsize=(4.6 * count, 5.1))
    said = []
    for number, (title, model) in enumerate(models.items()):
        axes = figure.add_axes((0.02 + number / count, 0.07, 0.96 / count - 0.02, 0.78))
        plane = Plane(model, x, y, classes)
        away = distances(plane)
        plane.draw(axes, (0, 1), (0, 1), grid=GRID, size=5.5)
        plane.name_classes(axes)
        draw_squares(axes, plane, away, eps)
        clean, robust = float((away > 0).mean()), float((away > eps).mean())
        numbers = f"{100 * clean:.1f} % right, {100 * robust:.1f} % with their whole square"
        axes.text(0, 1.14, title, fontsize=13, weight="bold", transform=axes.transAxes)
        axes.text(0, 1.08, numbers, fontsize=10.5, color=plots.GREY, transform=axes.transAxes)
        said.append(f"{title}: {numbers}.")
    explain_marks(figure, 0.02, 0.025)
    figure.set_label(
        f"Decision boundaries in the plane, a square of half-width {eps:g} round each of {len(x)} points; squares that "
        f"the boundary cuts are thick and black, points that are wrong are crossed out. {' '.join(said)}"
    )
    return figure


def distances(plane: Plane) -> np.ndarray:
    """(N,): how far in L-inf each point is from the nearest mesh point of another class; 0 where it is wrong itself."""
    points = mesh((0, 1), (0, 1), GRID)[2].to(plane.x)
    found = classes_at(plane.model, points)
    away = plane.x.new_full((len(plane.x),), torch.inf)
    for label in plane.y.unique():
        others = points[found != label]
        own = plane.y == label
        if len(others):
            away[own] = torch.cdist(plane.x[own], others, p=torch.inf).amin(1)
    wrong = classes_at(plane.model, plane.x) != plane.y
    # A point that is right has some distance, if only less than the mesh can see.
    return plots.to_numpy(away.clamp_min(1e-6).masked_fill(wrong, 0))


KEPT: dict[str, Any] = {"edgecolor": plots.GREY, "linewidth": 0.5, "alpha": 0.4}
CUT: dict[str, Any] = {
    "edgecolor": "black",
    "linewidth": 1.1,
    "alpha": 0.7,
}  # no colour: those are taken by the classes


def draw_squares(axes: Axes, plane: Plane, away: np.ndarray, eps: float) -> None:
    """The L-inf balls: thin and grey where the point keeps its class everywhere, thick and black where not; crosses on
    wrong points."""
    corners = eps * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    squares = plane.points[:, None] + corners
    for chosen, look in ((away > eps, KEPT), ((away <= eps) & (away > 0), CUT)):
        if eps and chosen.any():
            # Where very many are cut they would hide the boundary: paler then.
            strength = look["alpha"] * min(1.0, 60 / int(chosen.sum())) if look is CUT else look["alpha"]
            edges = PolyCollection(list(squares[chosen]), facecolors="none", **{**look, "alpha": strength})
            axes.add_collection(edges, autolim=False)
    axes.plot(*plane.points[away == 0].T, "x", color="black", markersize=8, markeredgewidth=2, linestyle="none")


def explain_marks(figure: Figure, left: float, height: float) -> None:
    """A key in one line: what squares and crosses stand for. left: where it begins; height: of its middle, in parts
    of the figure."""
    width, tall = figure.get_size_inches()
    side, place = 0.13, left  # inches
    for look, text, room in (
        (KEPT, "square kept", 1.15),
        (CUT, "square cut by the boundary", 2.3),
        (None, "wrong", 0.9),
    ):
        if look is None:
            mark = Line2D(
                [place + side / 2 / width], [height], marker="x", color="black", markersize=7, markeredgewidth=2
            )
            figure.add_artist(mark)
        else:
            corner = (place, height - side / 2 / tall)
            bold = {**look, "alpha": 1.0}
            figure.add_artist(
                Rectangle(corner, side / width, side / tall, facecolor="none", transform=figure.transFigure, **bold)
            )
        figure.text(place + (side + 0.07) / width, height, text, fontsize=10, va="center")
        place += (room + side) / width


class _Training:
    """The picture of `training_explorer`: the plane, and both accuracies against the radius of training."""

    PANELS = ((0.02, 0.075, 0.45, 0.76), (0.585, 0.13, 0.39, 0.64))
    REACH = 0.25  # the largest radius of the attack

    def __init__(self, models: Mapping[float, Classifier], x: Tensor, y: Tensor, classes: Sequence[str] | None) -> None:
        self.radii = sorted(float(radius) for radius in models)
        self.step = round(min(np.diff(self.radii)), 6)
        self.planes = {radius: Plane(models[radius], x, y, classes) for radius in self.radii}
        self.away = np.stack([distances(plane) for plane in self.planes.values()])

    def nearest(self, radius: float) -> int:
        """The number of the network that was trained for the radius nearest to this one."""
        return int(np.abs(np.array(self.radii) - radius).argmin())

    def scenery(self, figure: Figure) -> None:
        """What never changes: the frame of the curves and what their colours mean."""
        square, curve = figure.axes
        self.planes[self.radii[0]].name_classes(square)
        square.axis("off")
        explain_marks(figure, 0.02, 0.03)
        low, high = min(0.0, self.radii[0]), max(self.REACH, self.radii[-1])  # room for any attack
        margin = 0.03 * (high - low)
        curve.set(xlim=(low - margin, high + margin), ylim=(-0.03, 1.04), xlabel="trained with ε")
        curve.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        for place, text, colour in ((0, "▲ right", plots.GREEN), (0.24, "● right on the whole square", plots.BLUE)):
            curve.text(
                place, 1.06, text, fontsize=10.5, weight="bold", color=plots.ink(colour), transform=curve.transAxes
            )

    def draw(self, figure: Figure, trained: float, attack: float) -> str:
        """One redraw; returns the alt text."""
        square, curve = figure.axes
        number = self.nearest(trained)
        radius, away = self.radii[number], self.away[number]
        clean, robust = (self.away > 0).mean(axis=1), (self.away > attack).mean(axis=1)
        verdict, why, colour = self._verdict(radius, attack, clean, robust, number)
        figure.text(0.02, 0.957, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.02, 0.908, why, fontsize=10.5, color=plots.GREY, va="center")
        plane = self.planes[radius]
        plane.draw(square, (0, 1), (0, 1), grid=100, size=5.5)
        draw_squares(square, plane, away, attack)
        curve.axis("off")  # its axes are part of the scenery
        curve.axvline(radius, color="black", linewidth=1.2, linestyle="-")
        curve.axvline(attack, color=plots.VERMILION, linewidth=1.4, linestyle=":")
        left = attack > 0.15
        curve.annotate(
            "attack ε", (attack, 0.02), xytext=(-4 if left else 4, 0), textcoords="offset points", fontsize=10,
            ha="right" if left else "left", color=plots.ink(plots.VERMILION),
        )  # fmt: skip
        # The clean curve lies below and wide, so that both are seen where they agree.
        curve.plot(self.radii, clean, color=plots.GREEN, linestyle="-", linewidth=5, alpha=0.35)
        curve.plot(self.radii, clean, "^", color=plots.GREEN, linestyle="none", markersize=9)
        curve.plot(self.radii, robust, color=plots.BLUE, linestyle="-", marker="o", markersize=4.5)
        for values, kind, shade, size in ((clean, "^", plots.GREEN, 13), (robust, "o", plots.BLUE, 8)):
            curve.plot(radius, values[number], kind, color=shade, markeredgecolor="black", markersize=size)
        return (
            f"{verdict}. {why}. Of {len(away)} points {int((away == 0).sum())} are wrong, crossed out; "
            f"{int(((away > 0) & (away <= attack)).sum())} are right and their square of half-width {attack:g} is cut "
            f"by the boundary. Beside it both accuracies for training with ε from {self.radii[0]:g} to "
            f"{self.radii[-1]:g}: clean from {plots.percent(clean[0])} to {plots.percent(clean[-1])}, robust from "
            f"{plots.percent(robust[0])} to {plots.percent(robust[-1])}."
        )

    def _verdict(
        self, radius: float, attack: float, clean: np.ndarray, robust: np.ndarray, number: int
    ) -> tuple[str, str, str]:
        """The outcome, what to compare it with, and a colour for it."""
        how = f"Trained with ε = {radius:g}" if radius else "Ordinary training"
        right = f"{100 * clean[number]:.1f} % right"
        if not attack:
            return f"{how}: {right}", "no attack: ordinary accuracy is all that counts", plots.GREY
        best = int(robust.argmax())
        rival = f"ε = {self.radii[best]:g}" if self.radii[best] else "ordinary training"
        why = f"attack ε = {attack:g}: of these networks the one of {rival} keeps most, {100 * robust[best]:.1f} %"
        near = robust[best] - robust[number] < 0.02
        why += (
            " (the verdict is green within 2 points of it)"
            if near
            else " (the verdict is orange: more than 2 points less)"
        )
        verdict = f"{how}: {right}, {100 * robust[number]:.1f} % also under attack"
        return verdict, why, plots.GREEN if near else plots.VERMILION
