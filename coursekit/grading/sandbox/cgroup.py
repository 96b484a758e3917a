"""Bounds on memory and processes that the kernel keeps for a whole submission, where this process may set them.

Control groups, in version 1 (usually root only) and in version 2 (wherever the group of this process was delegated, as
`systemd-run --user --scope -p Delegate=yes` does). Submissions share the processors equally, however many processes
each of them starts.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coursekit.grading.sandbox import watchdog

PREFIX = "coursekit-"  # and the number of the process that made the group
GRADER = "-grader"  # ends the name of the group that the grader itself goes to, in version 2
NEEDED, WELCOME = ("memory", "pids"), ("cpu",)
_count = itertools.count()
_lock = threading.Lock()
_left: set[Path] = set()  # groups of ours whose processes took too long to be gone


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made. folders: our own group, by controller; in version 2 it is the same for all."""

    version: int
    folders: dict[str, Path]


def hierarchy(mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> Hierarchy | None:
    """The groups of this machine, None if it has none that bound memory and processes."""
    try:
        paths = dict(_paths(Path(own).read_text()))
        places = list(_mounts(Path(mounts).read_text()))
    except (OSError, ValueError):
        return None
    folders: dict[str, Path] = {}
    for controller, root, place in places:
        # A container may see no more than a part of the hierarchy, and several mounts of it.
        if controller in paths and paths[controller].is_relative_to(root):
            folders.setdefault(controller, place / paths[controller].relative_to(root))
    if folders.keys() >= set(NEEDED):
        return Hierarchy(1, {name: folders[name] for name in (*NEEDED, *WELCOME) if name in folders})
    if "" in folders:
        folder = folders[""]
        if folder.name.startswith(PREFIX) and folder.name.endswith(GRADER):
            folder = folder.parent  # where we have gone ourselves, or who started us
        return Hierarchy(2, dict.fromkeys((*NEEDED, *WELCOME), folder))
    return None


def _paths(text: str) -> Iterator[tuple[str, Path]]:
    """(controller, our own group) for each hierarchy; for version 2 the controller is empty."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, Path(path)


def _mounts(text: str) -> Iterator[tuple[str, Path, Path]]:
    """(controller, the group that is seen there, mount point) for each hierarchy."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        root, place = map(Path, before.split()[3:5])
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            yield "", root, place
        elif kind == "cgroup":
            for option in options.split(","):
                yield option, root, place


def why_not() -> str:
    """Why this process cannot set such bounds; empty if it can."""
    where = hierarchy()
    if where is None:
        return "the machine has no control groups for memory and processes"
    try:
        _open(where)
        Group(where, memory=1 << 30, processes=64).remove()
    except OSError as error:
        return f"no control group can be made in {next(iter(where.folders.values()))}: {error.strerror}"
    return ""


def create(memory: int, processes: int) -> Group | None:
    """A group, or None where this process may not make one. What a killed grader left behind is removed.

    memory: bytes, swap included where that is counted. processes: and threads.
    """
    where = hierarchy()
    if where is None:
        return None
    _remove_stale(where)
    try:
        _open(where)
        return Group(where, memory, processes)
    except OSError:
        return None


def tidy(patience: float = 2.0) -> None:
    """Remove the groups whose processes took too long to be gone, now that they are. patience: seconds."""
    until = time.monotonic() + patience
    while _left and (where := hierarchy()) is not None:
        _remove_stale(where)
        if time.monotonic() > until:
            break
        time.sleep(0.01 * bool(_left))


class Group:
    """A control group for one submission. Raises OSError if it cannot be made."""

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
        """Remove it; its processes may take a moment to be gone. If they take longer, the next `create` does it."""
        until = time.monotonic() + patience
        for folder in set(self._folders.values()):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > until:
                        with _lock:
                            _left.add(folder)
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


def _open(where: Hierarchy) -> None:
    """Have the controllers of our own group handed on to groups within it. Raises OSError.

    Version 2 refuses this to a group that has processes in it: we then go to a group within ourselves, if it is ours
    alone.
    """
    if where.version == 1:
        return
    folder = where.folders[NEEDED[0]]
    with _lock:
        if missing := set(NEEDED) - set(_words(folder / "cgroup.controllers")):
            raise OSError(errno.ENODEV, f"it was given no control over {' and '.join(sorted(missing))}")
        hand_on(folder, NEEDED)
        with contextlib.suppress(OSError):
            hand_on(folder, WELCOME)


def hand_on(folder: Path, controllers: tuple[str, ...]) -> None:
    """Let groups within our own group (version 2) use these controllers. Raises OSError."""
    switch = folder / "cgroup.subtree_control"
    if set(controllers) <= set(_words(switch)):
        return
    order = " ".join(f"+{controller}" for controller in controllers)
    try:
        switch.write_text(order)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        _step_aside(folder)
        switch.write_text(order)


def _step_aside(folder: Path) -> None:
    """Go to a group within our own, with all that we have started. Raises OSError if we are not alone in it."""
    leaf = folder / f"{PREFIX}{os.getpid()}{GRADER}"
    while present := {int(pid) for pid in _words(folder / "cgroup.procs")}:
        if not present <= watchdog.descendants(os.getpid()):
            raise OSError(errno.EBUSY, "other processes are in it, too")
        leaf.mkdir(exist_ok=True)
        for pid in present:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid))


def _words(file: Path) -> list[str]:
    return file.read_text().split()


def _remove_stale(where: Hierarchy) -> None:
    found = {group for folder in where.folders.values() for group in _glob(folder) if _owner_is_gone(group)}
    with _lock:
        for group in found | _left:
            with contextlib.suppress(OSError):  # not empty yet
                group.rmdir()
        _left.intersection_update([group for group in _left if group.exists()])


def _glob(folder: Path) -> list[Path]:
    try:
        return list(folder.glob(f"{PREFIX}*"))
    except OSError:
        return []


def _owner_is_gone(group: Path) -> bool:
    owner = group.name.removeprefix(PREFIX).partition("-")[0]
    return owner.isdecimal() and not Path("/proc", owner).exists()
