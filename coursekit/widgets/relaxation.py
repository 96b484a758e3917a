"""Certificates in the plane: a point's box, what a network makes of it, and the polygon that a method puts round it."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from coursekit import plots
from coursekit.certify import relaxations
from coursekit.certify.relaxations import METHODS
from coursekit.perturbations import LpBall
from coursekit.plots.relaxations import LOOK, NAMES, SPOKEN, Leads, draw_leads, leads
from coursekit.widgets.explorer import Choice, Explorer, Number
from coursekit.widgets.plane import Plane


def relaxation_explorer(
    networks: Mapping[str, nn.Module], x: Tensor, y: Tensor, *, classes: Sequence[str] | None = None, eps: float = 0.04,
    method: str = "interval", point: int = 0,
) -> Explorer:  # fmt: skip
    """A point of the plane and its box; the leads over the other two classes, and a polygon that holds them all.

    networks: name -> points (B, 2) of the unit square -> logits (B, 3), of layers that `certify.relaxations` knows.
    x: (N, 2) points to choose from, y: (N,) their classes 0 to 2. The other arguments say where the controls stand to
    begin with. The verdict is checked: where a method proves nothing, a dense search of the box says whether there was
    something to fear, and the stronger methods are asked whether they can prove it.
    """
    if not networks:
        raise ValueError("networks must hold at least one; got none")
    scene = _Scene(networks, x, y, classes)
    controls: dict[str, Number | Choice] = {
        "network": Choice("network", next(iter(networks)), {name: name for name in networks}, width="19em"),
        "method": Choice("method", method, {NAMES[key]: key for key in METHODS}, width="16em"),
        "eps": Number("eps", float(eps), 0.0, 0.15, 0.005),
        "point": Number("point", point, 0, len(x) - 1, 1),
    }
    return Explorer(scene.draw, controls, size=(9.2, 5.0), panels=_Scene.PANELS)


class _Scene:
    """How to draw one picture of `relaxation_explorer`."""

    PANELS = (0.03, 0.11, 0.42, 0.72), (0.56, 0.11, 0.42, 0.72)

    def __init__(self, networks: Mapping[str, nn.Module], x: Tensor, y: Tensor, classes: Sequence[str] | None) -> None:
        self.classes = list(classes or ["class 0", "class 1", "class 2"])
        self.networks, self.x, self.y = networks, x, y
        self.planes = {name: Plane(model, x, y, self.classes) for name, model in networks.items()}

    def draw(self, figure: Figure, network: str, method: str, eps: float, point: int) -> str:
        """One redraw; returns the alt text."""
        threat, y = LpBall(eps, math.inf), int(self.y[point])
        weaker = METHODS[: METHODS.index(method)]
        found = leads(self.networks[network], self.x[point], y, threat, (*weaker, method))
        verdict, why, colour = self._verdict(found, network, method, point, threat)
        figure.text(0.03, 0.957, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.03, 0.907, why, fontsize=10.5, color=plots.GREY, va="center")
        figure.text(0.56, 0.844, NAMES[method], fontsize=10.5, weight="bold", color=plots.ink(LOOK[method][0]))
        figure.text(0.98, 0.844, "grey: another class is ahead", fontsize=10, color=plots.GREY, ha="right")

        square, sheet = figure.axes
        self.planes[network].draw(square, (0, 1), (0, 1), grid=90, size=4)
        low, high = ((self.x[point] + step).clamp(0, 1).tolist() for step in (-eps, eps))
        box = Rectangle((low[0], low[1]), high[0] - low[0], high[1] - low[1])
        box.set(facecolor=(1, 1, 1, 0.45), edgecolor="black", linestyle="--", linewidth=1.8)
        square.add_artist(box)
        square.plot(*self.x[point].tolist(), "o", color="black", markersize=6)
        draw_leads(sheet, found, method, self.classes, others=weaker)
        least = " and ".join(plots.short(value) for value in found.least[method])
        a, b = (self.classes[k] for k in found.others)
        return (
            f"{verdict}: {why}. Network {network}, point {point} of {self.classes[y]}, box of radius eps = {eps:g}. By "
            f"{SPOKEN[method]} the leads over {a} and {b} are at least {least}; the smallest seen is "
            f"{plots.short(found.worst)}."
        )

    def _verdict(self, found: Leads, network: str, method: str, point: int, threat: LpBall) -> tuple[str, str, str]:
        """The outcome, its reason, and a colour for it."""
        middle = len(found.reached) // 2
        if found.reached[middle, middle].min() <= 0:
            return "Nothing to certify", "x itself is misclassified", plots.GREY
        if found.certified(method):
            return "Certified", "the polygon stays out of the grey: no attack succeeds", plots.GREEN
        if found.worst <= 0:
            return "Not certified, and rightly so", "points of the box are misclassified", plots.VERMILION
        one = slice(point, point + 1)
        for stronger in METHODS[METHODS.index(method) + 1 :]:
            if relaxations.certified(self.networks[network], self.x[one], self.y[one], threat, stronger):
                proof = f"{SPOKEN[stronger]} can prove it"
                break
        else:
            proof = "none of the three methods can prove it"
        return "Not certified, though it is robust", f"no point of a dense grid is misclassified; {proof}", plots.PURPLE
