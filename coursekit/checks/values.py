"""The values that may pass between a test and a student's function, and nothing else.

Tensors, numbers, strings, None, and lists, tuples and dicts of them. A model is sent as a *description*, by its name
in the registry or by its layers, and made on the student's side, and so are the views of a sign and a binary classifier
of R^d: so no object is ever shared, and a test may live in another process than the work it looks at.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from coursekit.checks.classifiers import ClassifierSpec
from coursekit.checks.defended import DefendedSpec, DetectorSpec
from coursekit.data import signs

MAX_DEPTH = 20
PHRASE_LIMIT = 300  # characters in which a value is described
DTYPES = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
}  # fmt: skip


@dataclass(frozen=True)
class ModelSpec:
    """A classifier as a value: `build()` makes it, in eval mode and with fresh parameters each time."""

    name: str
    layers: tuple = ()
    training: str = "standard"
    eps: float | None = None

    def build(self) -> nn.Module:
        if not self.layers:
            from coursekit import models

            return models.load(self.name, training=self.training, eps=self.eps)
        return nn.Sequential(*(_layer(*layer) for layer in self.layers)).eval()

    def __str__(self) -> str:
        return self.name


def model(name: str, training: str = "standard", eps: float | None = None) -> ModelSpec:
    """A model of `coursekit.models` by its name in the registry."""
    return ModelSpec(name, training=training, eps=eps)


def network(*layers: tuple, name: str = "a small network") -> ModelSpec:
    """A model by its layers, for tests with a known answer.

    Layers: ("flatten",), ("linear", weight (K, d), bias (K,) or None), ("relu",), ("tanh",), ("scale", factor),
    ("dropout", probability), ("batch_norm", d) without weights of its own, ("log_softmax",).
    """
    spec = ModelSpec(name, layers=layers)
    spec.build()  # a description that cannot be built fails where it is written
    return spec


@dataclass(frozen=True)
class ViewsSpec:
    """Views of traffic signs as a value: `build()` draws them, the same ones each time."""

    count: int
    seed: int
    fixed: tuple[tuple[str, Any], ...] = ()

    def build(self) -> signs.View:
        return signs.views(self.count, torch.Generator().manual_seed(self.seed), **dict(self.fixed))

    def __str__(self) -> str:
        return f"{self.count} views"


def views(count: int, seed: int = 0, **fixed: Any) -> ViewsSpec:
    """`count` views as `coursekit.data.signs.views` draws them from a seed, some quantities fixed."""
    spec = ViewsSpec(count, seed, tuple(fixed.items()))
    spec.build()  # a description that cannot be built fails where it is written
    return spec


def _layer(kind: str, *arguments: Any) -> nn.Module:
    if kind == "linear":
        weight, bias = (*arguments, None)[:2]
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
        layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        return layer
    if kind not in _LAYERS:
        raise ValueError(f"layer: got {kind!r}, allowed are 'linear', {', '.join(map(repr, _LAYERS))}")
    return _LAYERS[kind](*arguments)


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return self.factor * logits


_LAYERS: dict[str, Any] = {
    "flatten": nn.Flatten,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "scale": _Scale,
    "dropout": nn.Dropout,
    "batch_norm": lambda features: nn.BatchNorm1d(features, affine=False),
    "log_softmax": lambda: nn.LogSoftmax(dim=1),
}


@dataclass(frozen=True)
class Foreign:
    """Stands for something returned that is not a value; it can be named in a message, never used."""

    kind: str


def to_student(value: Any) -> Any:
    """The student's own copy of a value: tensors cloned, models and views built."""
    if isinstance(value, (ModelSpec, ViewsSpec, ClassifierSpec, DefendedSpec, DetectorSpec)):
        return value.build()
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(to_student(item) for item in value)
    if isinstance(value, dict):
        return {key: to_student(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a test may pass values only; got {type(value).__name__}")


def from_student(value: Any, depth: int = 0) -> Any:
    """A plain copy of what a student's function returned. Subclasses become what they claim to be, or Foreign."""
    if depth > MAX_DEPTH:
        return Foreign("something nested too deep")
    if value is None or isinstance(value, bool) or value is Ellipsis:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, torch.Tensor) and value.is_nested:
        return Foreign("a nested tensor")
    if isinstance(value, torch.Tensor) and (value.layout is not torch.strided or value.dtype not in DTYPES):
        return Foreign(f"a tensor of dtype {value.dtype} and layout {value.layout}")
    if isinstance(value, torch.Tensor):
        # A subclass could answer `==` and `allclose` as it likes: strip it before anything looks at it.
        with torch._C.DisableTorchFunctionSubclass():
            return value.as_subclass(torch.Tensor).detach().to("cpu", copy=True)
    if isinstance(value, np.generic):
        return from_student(value.item(), depth)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (list, tuple)):
        return [from_student(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): from_student(item, depth + 1) for key, item in value.items()}
    return Foreign(_kind(value))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"a numpy array of shape {value.shape}"
    return f"an object of type {type(value).__name__}"


def describe(value: Any) -> str:
    """A short phrase for a value: shape and dtype of a tensor, the number itself, and so on.

    It stays short whatever the value is: a student chooses it, and whoever lays out the table has to get done.
    """
    phrase = _phrase(value)
    return phrase if len(phrase) <= PHRASE_LIMIT else phrase[: PHRASE_LIMIT - 3] + "..."


def _phrase(value: Any) -> str:
    if value is None:
        return "None"
    if value is Ellipsis:
        return "..."
    if isinstance(value, Foreign):
        return value.kind
    if isinstance(value, torch.Tensor):
        return _describe_tensor(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(describe(item) for item in value[:4]) + (", ...]" if len(value) > 4 else "]")
    if isinstance(value, dict):
        entries = [f"{str(key)[:60]}: {describe(item)}" for key, item in list(value.items())[:4]]
        return "{" + ", ".join(entries) + (", ...}" if len(value) > 4 else "}")
    if isinstance(value, ModelSpec):
        return f"model {value.name!r}"
    if isinstance(value, (ViewsSpec, ClassifierSpec, DefendedSpec, DetectorSpec)):
        return str(value)
    if isinstance(value, int) and value.bit_length() > 1000:  # Python writes no number of more than 4,300 digits
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _describe_tensor(value: torch.Tensor) -> str:
    if value.ndim == 0:
        return number(value.item())
    if value.ndim == 1 and len(value) <= 6:
        return "[" + ", ".join(number(item) for item in value.tolist()) + "]"
    dtype = str(value.dtype).removeprefix("torch.")
    return f"{'an' if dtype.startswith('i') else 'a'} {dtype} tensor of shape {tuple(value.shape)}"


def number(value: float) -> str:
    """Four significant digits: enough to compare, short enough to read."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "NaN")
    return f"{value:.4g}"
