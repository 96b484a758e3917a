"""PGD in the plane: the eps-ball of a point, the attack's path, the verdict."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from coursekit import plots
from coursekit.attacks import input_gradient
from coursekit.losses import cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import LpBall
from coursekit.widgets.explorer import Choice, Explorer, Number
from coursekit.widgets.plane import Plane, classes_at

NORMS = {"∞": math.inf, "2": 2, "1": 1}


class AttackPath(NamedTuple):
    """What PGD did from one point: iterates (T + 1, 2), the first is x; where each gradient step led before it was
    projected, (T, 2); the model's class at each iterate, (T + 1,)."""

    iterates: np.ndarray
    steps: np.ndarray
    classes: np.ndarray

    def until(self, end: int) -> "AttackPath":
        """The first `end` steps."""
        return AttackPath(self.iterates[: end + 1], self.steps[:end], self.classes[: end + 1])


def attack_path(model: Classifier, x: Tensor, y: Tensor, threat: LpBall, *, steps: int, step_size: float) -> AttackPath:
    """PGD from x itself, step by step. x: (1, 2), y: (1,)."""
    x_t = x
    iterates, moved, project = [x], [], threat.projector(x)  # the quick one, as in `pgd`
    with evaluating(model), differentiating():
        for _ in range(steps):
            moved.append(threat.step(x_t, input_gradient(model, x_t, y, cross_entropy), step_size))
            x_t = project(moved[-1])
            iterates.append(x_t)
    points = torch.cat(iterates)
    return AttackPath(plots.to_numpy(points), plots.to_numpy(torch.cat(moved)), classes_at(model, points).numpy())


def adversarial_in_ball(
    model: Classifier, x: Tensor, y: Tensor, threat: LpBall, *, grid: int = 121
) -> np.ndarray | None:
    """The adversarial example nearest to x in P(x) that a dense search of the plane finds, (2,), or None.

    x: (1, 2), y: (1,). Looks at grid x grid points of the ball's bounding box and at its edge and corners: on a
    picture's scale that decides whether there is one.
    """
    centre, eps = x.double(), float(threat.eps)
    ticks = torch.linspace(-eps, eps, grid, dtype=torch.float64)
    square = centre + torch.cartesian_prod(ticks, ticks)
    inside = torch.cat([square, centre + torch.from_numpy(eps * ball_outline(threat.p))]).clamp(*threat.bounds).to(x)
    inside = inside[threat.contains(inside, x.expand_as(inside))]
    wrong = inside[classes_at(model, inside) != y]
    if not len(wrong):
        return None
    return plots.to_numpy(wrong[torch.linalg.vector_norm(wrong - x, ord=threat.p, dim=1).argmin()])


def ball_outline(p: float, points: int = 240) -> np.ndarray:
    """(N, 2): the unit circle of the L_p norm in the plane, corners included."""
    angle = np.linspace(0, 2 * np.pi, points + 1)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return circle / np.linalg.norm(circle, ord=p, axis=1, keepdims=True)


def ball_explorer(
    model: Classifier | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    *,
    classes: Sequence[str] | None = None,
    eps: float = 0.15,
    steps: int = 10,
    step_size: float = 0.03,
    p: float = math.inf,
    point: int = 0,
) -> Explorer:
    """PGD in the plane: decision regions, the eps-ball of a point within the unit square, the path, the verdict.

    model: points (B, 2) in the unit square -> logits; None takes the one shipped for the two moons. x: (N, 2) points
    to choose from, y: (N,) their classes; None takes the moons' test points. The other arguments say where the
    controls stand to begin with. The verdict is checked: where the attack fails, a dense search of the ball says
    whether there was something to find.
    """
    scene = _Scene(Plane(model, x, y, classes))
    controls: dict[str, Number | Choice] = {
        "eps": Number("eps", float(eps), 0.0, 0.5, 0.01),
        "p": Choice("norm p", p, NORMS),
        "steps": Number("steps", steps, 1, 40, 1),
        "step_size": Number("step size", float(step_size), 0.005, 0.3, 0.005),
        "point": Number("point", point, 0, len(scene.plane.x) - 1, 1),
    }
    return Explorer(scene.draw, controls, size=(9.2, 5.0), panels=scene.PANELS, scenery=scene.scenery)


class _Scene:
    """The picture of `ball_explorer`: what stays the same from redraw to redraw, and how to draw one."""

    PANELS = (0.045, 0.055, 0.43, 0.79), (0.555, 0.055, 0.43, 0.79)

    def __init__(self, plane: Plane) -> None:
        self.plane, self.model, self.classes = plane, plane.model, plane.classes

    def scenery(self, figure: Figure) -> None:
        """The whole square with the model's regions and the data, and the key to both panels."""
        axes, close = figure.axes
        self.plane.draw(axes, (0, 1), (0, 1), grid=200, size=4.5)
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        self.plane.name_classes(axes)
        close.axis("off")
        close.text(0, 1.02, "● iterates   ○ before the projection Π", fontsize=10.5, transform=close.transAxes)

    def draw(self, figure: Figure, eps: float, p: float, steps: int, step_size: float, point: int) -> str:
        """One redraw; returns the alt text."""
        threat = LpBall(eps, p)
        x, y = self.plane.x[point : point + 1], self.plane.y[point : point + 1]
        path = attack_path(self.model, x, y, threat, steps=steps, step_size=step_size)
        wrong = np.flatnonzero(path.classes != int(y))
        fooled = bool(len(wrong))
        if fooled:  # there the attack is over
            path = path.until(int(wrong[0]))
        missed = None if fooled else adversarial_in_ball(self.model, x, y, threat)
        verdict, why, colour = self._verdict(path, fooled, missed, threat, steps, step_size)

        figure.text(0.045, 0.957, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.045, 0.907, why, fontsize=10.5, color=plots.GREY, va="center")
        overview, close = figure.axes
        overview.axis("off")  # its axis is part of the scenery
        _draw_ball(overview, threat, self.plane.points[point])
        overview.plot(*self.plane.points[point], "o", color="black", markersize=7)
        self._draw_close(close, threat, path, fooled, missed)
        norm = next(name for name, value in NORMS.items() if value == p).replace("∞", "infinity")
        start, end = (f"({place[0]:.2f}, {place[1]:.2f})" for place in path.iterates[[0, -1]])
        return (
            f"{verdict}: {why}. Point {point} of class {self.classes[int(y)]} at {start} in the unit square, its ball "
            f"of radius eps = {eps:g} in the L-{norm} norm, and the path of PGD with {steps} steps of size "
            f"{step_size:g}, which leads to {end}."
        )

    def _verdict(
        self, path: AttackPath, fooled: bool, missed: np.ndarray | None, threat: LpBall, steps: int, step_size: float
    ) -> tuple[str, str, str]:
        """The outcome, its reason, and a colour for it."""
        start, end = path.iterates[0], path.iterates[-1]
        if fooled and len(path.iterates) == 1:
            return "Nothing to attack", f"x itself is taken for {self.classes[path.classes[0]]}", plots.GREY
        if fooled:
            away, called = np.linalg.norm(end - start, ord=threat.p), self.classes[path.classes[-1]]
            why = f"x̃ is taken for {called}; it lies {away:.2g} away from x, allowed is {threat.eps:g}"
            return f"Fooled after {len(path.iterates) - 1} of {steps} steps", why, plots.VERMILION
        if missed is None:
            why = "a dense search of the ball finds no adversarial example, so no attack can"
            return "Not fooled: the ball does not reach the boundary", why, plots.GREEN
        needed, reach = float(np.linalg.norm(missed - start, ord=threat.p)), steps * step_size
        if reach < needed:
            why = f"{steps} steps of {step_size:g} lead at most {reach:.2g} away, the star lies {needed:.2g} away"
        else:
            why = "no iterate lands near the star; another step size, more steps or another start might"
        return "Not fooled, yet an adversarial example exists: the attack missed it", why, plots.PURPLE

    def _draw_close(
        self, axes: Axes, threat: LpBall, path: AttackPath, fooled: bool, missed: np.ndarray | None
    ) -> None:
        """The ball from near, and in it every step of the attack."""
        centre, eps = path.iterates[0], float(threat.eps)
        overshoot = np.abs(path.steps - centre).max() if len(path.steps) else 0.0
        half = max(1.12 * eps, min(1.05 * overshoot, 1.6 * eps), 0.02)
        across, up = ((float(middle) - half, float(middle) + half) for middle in centre)
        self.plane.draw(axes, across, up, grid=90, size=6)
        _draw_ball(axes, threat, centre)
        before, moved, after = path.iterates[:-1], path.steps, path.iterates[1:]
        back = np.abs(moved - after).max(axis=1) > 0.01 * half  # the projection brought these back
        for tail, head, dashes in ((before, moved, "-"), (moved, after, ":")):
            gap = np.full_like(tail, np.nan)  # one line with gaps is drawn faster than many lines
            axes.plot(
                *np.stack([tail, head, gap], axis=1)[back].reshape(-1, 2).T, dashes, color=plots.GREY, linewidth=1.4
            )
        axes.plot(*moved[back].T, "o", color="white", markeredgecolor=plots.GREY, markersize=6)
        axes.plot(*path.iterates.T, "-o", color="black", markersize=5, linewidth=1.6)
        axes.plot(*centre, "o", color="black", markersize=8)
        if fooled and len(path.iterates) > 1:
            axes.plot(*path.iterates[-1], "X", color=plots.VERMILION, markeredgecolor="black", markersize=13)
        if missed is not None:
            axes.plot(*missed, "*", color=plots.PURPLE, markeredgecolor="black", markersize=18)
        _number_iterates(axes, path.iterates, half)
        axes.axis("on")
        axes.spines[:].set(visible=True, color=plots.GREY, linewidth=0.8)


def _draw_ball(axes: Axes, threat: LpBall, centre: np.ndarray) -> None:
    """The ball cut off at the unit square: moving its outline inwards to the square's edges leaves just that."""
    outline = np.clip(centre + float(threat.eps) * ball_outline(threat.p), *threat.bounds)
    # add_patch would look for the limits of every edge, which takes longer than to draw them.
    axes.add_artist(Polygon(outline, facecolor=(1, 1, 1, 0.35), edgecolor="black", linestyle="--", linewidth=1.8))


def _number_iterates(axes: Axes, iterates: np.ndarray, half: float) -> None:
    """The number of each iterate beside it, where there is room between them."""
    labelled: list[np.ndarray] = []
    last = len(iterates) - 1
    for number in (0, last, *range(1, last)):
        place = iterates[number]
        if all(np.abs(place - other).max() > 0.16 * half for other in labelled):
            axes.annotate(
                str(number) if number else "x",
                place,
                xytext=(6, 5),
                textcoords="offset points",
                fontsize=10,
                weight="bold",
            )
            labelled.append(place)
