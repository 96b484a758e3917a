"""What became of a defence: its claim beside what was left of it, and a detector's scores."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.plots.look import BLUE, COLOURS, GREY, VERMILION, ink, styled
from coursekit.plots.pictures import percent, short, to_numpy

HATCHES = ("", "////", "....", "xxxx")


@styled
def claims(
    measured: Mapping[str, tuple[float, float]],
    *,
    names: tuple[str, str] = ("as claimed", "as broken"),
    xlabel: str = "robust accuracy",
    reference: tuple[str, float] | None = None,
) -> Figure:
    """A line for each defence, from the accuracy that was claimed to the one that was left.

    measured: defence -> (claimed, left), shares in [0, 1]. names: of the two. reference: name and value of a vertical
    line to compare with, such as the model without any defence.
    """
    if not measured:
        raise ValueError("measured must hold at least one defence; got none")
    for name, values in measured.items():
        if len(values) != 2 or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"measured[{name!r}] must be two shares in [0, 1]; got {values}")
    figure = Figure(figsize=(8.4, 1.25 + 0.62 * len(measured)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(measured))[::-1]
    for place, (claimed, left) in zip(places, measured.values(), strict=True):
        arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.8, "shrinkA": 6, "shrinkB": 6}
        axes.annotate("", (left, place), (claimed, place), arrowprops=arrow)
        axes.plot(claimed, place, "o", color=BLUE, markersize=11)
        axes.plot(left, place, "X", color=VERMILION, markersize=11)
        for value, colour, side in ((claimed, BLUE, 1), (left, VERMILION, -1)):
            side = side if claimed >= left else -side
            axes.annotate(
                percent(value), (value, place), xytext=(11 * side, 0), textcoords="offset points", va="center",
                ha="left" if side > 0 else "right", color=ink(colour), weight="bold", annotation_clip=False,
            )  # fmt: skip
    first = next(iter(measured.values()))
    for value, name, colour in zip(first, names, (BLUE, VERMILION), strict=True):
        axes.annotate(
            name, (value, places[0]), xytext=(0, 13), textcoords="offset points", ha="center", color=ink(colour),
            annotation_clip=False,
        )  # fmt: skip
    if reference:
        axes.vlines(reference[1], -0.85, places[0] + 0.2, color=GREY, linestyle=":", linewidth=1.5, zorder=0)
        axes.annotate(
            f"{reference[0]}: {percent(reference[1])}", (reference[1], -0.62), xytext=(5, 0), fontsize=10,
            textcoords="offset points", va="center", color=GREY,
        )  # fmt: skip
    axes.set(xlim=(-0.09, 1.09), ylim=(-0.85, len(measured) - 0.25), yticks=places, yticklabels=list(measured))
    axes.set(xlabel=xlabel, xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    said = [f"{name}: {names[0]} {percent(a)}, {names[1]} {percent(b)}" for name, (a, b) in measured.items()]
    end = f" {reference[0].capitalize()}: {percent(reference[1])}." if reference else ""
    figure.set_label(f"{xlabel.capitalize()} of {len(said)} defences. {'; '.join(said)}.{end}")
    return figure


@styled
def score_histograms(scores: Mapping[str, Tensor], threshold: float, *, xlabel: str = "score") -> Figure:
    """How strange a detector finds each kind of image, one row for each kind, and which part sets off the alarm.

    scores: kind of image -> (N,) positive scores, on a logarithmic axis. threshold: the alarm goes off above it.
    """
    if not scores:
        raise ValueError("scores must hold at least one kind of image; got none")
    values = {name: to_numpy(part).ravel() for name, part in scores.items()}
    if any(not len(part) or not (part > 0).all() for part in values.values()) or not threshold > 0:
        raise ValueError("scores and threshold must be above 0, with at least one score of each kind")
    shares = {name: part / threshold for name, part in values.items()}
    together = np.concatenate([*shares.values(), [1.0]])
    low, high = together.min() / 1.1, together.max() * 1.1
    below = round(45 * np.log(1 / low) / np.log(high / low))  # no bar lies across the threshold
    edges = np.concatenate([np.geomspace(low, 1, below + 1), np.geomspace(1, high, 46 - below)[1:]])
    figure = Figure(figsize=(8.4, 0.7 + 1.15 * len(values)), layout="constrained")
    rows = figure.subplots(len(values), sharex=True, squeeze=False)[:, 0]
    said = []
    for axes, (name, part), colour, hatch in zip(rows, shares.items(), COLOURS, HATCHES, strict=False):
        heights, *_ = axes.hist(part, edges, color=colour, alpha=0.75, hatch=hatch, edgecolor="white", linewidth=0.5)
        axes.axvspan(1, high, color="#F0F0F0", zorder=0, linewidth=0)
        axes.axvline(1, color="black", linewidth=1.5, linestyle="--")
        caught = percent(float((part > 1).mean()))
        axes.text(
            0.008, 0.96, f"{name} · alarm for {caught}", transform=axes.transAxes, va="top", color=ink(colour),
            weight="bold",
        )  # fmt: skip
        axes.set(xscale="log", yticks=[], xlim=(low, high), ylim=(0, 1.4 * max(heights)))
        axes.spines["left"].set_visible(False)
        axes.grid(False)
        said.append(f"{name}: half of the scores above {short(np.median(part))}, alarm for {caught}")
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if low < tick < high]
    rows[-1].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    rows[-1].minorticks_off()
    rows[-1].set_xlabel(f"{xlabel}, in units of the threshold (log scale): above 1 the alarm goes off")
    figure.set_label(f"Histograms of a detector's {xlabel}, in units of the threshold. {'; '.join(said)}.")
    return figure
