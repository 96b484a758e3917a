"""`coursekit report`: how the class did, question by question, and where it failed most.

From the gradebook, so that points by hand count, and from the autograded notebooks, which know the cases of the tests.
For instructors: hidden cases are named.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coursekit.grading import ledger
from coursekit.grading.build import load_config
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book, Entry
from coursekit.grading.ledger import Ledger, Question
from coursekit.grading.record import write_atomically
from coursekit.grading.report import number, wrap
from coursekit.grading.score import one_line

# What can have become of a question, and what of a case counts as none of a student's failures.
OUTCOMES = ("passed", "partly", "failed", "not attempted", "waiting")
_HARMLESS = ("passed", "not attempted")


@dataclass(frozen=True)
class Case:
    """What a test tries, or where it has no cases, how it failed. count: students at whom it failed."""

    title: str
    hidden: bool
    hint: str
    count: int


@dataclass
class Summary:
    """One question. mean: points, of those for whom it is decided; None if for nobody."""

    name: str
    max: float
    mean: float | None
    outcomes: Counter[str] = field(default_factory=Counter)
    case: Case | None = None


def report(course: Course, assignment: str, json_file: Path | None = None) -> int:
    """Print the report of an assignment. json_file: also write it there. Returns the exit code. Raises CourseError if
    nobody was graded, or there is no place for the file."""
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise CourseError(f"no folder {json_file.absolute().parent} to write {json_file.name} into")
    course.notebooks(assignment)
    with Book(course, load_config(course), readonly=True) as book:
        one = ledger.read(course, book, assignment)
    summaries = summarise(course, one)
    print(as_text(one, summaries))
    if json_file is not None:
        write_atomically(json_file.absolute(), as_json(one, summaries).encode())
    return 0


# --- counting ------------------------------------------------------------------------------------------------------


def summarise(course: Course, one: Ledger) -> list[Summary]:
    """What became of each question."""
    results = {student: _results(course, one, student) for student in one.marks}
    return [_summarise(one, question, results) for question in one.questions]


def _summarise(one: Ledger, question: Question, results: dict[str, dict[Question, dict[str, Any]]]) -> Summary:
    outcomes: Counter[str] = Counter()
    scores: list[float] = []
    failures: list[dict[str, Any]] = []
    for student, marks in one.marks.items():
        entry, result = marks.entries.get(question), results[student].get(question, {})
        if entry is None:
            continue
        outcomes[_outcome(entry, result.get("status", ""))] += 1
        scores += [] if entry.waiting else [entry.score]
        failures += _failures(result)
    mean = statistics.fmean(scores) if scores else None
    return Summary(one.label(question), question.max, mean, outcomes, _most_common(failures))


def _results(course: Course, one: Ledger, student: str) -> dict[Question, dict[str, Any]]:
    """What the grader noted in a student's autograded notebooks. Empty where they cannot be read."""
    found = {}
    for name in {question.notebook for question in one.questions}:
        path = course.autograded / student / one.assignment / f"{name}.ipynb"
        try:
            cells = json.loads(path.read_bytes())["cells"]  # nbformat would validate it, which takes long for a class
            noted = {cell["metadata"]["nbgrader"]["grade_id"]: cell["metadata"]["coursekit"] for cell in cells
                     if "coursekit" in cell["metadata"] and "nbgrader" in cell["metadata"]}  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.update({q: noted[q.id] for q in one.questions if q.notebook == name and q.id in noted})
    return found


def _outcome(entry: Entry, status: str) -> str:
    """One of OUTCOMES. A person's points say more than the test, and where the notebook is not there, so do points."""
    if entry.waiting:
        return "waiting"
    if entry.by_hand or not status:
        return "passed" if entry.score >= entry.max else "partly" if entry.score > 0 else "failed"
    return {"passed": "passed", "partial": "partly", "not attempted": "not attempted"}.get(status, "failed")


def _failures(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases at which one student failed. A test without cases has failed as a whole, for its reason."""
    if result.get("cases"):
        return [case for case in result["cases"] if case["status"] not in _HARMLESS]
    if result.get("status") in ("wrong", "crashed", "timed out", "died"):
        return [{"title": result.get("reason") or result["status"], "hidden": False, "hint": ""}]
    return []


def _most_common(failures: Iterable[dict[str, Any]]) -> Case | None:
    counts: Counter[tuple[str, bool]] = Counter()
    hints: dict[tuple[str, bool], str] = {}
    for case in failures:
        name = case["title"], case["hidden"]
        counts[name] += 1
        hints[name] = hints.get(name) or case["hint"]
    if not counts:
        return None
    (title, hidden), count = counts.most_common(1)[0]
    return Case(title, hidden, hints[title, hidden], count)


# --- telling -------------------------------------------------------------------------------------------------------


def as_text(one: Ledger, summaries: list[Summary]) -> str:
    """A table, with the case that failed most often below each question."""
    width = min(max(shutil.get_terminal_size((110, 24)).columns, 80), 160)
    name = max(len(summary.name) for summary in summaries)
    heads = [f"{head:>{len(head) + 2}}" for head in ("points", "mean", *OUTCOMES)]
    lines = [_first_line(one), "", f"{'question':<{name}}{''.join(heads)}".rstrip()]
    for summary in summaries:
        mean = "-" if summary.mean is None else f"{summary.mean:.2f}"
        cells = [number(summary.max), mean, *(str(summary.outcomes[outcome]) for outcome in OUTCOMES)]
        lines.append(f"{summary.name:<{name}}" + "".join(f"{c:>{len(h)}}" for c, h in zip(cells, heads, strict=True)))
        if summary.case is not None:
            case = summary.case
            said = f"{one_line(case.title)}{' (hidden)' * case.hidden}, {case.count} of {len(one.marks)}. {case.hint}"
            lines += wrap("    most often fails: ", said.strip(), width)
    return "\n".join(lines)


def _first_line(one: Ledger) -> str:
    count = f"{len(one.marks)} submission{'s' * (len(one.marks) != 1)}"
    mean = statistics.fmean(marks.score for marks in one.marks.values())
    late = sum(marks.penalty > 0 for marks in one.marks.values())
    waiting = sum(marks.waiting > 0 for marks in one.marks.values())
    said = f"{one.assignment}: {count}, on average {number(mean)} of {number(one.max)} points"
    said += f" so far; {waiting} with answers that await a person" * bool(waiting)
    return said + f"; {late} with points taken off for handing in late" * bool(late)


def as_json(one: Ledger, summaries: list[Summary]) -> str:
    """{"assignment", "submissions", "max", "mean", "questions": {"<name>": {"max", "mean", the OUTCOMES, "case"}}}"""
    questions = {
        summary.name: {
            "max": summary.max, "mean": summary.mean, **{outcome: summary.outcomes[outcome] for outcome in OUTCOMES},
            "case": vars(summary.case) if summary.case is not None else None,
        }
        for summary in summaries
    }  # fmt: skip
    mean = statistics.fmean(marks.score for marks in one.marks.values())
    content = {"assignment": one.assignment, "submissions": len(one.marks), "max": one.max, "mean": mean}
    return json.dumps(content | {"questions": questions}, indent=1, ensure_ascii=False) + "\n"
