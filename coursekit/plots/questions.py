"""How many questions a search asks, and what lies on the way of a single step or in its ball."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from coursekit.attacks import fgsm
from coursekit.losses import margin
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import LpBall
from coursekit.plots.look import BLUE, COLOURS, GREEN, GREY, PURPLE, VERMILION, ink, styled
from coursekit.plots.pictures import to_numpy

MARKS = "o^sDvP"
REGIONS = ("#D3E6F3", "#FBE3D0", "#D5EFE5")
WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
Layer = tuple[Any, Any]  # weights and biases, as tensors or nested lists


@styled
def questions_asked(ratios: Sequence[float], counts: Sequence[int], kinds: Sequence[str]) -> Figure:
    """Questions that a bisection asked against how often it had to halve, for several kinds of problems.

    ratios: N numbers D / eps, distance of the two ends in units of the distance wanted. counts: how many questions
    were asked for each. kinds: what sort of problem each was. Drawn beside them is the number of halvings, the
    smallest k with D / 2^k < eps. Marks of different kinds are moved a little up or down, so that all are seen.
    """
    if not len(ratios) == len(counts) == len(kinds):
        raise ValueError(f"one ratio, count and kind for each problem; got {len(ratios)}, {len(counts)}, {len(kinds)}")
    ratio, asked = np.asarray(ratios, dtype=float), np.asarray(counts)
    halvings = np.maximum(np.floor(np.log2(ratio)) + 1, 0)
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    grid = np.logspace(np.log2(ratio.min()), np.log2(ratio.max()), 2000, base=2)
    axes.plot(grid, np.maximum(np.floor(np.log2(grid)) + 1, 0), "-", color=GREY, linewidth=1.8, zorder=1)
    names = list(dict.fromkeys(kinds))
    for place, (name, colour, mark) in enumerate(zip(names, COLOURS, MARKS, strict=False)):
        these = np.array([kind == name for kind in kinds])
        beside = 0.16 * (place - (len(names) - 1) / 2)  # so that no kind covers another
        axes.plot(ratio[these], asked[these] + beside, mark, color=colour, markersize=5, markeredgecolor="white",
                  markeredgewidth=0.5, linestyle="none")  # fmt: skip
        axes.text(0.02, 0.95 - 0.075 * place, f"{'●▲■◆▼✚'[place]} {name}", color=ink(colour), weight="bold",
                  transform=axes.transAxes, va="top")  # fmt: skip
    axes.set(xscale="log", xlabel="D / ε (log scale)", ylabel="questions to f")
    axes.set_xscale("log", base=2)
    axes.text(0.98, 0.05, "line: the number of halvings", color=GREY, transform=axes.transAxes, ha="right")
    extra = asked - halvings
    figure.set_label(
        f"Questions asked against D / eps on a logarithmic scale, {len(ratio)} problems of {len(names)} kinds "
        f"({', '.join(names)}). All lie along one staircase, {extra.min():.0f} to {extra.max():.0f} above the number "
        f"of halvings, from {asked.min()} to {asked.max()} questions, whatever the kind."
    )
    return figure


@styled
def along_the_step(
    model: Classifier, images: Mapping[float, tuple[Tensor, Tensor]], *, points: int = 41, most: int = 20
) -> Figure:
    """The lead of y on the way from x to FGSM's point, one line for each image, one panel for each eps.

    images: eps -> (x (B, ...) in [0, 1], y (B,)). The lead is z_y - max z_i over i != y: below 0 the image is
    misclassified. Lines that dip below 0 on the way and are above it at the end are drawn strong; of the others no more
    than `most`, evenly chosen.
    """
    figure = Figure(figsize=(4.7 * len(images), 4.2), layout="constrained")
    said = []
    for axes, (eps, (x, y)) in zip(np.atleast_1d(figure.subplots(1, len(images))), images.items(), strict=True):
        share = torch.linspace(0, 1, points)
        corner = fgsm(model, x, y, LpBall(eps, torch.inf))
        with torch.no_grad(), evaluating(model):
            lead = to_numpy(torch.stack([-margin(model(x + t * (corner - x)), y) for t in share]))
        crossed = (lead.min(axis=0) < 0) & (lead[-1] > 0)
        bottom, top = float(lead.min(initial=0)), float(lead.max(initial=1))
        bottom = min(1.35 * bottom, -0.12 * top)  # room for a word
        axes.axhspan(bottom, 0, color=VERMILION, alpha=0.12, linewidth=0)
        others = np.flatnonzero(~crossed)
        others = others[np.unique(np.linspace(0, len(others) - 1, min(most, len(others))).round().astype(int))]
        axes.plot(share, lead[:, others], "-", color=GREY, linewidth=1, alpha=0.6)
        axes.plot(share, lead[:, crossed], "-", color=PURPLE, linewidth=2.4)
        axes.axhline(0, color="black", linewidth=1.2)
        axes.text(0.02, 0.03, "misclassified", color=ink(VERMILION), transform=axes.transAxes, weight="bold",
                  bbox=WHITE, zorder=5)  # fmt: skip
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks([0, 0.5, 1], ["x", "half way", "FGSM"])
        axes.set(xlim=(0, 1), ylabel="lead of y",
                 title=f"ε = {eps:g}: {len(y)} missed, {int(crossed.sum())} crossed on the way",
                 ylim=(bottom, 1.05 * top))  # fmt: skip
        said.append(
            f"eps = {eps:g}: {len(y)} images that FGSM leaves right; {int(crossed.sum())} of them are misclassified on "
            f"the way and right again at its end, drawn strong; {len(others)} of the others are drawn, all above 0."
        )
    figure.set_label("The lead of y from x to the point of FGSM, one line for each image. " + " ".join(said))
    return figure


@styled
def step_of_network(layers: Sequence[Layer], x: Any, y: int, eps: float) -> Figure:
    """The lead of y along FGSM's step, both ways through the L-inf ball of radius eps: with one input, all of the ball.

    layers: (W1 (n, d), b1 (n,)), (W2 (2, n), b2 (2,)), logits = W2 relu(W1 x + b1) + b2. x: (d,), y: 0 or 1. All of
    them numbers, nested lists or tensors. Where the gradient at x is zero, the way is that of all inputs at once.
    """
    (first, first_bias), (second, second_bias) = (
        [torch.as_tensor(part, dtype=torch.float64) for part in layer] for layer in layers
    )
    point, v = torch.as_tensor(x, dtype=torch.float64), second[y] - second[1 - y]
    slope = ((first @ point + first_bias > 0) * v) @ first  # of the lead
    way = -slope.sign() if bool(slope.any()) else torch.ones_like(point)
    share = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    places = point + eps * share[:, None] * way
    lead = to_numpy((places @ first.T + first_bias).relu() @ v + second_bias[y] - second_bias[1 - y])
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axes = figure.subplots()
    bottom, top = min(lead.min(), 0), max(lead.max(), 0)
    room = 0.12 * (top - bottom) or 1.0
    axes.axhspan(bottom - room, 0, color=VERMILION, alpha=0.12, linewidth=0)
    axes.axhline(0, color="black", linewidth=1.2)
    axes.plot(share, lead, "-", color=BLUE, linewidth=2.4)
    axes.plot(0, lead[1000], "o", color="black", markersize=9)
    axes.text(0.02, 0.03, "misclassified", color=ink(VERMILION), transform=axes.transAxes, weight="bold", bbox=WHITE)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["x - ε s", "", "x", "", "x + ε s"])
    axes.set(xlim=(-1.03, 1.03), ylim=(bottom - room, top + room), ylabel="lead of y",
             xlabel=f"through the ball of radius ε = {eps:g}; s = sign of the gradient of the loss")  # fmt: skip
    lands = "FGSM stands still: the gradient is zero"
    if bool(slope.any()):
        axes.plot(1, lead[-1], "s", color=VERMILION, markeredgecolor="black", markersize=10, clip_on=False)
        lands = f"FGSM lands where the lead is {lead[-1]:.3g}"
    axes.set_title(f"lead {lead[1000]:.3g} at x (●); {lands} (■); lowest drawn {lead.min():.3g}", fontsize=11)
    figure.set_label(
        f"The lead of y along FGSM's step through the ball of radius {eps:g}, from one end to the other: "
        f"{lead[1000]:.3g} at x; {lands}; the lowest value drawn is {lead.min():.3g}."
    )
    return figure


@styled
def rivals(weight: Tensor, bias: Tensor, eps: float, names: Sequence[str]) -> Figure:
    """Three classes, two inputs, x = 0 of class 0: where each rival wants to go, where FGSM goes, and the best corner.

    weight: (3, 2), bias: (3,), logits z = W x + b. eps: radius of the L-inf ball. names: of the three classes.
    """
    figure = Figure(figsize=(6.6, 5.2), layout="constrained")
    axes = figure.subplots()
    weight, bias = weight.double(), bias.double()
    away = weight[1:] - weight[0]
    corners = eps * away.sign()
    mixture = bias.softmax(dim=0) @ weight - weight[0]  # the gradient of the cross-entropy at x = 0
    landing = eps * mixture.sign()
    leads = [_lead(weight, bias, corner) for corner in (*corners, landing)]
    _regions(axes, weight, bias, 1.8 * eps)
    axes.add_patch(Rectangle((-eps, -eps), 2 * eps, 2 * eps, fill=False, linestyle="--", linewidth=1.8))
    for towards, name, colour in (
        (away[0], names[1], VERMILION),
        (away[1], names[2], GREEN),
        (mixture, "mixture", "black"),
    ):
        head = 0.62 * eps * towards / towards.norm()
        axes.annotate("", head.tolist(), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.4})
        axes.annotate(name, head.tolist(), xytext=(0, 7 if head[1] > 0 else -14), textcoords="offset points",
                      ha="center", color=ink(colour) if colour != "black" else "black", weight="bold")  # fmt: skip
    best = int(np.argmin(leads[:2]))
    axes.plot(*landing, "s", color=VERMILION, markeredgecolor="black", markersize=11)
    axes.plot(*corners[best], "*", color=PURPLE, markeredgecolor="black", markersize=20)
    axes.plot(*corners[1 - best], "D", color="white", markeredgecolor="black", markersize=8)
    axes.plot(0, 0, "o", color="black", markersize=9)
    axes.annotate("x", (0, 0), xytext=(-12, -12), textcoords="offset points", fontsize=13, weight="bold")
    for place, lead in zip((*corners, landing), leads, strict=True):
        axes.annotate(f"lead of y: {lead:.2f}", place.tolist(), xytext=(0, 12 if place[1] > 0 else -20),
                      textcoords="offset points", ha="center", fontsize=10.5, bbox=WHITE)  # fmt: skip
    axes.set(xlim=(-1.8 * eps, 1.8 * eps), ylim=(-1.8 * eps, 1.8 * eps), xticks=[], yticks=[], aspect="equal")
    axes.set_title("■ FGSM   ★ best corner   ◇ corner for the other rival", fontsize=10.5)
    axes.grid(False)
    for name, spot in zip(names, _places_of_names(weight, bias, 1.8 * eps, eps), strict=True):
        if spot is not None:
            axes.text(spot[0], spot[1], f"f says\n{name}", color=GREY, ha="center", va="center", fontsize=10.5)
    figure.set_label(
        f"The plane with the regions of three classes, {', '.join(names)}, and the square ball of radius {eps:g} "
        f"around x. Arrows show where each rival wants to go, and their mixture between them. FGSM lands in the "
        f"mixture's corner, where the lead of {names[0]} is {leads[2]:.2f}; at the corner for {names[1]} it is "
        f"{leads[0]:.2f}, at that for {names[2]} {leads[1]:.2f}. The star marks the lower of the two."
    )
    return figure


def _lead(weight: Tensor, bias: Tensor, x: Tensor) -> float:
    logits = weight @ x + bias
    return float(logits[0] - logits[1:].max())


def _labels(weight: Tensor, bias: Tensor, half: float, grid: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """The ticks of a square around 0, (grid,), and the class at each of its points, (grid, grid), rows upwards."""
    ticks = torch.linspace(-half, half, grid, dtype=torch.float64)
    across, up = torch.meshgrid(ticks, ticks, indexing="xy")
    return to_numpy(ticks), to_numpy((torch.stack([across, up], dim=-1) @ weight.T + bias).argmax(dim=-1))


def _regions(axes: Axes, weight: Tensor, bias: Tensor, half: float) -> None:
    ticks, labels = _labels(weight, bias, half)
    axes.pcolormesh(ticks, ticks, labels, cmap=ListedColormap(REGIONS), vmin=0, vmax=2, rasterized=True)


def _places_of_names(weight: Tensor, bias: Tensor, half: float, eps: float) -> list[np.ndarray | None]:
    """For each class the point beside the ball that is furthest from other classes, from the ball and from the edge."""
    ticks, labels = _labels(weight, bias, half, 60)
    across, up = np.meshgrid(ticks, ticks)
    points, from_centre = np.stack([across, up], axis=-1), np.maximum(np.abs(across), np.abs(up))
    room = np.minimum(half - from_centre, from_centre - eps)
    places: list[np.ndarray | None] = []
    for label in range(len(weight)):
        mine, others = labels == label, points[labels != label]
        away = np.linalg.norm(points[:, :, None] - others, axis=-1).min(axis=-1, initial=half)
        score = np.where(mine, np.minimum(room, away), -np.inf)
        places.append(points[np.unravel_index(score.argmax(), score.shape)] if mine.any() else None)
    return places
