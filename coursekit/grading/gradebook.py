"""nbgrader's gradebook, written so that each submission is one transaction.

The tables, their models and all lookups are nbgrader's own (`nbgrader.api.Gradebook`); formgrader, `nbgrader export`
and `nbgrader generate_feedback` read what is written here. What differs from `nbgrader autograde`: nothing is half
written, and work a person has done is asked for again only where the answer has changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Comment, Grade, Gradebook, MissingEntry, SubmittedNotebook
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config

from coursekit.grading import score
from coursekit.grading.course import Course, CourseError

BUSY_SECONDS = 5  # how long to wait for another program that is writing


class Book:
    """The gradebook of a course, open. A context manager.

    Raises CourseError if it cannot be read or written: locked, read-only, full disk, made by another nbgrader.
    """

    def __init__(self, course: Course, config: Config, readonly: bool = False) -> None:
        self._course_id = config.CourseDirectory.get("course_id") or "default_course"
        given = config.CourseDirectory.get("db_url")
        self._name = str(given or course.gradebook)
        # Written as nbgrader's Gradebook wants it, but with a short wait instead of a long silence.
        self._url = given or sqlalchemy.URL.create(
            "sqlite", database=str(course.gradebook), query={"timeout": str(BUSY_SECONDS)}
        )
        with self._clear_errors():
            if not given and not course.gradebook.exists():
                if readonly:
                    raise CourseError(f"no gradebook {course.gradebook}; grade first: coursekit grade ASSIGNMENT")
                _create(course.gradebook, self._course_id)
            self._book = Gradebook(self._url, self._course_id)
            # nbgrader commits after every row. Within a submission that becomes a flush; `transaction` commits.
            self._commit = self._book.db.commit
            self._book.db.commit = self._book.db.flush
        if not readonly:
            self.check_writable()

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.close()

    def check_writable(self) -> None:
        """Find out now, and not after an hour of grading."""
        with self._clear_errors():
            if self._book.engine.dialect.name == "sqlite":
                self._book.db.rollback()
                connection = self._book.db.connection()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.exec_driver_sql("CREATE TABLE coursekit_probe (x)")  # a lock alone is had read-only too
            self._book.db.rollback()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is recorded within is committed at its end, or nothing of it."""
        try:
            with self._clear_errors():
                yield
                self._commit()
        except BaseException:
            self._book.db.rollback()
            raise

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise CourseError(f"{self._name}: {_in_words(error)}") from error

    # --- the assignment

    def record_assignment(self, assignment: str, notebooks: dict[str, NotebookNode]) -> None:
        """What `nbgrader generate_assignment` records: notebooks (canonical, by name), their cells and points.

        An assignment that has changed since is brought up to date, also where there are submissions already; only
        cells a person has graded are never dropped: then CourseError.
        """
        book = self._book
        book.update_or_create_assignment(assignment)
        for name, notebook in notebooks.items():
            kernelspec = json.dumps(notebook.metadata.get("kernelspec", {}))
            book.update_or_create_notebook(name, assignment, kernelspec=kernelspec)
            self._drop_cells(assignment, name, {cell.metadata.nbgrader.grade_id for cell in _cells(notebook)})
            for cell in _cells(notebook):
                self._record_cell(assignment, name, cell)
        self._complete_submissions(assignment)

    def _record_cell(self, assignment: str, notebook: str, cell: NotebookNode) -> None:
        id, book = cell.metadata.nbgrader.grade_id, self._book
        if utils.is_grade(cell):
            points = float(cell.metadata.nbgrader.points)
            book.update_or_create_grade_cell(id, notebook, assignment, max_score=points, cell_type=cell.cell_type)
        if utils.is_solution(cell):
            book.update_or_create_solution_cell(id, notebook, assignment)
        book.update_or_create_source_cell(
            id, notebook, assignment, cell_type=cell.cell_type, locked=utils.is_locked(cell), source=cell.source,
            checksum=cell.metadata.nbgrader.get("checksum"),
        )  # fmt: skip

    def _drop_cells(self, assignment: str, name: str, kept: set[str]) -> None:
        notebook = self._book.find_notebook(name, assignment)
        for cell in [*notebook.grade_cells, *notebook.solution_cells]:
            if cell.name in kept:
                continue
            rows = [*(cell.grades or []), *(cell.comments or [])]
            if any(getattr(row, field, None) is not None for row in rows for field in _BY_HAND):
                raise CourseError(
                    f"{self._name}: {cell.name!r} of {assignment} was graded by hand, but the assignment has it no "
                    "more; put it back, or keep this gradebook and start a new one"
                )
            for row in [*rows, cell]:
                self._book.db.delete(row)
        for source in [cell for cell in notebook.source_cells if cell.name not in kept]:
            self._book.db.delete(source)
        self._book.db.flush()
        self._book.db.expire_all()

    def _complete_submissions(self, assignment: str) -> None:
        """Rows for cells that came after a submission had been recorded."""
        db = self._book.db
        db.expire_all()
        for submission in self._book.find_assignment(assignment).submissions:
            have = {notebook.notebook_id for notebook in submission.notebooks}
            for notebook in submission.assignment.notebooks:
                if notebook.id not in have:
                    raise CourseError(
                        f"{self._name}: the notebook {notebook.name!r} is new in {assignment}, which has submissions; "
                        "keep this gradebook and start a new one, or make it an assignment of its own"
                    )
            for submitted in submission.notebooks:
                graded = {grade.cell_id for grade in submitted.grades}
                commented = {comment.cell_id for comment in submitted.comments}
                for cell in submitted.notebook.grade_cells:
                    if cell.id not in graded:
                        db.add(Grade(cell_id=cell.id, notebook=submitted))
                for cell in submitted.notebook.solution_cells:
                    if cell.id not in commented:
                        db.add(Comment(cell_id=cell.id, notebook=submitted))
        db.flush()

    # --- a submission

    def record_submission(self, assignment: str, student: str, timestamp: datetime | None) -> None:
        """The student and the submission, with its time of handing in."""
        times = {} if timestamp is None else {"timestamp": timestamp}
        self._book.update_or_create_student(student)
        with self._book.db.no_autoflush:  # nbgrader builds the rows of a submission bit by bit
            self._book.update_or_create_submission(assignment, student, **times)

    def record_grades(
        self, assignment: str, student: str, notebook: str, grades: Iterable[score.Grade], changed: set[str]
    ) -> None:
        """The automatic scores of one notebook. What a person entered stays.

        changed: ids of the free-text answers that are not what they were when this was graded last; those, and
        tests whose score changed under a score by hand, are flagged for a person.
        """
        for grade in grades:
            row = self._book.find_grade(grade.id, notebook, assignment, student)
            before = row.auto_score
            row.auto_score = grade.score
            if row.manual_score is not None:
                row.needs_manual_grade = bool(row.needs_manual_grade or before != grade.score or grade.id in changed)
            else:
                row.needs_manual_grade = grade.score is None
        self._book.db.flush()

    def record_untried(self, assignment: str, student: str, notebook: str, untried: dict[str, bool]) -> None:
        """nbgrader's own remark on solutions and answers that are as released: {grade id: whether}."""
        for id, empty in untried.items():
            comment = self._book.find_comment(id, notebook, assignment, student)
            comment.auto_comment = "No response." if empty else None
        self._book.db.flush()

    # --- what feedback needs

    def entries(self, assignment: str, student: str, notebook: str) -> dict[str, Entry]:
        """What is recorded for each question, by grade id. Empty if nothing is."""
        submitted = self._find(assignment, student, notebook)
        grades = submitted.grades if submitted is not None else []
        return {
            grade.name: Entry(grade.score, grade.max_score, grade.needs_manual_grade, grade.manual_score is not None)
            for grade in grades
        }

    def comments(self, assignment: str, student: str, notebook: str) -> dict[str, str]:
        """Comments a person made, by the id of the solution or answer."""
        submitted = self._find(assignment, student, notebook)
        comments = submitted.comments if submitted is not None else []
        return {comment.name: comment.manual_comment for comment in comments if comment.manual_comment}

    def late_penalty(self, assignment: str, student: str, notebook: str) -> float:
        """Points taken off for handing in late, as nbgrader or a person recorded them."""
        submitted = self._find(assignment, student, notebook)
        return (submitted.late_submission_penalty if submitted is not None else None) or 0.0

    def handed_in(self, assignment: str, student: str) -> datetime | None:
        """When the submission was handed in (UTC), where that is known."""
        try:
            return self._book.find_submission(assignment, student).timestamp
        except MissingEntry:
            return None

    def _find(self, assignment: str, student: str, notebook: str) -> SubmittedNotebook | None:
        try:
            return self._book.find_submission_notebook(notebook, assignment, student)
        except MissingEntry:
            return None


@dataclass(frozen=True)
class Entry:
    """A question in the gradebook. score: what counts, by hand before automatic, with extra credit. waiting: a person
    still has to look. by_hand: a person entered the score."""

    score: float
    max: float
    waiting: bool
    by_hand: bool


_BY_HAND = ("manual_score", "extra_credit", "manual_comment")


def _cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if utils.is_grade(cell) or utils.is_solution(cell) or utils.is_locked(cell)]


def _create(path: Path, course_id: str) -> None:
    """A new, empty gradebook: complete or not there at all, because nbgrader does not recover from half of one."""
    if not path.parent.is_dir():
        raise CourseError(f"no folder {path.parent}")
    # nbgrader calls the program `alembic`, which the environment's bin folder has and PATH may not.
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    with tempfile.TemporaryDirectory(prefix=".gradebook-", dir=path.parent) as folder:
        new = Path(folder) / "gradebook.db"
        book = Gradebook(sqlalchemy.URL.create("sqlite", database=str(new)), course_id)
        book.close()
        if path.exists():  # somebody else was faster
            return
        shutil.move(new, path)


def _in_words(error: Exception) -> str:
    text = str(getattr(error, "orig", error))
    meanings = {
        "locked": "another program is writing to it (formgrader, or another grading run); close that and try again",
        "readonly": "the gradebook cannot be written; change its permissions, or those of its folder",
        "unable to open": "the gradebook cannot be opened or written; look at its permissions and its folder's",
        "disk is full": "no space left on the disk; free some and grade again",
        "disk I/O": "the disk refused to write (full, or over quota?); free some space and grade again",
        "no such column": "made by another version of nbgrader; back it up and run nbgrader db upgrade",
        "no such table": "not a complete gradebook of nbgrader; move it away, and a new one is made",
        "not a database": "not a gradebook of nbgrader; move it away, and a new one is made",
        "malformed": "the gradebook is damaged; put a backup in its place",
    }
    return next((meaning for sign, meaning in meanings.items() if sign in text), text)
