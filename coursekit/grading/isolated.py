"""Running a notebook of somebody nobody knows: `Pool.run` is `run.run`, in a sandbox and with the tests elsewhere.

First the student's process runs the student's cells, and leaves a snapshot of itself at each test; then, when nothing
of it is listened to any more, the examiner runs the tests and calls the student's functions in the snapshots. Both are
forked from preloaded zygotes (`inside/zygote.py`), each zygote in a sandbox of its own (`sandbox/`). This process keeps
the time, from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from nbformat import NotebookNode

from coursekit.grading import sandbox
from coursekit.grading.attempt import (
    GRACE,
    NOT_REACHED,
    START_LIMIT,
    WATCH_EVERY,
    Attempt,
    Cancelled,
    Given,
    Limits,
    Outcome,
    Process,
    Run,
    RunError,
    is_test,
    plain,
)
from coursekit.grading.inside import ENDED
from coursekit.grading.limits import CELL_LIMIT, TIME_LIMIT
from coursekit.grading.pipes import Pipes, in_words
from coursekit.grading.sandbox import bubblewrap

MEMORY_LIMIT = 3 * 1024**3  # bytes, all processes of a submission together, beyond what is preloaded
PROCESS_LIMIT = 128
CHECK_GRACE = 60.0  # seconds of a test's own, beyond what the student may take, before we think that it hangs
LOST_AFTER = 0.5  # seconds in which we hear that process 1 is gone, after what it had started
SLOW_MACHINE = 10.0  # seconds for something that takes milliseconds
NOTHING_GIVEN = Given()


class Pool:
    """Two zygotes, ready to fork. Several threads may call `run` at once. A context manager.

    Raises sandbox.Unavailable, with reason and remedy, if this machine has no sandbox.
    """

    def __init__(self) -> None:
        self._nested = sandbox.nesting()
        folders = tuple(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path))
        self._student = Zygote("student", self._nested)
        self._examiner = Zygote("examiner", self._nested, folders)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until both are ready. Raises RunError. `run` does it, too."""
        self._student.wait()
        self._examiner.wait()

    def close(self) -> None:
        """End both zygotes, and with them all that they have started."""
        self._student.close()
        self._examiner.close()
        sandbox.cgroup.tidy()

    def run(
        self, notebook: NotebookNode, *, skip: Iterable[str] = (), files: Iterable[tuple[str, Path]] = (),
        given: Given = NOTHING_GIVEN, cell_limit: float = CELL_LIMIT, time_limit: float = TIME_LIMIT,
        cancel: threading.Event | None = None, progress: Callable[[int, int], object] | None = None,
    ) -> Run:  # fmt: skip
        """See `run.run`. time_limit holds for the student's cells; the calls of each test may take cell_limit.

        RunError: something of ours failed, a zygote was killed for instance; it is started anew for the next one.
        """
        limits = Limits(cell_limit, time_limit)
        submission = Submission(self, notebook, skip, limits, cancel, dict(files), given, progress)
        try:
            submission.run()
            submission.examine()
        finally:
            submission.end()
        return submission.result()

    def student(self, job: dict, files: dict[str, Path], channels: list[socket.socket]) -> Child:
        """A process for the student's cells. channels: one end of a socket for each test."""
        return self._child(self._student, job, files, channels)

    def examiner(self, job: dict, files: dict[str, Path], channels: list[socket.socket]) -> Child:
        """A process for the test cells."""
        return self._child(self._examiner, job, files, channels)

    def _child(self, zygote: Zygote, job: dict, files: dict[str, Path], channels: list[socket.socket]) -> Child:
        if self._nested:
            return Child(zygote, job, files, channels)
        # Where a sandbox cannot be made within a sandbox, each gets a zygote of its own: slower by its imports.
        return Child(zygote.another(), job, files, channels, last=True)


class Submission(Attempt):
    """One notebook: an attempt whose tests are marks, and the examination after it."""

    def __init__(
        self, pool: Pool, notebook: NotebookNode, skip: Iterable[str], limits: Limits, cancel: threading.Event | None,
        files: dict[str, Path], given: Given, progress: Callable[[int, int], object] | None,
    ) -> None:  # fmt: skip
        super().__init__(notebook, skip, limits, cancel, self._launch, progress)
        self._pool, self._given, self._files = pool, given, files | dict(given.files)
        self.tests = [id for id, cell in self.cells.items() if is_test(cell)]
        self._channels: dict[str, socket.socket] = {}
        self._process: Child | None = None
        self._taken: set[str] = set()

    def run(self) -> None:
        """Run the student's cells; afterwards the process that did it to the end is there with its snapshots."""
        complete = False
        while not complete:
            job = self.job()
            order = [cell["id"] for cell in job["cells"]]
            self._taken.clear()
            started = time.monotonic()
            process = self._launch(job)
            if self.outcomes:  # to start again, for the sake of the other questions, is on the student's time
                self.left -= time.monotonic() - started
            try:
                complete = self._follow(process, order) or self.out_of_time
            finally:
                self.take_raw_output(process, order)
            if not complete:
                self.end()

    def pending(self) -> list[str]:
        """The student's cells that still have to be run."""
        return [id for id in super().pending() if id not in self.tests]

    def job(self) -> dict:
        """What the next process runs: all that did no harm; of a test there is only its place."""
        cells = []
        for id, cell in self.cells.items():
            test, done = is_test(cell), self.outcomes.get(id)
            if done is None or (done.status in ("ran", "raised") and not test):
                cells.append({"id": id, "source": "" if test else cell.source, "test": test})
        return {
            "cells": cells, "threads": 1, "cell_limit": self.limits.cell, "memory": MEMORY_LIMIT,
            "cpu": 2 * self.limits.total,
        }  # fmt: skip

    def finish(self, id: str, outcome: Outcome) -> None:
        """A test that ends here has only left its snapshot."""
        if id not in self.tests:
            super().finish(id, outcome)
        elif outcome.status == "ran":
            self._taken.add(id)
        else:
            super().finish(id, Outcome("died", plain(f"the notebook was in no state to be asked: {outcome.reason}")))

    def _launch(self, job: dict) -> Child:
        pairs = {cell["id"]: socket.socketpair() for cell in job["cells"] if cell["test"]}
        self._channels = {id: ours for id, (ours, _) in pairs.items()}
        theirs = [end for _, end in pairs.values()]
        try:
            self._process = self._pool.student(job, self._files, theirs)
        finally:
            for end in theirs:
                end.close()
        return self._process

    # --- the examination

    def examine(self) -> None:
        """Let the tests ask the snapshots."""
        assert self._process is not None
        self._process.mute()
        for id in self.tests:
            if id not in self._taken and id not in self.outcomes:
                self.outcomes[id] = Outcome("timed out", f"{NOT_REACHED}: the notebook did not come so far")
        waiting = self._ask([id for id in self.tests if id in self._taken])
        while waiting:
            waiting = self._ask(waiting)

    def _ask(self, tests: list[str]) -> list[str]:
        """Have an examiner run these tests. Returns those that it did not come to: a test that never ends, perhaps for
        what the student's function returned, costs its examiner, and the others get another."""
        job = {
            "imports": list(self._given.imports), "setup": [self._cell(id) for id in self._setup()],
            "tests": [self._cell(id) for id in tests], "threads": 1,
            "cell_limit": self.limits.cell,
        }  # fmt: skip
        examiner = self._pool.examiner(job, dict(self._given.files), [self._channels[id] for id in tests])
        try:
            self.await_ready(examiner)
            return self._follow_tests(examiner, tests)
        finally:
            examiner.end()

    def _setup(self) -> list[str]:
        """The notebook's own locked cells, which repair has put back as they should be."""
        return [
            id
            for id, cell in self.cells.items()
            if (meta := cell.metadata.get("nbgrader", {})).get("locked") and not meta.get("grade")
        ]

    def _cell(self, id: str) -> dict:
        return {"id": id, "source": self.cells[id].source}

    def _follow_tests(self, examiner: Child, tests: list[str]) -> list[str]:
        """Take the examiner's word for everything: it runs nothing of the student's. Returns the tests it left out."""
        current = ""
        until = time.monotonic() + self.limits.cell + CHECK_GRACE
        watched = time.monotonic()
        while True:
            if self.cancel.is_set():
                raise Cancelled
            if time.monotonic() > until:
                too_long = f"it did not end in {self.limits.cell + CHECK_GRACE:g} s"
                if current not in tests:
                    raise RunError(f"the notebook's own cell {current!r}: {too_long}")
                self._close(current)
                self.outcomes[current] = Outcome("failed", too_long)
                return tests[tests.index(current) + 1 :]
            if time.monotonic() - watched > WATCH_EVERY:
                watched = time.monotonic()
                if self._process is not None:
                    self._process.curb()
            event = examiner.next_event(0.1)
            if event is None:
                continue
            kind, id = event.get("event"), str(event.get("cell"))
            if kind == "done":
                return []
            if kind == "gone":
                raise RunError(f"the examiner did not finish: {examiner.last_words()}")
            if kind == "start":
                current, until = id, time.monotonic() + self.limits.cell + CHECK_GRACE
                if id in self.tests:
                    self.outputs[id] = []
            elif kind == "output" and id in self.tests:
                self.take_output(id, event.get("output"))
            elif kind == "end":
                self._judge(id, event)
                self._close(id)

    def _close(self, test: str) -> None:
        """Nobody asks this test's snapshot any more."""
        if (channel := self._channels.pop(test, None)) is not None:
            channel.close()
            if self._process is not None:
                self._process.next_test()

    def _judge(self, id: str, event: dict) -> None:
        if event.get("fate"):
            reason = event["reason"]
            if reason == ENDED and self._process is not None:
                reason = self._process.last_death() or reason
            outcome = Outcome(event["fate"], reason)
        elif event.get("ok"):
            outcome = Outcome("ran")
        else:
            outcome = Outcome("raised", plain(event.get("error")))
        # For a locked cell this replaces what became of it beside the student's code: that is not ours to answer for.
        self.outcomes[id] = outcome
        if self.progress is not None:
            self.progress(len(self.outcomes), len(self.cells))

    def end(self) -> None:
        """End all that is left of the student's."""
        for channel in self._channels.values():
            channel.close()
        if self._process is not None:
            self._process.end()
            self._process = None


class Zygote:
    """A preloaded process in a sandbox. Started when it is first needed, and again when it has gone."""

    def __init__(self, role: str, nested: bool, folders: tuple[str, ...] = ()) -> None:
        self._settings = role, nested, folders
        self._command = bubblewrap.command(
            "-m", "coursekit.grading.inside.zygote", role, "nested" if nested else "alone",
            nested=nested, folders=folders,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen | None = None
        if nested:
            with self._lock:
                self._start()

    def another(self) -> Zygote:
        """One like this, for a single child."""
        return Zygote(*self._settings)

    def fork(self, descriptors: list[int]) -> None:
        """Have a child forked that holds these descriptors. Raises RunError."""
        with self._lock:
            self._revive()
            try:
                assert self._socket is not None
                socket.send_fds(self._socket, [b"fork"], descriptors)
            except OSError as error:
                self._stop()
                raise RunError(f"the zygote is gone: {error.strerror}") from error

    def wait(self) -> None:
        """Wait until it is ready to fork. Raises RunError. One for a single child starts only with it."""
        if self._settings[1]:
            with self._lock:
                self._revive()

    def close(self) -> None:
        """End it, and all that it has started."""
        with self._lock:
            self._stop()

    def _revive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        self._await_ready()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process lives
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise RunError(f"no sandbox could be started: {error.strerror}") from error
        self._socket, self._ready = ours, False

    def _await_ready(self) -> None:
        if self._ready:
            return
        assert self._socket is not None
        self._socket.settimeout(START_LIMIT)
        try:
            self._ready = self._socket.recv(16) == b"ready"
        except OSError:
            self._ready = False
        if not self._ready:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            self._stop()
            raise RunError(f"the zygote did not start: {said[-1] if said else 'it said nothing'}")

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._errors.close()
        self._socket = self._process = None


class Child(Process):
    """A submission's process 1, and the process that it starts and speaks for.

    last: the zygote was for this one only, and ends with it.
    """

    def __init__(
        self, zygote: Zygote, job: dict, files: dict[str, Path], channels: list[socket.socket], last: bool = False
    ) -> None:
        self._zygote, self._last = zygote, last
        self._code: int | None = None
        self._failure, self._excess = "", ""
        self._deaths: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._lost = threading.Event()  # process 1 is gone, which nothing in there can bring about
        self._control, theirs = socket.socketpair()
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        events, raw = os.pipe(), os.pipe()
        handed_over = [theirs.fileno(), events[1], raw[1], *(channel.fileno() for channel in channels)]
        try:
            zygote.fork(handed_over)
        except RunError:
            for descriptor in (*events, *raw):
                os.close(descriptor)
            self._control.close()
            raise
        finally:
            theirs.close()
        os.close(events[1])
        os.close(raw[1])
        self._pipes = Pipes(os.fdopen(events[0], "rb", buffering=0), os.fdopen(raw[0], "rb", buffering=0))
        self._pidfd, self.pid = -1, 0
        try:
            self._meet()
            self._bounds = sandbox.Bounds(self.pid, MEMORY_LIMIT, PROCESS_LIMIT)
            self._send(job, files)
        except BaseException:
            self.end()
            raise
        threading.Thread(target=self._listen, daemon=True).start()

    def _meet(self) -> None:
        """Wait for process 1, whose number in our own world comes from the kernel."""
        self._control.settimeout(SLOW_MACHINE + GRACE)
        try:
            said, ancillary, _, _ = self._control.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize("3i")))
        except OSError as error:
            raise RunError(f"a process did not come up in the sandbox: {error}") from error
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                self.pid = struct.unpack("3i", data[: struct.calcsize("3i")])[0]
        message = json.loads(said.partition(b"\n")[0] or b"{}")
        if "here" not in message or not self.pid:
            raise RunError(f"a process did not come up in the sandbox: {message.get('failed', 'it ended')}")
        self._pidfd = os.pidfd_open(self.pid)

    def _send(self, job: dict, files: dict[str, Path]) -> None:
        contents = {relative: path.read_bytes() for relative, path in files.items()}
        sizes = [[relative, len(content)] for relative, content in contents.items()]
        self._control.settimeout(START_LIMIT)
        try:
            self._control.sendall(json.dumps(job | {"files": sizes}).encode() + b"\n")
            for content in contents.values():
                self._control.sendall(content)
            self._control.sendall(b"\n")
        except OSError as error:
            raise RunError(f"a process in the sandbox did not take its job: {error}") from error
        self._control.settimeout(None)

    def _listen(self) -> None:
        """What process 1 tells: that the other has ended, or that something of ours failed."""
        with contextlib.suppress(OSError, ValueError), self._control.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                self._failure = message.get("failed", self._failure)
                self._code = message.get("ended", self._code)
                if "left" in message:
                    self._deaths.put(message["left"])
                if message.keys() & {"ended", "failed"}:
                    self._over()
        self._lost.set()
        self._over()

    def _over(self) -> None:
        self._ended.set()
        self._pipes.gone()

    def next_event(self, timeout: float) -> dict | None:
        """The next event; None if there is none in so many seconds."""
        return self._pipes.next_event(timeout)

    def raw_output(self) -> dict[int, str]:
        """What was printed below Python, by the place of the cell in the job."""
        return self._pipes.raw_output()

    def interrupt(self) -> bool:
        """Ask the running cell to stop, as the stop button does."""
        return self._order(b"i")

    def mute(self) -> None:
        """The student's cells are done: nothing more is heard of them, and what still runs of them is ended."""
        self._order(b"k")
        self._pipes.stop()

    def next_test(self) -> None:
        """The snapshot of the test that was run is ended, with all that it has started."""
        self._excess = ""
        self._order(b"n")

    def curb(self) -> None:
        """While a test is run: if the submission uses too much, end all but the snapshots that wait. Where the kernel
        keeps the bounds, it has ended what went beyond them itself."""
        if not self._bounds.by_kernel and (excess := self._bounds.exceeded()):
            self._excess = excess
            self._order(b"s")  # the examiner sees that nobody answers

    def _order(self, order: bytes) -> bool:
        try:
            self._control.sendall(order)
        except OSError:
            return False
        return True

    def too_much(self) -> str:
        """What all processes of the submission together use more of than they may."""
        self._excess = self._excess or self._bounds.exceeded()
        return self._excess

    def last_words(self) -> str:
        """Why the process is gone, in words. Raises RunError if it is not the notebook's doing."""
        self._ended.wait(GRACE)
        if self._failure:
            return self._failure
        if reason := self.too_much():
            return reason
        if self._code is None:
            self._check_there()
        return in_words(self._code) if self._code is not None else "the notebook cut its connection to the grader"

    def last_death(self) -> str:
        """Why the last of the other processes that ended did, in words; empty if nothing is known."""
        code = None
        with contextlib.suppress(queue.Empty):
            code = self._deaths.get(timeout=GRACE)
            while True:
                code = self._deaths.get_nowait()
        if code is not None:
            return in_words(code)
        if not self.too_much():
            self._check_there()
        return self._excess

    def _check_there(self) -> None:
        if self._lost.wait(LOST_AFTER):
            raise RunError("the sandbox ended while a notebook was run: its zygote or its first process was killed")

    def end(self) -> None:
        """End process 1, and with it, by the kernel's own rule, all of its namespace."""
        self._pipes.stop()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        if self._pidfd >= 0:
            if not select.select([self._pidfd], [], [], SLOW_MACHINE)[0]:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                select.select([self._pidfd], [], [], SLOW_MACHINE)
            os.close(self._pidfd)
            self._pidfd = -1
            self._bounds.release()
        if self._last:
            self._zygote.close()
        self._pipes.close(GRACE)
