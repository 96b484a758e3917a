"""`coursekit grade`: from `submitted/` to the gradebook, the autograded notebooks and a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from coursekit.grading import report, submissions, task
from coursekit.grading.assignment import load
from coursekit.grading.build import load_config
from coursekit.grading.controller import Means, grade_all
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book
from coursekit.grading.limits import CELL_LIMIT, TIME_LIMIT
from coursekit.grading.record import check_writable, only_writer, write_atomically
from coursekit.grading.results import Conditions, Graded

NOT_ISOLATED = (
    "Note: without isolation students' code runs with your rights on this computer: "
    "grade only work of people you trust."
)


def grade(
    course: Course,
    assignment: str,
    jobs: int = 1,
    student: str | None = None,
    json_file: Path | None = None,
    time_limit: float = TIME_LIMIT,
    cell_limit: float = CELL_LIMIT,
    isolation: str = "bubblewrap",
    scheduler: str = "",
    again: bool = False,
) -> int:
    """Grade an assignment and print the table. Returns the exit code: 1 if anything of ours failed, wrong answers
    are not an error.

    student: only this one. json_file: also write the results there. The others: see `grade_class`.
    """
    if json_file is not None:
        _check_json_file(json_file.absolute())

    def start(there: int) -> None:
        if isolation == "none":
            print(NOT_ISOLATED, file=sys.stderr)
        if not scheduler and jobs > (processors := os.cpu_count() or 1):
            print(f"Note: {jobs} jobs share {processors} processors, so each takes longer by the clock.",
                  file=sys.stderr)  # fmt: skip
        if there:
            print(f"{there} finished before, and not run again (--again does).", file=sys.stderr)

    means = Means(jobs, scheduler, again=again)
    results = grade_class(course, assignment, student=student, time_limit=time_limit, cell_limit=cell_limit,
                          isolation=isolation, means=means, start=start)  # fmt: skip
    print(report.table(assignment, results))
    if student is None:
        for remark in submissions.missing(course, assignment):
            print(remark)
    if json_file is not None:
        write_atomically(json_file, report.as_json(results).encode())
    return 1 if any(grade.status == "error" for result in results for grade in result.all_grades()) else 0


def grade_class(
    course: Course,
    assignment: str,
    jobs: int = 1,
    student: str | None = None,
    time_limit: float = TIME_LIMIT,
    cell_limit: float = CELL_LIMIT,
    start: Callable[[int], object] = lambda there: None,
    isolation: str = "bubblewrap",
    pool: task.Pool | None = None,
    means: Means | None = None,
) -> list[Graded]:
    """Grade, record, and return everybody's result in the order of the students' names.

    jobs: submissions at once. student: only this one. time_limit, cell_limit: seconds for a submission and for one
    cell. isolation: "bubblewrap" or "none". pool: a sandbox that is there already, for several calls. means: more
    about with what to grade, instead of jobs and pool. start: called when all that was asked for is found to be
    there, with the number of results that were finished before, and before the first submission is run.
    """
    config = load_config(course)
    expected = load(course, assignment, config)
    names = submissions.students(course, assignment, student)
    check_writable(course.autograded)
    check_writable(course.results)
    conditions = Conditions(float(time_limit), float(cell_limit), isolation)
    with only_writer(course, assignment), Book(course, config) as book:
        with book.transaction():
            book.record_assignment(assignment, expected.canonical)
        results = grade_all(course, book, expected, names, conditions, means or Means(jobs, pool=pool), start)
    return [results[name] for name in names]


def _check_json_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise CourseError(f"no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise CourseError(f"{path} is a folder; name the file for the results with --json FILE")
    check_writable(path.parent)


__all__ = ["NOT_ISOLATED", "Graded", "grade", "grade_class", "load", "write_atomically"]
