"""The way from a test to a student's work: by name and by value, nothing else.

`Student` here looks into the notebook's own namespace. A grader whose tests live in another process puts its own
`Student` with the same three methods in its place (`use`), and no test cell changes.
"""

import contextlib
import copy
import inspect
import io
import linecache
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from unittest import mock

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
    def call(self, name: str, arguments: tuple, keywords: dict[str, Any], by_hand: Sequence[str] = ()) -> Reply:
        """Calls the function `name`. by_hand: dotted names of the package that it may not call meanwhile."""
        ...

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

    def call(self, name: str, arguments: tuple, keywords: dict[str, Any], by_hand: Sequence[str] = ()) -> Reply:
        function = self.namespace.get(name)
        if not callable(function):
            what = "there is no function called" if function is None else "this is not a function:"
            return Reply(error=f"{what} {name}", missing=True)
        # Building a model draws weights, in this process or in another: the test's own random numbers must not tell.
        with torch.random.fork_rng(devices=[]):
            sent = [to_student(argument) for argument in arguments]
        before = [_state(argument) for argument in sent]
        try:
            with _quietly(), _out_of_reach(by_hand, self.namespace):
                value = from_student(function(*sent, **to_student(keywords)))
        except KeyboardInterrupt:  # the person at the keyboard
            raise
        except BaseException as error:
            stub = unwritten(error, name, self.namespace)
            if stub == name:
                return Reply(not_attempted=True)
            return Reply(error=f"your {stub}, which this calls, is not written yet" if stub else _one_line(error))
        changes = [_change(was, now) for was, now in zip(before, sent, strict=True)]
        names = _argument_names(function, len(sent))
        changed = [f"{name} {change}" for name, change in zip(names, changes, strict=True) if change]
        return Reply(value=value, not_attempted=value is Ellipsis, changed=changed)


def unwritten(error: BaseException, name: str, namespace: dict[str, Any]) -> str:
    """Whose stub raised `error` in a call of `name`: that of `name` itself or of another function of the notebook that
    it calls; "" if it is another error."""
    # The stub's error says nothing; torch's own ones of this type say what is not implemented.
    if not isinstance(error, NotImplementedError) or str(error):
        return ""
    called = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    named = {value.__code__: key for key, value in namespace.items() if inspect.isfunction(value)}
    found = next((named[code] for code in reversed(called) if code in named), name)
    return name if namespace.get(found) is namespace.get(name) else found


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

    def __init__(self, name: str, by_hand: Sequence[str] = ()) -> None:
        self.name, self.by_hand = name, by_hand
        self.changed: list[str] = []

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        reply = current().call(self.name, arguments, keywords, self.by_hand)
        if reply.not_attempted:
            raise NotAttempted("not attempted yet", f"your code in `{self.name}`")
        if reply.missing:
            hint = "Was the cell that defines it run without an error, and is the name still the one given?"
            raise Crashed(reply.error, f"a function `{self.name}`", hint)
        if reply.error:
            raise Crashed(reply.error, f"a result from {self._shown(arguments, keywords)}", _explained(reply.error))
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
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


@contextlib.contextmanager
def _out_of_reach(by_hand: Sequence[str], namespace: dict[str, Any]) -> Iterator[None]:
    """What the exercise asks for cannot be had from the package while the student's function runs.

    By whatever name the notebook knows it. This reminds; it does not guard against somebody who wants to get round it.
    """
    with contextlib.ExitStack() as stack:
        for dotted in by_hand:
            owner_name, _, name = dotted.rpartition(".")
            owner = pkgutil.resolve_name(owner_name)
            original = getattr(owner, name)

            def reminder(*_: Any, dotted: str = dotted, **__: Any) -> Any:
                raise RuntimeError(f"{dotted} does for you what this exercise asks you to write yourself")

            stack.enter_context(mock.patch.object(owner, name, reminder))
            for key in [key for key, value in namespace.items() if value is original]:
                namespace[key] = reminder
                stack.callback(namespace.__setitem__, key, original)  # this name only: others may change meanwhile
        yield


# What torch and Python say, and what it means for somebody who writes an attack.
_EXPLANATIONS = {
    "grad can be implicitly created only for scalar outputs": "Put the losses of the batch together into one number "
    "before you ask for its gradient.",
    "does not require grad": "The tensor whose gradient you ask for needs requires_grad=True before the model "
    "sees it, and nothing on the way to the loss may be a comparison, an argmax, a detach or under torch.no_grad().",
    "Boolean value of Tensor with more than one value": "`if`, `and`, `or` and `not` want one truth value, and "
    "here is one for each image. Choose with torch.where; join with &, | and ~, each comparison in parentheses of its "
    "own.",
    "appears to not have been used in the graph": "The loss does not come from the tensor whose gradient you ask for.",
    "'NoneType' object has no attribute": "Something that should hold a value is None: a .grad that was never filled, "
    "or a function without a return.",
    "leaf Variable that requires grad": "Make a new tensor instead of editing this one, or use torch.no_grad().",
    "modified by an inplace operation": "A tensor that autograd still needs was edited. Make a new one instead.",
    "Can't call numpy() on Tensor that requires grad": "Call .detach() first.",
    "Torch not compiled with CUDA": "There need not be a GPU: compute where the input lies (x.device).",
    "Found no NVIDIA driver": "There need not be a GPU: compute where the input lies (x.device).",
    "which this calls, is not written yet": "Write that one first, or do without it here.",
    "missing 1 required positional argument: 'eps'": "A function that wants eps is called without it: bind it first, "
    "with functools.partial(function, eps=eps) or a lambda.",
    "<lambda>() ": "Count the arguments of your lambda: whoever calls it hands over another number of them.",
    "'Tensor' object is not callable": "A function is wanted where a tensor stands: hand over the function, not what "
    "it returned.",
    "torch.return_types": "max, min, sort and topk along a dim return two things, the values and where they stand: "
    "take .values.",
    "positional argument": "Keep the arguments of the function as they are given.",
    "unexpected keyword argument": "Keep the arguments of the function as they are given.",
}


def _explained(error: str) -> str:
    return next((meaning for text, meaning in _EXPLANATIONS.items() if text in error), "")


def _state(argument: Any) -> Any:
    """What a polite function leaves as it was."""
    if isinstance(argument, torch.Tensor):
        return argument.clone()
    if isinstance(argument, nn.Module):
        modes = [module.training for module in argument.modules()]
        frozen = [not parameter.requires_grad for parameter in argument.parameters()]
        return modes, frozen, [tensor.clone() for tensor in argument.state_dict().values()]
    return copy.copy(argument) if isinstance(argument, (list, dict)) else None


def _change(was: Any, argument: Any) -> str:
    if isinstance(argument, list):  # reordered, longer or shorter: tensors in it are compared by identity
        same = len(was) == len(argument) and all(a is b or _equal(a, b) for a, b in zip(was, argument, strict=True))
        return "" if same else "was edited in place"
    if isinstance(argument, dict):
        same = list(was) == list(argument) and all(
            was[key] is value or _equal(was[key], value) for key, value in argument.items()
        )
        return "" if same else "was edited in place"
    if isinstance(argument, torch.Tensor):
        if was.shape != argument.shape or not torch.equal(was.nan_to_num(), argument.detach().nan_to_num()):
            return "was edited in place"
        # Left like this, a second call with the same tensor would add to its .grad.
        return "was made to require a gradient" if argument.requires_grad else ""
    if isinstance(argument, nn.Module):
        modes, frozen, tensors = was
        if modes != [module.training for module in argument.modules()]:
            return f"was left in {'train' if argument.training else 'eval'} mode"
        if frozen != [not parameter.requires_grad for parameter in argument.parameters()]:
            return "was left with frozen parameters"
        if not all(torch.equal(a, b) for a, b in zip(tensors, argument.state_dict().values(), strict=True)):
            return "has other parameters than before"
    return ""


def _equal(a: Any, b: Any) -> bool:
    return isinstance(a, (int, float, str)) and isinstance(b, (int, float, str)) and a == b


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
