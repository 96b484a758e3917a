"""`coursekit grade`: from `submitted/` to the gradebook, the autograded notebooks and a table.

One thread per submission waits for the process that runs it; this thread, and no other, writes. Nothing here runs
students' code or imports torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode, from_dict
from traitlets.config import Config

from coursekit.grading import repair, report, submissions
from coursekit.grading.build import load_config, release_notebook
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book, Entry
from coursekit.grading.limits import CELL_LIMIT, TIME_LIMIT
from coursekit.grading.run import Cancelled, run
from coursekit.grading.score import Grade, failed_cells, grades
from coursekit.grading.source import SourceError, marking_schemes
from coursekit.grading.source import read as read_source
from coursekit.grading.submissions import Submission

NOT_ISOLATED = (
    "Note: grading is not isolated yet. Students' code runs with your rights on this computer: "
    "grade only work of people you trust."
)

SCHEME_TAG = "marking-scheme"  # nbgrader_config.py takes cells with it out of nbgrader's own feedback


@dataclass(frozen=True)
class Assignment:
    """What submissions are graded against. templates and canonical notebooks by notebook name; files beside them;
    marking schemes by grade id."""

    name: str
    templates: dict[str, repair.Template]
    canonical: dict[str, NotebookNode]
    files: list[tuple[str, Path]]
    schemes: dict[str, str]


@dataclass
class Graded:
    """One student's result. notebooks: executed, by name; error: what of ours failed, then nothing is recorded."""

    student: str
    grades: dict[str, list[Grade]] = field(default_factory=dict)
    notebooks: dict[str, NotebookNode] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    error: str = ""
    submission: Submission | None = None

    def all_grades(self) -> list[Grade]:
        return [grade for grades in self.grades.values() for grade in grades]


def grade(
    course: Course,
    assignment: str,
    jobs: int = 1,
    student: str | None = None,
    json_file: Path | None = None,
    time_limit: float = TIME_LIMIT,
    cell_limit: float = CELL_LIMIT,
) -> int:
    """Grade an assignment and print the table. Returns the exit code: 1 if anything of ours failed, wrong answers
    are not an error.

    jobs: submissions at once. student: only this one. json_file: also write the results there. time_limit,
    cell_limit: seconds for a submission and for one cell.
    """
    if json_file is not None:
        _check_json_file(json_file.absolute())

    def start() -> None:
        print(NOT_ISOLATED, file=sys.stderr)
        if jobs > (processors := os.cpu_count() or 1):
            print(f"Note: {jobs} jobs share {processors} processors, so each takes longer by the clock.",
                  file=sys.stderr)  # fmt: skip

    results = grade_class(course, assignment, jobs, student, time_limit, cell_limit, start)
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
    start: Callable[[], object] = lambda: None,
) -> list[Graded]:
    """Grade, record, and return everybody's result in the order of the students' names.

    start: called when all that was asked for is found to be there, before the first submission is run.
    """
    config = load_config(course)
    expected = load(course, assignment, config)
    names = submissions.students(course, assignment, student)
    _check_writable(course.autograded)
    with Book(course, config) as book:
        with book.transaction():
            book.record_assignment(assignment, expected.canonical)
        start()

        def work(name: str, cancel: threading.Event) -> Graded:
            return grade_submission(course, expected, name, time_limit, cell_limit, cancel)

        results = {}
        with contextlib.closing(_in_parallel(work, names, jobs)) as finished:
            for result in finished:
                _record(course, book, expected, result)
                _read_back(book, assignment, result)
                results[result.student] = result
                result.notebooks.clear()  # a large class would fill the memory
                result.submission = None
    return [results[name] for name in names]


# --- the assignment ------------------------------------------------------------------------------------------------


def load(course: Course, assignment: str, config: Config) -> Assignment:
    """Read the text sources, as they are now. CourseError if there is no such assignment or a source is wrong."""
    templates, canonical = {}, {}
    schemes: dict[str, str] = {}
    for path in course.notebooks(assignment):
        try:
            source = read_source(path).notebook
        except SourceError as error:
            raise CourseError(error.problems[0]) from error
        with contextlib.chdir(course.dir):
            release = nbformat.reads(release_notebook(source, config), as_version=4)
            canonical[path.stem] = nbformat.reads(release_notebook(source, config, recorded=True), as_version=4)
        templates[path.stem] = repair.Template.of(canonical[path.stem], release)
        schemes |= marking_schemes(source)
    folder = course.sources / assignment
    files = [(str(path.relative_to(folder)), path) for path in course.other_files(assignment)]
    return Assignment(assignment, templates, canonical, files, schemes)


# --- one submission ------------------------------------------------------------------------------------------------


def grade_submission(
    course: Course, assignment: Assignment, student: str, time_limit: float, cell_limit: float, cancel: threading.Event
) -> Graded:
    """Read, repair, run and score one submission. Never raises but Cancelled: a failure of ours is a result too."""
    result = Graded(student)
    try:
        submission = submissions.read(course, assignment.name, student, assignment.templates)
        result.submission = submission
        result.remarks += submission.remarks
        left = time_limit
        for name in assignment.templates:
            started = time.monotonic()
            _grade_notebook(assignment, submission, name, result, max(left, 1.0), cell_limit, cancel)
            left -= time.monotonic() - started
        if submission.replaced():
            result.remarks.append("Was handed in again while it was graded; grade again to take the new version.")
    except Cancelled:
        raise
    except Exception as error:
        result.error = f"{type(error).__name__}: {error}"
        result.grades = {
            name: _all(template, None, "error", result.error) for name, template in assignment.templates.items()
        }
    return result


def _grade_notebook(
    assignment: Assignment, submission: Submission, name: str, result: Graded,
    time_limit: float, cell_limit: float, cancel: threading.Event,
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
        files = dict(submission.files) | dict(assignment.files)
        executed = run(
            repaired.notebook, skip=repaired.skip, files=files.items(), cell_limit=cell_limit,
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
            cells.append(nbformat.v4.new_markdown_cell(text, id=scheme_id, metadata=metadata))
    notebook.cells = cells


def _in_parallel(
    work: Callable[[str, threading.Event], Graded], names: list[str], jobs: int
) -> Generator[Graded, None, None]:
    """Results as they come in, with a progress bar where somebody is watching. Interrupted, it stops all that runs."""
    from tqdm import tqdm

    cancel = threading.Event()
    pool = ThreadPoolExecutor(max_workers=jobs)
    futures: set[Future[Graded]] = {pool.submit(work, name, cancel) for name in names}
    try:
        with tqdm(total=len(names), unit="submission", file=sys.stderr, disable=None, leave=False) as bar:
            while futures:
                done, futures = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    bar.update()
                bar.refresh()
    finally:
        cancel.set()
        pool.shutdown(wait=True, cancel_futures=True)


# --- what is kept --------------------------------------------------------------------------------------------------


def _record(course: Course, book: Book, assignment: Assignment, result: Graded) -> None:
    """Write one result: first beside the old files, then the gradebook, then in place of the old files. So what is
    in the gradebook is always on the disk too, and an answer that changed is never taken for unchanged."""
    if result.error or result.submission is None:
        return
    folder = course.autograded / result.student / assignment.name
    try:
        with _Replacement(folder) as new:
            changed = {}
            contents = {relative: path.read_bytes() for relative, path in result.submission.files}
            digests = {relative: hashlib.sha256(content).hexdigest() for relative, content in contents.items()}
            before = _written_before(folder, result.notebooks)
            for name, notebook in result.notebooks.items():
                notebook.metadata.coursekit.files = digests
                changed[name] = _changed_answers(folder / f"{name}.ipynb", notebook)
                new.add(f"{name}.ipynb", nbformat.writes(notebook).encode() + b"\n")
            for relative, content in contents.items():
                new.add(relative, content)
            with book.transaction():
                book.record_submission(assignment.name, result.student, result.submission.timestamp)
                for name, notebook in result.notebooks.items():
                    book.record_grades(assignment.name, result.student, name, result.grades[name], changed[name])
                    stubs = assignment.templates[name].stubs
                    untried = {
                        cell.id: cell.source.strip() == stubs[cell.id].strip()
                        for cell in notebook.cells
                        if cell.id in stubs
                    }
                    book.record_untried(assignment.name, result.student, name, untried)
            new.put_in_place()
        for relative in before.keys() - digests.keys():
            _remove_unchanged(folder, relative, before[relative])
    except CourseError:
        raise  # the gradebook itself: no use to go on
    except Exception as error:
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        result.error = f"could not be recorded: {where}{getattr(error, 'strerror', None) or error}"
        for name, template in assignment.templates.items():
            result.grades[name] = _all(template, None, "error", result.error)


def _written_before(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """{relative path: digest} of the files that the last grading put beside the notebooks; they say so themselves."""
    files: dict[str, str] = {}
    for name in names:
        with contextlib.suppress(Exception):  # there is none, or it is not readable any more
            files |= nbformat.read(folder / f"{name}.ipynb", as_version=4).metadata.coursekit.files
    return files


def _remove_unchanged(folder: Path, relative: str, digest: str) -> None:
    """Remove a file of ours that is not handed in any more, and the folders it leaves empty; nothing else, ever."""
    path = folder / relative
    if ".." in path.parts or not path.is_relative_to(folder) or not path.is_file():
        return
    if path.is_symlink() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        return
    with contextlib.suppress(OSError):  # a folder that is not empty
        path.unlink()
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent).rmdir()


def _read_back(book: Book, assignment: str, result: Graded) -> None:
    """What a person graded before still counts: the table says what the gradebook says."""
    if result.error:
        return
    for name, results in result.grades.items():
        entries = book.entries(assignment, result.student, name)
        result.grades[name] = [_as_recorded(grade, entries.get(grade.id)) for grade in results]


def _as_recorded(grade: Grade, entry: Entry | None) -> Grade:
    if entry is None or not entry.by_hand:
        return grade
    if entry.waiting:
        return replace(grade, reason=f"{grade.reason}; not what a person graded before".lstrip("; "))
    by_tests = "" if grade.score is None or grade.status == "not attempted" else f"; the tests gave {grade.score:g}"
    return replace(grade, score=entry.score, status="graded", reason=f"by a person{by_tests}")


def _changed_answers(before: Path, notebook: NotebookNode) -> set[str]:
    """Ids of the free-text answers that are not what they were when this notebook was graded last."""
    try:
        old = {cell.get("id"): cell.source for cell in nbformat.read(before, as_version=4).cells}
    except Exception:  # there is none, or it is not readable any more
        old = {}
    return {cell.id for cell in notebook.cells if old.get(cell.id) != cell.source}


class _Replacement:
    """New versions of some files of a folder: written beside them first, put in their place at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []

    def __enter__(self) -> _Replacement:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._new = tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._new.cleanup()

    def add(self, relative: str, content: bytes) -> None:
        path = Path(self._new.name) / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._files.append(Path(relative))

    def put_in_place(self) -> None:
        for relative in self._files:
            target = self._folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(self._new.name) / relative, target)


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or, if that fails, the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Replacement(path.parent) as new:
        new.add(path.name, content)
        new.put_in_place()


def _check_json_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise CourseError(f"no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise CourseError(f"{path} is a folder; name the file for the results with --json FILE")
    _check_writable(path.parent)


def _check_writable(folder: Path) -> None:
    """Find out now, and not after an hour of grading. OSError names the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 65536)
            file.flush()
    except OSError as error:
        raise CourseError(f"{folder}: cannot be written ({error.strerror}); nothing was graded") from error
