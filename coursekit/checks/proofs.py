"""Proofs by example, looked at independently: nothing that a student says about a construction is believed.

Each function raises `Wrong` with what was got, what was expected, and a hint; see `expect`.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from coursekit.certify.enumeration import TinyNetwork, Vector, finite, worst
from coursekit.checks import expect
from coursekit.checks.classifiers import ClassifierSpec
from coursekit.checks.failures import Wrong
from coursekit.checks.values import describe
from coursekit.checks.values import number as shown

CLEAR = 0.01  # by how much a logit must lead: no proof hangs on a tie or on rounding
MOST_INPUTS, MOST_NEURONS = 3, 8


def pair(got: Any, spec: ClassifierSpec, eps: float, p: float, *, hint: str = "") -> tuple[Tensor, Tensor]:
    """Two points x and x~ of different labels with ||x - x~||_p < eps, strictly: neither of them is robust.

    The labels come from a classifier made anew from `spec`. Returns the two, (d,) float64. hint: for points too far
    apart.
    """
    wanted = f"two points, each a float64 tensor of shape ({spec.d},)"
    if got is None:
        raise Wrong("None", wanted, "Did you forget a return?")
    if isinstance(got, Tensor) and got.shape == (2, spec.d):
        got = list(got)
    if not isinstance(got, list | tuple) or len(got) != 2:
        raise Wrong(describe(got), wanted, "Return the two points, as in: return x, x_tilde")
    x, x_tilde = (expect.tensor(point, shape=(spec.d,), dtype=torch.float64) for point in got)
    f = ClassifierSpec(spec.kind, spec.arguments, spec.d).build()
    labels, distance = (f(x), f(x_tilde)), float(torch.linalg.vector_norm(x - x_tilde, ord=p))
    if labels[0] == labels[1]:
        same = (
            "x~ is x itself."
            if distance == 0
            else "In every step one end keeps label 0 and the other label 1: return the ends."
        )
        raise Wrong(f"f(x) = {labels[0]} and f(x~) = {labels[1]}", "two different labels", same)
    if not distance < eps:
        edge = (
            "The slide's ball is open: a distance of eps itself is not below eps."
            if distance <= eps * (1 + 1e-9)
            else ""
        )
        raise Wrong(f"points {shown(distance)} apart", f"closer than eps = {shown(float(eps))}", edge or hint)
    return x, x_tilde


@dataclass(frozen=True)
class Construction:
    """A network with one hidden layer of ReLUs and two classes, a point and its label, as handed in."""

    network: TinyNetwork
    x: Vector
    y: int

    def step(self, eps: float) -> Vector:
        """Where FGSM lands: x + eps sign(grad L), exactly. With two classes grad L points against that of the lead."""
        slopes = self.slope()
        return [value - Fraction(eps) * _sign(slope) for value, slope in zip(self.x, slopes, strict=True)]

    def slope(self) -> Vector:
        """The gradient of the lead z_y - z_other at x."""
        gradients = self.network.logit_gradients(self.x)
        return [own - other for own, other in zip(gradients[self.y], gradients[1 - self.y], strict=True)]

    def kinks(self) -> list[int]:
        """Neurons with x on their kink, where the gradient does not exist; one that ignores x has none."""
        return [
            j for j, value in enumerate(self.network.hidden(self.x)) if abs(value) < 1e-9 and any(self.network.first[j])
        ]


def construction(got: Any) -> Construction:
    """What was handed in, read: {"layers": [(W1, b1), (W2, b2)], "x": [...], "y": 0 or 1} of plain numbers."""
    wanted = 'a dict with "layers", "x" and "y"'
    if got is None:
        raise Wrong("None", wanted, "Did you forget a return?")
    if not isinstance(got, dict) or not {"layers", "x", "y"} <= set(got):
        keys = "the keys " + ", ".join(map(repr, got)) if isinstance(got, dict) else describe(got)
        raise Wrong(keys, wanted, "The docstring shows the form.")
    layers = got["layers"]
    if not isinstance(layers, list | tuple) or len(layers) != 2:
        count = f"{len(layers)} layers" if isinstance(layers, list | tuple) else describe(layers)
        raise Wrong(
            count, "two layers, (W1, b1) and (W2, b2)", "One hidden layer with ReLUs between the two is enough."
        )
    if not all(isinstance(layer, list | tuple) and len(layer) == 2 for layer in layers):
        raise Wrong("a layer that is not a pair", "each layer as (weights, biases)")
    numbers = [_plain(part) for layer in layers for part in layer]
    try:
        network = TinyNetwork.of_numbers(*numbers)
    except ValueError as error:
        raise Wrong(
            "layers that cannot be used", "W1 (n, d), b1 (n,), W2 (2, n), b2 (2,)", f"{str(error).capitalize()}."
        ) from None
    _expect_small(network)
    try:
        x = finite(_plain(got["x"]))
    except ValueError:
        raise Wrong(describe(got["x"]), "x as a list of finite numbers") from None
    if len(x) != network.inputs:
        raise Wrong(f"{len(x)} numbers in x", f"{network.inputs}, as W1 has columns")
    label = _plain(got["y"])
    if isinstance(label, bool) or label not in (0, 1):
        raise Wrong(describe(got["y"]), "y as 0 or 1")
    return Construction(network, x, int(label))


def classified(made: Construction) -> None:
    """f(x) = y, by a clear lead: the slide's definition begins with it."""
    lead = made.network.lead(made.x, made.y)
    _clear(
        lead, "the logit of y at x", "An adversarial example needs f(x) = y to begin with." if lead <= 0 else _NARROW
    )


def has_a_step(made: Construction) -> None:
    """The gradient at x exists and is not zero, so that FGSM takes a step."""
    if kinks := made.kinks():
        raise Wrong(f"x on the kink of neuron {kinks[0]}", "no neuron with W1 x + b1 = 0 at x",
                    "The gradient does not exist there: FGSM could do anything. Move x a little.")  # fmt: skip
    if not any(made.slope()):
        raise Wrong("a gradient of zero at x", "a gradient that is not zero",
                    "FGSM stands still: it fails, but too cheaply. Give the network some slope at x.")  # fmt: skip


def step_fails(made: Construction, eps: float) -> None:
    """FGSM's point is still classified as y, by a clear lead."""
    landing = made.step(eps)
    lead = made.network.lead(landing, made.y)
    place = ", ".join(_short(value) for value in landing)
    hint = "FGSM succeeds here. Which way does the loss rise at x, and what lies eps away in that direction?"
    _clear(lead, f"the logit of y at FGSM's point ({place})", hint if lead <= 0 else _NARROW)


def has_an_adversarial_example(made: Construction, eps: float) -> None:
    """Somewhere in the ball the other logit leads clearly, by exact search of all linear pieces."""
    found = worst(made.network, made.x, made.y, eps)
    if found.lead > -Fraction(CLEAR):
        place = ", ".join(_short(value) for value in found.x)
        none = "No attack can succeed, so FGSM is not to blame. Is the other label less than eps away?"
        raise Wrong(f"a lead of y of at least {_short(found.lead)} all over the ball (lowest at {place})",
                    f"a point where the other leads by {CLEAR}", none if found.lead >= CLEAR else _NARROW)  # fmt: skip


_NARROW = "Too narrow a lead to be sure of: multiply the weights of the last layer."


def _clear(lead: Fraction, what: str, hint: str) -> None:
    if lead < Fraction(CLEAR):
        raise Wrong(f"{what} leads by {_short(lead)}", f"a lead of {CLEAR} or more", hint)


def _expect_small(network: TinyNetwork) -> None:
    if len(network.second) != 2:
        raise Wrong(f"{len(network.second)} classes", "two classes: W2 has two rows")
    if len(network.first) > MOST_NEURONS or network.inputs > MOST_INPUTS:
        raise Wrong(f"{network.inputs} inputs, {len(network.first)} neurons",
                    f"at most {MOST_INPUTS} inputs and {MOST_NEURONS} neurons", "An example may be small.")  # fmt: skip


def _short(value: Fraction) -> str:
    """Four digits; a fraction can be larger than any float."""
    if abs(value) < Fraction(10) ** 300:
        return shown(float(value))
    return f"about {'-' * (value < 0)}10^{int(int(abs(value)).bit_length() * math.log10(2))}"


def _plain(value: Any) -> Any:
    """Tensors as the nested lists that they hold."""
    if isinstance(value, Tensor):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)
