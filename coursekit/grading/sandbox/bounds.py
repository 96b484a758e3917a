"""Bounds on what all processes of one submission use together: by the kernel where it lets us, else by looking."""

from __future__ import annotations

from coursekit.grading.sandbox import cgroup
from coursekit.grading.sandbox.watchdog import Watch


class Bounds:
    """For the process `pid`, as this process sees it, and all that it will start.

    memory: bytes beyond what is preloaded; processes: and threads.
    """

    def __init__(self, pid: int, memory: int, processes: int) -> None:
        self._memory, self._processes = memory, processes
        self._group = cgroup.create(memory, processes)
        if self._group is not None:
            try:
                self._group.add(pid)
            except OSError:
                self._group.remove()
                self._group = None
        # A bound on processes by the kernel makes a start fail, which is enough; so is one on memory.
        self._watch = None if self._group is not None else Watch(pid)

    @property
    def by_kernel(self) -> bool:
        """Whether the kernel keeps the bounds, and ends by itself what goes beyond them."""
        return self._group is not None

    def exceeded(self) -> str:
        """What is over its bound, in words; empty if nothing is."""
        if self._group is not None:
            return f"used more than {self._memory / 1024**3:g} GB of memory" * self._group.out_of_memory()
        assert self._watch is not None
        return self._watch.over(self._memory, self._processes)

    def release(self) -> None:
        """Called when all of them have ended."""
        if self._group is not None:
            self._group.remove()
