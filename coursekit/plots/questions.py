"""How many questions a search asks, and what lies on the way of a single step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.attacks import fgsm
from coursekit.losses import margin
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import LpBall
from coursekit.plots.look import COLOURS, GREY, PURPLE, VERMILION, ink, styled
from coursekit.plots.pictures import to_numpy

MARKS = "o^sDvP"


@styled
def questions_asked(ratios: Sequence[float], counts: Sequence[int], kinds: Sequence[str]) -> Figure:
    """Questions that a bisection asked against how often it had to halve, for several kinds of problems.

    ratios: N numbers D / eps, distance of the two ends in units of the distance wanted. counts: how many questions
    were asked for each. kinds: what sort of problem each was. Drawn beside them is the number of halvings, the
    smallest k with D / 2^k < eps.
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
        axes.plot(ratio[these], asked[these], mark, color=colour, markersize=6, markeredgecolor="white",
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
def along_the_step(model: Classifier, images: Mapping[float, tuple[Tensor, Tensor]], *, points: int = 41) -> Figure:
    """The lead of y on the way from x to FGSM's point, one line for each image, one panel for each eps.

    images: eps -> (x (B, ...) in [0, 1], y (B,)). The lead is that of the log-probabilities, log p_y - max log p_i:
    below 0 the image is misclassified. Lines that dip below 0 on the way and are above it at the end are drawn strong.
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
        bottom = min(1.1 * bottom, -0.12 * top)  # room for a word
        axes.axhspan(bottom, 0, color=VERMILION, alpha=0.12, linewidth=0)
        axes.plot(share, lead[:, ~crossed], "-", color=GREY, linewidth=1, alpha=0.6)
        axes.plot(share, lead[:, crossed], "-", color=PURPLE, linewidth=2.4)
        axes.axhline(0, color="black", linewidth=1.2)
        axes.text(0.02, 0.03, "misclassified", color=ink(VERMILION), transform=axes.transAxes, weight="bold")
        axes.set(xlim=(0, 1), xlabel="share of the step", ylabel="lead of y (log-probabilities)",
                 title=f"ε = {eps:g}: {len(y)} missed, {int(crossed.sum())} crossed on the way",
                 ylim=(bottom, 1.05 * top))  # fmt: skip
        said.append(
            f"eps = {eps:g}: {len(y)} images that FGSM leaves right; {int(crossed.sum())} of them are misclassified on "
            f"the way and right again at its end, drawn strong; the others stay above 0."
        )
    figure.set_label("The lead of y from x to the point of FGSM, one line for each image. " + " ".join(said))
    return figure
