"""Tasks for the tests of the cluster that misbehave as submissions' tasks may: workers import them."""

import os
import signal
import threading
import time
from pathlib import Path

from coursekit.grading.cluster_worker import WrongWorker


def square(number: int, pool, cancel: threading.Event) -> tuple[int, int, bool]:
    """The square, the process that worked it out, and whether there was a sandbox."""
    return number**2, os.getpid(), pool is not None


def note(folder: str, name: str) -> int:
    """Leave a mark for each time that a task was started. Returns how often that was."""
    with open(Path(folder) / name, "a") as file:
        file.write(f"{os.getpid()}\n")
    return len((Path(folder) / name).read_text().splitlines())


def dies_at_first(folder: str, name: str, pool, cancel: threading.Event) -> str:
    if note(folder, name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def fails(folder: str, name: str, times: int, pool, cancel: threading.Event) -> str:
    if note(folder, name) <= times:
        raise RuntimeError(f"no room for {name}")
    return name


def waits(folder: str, name: str, pool, cancel: threading.Event) -> None:
    note(folder, name)
    if not cancel.wait(60):
        raise TimeoutError("nobody cancelled this task")
    (Path(folder) / f"{name} cancelled").touch()


def takes(folder: str, name: str, seconds: float, pool, cancel: threading.Event) -> str:
    note(folder, name)
    time.sleep(seconds)
    return name


def meets_a_wrong_worker(pool, cancel: threading.Event) -> None:
    raise WrongWorker("the worker tcp://somewhere has another version of coursekit")
