"""Binary classifiers of R^d as values: described in a test, built on the student's side, answering so many questions.

    spec = checks.classifier("checkerboard", 0.25, d=2, budget=12)
    f = spec.build()          # f(x) -> 0 or 1 for one point x, (d,)

Linear ones, networks, and nasty ones on which no gradient could ever be of use.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Classify = Callable[[Tensor], int]


@dataclass(frozen=True)
class ClassifierSpec:
    """A binary classifier as a value: `build()` makes it anew, with all of its answers still to give."""

    kind: str
    arguments: tuple
    d: int
    budget: int | None = None

    def build(self) -> Classify:
        return _counted(_KINDS[self.kind](*self.arguments), self.d, self.budget)

    def __str__(self) -> str:
        return f"a {self.kind} classifier of R^{self.d}"


def classifier(kind: str, *arguments: Any, d: int, budget: int | None = None) -> ClassifierSpec:
    """A binary classifier f: R^d -> {0, 1} by its kind.

    ("linear", w (d,), b): 1 where w x + b > 0. ("ball", centre (d,), radius): 1 inside. ("network", spec): 1 where
    the second logit of a `checks.network` is larger. ("checkerboard", side): fields of that side, 0 and 1 in turns.
    ("nearest", points (N, d), labels (N,)): the label of the nearest of these points, the first on a tie. ("wild",
    side, seed): a label for each little cube of that side, by lot. ("lookup", points (N, d)): 1 at these points and
    nowhere else. ("constant", label).

    budget: how many points it answers for; the next question raises a RuntimeError that says so. None: any number. It
    is counted where the classifier was built, on the student's side: a measure for the honest, not a lock.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind: got {kind!r}, allowed are {', '.join(map(repr, _KINDS))}")
    spec = ClassifierSpec(kind, arguments, d, budget)
    ClassifierSpec(kind, arguments, d).build()(torch.zeros(d, dtype=torch.float64))  # fails where it is written
    return spec


def _counted(classify: Callable[[Tensor], Any], d: int, budget: int | None) -> Classify:
    asked = 0

    def f(x: Tensor) -> int:
        nonlocal asked
        if not isinstance(x, Tensor) or tuple(x.shape) != (d,):
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"f takes one point, a tensor of shape ({d},); got {got}")
        if not bool(x.isfinite().all()):
            raise ValueError("f was asked about a point with NaN or infinite coordinates")
        if budget is not None and asked >= budget:
            raise RuntimeError(f"f has answered {asked} questions, and bisection needs no more than that")
        asked += 1
        return int(classify(x.detach().double()))

    return f


def _linear(w: Tensor, b: float) -> Callable[[Tensor], Any]:
    return lambda x: w.double() @ x + b > 0


def _ball(centre: Tensor, radius: float) -> Callable[[Tensor], Any]:
    return lambda x: torch.linalg.vector_norm(x - centre.double()) < radius


def _network(spec: Any) -> Callable[[Tensor], Any]:
    model = spec.build().double()

    def classify(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model(x[None])[0].argmax()

    return classify


def _checkerboard(side: float) -> Callable[[Tensor], Any]:
    return lambda x: (x / side).floor().sum() % 2


def _nearest(points: Tensor, labels: Tensor) -> Callable[[Tensor], Any]:
    return lambda x: labels[torch.linalg.vector_norm(points.double() - x, dim=1).argmin()]


def _wild(side: float, seed: int) -> Callable[[Tensor], Any]:
    def classify(x: Tensor) -> int:
        cell = (x / side).floor().long().tolist()
        return hashlib.sha256(f"{seed}: {cell}".encode()).digest()[0] % 2

    return classify


def _lookup(points: Tensor) -> Callable[[Tensor], Any]:
    return lambda x: (points.double() == x).all(dim=1).any()


def _constant(label: int) -> Callable[[Tensor], Any]:
    return lambda x: label


_KINDS: dict[str, Callable[..., Callable[[Tensor], Any]]] = {
    "linear": _linear,
    "ball": _ball,
    "network": _network,
    "checkerboard": _checkerboard,
    "nearest": _nearest,
    "wild": _wild,
    "lookup": _lookup,
    "constant": _constant,
}
