"""Running the cells of a notebook one after the other in an IPython shell, and telling about it.

One line of JSON per event goes to a descriptor that nothing else writes to:

    {"event": "ready"}
    {"event": "start", "cell": id}
    {"event": "output", "cell": id, "output": {...}}     an nbformat output; long text and large pictures are cut here
    {"event": "end", "cell": id, "ok": true, "error": ""}
    {"event": "done"}
"""

from __future__ import annotations

import builtins
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from coursekit.grading.limits import OUTPUTS_LIMIT, RICH_LIMIT, SCORE_MIME, TEXT_LIMIT

RAW_MARK = b"\0cell %d\0"  # written to descriptor 2 when a cell starts: what follows there is this cell's

# `!pip install x`, also with sudo, with variables before it, and as `python -m pip`.
_INSTALLER = re.compile(r"^\s*(sudo\s+)?(\S*python\S*\s+-m\s+)?(pip3?|conda|mamba|micromamba|uv|apt|apt-get|brew)\b")


class Events:
    """The way back to the grader: one JSON line per event. Silent in any process but the one that made it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()

    def mine(self) -> bool:
        """False in a forked child (a DataLoader's worker), whose lines would run into ours."""
        return os.getpid() == self._owner

    def send(self, event: str, **fields: Any) -> None:
        if not self.mine():
            return
        line = json.dumps({"event": event, **fields}, ensure_ascii=True, default=str).encode() + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]


class Outputs:
    """Collects the outputs of the cell that runs, in their order, and sends them on, cut to the limits."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._cell = ""
        self.running = False
        self.started = 0.0
        self._reset()

    def _reset(self) -> None:
        self._stream, self._text, self._sent_at = "", "", time.monotonic()
        self._left = {"text": TEXT_LIMIT, "rich": RICH_LIMIT, "outputs": OUTPUTS_LIMIT}

    def start(self, cell: str) -> None:
        self._cell, self.started = cell, time.monotonic()
        self._reset()

    def write(self, stream: str, text: str) -> None:
        """Printed text: gathered a little, because a line of JSON for every `print` is slow."""
        if self._left["text"] <= 0:
            return
        if stream != self._stream:
            self.flush()
            self._stream = stream
        text = text[: self._left["text"]]
        self._left["text"] -= len(text)
        self._text += text
        if self._left["text"] <= 0:
            self._text += "\n... output cut here ...\n"
        if len(self._text) > 8192 or time.monotonic() - self._sent_at > 0.2:
            self.flush()

    def flush(self) -> None:
        if self._text and self._events.mine():
            output = {"output_type": "stream", "name": self._stream, "text": _clean(self._text)}
            self._events.send("output", cell=self._cell, output=output)
        self._text, self._sent_at = "", time.monotonic()

    def rich(self, output_type: str, data: dict, metadata: dict | None = None, **fields: Any) -> None:
        """A displayed object or a result. One that is too large is replaced by a note."""
        self.flush()
        if is_result(output_type, data):  # kept, however much was shown before
            self._left["outputs"] += 1
            self._left["rich"] = RICH_LIMIT
        if self._left["outputs"] <= 0:
            return
        self._left["outputs"] -= 1
        size = len(json.dumps(data, default=str))
        if size > self._left["rich"]:
            data, metadata = {"text/plain": f"(an output of {size:,} characters was left out)"}, {}
        else:
            self._left["rich"] -= size
        output = {"output_type": output_type, "data": data, "metadata": metadata or {}, **fields}
        self._events.send("output", cell=self._cell, output=output)

    def error(self, name: str, value: str, traceback: list[str]) -> None:
        self.flush()
        if len(traceback) > 60:
            traceback = [*traceback[:20], "... traceback cut here ...", *traceback[-20:]]
        traceback = [_clean(line[:4000]) for line in traceback]
        output = {"output_type": "error", "ename": name, "evalue": _clean(value[:4000]), "traceback": traceback}
        self._events.send("output", cell=self._cell, output=output)


def is_result(output_type: str, data: dict) -> bool:
    """Whether an output is what a grade is read from."""
    return output_type == "execute_result" or SCORE_MIME in data


class Stream:
    """Stands in for sys.stdout and sys.stderr. Closing it does nothing: a later cell may still want to print."""

    encoding, errors, newlines, closed = "utf-8", "replace", None, False

    def __init__(self, name: str, outputs: Outputs, events: Events) -> None:
        self.name, self._outputs, self._events = f"<{name}>", outputs, events
        self._stream = name

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._events.mine():
            self._outputs.write(self._stream, text)
        else:  # a forked child: the raw descriptor, which the grader reads too
            os.write(2, text.encode("utf-8", "replace"))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._events.mine():
            self._outputs.flush()

    def close(self) -> None:
        self.flush()

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _clean(text: str) -> str:
    """Text that can be written as UTF-8: a lone surrogate cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def make_shell(outputs: Outputs) -> Any:
    """An IPython shell whose displays, results and tracebacks become outputs of the notebook."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Type
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **kwargs):
            if not update:
                outputs.rich("display_data", dict(data), dict(metadata or {}))

        def clear_output(self, wait=False):
            pass

    class Hook(DisplayHook):
        def write_output_prompt(self):
            pass

        def write_format_data(self, format_dict, md_dict=None):
            if format_dict:
                outputs.rich("execute_result", dict(format_dict), dict(md_dict or {}), execution_count=None)

        def finish_displayhook(self):
            self._is_active = False

    class Shell(InteractiveShell):
        display_pub_class = Type(Publisher)
        displayhook_class = Type(Hook)

        def enable_gui(self, gui=None):
            pass  # there is no screen; figures go inline

        def ask_exit(self):
            pass  # `exit` ends a session with a person; here the next cell is run

        def _showtraceback(self, etype, evalue, stb):
            try:
                text = str(evalue)
            except BaseException:
                text = "(the error message itself cannot be shown)"
            outputs.error(etype.__name__, text, list(stb))

        def system(self, cmd):
            if _INSTALLER.match(cmd):
                return _not_executed(cmd)
            self.user_ns["_exit_code"] = self.system_raw_quietly(cmd)

        def system_raw_quietly(self, cmd):
            """The command with its output in the notebook and nothing to read from."""
            import subprocess

            with subprocess.Popen(
                self.var_expand(cmd, depth=2), shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace",
            ) as process:  # fmt: skip
                assert process.stdout is not None
                while chunk := process.stdout.read(4096):
                    outputs.write("stdout", chunk)
            return process.returncode

        def getoutput(self, cmd, split=True, depth=0):
            if _INSTALLER.match(cmd):
                _not_executed(cmd)
                return [] if split else ""
            return super().getoutput(cmd, split=split, depth=depth + 1)

    config = Config()
    config.HistoryManager.enabled = False  # no history file, nothing read from an earlier one
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Context"
    config.InteractiveShell.autocall = 0
    shell = Shell.instance(config=config)

    def not_installed(line: str) -> None:
        _not_executed(line)

    def matplotlib(line: str) -> None:
        """Whatever window was asked for, there is no screen: figures become pictures in the notebook."""
        shell.enable_matplotlib("inline")

    for name in ("pip", "conda", "mamba", "micromamba", "uv"):
        shell.register_magic_function(not_installed, "line", name)  # type: ignore[arg-type]
    shell.register_magic_function(matplotlib, "line", "matplotlib")  # type: ignore[arg-type]
    return shell


def _not_executed(command: str) -> None:
    print(f"(not executed while grading: {command.strip()[:200]})")


def _no_input(prompt: object = "") -> str:
    raise RuntimeError("input() cannot be answered while grading: nobody is there to type. Use a variable instead.")


def same_conditions(threads: int) -> None:
    """What a check may rely on, whatever the student's cells did before: seeds, threads, a folder that exists.

    Only what is loaded already is touched, so that a notebook without torch does not pay for importing it.
    """
    import random

    random.seed(0)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)
        torch.set_num_threads(threads)
    try:
        os.getcwd()
    except OSError:
        os.chdir(os.environ["HOME"])


def run_cells(job: dict, events: Events, at_test: Callable[[str], str] | None = None) -> None:
    """Run the cells of `job` in order. An error in one does not stop the next.

    at_test: called with the id of each test cell in its place, returns what went wrong; None runs test cells like all
    others.
    """
    outputs = Outputs(events)
    shell = start_shell(outputs, job["threads"])

    def interrupt(signum, frame):
        """The grader's way to end a slow cell and keep what it defined. It may come late, when that cell has just
        ended by itself: the next one must not pay for it."""
        if outputs.running and time.monotonic() - outputs.started > 0.9 * job["cell_limit"]:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    raw = os.dup(2)  # of our own: the student may close 2, and open a file that gets this number
    events.send("ready")
    for number, cell in enumerate(job["cells"]):
        if not events.mine():
            os._exit(0)  # a fork that the student's cell forgot to end
        os.write(raw, RAW_MARK % number)
        if cell["test"] and at_test is not None:
            events.send("start", cell=cell["id"])
            error = at_test(cell["id"])
            events.send("end", cell=cell["id"], ok=not error, error=error)
            continue
        error = run_cell(shell, cell, outputs, events, job["threads"] if cell["test"] else 0)
        events.send("end", cell=cell["id"], ok=not error, error=error)
    events.send("done")


def start_shell(outputs: Outputs, threads: int) -> Any:
    """The shell in which all cells are run: nobody at the keyboard, the same conditions for everybody."""
    shell = make_shell(outputs)
    builtins.input = _no_input
    import getpass

    getpass.getpass = _no_input  # type: ignore[assignment]
    same_conditions(threads)
    # At the end of the path: a helper module the student handed in is found, but none that shadows torch.
    sys.path.append(os.getcwd())
    return shell


def run_cell(shell: Any, cell: dict, outputs: Outputs, events: Events, threads: int = 0) -> str:
    """Run one cell from its "start" event to before its "end". Returns what it raised as one line, empty if nothing.

    threads: above 0 for a test cell, which meets the same conditions whatever was done before.
    """
    events.send("start", cell=cell["id"])
    outputs.start(cell["id"])
    sys.stdout = Stream("stdout", outputs, events)
    sys.stderr = Stream("stderr", outputs, events)
    if threads:
        guarded(lambda: same_conditions(threads), outputs)
    error = _run_cell(shell, cell, outputs)
    guarded(outputs.flush, outputs)
    return error


def _run_cell(shell: Any, cell: dict, outputs: Outputs) -> str:
    """Run one cell; return what it raised as one line, empty if nothing."""
    try:
        outputs.running = True
        result = shell.run_cell(cell["source"], store_history=True)
        error = result.error_before_exec or result.error_in_exec
    except BaseException as escaped:  # from IPython's hooks, or an interrupt between two steps
        error = escaped
        outputs.error(type(escaped).__name__, _text(escaped), [])
    finally:
        outputs.running = False
    return "" if error is None else f"{type(error).__name__}: {_text(error)}"[:500]


def _text(error: BaseException) -> str:
    try:
        if isinstance(error, SyntaxError):
            return f"{error.msg} (line {error.lineno})"
        return str(error).strip().partition("\n")[0]
    except BaseException:
        return "(the error message itself cannot be shown)"


def guarded(action: Callable[[], object], outputs: Outputs) -> None:
    """Do something between two cells that a student's leftovers (a patched function, a late signal) may upset."""
    try:
        action()
    except BaseException as error:
        outputs.error(type(error).__name__, _text(error), [])
