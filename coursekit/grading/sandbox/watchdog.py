"""What all processes of a submission use together, looked at from outside: for where the kernel keeps no such bounds.

Pages that they share with the zygote they were forked from must not be counted many times, and to find out takes the
kernel milliseconds a process. So there are two looks: a quick one that can only be too high, and an exact one when the
quick one is above the bound, in portions, and never so often that it becomes a burden itself.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable

EFFORT = 0.1  # share of the time that may go into exact looks
LONGEST_WAIT = 2.0  # seconds from one exact look to the next, however long they take: memory fills quickly
PORTION = 0.2  # seconds of an exact look at a time: a process that forks all the time keeps us waiting for seconds

_QUICK = ("Threads", "RssAnon", "RssShmem", "VmSwap")
_EXACT = ("Pss_Anon", "Pss_Shmem", "SwapPss")


class Watch:
    """Looks at a process and all its descendants. pid: as this process sees it. What it holds now is not counted."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._inherited = _numbers(pid, "status", _QUICK).get("RssAnon", 0)
        self._left: list[int] = []  # processes that the exact look has not come to yet
        self._used, self._took = 0, 0.0  # bytes and seconds of the exact look so far
        self._not_before = 0.0

    def over(self, memory: int, processes: int) -> str:
        """Which bound is passed, in words; empty if none. memory: bytes; processes: and threads."""
        family = {pid: _numbers(pid, "status", _QUICK) for pid in descendants(self._pid)}
        if sum(member.get("Threads", 0) for member in family.values()) > processes:
            return f"started more than {processes} processes"
        if self._at_most(family.values()) <= memory:
            self._left.clear()
        elif self._exactly(family) > memory:
            return f"used more than {memory / 1024**3:g} GB of memory"
        return ""

    def _at_most(self, family: Iterable[dict[str, int]]) -> int:
        """Bytes, if each process had written to everything that it was forked with."""
        return sum(map(_resident, family)) - self._inherited

    def _exactly(self, family: Iterable[int]) -> int:
        """Go on with the exact look: bytes so far, each shared page counted once; 0 if it is not yet time for one.

        Of what is preloaded the family's share counts as well, and how large that is nobody says: all of it is taken
        off, in favour of the student.
        """
        started = time.monotonic()
        if not self._left:
            if started < self._not_before:
                return 0
            self._left, self._used, self._took = sorted(family), -self._inherited, 0.0
        now = started
        while self._left and now < started + PORTION:
            self._used += self._proportional(self._left.pop())
            now = time.monotonic()
        self._took += now - started
        self._not_before = now + min(self._took / EFFORT, LONGEST_WAIT)
        return self._used

    def _proportional(self, pid: int) -> int:
        """Bytes of memory of a process that no file stands behind, each page divided by those who share it."""
        exact = _numbers(pid, "smaps_rollup", _EXACT)
        if "Pss_Anon" in exact:
            return sum(exact.values())
        # Gone meanwhile, or an old kernel, or one that does not let us look.
        return max(0, _resident(_numbers(pid, "status", _QUICK)) - self._inherited)


def descendants(pid: int) -> set[int]:
    """A process and all that it and its children have started and that is still there."""
    children = _children if _children_are_listed() else _family_tree().__getitem__
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting += children(parent)
    return found


def _children_are_listed() -> bool:
    return os.path.exists("/proc/thread-self/children")  # a choice that is made when a kernel is built


def _children(pid: int) -> list[int]:
    """What the threads of a process have started."""
    threads = _list(f"/proc/{pid}/task")
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def _family_tree() -> defaultdict[int, list[int]]:
    """The children of every process."""
    tree = defaultdict(list)
    for pid in filter(str.isdecimal, _list("/proc")):
        _, _, rest = _read(f"/proc/{pid}/stat").rpartition(")")  # a program's name may be anything
        if rest:
            tree[int(rest.split()[1])].append(int(pid))
    return tree


def _resident(quick: dict[str, int]) -> int:
    return quick.get("RssAnon", 0) + quick.get("RssShmem", 0) + quick.get("VmSwap", 0)


def _numbers(pid: int, file: str, names: tuple[str, ...]) -> dict[str, int]:
    """Numbers from a file in /proc/<pid>, sizes in bytes; empty if the process is gone."""
    found = {}
    for line in _read(f"/proc/{pid}/{file}").splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            value, *unit = rest.split()
            found[name] = int(value) * (1024 if unit == ["kB"] else 1)
    return found


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # gone meanwhile


def _read(file: str) -> str:
    try:
        with open(file, errors="replace") as text:
            return text.read()
    except OSError:
        return ""  # gone meanwhile, or not for us
