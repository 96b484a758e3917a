"""One step of FGSM on a loss of one input: the way it goes, where it lands, and what there was to find."""

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coursekit import plots
from coursekit.certify.enumeration import TinyNetwork, worst
from coursekit.widgets.explorer import Explorer, Number

SPAN, TOP = 2.0, 3.6  # of the axes: u from -SPAN to SPAN, the loss up to TOP
LOG_2 = float(np.log(2))


class Step(NamedTuple):
    """One step of FGSM from x = 0: the slope of the loss there (None at a kink), where it lands, the other logit's lead
    there, the point of the ball with the highest lead of all, by exact search, and the lead at x."""

    slope: float | None
    landing: float
    lead: float
    best: float
    best_lead: float
    lead_at_x: float


def bump(slope: float, height: float, place: float, width: float) -> TinyNetwork:
    """Logits (0, -1 + slope * u + a hat of that height on [place - width, place + width]): four ReLUs of one input u.

    Class 0 at u = 0 unless the hat reaches there. The straight part is one neuron that is on everywhere in the picture.
    """
    far = Fraction(64)
    rise = Fraction(height) / Fraction(width)
    return TinyNetwork.of_numbers(
        [[1], [1], [1], [1]],
        [far, Fraction(width) - Fraction(place), -Fraction(place), -Fraction(width) - Fraction(place)],
        [[0, 0, 0, 0], [Fraction(slope), rise, -2 * rise, rise]],
        [0, -1 - far * Fraction(slope)],
    )


def one_step(network: TinyNetwork, eps: float) -> Step:
    """What FGSM does to the point 0 of class 0, and the truth about its ball."""
    origin = [Fraction(0)]
    own, other = network.logit_gradients(origin)
    slope = None if 0 in network.hidden(origin) else float(other[0] - own[0])
    landing = Fraction(eps) * int(np.sign(slope or 0.0))
    found = worst(network, origin, 0, eps)
    lead, lead_at_x = (-float(network.lead([u], 0)) for u in (landing, *origin))
    return Step(slope, float(landing), lead, float(found.x[0]), -float(found.lead), lead_at_x)


def one_step_explorer(
    *, slope: float = -0.5, height: float = 3.0, place: float = 0.7, width: float = 0.3, eps: float = 1.0
) -> Explorer:
    """The loss of a small ReLU network along its one input, FGSM's step from x = 0, and the verdict in words.

    slope: of the other logit at x; height, place, width: of a bump where the other class lives; eps: radius of the
    ball. The arguments say where the controls stand to begin with. The verdict is checked by exact search of the ball.
    """
    controls = {
        "slope": Number("slope at x", slope, -1.0, 1.0, 0.05),
        "height": Number("height", height, 0.0, 4.0, 0.1),
        "place": Number("place", place, -1.6, 1.6, 0.05),
        "width": Number("width", width, 0.05, 1.0, 0.05),
        "eps": Number("eps", eps, 0.05, 1.8, 0.05),
    }
    return Explorer(_draw, controls, size=(9.4, 4.9), panels=[(0.07, 0.115, 0.915, 0.69)], scenery=_scenery)


def loss(lead: Any) -> Any:
    """The cross-entropy of two logits, the wrong one ahead by `lead` (a number or an array): log(1 + e^lead)."""
    return np.logaddexp(0, lead)


def _scenery(figure: Figure) -> None:
    (axes,) = figure.axes
    axes.set(xlim=(-SPAN, SPAN), ylim=(-0.32, TOP), yticks=[0, 1, 2, 3], xlabel="the input u; x stands at u = 0")
    axes.axhline(LOG_2, color=plots.GREY, linestyle=":", linewidth=1.8)
    axes.text(0, 1.03, "cross-entropy; above the dotted line f is wrong", fontsize=11, transform=axes.transAxes)
    key = "● x   ■ FGSM lands   ★ worst of the ball (shaded)"
    axes.text(1, 1.03, key, fontsize=10.5, color=plots.GREY, ha="right", transform=axes.transAxes)


def _draw(figure: Figure, slope: float, height: float, place: float, width: float, eps: float) -> str:
    """One redraw; returns the alt text."""
    network = bump(slope, height, place, width)
    step = one_step(network, eps)
    verdict, why, colour = _verdict(step, eps)
    figure.text(0.02, 0.955, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
    figure.text(0.02, 0.898, why, fontsize=10.5, color=plots.GREY, va="center")
    (axes,) = figure.axes
    axes.axis("off")  # its axis is part of the scenery
    # Every kink is a point of its own, so that a narrow bump keeps its tip.
    u = np.unique(np.concatenate([np.linspace(-SPAN, SPAN, 401), [place - width, place, place + width, -eps, eps]]))
    lead = -1 + slope * u + height * np.clip(1 - np.abs(u - place) / width, 0, None)
    axes.axvspan(-eps, eps, color=plots.SKY, alpha=0.16, linewidth=0)
    inside = np.abs(u) <= eps
    axes.fill_between(u, LOG_2, loss(lead), where=inside & (lead > 0), color=plots.VERMILION, alpha=0.3, linewidth=0)
    axes.plot(u, loss(lead), "-", color=plots.BLUE, linewidth=2.6)
    _draw_step(axes, step, float(loss(lead[np.abs(u).argmin()])))
    return (
        f"{verdict}: {why}. The cross-entropy along one input u from -2 to 2, with a bump of height {height:g} and "
        f"half width {width:g} at u = {place:g} in the other logit and a slope of {slope:g} at x = 0; the ball reaches "
        f"from {-eps:g} to {eps:g}. FGSM lands at u = {step.landing:g}, where the loss is {loss(step.lead):.2f}; the "
        f"highest loss of the ball is {loss(step.best_lead):.2f}, at u = {step.best:.2f}."
    )


def _draw_step(axes: Axes, step: Step, start: float) -> None:
    """The gradient at x, the step along the axis, the landing, and the worst point."""
    if step.slope:
        look = {"arrowstyle": "-|>", "linewidth": 2.6, "color": "black", "shrinkA": 0, "shrinkB": 0}
        look["mutation_scale"] = 18
        axes.annotate("", (step.landing, -0.17), (0, -0.17), arrowprops=look)
    axes.plot([0, 0], [-0.17, start], ":", color="black", linewidth=1.2)
    axes.plot([step.landing] * 2, [-0.17, loss(step.lead)], ":", color="black", linewidth=1.2)
    axes.plot(step.best, loss(step.best_lead), "*", color=plots.PURPLE, markeredgecolor="black", markersize=18)
    axes.plot(step.landing, loss(step.lead), "s", color=plots.VERMILION, markeredgecolor="black", markersize=10)
    axes.plot(0, start, "o", color="black", markersize=9)


def _verdict(step: Step, eps: float) -> tuple[str, str, str]:
    """The outcome, its reason, and a colour for it."""
    if step.lead_at_x >= 0:
        return "Nothing to attack", "x itself is misclassified", plots.GREY
    if step.best_lead <= 0:
        why = "an exact search finds no adversarial example in the ball, so no attack can"
        return "Nothing to find, and FGSM finds nothing", why, plots.GREEN
    where = f"the star at u = {step.best:.2f} is an adversarial example"
    if step.slope is None:
        return "x lies on a kink: no gradient, no step", where, plots.PURPLE
    if step.slope == 0:
        return "FGSM stands still: the gradient is zero", where, plots.PURPLE
    if step.lead > 0:
        return (
            "FGSM finds an adversarial example",
            f"it lands at u = {step.landing:g}, where f is wrong",
            plots.VERMILION,
        )
    side = "right" if step.landing > 0 else "left"
    if step.best * step.landing < 0:
        return (
            "FGSM fails: it walks the wrong way",
            f"at x the loss rises to the {side}, away from the star; {where}",
            plots.PURPLE,
        )
    return "FGSM fails: it steps too far", f"all of eps = {eps:g} at once leads across, and {where}", plots.PURPLE
