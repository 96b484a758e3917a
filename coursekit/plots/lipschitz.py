"""How steep, how sure: estimates of a norm, constants and slopes, and the gap between a certificate and an attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, CHANGE, COLOURS, GREEN, GREY, LINES, PURPLE, VERMILION, ink, styled
from coursekit.plots.pictures import percent, short, to_numpy


@styled
def matrices(items: Mapping[str, Tensor], *, size: float = 4.2) -> Figure:
    """Matrices (m, n) side by side, entry by entry: blue below zero, white at zero, red above; one scale for each."""
    shapes = [(len(matrix), len(matrix[0])) for matrix in items.values()]
    figure = Figure(figsize=(size * len(items), 0.75 + size * max(m / n for m, n in shapes)), layout="constrained")
    said = []
    for axes, (title, matrix) in zip(np.atleast_1d(figure.subplots(1, len(items))), items.items(), strict=True):
        values = to_numpy(matrix)
        most = np.abs(values).max(initial=1e-12)
        axes.imshow(values, cmap=CHANGE, vmin=-most, vmax=most)
        axes.set(xticks=[], yticks=[], xlabel=f"{values.shape[1]} inputs", ylabel=f"{values.shape[0]} outputs")
        axes.set_title(title, weight="bold")
        axes.grid(False)
        axes.spines[:].set(visible=True, color=GREY, linewidth=0.8)
        zeros = (values == 0).mean()
        said.append(
            f"{title}: {values.shape[0]} rows and {values.shape[1]} columns, {percent(zeros)} of the entries are 0, "
            f"the others take {len(np.unique(values[values != 0]))} different values."
        )
    figure.set_label("Matrices as pictures, one small square for each entry. " + " ".join(said))
    return figure


@styled
def estimates(
    rising: Mapping[str, Sequence[float]], truth: float, *, ylabel: str = "estimate of the norm"
) -> Figure:  # fmt: skip
    """Estimates of a number from below, step by step, and the number itself; beside it what is missing, on a log scale.

    rising: label -> the estimates after 0, 1, 2, ... steps. truth: the number that they rise to, a thick line.
    """
    figure = Figure(figsize=(10.4, 3.8), layout="constrained")
    axes, missing = figure.subplots(1, 2)
    last = max(len(values) for values in rising.values()) - 1
    labels: dict[str, Any] = {f"the norm: {truth:.3g}": (np.array([0.0, last]), np.full(2, truth), "black")}
    axes.axhline(truth, color="black", linestyle="-", linewidth=2.6)
    for (label, values), colour, dashes in zip(rising.items(), COLOURS, LINES, strict=False):
        heights = to_numpy(values)
        axes.plot(heights, color=colour, linestyle=dashes, marker="o", markersize=4)
        labels[label] = (np.arange(len(heights)), heights, colour)
    axes.set(xlabel="steps", ylabel=ylabel, ylim=(0, 1.15 * truth), xlim=(-0.2, last + 0.2), xticks=range(last + 1))
    label_lines(axes, labels)
    gaps, floor = {}, 1e-7 * abs(truth)  # below that a difference of float32 numbers says nothing
    for (label, values), colour, dashes in zip(rising.items(), COLOURS, LINES, strict=False):
        left = np.maximum(truth - to_numpy(values), floor)
        missing.plot(left, color=colour, linestyle=dashes, marker="o", markersize=4)
        gaps[label] = (np.arange(len(left)), left, colour)
    missing.set(xlabel="steps", ylabel="what is missing to the norm (log scale)", yscale="log", xlim=(-0.2, last + 0.2),
                xticks=range(last + 1))  # fmt: skip
    label_lines(missing, {label: (x, y, colour) for label, (x, y, colour) in gaps.items()})
    said = "; ".join(
        f"{label}: from {short(values[0])} to {short(values[-1])}, {short(float(gaps[label][1][-1]))} below"
        for label, values in rising.items()
    )
    figure.set_label(
        f"Two panels. Estimates against the number of steps, none above the number itself, {truth:.3g}, to which they "
        f"rise; and on a logarithmic scale what is missing. {said}."
    )
    return figure


@styled
def gap(
    networks: Mapping[str, tuple[Any, Any, Any]], *, xlabel: str = "radius ε (L₂)", upper: str = "survives the attack",
    lower: str = "certified",
) -> Figure:  # fmt: skip
    """Between proof and attack: for each network the share that is certified and the share that survives, against eps.

    networks: title -> (eps, certified, survives), each a sequence of N numbers, shares in [0, 1], certified below
    survives. The truth lies in the shaded band between them.
    """
    figure = Figure(figsize=(4.1 * len(networks) + 0.5, 3.9), layout="constrained")
    said = []
    every = np.atleast_1d(figure.subplots(1, len(networks), sharey=True))
    # The lines carry their names where they are furthest apart.
    named = int(np.argmax([(to_numpy(alive) - to_numpy(proven)).mean() for _, proven, alive in networks.values()]))
    for number, (axes, (title, (eps, proven, alive))) in enumerate(zip(every, networks.items(), strict=True)):
        eps, proven, alive = (to_numpy(part) for part in (eps, proven, alive))
        axes.fill_between(eps, proven, alive, color="#ECECEC", linewidth=0)
        axes.plot(eps, alive, color=VERMILION, linestyle="--", linewidth=2.4)
        axes.plot(eps, proven, color=BLUE, linestyle="-", linewidth=2.6)
        axes.set(xlabel=xlabel, ylim=(-0.02, 1.03), xlim=(0, eps[-1]))
        axes.set_title(title, weight="bold")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # "2", not "2.00": neighbours' ticks stay apart
        widest = int((alive - proven).argmax())
        open_ = alive - proven
        if open_[widest] > 0.25:  # room for a word, in the middle of the band
            there = float((eps * open_**2).sum() / (open_**2).sum())
            height = float(np.interp(there, eps, (alive + proven) / 2))
            axes.text(there, height, f"unknown:\nup to\n{100 * open_[widest]:.0f} points", fontsize=9.5, color=GREY,
                      va="center", ha="center")  # fmt: skip
        if number == named:
            label_lines(axes, {upper: (eps, alive, VERMILION)} | _name_beside(axes, lower, eps, proven))
        said.append(
            f"{title}: at {short(eps[0])} {percent(proven[0])} are {lower}, at {short(eps[widest])} "
            f"{percent(proven[widest])} against {percent(alive[widest])} that survive, the widest gap."
        )
    figure.set_label(
        f"Two curves against the radius for each of {len(networks)} networks: the share that is {lower}, solid, and "
        f"above it the share that {upper}, dashed; the truth lies between. " + " ".join(said)
    )
    return figure


def _name_beside(axes: Any, label: str, eps: np.ndarray, proven: np.ndarray) -> dict[str, tuple[Any, Any, str]]:
    """Writes the label right of a falling curve, low down where the band is wide; else returns it for `label_lines`."""
    low = int((proven <= 0.15).argmax())
    if proven[low] > 0.15 or eps[low] > 0.6 * eps[-1]:
        return {label: (eps, proven, BLUE)}
    axes.annotate(label, (eps[low], proven[low]), xytext=(9, 3), textcoords="offset points", color=ink(BLUE),
                  weight="bold", fontsize=10)  # fmt: skip
    return {}


@styled
def steepness(rows: Mapping[str, tuple[Any, float]], *, xlabel: str = "slope of the lead (log scale)") -> Figure:
    """Slopes that were measured, one dot for each image, and the constant that is proven, one row for each network.

    rows: name -> (slopes (N,), constant), all above 0. Beside the constant: how many times the median slope it is.
    """
    figure = Figure(figsize=(8.2, 0.85 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    said, spread = [], np.random.default_rng(0)
    for number, (name, (slopes, constant)) in enumerate(rows.items()):
        values, bound = to_numpy(slopes), float(constant)
        height = -number + 0.16 * (2 * spread.random(len(values)) - 1) - 0.12
        axes.plot(values, height, "o", color=BLUE, markersize=4, alpha=0.45, markeredgewidth=0, linestyle="none",
                  zorder=3)  # fmt: skip
        middle = float(np.median(values))
        axes.plot([bound] * 2, [-number - 0.3, -number + 0.12], "-", color=VERMILION, linewidth=4)
        axes.plot([middle, bound], [-number - 0.12] * 2, ":", color=GREY, linewidth=1.4, zorder=0)
        axes.annotate(f"× {bound / middle:.2g}", (bound, -number - 0.12), xytext=(7, 0), textcoords="offset points",
                      va="center", color=ink(VERMILION), weight="bold",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
        axes.text(0, -number + 0.25, name, transform=axes.get_yaxis_transform(), va="center", weight="bold")
        said.append(f"{name}: median {short(middle)}, proven {short(bound)}, {bound / middle:.2g} times as much.")
    low = min(to_numpy(slopes).min() for slopes, _ in rows.values())
    high = max(float(constant) for _, constant in rows.values())
    axes.set(xscale="log", xlabel=xlabel, yticks=[], ylim=(0.6 - len(rows), 0.6), xlim=(0.7 * low, 4 * high))
    axes.spines["left"].set_visible(False)
    key = "● measured   ▮ proven   × how many times the median of the dots"
    axes.text(1, 1.0, key, transform=axes.transAxes, ha="right", va="bottom", color=GREY)
    figure.set_label(
        "Slopes measured at images, as dots on a logarithmic scale, and the constant that is proven for each network, "
        "a bar to their right. " + " ".join(said)
    )
    return figure


@styled
def growth(depths: Sequence[int], proven: Sequence[float], measured: Sequence[Sequence[float]]) -> Figure:
    """A bound that grows with the depth, and what is measured, on a logarithmic scale.

    depths: N numbers of layers. proven: N constants. measured: N lists of slopes that were seen, one for each network.
    """
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    places, bounds = to_numpy(depths), to_numpy(proven)
    seen = [to_numpy(values) for values in measured]
    steepest = np.array([values.max() for values in seen])
    for place, values in zip(places, seen, strict=True):
        axes.plot([place] * len(values), values, "o", color=GREEN, markersize=4, alpha=0.5, linestyle="none")
    axes.plot(places, steepest, color=GREEN, linestyle="--")
    axes.plot(places, bounds, color=PURPLE, linestyle="-", marker="s", markersize=5)
    axes.set(yscale="log", xlabel="linear layers", ylabel="slope (log scale)", xticks=list(places))
    middle = len(places) // 2
    axes.annotate("proven for the lead", (places[middle], bounds[middle]), xytext=(-8, 4), textcoords="offset points",
                  ha="right", va="bottom", color=ink(PURPLE), weight="bold", fontsize=10)  # fmt: skip
    label_lines(axes, {"steepest seen": (places, steepest, GREEN)})
    figure.set_label(
        f"Slopes against the number of layers on a logarithmic scale. The constant proven for the lead grows from "
        f"{short(bounds[0])} at {places[0]:.0f} layers to {short(bounds[-1])} at {places[-1]:.0f}; the steepest slope "
        f"that was seen goes from {short(steepest[0])} to {short(steepest[-1])}."
    )
    return figure
