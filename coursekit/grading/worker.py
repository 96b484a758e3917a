"""The process that runs a notebook without a sandbox: `python -m coursekit.grading.worker`, started by `run.py`.

It reads one line of JSON from stdin (the cells and the settings), runs the cells, and writes events (see
`inside/cells.py`) to what was its stdout.

Where the system allows it, a small supervisor process stays between the two: it adopts whatever the notebook leaves
running and ends it, and it ends everything as soon as stdin closes, so also when the grader itself is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

from coursekit.grading.inside.cells import Events, run_cells

FILE_LIMIT = 2 * 1024**3  # bytes in the largest file a notebook may write


def main() -> None:
    if not hasattr(os, "fork"):  # Windows: one process, ended from outside
        _student_process(json.loads(sys.stdin.buffer.readline()))
        return
    job = json.loads(sys.stdin.buffer.readline())
    _adopt_orphans()
    child = os.fork()
    if child == 0:
        _die_with_parent()
        _student_process(job)
        os._exit(0)
    os.close(1)  # the grader sees the end of the events when the student's process closes its side
    status = _wait(child)
    _end_descendants()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _wait(child: int) -> int:
    """Wait for the student's process; returns its wait status. The grader speaks to us through stdin: a byte means
    "interrupt the cell that runs", the end means "end it all".
    """
    import select

    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if select.select([0], [], [], 0.02)[0]:
            heard = os.read(0, 4096)
            os.kill(child, signal.SIGINT if heard else signal.SIGKILL)
            if not heard:
                return os.waitpid(child, 0)[1]


def _end_descendants(seconds: float = 5.0) -> None:
    """End everything the notebook left running; as their nearest ancestor we have inherited it all."""
    import psutil

    me, until = psutil.Process(), time.monotonic() + seconds
    while time.monotonic() < until and (children := me.children(recursive=True)):
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


def _adopt_orphans() -> None:
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _die_with_parent() -> None:
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _student_process(job: dict) -> None:
    """Keep the way back to the grader on a descriptor of its own; whatever is printed below Python goes to stderr."""
    events = Events(os.dup(1))
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for as long as the process lives
    _limit(job["memory"])
    run_cells(job, events)
    # Not a normal exit: an atexit handler or a thread of the student must not keep us, and all is said.
    os._exit(0)


def _limit(memory: int) -> None:
    """Bounds that turn a slip into an error in the notebook instead of trouble for the machine. Not a sandbox."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")  # if the machine runs out of memory after all, this process goes first
    except (ImportError, OSError, ValueError):
        pass


if __name__ == "__main__":
    main()
