"""Archives (zip, tar, tgz) as lists of files that are safe to write. Nothing is written here but a temporary file.

What an archive says of itself is not believed: paths are cleaned, links and devices refused, sizes counted while
reading, and where its end lies is looked at before its directory is read into memory.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

CHUNK = 64 * 1024  # bytes; what a damaged file may cost without being counted
PATH_PARTS, NAME_BYTES = 20, 200  # a path that is deeper, a name that is longer, is refused
DIRECTORY_BYTES = 64 * 1024**2  # of a zip's directory: some 500,000 files
ARCHIVE_FILES = 200_000
TAR_BYTES = 50 * 1024**3  # what a tgz may unpack to

_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, gzip.BadGzipFile, struct.error, EOFError, UnicodeError,
    NotImplementedError, RuntimeError, ValueError, OverflowError, KeyError, IndexError,
)  # fmt: skip


class Unusable(Exception):
    """The archive as a whole, or a file in it, cannot be read. The text says why, without a full stop."""


@dataclass(frozen=True)
class Entry:
    """A file in an archive. path: cleaned, relative, without `..`; said: the name as the archive has it; size: in
    bytes, as the archive claims; modified: without a time zone, where it is known; problem: why it must not be read."""

    path: PurePosixPath
    said: str
    size: int
    modified: datetime | None
    problem: str
    misplaced: bool
    number: int


class _Container(Protocol):
    """What zip and tar have in common here."""

    def entries(self) -> Iterator[Entry]: ...
    def open(self, number: int) -> BinaryIO: ...


class Archive:
    """An archive, open for reading; a context manager. `entries` lists its files.

    zip_only: refuse tar. Tar headers can make Python's tarfile use any amount of time, so archives that students made
    are never opened as tar. directory_bytes: of a zip, how large its directory may be. Raises Unusable if it is no
    archive, is damaged at its end, or holds too many files.
    """

    def __init__(self, path: Path, zip_only: bool = False, directory_bytes: int = DIRECTORY_BYTES) -> None:
        self._stack = contextlib.ExitStack()
        self.entries: list[Entry] = []
        with contextlib.ExitStack() as stack:
            try:
                self._container = _open(path, stack, zip_only, directory_bytes)
                for entry in self._container.entries():
                    self.entries.append(entry)
                    if len(self.entries) > ARCHIVE_FILES:
                        raise Unusable(f"it holds more than {ARCHIVE_FILES:,} files")
            except (*_DAMAGED, OSError) as error:
                raise _unusable(error) from error
            self._stack = stack.pop_all()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def copy(self, entry: Entry, target: BinaryIO, limit: int) -> int:
        """Write a file's content to `target`; returns its size in bytes. Raises Unusable if the file is refused,
        damaged, or larger than `limit` bytes; `target` then holds a part of it."""
        if entry.problem:
            raise Unusable(entry.problem)
        if entry.size > limit:
            raise Unusable(_too_large(limit))
        size = 0
        for chunk in _chunks(self._container, entry):
            size += len(chunk)
            if size > limit:
                raise Unusable(_too_large(limit))
            target.write(chunk)
        return size


def _chunks(container: _Container, entry: Entry) -> Iterator[bytes]:
    try:
        with container.open(entry.number) as source:
            while chunk := source.read(CHUNK):
                yield chunk
    except (*_DAMAGED, OSError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> Exception:
    """What to raise for an error of a library that reads archives. Errors of the disk's own stay what they are."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place in the file that cannot be: the archive's
        return error
    return Unusable(f"it is damaged ({_words(error)})")


def _too_large(limit: int) -> str:
    return f"it is larger than the {limit / 1e6:.0f} MB that are left for it"


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _open(path: Path, stack: contextlib.ExitStack, zip_only: bool, directory_bytes: int) -> _Container:
    file: BinaryIO = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
    start = file.read(2)
    file.seek(0)
    if start == b"PK":
        _check_directory(file, directory_bytes)
        return _Zip(stack.enter_context(zipfile.ZipFile(file)))
    if zip_only:
        raise Unusable("it is not a zip file")
    if start == b"\x1f\x8b":
        file = _unpacked(file, stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
    return _Tar(stack.enter_context(tarfile.open(fileobj=file, mode="r:")))


def _unpacked(file: BinaryIO, target: BinaryIO) -> BinaryIO:
    """The tar in a tgz, as a temporary file: so no header can ask for more memory than the file has bytes."""
    with gzip.open(file) as source:
        while chunk := source.read(CHUNK):
            target.write(chunk)
            if target.tell() > TAR_BYTES:
                raise Unusable(f"it unpacks to more than {TAR_BYTES / 1e9:.0f} GB")
    target.seek(0)
    return target


# --- zip -----------------------------------------------------------------------------------------------------------


class _Zip:
    def __init__(self, file: zipfile.ZipFile) -> None:
        self._zip, self._infos = file, file.infolist()

    def entries(self) -> Iterator[Entry]:
        for number, info in enumerate(self._infos):
            if info.is_dir():
                continue
            said = _zip_name(info)
            path, problem = clean(said)
            problems = problem or _zip_problem(info), bool(problem)
            yield Entry(path, said, info.file_size, _zip_time(info), *problems, number)

    def open(self, number: int) -> BinaryIO:
        return self._zip.open(self._infos[number])  # type: ignore[return-value]


def _check_directory(file: BinaryIO, limit: int) -> None:
    """Refuse a zip whose directory would fill the memory, before zipfile reads it. It looks in the same places."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_600))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise Unusable("it is damaged: its end is missing")
    declared = struct.unpack("<I", tail[end + 12 : end + 16])[0]
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # zip64
        declared = struct.unpack("<Q", tail[end - 36 : end - 28])[0]
    if declared > limit:
        raise Unusable("it holds too many files")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name as it was meant. Without a flag that macOS does not set, zipfile takes it for DOS's codepage."""
    name = info.orig_filename
    if info.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _zip_time(info: zipfile.ZipInfo) -> datetime | None:
    try:
        return datetime(*info.date_time)
    except ValueError:
        return None


def _zip_problem(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on a Unix
    if kind == stat.S_IFLNK:
        return "it is a link; links are not followed"
    if kind not in (0, stat.S_IFREG):
        return "it is not a regular file"
    if info.flag_bits & 0x1:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Also because LZMA may ask for gigabytes of memory.
        return f"it is compressed by a method that is not read here ({info.compress_type})"
    return ""


# --- tar -----------------------------------------------------------------------------------------------------------


class _Tar:
    def __init__(self, file: tarfile.TarFile) -> None:
        self._tar = file
        self._members: list[tarfile.TarInfo] = []

    def entries(self) -> Iterator[Entry]:
        end = -1
        for info in self._tar:
            if info.offset <= end:  # a negative size: the next header would be found before this one, for ever
                raise Unusable("it is damaged: its parts overlap")
            end = info.offset
            self._members.append(info)
            if info.isdir():
                continue
            said = _tar_name(info.name)
            path, problem = clean(said)
            number = len(self._members) - 1
            problems = problem or _tar_problem(info), bool(problem)
            yield Entry(path, said, info.size, _tar_time(info), *problems, number)

    def open(self, number: int) -> BinaryIO:
        file = self._tar.extractfile(self._members[number])
        if file is None:
            raise Unusable("it is not a regular file")
        return file  # type: ignore[return-value]


def _tar_name(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _tar_time(info: tarfile.TarInfo) -> datetime | None:
    try:
        return datetime.fromtimestamp(info.mtime)
    except (ValueError, OverflowError, OSError):
        return None


def _tar_problem(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "it is a link; links are not followed"
    return "" if info.isreg() and not info.issparse() else "it is not a regular file"


# --- names ---------------------------------------------------------------------------------------------------------


def clean(name: str) -> tuple[PurePosixPath, str]:
    """A path from an archive as a relative path without `..`, in composed Unicode; and what was wrong with it."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    drive = re.match(r"[A-Za-z]:", name)
    parts = [part for part in name[2 if drive else 0 :].split("/") if part not in ("", ".")]
    kept = [_printable(part) for part in parts if part != ".."]
    control = any(unicodedata.category(c) == "Cc" for c in name)
    path = PurePosixPath(*(kept or ["?"]))
    if drive or name.startswith("/"):
        return path, "its path is absolute"
    if ".." in parts:
        return path, "its path leads out of its folder"
    if control or not kept:
        return path, "its name holds characters that no name has"
    if len(kept) > PATH_PARTS or any(len(part.encode("utf-8", "replace")) > NAME_BYTES for part in kept):
        return PurePosixPath(*(part[:40] for part in kept[:PATH_PARTS])), "its path is too long"
    if os.name == "nt" and any(_RESERVED.search(part) for part in kept):
        return path, "Windows does not allow its name"
    return path, ""


_RESERVED = re.compile(r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def _printable(part: str) -> str:
    """Without control characters, lone surrogates and marks that turn the direction of reading."""
    return "".join("_" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in part)


def junk(path: PurePosixPath) -> bool:
    """What systems and editors leave in archives: nobody handed it in."""
    parts = path.parts
    return any(p.startswith(".") or p in ("__MACOSX", "__pycache__") for p in parts) or parts[-1].lower() in (
        "thumbs.db",
        "desktop.ini",
    )
