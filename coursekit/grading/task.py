"""One submission, from what was handed in to a finished result on the disk: on this machine or on one of a cluster.

`grade_one` first asks whether the result is there. It takes plain arguments, so that it can be sent to another machine
that sees the folder of the course under the same name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_markdown_cell

from coursekit.grading import repair, run, submissions
from coursekit.grading.assignment import Assignment, load
from coursekit.grading.attempt import Cancelled, Given, Run, RunError
from coursekit.grading.build import load_config
from coursekit.grading.course import Course
from coursekit.grading.results import Conditions, Graded, Results, digests, key
from coursekit.grading.score import Grade, failed_cells, grades
from coursekit.grading.submissions import Submission

SCHEME_TAG = "marking-scheme"  # nbgrader_config.py takes cells with it out of nbgrader's own feedback
ATTEMPTS = 4  # at a submission that the machine, not the student, failed at

_loading = threading.Lock()
_loaded: dict[tuple, Assignment] = {}


class Pool(Protocol):
    """What runs notebooks: `isolated.Pool`, or `NotIsolated`."""

    @property
    def run(self) -> Callable[..., Run]:
        """See `run.run`."""
        ...


class NotIsolated:
    """Runs notebooks with the rights of whoever grades: `--isolation none`."""

    def run(self, notebook: NotebookNode, **settings: Any) -> Run:
        """See `run.run`."""
        return run.run(notebook, **settings)


def grade_one(
    course_dir: str, assignment: str, student: str, conditions: Conditions, *, pool: Pool | None,
    cancel: threading.Event | None = None,
) -> Graded:  # fmt: skip
    """Have the result of one submission on the disk, finished before or now, and say under which key.

    pool: runs the notebooks; None for conditions without isolation. cancel: set to give up; then Cancelled is raised.
    A failure of ours is a result, too, with `error`; it is not kept.
    """
    course = Course(Path(course_dir))
    return grade_submission(course, _load(course, assignment), student, conditions, pool or NotIsolated(), cancel)


def _load(course: Course, assignment: str) -> Assignment:
    """Read once as long as the sources do not change: a worker of a cluster grades one after the other."""
    paths = [course.nbgrader_config, *course.notebooks(assignment), *course.other_files(assignment)]
    version = tuple((path, path.stat().st_mtime_ns) for path in paths if path.exists())
    with _loading:
        if (assignment, version) not in _loaded:
            _loaded.clear()
            _loaded[assignment, version] = load(course, assignment, load_config(course))
        return _loaded[assignment, version]


def grade_submission(
    course: Course, assignment: Assignment, student: str, conditions: Conditions, pool: Pool,
    cancel: threading.Event | None = None,
) -> Graded:  # fmt: skip
    """See `grade_one`. Never raises but Cancelled."""
    try:
        submission = submissions.read(course, assignment.name, student, assignment.templates)
        found, results = key(submission, assignment, conditions), Results(course.results / assignment.name)
        if results.load(student, found) is None:
            result = _grade(assignment, submission, conditions, pool, cancel)
            result.key = found
            results.save(result)
        return Graded(student, key=found)
    except Cancelled:
        raise
    except Exception as error:
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        return failed(
            assignment, student, f"{type(error).__name__}: {where}{getattr(error, 'strerror', None) or error}"
        )


def failed(assignment: Assignment, student: str, error: str) -> Graded:
    """The result of a failure of ours: no score, for any question."""
    verdicts = {name: _all(template, None, "error", error) for name, template in assignment.templates.items()}
    return Graded(student, verdicts, error=error)


def _grade(
    assignment: Assignment, submission: Submission, conditions: Conditions, pool: Pool, cancel: threading.Event | None
) -> Graded:
    """Repair, run and score. Raises what the machine fails with."""
    result = Graded(submission.student, remarks=list(submission.remarks), files=digests(submission))
    left = conditions.time_limit
    for name in assignment.templates:
        started = time.monotonic()
        _grade_notebook(assignment, submission, name, result, max(left, 1.0), conditions.cell_limit, pool, cancel)
        left -= time.monotonic() - started
    if submission.replaced():
        result.remarks.append("Was handed in again while it was graded; grade again to take the new version.")
    return result


def _grade_notebook(
    assignment: Assignment, submission: Submission, name: str, result: Graded,
    time_limit: float, cell_limit: float, pool: Pool, cancel: threading.Event | None,
) -> None:  # fmt: skip
    template = assignment.templates[name]
    try:
        if name in submission.problems:
            raise repair.Unreadable(submission.problems[name])
        repaired = repair.repair(template, submission.notebooks[name])
    except repair.Unreadable as problem:
        notebook = repair.untouched(template)
        result.grades[name] = _all(template, 0.0, "unreadable", str(problem))
        result.remarks.append(f"{name}.ipynb: {problem}.")
    else:
        executed = _run(
            pool, repaired.notebook, skip=repaired.skip, files=submission.files,
            given=Given(tuple(assignment.files), tuple(template.imports)), cell_limit=cell_limit,
            time_limit=time_limit, cancel=cancel,
        )  # fmt: skip
        notebook = executed.notebook
        order = [original.id for original in template.originals]
        result.grades[name] = sorted(grades(executed, template.stubs), key=lambda grade: order.index(grade.id))
        result.remarks += repaired.repairs
        result.remarks += [f"{said[0].upper()}{said[1:]}." for said in failed_cells(executed)]
    _note_results(notebook, result.grades[name], result.remarks)
    _show_schemes(notebook, assignment.schemes)
    result.notebooks[name] = notebook


def _run(pool: Pool, notebook: NotebookNode, **settings: Any) -> Run:
    """Try again when the machine fails: a zygote that was killed is started anew."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return pool.run(notebook, **settings)
        except RunError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _all(template: repair.Template, score: float | None, status: str, reason: str) -> list[Grade]:
    """The same verdict for every question."""
    points = {o.id: float(o.metadata.nbgrader.points) for o in template.originals if o.role in ("test", "answer")}
    return [Grade(id, score, most, status, reason) for id, most in points.items()]


def _note_results(notebook: NotebookNode, results: list[Grade], remarks: list[str]) -> None:
    """What the gradebook has no column for goes into the autograded notebook, where the feedback page finds it."""
    by_id = {grade.id: grade for grade in results}
    notebook.metadata.coursekit = from_dict({"remarks": remarks})
    for cell in notebook.cells:
        if cell.id in by_id:
            grade = by_id[cell.id]
            cell.metadata.coursekit = from_dict({**grade.as_dict(), "cases": grade.cases})


def _show_schemes(notebook: NotebookNode, schemes: dict[str, str]) -> None:
    """Below each answer its marking scheme, so that formgrader shows both. The tag keeps it out of the feedback."""
    ids = {cell.id for cell in notebook.cells}
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        scheme_id = f"{cell.id}-scheme"
        if cell.id in schemes and scheme_id not in ids:
            text = f"**Marking scheme** (students do not get this)\n\n{schemes[cell.id]}"
            metadata = {"tags": [SCHEME_TAG], "deletable": False, "editable": False}
            cells.append(new_markdown_cell(text, id=scheme_id, metadata=metadata))
    notebook.cells = cells
