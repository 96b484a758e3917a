"""A neuron as inequalities, a search between two bounds, and what it costs: figures of exact certification."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, COLOURS, GREEN, GREY, LINES, VERMILION, ink, styled
from coursekit.plots.pictures import short, to_numpy

Rows = tuple[Any, Any, Any]
SLACK = 1e-9  # room for rounding


@styled
def encoding(rows: Rows, lower: float, upper: float) -> Figure:
    """What rows on (z, a, s) allow of a ReLU a = max(z, 0): with the switch s at 0, at 1, and anywhere in between.

    rows: A (R, 3), and the lower and upper ends (R,) of A (z, a, s). lower, upper: how far z is drawn; what the rows
    leave out of the ReLU between them is marked.
    """
    figure = Figure(figsize=(9.6, 3.5), layout="constrained")
    z = np.union1d(np.linspace(lower, upper, 401), [min(max(0.0, lower), upper)])  # the kink is a point of its own
    between = np.linspace(0, 1, 201).tolist()
    panels: dict[str, list[float]] = {"s = 0: off": [0.0], "s = 1: on": [1.0], "s between 0 and 1": between}
    every, said, reached = figure.subplots(1, 3, sharey=True), [], np.zeros(len(z), dtype=bool)
    for axes, (title, switches) in zip(every, panels.items(), strict=True):
        low, high = _allowed(rows, z, switches)
        there = low <= high + SLACK
        axes.plot(z, np.maximum(z, 0), ":", color=GREY, linewidth=2)
        wide = there & (high - low > 1e-3)
        axes.fill_between(z, low, high, where=wide, color=BLUE, alpha=0.22, linewidth=0)
        for edge in (low, high):
            axes.plot(z, np.where(there, edge, np.nan), "-", color=BLUE, linewidth=3)
        axes.set_title(title, weight="bold")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.axvline(0, color="black", linewidth=0.8)
        span = f"z from {short(z[there][0])} to {short(z[there][-1])}" if there.any() else "nothing"
        area = "a single a for each z" if not wide.any() else "a whole area"
        said.append(f"{title}: {span}" + (f", {area}" if there.any() else "") + ".")
        if len(switches) == 1:
            reached |= there & (low <= np.maximum(z, 0) + 1e-6) & (high >= np.maximum(z, 0) - 1e-6)
        else:
            lost = np.where(reached, np.nan, np.maximum(z, 0))
            if not reached.all():
                for panel in every:
                    panel.plot(z, lost, "-", color=VERMILION, linewidth=4)
                axes.text(0.04, 0.93, "left out", color=ink(VERMILION), weight="bold", transform=axes.transAxes)
                said.append(f"Left out of the ReLU, in red: {100 * (1 - reached.mean()):.0f} % of the values of z.")
        axes.set(xlabel="z", ylim=(-0.12 * upper, 1.12 * upper), xlim=(lower, upper))
    every[0].set_ylabel("a")
    figure.set_label(
        f"Which pairs (z, a) the inequalities allow, z from {short(lower)} to {short(upper)}, in three panels; the "
        "dotted line is the ReLU. " + " ".join(said)
    )
    return figure


def _allowed(rows: Rows, z: np.ndarray, switches: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest a that some s allows for each z; lowest above highest where nothing is allowed."""
    matrix, low, high = (to_numpy(part).astype(float) for part in rows)
    least, most = np.full(len(z), np.inf), np.full(len(z), -np.inf)
    for s in switches:
        bottom, top, possible = np.full(len(z), -10.0), np.full(len(z), 1e3), np.ones(len(z), dtype=bool)
        for (of_z, of_a, of_s), start, end in zip(matrix, low, high, strict=True):
            rest = of_z * z + of_s * s
            if of_a == 0:
                possible &= (rest >= start - SLACK) & (rest <= end + SLACK)
                continue
            least_a, most_a = ((side - rest) / of_a for side in ((start, end) if of_a > 0 else (end, start)))
            bottom, top = np.maximum(bottom, least_a), np.minimum(top, most_a)
        possible &= bottom <= top + SLACK
        least, most = (
            np.where(possible, np.minimum(least, bottom), least),
            np.where(possible, np.maximum(most, top), most),
        )
    return least, most


@styled
def two_bounds(history: Sequence[tuple[float, float]], *, truth: float | None = None) -> Figure:
    """A search from below and from above: after each linear program, the proven bound and the smallest value seen.

    history: (lower, upper) after 1, 2, ... programs. truth: where both end.
    """
    lower, upper = (np.array([pair[end] for pair in history], dtype=float) for end in (0, 1))
    upper[~np.isfinite(upper)] = np.nan
    steps = np.arange(1, len(lower) + 1)
    figure = Figure(figsize=(8.2, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(steps, lower, upper, step="post", color="#ECECEC", linewidth=0)
    axes.step(steps, upper, where="post", color=VERMILION, linestyle="--", linewidth=2.4)
    axes.step(steps, lower, where="post", color=BLUE, linestyle="-", linewidth=2.6)
    axes.axhline(0, color="black", linewidth=1.4)
    sure = np.flatnonzero((lower > 0) | (upper < 0))
    first = int(steps[sure[0]]) if len(sure) else None
    if first is not None:
        axes.axvline(first, color=GREEN, linestyle=":", linewidth=2.2)
        axes.annotate(f"decided after {first}", (first, 0.97), xycoords=("data", "axes fraction"), xytext=(6, 0),
                      textcoords="offset points", color=ink(GREEN), weight="bold", va="top")  # fmt: skip
    axes.set(xlabel="linear programs solved", ylabel="smallest lead", xlim=(1, steps[-1]))
    axes.margins(y=0.12)
    seen, later = np.isfinite(upper), 3 * len(steps) // 4  # a label at the right end is clear of what comes after here
    axes.annotate("proven", (float(steps[-1]), float(lower[later])), xytext=(0, -6), textcoords="offset points",
                  color=ink(BLUE), weight="bold", ha="right", va="top")  # fmt: skip
    if seen.any():
        place = float(steps[-1]), float(np.nanmax(upper[later:])) if seen[later:].any() else float(upper[seen][-1])
        axes.annotate("seen at a point", place, xytext=(0, 6), textcoords="offset points",
                      color=ink(VERMILION), weight="bold", ha="right", va="bottom")  # fmt: skip
    end = "" if truth is None else f" The smallest value is {short(truth)}."
    figure.set_label(
        f"Two staircases against the number of linear programs, 1 to {steps[-1]}: the bound that is proven rises from "
        f"{short(lower[0])} to {short(lower[-1])}, the smallest value seen at a point "
        + (f"falls from {short(upper[seen][0])} to {short(upper[seen][-1])}." if seen.any() else "is still infinite.")
        + (f" From {first} programs on both are on one side of 0." if first else " 0 lies between them all the time.")
        + end
    )
    return figure


@styled
def search_cost(
    lines: Mapping[str, tuple[Any, Any, Any]], *, limit: float | None = None, xlabel: str = "radius ε of the ball"
) -> Figure:
    """How many neurons can switch, and how long the exact answer takes, against eps.

    lines: label -> (eps (E,), neurons (E, N), seconds (E, N)) for N images: drawn are the median and, as a band, the
    middle 80 %; of the seconds the mean, on a logarithmic scale, with the longest. limit: the time limit, marked.
    """
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    said = []
    counts: dict[str, Any] = {}
    for (label, (eps, neurons, seconds)), colour, dashes in zip(lines.items(), COLOURS, LINES, strict=False):
        eps, neurons, seconds = (to_numpy(part).astype(float) for part in (eps, neurons, seconds))
        middle = np.median(neurons, axis=1)
        left.fill_between(eps, *np.quantile(neurons, (0.1, 0.9), axis=1), color=colour, alpha=0.15, linewidth=0)
        left.plot(eps, middle, color=colour, linestyle=dashes, marker="o", markersize=4)
        right.plot(eps, seconds.mean(axis=1), color=colour, linestyle=dashes, marker="o", markersize=4)
        right.plot(eps, seconds.max(axis=1), "x", color=colour, markersize=6, linestyle="none")
        counts[label] = (eps, middle, colour)
        said.append(
            f"{label}: {middle[0]:.0f} neurons and {seconds.mean(axis=1)[0]:.2g} seconds at {short(eps[0])}, "
            f"{middle[-1]:.0f} and {seconds.mean(axis=1)[-1]:.2g} at {short(eps[-1])}, the longest "
            f"{seconds.max():.2g} seconds."
        )
    left.set(xlabel=xlabel, ylim=(0, None))
    left.set_title("neurons that can switch: median, middle 80 %", weight="bold")
    right.set(xlabel=xlabel, yscale="log")
    right.set_title("seconds for an image: mean, × longest", weight="bold")
    if limit is not None:
        right.axhline(limit, color="black", linestyle=":", linewidth=1.6)
        right.text(0.02, 0.93 * limit, "time limit", transform=right.get_yaxis_transform(), va="top")
        said.append(f"A dotted line marks the time limit of {short(limit)} seconds.")
    label_lines(left, counts)
    figure.set_label("Two panels against eps, median over the images on the left. " + " ".join(said))
    return figure
