"""One notebook on its way through as many processes as it takes, and what became of each of its cells.

When the process dies, or a cell does not end, that cell is the culprit: a fresh process runs the notebook without it,
so that every other question still gets its points. How a process is started is for `run` and `isolated` to say.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import nbformat
from nbformat import NotebookNode, from_dict

from coursekit.grading.inside.cells import is_result
from coursekit.grading.limits import OUTPUTS_LIMIT, RICH_LIMIT, TEXT_LIMIT

START_LIMIT = 120.0  # seconds for a process to come up: the machine's time, not the student's
NOT_REACHED = "not reached"  # how a reason begins when the time was used up before
PARTS_LIMIT = 500  # kinds of data in one output, lines of a traceback
GRACE = 2.0  # seconds an interrupted cell has to end
WATCH_EVERY = 0.25  # seconds between two looks at what a process uses


class Cancelled(Exception):
    """Grading was interrupted by the person at the keyboard."""


class RunError(Exception):
    """The machine, not the student, kept a notebook from running."""


@dataclass(frozen=True)
class Outcome:
    """What became of a code cell. `status`: "ran", "raised", "timed out", "died", or "failed" if something of ours
    did; `reason` is empty for "ran"."""

    status: str
    reason: str = ""


@dataclass
class Run:
    """An executed notebook, and the outcome of each cell that was run, by cell id."""

    notebook: NotebookNode
    outcomes: dict[str, Outcome] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """What the course brings along for a notebook. files: (relative path, file) beside it; imports: statements of the
    cells as released, for tests that live in another process than the notebook."""

    files: tuple[tuple[str, Path], ...] = ()
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Seconds by the wall clock, for one cell and for all; starting up is not counted."""

    cell: float
    total: float


class Process(Protocol):
    """A process that runs cells, as an attempt sees it."""

    def next_event(self, timeout: float) -> dict | None:
        """The next event; None if there is none in so many seconds."""
        ...

    def interrupt(self) -> bool:
        """Ask the running cell to stop, as the stop button does. False where that is not possible."""
        ...

    def too_much(self) -> str:
        """What it uses more of than it may, in words; empty if nothing."""
        ...

    def last_words(self) -> str:
        """Why the process is gone, in words."""
        ...

    def raw_output(self) -> dict[int, str]:
        """What was printed below Python, by the place of the cell in the job."""
        ...

    def end(self) -> None:
        """End the process and all its descendants."""
        ...


def is_test(cell: NotebookNode) -> bool:
    """Whether this is a test cell: code that nbgrader grades and the student does not edit."""
    meta = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and bool(meta.get("grade")) and not meta.get("solution")


class Attempt:
    """The notebook passed in is not changed. launch: starts the process for a job."""

    def __init__(
        self, notebook: NotebookNode, skip: Iterable[str], limits: Limits, cancel: threading.Event | None,
        launch: Callable[[dict], Process], progress: Callable[[int, int], object] | None = None,
    ) -> None:  # fmt: skip
        self.notebook, self.limits, self.cancel = copy.deepcopy(notebook), limits, cancel or threading.Event()
        self.launch, self.progress = launch, progress
        self.left = limits.total
        self.out_of_time = False
        skipped = set(skip)
        self.cells = {
            cell.id: cell
            for cell in self.notebook.cells
            if cell.cell_type == "code" and cell.source.strip() and cell.id not in skipped
        }
        self.outcomes: dict[str, Outcome] = {}
        self.outputs: dict[str, list[dict]] = {}
        self._has_raw: set[str] = set()
        self._rich_left = 4 * RICH_LIMIT  # over the whole notebook

    def run(self) -> None:
        """Run what is pending, in one process after the other."""
        while self.pending():
            job = self.job()
            process = self.launch(job)
            order = [cell["id"] for cell in job["cells"]]
            try:
                self._follow(process, order)
            finally:
                process.end()
                self.take_raw_output(process, order)

    def pending(self) -> list[str]:
        """Cells that still have to be run."""
        return [id for id in self.cells if id not in self.outcomes]

    def job(self) -> dict:
        """What the next process runs: all that is pending, and before it the student's cells that did not do harm.

        Test cells that are done are not run again: they define nothing that others need.
        """
        last = self.pending()[-1]
        cells = []
        for id, cell in self.cells.items():
            done = self.outcomes.get(id)
            if done is None or (done.status in ("ran", "raised") and not is_test(cell)):
                cells.append({"id": id, "source": cell.source, "test": is_test(cell)})
            if id == last:
                break
        return {"cells": cells, "threads": 1, "cell_limit": self.limits.cell}

    def _follow(self, process: Process, order: list[str]) -> bool:
        """Follow a process until it is done with its last cell (True), dies, or has to be ended."""
        self.await_ready(process)
        started = looked = time.monotonic()
        current, since, interrupted = "", started, False
        position = 0
        try:
            while True:
                now = time.monotonic()
                if self.cancel.is_set():
                    raise Cancelled
                if now - started > self.left:
                    self._out_of_time(current)
                    return False
                if current and now - since > self.limits.cell + (GRACE if interrupted else 0):
                    if interrupted or is_test(self.cells[current]) or not process.interrupt():
                        self.finish(current, Outcome("timed out", too_slow(self.limits.cell)))
                        return False
                    interrupted = True
                if now - looked > WATCH_EVERY:
                    looked = now
                    if current and (reason := process.too_much()):
                        self.finish(current, Outcome("died", reason))
                        return False
                event = process.next_event(0.1)
                if event is None:
                    continue
                kind = event.get("event")
                if kind == "gone":
                    # Between two cells the one before is the likelier culprit, but its result is already in.
                    id = current or (order[position] if position < len(order) else "")
                    if id:
                        self.finish(id, Outcome("died", process.last_words()))
                    return not id
                if kind == "done" and position == len(order):
                    return True
                if kind == "start" and position < len(order) and event.get("cell") == order[position]:
                    current, since, interrupted = order[position], time.monotonic(), False
                    if current not in self.outcomes:
                        self.outputs[current] = []
                elif current and event.get("cell") == current and kind == "output":
                    self.take_output(current, event.get("output"))
                elif current and event.get("cell") == current and kind == "end":
                    self.finish(current, self._ended(event, interrupted))
                    current, position = "", position + 1
        finally:
            self.left -= time.monotonic() - started

    def await_ready(self, process: Process) -> None:
        """Wait for a process to come up. Raises RunError."""
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            if self.cancel.is_set():
                raise Cancelled
            event = process.next_event(0.1)
            if event is not None and event.get("event") == "ready":
                return
            if event is not None and event.get("event") == "gone":
                break
        raise RunError(f"no process could be started to run the notebook: {process.last_words()}")

    def _ended(self, event: dict, interrupted: bool) -> Outcome:
        if event.get("ok") is True:
            return Outcome("ran")
        if interrupted:
            return Outcome("timed out", too_slow(self.limits.cell))
        return Outcome("raised", plain(event.get("error")))

    def finish(self, id: str, outcome: Outcome) -> None:
        """The first outcome stands, unless a cell that went well before now does harm."""
        if id not in self.outcomes or outcome.status in ("timed out", "died"):
            self.outcomes[id] = outcome
        if self.progress is not None:
            self.progress(len(self.outcomes), len(self.cells))

    def _out_of_time(self, current: str) -> None:
        self.out_of_time = True
        reason = f"the notebook's {self.limits.total:g} s were used up"
        if current:
            self.finish(current, Outcome("timed out", reason))
        for id in self.pending():
            self.finish(id, Outcome("timed out", f"{NOT_REACHED}: {reason}"))

    def take_output(self, id: str, output: Any) -> None:
        """Keep an output of a cell, cleaned and within bounds."""
        if id in self.outcomes:  # a second run, for the sake of the others
            return
        outputs = self.outputs[id]
        if len(outputs) > 2 * OUTPUTS_LIMIT:
            return
        cleaned = _clean_output(output)
        if cleaned is None:
            return
        size = len(json.dumps(cleaned))
        # What a grade is read from is kept, however much was shown before; but only a test's.
        if not is_test(self.cells[id]) or not is_result(cleaned["output_type"], cleaned.get("data", {})):
            if len(outputs) >= OUTPUTS_LIMIT or size > self._rich_left:
                return
            self._rich_left -= size
        elif size > 2 * RICH_LIMIT:
            return
        if (
            cleaned["output_type"] == "stream"
            and outputs
            and outputs[-1]["output_type"] == "stream"
            and outputs[-1]["name"] == cleaned["name"]
        ):
            outputs[-1]["text"] = (outputs[-1]["text"] + cleaned["text"])[: TEXT_LIMIT + 100]
        else:
            outputs.append(cleaned)

    def take_raw_output(self, process: Process, order: list[str]) -> None:
        """What was printed below Python: by C code, by forked children, by `os.system`."""
        for number, text in process.raw_output().items():
            if 0 <= number < len(order) and text and order[number] not in self._has_raw:
                self._has_raw.add(order[number])
                output = {"output_type": "stream", "name": "stdout", "text": text}
                self.outputs.setdefault(order[number], []).append(output)

    def result(self) -> Run:
        """The notebook with its outputs, and every outcome."""
        for count, cell in enumerate((c for c in self.notebook.cells if c.cell_type == "code"), 1):
            outputs = self.outputs.get(cell.id, [])
            outcome = self.outcomes.get(cell.id)
            if outcome is not None and outcome.status in ("timed out", "died"):
                outputs = [*outputs, _error_output(outcome)]
            # The same counts whatever it took to get here: grading twice gives identical files.
            cell.execution_count = count if outcome is not None else None
            for output in outputs:
                if output["output_type"] == "execute_result":
                    output["execution_count"] = count
            cell.outputs = [from_dict(output) for output in outputs]
        return Run(self.notebook, self.outcomes)


def plain(text: Any) -> str:
    """What somebody's process says, such that it can be printed and written anywhere."""
    said = str(text)[:500].encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in said)


def too_slow(limit: float) -> str:
    """The reason of a cell that was stopped."""
    return f"stopped after {limit:g} s without an end"


def _error_output(outcome: Outcome) -> dict:
    name = "TimeoutError" if outcome.status == "timed out" else "ProcessEnded"
    return {"output_type": "error", "ename": name, "evalue": outcome.reason, "traceback": [f"{name}: {outcome.reason}"]}


_FIELDS = {
    "stream": ("name", "text"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
}


def _clean_output(output: Any) -> dict | None:
    """An output as nbformat wants it, or None: what arrives here was written by a process that runs students' code."""
    try:
        # Through UTF-8 and back: a lone surrogate would make the notebook unwritable.
        output = json.loads(json.dumps(output, ensure_ascii=False).encode("utf-8", "replace"))
        kind = output["output_type"]
        if any(len(output[name]) > PARTS_LIMIT for name in ("data", "metadata", "traceback") if name in output):
            return None  # to look at each would take minutes
        if any(not isinstance(output[name], str) for name in ("name", "text", "ename", "evalue") if name in output):
            return None
        cleaned = {"output_type": kind} | {name: output[name] for name in _FIELDS[kind]}
        nbformat.validate(from_dict(cleaned), ref="output", version=4, version_minor=5)
    except (KeyError, TypeError, ValueError, RecursionError, nbformat.ValidationError):
        return None
    return cleaned
