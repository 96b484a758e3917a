"""What a case is: a submission made from the honest one, and its verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

RIGHT = {
    "clip": "def clip(x):\n    return x.clamp(0, 1)",
    "fgsm": """\
def fgsm(model, x, y, eps):
    x = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return (x + eps * gradient.sign()).clamp(0, 1).detach()""",
    "mistakes": "def mistakes(predicted, right):\n    return sum(p != r for p, r in zip(predicted, right))",
    "share": "def share(robust):\n    return sum(robust) / len(robust)",
    "why": "Because of Hoelder's inequality.",
}
FULL = {"test-clip": 3.0, "test-fgsm": 4.0, "test-mistakes": 1.0, "test-share": 2.0, "why": None}
MOST = FULL | {"why": 1.0}
TESTS = tuple(id for id in FULL if id != "why")

# How an attack says that it got what nobody may have. The verdict asks that no student's output holds it, so the word
# is put together where it is needed and stands in no source.
ESCAPED = "ESC" + "APED"

PRELUDE = '''\
import contextlib, os, re, socket, subprocess, sys, threading, time

SECRET = re.compile(rb"course" rb"secret-[a-z0-9]+")


def search(data, where):
    """Tell about every secret in some bytes."""
    if isinstance(data, str):
        data = data.encode("utf-8", "replace")
    for word in set(SECRET.findall(data)):
        print("found", word.decode(), "in", str(where)[:100])


def escaped(*what):
    print("ESC" + "APED:", *what)


@contextlib.contextmanager
def attempt(what):
    """Nothing of what is tried within may succeed; to go wrong is fine."""
    try:
        yield
    except BaseException as error:
        print("refused:", what, type(error).__name__)
    else:
        escaped(what)


quietly = contextlib.suppress(BaseException)
'''


@dataclass(frozen=True)
class World:
    """What an attacker may know of the machine: the most that could be guessed. `values` fill in @NAMES@ in attacks."""

    course: Path
    home: Path
    values: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        for name, value in self.values.items():
            text = text.replace(f"@{name}@", value)
        return text


@dataclass(frozen=True)
class Verdict:
    """What a question may come to when it is not answered rightly: scores, statuses, and a word of the reason."""

    statuses: tuple[str, ...]
    scores: tuple[float | None, ...] = (0.0,)
    reason: str = ""


def zero(*statuses: str, reason: str = "") -> Verdict:
    return Verdict(statuses or ("wrong", "crashed"), (0.0,), reason)


def part(score: float, reason: str = "") -> Verdict:
    return Verdict(("partial",), (score,), reason)


NO_MARKS = Verdict(("wrong", "crashed", "timed out", "died", "error"), (0.0, None))  # 0, or a person has to look


@dataclass(frozen=True)
class Case:
    """A submission, and what may come of it. Nothing is lost but what `lost` names.

    edit: changes the honest notebook, or returns the bytes of a file. lost: verdicts by grade id. remark: a word of
    what the instructor is told. says: what the outputs of the student's own cells hold, the sign that an attack was
    really tried. files: what lies beside the notebook. prepare: does more with the folder of the submission.
    open_way: hidden inputs can be learnt in this way, which the instructors' page says.
    """

    edit: Callable[[NotebookNode], bytes | None]
    lost: dict[str, Verdict] = field(default_factory=dict)
    remark: str = ""
    says: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)
    prepare: Callable[[Path, World], None] | None = None
    open_way: bool = False


def code(source: str) -> NotebookNode:
    return nbformat.v4.new_code_cell(textwrap.dedent(source).strip())


def cell(notebook: NotebookNode, id: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == id)


def place(notebook: NotebookNode, id: str) -> int:
    return next(index for index, cell in enumerate(notebook.cells) if cell.id == id)


def answer(notebook: NotebookNode, **answers: str) -> None:
    for id, source in answers.items():
        cell(notebook, id).source = textwrap.dedent(source).strip()


def in_cell(source: str, lost: dict | None = None, *, says: str = "tried", **answers_and_more: object) -> Case:
    """An attack in the first cell of an otherwise honest notebook; the last cell says `tried`.

    What is not an answer's name goes to the case itself.
    """
    answers = {name: answers_and_more.pop(name) for name in list(answers_and_more) if name in RIGHT}

    def edit(notebook: NotebookNode) -> None:
        answer(notebook, **answers)  # type: ignore[arg-type]
        notebook.cells.insert(place(notebook, "setup") + 1, code(source))
        notebook.cells.insert(place(notebook, "setup") + 1, code(PRELUDE))
        notebook.cells.append(code("print('tried')"))

    return Case(edit, lost or {}, says=says, **answers_and_more)  # type: ignore[arg-type]


def at_the_end(first: str, last: str, lost: dict | None = None, **more: object) -> Case:
    """An attack that leaves something behind in the first cell and looks at what became of it in the last."""
    case = in_cell(first, lost, **more)  # type: ignore[arg-type]

    def edit(notebook: NotebookNode) -> None:
        case.edit(notebook)
        notebook.cells.append(code(last))

    return replace(case, edit=edit)


def in_call(body: str, lost: Verdict | None = None, *, name: str = "clip", **more: object) -> Case:
    """An attack inside a function that a test calls, which may end with a return; by default it returns nothing."""
    function = f"{HEADS[name]}\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}"
    lost_all = {f"test-{name}": lost or zero()}
    return in_cell("", lost_all, **{name: function}, **more)  # type: ignore[arg-type]


HEADS = {name: source.splitlines()[0] for name, source in RIGHT.items()}
