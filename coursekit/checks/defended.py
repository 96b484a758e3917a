"""Defended models and detectors as values: described in a test, built on the student's side.

spec = checks.defended("quantized", checks.model("mnist_cnn"), levels=8)
guard = checks.detector(checks.model("mnist_cnn"), layer=5)
"""

import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from torch import Tensor, nn

from coursekit import data, defenses

KINDS: dict[str, Any] = {
    "quantized": defenses.Quantized,
    "noise": defenses.RandomNoise,
    "resize": defenses.RandomResize,
    "saturated": defenses.Saturated,
}


class Described(Protocol):
    """A description of a model, such as a ModelSpec."""

    def build(self) -> nn.Module: ...


@dataclass(frozen=True)
class DefendedSpec:
    """A model with a defence around it as a value: `build()` makes it, in eval mode and anew each time."""

    kind: str
    model: Described
    settings: tuple[tuple[str, Any], ...] = ()
    whole: bool = False

    def build(self) -> nn.Module:
        built = KINDS[self.kind](self.model.build(), **dict(self.settings))
        return (Whole(built) if self.whole else built).eval()

    def __str__(self) -> str:
        said = "".join(f", {name}={value:g}" for name, value in self.settings)
        return f"{KINDS[self.kind].__name__}({self.model}{said})"


class Whole(nn.Module):
    """A defended model as one piece, images -> logits: an attack cannot step around the defence to the model in it."""

    PARTS = ("model", "transform", "temperature")

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self._inner(x)

    def __getattr__(self, name: str) -> Any:
        if name in self.PARTS:
            raise AttributeError(f"the defended model has no .{name} here: attack it as it is")
        return super().__getattr__(name)


def defended(kind: str, model: Described, *, whole: bool = False, **settings: Any) -> DefendedSpec:
    """A model of `checks.model` or `checks.network` behind a defence of `coursekit.defenses`.

    kind: "quantized" (levels), "noise" (sigma), "resize" (smallest) or "saturated" (temperature). A random one draws
    from torch's global random numbers, which a test and each call of a student's function seed. whole: only images ->
    logits are at hand, not the parts of the defence.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: got {kind!r}, allowed are {', '.join(map(repr, KINDS))}")
    spec = DefendedSpec(kind, model, tuple(settings.items()), whole)
    spec.build()  # a description that cannot be built fails where it is written
    return spec


@dataclass(frozen=True)
class DetectorSpec:
    """A Mahalanobis detector of digits as a value: `build()` gives a copy of its own each time, fitted once."""

    model: Described
    layer: int | None = None
    count: int = 1000

    def build(self) -> defenses.Mahalanobis:
        return copy.deepcopy(_fitted(self))

    def __str__(self) -> str:
        return f"a detector for {self.model}"


def detector(model: Described, layer: int | None = None, count: int = 1000) -> DetectorSpec:
    """`defenses.Mahalanobis` for a digit model of the registry, fitted to the first `count` training digits.

    layer: its features are model[:layer]; None takes those before the last linear layer.
    """
    spec = DetectorSpec(model, layer, count)
    spec.build()
    return spec


@lru_cache(maxsize=8)
def _fitted(spec: DetectorSpec) -> defenses.Mahalanobis:
    """To fit one takes half a second, and a test calls a student's function many times."""
    digits, network = data.load("mnist", "train"), spec.model.build()
    features = None if spec.layer is None else network[: spec.layer]  # type: ignore[index]
    return defenses.Mahalanobis(network, digits.x[: spec.count], digits.y[: spec.count], features=features)
