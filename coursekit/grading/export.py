"""`coursekit export`: the gradebook as CSV, for Canvas, for Moodle, or as plain as nbgrader's.

    plain    nbgrader's own columns, then the points that await a person, then a column per question
    canvas   for Gradebook, Import: Student, ID, SIS User ID, SIS Login ID, Section, a column per assignment
    moodle   an assignment's offline grading worksheet; several assignments: for Grades, Import, CSV file

What a person has still to decide on is blank, and so is a total it belongs to where it would be taken for final.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from coursekit.grading import ledger, receipt
from coursekit.grading.build import load_config
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book
from coursekit.grading.ledger import Ledger, Marks, Participant, Question
from coursekit.grading.record import write_atomically
from coursekit.grading.score import one_line, printable

Row = list[str | float]
PLATFORMS = ("plain", "canvas", "moodle")
NAMED = 10  # how many students a note names


def export(
    course: Course,
    assignment: str | None,
    to: str = "plain",
    out: Path | None = None,
    title: str = "",
    questions: bool | None = None,
) -> int:
    """Write the CSV of an assignment, or of all if it is None. Returns the exit code.

    to: one of PLATFORMS. out: a file; None for stdout. title: what the platform calls the assignment. questions:
    whether there is a column per question; None: in plain only. Raises CourseError if there is nothing to write, or
    no place for it.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise CourseError(f"no folder {out.absolute().parent} to write {out.name} into")
    if title and assignment is None:
        raise CourseError("--title names one assignment; leave it out, or name the assignment instead of --all")
    if assignment is not None:
        course.notebooks(assignment)  # the clear error for a name that is none
    with Book(course, load_config(course), readonly=True) as book:
        ledgers = ledger.read_all(course, book) if assignment is None else [ledger.read(course, book, assignment)]
    table = _Table(course, ledgers, title, to == "plain" if questions is None else questions)
    make: dict[str, Callable[[], list[Row]]] = {"plain": table.plain, "canvas": table.canvas, "moodle": table.moodle}
    _write(as_csv(make[to]()), out)
    for note in table.notes(to):
        print(f"Note: {note}", file=sys.stderr)
    return 0


def as_csv(rows: Iterable[Row]) -> str:
    """Text in quotes, numbers without; nothing that a spreadsheet would run."""
    target = io.StringIO()
    writer = csv.writer(target, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    for row in rows:
        writer.writerow([harmless(cell) if isinstance(cell, str) else _Number(cell) for cell in row])
    return target.getvalue()


class _Number(float):
    """Points as people write them: 2, 2.5, 1.33."""

    def __repr__(self) -> str:
        return f"{round(float(self), 2):.10g}"

    __str__ = __repr__


# What Excel, LibreOffice or Google Sheets may take for a formula, also in the wide forms of East Asian text.
_FORMULA = re.compile(r"^\s*[=+\-@＝＋－＠]")


def harmless(text: str) -> str:
    """A cell that is text and stays text: one line, and an apostrophe before what would be a formula."""
    line = printable(text.encode("utf-8", "replace").decode())
    return f"'{line}" if _FORMULA.match(line) else line


def _write(text: str, out: Path | None) -> None:
    if out is not None:
        write_atomically(out.absolute(), text.encode())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())  # not in the terminal's encoding, which may lack letters of names


class _Table:
    """The rows for each platform."""

    def __init__(self, course: Course, ledgers: list[Ledger], title: str, questions: bool) -> None:
        self._course, self._ledgers, self._title, self._per_question = course, ledgers, title, questions
        self._people = ledgers[0].people
        self._without_number: list[str] = []

    # --- plain

    def plain(self) -> list[Row]:
        """A row for each student and assignment, also for those who did not hand in."""
        names = [
            "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
            "late_submission_penalty", "score", "max_score", "waiting",
        ]  # fmt: skip
        columns = [(one, question) for one in self._ledgers for question in self._questions(one)]
        several = len(self._ledgers) > 1
        heads = [f"{one.assignment}/{one.label(q)}" if several else one.label(q) for one, q in columns]
        rows: list[Row] = [[*names, *heads]]
        for one in self._ledgers:
            for person in one.people:
                marks = one.marks.get(person.id, Marks(None, {}, 0.0))
                points = [_points(marks, q) if owner is one else "" for owner, q in columns]
                rows.append([
                    one.assignment, str(one.due or ""), str(marks.handed_in or ""), person.id, person.last_name,
                    person.first_name, person.email, marks.raw, marks.penalty, marks.score, one.max, marks.waiting,
                    *points,
                ])  # fmt: skip
        return rows

    def _questions(self, one: Ledger) -> list[Question]:
        return one.questions if self._per_question else []

    # --- canvas

    def canvas(self) -> list[Row]:
        """As Canvas exports its own gradebook. A column whose name it does not know becomes a new assignment."""
        heads, most = self._columns()
        rows: list[Row] = [
            ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *heads],
            ["    Points Possible", "", "", "", "", *most],
        ]
        for person in self._who_handed_in():
            # Only what came from Canvas goes into its column: a number of another kind could be somebody else's.
            number = self._number(person, "canvas") or person.lms_user_id
            login = "" if person.id == number else person.id
            name = f"{person.last_name}, {person.first_name}" if person.first_name else person.last_name or person.id
            rows.append([name, number, "", login, "", *self._cells(person)])
        return rows

    # --- moodle

    def moodle(self) -> list[Row]:
        """For one assignment its grading worksheet; for several what the gradebook imports."""
        heads, most = self._columns()
        if len(self._ledgers) > 1:
            rows: list[Row] = [["ID number", "Full name", "Email address", *heads]]
            people = self._who_handed_in()
            return rows + [[person.id, person.name, person.email, *self._cells(person)] for person in people]
        head = ["Identifier", "Full name", "Email address", "Grade", "Maximum grade", "Last modified (grade)"]
        rows = [[*head, *heads[1:]]]
        for person in self._who_handed_in():
            number = self._number(person, "moodle")
            if not number:
                self._without_number.append(person.id)
            total, *points = self._cells(person)
            identifier = f"Participant {number}" if number else ""
            rows.append([identifier, person.name, person.email, total, most[0], "-", *points])
        return rows

    # --- what they share

    def _columns(self) -> tuple[list[str], list[float]]:
        """Names and most points of the columns of all assignments: the total, then the questions if asked for."""
        heads, most = [], []
        for one in self._ledgers:
            title = self._title or one.assignment
            heads += [title, *(f"{title}: {one.label(question)}" for question in self._questions(one))]
            most += [one.max, *(question.max for question in self._questions(one))]
        return heads, most

    def _cells(self, person: Participant) -> list[str | float]:
        """A student's cells in these columns. Blank: not handed in, or not decided yet."""
        cells: list[str | float] = []
        for one in self._ledgers:
            marks = one.marks.get(person.id)
            cells.append(marks.score if marks is not None and not marks.waiting else "")
            cells += [_points(marks, question) if marks is not None else "" for question in self._questions(one)]
        return cells

    def _who_handed_in(self) -> list[Participant]:
        return [person for person in self._people if any(person.id in one.marks for one in self._ledgers)]

    def _number(self, person: Participant, platform: str) -> str:
        """The student's number in the platform, as the archive had it that the submission came from."""
        for one in self._ledgers:
            slip = receipt.read(self._course.submitted / person.id / one.assignment)
            if slip is not None and slip.platform == platform:
                return slip.platform_id
        return ""

    def notes(self, to: str) -> list[str]:
        """What whoever uploads this should know."""
        found = []
        for one in self._ledgers:
            waiting = [student for student, marks in sorted(one.marks.items()) if marks.waiting]
            if waiting:
                blank = "counted without them" if to == "plain" else "left blank"
                found.append(
                    f"{one.assignment}: answers of {_named(waiting)} await a person; the total is {blank}. "
                    "Grade them in formgrader and export again"
                )
        if self._without_number:
            found.append(
                f"no Moodle number is known of {_named(self._without_number)}, whom a grading worksheet does not find "
                "then; it is in the archive of the submissions (coursekit grade --archive)"
            )
        return found


def _points(marks: Marks, question: Question) -> str | float:
    entry = marks.entries.get(question)
    return "" if entry is None or entry.waiting else entry.score


def _named(students: list[str]) -> str:
    named = ", ".join(one_line(student) for student in students[:NAMED])
    more = f" and {len(students) - NAMED} more" if len(students) > NAMED else ""
    return f"{len(students)} student{'s' * (len(students) != 1)} ({named}{more})"
