"""What is known of a model: attacked from above, certified from below, the truth between."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from coursekit.certify.report import NAMES, CertificationReport
from coursekit.plots.accuracy import label_lines
from coursekit.plots.look import BLUE, COLOURS, GREEN, GREY, LINES, VERMILION, ink, styled
from coursekit.plots.pictures import percent


@styled
def certificates(report: CertificationReport, *, title: str = "") -> Figure:
    """One radius: a bar for each row of the report. Several: robust accuracy against eps, the unknown as a grey band.

    report: of `coursekit.certify.report.certification_report`.
    """
    return _bars(report, title) if len(report.eps) == 1 else _curves(report, title)


def _bars(report: CertificationReport, title: str) -> Figure:
    rows = [("clean", [report.clean.float().mean().item()]), *report.rows()]
    figure = Figure(figsize=(7.2, 0.8 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (name, (share,)) in enumerate(rows):
        colour = GREY if name == "clean" else VERMILION if "attack" in name else BLUE if "exact" in name else GREEN
        axes.barh(place, share, height=0.62, color=colour)
        axes.text(share + 0.01, place, percent(share), va="center", color=ink(colour), weight="bold")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 1.12), title=title or f"{len(report.clean)} images, ε = {report.eps[0]:g}")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))
    figure.set_label(" ".join(["Bars.", *(f"{name}: {percent(share)}." for name, (share,) in rows)]))
    return figure


def _curves(report: CertificationReport, title: str) -> Figure:
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    eps = np.array(report.eps)
    above, below = (mask.float().mean(1).numpy() for mask in (report.standing, report.robust))
    axes.fill_between(eps, below, above, color=GREY, alpha=0.25, linewidth=0)
    lines, said = {}, []
    named = [("attacked", report.attacked), ("proven or exact" if report.exact else "", report.robust)]
    named += [(NAMES[name], mask) for name, mask in report.certified.items()]
    for (label, mask), colour, dashes in zip([pair for pair in named if pair[0]], COLOURS, LINES, strict=False):
        share = mask.float().mean(1).numpy()
        axes.plot(eps, share, color=colour, linestyle=dashes, marker="o", markersize=4)
        lines[label] = (eps, share, colour)
        said.append(
            f"{label}: {', '.join(f'{percent(value)} at {at:g}' for at, value in zip(eps, share, strict=True))}."
        )
    ball = "L∞" if report.p == math.inf else f"L{report.p:g}"
    axes.set(xlabel=f"radius ε of the {ball} ball", ylabel="robust accuracy", ylim=(-0.02, 1.03))
    axes.set_title(title or f"{len(report.clean)} images: from above and from below")
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    label_lines(axes, lines)
    figure.set_label(" ".join([
        f"Robust accuracy against {axes.get_xlabel()}, a grey band where neither attack nor proof decides.", *said,
    ]))  # fmt: skip
    return figure


@styled
def from_above(measured: Mapping[str, float], truth: tuple[float, float], *, title: str = "") -> Figure:
    """Robust accuracy as attacks measured it, a dot for each, and where the truth lies.

    measured: attack -> share in [0, 1] that it left right. truth: what is proven at least and at most; one line if both
    are the same. No attack can be to the left of it.
    """
    low, high = truth
    if not measured or not 0 <= low <= high <= 1:
        raise ValueError(f"measured must hold an attack, truth 0 <= low <= high <= 1; got {dict(measured)} and {truth}")
    figure = Figure(figsize=(7.2, 1.3 + 0.42 * len(measured)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(low, high, color=GREEN, alpha=0.3, linewidth=2)
    places = range(len(measured))
    for place, share in zip(places, measured.values(), strict=True):
        axes.hlines(place, high, share, color=GREY, linewidth=1.5)
        axes.plot(share, place, "o", color=VERMILION, markersize=9)
        axes.annotate(
            f"{100 * share:.1f} %", (share, place), xytext=(9, 0), textcoords="offset points", va="center",
            color=ink(VERMILION), weight="bold",
        )  # fmt: skip
    exactly = f"{100 * low:.1f} %" if low == high else f"{100 * low:.1f} to {100 * high:.1f} %"
    axes.text(high, -0.75, f"  the truth: {exactly}", color=ink(GREEN), weight="bold", va="center")
    spread = max([high, *measured.values()]) - low
    axes.set(ylim=(len(measured) - 0.5, -1.2), xlim=(low - 0.15 * spread - 0.01, low + 1.6 * spread + 0.03))
    axes.set_yticks(places, list(measured))
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="robust accuracy", title=title)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    said = "; ".join(f"{name}: {100 * share:.1f} %" for name, share in measured.items())
    figure.set_label(f"Robust accuracy as attacks measure it, from above. {said}. The truth: {exactly}.")
    return figure
