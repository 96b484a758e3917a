"""From an executed notebook to grades: what each question got, and why.

Needs nbformat only, so that `coursekit check` gives students the same points without nbgrader.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from nbformat import NotebookNode

from coursekit.grading.limits import SCORE_MIME
from coursekit.grading.run import NOT_REACHED, Outcome, Run, is_test

MIME = SCORE_MIME

# From the check: passed, partial, wrong, crashed, not attempted. From the grader:
#   timed out, died   the cell did not end, or took the process with it
#   manual            free text that awaits a person
#   graded            by a person
#   unreadable        the file is no notebook
#   error             the check or the machine failed; the score is None, never 0
STATUSES = (
    "passed", "partial", "wrong", "crashed", "not attempted", "timed out", "died", "manual", "graded", "unreadable",
    "error",
)  # fmt: skip

TEXT_LIMIT = 500
BLAMED = "its cell"  # how a reason begins when not the check failed but the student's cell before it


@dataclass(frozen=True)
class Grade:
    """What one question got. score: in [0, max], or None where a person has to decide or something of ours failed."""

    id: str
    score: float | None
    max: float
    status: str
    reason: str = ""
    cases: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"score": self.score, "max": self.max, "status": self.status, "reason": self.reason}


def grades(run: Run, stubs: dict[str, str]) -> list[Grade]:
    """The grade of every graded cell of an executed notebook, in its order.

    stubs: the text of each solution and answer cell as released, by grade id; a cell that still has it was not tried.
    """
    broken = _broken_setup(run)
    result: list[Grade] = []
    solutions: list[NotebookNode] = []
    for cell in run.notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        if is_test(cell):
            grade = _test_grade(cell, run.outcomes.get(cell.id, Outcome("died", "not run")))
            grade = _blame_solution(grade, _solutions_of(grade.id, solutions), run, stubs)
            if broken and grade.status not in ("passed", "not attempted"):
                grade = replace(grade, score=None, status="error", reason=broken)
            result.append(grade)
            solutions = []
        elif meta.get("grade"):
            result.append(_answer_grade(cell, stubs))
        elif meta.get("solution"):
            solutions.append(cell)
    return result


def _broken_setup(run: Run) -> str:
    """What went wrong in a read-only cell of ours: a package or a file that is missing here costs nobody points."""
    for cell in run.notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        outcome = run.outcomes.get(cell.id, Outcome("ran"))
        if meta.get("locked") and not meta.get("grade") and outcome.status != "ran":
            return f"the notebook's own cell {cell.id!r} did not run: {one_line(outcome.reason)}"
    return ""


def _answer_grade(cell: NotebookNode, stubs: dict[str, str]) -> Grade:
    id, points = cell.metadata.nbgrader.grade_id, float(cell.metadata.nbgrader.points)
    if not cell.source.strip() or cell.source.strip() == stubs.get(id, "").strip():
        return Grade(id, 0.0, points, "not attempted", "no answer was written")
    return Grade(id, None, points, "manual", "awaits a person")


def _test_grade(cell: NotebookNode, outcome: Outcome) -> Grade:
    id, points = cell.metadata.nbgrader.grade_id, float(cell.metadata.nbgrader.points)
    if outcome.status == "failed":
        return Grade(id, None, points, "error", f"the check itself failed: {outcome.reason}")
    if outcome.status in ("timed out", "died"):
        when = "" if outcome.reason.startswith(NOT_REACHED) else "; it happened while the check ran"
        return Grade(id, 0.0, points, outcome.status, outcome.reason + when)
    bundles = [o.data[MIME] for o in cell.outputs if o.output_type == "display_data" and MIME in o.data]
    results = [o.data.get("text/plain", "") for o in cell.outputs if o.output_type == "execute_result"]
    if bundles:
        return _bundle_grade(id, points, bundles[-1], results[-1] if results else "")
    if "Exercise(" in cell.source:
        # Our own checks turn everything the student's code does into a table. No table: the check is what failed.
        return Grade(id, None, points, "error", f"the check itself failed: {outcome.reason or 'it gave no result'}")
    return _plain_grade(id, points, results, outcome)


def _bundle_grade(id: str, points: float, bundle: Any, result: str) -> Grade:
    """Points from a score bundle; the cell's last expression must say the same number."""
    try:
        score, shown = float(bundle["points"]), float(result)
        status, reason, cases = bundle["status"], one_line(bundle["reason"]), [_case(case) for case in bundle["cases"]]
        agree = math.isfinite(score) and 0 <= score <= points and math.isclose(score, shown, abs_tol=0.005)
        if not agree or not math.isclose(float(bundle["max"]), points) or status not in STATUSES[:5]:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        return Grade(id, None, points, "error", "the check gave a result that contradicts itself")
    return Grade(id, score, points, status, reason, cases)


def _case(case: dict) -> dict[str, Any]:
    kept: dict[str, Any] = {
        name: one_line(case.get(name, "")) for name in ("title", "status", "got", "expected", "hint")
    }
    return kept | {"hidden": bool(case.get("hidden", False))}


def _plain_grade(id: str, points: float, results: list[str], outcome: Outcome) -> Grade:
    """A test cell of asserts, or one whose last expression is a score: read as nbgrader does, but stderr is free."""
    if outcome.status == "raised":
        status = "wrong" if outcome.reason.startswith("AssertionError") else "crashed"
        return Grade(id, 0.0, points, status, one_line(outcome.reason))
    if not results:
        return Grade(id, points, points, "passed")
    try:
        score = float(results[-1])
    except ValueError:
        # nbgrader gives all points. But it is the student who decides what comes out where their tensor comes in.
        return Grade(id, None, points, "error", f"the check gave no number of points: {one_line(results[-1][:100])}")
    if not 0 <= score <= points:
        return Grade(id, None, points, "error", f"the check gave {score:g} points of {points:g}")
    return Grade(id, score, points, "passed" if score == points else "partial" if score else "wrong")


def _solutions_of(test: str, before: list[NotebookNode]) -> list[NotebookNode]:
    """The solution cells a test is about: the one of its name, else those since the test before."""
    named = [cell for cell in before if test == f"test-{cell.metadata.nbgrader.grade_id}"]
    return named or before


def _blame_solution(grade: Grade, solutions: list[NotebookNode], run: Run, stubs: dict[str, str]) -> Grade:
    """When nothing was there to check because the student's own cell failed, say so instead of "not attempted"."""
    if grade.status not in ("not attempted", "crashed"):
        return grade
    for cell in solutions:
        id = cell.metadata.nbgrader.grade_id
        if cell.source.strip() == stubs.get(id, "").strip() or not cell.source.strip():
            return replace(grade, status="not attempted", reason=grade.reason or "not attempted yet")
        outcome = run.outcomes.get(cell.id, Outcome("ran"))
        if outcome.status == "raised" and "NotImplementedError" not in outcome.reason and not _defines(cell):
            return replace(grade, status="crashed", reason=f"{BLAMED} does not run: {one_line(outcome.reason)}")
        if outcome.status in ("timed out", "died"):
            return replace(grade, status=outcome.status, reason=f"{BLAMED}: {outcome.reason}")
    return grade


def _defines(cell: NotebookNode) -> bool:
    """Whether a cell that raised may still have defined its functions: it parses, and starts with definitions."""
    try:
        body = ast.parse(cell.source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


def failed_cells(run: Run, raised: bool = False) -> list[str]:
    """What became of the student's cells that were stopped or ended the process, and with `raised` of cells of the
    student's own that raised: a sentence for each, without its full stop. Tests are spoken of in their grades."""
    said = []
    for cell in run.notebook.cells:
        outcome = run.outcomes.get(cell.id, Outcome("ran"))
        meta = cell.metadata.get("nbgrader", {})
        harmful = outcome.status in ("timed out", "died") and not outcome.reason.startswith(NOT_REACHED)
        if (harmful and not meta.get("locked") and not is_test(cell)) or (
            raised and outcome.status == "raised" and not meta
        ):
            begins = one_line(cell.source.strip().splitlines()[0][:60])
            said.append(f"a cell that begins with {begins!r}: {one_line(outcome.reason)}")
    return said


def one_line(text: Any) -> str:
    """Text for a table: one line, no control characters, no more than fits."""
    text = " ".join(printable(str(text)).split())
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "..."


def printable(text: str) -> str:
    """Text without anything that could steer a terminal."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    return "".join(c if c.isprintable() else " " for c in text)
