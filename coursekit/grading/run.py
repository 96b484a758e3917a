"""Running a notebook without a sandbox: `run(notebook)` gives it back with its outputs, and what became of each cell.

For students' own notebooks (`coursekit check`), and for instructors who ask for it (`--isolation none`). The notebook's
code runs in a process of its own (`worker.py`), in a private folder, with the rights of whoever started this; time is
kept out here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from nbformat import NotebookNode

from coursekit.grading.attempt import (
    GRACE,
    NOT_REACHED,
    Attempt,
    Cancelled,
    Given,
    Limits,
    Outcome,
    Run,
    RunError,
    is_test,
)
from coursekit.grading.limits import CELL_LIMIT, TIME_LIMIT
from coursekit.grading.pipes import Pipes, in_words

NOTHING_GIVEN = Given()
MEMORY_LIMIT = 6 * 1024**3  # bytes of data one process may hold


def run(
    notebook: NotebookNode,
    *,
    skip: Iterable[str] = (),
    files: Iterable[tuple[str, Path]] = (),
    given: Given = NOTHING_GIVEN,
    cell_limit: float = CELL_LIMIT,
    time_limit: float = TIME_LIMIT,
    cancel: threading.Event | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Run:
    """Run a notebook (nbformat 4, unique cell ids) from top to bottom.

    skip: ids of code cells that are not run. files: (relative path, file) pairs that were handed in beside the
    notebook; given: what the course brings along, which comes first.
    cell_limit, time_limit: seconds by the wall clock, for one cell and for all; starting up is not counted.
    cancel: set by another thread to give up; then Cancelled is raised. progress: called with the number of cells that
    are done and of all. RunError: no process could be started.
    The notebook passed in is not changed.
    """
    beside = list((dict(files) | dict(given.files)).items())
    attempt = Attempt(
        notebook, skip, Limits(cell_limit, time_limit), cancel, lambda job: _Worker(job, beside), progress
    )
    attempt.run()
    return attempt.result()


class _Worker:
    """One worker process, in a folder of its own."""

    def __init__(self, job: dict, files: list[tuple[str, Path]]) -> None:
        self._folder = _Folder(files)
        command = [sys.executable, "-P", "-m", "coursekit.grading.worker"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=self._folder.path / "work", env=_environment(self._folder.path), start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            self._folder.remove()
            raise RunError(f"no process could be started to run the notebook: {error.strerror}") from error
        self._pipes = Pipes(self._process.stdout, self._process.stderr)  # type: ignore[arg-type]
        line = json.dumps(job | {"memory": MEMORY_LIMIT}).encode() + b"\n"
        try:
            while line:
                line = line[self._process.stdin.write(line) or 0 :]  # type: ignore[union-attr]
        except OSError:
            pass  # it died at once; the end of its events says so

    def next_event(self, timeout: float) -> dict | None:
        return self._pipes.next_event(timeout)

    def raw_output(self) -> dict[int, str]:
        return self._pipes.raw_output()

    def interrupt(self) -> bool:
        if not hasattr(os, "fork"):
            return False
        try:
            self._process.stdin.write(b"i")  # type: ignore[union-attr]
        except OSError:
            return False
        return True

    def too_much(self) -> str:
        return ""  # without a sandbox only the bounds that a process has of its own

    def last_words(self) -> str:
        try:
            return in_words(self._process.wait(timeout=GRACE))
        except subprocess.TimeoutExpired:
            return "the notebook cut its connection to the grader"

    def end(self) -> None:
        """End the process and all its descendants, read what is left in the pipes, and remove the folder."""
        self._pipes.stop()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(timeout=8 if hasattr(os, "fork") else 0.5)
        except subprocess.TimeoutExpired:
            _kill_tree(self._process.pid)
            self._process.wait()
        self._pipes.close(GRACE)
        self._folder.remove()


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
        self.path = Path(tempfile.mkdtemp(prefix="coursekit-"))
        try:
            for name in ("work", "home", "tmp"):
                (self.path / name).mkdir()
            for relative, file in files:
                target = self.path / "work" / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            _share_font_list(self.path / "home")
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
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


__all__ = ["NOT_REACHED", "Cancelled", "Given", "Outcome", "Run", "RunError", "is_test", "run"]
