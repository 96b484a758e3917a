"""Attacks on things that a camera sees from anywhere: what a constraint costs, and how far a view may depart."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, GREEN, GREY, LINES, PURPLE, VERMILION, ink, styled
from coursekit.plots.pictures import _batch, percent, short, show_image, to_numpy


@styled
def price(
    weights: Sequence[float], success: Sequence[float], pictures: Tensor, *, xlabel: str = "weight λ of the constraint",
    ylabel: str = "success",
) -> Figure:  # fmt: skip
    """What a constraint costs an attack: its success at each weight, and above each the picture that came out.

    weights: N numbers, drawn at equal distances. success: N shares. pictures: (N, C, H, W).
    """
    shares, batch = to_numpy(success), to_numpy(_batch("pictures", pictures))
    if not len(weights) == len(shares) == len(batch):
        counts = f"{len(weights)}, {len(shares)} and {len(batch)}"
        raise ValueError(f"weights, success and pictures must be equally many; got {counts}")
    figure = Figure(figsize=(max(1.25 * len(batch), 4), 4.4), layout="constrained")
    grid = figure.add_gridspec(2, len(batch), height_ratios=[1, 1.35])
    for place, picture in enumerate(batch):
        show_image(figure.add_subplot(grid[0, place]), picture, vmin=0, vmax=1)
    axes = figure.add_subplot(grid[1, :])
    axes.plot(shares, color=VERMILION, linestyle="-", marker="o", clip_on=False, zorder=3)
    for place, share in enumerate(shares):
        up = 1 if share < 0.93 else -1
        axes.annotate(
            percent(share), (place, share), xytext=(6 * (up > 0), 8 * up), textcoords="offset points", fontsize=10,
            ha="left" if up > 0 else "center", va="bottom" if up > 0 else "top", weight="bold", color=ink(VERMILION),
        )  # fmt: skip
    axes.set(xlim=(-0.5, len(batch) - 0.5), ylim=(-0.02, 1.04), xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(range(len(batch)), [f"{weight:g}" for weight in weights])
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    said = ", ".join(f"{percent(share)} at {weight:g}" for weight, share in zip(weights, shares, strict=True))
    figure.set_label(f"{ylabel.capitalize()} against the {xlabel}, above each point the picture that came out: {said}.")
    return figure


class Departure(NamedTuple):
    """One panel of `by_view`: what varies, its values (N,), the shares (N,) of each line, and from where to where it
    varies in an ordinary view."""

    name: str
    values: Sequence[float]
    shares: Mapping[str, Sequence[float]]
    ordinary: tuple[float, float]


@styled
def by_view(panels: Sequence[Departure], *, ylabel: str = "share of views") -> Figure:
    """Shares against how far a view departs from the ordinary, a panel for each way of departing.

    The lines of all panels have the same names, which are written in the last one. Ordinary values are shaded.
    """
    if not panels:
        raise ValueError("panels must hold at least one; got none")
    figure = Figure(figsize=(3.2 * len(panels) + 0.6, 3.9), layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    row[0].set(ylim=(-0.03, 1.12), yticks=np.linspace(0, 1, 6), ylabel=ylabel)
    row[0].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    looks = list(zip((VERMILION, BLUE, GREY, GREEN, PURPLE), LINES, strict=False))
    said: list[str] = []
    labels: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
    for axes, panel in zip(row, panels, strict=True):
        values = to_numpy(panel.values)
        axes.axvspan(*panel.ordinary, color="#EDEDED", linewidth=0)
        axes.text(np.mean(panel.ordinary), 1.105, "ordinary", ha="center", va="top", fontsize=9, color=GREY)
        for (name, shares), (colour, dashes) in zip(panel.shares.items(), looks, strict=False):
            axes.plot(values, to_numpy(shares), color=colour, linestyle=dashes, marker="o", markersize=4)
            labels[name] = values, to_numpy(shares), colour
        room = 0.03 * np.ptp(values)
        axes.set(xlabel=panel.name, xlim=(values.min() - room, values.max() + room))
        name = panel.name[:1].upper() + panel.name[1:]
        said.append(f"{name} from {short(values.min())} to {short(values.max())}: {_in_words(panel)}.")
    label_lines(row[-1], labels)
    figure.set_label(f"{ylabel.capitalize()} against how far the view departs. {' '.join(said)}")
    return figure


def _in_words(panel: Departure) -> str:
    """Each line where it starts, in the middle, and where it ends."""
    places = sorted({0, len(panel.values) // 2, len(panel.values) - 1})
    return "; ".join(
        f"{name} " + ", ".join(f"{percent(float(shares[place]))} at {panel.values[place]:.3g}" for place in places)
        for name, shares in panel.shares.items()
    )
