"""What a worker of a Dask cluster does for `cluster`: says whether it can grade, and runs one task after the other.

Students' code runs in a sandbox of this process's own (`isolated.Pool`), which all its tasks share.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coursekit.grading import isolated, results, sandbox

if TYPE_CHECKING:
    from distributed import Worker

IDLE_SECONDS = 60  # after which the sandbox is ended
LOOK_EVERY = 0.5  # seconds


class WrongWorker(Exception):
    """A worker that cannot grade: it lacks something, or differs from the machine that asks. Says what to do."""


@dataclass(frozen=True)
class Wanted:
    """What a worker must have in common with the machine that asks, and the sandbox it must be able to start."""

    python: str
    distributed: str
    code: str
    isolation: str

    @staticmethod
    def like_here(isolation: str) -> Wanted:
        """Of this process, on whichever machine it runs."""
        python = ".".join(platform.python_version_tuple()[:2])
        return Wanted(python, metadata.version("distributed"), CODE, isolation)

    def lacking(self) -> str:
        """What a person must mend on this machine; empty if nothing."""
        here = Wanted.like_here(self.isolation)
        for what, name in (("python", "Python"), ("distributed", "the package distributed"), ("code", "coursekit")):
            asked, found = getattr(self, what), getattr(here, what)
            if asked != found:
                which = f" ({found}, not {asked})" if what != "code" else ""
                return f"has another version of {name}{which}; install the same everywhere, and start it anew"
        if self.isolation == "none":
            return ""
        try:
            sandbox.nesting()
        except sandbox.Unavailable as unavailable:
            return f"has no sandbox: {unavailable.reason}; {unavailable.remedy}"
        return ""


CODE = (
    results.code()
)  # at import: a worker that was started before an update runs the old code, whatever is on its disk


def look(wanted: Wanted, token: str) -> str:
    """Why this worker cannot grade; empty if it can."""
    path = Path(token)
    try:
        same = path.read_text() == path.name
    except OSError:
        same = False
    if not same:
        return f"does not see the folder {path.parents[1]}; share it, under the same name"
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        return f"cannot write to {path.parent} ({error.strerror}); let its user write there"
    return wanted.lacking()


def work(function: Callable[..., Any], arguments: tuple, wanted: Wanted) -> Any:
    """What a task does."""
    from distributed import get_worker

    worker = get_worker()
    if lacking := _lacking(wanted):
        raise WrongWorker(f"the worker {worker.address} {lacking}")
    with _keeper.pool(wanted.isolation) as pool, _cancelled_with(worker) as cancel:
        return function(*arguments, pool=pool, cancel=cancel)


@contextlib.contextmanager
def _cancelled_with(worker: Worker) -> Iterator[threading.Event]:
    """An event that is set when nobody wants the running task any more: Dask itself lets it run on."""
    cancel, over, key = threading.Event(), threading.Event(), worker.get_current_task()

    def watch() -> None:
        while not over.wait(LOOK_EVERY):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                cancel.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield cancel
    finally:
        over.set()
        thread.join()


class _Keeper:
    """The sandbox that all tasks of a worker share: started by the first, ended when for a while none has come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Any = None
        self._users = 0
        self._last = 0.0

    @contextlib.contextmanager
    def pool(self, isolation: str) -> Iterator[Any]:
        """None where there is to be no isolation."""
        if isolation == "none":
            yield None
            return
        with self._lock:
            self._pool = self._pool or isolated.Pool()
            self._users += 1
        try:
            yield self._pool
        finally:
            with self._lock:
                self._users -= 1
                self._last = time.monotonic()
            timer = threading.Timer(IDLE_SECONDS, self._end_if_idle)
            timer.daemon = True
            timer.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            if self._pool is not None and not self._users and time.monotonic() - self._last >= IDLE_SECONDS:
                self._pool.close()
                self._pool = None


_keeper = _Keeper()
_lacking = functools.cache(Wanted.lacking)  # once per process
