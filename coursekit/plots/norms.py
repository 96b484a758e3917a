"""How far is far: perturbations and their norms, balls and their nearest points, distances and what they compare to."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Polygon
from torch import Tensor

from coursekit.perturbations.common import norm
from coursekit.plots.look import BLUE, CHANGE, GREY, VERMILION, ink, styled
from coursekit.plots.pictures import short, show_image, to_numpy

NAMES = {1: "₁", 2: "₂", math.inf: "∞"}  # of the norms, as written behind ‖δ‖
SPOKEN = {1: "L1", 2: "L2", math.inf: "L-infinity"}


@styled
def changes(
    x: Tensor, x_tilde: Tensor, titles: Sequence[str] | None = None, *,
    bounds: tuple[float, float] = (0.0, 1.0), size: float = 1.5,
) -> Figure:  # fmt: skip
    """Perturbed images, below each its perturbation δ = x̃ - x, and how long that is in the norms 1, 2 and ∞.

    x, x_tilde: (B, C, H, W) with C = 1 or 3, x also (1, C, H, W) for one image perturbed B times. titles: B captions.
    Each δ is shown from minus to plus its own largest entry, which is its L-infinity norm. size: inches of an image.
    """
    if x_tilde.ndim != 4 or x.shape[1:] != x_tilde.shape[1:] or len(x) not in (1, len(x_tilde)):
        raise ValueError(f"x and x_tilde must be images (B, C, H, W); got {tuple(x.shape)} and {tuple(x_tilde.shape)}")
    count = len(x_tilde)
    captions = [""] * count if titles is None else [str(title) for title in titles]
    if len(captions) != count:
        raise ValueError(f"titles must have one entry for each of the {count} images; got {len(captions)}")
    change = x_tilde - x
    lengths = {p: to_numpy(norm(change, p)) for p in NAMES}
    caption = 0.22 * max(title.count("\n") + 1 for title in captions)
    figure = Figure(figsize=(count * size + 0.6, 2 * size + 0.9 + caption), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    said = []
    for place, (above, below) in enumerate(grid.T):
        show_image(above, to_numpy(x_tilde[place]), vmin=bounds[0], vmax=bounds[1])
        above.set_title(captions[place], loc="center", fontsize=10.5, weight="bold")
        _show_delta(below, to_numpy(change[place]))
        below.set_xlabel(
            "\n".join(f"‖δ‖{mark} = {short(lengths[p][place])}" for p, mark in NAMES.items()), fontsize=10.5
        )
        sizes = ", ".join(f"{SPOKEN[p]} {short(lengths[p][place])}" for p in NAMES)
        said.append(f"{' '.join(captions[place].split()) or f'image {place + 1}'}: {sizes}")
    for axes, name in zip(grid[:, 0], ("x̃", "δ"), strict=True):
        axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    figure.set_label(
        f"{count} perturbed image{'s' * (count > 1)}, below each its perturbation delta in blue where darker and in "
        f"red where brighter. Its norms: {'; '.join(said)}."
    )
    return figure


def _show_delta(axes: Axes, delta: np.ndarray) -> None:
    largest = np.abs(delta).max() or 1.0
    if len(delta) == 3:  # a colour image has no single direction of change: grey is none
        return show_image(axes, (delta / largest + 1) / 2)
    show_image(axes, delta / largest, cmap=CHANGE, vmin=-1, vmax=1)


Project = Callable[[Tensor, Tensor, float], Tensor]


@styled
def nearest_points(
    projections: Mapping[float, Project], *, eps: float = 0.28, around: float = 0.46, points: int = 40
) -> Figure:
    """The balls of the plane, and for a ring of points around each the nearest point of the ball.

    projections: p -> project(x_tilde, x, eps), which takes and returns batches (B, 2); p from 1, 2 and math.inf. Ball
    and ring lie in the unit square around (1/2, 1/2): ball of radius eps, ring of radius `around`.
    """
    unknown = [p for p in projections if p not in NAMES]
    if unknown or not projections:
        raise ValueError(f"projections must have keys from 1, 2 and math.inf; got {list(projections)}")
    angle = 2 * math.pi * (torch.arange(points) + 0.5) / points
    ring = 0.5 + around * torch.stack([angle.cos(), angle.sin()], 1)
    inside = 0.5 + 0.4 * eps * torch.tensor([[1.0, 0.4], [-0.7, 0.9], [-0.2, -1.1]])
    outside = torch.cat([ring, inside])
    figure = Figure(figsize=(3.1 * len(projections), 3.4), layout="constrained")
    said = []
    for axes, (p, project) in zip(figure.subplots(1, len(projections), squeeze=False)[0], projections.items(),
                                  strict=True):  # fmt: skip
        nearest = project(outside, torch.full_like(outside, 0.5), eps)
        start, end = to_numpy(outside), to_numpy(nearest)
        axes.add_patch(ball_patch(p, eps, facecolor="#E9F1F7", edgecolor="black", linewidth=1.5))
        moved = np.hypot(*(end - start).T) > 1e-6
        gap = np.full_like(start, np.nan)  # one line with gaps is drawn faster than many lines
        axes.plot(*np.stack([start, end, gap], 1)[moved].reshape(-1, 2).T, "-", color=GREY, linewidth=0.9)
        axes.plot(*start[moved].T, "o", color="white", markeredgecolor=GREY, markersize=5)
        axes.plot(*end[moved].T, "o", color=VERMILION, markersize=6)
        axes.plot(*end[~moved].T, "o", color=BLUE, markersize=6)
        axes.plot(0.5, 0.5, "+", color="black", markersize=9)
        corners = int((_corner(end, p, eps) & moved).sum())
        note = f"{corners} of {points} land on a corner" if p != 2 else "all move towards x"
        axes.set_title(f"L{NAMES[p]}: {note}", fontsize=11)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        said.append(f"{SPOKEN[p]}, {note}")
    figure.set_label(
        f"The ball of each norm in the plane; lines lead from {points} points on a ring around it to the nearest point "
        f"of the ball; three points inside stay where they are. {'; '.join(said)}."
    )
    return figure


def _corner(points: np.ndarray, p: float, eps: float) -> np.ndarray:
    """Which points (N, 2) are corners of the ball around (1/2, 1/2)."""
    delta = np.abs(points - 0.5)
    if p == 1:
        return (np.abs(delta.max(axis=1) - eps) < 1e-4) & (delta.min(axis=1) < 1e-4)
    if p == 2:  # has none
        return np.zeros(len(points), dtype=bool)
    return np.all(np.abs(delta - eps) < 1e-4, axis=1)


def ball_patch(p: float, eps: float, **look) -> Patch:
    """The L_p ball of the plane around (1/2, 1/2)."""
    if p == 2:
        return Circle((0.5, 0.5), eps, **look)
    corners = [(1, 0), (0, 1), (-1, 0), (0, -1)] if p == 1 else [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    return Polygon(0.5 + eps * np.array(corners), **look)


@styled
def distances(
    angles: Tensor, lengths: Mapping[float, Tensor], marks: Mapping[float, Mapping[str, float]], *,
    xlabel: str = "angle in degrees", ylabel: str = "distance ‖x̃ − x‖",
) -> Figure:  # fmt: skip
    """How far images get from themselves as something grows, one panel a norm, beside distances to compare with.

    angles: (A,). lengths: p -> (A, B), the distance of each of B images at each angle: their median is drawn, and a
    band from the tenth to the ninetieth of a hundred. marks: p -> {label: distance}, horizontal lines.
    """
    across = to_numpy(angles)
    figure = Figure(figsize=(3.3 * len(lengths), 3.7), layout="constrained")
    said = []
    for axes, (p, values) in zip(figure.subplots(1, len(lengths), squeeze=False)[0], lengths.items(), strict=True):
        low, middle, high = np.quantile(to_numpy(values), [0.1, 0.5, 0.9], axis=1)
        axes.fill_between(across, low, high, color=BLUE, alpha=0.18, linewidth=0)
        axes.plot(across, middle, color=BLUE, linestyle="-", linewidth=2.5)
        top = 1.12 * max([high.max(), *marks[p].values()])
        for (label, height), colour in zip(marks[p].items(), (VERMILION, "black", GREY), strict=False):
            axes.axhline(height, color=colour, linestyle="--", linewidth=1.6)
            axes.text(
                across[-1], height + 0.012 * top, f"{label}: {short(height)}", color=ink(colour), fontsize=9.5,
                weight="bold", ha="right", va="bottom", bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.8,
                                                              "linewidth": 0},
            )  # fmt: skip
        axes.set(title=f"L{NAMES[p]}", xlabel=xlabel, xlim=(across[0], across[-1]), ylim=(0, top))
        compared = ", ".join(f"{label} {short(height)}" for label, height in marks[p].items())
        said.append(
            f"{SPOKEN[p]}: {short(middle[len(middle) // 2])} at {across[len(middle) // 2]:g}, {short(middle[-1])} at "
            f"{across[-1]:g}; to compare: {compared}"
        )
    figure.axes[0].set_ylabel(ylabel)
    figure.set_label(f"Median distance of an image from itself against the {xlabel}. {'. '.join(said)}.")
    return figure
