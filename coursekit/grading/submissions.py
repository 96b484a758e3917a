"""What students handed in, as it lies in `submitted/<student>/<assignment>/`: read once, links not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from coursekit.grading import receipt
from coursekit.grading.attempt import plain
from coursekit.grading.course import Course, CourseError
from coursekit.grading.repair import SIZE_LIMIT

EXTRA_FILES, EXTRA_BYTES = 500, 100 * 1024**2


@dataclass
class Submission:
    """One student's folder. notebooks: the bytes of each notebook of the assignment; problems: why one is not there."""

    student: str
    folder: Path
    notebooks: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    files: list[tuple[str, Path]] = field(default_factory=list)
    timestamp: datetime | None = None
    _seen: dict[Path, tuple] = field(default_factory=dict)

    def replaced(self) -> bool:
        """Whether a notebook was handed in anew since it was read."""
        return any(_state(path) != state for path, state in self._seen.items())


def students(course: Course, assignment: str, student: str | None = None) -> list[str]:
    """Everybody who handed in this assignment, sorted; or the one asked for. CourseError if there is nobody."""
    if student is not None:
        folder = course.submitted / student / assignment
        if not student or Path(student).name != student or student.startswith(".") or not os.path.lexists(folder):
            raise CourseError(f"no submission of {assignment} by {student!r}: there is no folder {folder}")
        return [student]
    if not course.submitted.is_dir():
        raise CourseError(
            f"no folder {course.submitted}; put submissions into {course.submitted.name}/<student>/{assignment}/"
        )
    found = sorted(
        entry.name
        for entry in os.scandir(course.submitted)
        if not entry.name.startswith(".") and os.path.lexists(os.path.join(entry.path, assignment))
    )
    if not found:
        raise CourseError(f"no submission of {assignment} in {course.submitted}/<student>/{assignment}/")
    return found


def missing(course: Course, assignment: str) -> list[str]:
    """One line for everybody who has a folder but no submission of this assignment."""
    lines = []
    for folder in sorted(path for path in course.submitted.iterdir() if path.is_dir() and path.name[0] != "."):
        if not os.path.lexists(folder / assignment):
            loose = ", ".join(sorted(path.name for path in folder.glob("*.ipynb"))[:3])
            line = f"Nothing by {folder.name}: there is no folder {course.submitted.name}/{folder.name}/{assignment}/"
            lines.append(line + f"; what about {loose} beside it?" * bool(loose))
    return lines


def read(course: Course, assignment: str, student: str, names: Iterable[str]) -> Submission:
    """Read a submission. Whatever is wrong with it becomes a problem of a notebook, or a remark; nothing is raised
    but OSError of the machine's own."""
    submission = Submission(student, course.submitted / student / assignment)
    names = list(names)
    for folder in (submission.folder.parent, submission.folder):
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            what = "a symbolic link" if folder.is_symlink() else "not a folder"
            reason = f"{folder.relative_to(course.dir)} is {what}; links are not followed"
            submission.problems = dict.fromkeys(names, reason)
            return submission
    found = sorted(entry.name for entry in os.scandir(submission.folder) if entry.name.endswith(".ipynb"))
    for name, filename in _assign(names, found, submission, _notebooks_of_others(course, assignment)).items():
        _read_notebook(submission, name, filename)
    _read_timestamp(submission)
    slip = receipt.read(submission.folder)
    submission.remarks += slip.remarks if slip is not None else []
    submission.files, complete = other_files(submission.folder)
    if not complete:
        submission.remarks.append("There are more files than are taken along; the rest was left out.")
    submission.remarks = [plain(remark) for remark in submission.remarks]
    submission.problems = {name: plain(problem) for name, problem in submission.problems.items()}
    return submission


def _notebooks_of_others(course: Course, assignment: str) -> set[str]:
    """What the notebooks of the other assignments are called."""
    others = [name for name in course.assignments() if name != assignment]
    return {path.stem for name in others for path in course.notebooks(name)}


def _assign(names: list[str], found: list[str], submission: Submission, foreign: set[str]) -> dict[str, str]:
    """Which file is which notebook: by name; and one that was renamed, if there is no doubt. foreign: names of
    notebooks of other assignments, which people hand in by mistake."""
    chosen = {name: f"{name}.ipynb" for name in names if f"{name}.ipynb" in found}
    missing = [name for name in names if name not in chosen]
    others = [filename for filename in found if filename not in chosen.values()]
    strangers = {name for name in foreign.difference(names) if len(others) == 1 and name in others[0]}
    if len(missing) == 1 and strangers:
        belongs = max(strangers, key=len)
        submission.problems[missing[0]] = f"{others[0]!r} is called after {belongs}.ipynb, of another assignment"
        return chosen
    if len(missing) == 1 and len(others) == 1:
        chosen[missing[0]] = others.pop()
        submission.remarks.append(f"The notebook is called {chosen[missing[0]]!r}; taken for {missing[0]}.ipynb.")
    for name in missing:
        if name not in chosen:
            which = f"; there are {', '.join(others)}, and it is not clear which counts" if others else ""
            submission.problems[name] = f"there is no {name}.ipynb among what was handed in{which}"
    if others and not (missing and set(missing) - set(chosen)):
        submission.remarks.append(f"Ignored: {', '.join(others)}.")
    return chosen


def _read_notebook(submission: Submission, name: str, filename: str) -> None:
    path = submission.folder / filename
    try:
        for _ in range(3):  # a file that is being replaced while we read it
            before = _state(path)
            data = _read_regular(path)
            if _state(path) == before:
                break
    except _Refused as refusal:
        submission.problems[name] = f"{filename} {refusal}"
        return
    submission._seen[path] = before
    submission.notebooks[name] = data


class _Refused(Exception):
    pass


def _read_regular(path: Path) -> bytes:
    """The bytes of a regular file: no link is followed, no pipe waited for."""
    if path.is_symlink():
        raise _Refused("is a symbolic link; links are not followed")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _Refused("is not a regular file")
    with open(descriptor, "rb") as file:
        data = file.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            size = os.fstat(descriptor).st_size
            raise _Refused(f"has {size / 1e6:.0f} MB, more than the {SIZE_LIMIT / 1e6:.0f} MB allowed")
        return data


def _state(path: Path) -> tuple:
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read_timestamp(submission: Submission) -> None:
    """When it was handed in, where nbgrader's `collect` puts it."""
    from nbgrader.utils import parse_utc

    path = submission.folder / "timestamp.txt"
    if not os.path.lexists(path):
        return
    try:
        submission.timestamp = parse_utc(_read_regular(path)[:200].decode().strip())
    except (_Refused, OSError, ValueError, OverflowError):
        submission.remarks.append("timestamp.txt is not a date; the time of handing in is unknown.")


def other_files(folder: Path) -> tuple[list[tuple[str, Path]], bool]:
    """Files beside a notebook, for it to read, as (relative path, file): regular, not hidden, no notebooks and
    nothing in a folder that is called like one, within bounds. And whether that is all of them."""
    files: list[tuple[str, Path]] = []
    total = 0
    for inside, folders, filenames in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".ipynb"))
        for filename in sorted(filenames):
            path = Path(inside) / filename
            status = os.lstat(path)
            if filename.startswith(".") or filename.endswith(".ipynb") or not stat.S_ISREG(status.st_mode):
                continue
            if not _is_text(str(path.relative_to(folder))):
                continue  # a name in no encoding, which no notebook and no gradebook could hold
            total += status.st_size
            if len(files) >= EXTRA_FILES or total > EXTRA_BYTES:
                return files, False
            files.append((str(path.relative_to(folder)), path))
    return files, True


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
