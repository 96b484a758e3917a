"""What all processes of a submission use together, looked at from outside: real processes and their real memory."""

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from coursekit.grading.sandbox import watchdog
from coursekit.grading.sandbox.watchdog import Watch, descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is a thing of Linux")

ROOT = Path(__file__).parents[2]
MB = 1024**2
MANY = 1000  # processes
# Orphans go to this process, as they go to process 1 of a sandbox. `say` tells that a state is reached.
START = """
import ctypes, mmap, os, sys, threading, time
libc = ctypes.CDLL(None)
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

def wait():
    time.sleep(60)
    os._exit(0)

def say():
    os.write(1, b"ready\\n")

def reached(count):
    # Wait for a byte from each of so many children.
    left = count
    while left:
        left -= len(os.read(told, left))
    say()

told, tell = os.pipe()
"""


@pytest.fixture
def started():
    """started(script): a process in the state at which the script says so."""
    running = []

    def start(script):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", START + textwrap.dedent(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        running.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in running:
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait()
        process.stdin.close()
        process.stdout.close()


def go_on(process):
    """Let it go on to its next state."""
    process.stdin.write(b"\n")
    assert process.stdout.readline() == b"ready\n"


# --- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keep",
    {
        "heap": "x = bytearray(b'x') * (64 << 20)",
        "shared": "x = mmap.mmap(-1, 64 << 20)\nx.write(bytes(64 << 20))",
        "file of memory": (
            "f = os.memfd_create('x')\nos.truncate(f, 64 << 20)\nx = mmap.mmap(f, 0)\nx.write(bytes(64 << 20))"
        ),
    }.values(),
)
def test_memory_of_a_child_counts(started, keep):
    process = started(
        f"""
        say()
        sys.stdin.readline()
        if os.fork() == 0:
            exec({keep!r})
            say()
        wait()
        """
    )
    watch = Watch(process.pid)
    assert watch.over(32 * MB, MANY) == ""
    go_on(process)
    assert watch.over(128 * MB, MANY) == ""
    assert watch.over(32 * MB, MANY) == "used more than 0.03125 GB of memory"


def test_many_small_ones_are_much_together(started):
    process = started(
        """
        say()
        sys.stdin.readline()
        for _ in range(8):
            if os.fork() == 0:
                x = bytearray(b'x') * (12 << 20)
                os.write(tell, b"x")
                wait()
        reached(8)
        wait()
        """
    )
    watch = Watch(process.pid)
    go_on(process)
    assert watch.over(64 * MB, MANY)
    assert not watch.over(200 * MB, MANY)


def test_memory_that_is_shared_counts_once(started):
    process = started(
        """
        say()
        sys.stdin.readline()
        x = mmap.mmap(-1, 32 << 20)
        for _ in range(6):
            if os.fork() == 0:
                x[:] = bytes(32 << 20)
                os.write(tell, b"x")
                wait()
        reached(6)
        wait()
        """
    )
    watch = Watch(process.pid)
    go_on(process)
    assert sum(shared_memory(pid) for pid in descendants(process.pid)) >= 6 * 32 * MB
    assert not watch.over(96 * MB, MANY)
    assert eventually(watch, 16 * MB)


def shared_memory(pid):
    """Bytes that this process has touched, whoever else has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssShmem:"))


def test_what_was_there_before_does_not_count_however_many_share_it(started):
    process = started(
        """
        x = bytearray(b'x') * (48 << 20)
        say()
        sys.stdin.readline()
        for _ in range(6):
            if os.fork() == 0:
                os.write(tell, b"x")
                wait()
        reached(6)
        sys.stdin.readline()
        if os.fork() == 0:
            x[::4096] = bytes(len(x) // 4096)  # a copy of its own now
            y = bytearray(b'y') * (48 << 20)
            say()
            wait()
        wait()
        """
    )
    watch = Watch(process.pid)
    go_on(process)
    assert not watch.over(40 * MB, MANY)
    go_on(process)
    assert not watch.over(128 * MB, MANY)
    assert eventually(watch, 40 * MB)


def eventually(watch, memory):
    """What it says within the time from one exact look to the next."""
    until = time.monotonic() + 2 * watchdog.LONGEST_WAIT
    while time.monotonic() < until:
        if said := watch.over(memory, MANY):
            return said
    return ""


def test_who_may_not_look_closely_still_sees_what_is_too_much():
    """A process may be closed to other processes of its user, as the sandbox closes its own."""
    script = """
        import ctypes, os, sys
        from coursekit.grading.sandbox.watchdog import Watch
        read, write = os.pipe()
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            if os.getuid() == 0:
                os.setuid(65534)
            assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
            os.read(read, 1)
            for _ in range(4):
                if os.fork() == 0:
                    break
            x = bytearray(b"x") * (32 << 20)
            os.write(tell, b"x")
            os.read(read, 1)
            os._exit(0)
        if os.getuid() == 0:
            os.setuid(65534)
        watch = Watch(child)
        os.write(write, b"x")
        left = 5
        while left:
            left -= len(os.read(told, left))
        try:
            open(f"/proc/{child}/smaps_rollup").read()
        except PermissionError:
            print(watch.over(100 << 20, 1000), watch.over(1 << 30, 1000), sep="|")
        else:
            print("open")
        os.write(write, b"xxxxx")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
    if said == "open\n":
        pytest.skip("elsewhere: every process may look into every other here")
    assert said == "used more than 0.0976562 GB of memory|\n"


# --- processes ------------------------------------------------------------------------------------------------------


def test_processes_count_also_when_they_have_left_their_parents(started):
    process = started(
        """
        say()
        sys.stdin.readline()
        if os.fork() == 0:
            os.setsid()
            for _ in range(20):
                if os.fork() == 0:
                    os.setsid()
                    os.write(tell, b"x")
                    wait()
            os._exit(0)
        os.wait()
        reached(20)
        wait()
        """
    )
    watch = Watch(process.pid)
    assert watch.over(1 << 40, 1) == ""
    go_on(process)
    assert watch.over(1 << 40, 21) == ""
    assert watch.over(1 << 40, 20) == "started more than 20 processes"


def test_threads_count(started):
    process = started(
        """
        for _ in range(20):
            threading.Thread(target=wait).start()
        say()
        wait()
        """
    )
    assert Watch(process.pid).over(1 << 40, 21) == ""
    assert Watch(process.pid).over(1 << 40, 20) == "started more than 20 processes"


def test_a_fork_bomb_is_seen(started):
    process = started(
        """
        say()
        for _ in range(6):  # 64 processes
            os.fork()
        wait()
        """
    )
    watch = Watch(process.pid)
    until = time.monotonic() + 30
    while not (said := watch.over(1 << 40, 32)) and time.monotonic() < until:
        time.sleep(0.02)
    assert said == "started more than 32 processes"


def test_descendants_are_the_same_without_a_list_of_children(started, monkeypatch):
    """Some kernels are built without it."""
    process = started(
        """
        def grow(depth):
            for _ in range(2):
                if depth and os.fork() == 0:
                    grow(depth - 1)
                    os.write(tell, b"x")
                    wait()
        # Also from a thread that is not the first.
        thread = threading.Thread(target=grow, args=[2])
        thread.start()
        thread.join()
        reached(6)
        wait()
        """
    )
    listed = descendants(process.pid)
    assert len(listed) == 7
    monkeypatch.setattr(watchdog, "_children_are_listed", lambda: False)
    assert descendants(process.pid) == listed


# --- whatever happens -------------------------------------------------------------------------------------------------


def test_who_is_gone_uses_nothing():
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    watch = Watch(process.pid)
    assert watch.over(0, 0) == ""
    assert descendants(process.pid) == {process.pid}


def test_processes_may_come_and_go_meanwhile(started):
    process = started(
        """
        say()
        while True:
            if os.fork() == 0:
                if os.fork() == 0:
                    x = bytearray(b'x') * (1 << 20)
                os._exit(0)
            os.wait()
        """
    )
    watch = Watch(process.pid)
    said = set()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        watch._not_before = 0.0  # an exact look each time
        said |= {watch.over(0, MANY), watch.over(1 << 40, MANY)}
    assert said <= {"", "used more than 0 GB of memory"}
    assert process.poll() is None


def test_exact_looks_are_not_taken_all_the_time(started):
    process = started("say()\nsys.stdin.readline()\nx = bytearray(b'x') * (32 << 20)\nsay()\nwait()")
    watch = Watch(process.pid)
    go_on(process)
    assert watch.over(16 * MB, MANY)
    assert watch.over(16 * MB, MANY) == ""  # at once after the first
    assert eventually(watch, 16 * MB)


def test_an_exact_look_may_take_several_calls(started, monkeypatch):
    process = started(
        """
        say()
        sys.stdin.readline()
        for _ in range(8):
            if os.fork() == 0:
                x = bytearray(b'x') * (12 << 20)
                os.write(tell, b"x")
                wait()
        reached(8)
        wait()
        """
    )
    watch = Watch(process.pid)
    go_on(process)
    monkeypatch.setattr(watchdog, "PORTION", 1e-9)  # hardly one process
    said = [watch.over(64 * MB, MANY) for _ in range(20)]
    assert said[0] == ""
    assert any(said)
    assert watch.over(1 << 40, 8) == "started more than 8 processes"  # seen at any time
