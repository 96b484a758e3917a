"""`coursekit grade --archive FILE`: from a learning platform's archive into `submitted/`.

Each student's files are put together in a folder aside and then take the place of what was there before, as a whole.
What is wrong with a file costs nobody else anything: it is left out, with a remark for the instructor.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from coursekit.grading import receipt
from coursekit.grading.archive import Archive, Entry, Unusable, junk
from coursekit.grading.build import load_config
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book
from coursekit.grading.platforms import Part, Person, as_time, participants, recognise, split_name, without_number
from coursekit.grading.record import only_writer, write_atomically
from coursekit.grading.results import sync_folder
from coursekit.grading.unpack import TIMESTAMP, Unpacker, folded, shown

ASIDE = ".unpacking-"  # how the folder in submitted/ begins where one is at work
TOLD = 50  # lines about what could not be taken
_STATES = {
    "new": "new", "again": "handed in again", "same": "there already", "refused": "not taken",
    "older": "older than what is there, and left out",
}  # fmt: skip
_PLATFORMS = {"moodle": "Moodle", "canvas": "Canvas", "plain": "a folder per student"}


@dataclass
class Collected:
    """What became of an archive. students: by id, one of _STATES; problems: what could not be taken; notes: what an
    instructor may want to know. A line each."""

    platform: str
    students: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """For a person, in a line."""
        counts = Counter(self.students.values())
        parts = [f"{counts[state]} {words}" for state, words in _STATES.items() if counts[state]]
        return f"{_PLATFORMS[self.platform]}, submissions: {', '.join(parts)}"


@dataclass
class _Hand:
    """One student's part of an archive."""

    person: Person
    parts: list[tuple[Part, Entry]] = field(default_factory=list)


def collect_and_tell(
    course: Course, assignment: str, file: Path, students: Path | None = None, file_times: bool = False
) -> int:
    """Collect, and say on stderr what became of it. Returns the exit code: 1 if something could not be taken."""
    collected = collect(course, assignment, file, students, file_times)
    print(f"{file.name}: {collected.summary()}", file=sys.stderr)
    for note in collected.notes[:TOLD]:
        print(f"Note: {note}", file=sys.stderr)
    for problem in collected.problems[:TOLD]:
        print(f"coursekit: {problem}", file=sys.stderr)
    if len(collected.problems) > TOLD:
        print(f"coursekit: and {len(collected.problems) - TOLD} more that were not taken", file=sys.stderr)
    return 1 if collected.problems else 0


def collect(
    course: Course, assignment: str, file: Path, students: Path | None = None, file_times: bool = False
) -> Collected:
    """Unpack an archive into `submitted/<student>/<assignment>/`.

    students: a list of participants (see `platforms.participants`). file_times: the times of the files in the archive
    are those of handing in; today's platforms write the time of the download instead. Raises CourseError, with nothing
    written, if the archive as a whole cannot be used.
    """
    names = [path.stem for path in course.notebooks(assignment)]
    zone = load_config(course).Exchange.get("timezone") or ""
    known = participants(students) if students is not None else {}
    try:
        archive = Archive(file)
    except Unusable as reason:
        raise CourseError(f"{file}: cannot be used: {reason}") from reason
    with archive, only_writer(course, assignment):
        collected, hands = _sort(course, assignment, file, archive.entries, known)
        _check_space(course, file, archive.entries)
        with _aside(course, assignment) as aside:
            for student, hand in sorted(hands.items()):
                folder = Path(tempfile.mkdtemp(dir=aside))
                times = _Times(hand.person.handed_in, file_times, zone)
                try:
                    _check_parent(course.submitted / student)
                    _unpack(archive, hand, names, collected.platform, folder, times)
                    state = _put_in_place(folder, course.submitted / student / assignment)
                except Unusable as reason:
                    state = "refused"
                    collected.problems.append(f"{student}: not taken: {reason}")
                collected.students[student] = state
                shutil.rmtree(folder, ignore_errors=True)
        _record_people(course, collected.platform, hands)
    return collected


# --- whose is what -------------------------------------------------------------------------------------------------


def _sort(
    course: Course, assignment: str, file: Path, entries: list[Entry], known: dict[str, Person]
) -> tuple[Collected, dict[str, _Hand]]:
    """Who handed in what, by the id in this course; and what is nobody's."""
    entries = [entry for entry in entries if not junk(entry.path)]
    placed = [entry for entry in entries if not entry.misplaced]
    if not placed:
        raise CourseError(f"{file}: cannot be used: there is {'nothing' if not entries else 'no safe path'} in it")
    try:
        platform, whose = recognise([entry.path for entry in placed], assignment, course.assignments())
    except CourseError as error:
        raise CourseError(f"{file}: cannot be used: {error}") from error
    collected = Collected(platform)
    hands: dict[str, _Hand] = {}
    ids = {person.id for person in known.values() if person.id and platform != "plain"}
    for entry in sorted(entries, key=lambda entry: entry.misplaced):
        part = whose(entry.path)
        person = known.get(part.owner) or Person("", part.owner) if part is not None else Person("")
        student = person.id or person.platform_id
        anothers = not person.id and student in ids
        if part is None or anothers or (entry.misplaced and platform == "plain" and student not in hands):
            reason = entry.problem or "its name does not say whose it is"
            if anothers:
                reason = f"{student} is not in the list of participants, and is the id of somebody who is"
            collected.problems.append(f"{shown(entry.said)} in {file.name}: not taken: {reason}")
        elif part.path.parts:  # else it is of another assignment
            hands.setdefault(student, _Hand(person)).parts.append((part, entry))
    _refuse_strange_ids(hands, collected)
    if not hands:
        raise CourseError(
            f"{file}: cannot be used: its files are not named as Moodle (Name_123_assignsubmission_file_...) or Canvas "
            "(name_123_456_...) name them, and do not lie in a folder per student"
        )
    if known:
        unknown = [student for student, hand in sorted(hands.items()) if not hand.person.id]
        collected.notes += [f"{student}: not in the list of participants; kept under this id" for student in unknown]
    return collected, hands


def _refuse_strange_ids(hands: dict[str, _Hand], collected: Collected) -> None:
    """An id that can be no folder, or not one of its own on every system."""
    same = Counter(folded(student) for student in hands)
    for student in list(hands):
        if not _is_id(student):
            reason = "this cannot be the id of a student"
        elif same[folded(student)] > 1:
            reason = "another student's id differs from it in upper and lower case only"
        else:
            continue
        collected.problems.append(f"{shown(student)}: not taken: {reason}")
        collected.students[student] = "refused"
        del hands[student]


def _is_id(student: str) -> bool:
    printable = student.isprintable() and student == student.strip() and not set(student) & set('/\\:*?"<>|')
    return printable and 0 < len(student) <= 100 and student[0] not in ".~"


def _check_space(course: Course, file: Path, entries: list[Entry]) -> None:
    course.submitted.mkdir(parents=True, exist_ok=True)
    needed, free = sum(max(entry.size, 0) for entry in entries), shutil.disk_usage(course.submitted).free
    if needed > free:
        raise CourseError(
            f"{file}: says it unpacks to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; nothing was unpacked"
        )


def _record_people(course: Course, platform: str, hands: dict[str, _Hand]) -> None:
    """Names, and the numbers that Canvas knows people by, into the gradebook where it does not have them. Moodle's
    numbers are others in each assignment; they stay in the receipts."""
    with Book(course, load_config(course)) as book, book.transaction():
        for student, hand in hands.items():
            person = hand.person
            first, last = person.first_name, person.last_name
            if not first and not last:
                first, last = split_name(next((part.name for part, _ in hand.parts if part.name), ""))
            number = person.platform_id if platform == "canvas" else ""
            book.record_student(student, first_name=first, last_name=last, email=person.email, lms_user_id=number)


# --- one student ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Times:
    """When it was handed in, as far as is known before unpacking. said: by the list of participants; from_files: take
    the newest file's; zone: of times that do not say it themselves, "" for this computer's."""

    said: str
    from_files: bool
    zone: str

    def stamp(self, newest: datetime | None) -> str:
        """As nbgrader writes it; "" if nobody knows."""
        time = as_time(self.said) or (newest if self.from_files else None)
        return f"{_in_utc(time, self.zone):%Y-%m-%d %H:%M:%S} UTC\n" if time is not None else ""


def _in_utc(time: datetime, zone: str) -> datetime:
    from dateutil import tz

    if time.tzinfo is None:
        time = time.replace(tzinfo=tz.gettz(zone) if zone else tz.tzlocal())
    return time.astimezone(UTC)


def _unpack(archive: Archive, hand: _Hand, names: list[str], platform: str, folder: Path, times: _Times) -> None:
    """Make `folder/new`, as it belongs into `submitted/`."""
    blobs = folder / "blobs"
    blobs.mkdir()
    unpacker = Unpacker(blobs, names)
    for part, entry in sorted(hand.parts, key=lambda item: (not unpacker.first(item[0].path), item[0].order)):
        path = part.path
        if platform == "canvas":
            path = path.with_name(without_number(path.name, names))
        if path == PurePosixPath(TIMESTAMP) and platform != "plain":
            continue  # the student's own: it would say what the student likes
        unpacker.take(archive, entry, path, replaces=platform == "canvas")
    unpacker.unpack_zips()
    unpacker.lift()
    if any(part.late for part, _ in hand.parts):
        unpacker.say("Canvas marks it as late.")
    if times.said and as_time(times.said) is None:
        unpacker.say(f"{shown(times.said)} is not a date; the time of handing in is unknown.")
    new = folder / "new"
    unpacker.lay_out(new)
    if stamp := times.stamp(unpacker.newest):
        (new / TIMESTAMP).write_text(stamp)
    newest = unpacker.newest.isoformat(" ") if unpacker.newest else ""
    slip = receipt.Receipt(platform, hand.person.platform_id, newest, unpacker.remarks)
    (new / receipt.FILE).write_bytes(slip.as_bytes())


def _check_parent(folder: Path) -> None:
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        raise Unusable(f"{folder} is there, and is not a folder")


def _put_in_place(folder: Path, target: Path) -> str:
    """Put `folder/new` where the submission belongs, unless it is there already, or older. Says which it was.

    Killed between taking away the old and putting in the new, the next run puts the old back (`_aside`).
    """
    new = folder / "new"
    old = folder / "old" / target.parent.name / target.name
    state = _compare(new, target)
    if state == "same":
        for name in (receipt.FILE, TIMESTAMP):  # what is known about it may be more
            if (new / name).is_file() and _text(new / name) != _text(target / name):
                write_atomically(target / name, (new / name).read_bytes())
    if state in ("same", "older"):
        return state
    _have_on_disk(new)
    target.parent.mkdir(exist_ok=True)
    if os.path.lexists(target):
        old.parent.mkdir(parents=True)
        os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        if os.path.lexists(old):
            os.rename(old, target)
        raise
    sync_folder(target.parent)
    return state


def _have_on_disk(folder: Path) -> None:
    """Not in memory only, should the machine lose its power."""
    for inside, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(inside, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(inside))


def _compare(new: Path, target: Path) -> str:
    if not os.path.lexists(target):
        return "new"
    if target.is_symlink() or not target.is_dir():
        return "again"
    if _same_files(new, target):
        return "same"
    return "older" if _is_older(new, target) else "again"


def _same_files(new: Path, old: Path) -> bool:
    ours = {Path(receipt.FILE), Path(TIMESTAMP)}
    mine, theirs = set(_relative_files(new)) - ours, set(_relative_files(old)) - ours
    return mine == theirs and all(
        not (old / path).is_symlink() and filecmp.cmp(new / path, old / path, shallow=False) for path in mine
    )


def _relative_files(folder: Path) -> Iterator[Path]:
    for inside, _, names in os.walk(folder):
        for name in names:
            yield (Path(inside) / name).relative_to(folder)


def _is_older(new: Path, old: Path) -> bool:
    """By the times of handing in where both are known, else by the newest files that both archives had."""
    one, two = (_stamp(folder) for folder in (new, old))
    if one is None or two is None:
        slips = [receipt.read(folder) for folder in (new, old)]
        one, two = (as_time(slip.modified) if slip is not None else None for slip in slips)
    return one is not None and two is not None and one < two


def _stamp(folder: Path) -> datetime | None:
    from nbgrader.utils import parse_utc

    try:
        return parse_utc(_text(folder / TIMESTAMP) or None)
    except (ValueError, OverflowError):
        return None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeError):
        if path.is_file() and not path.is_symlink():
            return path.read_text().strip()
    return ""


@contextlib.contextmanager
def _aside(course: Course, assignment: str) -> Iterator[Path]:
    """A folder to work in, on the same disk. What a killed run took away and did not replace is put back first."""
    aside = course.submitted / f"{ASIDE}{assignment}"
    for old in aside.glob("*/old/*/*"):
        where = course.submitted / old.parent.name / old.name
        if not os.path.lexists(where):
            os.rename(old, where)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
