"""The worst point of a box for a tiny network with one hidden layer: all candidates, in exact fractions.

On each linear piece of the network the lead of a class over every other one is a linear function, and the lead over
all, the smallest of these, is concave: its smallest value on a piece lies in a corner of that piece. A corner is where
as many planes meet as there are inputs, and the planes are known: the kink of each neuron and the sides of the box. So
there are finitely many candidates, and the truth is the lowest of them. No tolerance, no solver, no rounding: every
number is a fraction. It takes (n + 2 d over d) candidates for n neurons and d inputs, and so serves for a handful of
each.
"""

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from torch import nn

from coursekit.perturbations import LpBall

MOST_INPUTS, MOST_NEURONS = 3, 16
Vector = list[Fraction]
Matrix = list[Vector]


class Worst(NamedTuple):
    """The smallest lead of the class over the box, and a point where it is taken, both exact."""

    lead: Fraction
    x: Vector


@dataclass(frozen=True)
class TinyNetwork:
    """logits = W2 relu(W1 x + b1) + b2 in exact fractions. W1: (n, d), b1: (n,), W2: (K, n), b2: (K,)."""

    first: Matrix
    first_bias: Vector
    second: Matrix
    second_bias: Vector

    @classmethod
    def of_numbers(
        cls, first: Sequence, first_bias: Sequence, second: Sequence, second_bias: Sequence
    ) -> "TinyNetwork":
        """From nested lists of finite numbers. Raises ValueError where they do not fit together or are too many."""
        network = cls(_matrix(first), finite(first_bias), _matrix(second), finite(second_bias))
        neurons, inputs, classes = len(network.first), network.inputs, len(network.second)
        if not neurons or not inputs or classes < 2:
            raise ValueError("a network needs at least one input, one neuron and two classes")
        fits = all(len(row) == inputs for row in network.first) and all(len(row) == neurons for row in network.second)
        if not fits or len(network.first_bias) != neurons or len(network.second_bias) != classes:
            raise ValueError("the layers do not fit together: W1 (n, d), b1 (n,), W2 (K, n), b2 (K,)")
        if inputs > MOST_INPUTS or neurons > MOST_NEURONS:
            raise ValueError(
                f"at most {MOST_INPUTS} inputs and {MOST_NEURONS} neurons are searched; got {inputs} and {neurons}"
            )
        return network

    @classmethod
    def of_model(cls, model: nn.Module) -> "TinyNetwork":
        """From a Sequential of Linear, ReLU, Linear, both with a bias. Raises ValueError for anything else."""
        layers = list(model) if isinstance(model, nn.Sequential) else []
        linear = [layer for layer in layers if isinstance(layer, nn.Linear) and layer.bias is not None]
        if len(layers) != 3 or len(linear) != 2 or not isinstance(layers[1], nn.ReLU):
            raise ValueError("model must be a Sequential of Linear, ReLU, Linear with biases")
        return cls.of_numbers(*(part.tolist() for layer in linear for part in (layer.weight, layer.bias)))

    @property
    def inputs(self) -> int:
        """The number of coordinates of x."""
        return len(self.first[0]) if self.first else 0

    def hidden(self, x: Vector) -> Vector:
        """W1 x + b1, before the ReLU: a neuron at 0 is at its kink."""
        return [_dot(row, x) + bias for row, bias in zip(self.first, self.first_bias, strict=True)]

    def logits(self, x: Vector) -> Vector:
        """The logits at x, one for each class."""
        active = [max(value, Fraction(0)) for value in self.hidden(x)]
        return [_dot(row, active) + bias for row, bias in zip(self.second, self.second_bias, strict=True)]

    def lead(self, x: Vector, y: int) -> Fraction:
        """z_y - max over i != y of z_i: above 0 where x is classified as y, below 0 where as another class."""
        logits = self.logits(x)
        return logits[y] - max(value for label, value in enumerate(logits) if label != y)

    def logit_gradients(self, x: Vector) -> Matrix:
        """The gradient of each logit with respect to x, (K, d); at a kink as if the neuron were off."""
        on = [value > 0 for value in self.hidden(x)]
        columns = list(zip(*self.first, strict=True))
        steered = [[weight * active for weight, active in zip(row, on, strict=True)] for row in self.second]
        return [[_dot(row, list(column)) for column in columns] for row in steered]


def worst(network: TinyNetwork, x: Sequence, y: int, eps: float | Fraction) -> Worst:
    """The smallest lead of class y over the closed box |x~_i - x_i| <= eps, exactly, and where.

    x: d finite numbers. y: the class. eps: at least 0. If the lead is below 0 there, x~ is an adversarial example (and,
    the network being continuous, so is a point inside the open ball); if it is above 0, there is none in the ball.
    """
    centre, radius = finite(x), Fraction(eps)
    if len(centre) != network.inputs:
        raise ValueError(f"x must have {network.inputs} numbers; got {len(centre)}")
    if not 0 <= y < len(network.second):
        raise ValueError(f"y must be a class from 0 to {len(network.second) - 1}; got {y}")
    if radius < 0:
        raise ValueError(f"eps must be at least 0; got {eps}")
    box = [(value - radius, value + radius) for value in centre]
    return min((Worst(network.lead(point, y), point) for point in corners(network, box)), key=lambda found: found.lead)


def worst_of_model(model: nn.Module, x: Sequence, y: int, threat: LpBall) -> Worst:
    """`worst` for a Sequential of Linear, ReLU, Linear, in the L-inf ball of `threat`; without an image range."""
    if threat.p != math.inf or threat.bounds != (-math.inf, math.inf):
        raise ValueError("threat must be an LpBall with p = inf and bounds=(-inf, inf)")
    return worst(TinyNetwork.of_model(model), x, y, float(threat.eps))


def corners(network: TinyNetwork, box: Sequence[tuple[Fraction, Fraction]]) -> Iterable[Vector]:
    """The corners of all linear pieces of the network in a box, among other points of the box.

    Every point where d planes meet in just one point: planes w_j x + b_j = 0 of the neurons and the 2 d sides.
    """
    inputs = range(len(box))
    sides = [([Fraction(i == j) for i in inputs], -end) for j in inputs for end in box[j]]
    planes = [*sides, *zip(network.first, network.first_bias, strict=True)]
    for some in itertools.combinations(planes, len(box)):
        point = _meet(some)
        if point is not None and all(low <= value <= high for value, (low, high) in zip(point, box, strict=True)):
            yield point


def _meet(planes: Sequence[tuple[Vector, Fraction]]) -> Vector | None:
    """The point where w x + b = 0 for each of d planes, by Gauss-Jordan elimination; None if there is not just one."""
    rows = [[*weights, -bias] for weights, bias in planes]
    for column in range(len(rows)):
        pivot = next((i for i in range(column, len(rows)) if rows[i][column]), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i, row in enumerate(rows):
            if i != column and row[column]:
                rows[i] = [value - row[column] * other for value, other in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows]


def _dot(first: Vector, second: Vector) -> Fraction:
    return sum((a * b for a, b in zip(first, second, strict=True)), Fraction(0))


def finite(numbers: Sequence) -> Vector:
    """Numbers as exact fractions. Raises ValueError for what is not a finite number, in the range of floats."""
    try:
        if any(isinstance(number, str) for number in numbers):  # Fraction reads "1e999999999", too
            raise TypeError
        if any(isinstance(number, int) and abs(number) > sys.float_info.max for number in numbers):
            raise OverflowError  # fractions of thousands of digits would take for ever
        return [Fraction(number) for number in numbers]
    except (TypeError, ValueError, OverflowError):  # not a number; NaN; infinite
        raise ValueError("weights, biases and points must be finite numbers") from None


def _matrix(rows: Sequence) -> Matrix:
    try:
        return [finite(row) for row in rows]
    except TypeError:
        raise ValueError("a weight matrix must be a list of rows") from None
