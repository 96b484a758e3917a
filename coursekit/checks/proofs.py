"""Proofs by example, looked at independently: nothing that a student says about a construction is believed.

Each function raises `Wrong` with what was got, what was expected, and a hint; see `expect`.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from coursekit.attacks import opposite_ends
from coursekit.certify.enumeration import TinyNetwork, Vector, finite, worst
from coursekit.checks import expect
from coursekit.checks.classifiers import ClassifierSpec, classifier
from coursekit.checks.failures import Crashed, Wrong
from coursekit.checks.student import Function
from coursekit.checks.values import describe
from coursekit.checks.values import number as shown

CLEAR = 0.01  # by how much a logit must lead: no proof hangs on a tie or on rounding
SLOPE, SURE = 1e-6, 50  # a gradient, and a lead, with which FGSM takes its step in floating point, too
MOST_INPUTS, MOST_NEURONS = 3, 8


COST = (
    "f answers once for each end and once for each halving. Is a label asked for twice, or the distance taken in "
    "another norm than p? Or does the distance not halve, or the loop not stop?"
)


def mask(got: Any, count: int, *, over: str) -> Tensor:
    """One boolean for each of `count` points. over: what each point is compared with, for the hints. Returns it."""
    got = expect.tensor(got)
    if got.dtype == torch.int64 and got.shape != (count,):
        raise Wrong(describe(got), f"{count} booleans",
                    "A mask, not indices: one True or False for each point, robust or not.")  # fmt: skip
    if tuple(got.shape) != (count,):
        raise Wrong(f"shape {tuple(got.shape)}", f"shape ({count},)",
                    f"One answer for each point: reduce over the {over} that it is compared with.")  # fmt: skip
    if got.dtype != torch.bool:
        raise Wrong(f"dtype {str(got.dtype).removeprefix('torch.')}", "booleans",
                    "A mask: a comparison gives booleans. Is each point not robust, True or False?")  # fmt: skip
    return got


def among(points: Tensor, labels: Tensor, eps: float, p: float) -> Tensor:
    """Which points (N, d) of a finite domain have another of another label less than eps away: bool (N,)."""
    distances = [torch.linalg.vector_norm(points - point, ord=p, dim=1) for point in points]
    return torch.stack(
        [((away < eps) & (labels != label)).any() for away, label in zip(distances, labels, strict=True)]
    )


def found_pair(opposite_pair: Function, kind: str, *arguments: Any, a: Any, b: Any, eps: float, p: float) -> None:
    """The answer to one problem, looked at with a classifier of the check's own. kind, arguments: see `classifier`.

    a, b: (d,), of different labels. The classifier answers once for each end and once for each halving.
    """
    a, b = (torch.as_tensor(point, dtype=torch.float64) for point in (a, b))
    judge = classifier(kind, *arguments, d=len(a)).build()
    if judge(a) == judge(b):
        raise ValueError("a and b must have different labels")
    halvings = len(opposite_ends(judge, a, b, eps=eps, p=p)) - 1
    spec = classifier(kind, *arguments, d=len(a), budget=halvings + 2)
    try:
        got = opposite_pair(spec, a, b, eps, p)
    except Crashed as crash:
        if "f has answered" in crash.got:
            crash.hint = COST
        raise
    pair(got, spec, eps, p, hint="Halve on, until the distance is below eps. Is it the distance in the norm p?")
    expect.unchanged(opposite_pair)


def lowest_of_ball(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """The lowest lead of y over its strongest rival in the closed L-inf ball, for logits W x + b: (B,).

    The lead over one rival falls by eps times the L1 norm of w_y - w_k; the lowest of all counts. weight: (K, d),
    bias: (K,), x: (B, d), y: (B,). Source: Hoelder's inequality.
    """
    away = weight[y][:, None] - weight
    leads = (x[:, None] * away).sum(dim=2) + bias[y][:, None] - bias - eps * away.abs().sum(dim=2)
    return leads.scatter(1, y[:, None], math.inf).amin(dim=1)


def best_of_ball(best_step: Function, weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, eps: float) -> None:
    """best_step(weight, bias, x, y, eps) is in the L-inf ball of each x, with a lead of y as low as anywhere in it."""
    got = expect.tensor(best_step(weight, bias, x, y, eps), like=x)
    expect.unchanged(best_step)
    _in_box(got, x, eps)
    logits = got @ weight.T + bias
    rival = logits.scatter(1, y[:, None], -math.inf).amax(dim=1)
    reached, truth = logits.gather(1, y[:, None]).squeeze(1) - rival, lowest_of_ball(weight, bias, x, y, eps)
    wrong = int((reached - truth).argmax())
    hint = next((why for why, points in _slips(weight, bias, x, y, eps).items() if expect.same(got, points)), "")
    expect.close(reached[wrong], truth[wrong].item(), hint=hint or
                 "One corner for each rival, and for each point the one with the lowest lead of y there.")  # fmt: skip


def _in_box(got: Tensor, x: Tensor, eps: float) -> None:
    if bool(((x < 0) | (x > 1)).any()) and float(got.min()) >= 0 and float(got.max()) <= 1:
        raise Wrong("coordinates that are all in [0, 1]", f"points within eps = {shown(eps)} of each x",
                    "There is no image range here: these are points of R^d. Do not clamp.")  # fmt: skip
    furthest = float((got - x).abs().max())
    if furthest > eps * (1 + 1e-4) + 1e-6:
        raise Wrong(f"a coordinate that moved by {shown(furthest)}", f"at most eps = {shown(eps)}",
                    "No coordinate may move by more than eps. Is a sign scaled by eps, once?")  # fmt: skip


def _slips(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, eps: float) -> dict[str, Tensor]:
    """What a typical slip in `best_step` gives: hint -> points (B, d)."""
    away = weight[y][:, None] - weight
    corners = x[:, None] - eps * away.sign()
    rows, logits = torch.arange(len(x)), x @ weight.T + bias
    runner_up = logits.scatter(1, y[:, None], -math.inf).argmax(dim=1)
    without = (corners * away).sum(dim=2).scatter(1, y[:, None], math.inf).argmin(dim=1)
    leads = (corners * away).sum(dim=2) + bias[y][:, None] - bias
    mixture = x + eps * (logits.softmax(dim=1) @ weight - weight[y]).sign()
    nearest = corners[rows, runner_up]
    one = "You take only the rival that is strongest at x. Another one may gain more on the way: try them all."
    if bool((nearest == mixture).all()):
        one = (
            "This is the corner against the rival that is strongest at x, and FGSM's as well. "
            "Another rival may gain more on the way: try them all."
        )
    return {
        "Nothing was added to x.": x,
        one: nearest,
        "This is FGSM with the cross-entropy, which mixes the rivals. Take one corner for each rival.": mixture,
        "These corners make the lead of y larger. The step goes against w_y - w_k.": 2 * x - nearest,
        "You lower the logit of y, whatever the rivals do. The lead is a difference: w_y - w_k.": x
        - eps * weight[y].sign(),
        "The bias is missing: the lead of y over k at a corner has b_y - b_k in it.": corners[rows, without],
        "You take one rival for the whole batch. Each point has a best one of its own.": corners[:, _for_all(leads, y)],
    }


def _for_all(leads: Tensor, y: Tensor) -> int:
    """The class over which the leads (B, K) are lowest in the mean, among those that are no point's own."""
    own = torch.zeros(leads.shape[1], dtype=torch.bool).index_fill(0, y, True)
    return int(leads.mean(dim=0).masked_fill(own, math.inf).argmin())


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
            else "Which end has the middle's label? That one moves to the middle, the other stays: so the ends keep "
            "different labels."
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
        """Neurons with x on their kink, up to rounding, where the gradient does not exist; one that ignores x has none.

        A neuron's own size is the measure: W1 and W2 may be scaled against each other as one likes.
        """
        found, zero = [], Fraction(0)
        for j, (weights, bias) in enumerate(zip(self.network.first, self.network.first_bias, strict=True)):
            terms: Vector = [bias, *(weight * value for weight, value in zip(weights, self.x, strict=True))]
            if any(weights) and 10**9 * abs(sum(terms, zero)) <= sum(map(abs, terms), zero):
                found.append(j)
        return found


def construction(got: Any) -> Construction:
    """What was handed in, read: {"layers": [(W1, b1), (W2, b2)], "x": [...], "y": 0 or 1} of plain numbers."""
    wanted = 'a dict with "layers", "x" and "y"'
    if got is None:
        raise Wrong("None", wanted, "Did you forget a return?")
    if not isinstance(got, dict) or not {"layers", "x", "y"} <= set(got):
        keys = "the keys " + ", ".join(map(repr, got)) if isinstance(got, dict) else describe(got)
        raise Wrong(keys, wanted, _FORM)
    layers = got["layers"]
    if not isinstance(layers, list | tuple) or len(layers) != 2:
        count = f"{len(layers)} layers" if isinstance(layers, list | tuple) else describe(layers)
        raise Wrong(
            count, "two layers, (W1, b1) and (W2, b2)", "One hidden layer with ReLUs between the two is enough."
        )
    if not all(isinstance(layer, list | tuple) and len(layer) == 2 for layer in layers):
        raise Wrong("a layer that is not a pair", "each layer as (weights, biases)",
                    "Plain numbers are wanted, not a torch module. " + _FORM)  # fmt: skip
    numbers = [_plain(part) for layer in layers for part in layer]
    for name, part, depth in zip(("W1", "b1", "W2", "b2"), numbers, (2, 1, 2, 1), strict=True):
        _expect_nested(name, part, depth)
    rows = [part for part in (*numbers, *numbers[0], *numbers[2]) if isinstance(part, list)]
    if max(map(len, rows)) > 4 * MOST_NEURONS:  # before anything is made of so many numbers
        raise Wrong(f"{max(map(len, rows))} numbers in a row",
                    f"at most {MOST_INPUTS} inputs and {MOST_NEURONS} neurons", "An example may be small.")  # fmt: skip
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
        raise Wrong(describe(got["x"]), "x as a list of finite numbers", _FORM) from None
    if len(x) != network.inputs:
        raise Wrong(f"{len(x)} numbers in x", f"{network.inputs}, as W1 has columns", _FORM)
    label = _plain(got["y"])
    if isinstance(label, bool) or label not in (0, 1):
        raise Wrong(describe(got["y"]), "y as 0 or 1", _FORM)
    return Construction(network, x, int(label))


def classified(made: Construction) -> None:
    """f(x) = y, by a clear lead: the slide's definition begins with it."""
    lead = made.network.lead(made.x, made.y)
    _clear(
        lead, "the logit of y at x", "An adversarial example needs f(x) = y to begin with." if lead <= 0 else _NARROW
    )


def has_a_step(made: Construction) -> None:
    """The gradient at x exists and is not zero, not even for a computer, so that FGSM takes a step."""
    if kinks := made.kinks():
        raise Wrong(f"x on the kink of neuron {kinks[0]}", "no neuron with W1 x + b1 = 0 at x",
                    "The gradient does not exist there: FGSM could do anything. Move x a little.")  # fmt: skip
    if not any(abs(slope) > SLOPE for slope in made.slope()):
        size = "zero" if not any(made.slope()) else "next to zero"
        raise Wrong(f"a gradient of {size} at x", "a gradient that is not zero",
                    "FGSM stands still: it fails, but too cheaply. Give the network some slope at x.")  # fmt: skip
    lead = made.network.lead(made.x, made.y)
    if lead > SURE:
        raise Wrong(f"the logit of y at x leads by {_short(lead)}", f"at most {SURE}",
                    "So sure a network that in floating point its loss and the gradient round to zero: FGSM stands "
                    "still. It fails, but too cheaply.")  # fmt: skip


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
                    f"a point where the other leads by {CLEAR}", none if found.lead > 1e-9 else _NARROW)  # fmt: skip


_FORM = "It is about the form, not yet about FGSM; the docstring shows it."
_NARROW = "Too narrow a lead to be sure of: multiply the weights of the last layer."


def _clear(lead: Fraction, what: str, hint: str) -> None:
    if lead < Fraction(CLEAR):
        raise Wrong(f"{what} leads by {_short(lead)}", f"a lead of {CLEAR} or more", hint)


def _expect_small(network: TinyNetwork) -> None:
    if len(network.second) != 2:
        raise Wrong(f"{len(network.second)} classes", "two classes: W2 has two rows", _FORM)
    if len(network.first) > MOST_NEURONS or network.inputs > MOST_INPUTS:
        raise Wrong(f"{_many(network.inputs, 'input')}, {_many(len(network.first), 'neuron')}",
                    f"at most {MOST_INPUTS} inputs and {MOST_NEURONS} neurons", "An example may be small.")  # fmt: skip


def _expect_nested(name: str, part: Any, depth: int) -> None:
    """A matrix is a list of lists, a vector a list of numbers."""
    found, inner = 0, part
    while isinstance(inner, list) and found < 3:
        found, inner = found + 1, inner[0] if inner else None
    if found != depth:
        kinds = {0: "one number", 1: "a flat list", 2: "a list of lists"}
        form = {1: "a vector: a list with one number", 2: "a matrix: a list with one row, itself a list,"}[depth]
        hint = f"{name} is {form} for each neuron or logit."
        got = (
            kinds.get(found, "lists nested deeper")
            if inner is None or isinstance(inner, int | float)
            else describe(part)
        )
        raise Wrong(f"{name} as {got}", f"{name} as {kinds[depth]}", hint)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


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
