"""The boundary between grader and notebook: `run(notebook)` gives back the notebook with its outputs, and what
became of each cell.

Nothing above this module knows how a cell is run. The notebook's code runs in a process of its own (`worker.py`), in
a private folder; time is kept out here. When the process dies, or a cell does not end, that cell is the culprit: a
fresh process runs the notebook without it, so that every other question still gets its points.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode, from_dict

from coursekit.grading.inside.cells import is_result
from coursekit.grading.limits import CELL_LIMIT, OUTPUTS_LIMIT, RICH_LIMIT, TEXT_LIMIT, TIME_LIMIT

START_LIMIT = 120.0  # seconds for a process to come up: the machine's time, not the student's
NOT_REACHED = "not reached"  # how a reason begins when the time was used up before
GRACE = 2.0  # seconds an interrupted cell has to end
MEMORY_LIMIT = 6 * 1024**3  # bytes of data one process may hold

_MARK = re.compile(rb"\0cell (\d{1,6})\0")


class Cancelled(Exception):
    """Grading was interrupted by the person at the keyboard."""


class RunError(Exception):
    """The machine, not the student, kept a notebook from running."""


@dataclass(frozen=True)
class Outcome:
    """What became of a code cell. `status`: "ran", "raised", "timed out" or "died"; `reason` is empty for "ran"."""

    status: str
    reason: str = ""


@dataclass
class Run:
    """An executed notebook, and the outcome of each cell that was run, by cell id."""

    notebook: NotebookNode
    outcomes: dict[str, Outcome] = field(default_factory=dict)


def is_test(cell: NotebookNode) -> bool:
    """Whether this is a test cell: code that nbgrader grades and the student does not edit."""
    meta = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and bool(meta.get("grade")) and not meta.get("solution")


def run(
    notebook: NotebookNode,
    *,
    skip: Iterable[str] = (),
    files: Iterable[tuple[str, Path]] = (),
    cell_limit: float = CELL_LIMIT,
    time_limit: float = TIME_LIMIT,
    cancel: threading.Event | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Run:
    """Run a notebook (nbformat 4, unique cell ids) from top to bottom.

    skip: ids of code cells that are not run. files: (relative path, file) pairs copied beside the notebook.
    cell_limit, time_limit: seconds by the wall clock, for one cell and for all; starting up is not counted.
    cancel: set by another thread to give up; then Cancelled is raised. progress: called with the number of cells that
    are done and of all. RunError: no process could be started.
    The notebook passed in is not changed.
    """
    attempt = _Notebook(copy.deepcopy(notebook), set(skip), cell_limit, time_limit, cancel or threading.Event())
    attempt.progress = progress
    while attempt.pending():
        with _Folder(files) as folder:
            attempt.run_pending(folder)
    return attempt.result()


class _Notebook:
    """One notebook on its way through as many processes as it takes."""

    def __init__(
        self, notebook: NotebookNode, skip: set[str], cell_limit: float, time_limit: float, cancel: threading.Event
    ) -> None:
        self.notebook, self.cell_limit, self.cancel = notebook, cell_limit, cancel
        self.time_limit, self.left = time_limit, time_limit
        self.cells = {
            cell.id: cell
            for cell in notebook.cells
            if cell.cell_type == "code" and cell.source.strip() and cell.id not in skip
        }
        self.outcomes: dict[str, Outcome] = {}
        self.outputs: dict[str, list[dict]] = {}
        self.has_raw: set[str] = set()
        self.progress: Callable[[int, int], object] | None = None
        self.rich_left = 4 * RICH_LIMIT  # over the whole notebook

    def pending(self) -> list[str]:
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
        return {"cells": cells, "threads": 1, "memory": MEMORY_LIMIT, "cell_limit": self.cell_limit}

    def run_pending(self, folder: Path) -> None:
        """One process, until it is done, dies, or has to be ended."""
        job = self.job()
        worker = _Worker(job, folder)
        try:
            self._follow(worker, [cell["id"] for cell in job["cells"]])
        finally:
            worker.end()
            self._take_raw_output(worker, [cell["id"] for cell in job["cells"]])

    def _follow(self, worker: _Worker, order: list[str]) -> None:
        self._await_ready(worker)
        started = time.monotonic()
        current, since, interrupted = "", started, False
        position = 0
        try:
            while True:
                now = time.monotonic()
                if self.cancel.is_set():
                    raise Cancelled
                if now - started > self.left:
                    return self._out_of_time(current)
                if current and now - since > self.cell_limit + (GRACE if interrupted else 0):
                    if interrupted or is_test(self.cells[current]) or not worker.interrupt():
                        return self._finish(current, Outcome("timed out", _too_slow(self.cell_limit)))
                    interrupted = True
                event = worker.next_event(0.1)
                if event is None:
                    continue
                kind = event.get("event")
                if kind == "gone":
                    # Between two cells the one before is the likelier culprit, but its result is already in.
                    id = current or (order[position] if position < len(order) else "")
                    if id:
                        self._finish(id, Outcome("died", worker.last_words()))
                    return None
                if kind == "done" and position == len(order):
                    return None
                if kind == "start" and position < len(order) and event.get("cell") == order[position]:
                    current, since, interrupted = order[position], time.monotonic(), False
                    if current not in self.outcomes:
                        self.outputs[current] = []
                elif current and event.get("cell") == current and kind == "output":
                    self._take_output(current, event.get("output"))
                elif current and event.get("cell") == current and kind == "end":
                    self._finish(current, self._ended(event, interrupted))
                    current, position = "", position + 1
        finally:
            self.left -= time.monotonic() - started

    def _await_ready(self, worker: _Worker) -> None:
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            if self.cancel.is_set():
                raise Cancelled
            event = worker.next_event(0.1)
            if event is not None and event.get("event") == "ready":
                return
            if event is not None and event.get("event") == "gone":
                break
        raise RunError(f"no process could be started to run the notebook: {worker.last_words()}")

    def _ended(self, event: dict, interrupted: bool) -> Outcome:
        if event.get("ok") is True:
            return Outcome("ran")
        if interrupted:
            return Outcome("timed out", _too_slow(self.cell_limit))
        return Outcome("raised", str(event.get("error"))[:500])

    def _finish(self, id: str, outcome: Outcome) -> None:
        """The first outcome stands, unless a cell that went well before now does harm."""
        if id not in self.outcomes or outcome.status in ("timed out", "died"):
            self.outcomes[id] = outcome
        if self.progress is not None:
            self.progress(len(self.outcomes), len(self.cells))

    def _out_of_time(self, current: str) -> None:
        reason = f"the notebook's {self.time_limit:g} s were used up"
        if current:
            self._finish(current, Outcome("timed out", reason))
        for id in self.pending():
            self._finish(id, Outcome("timed out", f"{NOT_REACHED}: {reason}"))

    def _take_output(self, id: str, output: Any) -> None:
        if id in self.outcomes:  # a second run, for the sake of the others
            return
        cleaned = _clean_output(output)
        outputs = self.outputs[id]
        if cleaned is None:
            return
        size = len(json.dumps(cleaned))
        if not is_result(cleaned["output_type"], cleaned.get("data", {})):
            if len(outputs) >= OUTPUTS_LIMIT or size > self.rich_left:
                return
            self.rich_left -= size
        elif size > 2 * RICH_LIMIT or len(outputs) > 2 * OUTPUTS_LIMIT:
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

    def _take_raw_output(self, worker: _Worker, order: list[str]) -> None:
        """What was printed below Python: by C code, by forked children, by `os.system`."""
        for number, text in worker.raw_output().items():
            if 0 <= number < len(order) and text and order[number] not in self.has_raw:
                self.has_raw.add(order[number])
                output = {"output_type": "stream", "name": "stdout", "text": text}
                self.outputs.setdefault(order[number], []).append(output)

    def result(self) -> Run:
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


def _too_slow(limit: float) -> str:
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
        cleaned = {"output_type": kind} | {name: output[name] for name in _FIELDS[kind]}
        nbformat.validate(from_dict(cleaned), ref="output", version=4, version_minor=5)
    except (KeyError, TypeError, ValueError, RecursionError, nbformat.ValidationError):
        return None
    return cleaned


class _Worker:
    """One worker process. Its pipes are read by threads, which works on every system and never blocks it for long."""

    def __init__(self, job: dict, folder: Path) -> None:
        self._events: queue.Queue[dict] = queue.Queue(maxsize=1000)
        self._raw: dict[int, bytearray] = {}
        self._stopped = threading.Event()
        command = [sys.executable, "-P", "-m", "coursekit.grading.worker"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=folder / "work", env=_environment(folder), start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            raise RunError(f"no process could be started to run the notebook: {error.strerror}") from error
        self._threads = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_raw, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        line = json.dumps(job).encode() + b"\n"
        try:
            while line:
                line = line[self._process.stdin.write(line) or 0 :]  # type: ignore[union-attr]
        except OSError:
            pass  # it died at once; the end of its events says so

    def next_event(self, timeout: float) -> dict | None:
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def interrupt(self) -> bool:
        """Ask the running cell to stop, as the stop button does. False where that is not possible."""
        if not hasattr(os, "fork"):
            return False
        try:
            self._process.stdin.write(b"i")  # type: ignore[union-attr]
        except OSError:
            return False
        return True

    def last_words(self) -> str:
        """Why the process is gone, in words."""
        try:
            code = self._process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            return "the notebook cut its connection to the grader"
        number = -code if code < 0 else code - 128
        if number > 0 and number in {s.value for s in signal.Signals}:
            name = signal.Signals(number).name
            what = {"SIGSEGV": "a crash below Python", "SIGKILL": "killed, often for lack of memory"}.get(name)
            return f"the process was ended by signal {name}" + (f" ({what})" if what else "")
        return f"the process ended itself with exit code {code}"

    def raw_output(self) -> dict[int, str]:
        return {number: text.decode("utf-8", "replace") for number, text in self._raw.items()}

    def end(self) -> None:
        """End the process and all its descendants, and read what is left in the pipes."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(timeout=8 if hasattr(os, "fork") else 0.5)
        except subprocess.TimeoutExpired:
            _kill_tree(self._process.pid)
            self._process.wait()
        for thread in self._threads:
            thread.join(timeout=GRACE)
        for pipe in (self._process.stdout, self._process.stderr):
            if not any(thread.is_alive() for thread in self._threads):
                pipe.close()  # type: ignore[union-attr]

    def _read_events(self) -> None:
        rest = b""
        while chunk := _read(self._process.stdout):
            if len(rest) + len(chunk) > 2 * RICH_LIMIT + (1 << 20):  # no line of ours is that long
                rest = b""
                continue
            *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else [rest + chunk]
            for line in lines:
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # not ours: something wrote to our descriptor
                if isinstance(event, dict):
                    self._put(event)
        self._put({"event": "gone"})

    def _put(self, event: dict) -> None:
        while not self._stopped.is_set():
            try:
                return self._events.put(event, timeout=0.5)
            except queue.Full:
                continue
        return None

    def _read_raw(self) -> None:
        number, rest = -1, b""
        while chunk := _read(self._process.stderr):
            rest += chunk
            while mark := _MARK.search(rest):
                self._keep(number, rest[: mark.start()])
                number, rest = int(mark[1]), rest[mark.end() :]
            cut = rest.rfind(b"\0", max(0, len(rest) - 16))  # a mark may be cut in two
            cut = len(rest) if cut < 0 else cut
            self._keep(number, rest[:cut])
            rest = rest[cut:]
        self._keep(number, rest)

    def _keep(self, number: int, text: bytes) -> None:
        kept = self._raw.setdefault(number, bytearray())
        kept += text[: TEXT_LIMIT - len(kept)]


def _read(pipe: Any) -> bytes:
    try:
        return pipe.read(1 << 16)
    except (OSError, ValueError):
        return b""


def _kill_tree(pid: int) -> None:
    import psutil

    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.Error:
        return
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()


class _Folder:
    """A private folder for one process: `work/` beside the notebook's files, a home and a place for temporary files."""

    def __init__(self, files: Iterable[tuple[str, Path]]) -> None:
        self._files = list(files)

    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp(prefix="coursekit-"))
        for name in ("work", "home", "tmp"):
            (self.path / name).mkdir()
        for relative, file in self._files:
            target = self.path / "work" / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        _share_font_list(self.path / "home")
        return self.path

    def __exit__(self, *_: object) -> None:
        _remove(self.path)


def _remove(folder: Path) -> None:
    """Remove what a notebook left, folders that it locked included. What cannot be removed stays: the run is over, and
    its result counts whatever lies about."""
    with contextlib.suppress(OSError, RecursionError):  # folders in folders, thousands deep
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        os.chmod(folder, 0o700)
        for inside, folders, files in os.walk(folder):  # from the top: what is below a locked folder is seen only then
            for name in [*folders, *(files if os.name == "nt" else [])]:
                path = os.path.join(inside, name)
                if not os.path.islink(path):  # what a link points to is not ours
                    with contextlib.suppress(OSError):
                        os.chmod(path, 0o700)
        shutil.rmtree(folder, ignore_errors=True)


def _share_font_list(home: Path) -> None:
    """matplotlib takes seconds to list the machine's fonts: each process gets a copy of the list it made before."""
    cache = os.environ.get("MPLCONFIGDIR") or Path.home() / ".cache" / "matplotlib"
    for file in Path(cache).glob("fontlist-*.json"):
        shutil.copyfile(file, home / file.name)


def _environment(folder: Path) -> dict[str, str]:
    """A clean environment: nothing of the instructor's but what finds programs and what is cached already."""
    keep = ("PATH", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "CUDA_VISIBLE_DEVICES")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COURSEKIT_")}
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    home, temporary = str(folder / "home"), str(folder / "tmp")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # what was downloaded before
    environment.setdefault("COURSEKIT_CACHE", str(cache / "coursekit"))
    return environment | {
        "HOME": home, "USERPROFILE": home, "TMPDIR": temporary, "TEMP": temporary, "TMP": temporary,
        "IPYTHONDIR": home, "MPLCONFIGDIR": home, "TORCH_HOME": os.environ.get("TORCH_HOME") or str(cache / "torch"),
        "PYTHONPATH": str(Path(__file__).parents[2]),  # `coursekit`, installed or not
        "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",  # an installation hidden in a script
        "NBGRADER_EXECUTION": "autograde",  # as nbgrader tells a notebook that it is being graded
    }  # fmt: skip
