"""nbgrader's gradebook, written so that each submission is one transaction.

The tables, their models and all lookups are nbgrader's own (`nbgrader.api.Gradebook`); formgrader, `nbgrader export`
and `nbgrader generate_feedback` read what is written here. What differs from `nbgrader autograde`: nothing is half
written, and work a person has done is asked for again only where the answer has changed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Comment, Grade, Gradebook, MissingEntry, SubmittedNotebook
from sqlalchemy.exc import DataError, SQLAlchemyError
from traitlets.config import Config

from coursekit.grading import database, score
from coursekit.grading.course import Course, CourseError
from coursekit.grading.late import LatePenalties


class Book:
    """The gradebook of a course, open. A context manager.

    Raises CourseError if it cannot be read or written: locked, read-only, full disk, no server there, made by another
    nbgrader.
    """

    def __init__(self, course: Course, config: Config, readonly: bool = False) -> None:
        if not readonly:
            self._late = LatePenalties(course, config)
        course_id = config.CourseDirectory.get("course_id") or "default_course"
        given = config.CourseDirectory.get("db_url")
        self._name = "CourseDirectory.db_url" if given else str(course.gradebook)
        with self._clear_errors():
            url = database.locate(course, given)
            if given:
                self._name = sqlalchemy.make_url(given).render_as_string(hide_password=True)
            if not database.is_there(url):
                if readonly:
                    raise CourseError(f"no gradebook {self._name}; grade first: coursekit grade ASSIGNMENT")
                if database.create(url, course_id, before=course.gradebook):
                    print(f"Note: {self._name} has taken over all of {course.gradebook}, which is not used any more.",
                          file=sys.stderr)  # fmt: skip
            self._book = Gradebook(url, course_id)
        # nbgrader commits after every row. Within a submission that becomes a flush; `transaction` commits.
        self._commit = self._book.db.commit
        self._book.db.commit = self._flush
        if not readonly:
            try:
                self.check_writable()
            except CourseError:
                self.close()
                raise

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What is not committed is lost."""
        database.rollback(self._book.db)  # which, unlike nbgrader's own closing, stands a server that has hung up
        self._book.close()

    def check_writable(self) -> None:
        """Find out now, and not after an hour of grading."""
        with self._clear_errors():
            database.check_writable(self._book.db)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is recorded within is committed at its end, or nothing of it. One at a time, whoever grades."""
        try:
            with self._clear_errors():
                database.begin(self._book.db)
                yield
                self._commit()
        except BaseException:
            database.rollback(self._book.db)
            raise

    def _flush(self) -> None:
        with self._clear_errors():  # here, before nbgrader logs a traceback
            self._book.db.flush()

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:  # the row, not the gradebook: a name that is too long, or not in its encoding
            raise ValueError(database.in_words(error)) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise CourseError(f"{self._name}: {database.in_words(error)}") from error

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

    def record_student(self, student: str, **about: str) -> None:
        """Somebody, with what is known and the gradebook does not have yet: first_name, last_name, email,
        lms_user_id. What is there stays."""
        row = self._book.update_or_create_student(student)
        for name, text in about.items():
            if text and not getattr(row, name):
                setattr(row, name, text[:COLUMN])
        self._book.db.flush()

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

    def record_late_penalty(self, assignment: str, student: str, notebook: str) -> None:
        """What handing in late costs, after the scores are recorded; as nbgrader's AssignLatePenalties does it."""
        submitted = self._book.find_submission_notebook(notebook, assignment, student)
        self._book.db.refresh(submitted)  # its score is a sum over what was just recorded
        seconds = submitted.assignment.total_seconds_late
        submitted.late_submission_penalty = self._late.penalty(student, submitted.score, seconds)
        self._book.db.flush()

    # --- what feedback needs

    @contextlib.contextmanager
    def reading(self) -> Iterator[Gradebook]:
        """nbgrader's own view of it, for whoever reads all of it. Errors are as clear as they are here."""
        with self._clear_errors():
            yield self._book

    def entries(self, assignment: str, student: str, notebook: str) -> dict[str, Entry]:
        """What is recorded for each question, by grade id. Empty if nothing is."""
        submitted = self._find(assignment, student, notebook)
        grades = submitted.grades if submitted is not None else []
        return {grade.name: Entry.of(grade) for grade in grades}

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
    """A question in the gradebook. score: what counts, by hand before automatic, with extra credit; 0 while a person
    still has to look (`waiting`), whatever was given to an earlier version. by_hand: a person entered a score, if only
    for an earlier version."""

    score: float
    max: float
    waiting: bool
    by_hand: bool

    @classmethod
    def of(cls, grade: Grade) -> Entry:
        """From nbgrader's row."""
        waiting = grade.needs_manual_grade
        return cls(0.0 if waiting else grade.score, grade.max_score, waiting, grade.manual_score is not None)


COLUMN = 128  # characters that nbgrader's columns for names hold
_BY_HAND = ("manual_score", "extra_credit", "manual_comment")


def _cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if utils.is_grade(cell) or utils.is_solution(cell) or utils.is_locked(cell)]
