"""Small helpers around a student's own work: guesses before a reveal, and figures that use the student's function."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from coursekit.checks.exercise import failing
from coursekit.checks.student import unwritten
from coursekit.checks.values import to_student


def reveal(guess: Any, answer: str, explanation: str = "") -> None:
    """Shows `answer` once the student has committed to a guess (anything but None and `...`)."""
    if guess is None or guess is Ellipsis:
        print("Commit to a guess first: write it into the cell above and run both cells again.")
        return
    print(f"Your guess:  {guess}\nMeasured:    {answer}")
    if explanation:
        print(explanation)


def yours(name: str, otherwise: Callable) -> Callable:
    """The student's function `name` where it is written and runs, else `otherwise` (the reference): for figures.

    It says which one is shown, so that a figure is never taken for the student's own work. One that failed its check
    when that was last run is not shown: what the notebook says about the figure would not be true of it. The student's
    function gets copies of the tensors, and the model back in its mode, so that a slip in it spoils no later cell; what
    it returns must be of the kind and shape that the reference gives (looked at in the first call; a tuple will do for
    a list, and any number for a number). A reference that stands in meets the models with the weights that they had.
    """
    function = vars(sys.modules["__main__"]).get(name)
    why = "" if callable(function) else "is not there"
    if not why and name in failing:
        why = "does not pass its check yet (once it does, run the check again)"
    tried = bare = False

    def call(*arguments: Any) -> Any:
        nonlocal tried, bare, why
        first, tried = not tried, True
        if not why:
            given = _weights(arguments) if first else []
            try:
                result = function(*(to_student(a) if isinstance(a, Tensor) else a for a in arguments))  # type: ignore[misc]
                if first:
                    left = _weights(arguments)
                    _put(given)  # a function that trains must not hand its network on to the reference
                    expected = otherwise(*arguments)
                    _put(left)
                    bare = isinstance(expected, (int, float))
                    if not _alike(result, expected):
                        why = f"returned {_kind(result)} instead of {_kind(expected)}"
                if not why:
                    return result.item() if bare and isinstance(result, (Tensor, np.generic)) else result
            except Exception as error:
                stub = unwritten(error, name, vars(sys.modules["__main__"]))
                why = f"calls {stub}, which is not written yet" if stub else f"raised {type(error).__name__}"
                why = "is not written yet" if stub == name else why
            finally:
                for model in arguments:
                    if isinstance(model, nn.Module):
                        model.eval()
            _put(given)
            print(f"Your `{name}` {why}: the reference stands in for it here.")
        elif first:
            print(f"Your `{name}` {why}: the reference stands in for it here.")
        return otherwise(*arguments)

    return call


def _weights(arguments: Sequence[Any]) -> list[tuple[nn.Module, dict[str, Tensor]]]:
    """The models among the arguments, each with a copy of its parameters and buffers."""
    models = (a for a in arguments if isinstance(a, nn.Module))
    return [(model, {key: value.clone() for key, value in model.state_dict().items()}) for model in models]


def _put(weights: list[tuple[nn.Module, dict[str, Tensor]]]) -> None:
    for model, state in weights:
        model.load_state_dict(state)


def _alike(result: Any, expected: Any) -> bool:
    """Whether two implementations agree in kind: tensors in shape; any kind of number is a number, a tuple a list."""
    if isinstance(expected, (int, float)) and isinstance(result, Tensor):
        return result.numel() == 1
    return _kind(result) == _kind(expected)


def _kind(result: Any) -> str:
    if isinstance(result, Tensor) and result.ndim:
        return f"a tensor of shape {tuple(result.shape)}"
    if isinstance(result, (int, float, Tensor, np.number, np.bool_)):
        return "a number"
    return "a list" if isinstance(result, (list, tuple)) else f"an object of type {type(result).__name__}"
