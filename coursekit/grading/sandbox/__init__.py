"""The sandbox that students' code runs in: which one there is on this machine, and why.

bubblewrap   the sandbox of a zygote: no network, nothing of the machine but the system and Python, read-only
jail         namespaces of its own for each submission in it, and limits
seccomp      calls to the kernel that no notebook needs
cgroup       bounds on memory and processes where the machine lets us set them, and
watchdog     where it does not
"""

from __future__ import annotations

import subprocess
import sys

from coursekit.grading.sandbox import bubblewrap, cgroup
from coursekit.grading.sandbox.bounds import Bounds

STARTS = 20  # seconds
# The process that leaves must know how its child fared: it is the one whose exit code we see.
ENTER = """
import os
from coursekit.grading.sandbox import jail
jail.prepare()
child = os.fork()
if not child:
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        os._exit(os.read(read, 1) != b"+")
    jail.enter()
    os.write(write, b"+")
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Unavailable(Exception):
    """There is no sandbox on this machine. `reason`: why; `remedy`: what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def nesting() -> bool:
    """Whether each submission can have namespaces of its own within the sandbox of the zygote. Raises Unavailable if
    there is no sandbox at all."""
    if sys.platform != "linux":
        raise Unavailable(f"there is no sandbox for {sys.platform}", "grade on Linux, or in a virtual machine with it")
    if bubblewrap.program() is None:
        raise Unavailable("bubblewrap is not installed", "install it: sudo apt-get install bubblewrap")
    if problem := _try("pass", nested=False):
        raise Unavailable(f"bubblewrap does not start: {problem}", "coursekit doctor says what may help")
    return not nesting_refused()


def nesting_refused() -> str:
    """Why a submission cannot have namespaces of its own within the sandbox; empty if it can."""
    return _try(ENTER, nested=True)


def _try(code: str, nested: bool) -> str:
    """Run a line of Python in the sandbox. Returns what went wrong, empty if nothing."""
    try:
        run = subprocess.run(
            bubblewrap.command("-c", code, nested=nested),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STARTS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (run.stderr.strip().splitlines() or ["no reason given"])[-1] if run.returncode else ""


__all__ = ["Bounds", "Unavailable", "bubblewrap", "cgroup", "nesting"]
