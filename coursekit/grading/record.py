"""Writing a finished result where people look for it: the gradebook and `autograded/`. One process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from coursekit.grading.assignment import Assignment
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book, Entry
from coursekit.grading.results import Graded, sync_folder
from coursekit.grading.score import Grade
from coursekit.grading.submissions import Submission

NEW = ".new-"  # how the names of folders and files begin that are not in place yet


def record(course: Course, book: Book, assignment: Assignment, submission: Submission, result: Graded) -> None:
    """Write one result: first beside the old files, then the gradebook, then in place of the old files. So what is
    in the gradebook is always on the disk too, and an answer that changed is never taken for unchanged. Killed in
    between, it is done again, and comes to the same.

    Raises OSError, ValueError, CourseError.
    """
    folder = course.autograded / result.student / assignment.name
    with Replacement(folder) as new:
        changed = {}
        contents = _unchanged_files(submission, result)
        before = _written_before(folder, result.notebooks)
        for name, notebook in result.notebooks.items():
            notebook.metadata.coursekit.files = result.files
            changed[name] = _changed_answers(folder / f"{name}.ipynb", notebook)
            new.add(f"{name}.ipynb", nbformat.writes(notebook).encode() + b"\n")
        for relative, content in contents.items():
            new.add(relative, content)
        with book.transaction():
            book.record_submission(assignment.name, result.student, submission.timestamp)
            for name, notebook in result.notebooks.items():
                book.record_grades(assignment.name, result.student, name, result.grades[name], changed[name])
                untried = _untried(notebook, assignment.templates[name].stubs)
                book.record_untried(assignment.name, result.student, name, untried)
                book.record_late_penalty(assignment.name, result.student, name)
        new.put_in_place()
    for relative in before.keys() - result.files.keys():
        _remove_unchanged(folder, relative, before[relative])


def read_back(book: Book, assignment: str, result: Graded) -> None:
    """What a person graded before still counts: the table says what the gradebook says."""
    for name, results in result.grades.items():
        entries = book.entries(assignment, result.student, name)
        result.grades[name] = [_as_recorded(grade, entries.get(grade.id)) for grade in results]
    if penalty := sum(book.late_penalty(assignment, result.student, name) for name in result.grades):
        result.remarks.append(
            f"Handed in late: {penalty:g} points are taken off the total; the points here are before that."
        )


def _as_recorded(grade: Grade, entry: Entry | None) -> Grade:
    if entry is None or not entry.by_hand:
        return grade
    if entry.waiting:
        reason = f"{grade.reason}; not what a person graded before".lstrip("; ")
        return replace(grade, score=None, status="manual", reason=reason)
    by_tests = "" if grade.score is None or grade.status == "not attempted" else f"; the tests gave {grade.score:g}"
    return replace(grade, score=entry.score, status="graded", reason=f"by a person{by_tests}")


def _unchanged_files(submission: Submission, result: Graded) -> dict[str, bytes]:
    """What was handed in beside the notebooks, as far as it still is what was graded."""
    contents = {relative: path.read_bytes() for relative, path in submission.files}
    return {
        relative: content
        for relative, content in contents.items()
        if hashlib.sha256(content).hexdigest() == result.files.get(relative)
    }


def _untried(notebook: NotebookNode, stubs: dict[str, str]) -> dict[str, bool]:
    return {cell.id: cell.source.strip() == stubs[cell.id].strip() for cell in notebook.cells if cell.id in stubs}


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


def _changed_answers(before: Path, notebook: NotebookNode) -> set[str]:
    """Ids of the free-text answers that are not what they were when this notebook was graded last."""
    try:
        old = {cell.get("id"): cell.source for cell in nbformat.read(before, as_version=4).cells}
    except Exception:  # there is none, or it is not readable any more
        old = {}
    return {cell.id for cell in notebook.cells if old.get(cell.id) != cell.source}


class Replacement:
    """New versions of some files of a folder: written beside them first, put in their place at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []

    def __enter__(self) -> Replacement:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._new = tempfile.TemporaryDirectory(prefix=NEW, dir=self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._new.cleanup()

    def add(self, relative: str, content: bytes) -> None:
        """Write the new version of a file. Raises OSError."""
        path = Path(self._new.name) / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._files.append(Path(relative))

    def put_in_place(self) -> None:
        """Replace the old versions, one after the other, each as a whole."""
        for relative in self._files:
            target = self._folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(self._new.name) / relative, target)
        sync_folder(self._folder)


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or, if that fails, the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Replacement(path.parent) as new:
        new.add(path.name, content)
        new.put_in_place()


@contextlib.contextmanager
def only_writer(course: Course, assignment: str) -> Iterator[None]:
    """Within this block nobody else grades this assignment. Raises CourseError if somebody does.

    What a killed grader left half-written is removed. The lock is the system's: it ends with the process.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    course.results.mkdir(parents=True, exist_ok=True)
    with open(course.results / f"{assignment}.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CourseError(
                f"{assignment} is being graded already, by another coursekit on this course; wait for it, or end it"
            ) from None
        except OSError:  # a file system without locks: the gradebook's transactions have to do
            pass
        for left in course.autograded.glob(f"*/{assignment}/{NEW}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def check_writable(folder: Path) -> None:
    """Find out now, and not after an hour of grading. Raises CourseError."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 65536)
            file.flush()
    except OSError as error:
        raise CourseError(f"{folder}: cannot be written ({error.strerror}); nothing was graded") from error
