"""What all processes of a submission use together, looked at from outside: for where the kernel keeps no such bounds.

Pages that they share with the zygote they were forked from must not be counted many times, and to find out takes the
kernel milliseconds a process. So there are two looks: a quick one that can only be too high, and an exact one when the
quick one is above the bound, never so often that it becomes a burden itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

EFFORT = 0.1  # share of the time that may go into exact looks


class Watch:
    """Looks at a process and all its descendants. pid: as this process sees it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._inherited = _status(pid).get("RssAnon", 0)
        self._not_before = 0.0

    def over(self, memory: int, processes: int) -> str:
        """Which bound is passed, in words; empty if none. memory: bytes; processes: and threads."""
        family = list(descendants(self._pid))
        threads = sum(_threads(pid) for pid in family)
        if threads > processes:
            return f"started more than {processes} processes"
        if self._at_most(family) > memory and self._exactly(family) > memory:
            return f"used more than {memory / 1024**3:g} GB of memory"
        return ""

    def _at_most(self, family: list[int]) -> int:
        """Bytes, if each process had written to everything that it was forked with."""
        used = [_status(pid) for pid in family]
        return sum(one.get("RssAnon", 0) + one.get("RssShmem", 0) for one in used) - self._inherited

    def _exactly(self, family: list[int]) -> int:
        """Bytes, each shared page counted once; 0 if it is not yet time to look again."""
        started = time.monotonic()
        if started < self._not_before:
            return 0
        used = sum(_proportional(pid) for pid in family)
        now = time.monotonic()
        self._not_before = now + (now - started) / EFFORT
        return used


def descendants(pid: int) -> Iterator[int]:
    """A process and all that it and its children have started and that is still there."""
    seen, waiting = set(), [pid]
    while waiting:
        parent = waiting.pop()
        if parent in seen:
            continue
        seen.add(parent)
        yield parent
        for file in _glob(parent, "task/*/children"):
            waiting += [int(child) for child in _read(file).split()]


def _threads(pid: int) -> int:
    return _status(pid).get("Threads", 0)


def _status(pid: int) -> dict[str, int]:
    """Numbers from /proc/<pid>/status, sizes in bytes; empty if the process is gone."""
    return _numbers(Path(f"/proc/{pid}/status"), ("Threads", "RssAnon", "RssShmem"))


def _proportional(pid: int) -> int:
    """Bytes of memory of a process that no file stands behind, each page divided by those who share it."""
    return sum(_numbers(Path(f"/proc/{pid}/smaps_rollup"), ("Pss_Anon", "Pss_Shmem", "SwapPss")).values())


def _numbers(file: Path, names: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for line in _read(file).splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            value, *unit = rest.split()
            found[name] = int(value) * (1024 if unit == ["kB"] else 1)
    return found


def _glob(pid: int, pattern: str) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}").glob(pattern))
    except OSError:
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""  # gone meanwhile
