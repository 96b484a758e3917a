"""The way from a test to a student's work: by name and by value, nothing else.

`Student` here looks into the notebook's own namespace. A grader whose tests live in another process puts its own
`Student` with the same three methods in its place (`use`), and no test cell changes.
"""

import contextlib
import inspect
import io
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from coursekit.checks.failures import Crashed, NotAttempted
from coursekit.checks.values import Foreign, describe, from_student, to_student


@dataclass
class Reply:
    """What came back from one call: the value, or why there is none; and what the call did to its arguments."""

    value: Any = None
    error: str = ""  # "ZeroDivisionError: division by zero, in your line `...`"
    missing: bool = False  # there is no such name, or it is not a function
    not_attempted: bool = False
    changed: list[str] = field(default_factory=list)  # "x was edited in place"


class Student(Protocol):
    def call(self, name: str, arguments: tuple, keywords: dict[str, Any]) -> Reply: ...

    def value(self, name: str) -> Reply: ...


class Notebook:
    """The student's work in this very process: the namespace in which the notebook's cells run."""

    def __init__(self, namespace: dict[str, Any] | None = None) -> None:
        self._namespace = namespace

    @property
    def namespace(self) -> dict[str, Any]:
        # IPython puts its user module there, a script lives there anyway.
        return vars(sys.modules["__main__"]) if self._namespace is None else self._namespace

    def value(self, name: str) -> Reply:
        if name not in self.namespace:
            return Reply(error=f"there is no variable called {name}", missing=True)
        value = from_student(self.namespace[name])
        return Reply(value=value, not_attempted=value is None or value is Ellipsis)

    def call(self, name: str, arguments: tuple, keywords: dict[str, Any]) -> Reply:
        function = self.namespace.get(name)
        if not callable(function):
            what = "there is no function called" if function is None else "this is not a function:"
            return Reply(error=f"{what} {name}", missing=True)
        sent = [to_student(argument) for argument in arguments]
        before = [_state(argument) for argument in sent]
        try:
            with _quietly():
                value = from_student(function(*sent, **to_student(keywords)))
        except KeyboardInterrupt:  # the person at the keyboard
            raise
        except BaseException as error:
            # The stub's error says nothing; torch's own ones of this type say what is not implemented.
            stub = isinstance(error, NotImplementedError) and not str(error)
            return Reply(not_attempted=True) if stub else Reply(error=_one_line(error))
        changes = [_change(was, now) for was, now in zip(before, sent, strict=True)]
        names = _argument_names(function, len(sent))
        return Reply(value=value, not_attempted=value is Ellipsis,
                     changed=[f"{name} {change}" for name, change in zip(names, changes, strict=True) if change])  # fmt: skip


_student: Student = Notebook()


def current() -> Student:
    return _student


@contextlib.contextmanager
def use(student: Student) -> Iterator[None]:
    """Within this block tests look at `student`."""
    global _student
    before, _student = _student, student
    try:
        yield
    finally:
        _student = before


class Function:
    """A student's function as a test sees it: called with values, it returns a value or raises a Failure."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.changed: list[str] = []

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        reply = current().call(self.name, arguments, keywords)
        if reply.not_attempted:
            raise NotAttempted("not attempted yet", f"your code in `{self.name}`")
        if reply.missing:
            raise Crashed(reply.error, f"a function `{self.name}`",
                          "Was the cell that defines it run without an error, and is the name still the one given?")  # fmt: skip
        if reply.error:
            raise Crashed(reply.error, f"a result from {self._shown(arguments, keywords)}", "")
        self.changed = reply.changed
        return reply.value

    def _shown(self, arguments: tuple, keywords: dict[str, Any]) -> str:
        parts = [describe(a) for a in arguments] + [f"{k}={describe(v)}" for k, v in keywords.items()]
        return f"{self.name}({', '.join(parts)})"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Warnings and progress bars are fine in student code; on stderr of a test cell nbgrader would count them as
    failure. Gradients are on whatever the notebook did before, and the random state is the notebook's own after."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


def _state(argument: Any) -> Any:
    """What a polite function leaves as it was."""
    if isinstance(argument, torch.Tensor):
        return argument.clone()
    if isinstance(argument, nn.Module):
        modes = [module.training for module in argument.modules()]
        return modes, [tensor.clone() for tensor in argument.state_dict().values()]
    return None


def _change(was: Any, argument: Any) -> str:
    if isinstance(argument, torch.Tensor):
        same = was.shape == argument.shape and torch.equal(was.nan_to_num(), argument.detach().nan_to_num())
        return "" if same else "was edited in place"
    if isinstance(argument, nn.Module):
        modes, tensors = was
        if modes != [module.training for module in argument.modules()]:
            return f"was left in {'train' if argument.training else 'eval'} mode"
        if not all(torch.equal(a, b) for a, b in zip(tensors, argument.state_dict().values(), strict=True)):
            return "has other parameters than before"
    return ""


def _argument_names(function: Callable, count: int) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return (names + [f"argument {i + 1}" for i in range(len(names), count)])[:count]


def _one_line(error: BaseException) -> str:
    """`TypeError: ...` and the student's own line it came from: the last frame that is a notebook cell."""
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message[:200]}" if message else type(error).__name__
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_cell(frame.filename)]
    if own and own[-1].lineno:
        line = (own[-1].line or linecache.getline(own[-1].filename, own[-1].lineno)).strip()
        text += f", in your line `{line[:120]}`" if line else ""
    return text


def _is_cell(filename: str) -> bool:
    return "ipykernel_" in filename or filename.startswith("<") or "ipython-input" in filename


__all__ = ["Foreign", "Function", "Notebook", "Reply", "Student", "current", "use"]
