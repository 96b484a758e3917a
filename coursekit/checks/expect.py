"""What a case may expect of a result. Each function raises `Wrong` with what was got, what was expected, and a hint.

They look in one order: is it there, type, shape, dtype, finite; only then what it means.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coursekit.checks.choices import normalised, seal
from coursekit.checks.failures import Wrong
from coursekit.checks.student import Function
from coursekit.checks.values import describe
from coursekit.checks.values import number as shown


def that(condition: bool, got: Any, expected: str, hint: str = "") -> None:
    """The general form. got: a phrase or a value; expected: a phrase."""
    if not condition:
        raise Wrong(got if isinstance(got, str) else describe(got), expected, hint)


def tensor(got: Any, like: Tensor | None = None, shape: tuple[int, ...] | None = None,
           dtype: torch.dtype | None = None, hint: str = "", shape_hint: str = "") -> Tensor:  # fmt: skip
    """A finite, real tensor; of the shape and dtype of `like`, or of those given. Returns it.

    hint: shown for values that are NaN or infinite. shape_hint: for another shape, where the general words, which
    speak of images in batches, do not fit.
    """
    if like is not None:
        shape, dtype = tuple(like.shape), like.dtype
    wanted = "a tensor" if shape is None else f"a tensor of shape {tuple(shape)}"
    if got is None:
        raise Wrong("None", wanted, "Did you forget a return?")
    if not isinstance(got, Tensor):
        raise Wrong(describe(got), wanted, _container_hint(got))
    if shape is not None and tuple(got.shape) != tuple(shape):
        why = shape_hint or _shape_hint(got, tuple(shape))
        raise Wrong(f"shape {tuple(got.shape)}", f"shape {tuple(shape)}", why)
    if got.is_complex():
        raise Wrong(f"dtype {_short(got.dtype)}", "real numbers")
    if dtype is not None and got.dtype != dtype:
        raise Wrong(f"dtype {_short(got.dtype)}", f"dtype {_short(dtype)}", "Compute in the dtype of the input.")
    if got.is_floating_point() and not bool(got.isfinite().all()):
        bad = int((~got.isfinite()).sum())
        raise Wrong(f"{bad} of {got.numel()} values that are NaN or infinite", "finite values",
                    hint or "Where could a logarithm, a division or an exponential go wrong?")  # fmt: skip
    return got


def _container_hint(got: Any) -> str:
    parts = got if isinstance(got, list) and all(isinstance(part, Tensor) for part in got) else []
    if len(parts) == 1:
        return "This is a tuple or list with one tensor in it (torch.autograd.grad returns one): take its entry [0]."
    if len(parts) == 2 and parts[0].shape == parts[1].shape and parts[1].dtype == torch.int64:
        return "max, min, sort and topk along a dim return two things, the values and where they stand: take .values."
    return "Return a torch.Tensor."


def _shape_hint(got: Tensor, shape: tuple[int, ...]) -> str:
    if got.ndim == 0 and shape:
        return "That is one number for the whole batch. Something takes a mean or a sum over it: keep one per image."
    if len(shape) and tuple(got.shape) == (shape[0], *shape):
        return (
            "For each image there is a whole batch: an index such as [:, y] picks all labels from every row. "
            "Pair each row with its own: [torch.arange(len(y)), y]."
        )
    if got.ndim < len(shape) and got.numel() < math.prod(shape):
        return "A dimension is missing: something is summed, averaged or indexed away. Over which dimension?"
    if got.numel() == math.prod(shape):
        return "The values are as many as they should be, but arranged in another shape."
    if got.ndim == len(shape) and got.shape[0] != shape[0]:
        return "The first dimension is the batch: the function must work for any number of images."
    return "The function must work for any number of images and any shape of image. Is a shape written out somewhere?"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def number(got: Any) -> float:
    """One finite number; a tensor with one element counts. Returns it as a float."""
    if got is None:
        raise Wrong("None", "a number", "Did you forget a return?")
    if isinstance(got, Tensor) and got.numel() == 1 and not got.is_complex():
        got = got.item()
    if not isinstance(got, (int, float)):
        raise Wrong(describe(got), "one number")
    if isinstance(got, int) and abs(got) > 10**300:
        raise Wrong("a whole number with more than 300 digits", "a number that fits into a float")
    if not math.isfinite(got):
        raise Wrong(shown(float(got)), "a finite number", "What is divided by what?")
    return float(got)


def close(got: Any, expected: Any, tolerance: float = 1e-4, hint: str = "",
          mistakes: Mapping[str, Any] | None = None, shape_hint: str = "") -> None:  # fmt: skip
    """The value of `expected` (tensor or number) up to a relative and absolute tolerance.

    mistakes: hint -> the value that a typical slip gives; the first that fits is the hint shown. shape_hint: see
    `tensor`.
    """
    if isinstance(expected, Tensor):
        got = tensor(got, shape=tuple(expected.shape), shape_hint=shape_hint)
    else:
        got, expected = (
            torch.tensor(number(got), dtype=torch.float64),
            torch.tensor(expected, dtype=torch.float64),
        )
    if _alike(got, expected, tolerance):
        return
    for why, value in (mistakes or {}).items():
        value = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        if value.shape == expected.shape and _alike(got, value, tolerance):
            hint = why
            break
    raise Wrong(*_difference(got, expected), hint)


def same(got: Any, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether `got` is a tensor of the shape and value of `expected`; raises nothing. For choosing a hint."""
    return isinstance(got, Tensor) and got.shape == expected.shape and _alike(got, expected, tolerance)


def _alike(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)


def _difference(got: Tensor, expected: Tensor) -> tuple[str, str]:
    if expected.ndim == 0 or (expected.ndim == 1 and len(expected) <= 6):
        return describe(got), describe(expected)
    gap = (got.double() - expected.double()).abs()
    at = int(gap.argmax())
    place = "[" + ", ".join(str(int(i)) for i in torch.unravel_index(torch.tensor(at), gap.shape)) + "]"
    return f"{shown(got.flatten()[at].item())} at {place}", shown(expected.flatten()[at].item())


def choice(got: Any, allowed: Sequence[str], sealed: str, salt: str, hint: str = "") -> str:
    """One of the allowed words, and the right one. Returns it as it stands in `allowed`.

    sealed: `checks.seal(answer, salt)` of the right one, so that it cannot be read off the test. Capital letters and
    blanks around a word do not matter. hint: shown for another of the allowed words: something to think about, not
    the answer.
    """
    words = "one of " + ", ".join(repr(word) for word in allowed)
    if got is None or got is Ellipsis:
        raise Wrong("no answer", words, "Choose one; a guess costs nothing.")
    if not isinstance(got, str):
        raise Wrong(describe(got), words, "Write the word in quotation marks, as a string.")
    chosen = next((word for word in allowed if normalised(word) == normalised(got)), None)
    if chosen is None:
        raise Wrong(describe(got), words, "Is it spelled as in the list?")
    if seal(chosen, salt) != sealed:
        raise Wrong(repr(chosen), "another choice", hint)
    return chosen


def inside(x_adv: Any, x: Tensor, eps: float, bounds: tuple[float, float] = (0.0, 1.0), hint: str = "") -> None:
    """Like x, no pixel further than eps from it, every pixel within bounds. hint: for pixels that moved too far."""
    x_adv = tensor(x_adv, like=x)
    rounding = 1e-5
    low, high = x_adv.min().item(), x_adv.max().item()
    if low < bounds[0] - rounding or high > bounds[1] + rounding:
        raise Wrong(f"pixels from {shown(low)} to {shown(high)}", f"pixels in [{bounds[0]:g}, {bounds[1]:g}]",
                    "A pixel outside the range is no image. Clamp as the very last thing.")  # fmt: skip
    furthest = (x_adv - x).abs().max().item()
    if furthest > eps + rounding:
        raise Wrong(f"a pixel that moved by {shown(furthest)}", f"at most eps = {shown(eps)}",
                    hint or "The result left the eps-ball. Where do you project, and around which point?")  # fmt: skip


def unchanged(function: Function) -> None:
    """The last call of `function` left its arguments as they were."""
    if function.changed:
        raise Wrong(" and ".join(function.changed), "arguments left as they were",
                    "Work on a copy (x.clone()), and put a model back into the mode you found it in.")  # fmt: skip
