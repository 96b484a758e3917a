"""Grading on the machines of a Dask cluster: one task per submission, sent to a scheduler that is running already.

A task is what a thread of this machine would do: it asks whether its result is on the disk, and if not makes it and
puts it there. So workers may be killed, tasks may run twice, and the scheduler may go away: what is finished stays
finished. Students' code runs in the sandbox that a worker keeps, never in a process of Dask's.

Dask is imported only when a scheduler is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from coursekit.grading.cluster_worker import Wanted, WrongWorker, look, work
from coursekit.grading.course import Course, CourseError

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 8  # for a scheduler to answer
RECONNECT_SECONDS = 30  # for a scheduler that was lost to come back
WORKER_SECONDS = 60  # for a worker to come, at the start and when all are gone
ATTEMPTS = 3  # at a submission that a worker, not the student, failed at
LOOK_EVERY = 0.5  # seconds


class Lost(Exception):
    """A task was given up: the workers that had it died, or the scheduler forgot it."""


def run(
    address: str, course: Course, function: Callable[..., Any], calls: Mapping[str, tuple], isolation: str,
    tick: Callable[[], object] = lambda: None,
) -> Generator[tuple[str, Any], None, None]:  # fmt: skip
    """Call `function(*arguments, pool=, cancel=)` on the workers of the scheduler at `address` for each of `calls`.

    Yields (name, what the function returned, or the exception that it ended with at last), as they come; a return
    value with an `error` is tried again like an exception. Closed before its end, it cancels what is left.
    tick: called now and then while nothing comes.
    CourseError if the scheduler cannot be reached or is lost, if no worker is there, or if one cannot grade.
    """
    wanted = Wanted.like_here(isolation)
    with _connect(address) as client:
        _check_workers(client, address, course, wanted)
        yield from _Tasks(client, address, function, wanted, tick).run(calls)


# --- on this machine -----------------------------------------------------------------------------------------------


class _Tasks:
    """What was sent and has not come back yet."""

    def __init__(
        self, client: Client, address: str, function: Callable[..., Any], wanted: Wanted, tick: Callable[[], object]
    ) -> None:
        self._client, self._address, self._function, self._wanted = client, address, function, wanted
        self._tick = tick
        self._run = uuid.uuid4().hex[:12]  # tasks of another grading, also of the same submission, are others
        self._number = itertools.count()
        self._sent: dict[Any, tuple[str, Future]] = {}  # by key
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._attempts: dict[str, int] = {}

    def run(self, calls: Mapping[str, tuple]) -> Generator[tuple[str, Any], None, None]:
        try:
            for name, arguments in calls.items():
                self._send(name, arguments)
            while self._sent:
                name, future = self._sent.pop(self._next_key())
                outcome = self._outcome(future)
                if isinstance(outcome, WrongWorker):
                    raise CourseError(str(outcome))
                failed = isinstance(outcome, Exception) or bool(getattr(outcome, "error", None))
                if failed and self._attempts[name] < ATTEMPTS:
                    self._send(name, calls[name])
                else:
                    yield name, outcome
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self._client.cancel([future for _, future in self._sent.values()], force=True)

    def _send(self, name: str, arguments: tuple) -> None:
        self._attempts[name] = self._attempts.get(name, 0) + 1
        key = f"coursekit-{self._run}-{next(self._number)}"
        future = self._client.submit(work, self._function, arguments, self._wanted, key=key, pure=False)
        self._sent[key] = name, future
        future.add_done_callback(lambda future: self._done.put(future.key))

    def _next_key(self) -> Any:
        """Of the next one that is done, one way or the other."""
        seen = time.monotonic()  # a worker
        while True:
            with contextlib.suppress(queue.Empty):
                return self._done.get(timeout=LOOK_EVERY)
            self._tick()
            self._await_scheduler()
            with contextlib.suppress(OSError):
                if self._client.scheduler_info()["workers"]:
                    seen = time.monotonic()
            if time.monotonic() - seen > WORKER_SECONDS:
                raise CourseError(
                    f"the scheduler at {self._address} has no worker left; start some and grade again: "
                    "what was finished is kept"
                )

    def _outcome(self, future: Future) -> Any:
        """What the function returned, or an exception."""
        if future.status == "finished":
            with contextlib.suppress(Exception):  # its worker died before it was fetched
                return future.result(timeout=CONNECT_SECONDS)
        if future.status == "error":
            error = future.exception(timeout=CONNECT_SECONDS)
            return error if isinstance(error, Exception) else Lost(str(error))
        self._await_scheduler()
        return Lost("the scheduler lost the task")

    def _await_scheduler(self) -> None:
        """Give a scheduler that was restarted time to come back."""
        deadline = time.monotonic() + RECONNECT_SECONDS
        while self._client.status != "running":
            if self._client.status != "connecting" or time.monotonic() > deadline:
                raise _gone(self._address)
            time.sleep(LOOK_EVERY)


@contextlib.contextmanager
def _connect(address: str) -> Iterator[Client]:
    import distributed
    from dask import config

    # A Client that finds nobody says so in several tracebacks; so look first whether somebody is there.
    try:
        asyncio.run(_knock(address))
    except ValueError as error:
        raise CourseError(f"--scheduler {address}: {error}; it is written tcp://HOST:PORT") from error
    except OSError as error:
        raise CourseError(
            f"--scheduler {address}: no Dask scheduler answers there within {CONNECT_SECONDS} s; "
            "start one with: dask scheduler"
        ) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # we say in our own words that it is gone
    warnings.filterwarnings("ignore", category=distributed.versions.VersionMismatchWarning)  # so is this
    with config.set({"distributed.comm.timeouts.connect": f"{RECONNECT_SECONDS}s"}):
        client = distributed.Client(address, timeout=RECONNECT_SECONDS, set_as_default=False, name="coursekit")
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=LOOK_EVERY * 4)


async def _knock(address: str) -> None:
    from distributed.comm import connect

    comm = await connect(address, timeout=CONNECT_SECONDS)
    await comm.close()


def _check_workers(client: Client, address: str, course: Course, wanted: Wanted) -> None:
    """Find out now, and not in every task, whether the workers can do it."""
    with _token(course) as token:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
            answers = client.run(look, wanted, token, on_error="return")
        except TimeoutError:
            raise CourseError(
                f"the scheduler at {address} has no workers; start some with: dask worker {address}"
            ) from None
        except OSError as error:
            raise _gone(address) from error
    for worker, problem in answers.items():
        if isinstance(problem, OSError):
            continue  # it went away just now
        if isinstance(problem, Exception):
            problem = f"cannot grade ({problem}); is coursekit[cluster,grading] installed there?"
        if problem:
            raise CourseError(f"the worker {worker} {problem}")


def _gone(address: str) -> CourseError:
    return CourseError(f"the scheduler at {address} is gone; start it and grade again: what was finished is kept")


@contextlib.contextmanager
def _token(course: Course) -> Iterator[str]:
    """A file that a worker sees only if it sees the same folder of the course. Yields its path; it holds its name."""
    folder = course.dir / "build"
    folder.mkdir(exist_ok=True)
    path = folder / f".seen-{uuid.uuid4().hex}"
    path.write_text(path.name)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)
