"""The preloaded process: `python -m coursekit.grading.inside.zygote student|examiner nested|alone`.

It imports what notebooks and checks need, does nothing in several threads (a child forked after that may hang), and
then forks a child for every message on its stdin, a socket of whole messages; the descriptors that come with the
message are the child's. The child becomes process 1 of namespaces of its own and starts the process that does the work:

    zygote -- process 1 of the submission -- the student's process (or the examiner)

Where namespaces cannot be nested it is "alone": it serves one message, and becomes process 1 of that submission itself.
Process 1 reads the job and the files from the first descriptor; what it does then is in `keeper.py`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from coursekit.grading.inside.keeper import Keeper, tell
from coursekit.grading.sandbox import jail

MODULES = (
    "numpy", "torch", "torchvision", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "tqdm.auto",
    "IPython.core.interactiveshell", "coursekit.attacks", "coursekit.certify", "coursekit.checks", "coursekit.data",
    "coursekit.defenses", "coursekit.evaluation", "coursekit.models", "coursekit.plots", "coursekit.training",
    "coursekit.widgets", "highspy", "scipy.optimize", "scipy.stats",
    "coursekit.grading.inside.examiner", "coursekit.grading.inside.student",
)  # fmt: skip


def main(role: str, nested: bool) -> None:
    grader = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if nested:
        jail.prepare()
    jail.make_box()
    _preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they leave no zombies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that of the terminal is for the grader
    gc.collect()
    gc.freeze()  # the collector would write to every page that the children share
    grader.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(grader, 4096, 253)
        if not message:
            return
        # Alone, it becomes process 1 of the submission itself, which nothing in there can end.
        if not nested or os.fork() == 0:
            grader.close()
            _child(role, nested, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _preload() -> None:
    for file in Path("/fonts").glob("fontlist-*.json"):
        shutil.copy(file, os.environ["MPLCONFIGDIR"])
    for name in MODULES:
        importlib.import_module(name)
    import torch

    from coursekit import data

    torch.set_num_threads(1)
    for split in ("train", "test"):
        data.load("mnist", split)  # kept, so that the children find it there


def _child(role: str, nested: bool, descriptors: list[int]) -> None:
    """From the fork to the end of a submission. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control = socket.socket(fileno=descriptors[0])
    try:
        if nested:
            jail.enter()
        else:
            jail.keep_shut()
        jail.make_box()
        tell(control, {"here": True})  # the kernel adds our number, by which the grader knows us
        job = _read_job(control)
        work = importlib.import_module(f"coursekit.grading.inside.{role}").main
        announced, job["announce"] = os.pipe()
        process = os.fork()
        if process == 0:
            control.close()
            os.close(announced)
            _work(work, job, descriptors[1:])
        for descriptor in (*descriptors[1:], job["announce"]):
            os.close(descriptor)
        Keeper(control, process, announced).keep()
    except BaseException as error:
        tell(control, {"failed": f"{type(error).__name__}: {error}"})
    os._exit(1)


def _work(work: Callable[[dict, list[int]], None], job: dict, descriptors: list[int]) -> None:
    try:
        work(job, descriptors)
    finally:
        # Not a normal exit: an atexit handler or a thread of the student must not keep us, and all is said.
        os._exit(0)


def _read_job(control: socket.socket) -> dict:
    """One line of JSON, and the contents of the files that it names, which are put into the current folder."""
    with control.makefile("rb", buffering=1 << 16) as stream:
        job = json.loads(stream.readline())
        for relative, size in job.pop("files"):
            path = Path(relative)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stream.read(size))
        if stream.read(1) != b"\n":
            raise ValueError("the job is not complete")
    return job


if __name__ == "__main__":
    main(sys.argv[1], nested=sys.argv[2] == "nested")
