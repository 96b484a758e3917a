"""Finished results on the disk of the course: what a grader that was killed, or a machine of a cluster, leaves behind.

A result lies under a key made of everything that decides it: the student, what was handed in, the tests, the limits and
the code that grades. It is complete or not there, and one that is there is never made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import coursekit
from coursekit.grading.assignment import Assignment
from coursekit.grading.score import Grade
from coursekit.grading.submissions import Submission

FORMAT = 1  # of the files; raised whenever they change
NEW = ".new-"  # how the names of files begin that are not complete yet
LEFT_AFTER = 3600.0  # seconds after which nobody is still writing one


@dataclass
class Graded:
    """One student's result. notebooks: executed, by name; files: digests of what was handed in beside them; key: where
    it is kept; error: what of ours failed, then nothing is kept and nothing recorded."""

    student: str
    grades: dict[str, list[Grade]] = field(default_factory=dict)
    notebooks: dict[str, NotebookNode] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    key: str = ""
    error: str = ""

    def all_grades(self) -> list[Grade]:
        """Of all notebooks, in their order."""
        return [grade for grades in self.grades.values() for grade in grades]


@dataclass(frozen=True)
class Conditions:
    """How submissions are run. Seconds by the wall clock; isolation: "bubblewrap" or "none"."""

    time_limit: float
    cell_limit: float
    isolation: str


def key(submission: Submission, assignment: Assignment, conditions: Conditions) -> str:
    """What a result depends on, as one digest."""
    notebooks = {name: hashlib.sha256(data).hexdigest() for name, data in submission.notebooks.items()}
    parts = [
        FORMAT, submission.student, assignment.name, notebooks, submission.problems, submission.remarks,
        digests(submission), assignment.digest, asdict(conditions), code(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digests(submission: Submission) -> dict[str, str]:
    """Of the files beside the notebooks."""
    return {relative: hashlib.sha256(path.read_bytes()).hexdigest() for relative, path in submission.files}


@functools.cache
def code() -> str:
    """Of this package's own code, as it was when this process first asked: a check that changes is another check."""
    root = Path(coursekit.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Results:
    """The results of one assignment, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, student: str, key: str) -> Path:
        # Names of students may be long, or differ in ways that some file systems do not keep apart.
        return self.folder / f"{hashlib.sha256(student.encode()).hexdigest()[:16]}-{key[:32]}.json"

    def load(self, student: str, key: str) -> Graded | None:
        """The result of this key. None if there is none; a damaged file is none."""
        try:
            content = json.loads(self._path(student, key).read_bytes())
            if content["key"] != key or content["student"] != student:
                return None
            notebooks = {name: nbformat.from_dict(notebook) for name, notebook in content["notebooks"].items()}
            grades = {name: [Grade(**grade) for grade in grades] for name, grades in content["grades"].items()}
            return Graded(student, grades, notebooks, content["remarks"], content["files"], key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def save(self, result: Graded) -> None:
        """Keep a result for good. One that is there already stays. Raises OSError, with nothing half-written."""
        if result.error:
            raise ValueError(f"a result with an error is not finished: {result.error}")
        content = {
            "key": result.key, "student": result.student, "remarks": result.remarks, "files": result.files,
            "grades": {name: [asdict(grade) for grade in grades] for name, grades in result.grades.items()},
            "notebooks": result.notebooks,
        }  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f"{NEW}{uuid.uuid4().hex}"
        try:
            with open(new, "xb") as file:
                file.write(json.dumps(content).encode())
                file.flush()
                os.fsync(file.fileno())
            self._name(new, result)
        finally:
            new.unlink(missing_ok=True)
        sync_folder(self.folder)

    def _name(self, new: Path, result: Graded) -> None:
        """Give a complete file its name, unless there is one of that name that is whole."""
        path = self._path(result.student, result.key)
        try:
            os.link(new, path)
        except FileExistsError:  # somebody else was faster
            if self.load(result.student, result.key) is None:
                os.replace(new, path)
        except OSError:  # a file system without hard links
            os.replace(new, path)

    def forget(self, student: str, key: str) -> None:
        """Remove a result, so that it is made again."""
        self._path(student, key).unlink(missing_ok=True)

    def clean(self, keep: Iterable[tuple[str, str]]) -> None:
        """Remove results of submissions and tests as they are no more, and what a killed process left half-written.

        keep: (student, key) of those that hold.
        """
        kept = {self._path(student, key).name for student, key in keep}
        students = {name.partition("-")[0] for name in kept}
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                old = entry.name not in kept and entry.name.partition("-")[0] in students
                # A young one may be just now written, by a machine that has not heard that nobody waits for it.
                left = entry.name.startswith(NEW) and time.time() - entry.stat().st_mtime > LEFT_AFTER
                if old or left:
                    os.unlink(entry.path)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
