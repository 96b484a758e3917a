"""Distance against being fooled: the two penalties that an attack may use, and what the weight lambda does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.losses import cross_entropy, cw_margin
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, GREEN, GREY, VERMILION, ink, styled
from coursekit.plots.pictures import percent, short, show_image, to_numpy


@styled
def penalties_along(
    model: Classifier, x: Tensor, y: Tensor, towards: Tensor, *, reach: float = 2.0, points: int = 301
) -> Figure:
    """The margin loss and the log-probability of y on the way from x to another point and beyond, and their slopes.

    Both are what an attack may push down: L = [Z_y - max Z_i]_+ and log p_y, which is minus the cross-entropy. x,
    towards: one image each, (1, ...) ; y: (1,). reach: how far the line goes, in lengths of towards - x. Computed in
    float32 as an attack would see it. Source: lecture, slide "Alternative Optimization Problem".
    """
    if x.shape != towards.shape or len(x) != 1:
        raise ValueError(f"x and towards must be one image each; got {tuple(x.shape)} and {tuple(towards.shape)}")
    length = float((towards - x).flatten().norm())
    if not length:
        raise ValueError("towards must differ from x")
    way = torch.linspace(0, reach * length, points, dtype=x.dtype, device=x.device)
    margin, margin_slope = _on_line(model, x, y, (towards - x) / length, way, cw_margin)
    log_p, log_p_slope = _on_line(model, x, y, (towards - x) / length, way, lambda z, y: -cross_entropy(z, y))
    distance = to_numpy(way)
    fooled = np.flatnonzero(margin <= 0)
    crossing = float(distance[fooled[0]]) if len(fooled) else None

    figure = Figure(figsize=(9.4, 3.9), layout="constrained")
    values, slopes = figure.subplots(1, 2)
    drawn: tuple[tuple[Axes, str, dict[str, np.ndarray]], ...] = (
        (values, "what is pushed down", {"margin loss L": margin, "log p_y": log_p}),
        (slopes, "how steep it is along the line (log scale)", {"L": margin_slope, "log p_y": log_p_slope}),
    )
    slopes.set(yscale="log", ylim=(min(1e-9, 0.3 * log_p_slope[log_p_slope > 0].min(initial=1)), 300))
    for axes, title, lines in drawn:
        labels = {}
        for (label, line), colour, dashes in zip(lines.items(), (BLUE, VERMILION), ("-", "--"), strict=True):
            shown = np.where(line > 0, line, np.nan) if axes is slopes else line
            axes.plot(distance, shown, color=colour, linestyle=dashes, linewidth=2.5)
            there = np.isfinite(shown)
            if there.any():  # a slope that is zero all along the line is nowhere on a log scale
                labels[label] = (distance[there], shown[there], colour)
        axes.set(title=title, xlabel="distance from x (L₂)", xlim=(0, distance[-1]))
        if crossing is not None:
            axes.axvline(crossing, color=GREY, linestyle=":", linewidth=1.5)
            axes.text(
                crossing, 0.03, " fooled from here on", color=GREY, fontsize=9.5, transform=axes.get_xaxis_transform()
            )
        label_lines(axes, labels)
    where = f"fooled from distance {short(crossing)} on" if crossing is not None else "never fooled"
    figure.set_label(
        f"Two losses on a line from an image x into another class, {where}. Left: the margin loss goes from "
        f"{short(margin[0])} to {short(margin[-1])}, log p_y from {short(log_p[0])} to {short(log_p[-1])}. Right: "
        f"their slopes at x are {short(margin_slope[0])} and {short(log_p_slope[0])}; at the end of the line "
        f"{short(margin_slope[-1])} and {short(log_p_slope[-1])}."
    )
    return figure


def _on_line(
    model: Classifier, x: Tensor, y: Tensor, unit: Tensor, way: Tensor, loss: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The loss at x + way * unit, and the size of its derivative along the line."""
    t = way.detach().clone().requires_grad_()
    with differentiating(), evaluating(model):
        value = loss(model(x + t.view(-1, *[1] * (x.ndim - 1)) * unit), y.expand(len(t)))
        (slope,) = torch.autograd.grad(value.sum(), t)
    return to_numpy(value), np.abs(to_numpy(slope))


@styled
def tradeoff(
    lam: Sequence[float] | Tensor, distance: Tensor, closest: Tensor, margin: Tensor, *,
    share: Tensor | None = None, images: Tensor | None = None, pictures: int = 7,
) -> Figure:  # fmt: skip
    """What the weight lambda of the penalty does: where the descent ends, and what it found on the way.

    lam: N weights in ascending order. Each (N,): distance and margin of the point where the descent ends; closest: the
    distance of the closest point on its way that fools, inf where none does; share: of a whole batch, how many were
    fooled. images: (N, C, H, W) the end points, of which `pictures` are shown above. Marked is the first lambda that
    fools, and the best one. Source: lecture, slide "Alternative Optimization Problem".
    """
    weights, ends, found, margins = (to_numpy(part) for part in (lam, distance, closest, margin))
    if not all(part.shape == weights.shape for part in (ends, found, margins)) or weights.ndim != 1:
        raise ValueError("lam, distance, closest and margin must hold one number for each weight")
    fooled = np.isfinite(found)
    rows = [0.9] * (images is not None) + [1.7, 1.0] + [0.9] * (share is not None)
    figure = Figure(figsize=(8.4, 1.55 * sum(rows)), layout="constrained")
    panels = list(figure.subplots(len(rows), height_ratios=rows))
    if images is not None:
        _film(panels.pop(0), weights, to_numpy(images), fooled, pictures)
    upper, lower, *last = panels
    upper.plot(weights, ends, color=BLUE, linestyle="-")
    lines = {"where the descent ends": (weights, ends, BLUE)}
    if fooled.any():
        upper.plot(weights[fooled], found[fooled], color=VERMILION, linestyle="--", marker="o", markersize=4)
        lines["closest on its way that fools"] = (weights[fooled], found[fooled], VERMILION)
    highest, lowest = max(ends.max(), found[fooled].max(initial=1e-3)), ends[ends > 0].min(initial=1)
    upper.set(ylabel="distance to x\n(log scale)", yscale="log", ylim=(0.7 * lowest, 1.8 * highest))
    upper.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lower.plot(weights, margins, color=GREEN, linestyle="-.")
    lower.set(ylabel="margin L", ylim=(-0.06 * margins.max() - 1e-9, 1.1 * margins.max() + 1e-9))
    for axes in last:
        shares = to_numpy(share)
        axes.plot(weights, shares, color=GREY, linestyle="-")
        axes.set(ylabel="of the batch\nfooled", ylim=(-0.05, 1.08))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    said = "no lambda fools"
    if fooled.any():
        first, best = int(np.flatnonzero(fooled)[0]), int(found.argmin())
        for axes in panels:
            axes.axvline(weights[first], color=GREY, linestyle=":", linewidth=1.5)
        upper.plot(weights[best], found[best], "*", color=VERMILION, markeredgecolor="black", markersize=15, zorder=5)
        lower.annotate(
            f"first fooled at λ = {short(weights[first])}", (weights[first], 0.88), xytext=(5, 0), color=GREY,
            textcoords="offset points", xycoords=lower.get_xaxis_transform(), va="center", fontsize=10,
        )  # fmt: skip
        said = (
            f"the first that fools is {short(weights[first])}; the closest is found with {short(weights[best])}, at "
            f"distance {short(found[best])}, star; with the largest it is {short(found[-1])}"
        )
    for axes in panels:
        axes.set(xscale="log", xlim=(weights[0], weights[-1]))
        axes.label_outer()
        if axes is not panels[-1]:
            axes.tick_params(labelbottom=False)
    panels[-1].set_xlabel("λ (log scale)")
    label_lines(upper, lines)
    batch = f" Of a batch {percent(shares[0])} to {percent(shares[-1])} are fooled." if last else ""
    figure.set_label(
        f"Distance and margin against lambda from {short(weights[0])} to {short(weights[-1])}: {said}. Where the "
        f"descent ends the distance goes from {short(ends[0])} to {short(ends[-1])}, the margin from "
        f"{short(margins[0])} to {short(margins[-1])}.{batch}"
    )
    return figure


def _film(axes: Axes, weights: np.ndarray, images: np.ndarray, fooled: np.ndarray, count: int) -> None:
    """Some of the images side by side, each above its lambda."""
    axes.axis("off")
    width, last = 0.84 / count, max(1, len(weights) - 1)
    for place in np.unique(np.linspace(width / 2 * last, (1 - width / 2) * last, count).round().astype(int)):
        inset = axes.inset_axes((place / last - width / 2, 0, width, 0.86))
        show_image(inset, images[place], vmin=0, vmax=1)
        colour = VERMILION if fooled[place] else GREY
        inset.spines[:].set(color=colour, linewidth=2.5 if fooled[place] else 0.8)
        inset.set_title(f"λ = {float(short(weights[place])):g}", loc="center", fontsize=9.5, color=ink(colour))
