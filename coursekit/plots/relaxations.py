"""Convex relaxations in pictures: what a network can reach, and what each method says that it can reach at most."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from coursekit.certify import relaxations
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall
from coursekit.plots.look import BLUE, GREEN, ORANGE, VERMILION, ink, styled
from coursekit.plots.pictures import short, to_numpy

DIRECTIONS = 40
NAMES = {"interval": "intervals", "crown": "CROWN", "lp": "linear program"}
SPOKEN = NAMES | {"lp": "the linear program"}
LOOK = {"interval": (VERMILION, "--"), "crown": (BLUE, "-."), "lp": (GREEN, "-")}
AHEAD = "#EEEEEE"  # where another class is ahead


class Leads(NamedTuple):
    """What a network of three classes makes of P(x), as (z_y - z_a, z_y - z_b), a and b the other classes.

    reached: (G, G, 2), of a grid of P(x). outlines: method -> corners (M, 2) of the polygon that holds all leads.
    least: method -> (2,), lower bounds of the two leads: both above 0 is a certificate. others: a and b.
    """

    reached: np.ndarray
    outlines: dict[str, np.ndarray]
    least: dict[str, np.ndarray]
    others: tuple[int, int]

    @property
    def worst(self) -> float:
        """The smallest lead of the grid."""
        return float(self.reached.min())

    def certified(self, method: str) -> bool:
        """Whether the method proves that y leads in all of P(x)."""
        return bool((self.least[method] > 0).all())


def leads(
    model: nn.Module, x: Tensor, y: int, threat: LpBall, methods: Sequence[str] = relaxations.METHODS, *, grid: int = 41
) -> Leads:
    """The leads of class y over P(x) in the plane. model: (B, 2) -> logits (B, 3). x: (2,). threat: LpBall, p = inf.

    "interval" is drawn as the box that it is, each lead for itself; of the others half planes in 40 directions are
    cut out, the lead in each direction bounded at once. Raises ValueError for other numbers of inputs or classes.
    """
    if x.shape != (2,):
        raise ValueError(f"x must be one point of the plane, (2,); got {tuple(x.shape)}")
    ticks = torch.linspace(-1, 1, grid, dtype=x.dtype)
    points = (x + float(threat.eps) * torch.cartesian_prod(ticks, ticks)).clamp(*threat.bounds)
    with torch.no_grad(), evaluating(model):
        logits = model(points)
        if logits.shape[1] != 3:
            raise ValueError(f"model must have three classes; got {logits.shape[1]}")
        a, b = (k for k in range(3) if k != y)
        eye = torch.eye(3, dtype=x.dtype)
        axes = torch.stack([eye[y] - eye[a], eye[y] - eye[b]])
        angle = 2 * math.pi * torch.arange(DIRECTIONS, dtype=x.dtype) / DIRECTIONS
        around = torch.stack([angle.cos(), angle.sin()], dim=1)
        outlines, least = {}, {}
        for method in methods:
            ways = around[:: DIRECTIONS // 4] if method == "interval" else around
            bounds = to_numpy(relaxations.least(model, x[None], ways @ axes, threat, method)[0])
            outlines[method] = polygon(to_numpy(ways), bounds)
            least[method] = bounds[[0, len(ways) // 4]]
    return Leads(to_numpy(logits @ axes.T).reshape(grid, grid, 2), outlines, least, (a, b))


def polygon(normals: np.ndarray, least: np.ndarray) -> np.ndarray:
    """(M, 2): corners of what satisfies normal . p >= least for all normals (N, 2), least (N,); must be bounded.

    Where that is a point or a line, which rounding can make empty, all half planes give way until a sliver is left.
    """
    scale, slack = 1 + np.abs(least).max(), 0.0
    while (corners := _cut(normals, least - slack * scale)) is None:
        slack = max(2 * slack, 1e-7)
    return corners


def _cut(normals: np.ndarray, least: np.ndarray) -> np.ndarray | None:
    """The corners that all half planes leave; None if fewer than three."""
    far = 4 * np.abs(least).max() + 1
    corners = far * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    for normal, end in zip(normals, least, strict=True):
        height = corners @ normal - end
        kept = []
        for i, (here, above) in enumerate(zip(corners, height, strict=True)):
            before, height_before = corners[i - 1], height[i - 1]
            if (above >= 0) != (height_before >= 0):
                kept.append(before + (here - before) * height_before / (height_before - above))
            if above >= 0:
                kept.append(here)
        if len(kept) < 3:
            return None
        corners = np.array(kept)
    return corners


def draw_leads(
    axes: Axes, found: Leads, method: str, classes: Sequence[str], *, others: Sequence[str] = (),
    frame: np.ndarray | None = None,
) -> None:  # fmt: skip
    """The plane of the leads: the set that is reached, the outline of one method, of `others` dotted.

    frame: (M, 2) points that the picture must hold; None takes the outline. What lies left of 0 or below is grey:
    there another class is ahead.
    """
    outline = found.outlines[method]
    colour, dashes = LOOK[method]
    held = np.vstack([outline if frame is None else frame, [[0, 0]]])
    low, high = held.min(0), held.max(0)
    margin = 0.06 * np.maximum(high - low, 1e-6)
    low, high = low - margin, high + margin
    for corner, size in (((low[0], low[1]), (-low[0], high[1] - low[1])), ((0, low[1]), (high[0], -low[1]))):
        axes.add_artist(Rectangle(corner, *size, color=AHEAD))
    for other in others:
        corners = found.outlines[other]
        axes.add_artist(Polygon(corners, fill=False, edgecolor=LOOK[other][0], linestyle=":", linewidth=1.5))
    axes.add_artist(Polygon(outline, facecolor=colour, alpha=0.13))
    axes.add_artist(Polygon(outline, fill=False, edgecolor=colour, linestyle=dashes, linewidth=2.2))
    for line in (found.reached[::5], found.reached[:, ::5].transpose(1, 0, 2)):
        gaps = np.concatenate([line, np.full((len(line), 1, 2), np.nan)], axis=1).reshape(-1, 2)
        axes.plot(*gaps.T, "-", color="black", linewidth=0.9)
    axes.plot([0, 0, high[0]], [high[1], 0, 0], "-", color="black", linewidth=1.6)
    a, b = (classes[k] for k in found.others)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=f"lead over {a}", ylabel=f"lead over {b}")
    axes.grid(False)


@styled
def tightening(model: nn.Module, x: Tensor, y: int, threat: LpBall, *, classes: Sequence[str] | None = None) -> Figure:
    """One point, three methods, each tighter than the one before: the set of all leads in the polygon that holds it.

    model: (B, 2) -> logits (B, 3); x: (2,); threat: LpBall with p = inf. In the grey part another class is ahead. The
    first panel holds the interval's box, the others are closer; CROWN's polygon is dotted beside the other methods'.
    """
    found = leads(model, x, y, threat)
    names = classes or [f"class {k}" for k in range(3)]
    figure = Figure(figsize=(11.4, 4.2), layout="constrained")
    said = []
    panels = figure.subplots(1, 3)
    for i, (axes, method) in enumerate(zip(panels, relaxations.METHODS, strict=True)):
        frame = found.outlines["interval" if i == 0 else "crown"]
        draw_leads(axes, found, method, names, others=[] if method == "crown" else ["crown"], frame=frame)
        verdict = "certified" if found.certified(method) else "not certified"
        colour = GREEN if found.certified(method) else VERMILION
        axes.set_title(f"{NAMES[method]}: {verdict}", color=ink(colour), weight="bold")
        low = found.least[method]
        said.append(f"{NAMES[method]}: at least {short(low[0])} and {short(low[1])}, {verdict}")
    a, b = (names[k] for k in found.others)
    figure.set_label(
        f"The leads of {names[y]} over {a} and over {b} for all points of a box of radius eps = {threat.eps:g}: a "
        f"folded sheet, in truth never below {short(found.worst)}. Around it the polygon of each method, ever tighter. "
        + "; ".join(said) + "."
    )  # fmt: skip
    return figure


@styled
def wrapping(steps: int = 4, degrees: float = 45.0) -> Figure:
    """A square that is rotated again and again, and the boxes that interval arithmetic makes of it.

    Source: Moore 1966, "Interval Analysis" (the wrapping effect).
    """
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    square, radius = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]), np.ones(2)
    sides = [1.0]
    figure = Figure(figsize=(11.4, 2.9), layout="constrained")
    panels = figure.subplots(1, steps + 1)
    reach = 1.08 * (abs(matrix).sum(1).max() ** steps)
    for step, axes in enumerate(panels):
        axes.add_patch(Rectangle((-radius[0], -radius[1]), *(2 * radius), facecolor=VERMILION, alpha=0.12))
        axes.add_patch(
            Rectangle(
                (-radius[0], -radius[1]), *(2 * radius), fill=False, edgecolor=VERMILION, linestyle="--", linewidth=2
            )
        )
        axes.add_patch(Polygon(square, facecolor=BLUE, edgecolor="black", linewidth=1))
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(False)
        axes.set_title(f"{step} turn{'s' * (step != 1)}\nbox × {radius[0]:.3g}")
        square, radius = square @ matrix.T, abs(matrix) @ radius
        sides.append(float(radius[0]))
    grown = [f"{side:.3g}" for side in sides[:-1]]
    figure.set_label(
        f"A blue square, turned by {degrees:g} degrees {steps} times, keeps its size. The dashed box that interval "
        f"arithmetic puts round it grows with each turn; its sides are {', '.join(grown)} times "
        "those of the square."
    )
    return figure


@styled
def relu_relaxations(pairs: Sequence[tuple[float, float]] = ((-1.0, 2.0), (-2.0, 1.0))) -> Figure:
    """A ReLU over [l, u], l < 0 < u, and the region in which each method lets (z, a) lie; one row for each pair.

    Source: Gowal et al. 2018 (box), Zhang et al. 2018 (two lines), Ehlers 2017 (triangle).
    """
    figure = Figure(figsize=(10.4, 2.75 * len(pairs)), layout="constrained")
    said = []
    lowest, highest = min(low if high > -low else 0.0 for low, high in pairs), max(high for _, high in pairs)
    for row, (low, high) in zip(figure.subplots(len(pairs), 3, squeeze=False), pairs, strict=True):
        if not low < 0 < high:
            raise ValueError(f"pairs must hold l < 0 < u; got {(low, high)}")
        slope = 1.0 if high > -low else 0.0
        regions = {
            "interval": [(low, 0), (high, 0), (high, high), (low, high)],
            "crown": [(low, 0), (low, slope * low), (high, slope * high), (high, high)],
            "lp": [(low, 0), (0, 0), (high, high)],
        }
        for axes, (method, corners) in zip(row, regions.items(), strict=True):
            colour, dashes = LOOK[method]
            axes.add_patch(Polygon(corners, facecolor=colour, alpha=0.15))
            axes.add_patch(Polygon(corners, fill=False, edgecolor=colour, linestyle=dashes, linewidth=2))
            axes.plot([1.15 * low, 0, 1.1 * high], [0, 0, 1.1 * high], "-", color="black", linewidth=2.5)
            axes.set(
                xlim=(1.15 * low, 1.15 * high), ylim=(lowest - 0.15 * highest, 1.15 * highest), xticks=[low, 0, high]
            )
            axes.set_xticklabels([f"l = {low:g}", "0", f"u = {high:g}"])
            shape = np.array(corners, dtype=float)
            area = abs(np.sum(shape[:, 0] * np.roll(shape[:, 1], 1) - shape[:, 1] * np.roll(shape[:, 0], 1))) / 2
            axes.set_title(f"{NAMES[method]}: area {area:g}", color=ink(colour), weight="bold")
            said.append(f"[{low:g}, {high:g}] {NAMES[method]} {area:g}")
        row[0].set_ylabel("a = relu(z)")
    for axes in figure.axes[-3:]:
        axes.set_xlabel("z")
    figure.set_label(
        "The kinked line of a ReLU, and round it the region of each method: a box, a region between two lines, a "
        f"triangle. Areas: {'; '.join(said)}. The line below has slope 1 where u is larger than -l, else 0."
    )
    return figure


PARTS = (
    ("interval", "proven by intervals", VERMILION, "", "white"),
    ("crown", "proven by CROWN", BLUE, "", "white"),
    ("lp", "proven by the LP", GREEN, "", "white"),
    ("exact", "proven by exact search only", ORANGE, "//", "black"),
    ("open", "open", "#BBBBBB", "..", "black"),
    ("broken", "an attack breaks it", "#333333", "", "white"),
)


@styled
def between(bars: Mapping[str, Mapping[str, int]]) -> Figure:
    """What is known of some images, one bar for each model: proven by which method first, open, or broken.

    bars: label -> {"interval", "crown", "lp", "exact", "open", "broken": number of images}; parts may be missing.
    """
    known = {key for key, *_ in PARTS}
    figure = Figure(figsize=(9.6, 1.35 + 0.62 * len(bars)), layout="constrained")
    axes = figure.subplots()
    said = []
    for place, (label, parts) in enumerate(bars.items()):
        if not set(parts) <= known:
            raise ValueError(f"bars[{label!r}] may hold {', '.join(sorted(known))}; got {', '.join(sorted(parts))}")
        start, words = 0, []
        for key, name, colour, hatch, text in PARTS:
            count = parts.get(key, 0)
            if not count:
                continue
            axes.barh(place, count, left=start, color=colour, hatch=hatch, edgecolor="white", height=0.72)
            axes.text(
                start + count / 2, place, str(count), ha="center", va="center", color=text, weight="bold",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5} if hatch else None,
            )  # fmt: skip
            words.append(f"{count} {name}")
            start += count
        said.append(f"{label}: {', '.join(words)}")
    total = max(sum(parts.values()) for parts in bars.values())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yticks=range(len(bars)), xlim=(0, total), ylim=(len(bars) - 0.5, -0.5), xlabel="images")
    axes.set_yticklabels(list(bars))
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    there = [part for part in PARTS if any(part[0] in parts for parts in bars.values())]
    keys = [
        Rectangle((0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor="white") for _, _, colour, hatch, _ in there
    ]
    figure.legend(keys, [name for _, name, *_ in there], loc="outside upper left", ncols=3, frameon=False, fontsize=10)
    figure.set_label(f"Of {total} images, model by model. " + ". ".join(said) + ".")
    return figure
