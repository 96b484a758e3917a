"""Archives as learning platforms make them, and archives that somebody made with another intention."""

# ruff: noqa: E501 - one archive per line reads as a table
import gzip
import io
import os
import shutil
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from grading_samples import as_bytes, recorded
from nbgrader.api import Gradebook

from coursekit import cli
from coursekit.grading import receipt, unpack
from coursekit.grading.archive import Archive, Unusable
from coursekit.grading.collect import collect
from coursekit.grading.course import CourseError
from coursekit.grading.submissions import read, students

MOODLE = "Ada Lovelace_12345_assignsubmission_file"


def zipped(files, compression=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of {name: content}; names are ZipInfos or text, pairs in a list may repeat one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as file:
        for name, content in files.items() if isinstance(files, dict) else files:
            with warnings.catch_warnings(action="ignore"):  # a name that is there twice
                file.writestr(name, content)
    return target.getvalue()


def tarred(members, mode="w:gz") -> bytes:
    """A tar of (TarInfo or name, content)."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as file:
        for info, content in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(content) if info.isreg() else 0
            file.addfile(info, io.BytesIO(content))
    return target.getvalue()


def info(name, mode=0o100644, flags=0, date=(2026, 2, 3, 10, 30, 0)) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, date)
    made.external_attr, made.create_system, made.flag_bits = mode << 16, 3, flags
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def handed_in(course) -> dict[str, dict[str, bytes]]:
    """{student: {relative path: content}}, without the receipt."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(course.submitted.rglob("*")):
        if path.is_file() and path.name != receipt.FILE:
            student, _, *inside = path.relative_to(course.submitted).parts
            found.setdefault(student, {})["/".join(inside)] = path.read_bytes()
    return found


def everything(course) -> dict[str, bytes]:
    """What is in the course outside of submitted/, the gradebook and the results."""
    return {
        str(path): path.read_bytes()
        for path in sorted(course.dir.parent.rglob("*"))
        if path.is_file() and not path.is_relative_to(course.submitted) and "gradebook" not in path.name
        and not path.is_relative_to(course.results)
    }  # fmt: skip


@pytest.fixture
def unpacked(course, tmp_path):
    """unpacked(bytes): what `collect` says; then `handed_in` tells what lies there. Nothing else may have changed."""

    def do(content, name="class.zip", **settings):
        file = tmp_path / name
        file.write_bytes(content)
        before = everything(course)
        try:
            return collect(course, "tiny", file, **settings)
        finally:
            assert everything(course) == before
            assert not list(course.submitted.glob(".*")) if course.submitted.exists() else True

    return do


def remarks(course, student) -> str:
    return " ".join(read(course, "tiny", student, ["tiny"]).remarks)


# --- as the platforms make them -------------------------------------------------------------------------------------

NB = b'{"cells": []}'
LAYOUTS = {
    "moodle-folders": ({f"{MOODLE}/tiny.ipynb": NB, f"{MOODLE}/data/x.csv": b"1"}, "12345"),
    "moodle-folders-older": ({f"{MOODLE}_/tiny.ipynb": NB, f"{MOODLE}_/data/x.csv": b"1"}, "12345"),
    "moodle-flat": ({f"{MOODLE}_tiny.ipynb": NB, f"{MOODLE}_x.csv": b"1"}, "12345"),
    "moodle-blind": ({"Participant_12345_assignsubmission_file_/tiny.ipynb": NB}, "12345"),
    "moodle-flat-like-another": ({f"{MOODLE}_Bob_77_assignsubmission_file_tiny.ipynb": NB, f"{MOODLE}_tiny.ipynb": NB}, "12345"),
    "moodle-inside-like-another": ({f"{MOODLE}_/tiny.ipynb": NB, f"{MOODLE}_/Bob_77_assignsubmission_file_/x.csv": b"1"}, "12345"),
    "plain-like-moodle": ({"ada/tiny.ipynb": NB, "bob/tiny.ipynb": NB, "ada/Bob_77_assignsubmission_file_tiny.ipynb": NB}, "ada"),
    "moodle-onlinetext": ({f"{MOODLE}_/tiny.ipynb": NB, f"{MOODLE[:-4]}onlinetext_/onlinetext.html": b"x"}, "12345"),
    "moodle-inside-a-folder": ({f"{MOODLE}_/homework/tiny.ipynb": NB, f"{MOODLE}_/homework/x.csv": b"1"}, "12345"),
    "canvas": ({"lovelaceada_1815_67890_tiny.ipynb": NB}, "1815"),
    "canvas-late-again": ({"lovelaceada_LATE_1815_67890_tiny-3.ipynb": NB}, "1815"),
    "canvas-anonymous": ({"anon_Xy12z_67890_tiny.ipynb": NB}, "anon_Xy12z"),
    "canvas-numbers-in-names": ({"de_la_cruz2_1815_67890_tiny.ipynb": NB, "lovelaceada_7_8_a_1_2_b.csv": b"1"}, "1815"),
    "canvas-text": ({"lovelaceada_1815_67890_tiny.ipynb": NB, "boole_7_text.html": b"Hello"}, "1815"),
    "plain": ({"ada/tiny/tiny.ipynb": NB, "ada/tiny/data/x.csv": b"1", "ada/other.txt": b"?"}, "ada"),
    "plain-short": ({"ada/tiny.ipynb": NB}, "ada"),
    "plain-submitted": ({"submitted/ada/tiny/tiny.ipynb": NB}, "ada"),
    "plain-assignment": ({"tiny/ada/tiny.ipynb": NB, "tiny/bob/tiny.ipynb": NB}, "ada"),
    "plain-zips": ({"ada.zip": zipped({"tiny.ipynb": NB})}, "ada"),
    "zip-inside": ({f"{MOODLE}_/work.zip": zipped({"work/tiny.ipynb": NB, "work/x.csv": b"1"})}, "12345"),
    "leftovers": ({"ada/tiny.ipynb": NB, "__MACOSX/ada/._tiny.ipynb": b"x", "ada/.DS_Store": b"x",
                   "ada/.ipynb_checkpoints/tiny-checkpoint.ipynb": b"x", "Thumbs.db": b"x"}, "ada"),
    "windows-separators": ({"ada\\tiny\\tiny.ipynb": NB}, "ada"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_notebook_is_found_and_its_student(name, course, unpacked):
    files, student = LAYOUTS[name]
    collected = unpacked(zipped(files))
    assert collected.problems == []
    assert collected.students[student] == "new"
    assert handed_in(course)[student]["tiny.ipynb"] == NB
    taken = {path for files in handed_in(course).values() for path in files}
    assert not [path for path in taken if path.startswith((".", "_")) or "other" in path]
    assert student in students(course, "tiny")
    assert "77" not in students(course, "tiny")


@pytest.mark.parametrize(("mode", "name"), [("w", "class.tar"), ("w:gz", "class.tgz"), ("w:gz", "class.tar.gz")])
def test_tar(mode, name, course, unpacked):
    unpacked(tarred([("ada/tiny/tiny.ipynb", NB), ("ada/tiny/data/x.csv", b"1")], mode), name)
    assert handed_in(course) == {"ada": {"tiny.ipynb": NB, "data/x.csv": b"1"}}


def test_what_the_platform_says_is_kept(course, unpacked):
    unpacked(zipped({"lovelaceada_LATE_1815_67890_tiny-3.ipynb": NB}))
    unpacked(zipped({"Ada Lovelace_12345_assignsubmission_file_/tiny.ipynb": NB}))
    assert "marks it as late" in remarks(course, "1815")
    slip = receipt.read(course.submitted / "12345" / "tiny")
    assert slip is not None
    assert (slip.platform, slip.platform_id) == ("moodle", "12345")
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        ada, canvas = book.find_student("12345"), book.find_student("1815")
        assert (ada.first_name, ada.last_name, ada.lms_user_id) == ("Ada", "Lovelace", None)
        assert (canvas.last_name, canvas.lms_user_id) == ("lovelaceada", "1815")


WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade,Maximum grade,Last modified (submission),Last modified (grade)
Participant 12345,Ada Lovelace,ada@example.org,Submitted for grading,,8.00,"Tuesday, 3 February 2026, 10:30 AM",-
Participant 77,George Boole,boole@example.org,No submission,,8.00,-,-
"""


class TestParticipants:
    """With a list of participants folders carry the course's own ids; and Moodle's says when it was handed in."""

    def test_moodles_worksheet(self, course, unpacked, tmp_path):
        (tmp_path / "list.csv").write_text("\ufeff" + WORKSHEET)
        files = {f"{MOODLE}_/tiny.ipynb": NB, f"{MOODLE}_/timestamp.txt": b"2020-01-01 00:00:00 UTC",
                 "Emmy Noether_99_assignsubmission_file_/tiny.ipynb": NB}  # fmt: skip
        with (course.dir / "nbgrader_config.py").open("a") as config:
            config.write('\nc.Exchange.timezone = "Europe/Berlin"\n')
        collected = unpacked(zipped(files), students=tmp_path / "list.csv")
        assert sorted(handed_in(course)) == ["99", "ada@example.org"]
        assert handed_in(course)["ada@example.org"]["timestamp.txt"] == b"2026-02-03 09:30:00 UTC\n"
        assert "99: not in the list" in collected.notes[0]
        with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
            assert book.find_student("ada@example.org").email == "ada@example.org"

    def test_canvas_gradebook_and_a_list_of_ones_own(self, course, unpacked, tmp_path):
        canvas = 'Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"Lovelace, Ada",1815,,al15,A\n'
        own = "id;platform_id;timestamp\nal15;1815;2026-02-03 10:30 UTC\n"
        for number, text in enumerate((canvas, own)):
            (tmp_path / "list.csv").write_text(text)
            unpacked(zipped({f"lovelaceada_1815_{number}_tiny.ipynb": NB}), students=tmp_path / "list.csv")
        assert handed_in(course) == {"al15": {"tiny.ipynb": NB, "timestamp.txt": b"2026-02-03 10:30:00 UTC\n"}}
        with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
            assert (book.find_student("al15").first_name, book.find_student("al15").lms_user_id) == ("Ada", "1815")

    def test_a_number_that_is_the_id_of_another(self, course, unpacked, tmp_path):
        """Bob's number in the platform is Ada's in the course: their work is not thrown together."""
        (tmp_path / "list.csv").write_text("id,platform_id\n77,12345\n")
        files = {f"{MOODLE}_/tiny.ipynb": NB, "Bob_77_assignsubmission_file_/tiny.ipynb": b"bob's"}
        collected = unpacked(zipped(files), students=tmp_path / "list.csv")
        assert "77 is not in the list of participants, and is the id of somebody who is" in collected.problems[0]
        assert handed_in(course) == {"77": {"tiny.ipynb": NB}}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a,b\n1,2\n", "is no list of participants"),
            ("id,platform_id\nada,1\nbob,1\n", "line 3: 1 is there twice"),
            ("id,platform_id\nada,1\nada,2\n", "1 and 2 have the same id, ada"),
        ],
    )
    def test_one_that_is_none(self, text, words, course, unpacked, tmp_path):
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(CourseError, match=words):
            unpacked(zipped({"lovelaceada_1815_1_tiny.ipynb": NB}), students=tmp_path / "list.csv")
        assert not course.submitted.exists()


class TestTime:
    def test_nobodys_word_but_the_instructors(self, course, unpacked):
        """The times in an archive are those of the download, or any."""
        unpacked(zipped({info("ada/tiny.ipynb"): NB}))
        assert "timestamp.txt" not in handed_in(course)["ada"]
        unpacked(zipped({info("bob/tiny.ipynb"): NB, "bob/timestamp.txt": "2026-02-01 10:00:00 UTC"}))
        assert handed_in(course)["bob"]["timestamp.txt"] == b"2026-02-01 10:00:00 UTC"
        with (course.dir / "nbgrader_config.py").open("a") as config:
            config.write('\nc.Exchange.timezone = "UTC"\n')
        unpacked(zipped({info("ada/tiny.ipynb"): NB}), file_times=True)
        assert handed_in(course)["ada"]["timestamp.txt"] == b"2026-02-03 10:30:00 UTC\n"

    def test_what_is_newer_stays(self, course, unpacked):
        def pack(content, day):
            return unpacked(zipped({info("ada/tiny.ipynb", date=(2026, 2, day, 1, 2, 4)): content})).students["ada"]

        assert pack(b"second", 5) == "new"
        assert pack(b"second", 6) == "same"
        path = course.submitted / "ada" / "tiny" / "tiny.ipynb"
        before = path.stat()
        assert pack(b"first", 4) == "older"
        assert (path.read_bytes(), path.stat().st_ino) == (b"second", before.st_ino)
        assert pack(b"third", 7) == "again"
        assert handed_in(course) == {"ada": {"tiny.ipynb": b"third"}}

    def test_a_resubmission_leaves_nothing_of_the_old_one(self, course, unpacked, hand_in):
        hand_in(course, "ada", b"old")
        hand_in(course, "ada", b"data", name="old.csv")
        assert unpacked(zipped({"ada/tiny.ipynb": b"new"})).students == {"ada": "again"}
        assert handed_in(course) == {"ada": {"tiny.ipynb": b"new"}}

    def test_killed_in_between(self, course, unpacked, hand_in):
        """What was taken away and not replaced is put back by the next run, also for students it does not mention."""
        hand_in(course, "bob", b"bob's")
        aside = course.submitted / ".unpacking-tiny" / "xyz" / "old" / "bob"
        aside.mkdir(parents=True)
        os.rename(course.submitted / "bob" / "tiny", aside / "tiny")
        unpacked(zipped({"ada/tiny.ipynb": NB}))
        assert handed_in(course) == {"ada": {"tiny.ipynb": NB}, "bob": {"tiny.ipynb": b"bob's"}}


# --- made with another intention ------------------------------------------------------------------------------------


def bomb(megabytes=40) -> bytes:
    return zipped({"tiny.ipynb": b"0" * megabytes * 1024**2})


def damaged(content: bytes, at: bytes) -> bytes:
    """A byte of the stored content changed, so that its checksum is wrong."""
    return content.replace(at, b"X" + at[1:])


def lying_about_size(name, content, size) -> bytes:
    """Says `size` in both headers."""
    data = zipped({name: content})
    real = struct.pack("<I", len(content))
    return data.replace(real, struct.pack("<I", size))


def link(name, target, kind=tarfile.SYMTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


ADA = ("ada/tiny.ipynb", NB)


@dataclass
class Hostile:
    """An archive, and what comes of it. Beside `ada`, who is honest, `eve` has the files named in `eve` (None: no
    folder); `said` is a word of her remarks, or of the problems if she has no folder."""

    make: Callable[[], bytes]
    said: str
    eve: set[str] | None = field(default_factory=set)
    name: str = "class.zip"


def with_ada(*files) -> Callable[[], bytes]:
    return lambda: zipped([ADA, *files])


HOSTILE = {
    "up": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/../../gradebook.db", b"x")), "leads out", {"tiny.ipynb"}),
    "up-only": Hostile(with_ada(("../../../tmp/evil", b"x")), "leads out", None),
    "up-backslash": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve\\..\\..\\x", b"x")), "leads out", {"tiny.ipynb"}),
    "absolute": Hostile(with_ada(("/etc/cron.d/evil", b"x")), "is absolute", None),
    "drive": Hostile(with_ada(("C:\\Windows\\evil", b"x")), "is absolute", None),
    "share": Hostile(with_ada(("\\\\server\\share\\evil", b"x")), "is absolute", None),
    "into-the-course": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/../ada/tiny/tiny.ipynb", b"x")), "leads out", {"tiny.ipynb"}),
    "null": Hostile(lambda: with_ada(("eve/tiny.ipynb", NB), ("eve/x.csvN.png", b"x"))().replace(b"csvN", b"csv\0"), "characters", {"tiny.ipynb"}),
    "newline": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/x\n2 of 2 points", b"x")), "characters", {"tiny.ipynb"}),
    "turned-name": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/a\u202evsc.exe", b"x")), "", {"tiny.ipynb", "a_vsc.exe"}),
    "long-name": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/" + "x" * 300, b"x")), "too long", {"tiny.ipynb"}),
    "deep": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/" + "d/" * 500 + "x", b"x")), "too long", {"tiny.ipynb"}),
    "link": Hostile(with_ada(("eve/tiny.ipynb", NB), (info("eve/x.csv", 0o120777), b"/etc/passwd")), "is a link", {"tiny.ipynb"}),
    "link-as-notebook": Hostile(with_ada((info("eve/tiny.ipynb", 0o120777), b"../../gradebook.db")), "is a link"),
    "device": Hostile(with_ada((info("eve/tiny.ipynb", 0o020666), b"")), "not a regular file"),
    "pipe": Hostile(with_ada((info("eve/tiny.ipynb", 0o010666), b"")), "not a regular file"),
    "hidden-files": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/.archive.json", b'{"remarks": ["full marks"]}'), ("eve/.bashrc", b"x")), "", {"tiny.ipynb"}),
    "twice": Hostile(with_ada(("eve/tiny.ipynb", b"1"), ("eve/tiny.ipynb", b"2")), "more than once", {"tiny.ipynb"}),
    "case": Hostile(with_ada(("eve/tiny.ipynb", b"1"), ("eve/TINY.ipynb", b"2")), "more than once", {"tiny.ipynb"}),
    "unicode-forms": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/\u00e9.csv", b"1"), ("eve/e\u0301.csv", b"2")), "more than once", {"tiny.ipynb", "\u00e9.csv"}),
    "file-and-folder": Hostile(with_ada(("eve/tiny.ipynb", NB), ("eve/tiny.ipynb/x.csv", b"1")), "should be", {"tiny.ipynb"}),
    "students-by-case": Hostile(with_ada(("eve/tiny.ipynb", NB), ("EVE/tiny.ipynb", NB)), "upper and lower case", None),
    "student-hidden": Hostile(with_ada(("~/tiny.ipynb", NB)), "cannot be the id", None),
    "encrypted": Hostile(lambda: encrypted(), "is encrypted"),
    "bad-checksum": Hostile(lambda: damaged(zipped([ADA, ("eve/tiny.ipynb", b"STORED-CONTENT")], zipfile.ZIP_STORED), b"STORED-CONTENT"), "damaged"),
    "lzma": Hostile(lambda: mixed(zipfile.ZIP_LZMA), "not read here"),
    "bzip2": Hostile(lambda: mixed(zipfile.ZIP_BZIP2), "not read here"),
    "says-small": Hostile(lambda: lying_about_size("eve/tiny.ipynb", b"n" * 70_001, 10), "damaged"),
    "bomb": Hostile(with_ada(("eve/tiny.ipynb", b"0" * 12 * 1024**2)), "MB that are left"),
    "bomb-inside": Hostile(lambda: zipped([ADA, ("eve/work.zip", bomb())]), "MB that are left"),
    "bomb-of-many": Hostile(lambda: zipped([ADA, ("eve/work.zip", zipped([(f"{n}.csv", b"0" * 6 * 1024**2) for n in range(6)]))]), "MB that are left", {f"{n}.csv" for n in range(4)}),
    "many-files": Hostile(lambda: zipped([ADA, ("eve/tiny.ipynb", NB), *((f"eve/{n}.txt", b"") for n in range(1200))]), "more than 1000 files", {"tiny.ipynb", *(f"{n}.txt" for n in range(999))}),
    "huge-directory": Hostile(lambda: zipped([ADA, ("eve/work.zip", zipped([(f"{n}.txt", b"") for n in range(20_000)]))]), "too many files"),
    "nested-nested": Hostile(lambda: zipped([ADA, ("eve/work.zip", zipped({"more.zip": bomb(1), "x.csv": b"1"}))]), "zip in a zip", {"x.csv"}),
    "nested-up": Hostile(lambda: zipped([ADA, ("eve/work.zip", zipped({"../../tiny.ipynb": NB, "tiny.ipynb": NB}))]), "leads out", {"tiny.ipynb"}),
    "nested-time": Hostile(lambda: zipped([ADA, ("eve/work.zip", zipped({"timestamp.txt": b"2020-01-01", "tiny.ipynb": NB}))]), "", {"tiny.ipynb"}),
    "nested-broken": Hostile(lambda: zipped([ADA, ("eve/work.zip", b"PK\3\4 hello")]), "damaged"),
    "nested-tar": Hostile(lambda: zipped([ADA, ("eve/work.tar.gz", tarred([("tiny.ipynb", NB)]))]), "is not unpacked", {"work.tar.gz"}),
    "zip-as-data": Hostile(lambda: zipped([ADA, ("eve/tiny.ipynb", NB), ("eve/data.zip", zipped({"x.csv": b"1"}))]), "", {"tiny.ipynb", "data.zip"}),
    "tar-up": Hostile(lambda: tarred([ADA, ("eve/tiny.ipynb", NB), ("eve/../../x", b"x")]), "leads out", {"tiny.ipynb"}, "class.tgz"),
    "tar-link": Hostile(lambda: tarred([ADA, (link("eve/tiny.ipynb", "/etc/passwd"), b"")]), "is a link", set(), "class.tgz"),
    "tar-hard-link": Hostile(lambda: tarred([ADA, (link("eve/tiny.ipynb", "ada/tiny.ipynb", tarfile.LNKTYPE), b"")]), "is a link", set(), "class.tgz"),
    "tar-device": Hostile(lambda: tarred([ADA, (link("eve/tiny.ipynb", "", tarfile.CHRTYPE), b"")]), "not a regular", set(), "class.tgz"),
    "tar-link-then-write": Hostile(lambda: tarred([ADA, (link("eve/out", "/tmp"), b""), ("eve/out/evil", b"x"), ("eve/tiny.ipynb", NB)]), "is a link", {"tiny.ipynb", "out/evil"}, "class.tgz"),
}  # fmt: skip


def encrypted() -> bytes:
    """zipfile cannot encrypt: set the flag in both headers of eve's file."""
    data = bytearray(zipped([ADA, ("eve/tiny.ipynb", NB)]))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = data.rfind(mark)
        data[place + at] |= 1
    return bytes(data)


def mixed(compression) -> bytes:
    target = io.BytesIO(zipped([ADA]))
    with zipfile.ZipFile(target, "a", compression) as file:
        file.writestr("eve/tiny.ipynb", NB)
    return target.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_it_costs_nobody_else_anything(name, course, unpacked, monkeypatch):
    monkeypatch.setattr(unpack, "SIZE_LIMIT", 10 * 1024**2)  # a tenth of what is allowed, for the sake of time
    monkeypatch.setattr(unpack, "STUDENT_BYTES", 25 * 1024**2)
    case = HOSTILE[name]
    collected = unpacked(case.make(), case.name)
    there = handed_in(course)
    if name != "says-small":  # made of one file
        assert there.pop("ada") == {"tiny.ipynb": NB}
    if case.eve is None:
        assert there == {}
        assert case.said in " ".join(collected.problems)
    else:
        assert set(there.get("eve", ())) == case.eve
        assert set(there) <= {"eve"}
        assert case.said in remarks(course, "eve")
        assert case.said or not remarks(course, "eve")
        assert collected.problems == []
    assert not [path for path in course.submitted.rglob("*") if path.is_symlink()]
    assert not (course.dir.parent / "x").exists()


def test_what_turns_out_to_be_damaged_counts_too(course, unpacked, monkeypatch):
    """Each of these is read to its end before its checksum is found to be wrong."""
    piece = b"0" * 1024**2
    data = zipped([ADA, *((f"eve/{n}.csv", piece) for n in range(40))])
    read = []
    copy = Archive.copy

    def count(archive, entry, target, limit):
        read.append(entry.size if entry.size <= limit else 0)
        return copy(archive, entry, target, limit)

    monkeypatch.setattr(Archive, "copy", count)
    monkeypatch.setattr(unpack, "STUDENT_BYTES", 10 * 1024**2)
    unpacked(data.replace(struct.pack("<I", zlib.crc32(piece)), b"\0\0\0\0"))
    assert handed_in(course) == {"ada": {"tiny.ipynb": NB}}
    assert 5 * len(piece) < sum(read) < 11 * len(piece)
    assert "Bad CRC-32" in remarks(course, "eve")
    assert "And more of the kind." in remarks(course, "eve")


UNUSABLE = {
    "empty": (lambda: b"", "damaged"),
    "text": (lambda: b"hello" * 1000, "damaged"),
    "html": (lambda: b"<!DOCTYPE html><title>Log in</title>" + b" " * 600, "damaged"),
    "cut-off": (lambda: zipped(dict([ADA]))[:-30], "end is missing"),
    "nothing-in-it": (lambda: zipped({}), "nothing"),
    "only-leftovers": (lambda: zipped({".DS_Store": b"x", "__MACOSX/x": b"x"}), "nothing"),
    "students-in-a-folder": (
        lambda: zipped({"class/ada/tiny.ipynb": NB, "class/eve/tiny.ipynb": NB}),
        "everything lies in one folder, 'class'",
    ),
    "moodle-in-a-folder": (lambda: zipped({f"Robustness-3/{MOODLE}_/tiny.ipynb": NB}), "everything lies in one folder"),
    "nobodys": (lambda: zipped({"tiny.ipynb": NB}), "folder per student"),
    "tgz-cut-off": (lambda: tarred([ADA])[:-20], "damaged"),
    "not-a-tar": (lambda: gzip.compress(b"hello"), "damaged"),
    "backwards-tar": (lambda: backwards(), "damaged"),
    "says-more-than-there-is": (lambda: sparse(), "damaged"),
    "utf-8-that-is-none": (lambda: zipped({"ada/\u00e9.ipynb": NB}).replace(b"\xc3\xa9", b"\xff\xfe"), "damaged"),
}


def backwards() -> bytes:
    """A negative size: where the next header is found, is this one again."""
    data = bytearray(tarred([ADA, ("eve/tiny.ipynb", NB)], "w"))
    size = (-512).to_bytes(12, "big", signed=True)
    data[1024 + 124 : 1024 + 136] = size
    data[1024 + 148 : 1024 + 156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(data[1024:1536])
    return bytes(data)


def sparse() -> bytes:
    """A tar that says it holds a petabyte."""
    made = tarfile.TarInfo("eve/tiny.ipynb")
    made.size = 10**15
    return made.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_archive_that_is_of_no_use_is_one_clear_error(name, course, unpacked, hand_in):
    hand_in(course, "ada", b"before")
    make, words = UNUSABLE[name]
    with pytest.raises(CourseError, match=words):
        unpacked(make())
    assert handed_in(course) == {"ada": {"tiny.ipynb": b"before"}}


def test_names_without_a_flag_for_their_encoding(tmp_path):
    """macOS writes UTF-8 and does not say so; DOS wrote its codepage."""
    for raw, meant in (("Zoë".encode(), "Zoë"), (b"Zo\x89", "Zoë")):
        data = zipped({"XXXX"[: len(raw)] + "/tiny.ipynb": NB}).replace(b"XXXX"[: len(raw)], raw)
        (tmp_path / "a.zip").write_bytes(data)
        with Archive(tmp_path / "a.zip") as archive:
            assert archive.entries[0].path.parts[0] == meant


def test_a_tar_is_not_opened_for_a_student(tmp_path):
    (tmp_path / "a.zip").write_bytes(tarred([ADA]))
    with pytest.raises(Unusable, match="not a zip file"):
        Archive(tmp_path / "a.zip", zip_only=True)


def test_a_link_in_submitted_is_not_followed(course, unpacked, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    course.submitted.mkdir()
    (course.submitted / "eve").symlink_to(tmp_path / "elsewhere")
    (course.submitted / "ada").mkdir()
    (course.submitted / "ada" / "tiny").symlink_to(tmp_path / "elsewhere")
    collected = unpacked(zipped([ADA, ("eve/tiny.ipynb", NB)]))
    assert collected.students == {"ada": "again", "eve": "refused"}
    assert not list((tmp_path / "elsewhere").iterdir())
    assert (course.submitted / "ada" / "tiny" / "tiny.ipynb").read_bytes() == NB


# --- from the archive to the points ---------------------------------------------------------------------------------


def test_graded_from_the_archive(course, filled, tmp_path, capsys):
    file = tmp_path / "class.zip"
    good = as_bytes(filled())
    files = {f"{MOODLE}_/tiny.ipynb": good, "Eve_66_assignsubmission_file_/../tiny.ipynb": good, "stray.txt": b"?"}
    file.write_bytes(zipped(files))
    command = ["grade", "tiny", "--archive", str(file), "--isolation", "none", "--course", str(course.dir)]
    assert cli.main(command) == 1, "something could not be taken"
    out, err = capsys.readouterr()
    assert "class.zip: Moodle, submissions: 2 new" in err
    assert "'stray.txt' in class.zip: not taken" in err
    assert "'Eve_66_assignsubmission_file_/../tiny.ipynb' of the archive was left out: its path leads out" in " ".join(
        out.split()
    )
    book = recorded(course)
    assert book["12345"]["test-root"] == (3.0, None, False)
    assert book["66"]["test-root"] == (0.0, None, False)


@pytest.mark.parametrize(
    ("assignment", "file", "words"),
    [("nonsense", "class.zip", "unknown assignment"), ("tiny", "nowhere.zip", "No such file"), ("tiny", "", "Is a directory")],
)  # fmt: skip
def test_bad_arguments_are_one_line(assignment, file, words, course, tmp_path, capsys):
    (tmp_path / "class.zip").write_bytes(zipped([ADA]))
    command = ["grade", assignment, "--archive", str(tmp_path / file), "--course", str(course.dir)]
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    assert not course.submitted.exists()


def test_no_room(course, tmp_path, monkeypatch):
    file = tmp_path / "class.zip"
    file.write_bytes(zipped([ADA]))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(CourseError, match="are free"):
        collect(course, "tiny", file)
    assert not list(Path(course.submitted).iterdir())
