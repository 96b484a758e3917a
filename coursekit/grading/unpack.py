"""One student's files out of an archive, put together in a folder: what is wrong with a file is a remark."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath

from coursekit.grading.archive import Archive, Entry, Unusable, junk
from coursekit.grading.repair import SIZE_LIMIT
from coursekit.grading.score import one_line

STUDENT_FILES, STUDENT_BYTES = 1000, 250 * 1024**2  # of one student, with all that is unpacked from a zip
NESTED_DIRECTORY = 1024**2  # bytes of the directory of a zip that a student made: some 10,000 files
REMARKS = 20
NAME = 120  # characters of a name in a remark
TIMESTAMP = "timestamp.txt"  # where nbgrader looks for the time of handing in
_OTHER_ARCHIVES = {".gz", ".tgz", ".tar", ".bz2", ".xz", ".rar", ".7z"}


class Unpacker:
    """Takes files in, one by one, and lays them out as they are graded.

    blobs: an empty folder to work in. notebooks: the names that notebooks should have, without their ending.
    """

    def __init__(self, blobs: Path, notebooks: Iterable[str]) -> None:
        self._blobs = blobs
        self._expected = {f"{name}.ipynb" for name in notebooks}
        self._files: dict[PurePosixPath, Path] = {}
        self._by_folded: dict[str, PurePosixPath] = {}
        self._folders: set[PurePosixPath] = set()
        self._left_files, self._left_bytes = STUDENT_FILES, STUDENT_BYTES
        self.remarks: list[str] = []
        self.newest: datetime | None = None

    def first(self, path: PurePosixPath) -> bool:
        """Whether a file comes before the others, as long as there is room: notebooks, and what may hold them."""
        return path.suffix.lower() in (".ipynb", ".zip") or path.name == TIMESTAMP

    def take(self, archive: Archive, entry: Entry, path: PurePosixPath, replaces: bool = False) -> None:
        """Take a file from an archive, to lie at `path`. replaces: it is meant to replace one of the same name.
        Raises OSError if there is no place for it on the disk."""
        blob = self._blobs / str(self._left_files)
        try:
            if self._left_files <= 0:
                raise Unusable(f"there are more than {STUDENT_FILES} files")
            self._left_files -= 1
            self._copy(archive, entry, blob)
        except Unusable as reason:
            blob.unlink(missing_ok=True)
            self._left_out(entry.said, str(reason))
        else:
            self._add(path, blob, replaces)

    def _copy(self, archive: Archive, entry: Entry, blob: Path) -> None:
        with open(blob, "wb") as target:
            try:
                archive.copy(entry, target, max(0, min(SIZE_LIMIT, self._left_bytes)))
            finally:
                self._left_bytes -= target.tell()  # also of what turns out to be damaged: it took its time
        if entry.modified is not None:
            self.newest = max(self.newest or entry.modified, entry.modified)

    def _left_out(self, name: str, reason: str) -> None:
        self.say(f"{shown(name)} of the archive was left out: {reason}.")

    def say(self, remark: str) -> None:
        """A remark for the instructor. More than a few are cut off."""
        if remark not in self.remarks and len(self.remarks) <= REMARKS:
            self.remarks.append(remark if len(self.remarks) < REMARKS else "And more of the kind.")

    def _add(self, path: PurePosixPath, blob: Path, replaces: bool) -> None:
        """Of several files that one file system or another takes for one: the one that is called exactly like a
        notebook, else the last."""
        if (other := self._by_folded.get(folded(str(path)))) is not None:
            if not replaces:
                self.say(f"{shown(path)} is in the archive more than once; one was taken.")
            if other.name in self._expected and path.name not in self._expected:
                return
            self._remove(other)
        if self._folders & {path} or self._files.keys() & set(path.parents):
            self._left_out(str(path), "a file lies where its folder should be, or the other way round")
            return
        self._put(path, blob)

    def _put(self, path: PurePosixPath, blob: Path) -> None:
        self._files[path] = blob
        self._by_folded[folded(str(path))] = path
        self._folders |= set(path.parents)

    def _remove(self, path: PurePosixPath) -> Path:
        del self._by_folded[folded(str(path))]
        return self._files.pop(path)

    def unpack_zips(self) -> None:
        """Unpack what may hold the notebooks, where some are missing. Other zips stay: a notebook may read them."""
        if self._expected <= {path.name for path in self._files}:
            return
        for path in [path for path in self._files if path.suffix.lower() == ".zip"]:
            blob = self._remove(path)
            newest = self.newest  # the files in a student's own zip have any time
            try:
                with Archive(blob, zip_only=True, directory_bytes=NESTED_DIRECTORY) as nested:
                    for entry in sorted(nested.entries, key=lambda entry: not self.first(entry.path)):
                        self._take_nested(nested, entry)
            except Unusable as reason:
                self._left_out(path.name, str(reason))
            self.newest = newest
        for path in self._files:
            if path.suffix.lower() in _OTHER_ARCHIVES:
                self.say(f"{shown(path.name)} is not unpacked; of students' own archives only zip files are.")

    def _take_nested(self, nested: Archive, entry: Entry) -> None:
        if junk(entry.path) or entry.path.name == TIMESTAMP:
            return
        if entry.path.suffix.lower() == ".zip":
            self.say(f"{shown(entry.said)} is a zip in a zip, which is not unpacked.")
        else:
            self.take(nested, entry, entry.path)

    def lift(self) -> None:
        """Notebooks that lie in a folder come to the top, where they are looked for, with the files beside them."""
        for name in sorted(self._expected):
            inside = [path for path in self._files if path.name == name]
            if inside and PurePosixPath(name) not in inside:
                self._lift(min(inside, key=lambda path: len(path.parts)).parent)
        notebooks = [path for path in self._files if path.suffix == ".ipynb"]
        if len({path.parent for path in notebooks}) == 1:
            self._lift(notebooks[0].parent)

    def _lift(self, folder: PurePosixPath) -> None:
        for path in [path for path in self._files if path.is_relative_to(folder)]:
            lifted = path.relative_to(folder)
            free = folded(str(lifted)) not in self._by_folded and lifted not in self._folders
            if free and lifted.name != TIMESTAMP:
                self._put(lifted, self._remove(path))

    def lay_out(self, folder: Path) -> None:
        """Put the files into a new folder, under their names."""
        folder.mkdir()
        for path, blob in self._files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(blob, target)


def shown(name: object) -> str:
    """A file's name in a sentence: in quotes, on one line, and not longer than the sentence."""
    text = one_line(name)
    return repr(text if len(text) <= NAME else f"{text[: NAME // 2]}...{text[-NAME // 2 :]}")


def folded(name: str) -> str:
    """What file systems that do not keep case and Unicode forms apart make of a name."""
    return unicodedata.normalize("NFC", name.casefold())
