"""A class made of cases, with honest students between them, graded as an instructor would; and what came of it."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import nbformat
import psutil
from nbformat import NotebookNode

from coursekit.grading.course import Course
from hostile import escape, exhaustion, file, forging, innocent, reading
from hostile.case import RIGHT, Case, World, answer

GROUPS: dict[str, dict[str, Case]] = {
    "escape": escape.CASES, "exhaustion": exhaustion.CASES, "file": file.CASES, "forging": forging.CASES,
    "innocent": innocent.CASES, "reading": reading.CASES,
}  # fmt: skip
ALL = {f"{group}-{name}": case for group, cases in GROUPS.items() for name, case in cases.items()}

CELL_LIMIT, TIME_LIMIT = 3, 15  # seconds
JOBS = "3"  # more than there may be processors: much of the time is spent on waiting for what never ends
EVERY = 8  # an honest student after so many others
LONGEST = 1500  # seconds for all of it
HIDDEN_INPUT = "314208984375"  # its digits stand in every hidden input
OF_THE_COURSE = ("coursesecret-test", "coursesecret-solution", "coursesecret-scheme")


@dataclass(frozen=True)
class Said:
    """What the command line said. peak: bytes of memory that it used itself, without what it has started."""

    pid: int
    code: int
    out: str
    err: str
    peak: int


@dataclass
class Graded:
    """A class that was graded. said: the command's answer. left: processes that it left. heard: what reached a
    listener of the machine. before, after: digests of the course's files."""

    course: Course
    world: World
    honest: list[str]
    results: dict[str, dict]
    said: Said
    secrets: list[str]
    left: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    def notebook(self, student: str) -> NotebookNode:
        return nbformat.read(self.course.autograded / student / "robust" / "robust.ipynb", as_version=4)

    def page(self, student: str) -> str:
        return (self.course.feedback / student / "robust" / "robust.html").read_text(encoding="utf-8")


def grade_class(cases: dict[str, Case], course: Course, release: NotebookNode, base: Path) -> Graded:
    """Hand in the cases and grade the class, with feedback, in processes of their own."""
    run = secrets.token_hex(4)
    words = {name: f"coursesecret-{name}{run}" for name in ("env", "home", "work", "shm", "left")}
    home, temporary = base / "home", base / "temporary"
    for folder in (home / ".ssh", temporary):
        folder.mkdir(parents=True)
    for name in ("secret.txt", ".ssh/key.txt", ".env"):
        (home / name).write_text(words["home"])
    with _listeners(run) as (values, heard), _shared_memory(words["shm"]) as key:
        honest = _honest_names(list(cases))
        values |= {
            "COURSE": str(course.dir), "HOME": str(home), "CONTROLLER": str(os.getpid()), "SHM_KEY": str(key),
            "MARK": f"mark-{run}", "LEFT": words["left"].partition("-")[2], "HONEST": honest[0],
        }  # fmt: skip
        world = World(course.dir, home, values)
        for name in honest:
            _hand_in(course, name, _honest(release, words["work"]), world)
        for name, case in cases.items():
            _hand_in_case(course, name, case, release, world)
        before = digests(course)
        environment = os.environ | {
            "HOME": str(home), "TMPDIR": str(temporary),
            "INSTRUCTOR_TOKEN": words["env"], "COURSEKIT_TOKEN": words["env"],
        }  # fmt: skip
        file = base / "results.json"
        said, left = _run(
            "grade", "robust", "--jobs", JOBS, "--isolation", "bubblewrap", "--json", str(file), "--course",
            str(course.dir), "--cell-limit", str(CELL_LIMIT), "--time-limit", str(TIME_LIMIT), environment=environment,
        )  # fmt: skip
        time.sleep(1.0)  # whatever was left to shout late
        assert file.exists(), f"nothing was graded (exit code {said.code}): {said.err[-2000:]}"
        results = json.loads(file.read_text())
        graded = Graded(
            course, world, honest, results, said, [*words.values(), *OF_THE_COURSE], left, list(heard), before
        )
    graded.after = digests(course)
    _run("feedback", "robust", "--course", str(course.dir), environment=environment)
    return graded


def _run(*arguments: str, environment: dict[str, str]) -> tuple[Said, list[str]]:
    """The command line's answer, and the processes that it leaves: whatever loses its parent becomes ours."""
    _prctl = ctypes.CDLL(None).prctl
    before = set(psutil.Process().children(recursive=True))
    _prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    try:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen([sys.executable, "-m", "coursekit.cli", *arguments], stdout=out, stderr=err,
                                       env=environment)  # fmt: skip
            peak = 0
            until = time.monotonic() + LONGEST
            while process.poll() is None:
                peak = max(peak, _peak_memory(process.pid))
                if time.monotonic() > until:
                    process.kill()
                time.sleep(0.3)
            texts = [_read_all(file) for file in (out, err)]
        said = Said(process.pid, process.returncode, *texts, peak)
        time.sleep(0.5)
        left = [
            f"{process.pid} {process.status()} {' '.join(process.cmdline())}"
            for process in set(psutil.Process().children(recursive=True)) - before
            if process.status() != psutil.STATUS_ZOMBIE
        ]
    finally:
        _prctl(36, 0, 0, 0, 0)
    return said, left


def _peak_memory(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
        status = Path(f"/proc/{pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return 0


def _read_all(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


# --- handing in ----------------------------------------------------------------------------------------------------


def _honest_names(cases: list[str]) -> list[str]:
    """The first, the last, and one after every few others, in the order in which they are graded."""
    return ["0-honest", *(f"{name}-honest" for name in sorted(cases)[EVERY - 1 :: EVERY]), "zz-honest"]


def right(release: NotebookNode) -> NotebookNode:
    notebook = copy.deepcopy(release)
    answer(notebook, **RIGHT)
    return notebook


def _honest(release: NotebookNode, word: str) -> NotebookNode:
    """Everything right, and in code and text a word that is nobody else's business."""
    notebook = right(release)
    answer(notebook, clip=f"{RIGHT['clip']}  # {word}", why=f"{RIGHT['why']} {word}")
    notebook.cells.append(nbformat.v4.new_code_cell(f"mine = '{word}'\nprint(torch.rand(2), mine[:0])"))
    return notebook


def _hand_in_case(course: Course, name: str, case: Case, release: NotebookNode, world: World) -> None:
    notebook = right(release)
    content = case.edit(notebook)
    folder = _hand_in(course, name, content if isinstance(content, bytes) else notebook, world)
    for relative, text in case.files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else world.fill(text).encode())
    if case.prepare is not None:
        case.prepare(folder, world)


def _hand_in(course: Course, student: str, content: NotebookNode | bytes, world: World) -> Path:
    folder = course.submitted / student / "robust"
    folder.mkdir(parents=True)
    if not isinstance(content, bytes):
        content = world.fill(json.dumps(content, ensure_ascii=False)).encode("utf-8", "surrogatepass")
    (folder / "robust.ipynb").write_bytes(content)
    return folder


def digests(course: Course) -> dict[str, str]:
    """What grading must leave as it is: sources, release, what was handed in."""
    found = {}
    for top in (course.sources, course.release, course.submitted, course.source_notebooks, course.nbgrader_config):
        for path in [top, *top.rglob("*")]:
            if path.is_symlink():
                found[str(path)] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[str(path)] = oct(path.stat().st_mode)
    return found


# --- the machine around --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _listeners(run: str) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Sockets of the machine that nobody in a sandbox may reach, and what they heard."""
    heard: list[str] = []
    with contextlib.ExitStack() as stack:
        port = _free_port()
        path = f"/tmp/coursekit-{run}.socket"
        sockets = []
        for family, address in (
            (socket.AF_INET, ("0.0.0.0", port)), (socket.AF_UNIX, f"\0coursekit-{run}"), (socket.AF_UNIX, path),
        ):  # fmt: skip
            listener = stack.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            sockets.append(listener)
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("0.0.0.0", port))
        stack.callback(lambda: Path(path).unlink(missing_ok=True))
        done = threading.Event()
        for listener in sockets:
            listener.settimeout(0.2)
            threading.Thread(target=_accept, args=(listener, heard, done), daemon=True).start()
        datagrams.settimeout(0.2)
        threading.Thread(target=_hear, args=(datagrams, heard, done), daemon=True).start()
        own = socket.gethostbyname("localhost")
        with contextlib.suppress(OSError):
            own = socket.gethostbyname(socket.gethostname())
        yield {"PORT": str(port), "ABSTRACT": f"coursekit-{run}", "SOCKET": path, "ADDRESS": own}, heard
        done.set()
        time.sleep(0.3)


def _accept(listener: socket.socket, heard: list[str], done: threading.Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError):
            listener.accept()[0].close()
            heard.append(f"somebody came to {listener.getsockname()}")


def _hear(datagrams: socket.socket, heard: list[str], done: threading.Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError):
            heard.append(f"a message: {datagrams.recv(100)!r}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _shared_memory(word: str) -> Iterator[int]:
    """A segment of System V shared memory of the machine, with a secret in it, readable to all. Its key."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    key = secrets.randbelow(1 << 30) + 1
    segment = libc.shmget(key, 4096, 0o1666)
    if segment < 0:  # not allowed here either
        yield key
        return
    try:
        address = libc.shmat(segment, None, 0)
        ctypes.memmove(address, word.encode(), len(word))
        yield key
    finally:
        libc.shmctl(segment, 0, None)
