"""`coursekit feedback`: a page for each student, from the autograded notebook and the gradebook.

One HTML file without scripts or anything from elsewhere. All text is escaped. Hidden tests are shown as far as the
instructor says, at first not: of a hidden case the student sees that there is one, and how it went.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbformat import NotebookNode

from coursekit.grading.build import load_config
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book, Entry
from coursekit.grading.record import write_atomically
from coursekit.grading.report import number
from coursekit.grading.run import is_test
from coursekit.grading.score import BLAMED, MIME
from coursekit.grading.source import HIDDEN_TESTS
from coursekit.grading.task import SCHEME_TAG

# How much of a hidden case students see: that there is one; its hint, too; everything.
HIDDEN = ("no", "hints", "full")
MARKS = {"passed": "✓", "partial": "◐", "wrong": "✗", "manual": "…", "not attempted": "–"}


def feedback(course: Course, assignment: str, student: str | None = None, hidden: str = "no") -> int:
    """Write `feedback/<student>/<assignment>/<notebook>.html` for everybody who was graded, or for one student.

    hidden: what is shown of hidden cases, one of HIDDEN. Returns the exit code: 1 if a page could not be made.
    """
    names = [path.stem for path in course.notebooks(assignment)]
    students = _graded_students(course, assignment, student)
    written = 0
    failed: list[str] = []
    with Book(course, load_config(course), readonly=True) as book:
        for name in students:
            for notebook in names:
                try:
                    page = _page(course, book, assignment, name, notebook, hidden)
                except _NoResult as missing:
                    failed.append(f"{name}: {missing}")
                    continue
                path = course.feedback / name / assignment / f"{notebook}.html"
                write_atomically(path, _render(page).encode("utf-8", "replace"))
                written += 1
    print(f"{assignment}: {written} page{'s' * (written != 1)} in {course.feedback.name}/<student>/{assignment}/")
    for problem in failed:
        print(f"coursekit: no page for {problem}", file=sys.stderr)
    return 1 if failed else 0


class _NoResult(Exception):
    pass


@dataclass
class Question:
    """What the page says about one question."""

    id: str
    name: str
    heading: str
    score: str
    max: str
    status: str
    reason: str
    waiting: bool
    by_hand: bool
    cases: list[dict[str, str]] = field(default_factory=list)
    answer: str | None = None
    comments: list[str] = field(default_factory=list)

    @property
    def css(self) -> str:
        return self.status.replace(" ", "-")

    @property
    def mark(self) -> str:
        return MARKS.get(self.status, "!")

    @property
    def word(self) -> str:
        return {"manual": "to be read", "partial": "partly passed"}.get(self.status, self.status)

    @property
    def has_values(self) -> bool:
        return any(case["got"] or case["expected"] for case in self.cases)


def _graded_students(course: Course, assignment: str, student: str | None) -> list[str]:
    found = sorted(path.parent.name for path in course.autograded.glob(f"*/{assignment}") if path.is_dir())
    if student is not None and student not in found:
        raise CourseError(f"{student!r} was not graded for {assignment}; run coursekit grade {assignment} first")
    if not found:
        raise CourseError(f"nobody was graded for {assignment}; run coursekit grade {assignment} first")
    return found if student is None else [student]


def _page(course: Course, book: Book, assignment: str, student: str, name: str, hidden: str) -> dict[str, Any]:
    path = course.autograded / student / assignment / f"{name}.ipynb"
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        raise _NoResult(f"{path} cannot be read; grade again") from error
    entries = book.entries(assignment, student, name)
    if not entries:
        raise _NoResult(f"nothing about {name} is in the gradebook; grade again")
    questions = _questions(notebook, entries, book.comments(assignment, student, name), hidden)
    penalty = book.late_penalty(assignment, student, name)
    score = max(sum(entry.score for entry in entries.values()) - penalty, 0.0)
    most = sum(entry.max for entry in entries.values())
    waiting = sum(entry.max for entry in entries.values() if entry.waiting)
    handed_in = book.handed_in(assignment, student)
    unreadable = next((q.reason for q in questions if q.status == "unreadable"), "")
    return {
        "title": _title(notebook) or name, "student": student, "questions": questions, "problem": unreadable,
        "handed_in": f"{handed_in:%Y-%m-%d %H:%M}" if handed_in is not None else "",
        "score": number(score), "max": number(most), "waiting": number(waiting) if waiting else "",
        "penalty": number(penalty) if penalty else "",
        "percent": _percent(score, most), "percent_waiting": _percent(waiting, most),
        "remarks": [] if unreadable else list(notebook.metadata.get("coursekit", {}).get("remarks", [])),
    }  # fmt: skip


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, 100 * part / whole), 1) if whole else 0.0


def _questions(
    notebook: NotebookNode, entries: dict[str, Entry], comments: dict[str, str], hidden: str
) -> list[Question]:
    questions = []
    heading = ""
    solutions: list[str] = []
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        id = meta.get("grade_id", "")
        if meta.get("grade") and id in entries:
            about = [id] if meta.get("solution") else solutions
            said = [comments[name] for name in about if name in comments]
            questions.append(_question(cell, entries[id], heading, said, hidden))
        if meta.get("solution") and not meta.get("grade"):
            solutions.append(id)
        elif is_test(cell):
            solutions = []
        if (
            cell.cell_type == "markdown"
            and not meta.get("solution")
            and SCHEME_TAG not in cell.metadata.get("tags", [])
        ):
            heading = _heading(cell.source) or heading
    return questions


def _question(cell: NotebookNode, entry: Entry, heading: str, comments: list[str], hidden: str) -> Question:
    result = cell.metadata.get("coursekit", {})
    id = cell.metadata.nbgrader.grade_id
    status, reason = result.get("status", "manual"), result.get("reason", "")
    told = _told(result.get("cases", []), hidden)
    cases = _once([_case(case) for case in told])
    if entry.by_hand and entry.waiting:
        status, reason = "manual", "it has changed since a person gave points; a person will look at it again"
    elif entry.by_hand:
        status, reason = (
            _status_by_hand(entry),
            "read by a person" if status == "manual" else "points given by a person",
        )
    elif status == "error":
        status, reason = "manual", "the automatic check did not work here; a person will look at it"
    elif told and hidden != "full":
        reason = _reason(told, status, reason)
    elif (
        hidden != "full"
        and status in ("wrong", "crashed")
        and f"BEGIN {HIDDEN_TESTS}" in cell.source
        and not reason.startswith(BLAMED)
    ):
        # What failed may be a hidden line, and its message or the student's own error may quote what it tried.
        reason = "a line of the test fails, or your code raises an error there"
    answer = None
    if not is_test(cell):
        answer = "" if result.get("status") in ("not attempted", "unreadable") else cell.source
    return Question(
        id, id.removeprefix("test-"), heading, "–" if entry.waiting else number(entry.score), number(entry.max), status,
        reason, entry.waiting, entry.by_hand and not entry.waiting, cases, answer, comments,
    )  # fmt: skip


def _status_by_hand(entry: Entry) -> str:
    return "passed" if entry.score >= entry.max else "partial" if entry.score > 0 else "wrong"


def _case(case: dict[str, Any]) -> dict[str, str]:
    status = case["status"]
    shown = {"status": status, "css": status.replace(" ", "-"), "mark": MARKS.get(status, "!")}
    hint = case["hint"] if status != "passed" else ""
    return shown | {"title": case["title"], "got": case["got"], "expected": case["expected"], "hint": hint}


def _once(cases: list[dict[str, str]]) -> list[dict[str, str]]:
    """What went wrong in the same way again and again, such as a function that is not there, is told the first time."""
    said: set[tuple[str, ...]] = set()
    shown = []
    for case in cases:
        what = tuple(case[key] for key in ("status", "got", "expected", "hint"))
        again = what in said and case["hint"] != ""
        shown.append(case | {"got": "as above", "expected": "", "hint": ""} if again else case)
        said.add(what)
    return shown


# What stands for what came out of a student's function where that may not be told.
WITHHELD = {"wrong": "another value", "crashed": "an error"}


def _told(cases: list[dict[str, Any]], hidden: str) -> list[dict[str, Any]]:
    """The cases as a student may see them: of hidden ones neither title nor values, which would tell what is tried.

    What came out of the student's function after a hidden case had been tried is withheld, too: it may have kept what
    it was given, and tell it later.
    """
    if hidden == "full":
        return cases
    told: list[dict[str, Any]] = []
    for case in cases:
        if case["hidden"]:
            hint = case["hint"] if hidden == "hints" else ""
            told.append(case | {"title": "hidden case", "got": "", "expected": "", "hint": hint})
        elif any(before["hidden"] for before in told):
            told.append(case | {"got": WITHHELD.get(case["status"], "")})
        else:
            told.append(case)
    return told


def without_hidden_cases(cell: NotebookNode, delimiter: str) -> None:
    """Take out of a test cell's outputs what would tell a student what is tried in hidden: for nbgrader's own pages.

    delimiter: what stands in the source where a hidden part begins. In a cell with a hidden part the table is drawn
    anew from its score bundle, and the number below it stays. Tracebacks, prints and what cannot be read go.
    """
    bundles = [output.data[MIME] for output in cell.outputs if MIME in output.get("data", {})]
    if not is_test(cell) or (delimiter not in cell.source and "hidden" not in str(bundles)):
        return
    kept = []
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.data = NotebookNode({"text/plain": output.data.get("text/plain", "")})
            kept.append(output)
        elif output.output_type == "display_data" and MIME in output.data:
            output.data = _drawn_anew(output.data[MIME])
            kept.append(output)
    cell.outputs = kept


def _drawn_anew(report: dict[str, Any]) -> NotebookNode:
    from coursekit.checks import table  # here: it needs torch, which takes seconds to come

    try:
        cases = [_masked(case) for case in _told(report["cases"], "no")]
        masked = {**report, "reason": "", "cases": cases}
        return NotebookNode({"text/html": table.as_html(masked), "text/plain": table.as_text(masked)})
    except (AttributeError, KeyError, TypeError, ValueError):
        return NotebookNode({"text/plain": "The table of this test cannot be read."})


def _masked(case: dict[str, Any]) -> dict[str, Any]:
    if not case["hidden"]:
        return case
    return case | {"got": WITHHELD.get(case["status"], "")}  # the table of the checks leaves no cell empty


def _reason(cases: list[dict[str, Any]], status: str, reason: str) -> str:
    """Why points are missing, without what a hidden case would give away."""
    first = next((case for case in cases if case["status"] != "passed"), None)
    if first is None or status not in ("partial", "wrong", "crashed"):
        return reason
    if first["hidden"]:
        return f"a hidden case {'fails' if first['status'] == 'wrong' else 'crashes'}. {first['hint']}".strip()
    if first["got"] in WITHHELD.values():
        return f"{first['title']}: {first['got']}. {first['hint']}".strip()
    return reason


def _heading(text: str) -> str:
    """The last heading of a markdown cell, without its marks."""
    headings = re.findall(r"^#{1,6} +(.+?)\s*#*$", text, re.MULTILINE)
    return re.sub(r"[`*_$]", "", headings[-1]).strip() if headings else ""


def _title(notebook: NotebookNode) -> str:
    return next(
        (h for cell in notebook.cells if cell.cell_type == "markdown" and (h := _first_heading(cell.source))), ""
    )


def _first_heading(text: str) -> str:
    heading = re.search(r"^# +(.+?)\s*$", text, re.MULTILINE)
    return re.sub(r"[`*_$]", "", heading[1]) if heading else ""


def _render(page: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("feedback.html").render(page=page)
