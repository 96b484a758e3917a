"""Losses along a line through an image."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.losses import cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.plots.look import BLUE, GREY, VERMILION, styled
from coursekit.plots.pictures import short, to_numpy


@styled
def loss_along(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    direction: Tensor,
    *,
    span: tuple[float, float] = (-0.2, 1.0),
    points: int = 401,
    classes: Sequence[str] | None = None,
) -> Figure:
    """Zero-one loss and cross-entropy along the line x + t * direction, with the slope each shows at t = 0.

    x: (B, ...), y: (B,) int64, direction like x; also one image with a 0-dimensional y. Losses are means over the
    batch: one image gives a jump or two, a batch a staircase. span: first and last t. classes: names, for
    what is written above a single image's steps. A cross-entropy that spans orders of magnitude gets a log scale.
    Source: lecture, slide "Adversarial Attacks: Objective Function".
    """
    if direction.shape != x.shape:
        raise ValueError(f"direction must have the shape of x, {tuple(x.shape)}; got {tuple(direction.shape)}")
    if not span[0] <= 0 < span[1]:
        raise ValueError(f"span must run from some t <= 0 to some t > 0; got {span}")
    if y.ndim == 0:
        x, y, direction = x[None], y[None], direction[None]
    t = torch.linspace(*span, points, dtype=x.dtype, device=x.device)
    zero_one, surrogate, called = _losses_on_line(model, x, y, direction, t)
    slope = _slope_at_zero(model, x, y, direction)
    at_zero, places = int(t.abs().argmin()), to_numpy(t)

    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    upper.set(title="zero-one loss: slope 0, no direction to go", ylim=(-0.15, 1.3), yticks=[0, 0.5, 1])
    _staircase(upper, places, zero_one)
    if len(x) == 1:
        _write_classes(upper, places, called, classes)
    lower.plot(places, surrogate, color=BLUE, linestyle="-", linewidth=2.5)
    lower.set_title(f"cross-entropy: slope {slope:+.2g} at x".replace("slope -", "slope −"))
    lower.set(xlabel="t   in   x + t · direction", xlim=span)
    if surrogate.min() > 0 and surrogate.max() > 100 * surrogate.min():
        lower.set(yscale="log", title=lower.get_title(loc="left") + " (log scale)")
    lower.set_ylim(*lower.get_ylim())  # the arrow must not move it
    _tangent(upper, zero_one[at_zero], 0.0, span)
    _tangent(lower, surrogate[at_zero], slope, span)
    figure.set_label(_line_in_words(len(x), places, zero_one, surrogate, slope))
    return figure


def _losses_on_line(
    model: Classifier, x: Tensor, y: Tensor, direction: Tensor, t: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean zero-one loss, mean cross-entropy and the first image's class, each at every t."""
    zero_one, surrogate, called = [], [], []
    with torch.no_grad(), evaluating(model):
        for some in t.split(max(1, 2048 // len(x))):
            line = x + some.view(-1, *[1] * x.ndim) * direction
            logits = model(line.flatten(0, 1))
            labels = y.repeat(len(some))
            losses = cross_entropy(logits, labels), (logits.argmax(dim=1) != labels)
            surrogate.append(losses[0].view(len(some), -1).double().mean(dim=1))
            zero_one.append(losses[1].view(len(some), -1).double().mean(dim=1))
            called.append(logits.argmax(dim=1).view(len(some), -1)[:, 0])
    return to_numpy(torch.cat(zero_one)), to_numpy(torch.cat(surrogate)), to_numpy(torch.cat(called)).astype(int)


def _slope_at_zero(model: Classifier, x: Tensor, y: Tensor, direction: Tensor) -> float:
    """d/dt of the mean cross-entropy at t = 0: the inner product of gradient and direction."""
    t = torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True)
    with differentiating(), evaluating(model):
        loss = cross_entropy(model(x + t * direction), y).mean()
    return float(torch.autograd.grad(loss, t)[0])


def _stretches(t: np.ndarray, values: np.ndarray) -> list[tuple[float, float, Any]]:
    """(start, end, value) of each stretch on which the values stay the same; jumps lie between two points."""
    jumps = np.flatnonzero(np.diff(values))
    edges = [t[0], *(t[jumps] + t[jumps + 1]) / 2, t[-1]]
    return list(zip(edges[:-1], edges[1:], values[[0, *(jumps + 1)]], strict=True))


def _staircase(axes: Axes, t: np.ndarray, values: np.ndarray) -> None:
    """Strong steps; where it jumps only a hint of a line, for there is no slope there."""
    steps = _stretches(t, values)
    for start, end, value in steps:
        axes.hlines(value, start, end, color=VERMILION, linewidth=3)
    for (_, end, value), (_, _, following) in itertools.pairwise(steps):
        axes.vlines(end, *sorted((value, following)), color=VERMILION, linewidth=1, linestyle=":")


def _write_classes(axes: Axes, t: np.ndarray, called: np.ndarray, classes: Sequence[str] | None) -> None:
    """Above the staircase: which class the model names on each stretch wide enough for a word."""
    for start, end, label in _stretches(t, called):
        if end - start > 0.05 * (t[-1] - t[0]):
            name = classes[label] if classes else label
            axes.text((start + end) / 2, 1.16, f"“{name}”", ha="center", va="center", color=GREY)


def _tangent(axes: Axes, height: float, slope: float, span: tuple[float, float]) -> None:
    """A dot for x at t = 0 and an arrow along the tangent there, as far as it stays in the picture."""
    low, high = axes.get_ylim()
    t = np.linspace(0, 0.15 * (span[1] - span[0]), 50)
    # On a log scale the tangent of the curve as drawn is an exponential.
    line = height * np.exp(slope / height * t) if axes.get_yscale() == "log" else height + slope * t
    t, line = t[(line >= low) & (line <= high)], line[(line >= low) & (line <= high)]
    axes.plot(t[:-3], line[:-3], color="black", linestyle="-", linewidth=2.2, zorder=4)
    if len(t) > 4:
        arrow = {"arrowstyle": "-|>", "linewidth": 2.2, "color": "black", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (t[-1], line[-1]), (t[-4], line[-4]), arrowprops=arrow, zorder=4)
    axes.plot(0, height, "o", color="black", markersize=7, zorder=4)
    axes.annotate("x", (0, height), xytext=(-4, 8), textcoords="offset points", ha="right", weight="bold")


def _line_in_words(count: int, t: np.ndarray, zero_one: np.ndarray, surrogate: np.ndarray, slope: float) -> str:
    steps = _stretches(t, zero_one)
    jumps = {1: "never jumps", 2: "jumps once"}.get(len(steps), f"jumps {len(steps) - 1} times")
    first = f", first at t = {short(steps[0][1])}" if len(steps) > 1 else ""
    return (
        f"Two losses along a line through {'one image' if count == 1 else f'{count} images'}, t from {t[0]:.2g} to "
        f"{t[-1]:.2g}. Above: the zero-one loss is flat and {jumps}{first}; its slope at t = 0 is zero. "
        f"Below: the cross-entropy is smooth, with slope {slope:.2g} at t = 0; "
        f"it goes from {surrogate[0]:.2g} to {surrogate[-1]:.2g}."
    )
