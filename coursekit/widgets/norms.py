"""The balls of the three norms side by side: where the steepest step goes, and where the nearest point lies."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from torch import Tensor

from coursekit import plots
from coursekit.perturbations import LpBall
from coursekit.widgets.ball import ball_outline
from coursekit.widgets.explorer import Choice, Explorer, Number

STEP, NEAREST = "steepest step", "projection"
# Each norm p, the norm q of its gain (1/p + 1/q = 1), and the ball in a formula.
NORMS = {1: ("L₁", "∞", "|δ₁| + |δ₂| ≤ ε"), 2: ("L₂", "₂", "√(δ₁² + δ₂²) ≤ ε"), math.inf: ("L∞", "₁", "max |δᵢ| ≤ ε")}
SPOKEN = {1: "L1", 2: "L2", math.inf: "L-infinity"}
WIDE = 1.75  # half the width of a panel


def norm_explorer(*, angle: int = 25, length: float = 1.2, eps: float = 0.8, mode: str = STEP) -> Explorer:
    """The L1, L2 and L-infinity ball of one radius in the plane, and one arrow from their centre x.

    mode "steepest step": the arrow is the gradient g of a linear function. Shown are its level lines, the one that
    touches each ball, the step that reaches it, and the gain <g, step>. mode "projection": the arrow leads to a point
    x~; shown is the point of each ball nearest to it. The arguments say where the controls stand to begin with: angle
    in degrees, length of the arrow, radius eps. There is no image range.
    """
    if mode not in (STEP, NEAREST):
        raise ValueError(f"mode must be {STEP!r} or {NEAREST!r}; got {mode!r}")
    controls: dict[str, Number | Choice] = {
        "mode": Choice("show", mode, {"step": STEP, "projection": NEAREST}),
        "angle": Number("angle", angle, -180, 180, 1),
        "length": Number("length", float(length), 0.0, 1.6, 0.05),
        "eps": Number("radius", float(eps), 0.1, 1.4, 0.05),
    }
    panels = [(left, 0.145, 0.31, 0.62) for left in (0.015, 0.345, 0.675)]
    return Explorer(_draw, controls, size=(9.4, 4.7), panels=panels, scenery=_scenery)


def step_and_gain(g: Tensor, eps: float, p: float) -> tuple[np.ndarray, float]:
    """The step of length eps (L_p norm) that gains most along g (2,), and its gain <g, step> = eps ||g||_q."""
    step = eps * _ball(eps, p).steepest(g[None])[0]
    return plots.to_numpy(step), float(g @ step)


def best_face(g: Tensor, eps: float, p: float) -> np.ndarray:
    """(1 or 2, 2): the steps of length eps that gain most along g; two where all between them do: ends of an edge."""
    step, _ = step_and_gain(g, eps, p)
    across, up = g.abs().tolist()
    if p == 1 and math.isclose(across, up, rel_tol=1e-6) and across > 0:
        return eps * plots.to_numpy(g.sign()) * np.eye(2)
    if p == math.inf and min(across, up) < 1e-6 < max(across, up):
        free = np.array([across < 1e-6, up < 1e-6])
        return np.where(free, [[-eps], [eps]], step)
    return step[None]


def _ball(eps: float, p: float) -> LpBall:
    return LpBall(eps, p, bounds=(-math.inf, math.inf))


def _arrow_to(angle: float, length: float) -> Tensor:
    """The end (2,) of the arrow. Rounded, so that coordinates are 0 at 0 and 90 degrees, and equal at 45."""
    turn = math.radians(angle)
    place = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    return length * (place * 1e12).round() / 1e12


def _scenery(figure: Figure) -> None:
    for axes, (name, _, formula) in zip(figure.axes, NORMS.values(), strict=True):
        axes.set(xlim=(-WIDE, WIDE), ylim=(-WIDE, WIDE), xticks=[], yticks=[], aspect="equal")
        axes.grid(False)
        axes.spines[:].set(visible=True, color="#CCCCCC", linewidth=0.8)
        axes.plot([-WIDE, WIDE], [0, 0], "-", color="#DDDDDD", linewidth=1)
        axes.plot([0, 0], [-WIDE, WIDE], "-", color="#DDDDDD", linewidth=1)
        axes.text(0, 1.03, name, fontsize=13, weight="bold", transform=axes.transAxes)
        axes.text(1, 1.03, formula, fontsize=10.5, color=plots.GREY, transform=axes.transAxes, ha="right")


def _draw(figure: Figure, mode: str, angle: int, length: float, eps: float) -> str:
    """One redraw; returns the alt text."""
    end = _arrow_to(angle, length)
    for axes, p in zip(figure.axes, NORMS, strict=True):
        axes.axis("off")  # its axis is part of the scenery
        axes.set(xlim=(-WIDE, WIDE), ylim=(-WIDE, WIDE))
        outline = eps * ball_outline(p)
        axes.add_artist(Polygon(outline, facecolor=(0.0, 0.45, 0.7, 0.1), edgecolor="black", linewidth=1.6))
    head, words = (_draw_steps if mode == STEP else _draw_nearest)(figure, end, eps)
    figure.text(0.015, 0.95, head, fontsize=13.5, weight="bold", va="center")
    key = (
        "blue arrow: gradient g    orange arrow: steepest step    dashed: the last level line that meets the ball"
        if mode == STEP
        else "○ x̃    ● its nearest point Π(x̃)    dashed: all points as near to x̃ as that one"
    )
    figure.text(0.015, 0.885, key, fontsize=10.5, color=plots.GREY, va="center")
    for axes, lines in zip(figure.axes, words, strict=True):
        axes.text(0, -0.05, lines, transform=axes.transAxes, va="top", fontsize=11, linespacing=1.45)
    said = " ".join(f"{SPOKEN[p]}: {', '.join(lines.splitlines())}." for p, lines in zip(NORMS, words, strict=True))
    arrow = "gradient" if mode == STEP else "arrow from x to the point x tilde"
    return f"{head}. Three balls of radius eps = {eps:g}; {arrow} of length {length:g} at {angle} degrees. {said}"


def _draw_steps(figure: Figure, g: Tensor, eps: float) -> tuple[str, list[str]]:
    words, gains = [], {}
    for axes, p in zip(figure.axes, NORMS, strict=True):
        step, gains[p] = step_and_gain(g, eps, p)
        face = best_face(g, eps, p)
        _level_lines(axes, plots.to_numpy(g), gains[p])
        if len(face) == 2:
            axes.plot(*face.T, "-", color=plots.VERMILION, linewidth=6, alpha=0.45, solid_capstyle="round")
        if step.any():
            _arrow(axes, plots.to_numpy(g), plots.BLUE, 2.0)
            _arrow(axes, step, plots.VERMILION, 3.2)
        axes.plot(0, 0, "o", color="black", markersize=5)
        words.append(f"{_in_words(g, p, len(face))}\ngain ε‖g‖{NORMS[p][1]} = {gains[p]:.2f}")
    if gains[2] == 0:
        return "No gradient, no direction: the step is zero in every norm", words
    more, less = gains[math.inf] / gains[2], gains[2] / gains[1]
    if more < 1.005:
        return "Along an axis all three gain the same", words
    return f"Same ε: L∞ gains {more:.2f} times as much as L₂, and L₂ {less:.2f} times as much as L₁", words


def _in_words(g: Tensor, p: float, ends: int) -> str:
    """What the steepest step of this norm does with this gradient."""
    if not g.any():
        return "no direction"
    if p == 2:
        return "along the gradient itself"
    if ends == 2:
        return "a tie: anywhere on the orange edge"
    if p == math.inf:
        return "both coordinates in full: a corner"
    return f"all of it on the larger one: {'across' if abs(g[0]) > abs(g[1]) else 'up or down'}"


def _draw_nearest(figure: Figure, point: Tensor, eps: float) -> tuple[str, list[str]]:
    words, moves = [], {}
    start = plots.to_numpy(point)
    for axes, p in zip(figure.axes, NORMS, strict=True):
        end = plots.to_numpy(_ball(eps, p).project(point[None], torch.zeros(1, 2, dtype=point.dtype))[0])
        moves[p] = float(np.hypot(*(start - end)))
        moved = moves[p] > 1e-9
        if moved:
            axes.add_artist(
                Circle((start[0], start[1]), moves[p], fill=False, edgecolor=plots.GREY, linestyle="--", linewidth=1.3)
            )
            axes.plot(*np.stack([start, end]).T, "-", color=plots.GREY, linewidth=1.6)
        axes.plot(*start, "o", color="white", markeredgecolor="black", markersize=9, markeredgewidth=1.6)
        axes.plot(*end, "o", color=plots.VERMILION if moved else plots.BLUE, markersize=8)
        axes.plot(0, 0, "+", color="black", markersize=9)
        landed = f"Π(x̃) = ({end[0] + 0:.2f}, {end[1] + 0:.2f}), moved {moves[p]:.2f}"
        words.append(f"{_moved_in_words(start, end, p, moved)}\n{landed}")
    inside = [NORMS[p][0] for p in NORMS if moves[p] <= 1e-9]
    if len(inside) == 3:
        return "x̃ lies in all three balls: the nearest point is x̃ itself", words
    if inside:
        return f"x̃ lies in the ball of {' and '.join(inside)}, where it stays; the others bring it back", words
    return "x̃ lies outside of all three: each brings it back in its own way", words


def _moved_in_words(start: np.ndarray, end: np.ndarray, p: float, moved: bool) -> str:
    """What the projection of this norm did."""
    if not moved:
        return "inside: it stays"
    if p == 2:
        return "scaled: straight towards x"
    shorter = np.abs(start) - np.abs(end) > 1e-9
    if p == 1:
        gone = (np.abs(end) < 1e-9) & (np.abs(start) > 1e-9)
        return "shortened until one of them is 0" if gone.any() else "both shortened by the same amount"
    return "clipped: both coordinates" if shorter.all() else "clipped: only the coordinate too long"


def _level_lines(axes: Axes, g: np.ndarray, gain: float) -> None:
    """Lines on which <g, delta> is the same, at even distances, and dashed the one where it is `gain`."""
    length = float(np.hypot(*g))
    if length == 0:
        return
    normal = g / length
    along = 4 * np.array([-normal[1], normal[0]])
    many = np.arange(-2.4, 2.5, 0.3)[:, None] * normal
    gap = np.full_like(many, np.nan)  # one line with gaps is drawn faster than many lines
    lines = np.stack([many - along, many + along, gap], axis=1).reshape(-1, 2)
    axes.plot(*lines.T, "-", color="#D2D8DE", linewidth=0.9, zorder=0.5)
    last = gain / length * normal
    axes.plot(*np.stack([last - along, last + along]).T, "--", color="black", linewidth=1.8, zorder=0.6)


def _arrow(axes: Axes, end: np.ndarray, colour: str, width: float) -> None:
    """An arrow from x to `end`."""
    look = {"arrowstyle": "-|>", "linewidth": width, "color": colour, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 16}
    axes.annotate("", (end[0], end[1]), (0, 0), arrowprops=look, zorder=4)
