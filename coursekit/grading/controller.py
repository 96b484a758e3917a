"""Who does what in a grading: finished results are taken from the disk, the others are made by threads of this process
or by a cluster, and this thread, and no other, records them as they come.

Nothing here runs students' code or imports torch. Killed at any moment, the next run goes on where this one was.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from coursekit.grading import submissions, task
from coursekit.grading.assignment import Assignment
from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book
from coursekit.grading.progress import Progress
from coursekit.grading.record import read_back, record
from coursekit.grading.results import Conditions, Graded, Results, key, sync_folder
from coursekit.grading.sandbox import bubblewrap

LOOK_EVERY = 0.5  # seconds
SHARED_DISK = 90  # seconds that a file may take to be seen on another machine


@dataclass(frozen=True)
class Means:
    """With what to grade. jobs: submissions at once on this machine. scheduler: of a cluster, "" for this machine.
    pool: a sandbox that is there already; None starts one when it is needed. again: also what is finished."""

    jobs: int = 1
    scheduler: str = ""
    pool: task.Pool | None = None
    again: bool = False


def grade_all(
    course: Course, book: Book, assignment: Assignment, names: list[str], conditions: Conditions, means: Means,
    start: Callable[[int], object],
) -> dict[str, Graded]:  # fmt: skip
    """Grade and record. Returns everybody's result, without the notebooks, which for a large class fill the memory.

    start: called with the number of results that are there already, before any submission is run.
    """
    desk = _Desk(course, book, assignment, conditions)
    if means.again:
        desk.forget(names)
    there = [name for name in names if desk.has(name)]
    waiting = sorted(set(names).difference(there))
    start(len(there))
    results = {}
    with Progress(len(there)) as progress:
        for name in there:
            results[name] = desk.take(name)
            progress.one_more()
    with Progress(len(waiting)) as progress, contextlib.closing(_run(desk, waiting, means, progress)) as finished:
        for name, outcome in finished:
            results[name] = desk.take(name, outcome)
            progress.one_more()
    desk.clean()
    return results


class _Desk:
    """Where results come in, one at a time."""

    def __init__(self, course: Course, book: Book, assignment: Assignment, conditions: Conditions) -> None:
        self.course, self.assignment, self.conditions = course, assignment, conditions
        self._book = book
        self._results = Results(course.results / assignment.name)
        self._kept: list[tuple[str, str]] = []

    def _key(self, name: str) -> str:
        return key(self._read(name), self.assignment, self.conditions)

    def _read(self, name: str) -> submissions.Submission:
        return submissions.read(self.course, self.assignment.name, name, self.assignment.templates)

    def has(self, name: str) -> bool:
        """Whether there is a finished result for what is handed in now."""
        try:
            return self._results.load(name, self._key(name)) is not None
        except OSError:  # the run will say what is wrong
            return False

    def forget(self, names: list[str]) -> None:
        """Have all of them made again."""
        for name in names:
            with contextlib.suppress(OSError):
                self._results.forget(name, self._key(name))

    def take(self, name: str, outcome: Graded | Exception | None = None) -> Graded:
        """Record a result. outcome: what making it came to; None if it was there."""
        if isinstance(outcome, Exception):
            return task.failed(self.assignment, name, f"{type(outcome).__name__}: {outcome}")
        if outcome is not None and outcome.error:
            return outcome
        try:
            submission = self._read(name)
            found = outcome.key if outcome is not None else key(submission, self.assignment, self.conditions)
            result = self._results.load(name, found)
            if result is None:
                raise FileNotFoundError("the finished result is not there any more")
            record(self.course, self._book, self.assignment, submission, result)
            read_back(self._book, self.assignment.name, result)
        except CourseError:
            raise  # the gradebook itself: no use to go on
        except Exception as error:
            where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            reason = f"could not be recorded: {where}{getattr(error, 'strerror', None) or error}"
            return task.failed(self.assignment, name, reason)
        self._kept.append((name, found))
        result.notebooks.clear()
        return result

    def await_file(self, outcome: Graded | Exception) -> None:
        """What another machine wrote may take a while to be seen on a disk that is shared."""
        deadline = time.monotonic() + SHARED_DISK
        while isinstance(outcome, Graded) and outcome.key and time.monotonic() < deadline:
            if self._results.load(outcome.student, outcome.key) is not None:
                return
            sync_folder(self._results.folder)  # opened, it is asked for anew
            time.sleep(LOOK_EVERY)

    def clean(self) -> None:
        """Remove results of versions that are no more."""
        self._results.clean(self._kept)


def _run(
    desk: _Desk, names: list[str], means: Means, progress: Progress
) -> Generator[tuple[str, Graded | Exception], None, None]:
    """Results as they come in."""
    if not names:
        return
    if means.scheduler:
        from coursekit.grading import cluster

        calls = {name: (str(desk.course.dir), desk.assignment.name, name, desk.conditions) for name in names}
        on_cluster = cluster.run(
            means.scheduler, desk.course, task.grade_one, calls, desk.conditions.isolation, progress.look
        )
        with contextlib.closing(on_cluster) as finished:
            for name, outcome in finished:
                desk.await_file(outcome)
                yield name, outcome
        return
    if desk.conditions.isolation != "none" and (above := bubblewrap.shows(desk.course.dir.resolve())):
        raise CourseError(
            f"the course lies in {above}, which students' code can read for the Python in it: move the course elsewhere"
        )
    with _pool(desk.conditions, means) as pool:

        def work(name: str, cancel: threading.Event) -> Graded:
            return task.grade_submission(desk.course, desk.assignment, name, desk.conditions, pool, cancel)

        yield from _in_threads(work, names, means.jobs, progress)


@contextlib.contextmanager
def _pool(conditions: Conditions, means: Means) -> Iterator[task.Pool]:
    """What runs the notebooks. CourseError, with the remedy, if that needs a sandbox and there is none."""
    if conditions.isolation == "none":
        yield task.NotIsolated()
    elif means.pool is not None:
        yield means.pool
    else:
        with start_pool() as pool:
            yield pool


@contextlib.contextmanager
def start_pool() -> Iterator[task.Pool]:
    """A sandbox, ready to run. CourseError, with the remedy, if there is none on this machine."""
    from coursekit.grading import isolated, sandbox

    try:
        pool = isolated.Pool()
    except sandbox.Unavailable as unavailable:
        raise CourseError(
            f"students' code cannot be kept in here: {unavailable.reason}. {unavailable.remedy}; or, only for people "
            "you trust: --isolation none"
        ) from unavailable
    with pool:
        yield pool


def _in_threads(
    work: Callable[[str, threading.Event], Graded], names: list[str], jobs: int, progress: Progress
) -> Generator[tuple[str, Graded | Exception], None, None]:
    """Each thread waits for the processes that run one submission. Closed before its end, it stops all that runs."""
    cancel = threading.Event()
    pool = ThreadPoolExecutor(max_workers=jobs)
    futures: dict[Future[Graded], str] = {pool.submit(work, name, cancel): name for name in names}
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
            for future in done:
                yield futures[future], future.exception() or future.result()  # type: ignore[misc]
            progress.look()
    finally:
        cancel.set()
        pool.shutdown(wait=True, cancel_futures=True)
