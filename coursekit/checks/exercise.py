"""An exercise: cases that all run, each worth its share of the points, and the table that shows them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from coursekit.checks import table
from coursekit.checks.failures import Failure, NotAttempted
from coursekit.checks.student import Function

MIME = "application/vnd.coursekit.score+json"

failing: set[str] = set()  # functions that lost points when their check was last run in this session


@dataclass
class Case:
    """One line of the table. `status`: "passed", "wrong", "crashed" or "not attempted"."""

    title: str
    status: str
    got: str = ""
    expected: str = ""
    hint: str = ""
    hidden: bool = False


class Exercise:
    """One graded exercise. Cases run when they are declared; a failing one hides no other.

    name: the student's function (or variable), and what the table is headed with.
    points: > 0, shared equally by the cases: points * passed / cases is the score.
    functions: the student's functions handed to each case, in order; by default the one called `name`.
    by_hand: what of the package they may not call, as dotted names ("coursekit.attacks.fgsm"): it is the exercise.
    """

    def __init__(
        self, name: str, points: float, functions: list[str] | None = None, by_hand: Sequence[str] = ()
    ) -> None:
        if not points > 0:
            raise ValueError(f"points: got {points}, allowed is a number above 0")
        self.name, self.points = name, points
        self.functions = [name] if functions is None else functions
        self.by_hand = by_hand
        self.cases: list[Case] = []

    def case(self, title: str, hint: str = "", hidden: bool = False) -> Callable[[Callable], Callable]:
        """Decorates a function that calls the student's functions it is given and holds results with `expect`.

        hint: shown when the case fails and the failure brings no better one. hidden: not in the students' release;
        in what they get back its line says no more than the hint.
        """

        def run(body: Callable) -> Callable:
            self.cases.append(self._run(body, title, hint, hidden))
            return body

        return run

    def _run(self, body: Callable, title: str, hint: str, hidden: bool) -> Case:
        if any(case.status == "not attempted" for case in self.cases):
            return Case(title, "not attempted", hidden=hidden)
        arguments = [Function(name, self.by_hand) for name in self.functions]
        # The check's own computations do not depend on what the notebook did to the global state before.
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(0)
            try:
                body(*arguments)
            except Failure as failure:
                return Case(title, failure.status, failure.got, failure.expected, failure.hint or hint, hidden)
        return Case(title, "passed", hidden=hidden)

    def score(self) -> "Score":
        """Shows the table and returns the points, as nbgrader wants a test cell's last expression."""
        if not self.cases:
            raise ValueError(f"exercise {self.name!r} has no cases")
        if self.status in ("passed", NotAttempted.status):
            failing.difference_update(self.functions)
        else:
            failing.update(self.functions)
        score = Score(self)
        score.show()
        return score

    @property
    def status(self) -> str:
        kinds = [case.status for case in self.cases]
        if all(kind == "passed" for kind in kinds):
            return "passed"
        if "passed" in kinds:
            return "partial"
        return next(kind for kind in ("not attempted", "wrong", "crashed") if kind in kinds)

    @property
    def reason(self) -> str:
        """The first thing that went wrong, in one line."""
        first = next((case for case in self.cases if case.status != "passed"), None)
        if first is None:
            return ""
        if first.status == NotAttempted.status:
            return "not attempted yet"
        parts = [first.title, f"got {first.got}" if first.status == "wrong" else first.got]
        parts += [f"expected {first.expected}"] * bool(first.expected)
        return ": ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:]) + f". {first.hint}" * bool(first.hint)

    def report(self) -> dict[str, Any]:
        """The result as plain values: what graders and feedback pages read."""
        return {
            "exercise": self.name,
            "points": float(Score(self)),
            "max": self.points,
            "status": self.status,
            "reason": self.reason,
            "cases": [asdict(case) for case in self.cases],
        }


class Score(float):
    """The points, as a number that prints as one; in a notebook it shows as a line of its own under the table."""

    exercise: Exercise

    def __new__(cls, exercise: Exercise) -> "Score":
        passed = sum(case.status == "passed" for case in exercise.cases)
        score = super().__new__(cls, round(exercise.points * passed / len(exercise.cases), 2))
        score.exercise = exercise
        return score

    def show(self) -> None:
        report = self.exercise.report()
        text = table.as_text(report)
        if not _in_ipython():
            print(text)
            return
        from IPython.display import display

        display({MIME: report, "text/html": table.as_html(report), "text/plain": text}, raw=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        # nbgrader reads the plain text as the score, so it must be the bare number.
        return {"text/plain": repr(float(self)), "text/html": table.summary_html(self.exercise.report())}


def _in_ipython() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
