"""Randomised smoothing: two clouds and what a shift can do, bounds that keep their promise or not, votes of copies, and
what is certified at each radius."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, COLOURS, GREEN, GREY, LINES, ORANGE, PURPLE, VERMILION, ink, styled
from coursekit.plots.pictures import percent, short, show_image, to_numpy

Worst = Callable[[Tensor, float, float], Tensor]  # (p (N,), sigma, distance) -> the least that may be left, (N,)
Bound = Callable[[int, int, float], float]  # (successes, n, alpha) -> a claim about p
TICKS = np.linspace(-9, 9, 9001)  # of a normal distribution, in units of sigma
FINE = np.full(len(TICKS), TICKS[1] - TICKS[0])


@styled
def two_clouds(p: float, sigma: float, distance: float, worst: Worst) -> Figure:
    """Why a clear majority survives a shift: the clouds around x and x~ on the line between them, and four regions.

    p: the share of the cloud of x that has its class, in (1/2, 1). sigma: of the noise. distance: from x to x~, > 0.
    worst: (p, sigma, distance) -> the least share of the shifted cloud that can have it. Left: the region that loses
    most. Right: what four regions with the same p keep, at every distance; worst is drawn below them.
    Source: Cohen et al. 2019, figure 2 and lemma 4 (Neyman and Pearson).
    """
    if not 0.5 < p < 1:
        raise ValueError(f"p must lie between 1/2 and 1; got {p!r}")
    figure = Figure(figsize=(10.2, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    edge, kept = sigma * stats.norm.ppf(p), float(stats.norm.cdf(stats.norm.ppf(p) - distance / sigma))
    _clouds(left, p, sigma, distance, edge, kept)

    far = np.linspace(0, max(1.7 * edge, 1.15 * distance), 120)
    shape = _regions(p)
    lines = {}
    for (name, inside), colour, dashes in zip(shape.items(), (GREEN, PURPLE, ORANGE), LINES[1:], strict=False):
        # P[x~ + e in the region], for noise in units of sigma
        share = np.array([(inside * stats.norm.pdf(TICKS - r / sigma) * FINE).sum() for r in far])
        right.plot(far, share, color=colour, linestyle=dashes)
        lines[name] = (far, share, colour)
    least = np.array([float(worst(torch.tensor([p], dtype=torch.float64), sigma, float(r))[0]) for r in far])
    right.plot(far, least, color=BLUE, linestyle="-", linewidth=3)
    lines["the worst: a half-space"] = (far, least, BLUE)
    right.axhline(0.5, color="black", linestyle=":", linewidth=1.4)
    right.plot(edge, 0.5, "o", color="black", markersize=8)
    right.axvline(edge, ymax=0.5 / 1.08, color="black", linestyle=":", linewidth=1.2)
    right.set(xlabel="distance of x̃ from x", ylabel="share of the cloud with the class")
    right.set(xlim=(0, far[-1]), ylim=(0, 1.08))
    right.set_title(f"● majority lost at {short(edge)} at the earliest", fontsize=11)
    label_lines(right, lines)
    figure.set_label(
        f"Left: two normal clouds of sigma {short(sigma)} on the line from x to x~, {short(distance)} apart. A "
        f"half-line holds {percent(p)} of the cloud of x and {percent(kept)} of that of x~. Right: the share that is "
        f"kept, against the distance, for four regions with {percent(p)} at distance 0: both sides of x, stripes and a "
        f"half-space towards x~ stay above the half-space away from x~, which is down to one half at distance "
        f"{short(edge)}."
    )
    return figure


def _clouds(axes: Axes, p: float, sigma: float, distance: float, edge: float, kept: float) -> None:
    z = np.linspace(-3.4 * sigma, distance + 3.4 * sigma, 600)
    clouds = (0.0, BLUE, "-", "x", p, "right"), (distance, VERMILION, "--", "x̃", kept, "left")
    for centre, colour, dashes, name, share, side in clouds:
        density = stats.norm.pdf(z, centre, sigma)
        axes.plot(z, density, color=colour, linestyle=dashes)
        axes.fill_between(z, density, where=list(z <= edge), color=colour, alpha=0.22, linewidth=0)
        label, beside = f"{name}: {percent(share)}", 0.12 * sigma * (1 if side == "right" else -1)
        axes.text(centre + beside, 1.04 * density.max(), label, ha=side, color=ink(colour), weight="bold")
    axes.axvline(edge, color="black", linewidth=1.4)
    top = 1.32 * stats.norm.pdf(0, 0, sigma)
    axes.set(ylim=(0, top), yticks=[], xlabel="along the line from x to x̃", xlim=(z[0], z[-1]))
    axes.text(edge, 0.97 * top, " another class", va="top", color=GREY)
    axes.text(edge, 0.97 * top, "f says c ", va="top", ha="right", color=GREY)
    axes.set_title("the region that loses most", fontsize=11)
    axes.grid(False)


def _regions(p: float) -> dict[str, np.ndarray]:
    """Regions of the line that hold p of a standard normal distribution, as masks over TICKS, best to worst."""
    wide, cut = stats.norm.ppf((1 + p) / 2), stats.norm.ppf(1 - p)
    wave = np.cos(2 * np.pi * TICKS / 0.9)
    low, high = -1.0, 1.0  # where the wave must be above so that p is left
    for _ in range(40):
        middle = (low + high) / 2
        more = (stats.norm.pdf(TICKS) * FINE)[wave > middle].sum() > p
        low, high = (middle, high) if more else (low, middle)
    return {"half-space towards x̃": cut <= TICKS, "stripes": wave > low, "both sides of x": np.abs(TICKS) <= wide}


@styled
def coverage(bounds: Mapping[str, Bound], n: int, alpha: float) -> Figure:
    """How often a claim "p is at least ..." from n votes is false, against the true p, and the alpha that was promised.

    bounds: label -> (successes, n, alpha) -> the claim. Exact: the probability of all counts whose claim is above p.
    """
    if not bounds:
        raise ValueError("bounds must hold at least one; got none")
    p = np.unique(np.concatenate([np.linspace(0.5, 0.995, 300), 1 - np.logspace(-2.3, -4, 60)]))
    k = np.arange(n + 1)
    chance = stats.binom.pmf(k, n, p[:, None])
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.subplots()
    lines, said = {}, []
    for (label, bound), colour, dashes in zip(bounds.items(), COLOURS, LINES, strict=False):
        claim = np.array([float(bound(int(successes), n, alpha)) for successes in k])
        false = (chance * (claim > p[:, None])).sum(axis=1)
        shown = np.maximum(false, alpha / 100)
        axes.plot(p, shown, color=colour, linestyle=dashes, linewidth=1.8)
        lines[label] = (p, shown, colour)
        said.append(f"{label}: up to {percent(false.max())}")
    axes.axhline(alpha, color="black", linestyle=":", linewidth=1.6)
    axes.set(yscale="log", xlabel="true probability p", ylabel="claims above p (log scale)", xlim=(0.5, 1.0),
             ylim=(alpha / 60, 1.6))  # fmt: skip
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.text(1.004, alpha, f"promised:\n{100 * alpha:g} %", fontsize=10, va="center")
    label_lines(axes, lines)
    figure.set_label(
        f"How often a lower bound from {n} votes is above the true probability, from 0.5 to 1, on a logarithmic scale; "
        f"promised is {100 * alpha:g} %. {'; '.join(said)}."
    )
    return figure


@styled
def votes(
    x: Tensor, counts: Tensor, titles: Sequence[str], classes: Sequence[str], marked: Sequence[bool] | None = None
) -> Figure:
    """Images, and below each the votes of its noisy copies.

    x: (B, C, H, W) as they are shown. counts: (B, K). titles: B captions. classes: K names. marked: B flags, for a
    frame around the image.
    """
    shares = to_numpy(counts)
    shares = shares / shares.sum(axis=1, keepdims=True).clip(1)
    if not len(x) == len(shares) == len(titles):
        raise ValueError(f"x, counts and titles must be of one length; got {len(x)}, {len(shares)}, {len(titles)}")
    flags = [False] * len(x) if marked is None else [bool(flag) for flag in marked]
    figure = Figure(figsize=(1.32 * len(x) + 0.4, 3.1), layout="constrained")
    grid = figure.subplots(2, len(x), squeeze=False, height_ratios=[1, 1.05])
    said = []
    for picture, share, title, flag, (above, below) in zip(to_numpy(x), shares, titles, flags, grid.T, strict=True):
        show_image(above, picture, vmin=0, vmax=1)
        above.set_title(title, loc="center", fontsize=10, weight="bold" if flag else "normal")
        if flag:
            above.spines[:].set(color=VERMILION, linewidth=3)
        below.barh(np.arange(len(share)), share, color=[BLUE if s == share.max() else GREY for s in share], height=0.75)
        below.set(xlim=(0, 1.02), ylim=(len(share) - 0.4, -0.6), xticks=[0, 0.5, 1], yticks=[])
        below.set_xticklabels(["0", "½", "1"])
        below.axvline(0.5, color="black", linestyle=":", linewidth=1)
        said.append(
            f"{' '.join(title.split())}, {percent(share.max())} of the votes for {classes[int(share.argmax())]}"
        )
    grid[1, 0].set_yticks(np.arange(shares.shape[1]), list(classes), fontsize=8.5)
    grid[1, 0].set_ylabel("votes")
    figure.set_label(f"{len(said)} images with the votes of their noisy copies: " + "; ".join(said) + ".")
    return figure


@styled
def certified(
    lines: Mapping[str, tuple[Tensor, Tensor]],
    *,
    ceilings: Mapping[str, float] | None = None,
    attacked: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> Figure:
    """Certified accuracy against the radius, as the steps that it is, with the ceilings of the votes; and attacks.

    lines: label -> (radii (N,), certified accuracy (N,)), on a grid so fine that a step between two radii does not
    matter. ceilings: label of a line -> the radius that n unanimous votes certify, where nothing can be beyond.
    attacked: label -> (radii, accuracy) or (radii, accuracy, lower, upper), measured at few radii, drawn as dots with
    a band from lower to upper. Source: Cohen et al. 2019, figures 6 and 8.
    """
    if not lines:
        raise ValueError("lines must hold at least one curve; got none")
    figure = Figure(figsize=(7.8, 4.4), layout="constrained")
    axes = figure.subplots()
    labels, said = {}, []
    looks = zip(COLOURS, LINES, strict=False)
    for (label, (radii, share)), (colour, dashes) in zip(lines.items(), looks, strict=False):
        r, held = to_numpy(radii), to_numpy(share)
        axes.step(r, held, where="post", color=colour, linestyle=dashes, linewidth=2.2)
        labels[label] = (r, held, colour)
        middle = len(r) // 2
        said.append(f"{label}: {percent(held[0])} at {short(r[0])}, {percent(held[middle])} at {short(r[middle])}")
        if ceilings and label in ceilings:
            end = np.full(2, ceilings[label])
            axes.plot(end, (0, 1), color=colour, linestyle=":", linewidth=1.6)
            labels["ceiling" if len(lines) == 1 else f"ceiling, {label}"] = (end, np.array([0.0, 1.0]), colour)
            said[-1] += f", no further than its ceiling at {short(ceilings[label])}"
    for (label, (at, measured, *band)), (colour, dashes) in zip((attacked or {}).items(), looks, strict=False):
        r, held = np.asarray(at, dtype=float), np.asarray(measured, dtype=float)
        axes.plot(r, held, color=colour, linestyle=dashes, marker="o", markersize=5, linewidth=1.6)
        if band:
            low, high = (np.asarray(edge, dtype=float) for edge in band)
            axes.fill_between(r, low, high, color=colour, alpha=0.18, linewidth=0)
        labels[label] = (r, held, colour)
        said.append(f"{label}: " + ", ".join(f"{percent(y)} at {short(x)}" for x, y in zip(r, held, strict=True)))
    axes.set(xlabel="radius r (L₂)", ylabel="accuracy" if attacked else "certified accuracy", ylim=(-0.02, 1.03))
    axes.set(xlim=(0, None))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    label_lines(axes, labels)
    figure.set_label(f"Accuracy against the radius. {'; '.join(said)}.")
    return figure
