"""Bounds on memory and processes that the kernel keeps for a whole submission, where this process may set them.

Control groups, in version 1 (usually root only) and in version 2 (wherever the group of this process was delegated).
Submissions share the processors equally, however many processes each of them starts.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "coursekit-"  # and the number of the process that made the group
_count = itertools.count()


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made. folders: our own group, by controller; in version 2 it is the same for all."""

    version: int
    folders: dict[str, Path]


def hierarchy(mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> Hierarchy | None:
    """The groups of this machine, None if it has none that bound memory and processes."""
    try:
        places = dict(_mounts(Path(mounts).read_text()))
        lines = [line.split(":", 2) for line in Path(own).read_text().splitlines()]
    except (OSError, ValueError):
        return None
    paths = {controller: path for _, controllers, path in lines for controller in controllers.split(",")}
    folders: dict[str, Path] = {
        controller: places[controller] / paths[controller].lstrip("/")
        for controller in ("memory", "pids", "cpu")
        if controller in places and controller in paths
    }
    if {"memory", "pids"} <= folders.keys():
        return Hierarchy(1, folders)
    if "unified" in places and "" in paths:
        folder = places["unified"] / paths[""].lstrip("/")
        return Hierarchy(2, dict.fromkeys(("memory", "pids", "cpu"), folder))
    return None


def _mounts(text: str) -> list[tuple[str, Path]]:
    """(controller or "unified", mount point) of each mounted hierarchy."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        place = Path(before.split()[4])
        if kind == "cgroup":
            found += [(option, place) for option in options.split(",")]
        elif kind == "cgroup2":
            found.append(("unified", place))
    return found


def why_not() -> str:
    """Why this process cannot set such bounds; empty if it can."""
    found = hierarchy()
    if found is None:
        return "the machine has no control groups for memory and processes"
    try:
        group = Group(found, memory=1 << 30, processes=64)
    except OSError as error:
        where = next(iter(found.folders.values()))
        return f"no right to make a control group in {where} ({error.strerror})"
    group.remove()
    return ""


class Group:
    """A control group for one submission. Raises OSError if it cannot be made.

    memory: bytes, swap included where that is counted. processes: and threads.
    """

    def __init__(self, where: Hierarchy, memory: int, processes: int) -> None:
        name = f"{PREFIX}{os.getpid()}-{next(_count)}"
        self._version = where.version
        self._folders = {controller: folder / name for controller, folder in where.folders.items()}
        settings = _settings(where.version, memory, processes)
        try:
            for folder in set(self._folders.values()):
                folder.mkdir()
            for controller, file, value, needed in settings:
                if controller in self._folders:
                    with contextlib.nullcontext() if needed else contextlib.suppress(OSError):
                        (self._folders[controller] / file).write_text(str(value))
        except OSError:
            self.remove()
            raise

    def add(self, pid: int) -> None:
        """Put a process in; its children follow. Raises OSError."""
        for folder in set(self._folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def out_of_memory(self) -> bool:
        """Whether a process in it was ended for using too much."""
        file = "memory.oom_control" if self._version == 1 else "memory.events"
        try:
            text = (self._folders["memory"] / file).read_text()
        except OSError:
            return False
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return found is not None and int(found[1]) > 0

    def remove(self, patience: float = 2.0) -> None:
        """Remove it; its processes may take a moment to be gone."""
        until = time.monotonic() + patience
        for folder in set(self._folders.values()):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > until:
                        break
                    time.sleep(0.01)


def _settings(version: int, memory: int, processes: int) -> list[tuple[str, str, int, bool]]:
    """(controller, file, value, whether there is no group without it) for the bounds."""
    if version == 1:
        return [
            ("memory", "memory.limit_in_bytes", memory, True),
            ("memory", "memory.memsw.limit_in_bytes", memory, False),
            ("pids", "pids.max", processes, True),
            ("cpu", "cpu.shares", 1024, False),
        ]
    return [
        ("memory", "memory.max", memory, True),
        ("memory", "memory.swap.max", 0, False),
        ("pids", "pids.max", processes, True),
        ("cpu", "cpu.weight", 100, False),
    ]


def create(memory: int, processes: int) -> Group | None:
    """A group, or None where this process may not make one. What a killed grader left behind is removed."""
    where = hierarchy()
    if where is None:
        return None
    _remove_stale(where)
    try:
        return Group(where, memory, processes)
    except OSError:
        return None


def _remove_stale(where: Hierarchy) -> None:
    for folder in set(where.folders.values()):
        with contextlib.suppress(OSError):
            for left in folder.glob(f"{PREFIX}*"):
                owner = left.name.removeprefix(PREFIX).partition("-")[0]
                if owner.isdecimal() and not Path("/proc", owner).exists():
                    with contextlib.suppress(OSError):  # not empty yet
                        left.rmdir()
