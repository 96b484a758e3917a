"""Process 1 of a submission: it runs nobody's code, and sees to it that nothing else runs than what is asked for.

Orders from the grader, of one letter each:

    i    interrupt the student's process, as the stop button does
    k    the cells are done: end that process and all that it has started, but for the snapshots
    s    end the snapshot whose test is run, and all but the snapshots that still wait
    n    the next test: the same, and the next snapshot is the one whose test is run

What the student's process announces are the numbers of its snapshots, in the order of their tests. It may lie, and
loses its own points by that. When the grader closes its end, process 1 ends, and by the kernel's rule all else with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Iterable
from typing import NoReturn

from coursekit.grading.inside import DISMISSED

OFTEN = 0.02  # seconds between two looks at what has ended
MOST_SNAPSHOTS = 1000


class Keeper:
    """control: the way to the grader. process: the student's (or the examiner's). announced: where the numbers of
    snapshots are read."""

    def __init__(self, control: socket.socket, process: int, announced: int) -> None:
        self._control, self._process = control, process
        self._sources = [control.fileno(), announced]
        self._rest = b""
        self._snapshots: list[int] = []  # whose tests are not over
        self._ended_by_us: set[int] = set()

    def keep(self) -> NoReturn:
        """Our whole life."""
        control, announced = self._sources
        while True:
            self._reap()
            ready = select.select(self._sources, [], [], OFTEN)[0]
            if announced in ready:
                self._listen(announced)
            if control in ready:
                self._obey(self._control.recv(1))

    def _listen(self, announced: int) -> None:
        text = os.read(announced, 4096)
        if not text:  # nobody is left who could announce anything
            self._sources.remove(announced)
        *lines, self._rest = (self._rest + text).split(b"\n")
        numbers = [int(line) for line in lines if line.isdigit() and len(line) < 10]
        self._snapshots = [*self._snapshots, *(number for number in numbers if number > 1)][:MOST_SNAPSHOTS]
        self._rest = self._rest[:10]

    def _obey(self, order: bytes) -> None:
        if not order:
            os._exit(0)
        if order == b"i" and self._process:
            os.kill(self._process, signal.SIGINT)
        elif order == b"k":
            self._end_all_but(self._snapshots)
        elif order == b"s":
            self._end_all_but(self._snapshots[1:])
        elif order == b"n":
            self._snapshots = self._snapshots[1:]
            self._end_all_but(self._snapshots)

    def _end_all_but(self, spared: Iterable[int]) -> None:
        """All are stopped first, until none is new: what starts one process after the other is hard to catch else."""
        kept = {1, os.getpid(), *spared}
        stopped: set[int] = set()
        while new := {int(name) for name in os.listdir("/proc") if name.isdigit()} - kept - stopped:
            _signal(new, signal.SIGSTOP)
            stopped |= new
        _signal(stopped, signal.SIGKILL)
        self._ended_by_us |= stopped

    def _reap(self) -> None:
        """Take leave of all that has ended; tell the grader of what did so by itself."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                process, code = ended[0], os.waitstatus_to_exitcode(ended[1])
                if process == self._process:
                    tell(self._control, {"ended": code})
                    self._process = 0
                elif code != DISMISSED and process not in self._ended_by_us:
                    tell(self._control, {"left": code})
                self._ended_by_us.discard(process)


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def tell(control: socket.socket, message: dict) -> None:
    """Tell the grader something, in a line of JSON."""
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        os._exit(0)  # the grader is gone
