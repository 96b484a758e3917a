"""The student's process: runs the student's cells; at each test it leaves a snapshot of itself that answers calls.

A test is not here. What is here is a mark where it stands: the process forks, goes on, and its copy waits for the
examiner, frozen as the notebook was at that place. So a test cannot disturb what comes after it, a call that crashes or
never ends takes nothing else with it, and nothing that a test asks is known while the student's cells still run.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
from typing import Any

from coursekit.checks.student import Notebook, Reply
from coursekit.checks.values import Foreign
from coursekit.grading.inside import DISMISSED
from coursekit.grading.inside.cells import Events, run_cells, same_conditions
from coursekit.grading.inside.wire import Garbled, Gone, Line
from coursekit.grading.sandbox import jail, seccomp

HIDDEN = {"In", "Out", "exit", "quit", "get_ipython", "open"}  # of IPython's own


def main(job: dict, descriptors: list[int]) -> None:
    """descriptors: for events, for what is printed below Python, and one for each test in order."""
    events, raw, *channels = descriptors
    _redirect(raw)
    tests = [cell["id"] for cell in job["cells"] if cell["test"]]
    snapshots = Snapshots(dict(zip(tests, channels, strict=True)), events, job)
    jail.limit(job["memory"], job["cpu"])
    seccomp.install()
    run_cells(job, Events(events), at_test=snapshots.take)


def _redirect(raw: int) -> None:
    """What is printed below Python goes to the grader; there is nothing to read from."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(raw, 1)
    os.dup2(raw, 2)
    os.close(nothing)
    os.close(raw)
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for as long as the process lives


class Snapshots:
    """The notebook as it is at each of its tests."""

    def __init__(self, channels: dict[str, int], events: int, job: dict) -> None:
        self._channels, self._events, self._job = channels, events, job
        self._announce: int = job["announce"]  # process 1 spares what is announced to it

    def take(self, test: str) -> str:
        """Leave a copy of this process that answers what is asked about this test. Returns why there is none."""
        channel = self._channels.pop(test)
        try:
            process = os.fork()
        except OSError as error:  # so many processes or so much memory already
            return str(error)
        if process == 0:
            try:
                self._be(channel)
            finally:
                os._exit(DISMISSED)
        os.close(channel)
        with contextlib.suppress(OSError):  # closed by the student: then nobody knows to spare it
            os.write(self._announce, b"%d\n" % process)
        return ""

    def _be(self, channel: int) -> None:
        for descriptor in (self._events, self._announce, *self._channels.values()):
            os.close(descriptor)
        # What is printed while a test runs could be what the test is about: nobody sees it.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        # Twice the time that anybody waits for it: what hangs does not burn on.
        bound = min(int(2 * self._job["cell_limit"]) + 2, resource.getrlimit(resource.RLIMIT_CPU)[1])
        resource.setrlimit(resource.RLIMIT_CPU, (bound, bound))
        same_conditions(self._job["threads"])
        serve(Line(socket.socket(fileno=channel)))


def serve(line: Line) -> None:
    """Answer questions about this notebook until nobody asks any more."""
    notebook = Notebook()
    try:
        while True:
            asked = line.receive(specs=True)
            answer = _answer(notebook, asked)
            try:
                line.send(answer)
            except Garbled as refused:
                line.send(_shortened(answer, str(refused)))
    except Gone:
        return


def _answer(notebook: Notebook, asked: dict) -> dict:
    if asked["ask"] == "names":
        return {"names": names(notebook.namespace)}
    if asked["ask"] == "value":
        reply = notebook.value(asked["name"])
    else:
        reply = notebook.call(asked["name"], asked["arguments"], asked["keywords"], asked["by_hand"])
    return dict(vars(reply))


def _shortened(answer: dict, why: str) -> dict:
    return vars(Reply(value=Foreign(f"too much to hand over: {why}"), changed=answer.get("changed", [])))


def names(namespace: dict[str, Any]) -> dict[str, str]:
    """What the notebook has defined: {name: "function" or "value"}."""
    modules = type(sys)
    return {
        name: "function" if callable(value) else "value"
        for name, value in list(namespace.items())
        if isinstance(name, str) and name not in HIDDEN and name[:1] != "_" and not isinstance(value, modules)
    }
