"""Adversarial training in pictures: what a gradient claims, where it has none, and a training that collapses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, COLOURS, GREEN, GREY, LINES, VERMILION, ink, styled
from coursekit.plots.pictures import percent, short, to_numpy

MARKS = "oxs^"


@styled
def agreement(
    measured: Any, gradients: Mapping[str, Any], *, measured_as: str = "measured", claimed_as: str = "claimed"
) -> Figure:
    """Derivatives that were measured against those that gradients claim: on the diagonal they agree.

    measured: N derivatives, by finite differences. gradients: label -> N derivatives in the same order, at most four.
    measured_as, claimed_as: what the axes say. Source: lecture, slide "Adversarial Training: Danskin's Theorem".
    """
    truth = to_numpy(measured)
    claims = {label: to_numpy(gradient) for label, gradient in gradients.items()}
    if truth.ndim != 1 or any(claim.shape != truth.shape for claim in claims.values()):
        raise ValueError(
            f"measured and each gradient must hold one number for each weight; got {truth.shape} and "
            f"{[claim.shape for claim in claims.values()]}"
        )
    reach = 1.08 * max(np.abs(values).max() for values in (truth, *claims.values())) + 1e-12
    figure = Figure(figsize=(8.6, 4.3), layout="constrained")
    said = []
    for axes, (label, claim), colour, mark in zip(
        figure.subplots(1, len(claims), squeeze=False)[0], claims.items(), (BLUE, VERMILION, GREEN, GREY), MARKS,
        strict=False,
    ):  # fmt: skip
        axes.plot([-reach, reach], [-reach, reach], color=GREY, linestyle=":", linewidth=1.5)
        axes.plot(claim, truth, mark, color=colour, markersize=4, alpha=0.7, linestyle="none")
        gap = np.abs(claim - truth).max()
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=claimed_as, ylabel=measured_as)
        axes.set_title(f"gradient {label}\nlargest gap {gap:.1e}", color=ink(colour), weight="bold")
        axes.set_aspect("equal")
        axes.label_outer()
        said.append(f"Gradient {label}: largest gap {gap:.1e}.")
    figure.set_label(
        f"{len(truth)} derivatives, {measured_as} against {claimed_as}; on the dotted diagonal they agree. "
        + " ".join(said)
    )
    return figure


@styled
def upper_envelope(places: Any, pieces: Mapping[str, Any], *, name: str, xlabel: str) -> Figure:
    """Functions of one variable and the largest of them, which has a kink where another one takes over.

    places: N numbers in ascending order. pieces: label -> N values. name: of the largest. At the lowest kink the slopes
    to both sides are written beside it. Source: lecture, slide "Adversarial Training: Danskin's Theorem".
    """
    x = to_numpy(places)
    values = {label: to_numpy(piece) for label, piece in pieces.items()}
    if any(piece.shape != x.shape for piece in values.values()) or len(values) < 2:
        raise ValueError("pieces must hold at least two functions, each with one value for each place")
    table = np.stack(list(values.values()))
    top, winner = table.max(axis=0), table.argmax(axis=0)
    figure = Figure(figsize=(7.6, 4.3), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, top, color="black", linestyle="-", linewidth=6, alpha=0.25, solid_capstyle="round")
    labels = {name: (x, top + 0.02 * np.ptp(table), "black")}
    for (label, piece), colour, dashes in zip(values.items(), COLOURS, LINES[1:], strict=False):
        axes.plot(x, piece, color=colour, linestyle=dashes, linewidth=2)
        labels[label] = (x, piece, colour)
    axes.set(xlabel=xlabel, ylabel="loss", xlim=(x[0], x[-1]))
    said = "never changes piece"
    takeovers = np.flatnonzero(np.diff(winner))
    if len(takeovers):
        at = int(takeovers[top[takeovers].argmin()])
        at += top[at + 1] < top[at]
        left, right = (top[at] - top[at - 1]) / (x[at] - x[at - 1]), (top[at + 1] - top[at]) / (x[at + 1] - x[at])
        axes.plot(x[at], top[at], "o", color="black", markersize=9)
        axes.annotate(
            f"slope {left:+.3f} to the left,\n{right:+.3f} to the right:\nno gradient here".replace("-", "−"),
            (x[at], top[at]), xytext=(0.04, 0.1), textcoords="axes fraction", fontsize=10.5,
            arrowprops={"arrowstyle": "->", "color": "black", "shrinkB": 7, "relpos": (1, 0.5)},
        )  # fmt: skip
        place = short(round(float(x[at]), 9) + 0.0)  # not 1e-17, nor -0
        said = f"has a kink at {place}, with slope {left:+.3f} on its left and {right:+.3f} on its right"
    label_lines(axes, labels)
    figure.set_label(
        f"{name.capitalize()} against {xlabel}, the larger of {' and '.join(values)}: it {said}. From "
        f"{short(x[0])} to {short(x[-1])} it goes from {short(top[0])} over {short(top.min())} to {short(top[-1])}."
    )
    return figure


@styled
def collapse(histories: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Accuracy after each epoch under one step and under many, one panel for each training.

    histories: title -> (one_step, many_steps), accuracies in [0, 1] after epochs 1, 2, ... Where the two part while the
    second falls, training has overfitted catastrophically. Source: Wong et al. 2020, section 5.4.
    """
    figure = Figure(figsize=(4.4 * len(histories), 3.9), layout="constrained")
    said = []
    for axes, (title, (one_step, many_steps)) in zip(
        figure.subplots(1, len(histories), sharey=True, squeeze=False)[0], histories.items(), strict=True
    ):
        if len(one_step) != len(many_steps) or not len(one_step):
            raise ValueError(
                f"{title!r} must have two accuracies for each epoch; got {len(one_step)}, {len(many_steps)}"
            )
        epochs = np.arange(1, len(one_step) + 1)
        axes.fill_between(epochs, many_steps, one_step, color=GREY, alpha=0.12, linewidth=0)
        _line(axes, epochs, one_step, VERMILION, "--")
        _line(axes, epochs, many_steps, BLUE, "-")
        axes.set(title=title, xlabel="epoch", xlim=(0.8, len(epochs) + 0.2), ylim=(-0.03, 1.03))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        label_lines(axes, {
            "one step (FGSM)": (epochs, np.asarray(one_step, float), VERMILION),
            "many steps (PGD)": (epochs, np.asarray(many_steps, float), BLUE),
        })  # fmt: skip
        best = int(np.argmax(many_steps))
        said.append(
            f"{title}: under one step {percent(one_step[0])} to {percent(one_step[-1])}, under many steps "
            f"{percent(many_steps[0])} to {percent(many_steps[-1])}, best {percent(many_steps[best])} after epoch "
            f"{best + 1}."
        )
    figure.axes[0].set_ylabel("robust accuracy")
    figure.set_label(f"Robust accuracy after each of {len(epochs)} epochs. {' '.join(said)}")
    return figure


def _line(axes: Axes, epochs: np.ndarray, values: Sequence[float], colour: str, dashes: str) -> None:
    axes.plot(epochs, values, color=colour, linestyle=dashes, marker="o", markersize=5)
