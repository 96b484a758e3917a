"""Whose file is it? How learning platforms name what they pack, and the lists of participants they export.

Moodle    Ada Lovelace_12345_assignsubmission_file/tiny.ipynb, or ..._file_tiny.ipynb. The number is that of the
          participant in this one assignment; the same as in its grading worksheet ("Participant 12345").
Canvas    lovelaceada_[LATE_]1815_67890_tiny-1.ipynb: the user's number and the file's. The files of one attempt only.
plain     ada/tiny/tiny.ipynb, ada/tiny.ipynb, or ada.zip: as nbgrader lays out `submitted/`.

Neither Moodle nor Canvas writes into its archive when something was handed in: the times in it are those of the
download. Moodle's grading worksheet has them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from coursekit.grading.course import CourseError

# The first number counts: what comes after it a student may have written, to look like somebody else.
_MOODLE = re.compile(r"(?P<name>.*?)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<file>.*))?", re.DOTALL)
_CANVAS = re.compile(
    r"(?:(?P<name>\w+?)_)?(?:(?P<late>LATE)_)?(?P<id>\d+|anon_\w+?)_(?:(?P<order>\d+)_(?P<file>.+)|(?P<text>text|link)\.html)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Part:
    """A file of a submission. owner: as the platform names the student; order: of several files of one name the one
    with the highest counts."""

    owner: str
    path: PurePosixPath
    name: str = ""
    late: bool = False
    order: int = 0


Reader = Callable[[PurePosixPath], Part | None]


def recognise(paths: list[PurePosixPath], assignment: str, others: Iterable[str]) -> tuple[str, Reader]:
    """The platform that packed files of these paths, and what tells whose a file is (None: nobody's).

    others: the course's other assignments, whose files are not meant. Raises CourseError if it could be more than one.
    """
    if any(_moodle(path) for path in paths):
        return "moodle", _moodle
    if all(len(path.parts) == 1 for path in paths) and 2 * sum(map(_is_canvas, paths)) >= len(paths):
        return "canvas", _canvas
    assignments = {*others, assignment}
    _check_not_wrapped(paths, assignments)
    return "plain", _plain(paths, assignment, assignments - {assignment})


def _check_not_wrapped(paths: list[PurePosixPath], assignments: set[str]) -> None:
    """A folder around everything is either a student's, who may call files inside as they like, or it holds students.
    That is not for us to guess."""
    tops = {path.parts[0] for path in paths}
    if len(tops) != 1 or tops <= {"submitted", *assignments} or any(len(path.parts) == 1 for path in paths):
        return
    inside = [PurePosixPath(*path.parts[1:]) for path in paths]
    folders = {path.parts[0] for path in inside if path.suffix == ".ipynb" and len(path.parts) > 1} - assignments
    if len(folders) > 1 or any(_moodle(path) or _is_canvas(path) for path in inside):
        raise CourseError(
            f"everything lies in one folder, {tops.pop()!r}: it is not clear whether that is a student or holds "
            "several; pack what is in it instead of the folder itself, or one folder per student"
        )


def _moodle(path: PurePosixPath) -> Part | None:
    found = _MOODLE.fullmatch(path.parts[0])
    if found is None:
        return None
    inner = path.parts[1:] or (found["file"],)
    if not inner[0]:
        return None
    name = "" if found["name"] == "Participant" else found["name"].strip()  # marked blindly
    return Part(found["id"], PurePosixPath(*inner), name)


def _canvas(path: PurePosixPath) -> Part | None:
    found = _CANVAS.fullmatch(path.parts[0])
    if found is None or len(path.parts) > 1:
        return None
    file = found["file"] or f"{found['text']}.html"
    return Part(found["id"], PurePosixPath(file), found["name"] or "", bool(found["late"]), int(found["order"] or 0))


def _is_canvas(path: PurePosixPath) -> bool:
    return _canvas(path) is not None


def _plain(paths: list[PurePosixPath], assignment: str, others: set[str]) -> Reader:
    levels = 0
    tops = {path.parts[0] for path in paths}
    if tops <= {"submitted"} or tops <= {assignment}:  # a folder around everybody's
        levels = 1
    inside = {path.parts[levels] for path in paths if path.parts[levels + 1 : levels + 2] == (assignment,)}

    def read(path: PurePosixPath) -> Part | None:
        parts = path.parts[levels:]
        if len(parts) == 1:
            return Part(path.stem, PurePosixPath(parts[0])) if path.suffix.lower() == ".zip" else None
        owner, inner = parts[0], parts[1:]
        if inner[0] == assignment and len(inner) > 1:
            inner = inner[1:]
        elif owner in inside or (inner[0] in others and len(inner) > 1):
            return Part(owner, PurePosixPath())  # of another assignment
        return Part(owner, PurePosixPath(*inner))

    return read


def without_number(filename: str, names: Iterable[str]) -> str:
    """`tiny.ipynb` for `tiny-1.ipynb`, as Canvas calls a file handed in again; only where a notebook is called so."""
    found = re.fullmatch(r"(.+)-\d+\.ipynb", filename)
    return f"{found[1]}.ipynb" if found and found[1] in set(names) else filename


# --- participants --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A participant. id: in this course's folders and gradebook; platform_id: in the platform's archives."""

    id: str
    platform_id: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    handed_in: str = ""


def participants(file: Path) -> dict[str, Person]:
    """A list of participants by their id in the platform.

    CSV with a header: Moodle's grading worksheet, Canvas' exported gradebook, or columns of one's own: `id`,
    `platform_id`, and where known `first_name`, `last_name`, `email`, `timestamp`. Raises CourseError if it is neither.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(f"{file}: is not UTF-8; save it as CSV UTF-8") from error
    reader = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text))
    columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    dialect = next((read for needed, read in _DIALECTS if needed <= columns.keys()), None)
    if dialect is None:
        raise CourseError(
            f"{file}: is no list of participants; it needs the columns id and platform_id, or be Moodle's grading "
            "worksheet (Identifier, Full name, Email address) or Canvas' exported gradebook (Student, ID, SIS Login ID)"
        )
    people: dict[str, Person] = {}
    try:
        for row in reader:
            person = dialect({name: (row.get(column) or "").strip() for name, column in columns.items()})
            if not person.platform_id:
                continue
            if person.platform_id in people:
                raise CourseError(f"{file}, line {reader.line_num}: {person.platform_id} is there twice")
            people[person.platform_id] = person
    except csv.Error as error:
        raise CourseError(f"{file}, line {reader.line_num}: {error}") from error
    _check_unique(file, people.values())
    return people


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _check_unique(file: Path, people: Iterable[Person]) -> None:
    seen: dict[str, str] = {}
    for person in people:
        if person.id and seen.setdefault(person.id, person.platform_id) != person.platform_id:
            raise CourseError(f"{file}: {seen[person.id]} and {person.platform_id} have the same id, {person.id}")


def _from_moodle(row: dict[str, str]) -> Person:
    number = re.search(r"\d+$", row["identifier"])
    id = row.get("id number") or row.get("username") or row.get("email address") or ""
    first, last = split_name(row.get("full name", ""))
    return Person(
        id, number[0] if number else "", first, last, row.get("email address", ""),
        row.get("last modified (submission)", "").strip("- "),
    )  # fmt: skip


def _from_canvas(row: dict[str, str]) -> Person:
    last, _, first = (part.strip() for part in row["student"].partition(","))
    id = row["sis login id"] or row.get("sis user id") or row["id"]
    return Person(
        id if row["id"] else "", row["id"], first, last, row["sis login id"] if "@" in row["sis login id"] else ""
    )


def _from_own(row: dict[str, str]) -> Person:
    return Person(
        row["id"], row["platform_id"], row.get("first_name", ""), row.get("last_name", ""), row.get("email", ""),
        row.get("timestamp", ""),
    )  # fmt: skip


_DIALECTS: list[tuple[set[str], Callable[[dict[str, str]], Person]]] = [
    ({"identifier", "full name"}, _from_moodle),
    ({"student", "id", "sis login id"}, _from_canvas),
    ({"id", "platform_id"}, _from_own),
]


def split_name(name: str) -> tuple[str, str]:
    """First and last name, as well as can be told: what stands before the last space, and after it."""
    given, _, last = name.strip().rpartition(" ")
    return given, last


def as_time(text: str) -> datetime | None:
    """A date as a person reads it, without a time zone, or with the one it names. None if it is none."""
    from dateutil import parser

    try:
        return parser.parse(text) if text.strip() else None
    except (ValueError, OverflowError):
        return None
