# ruff: noqa: E501 - one line per submission reads as a table
"""Attempts to use up time, processes, memory, disk and patience.

Each attack is bounded, far above what the grader allows: should it not hold, the machine survives, and the verdict says
so. Only the question under attack is lost.
"""

from hostile.case import FULL, TESTS, Case, Verdict, code, in_call, in_cell, zero

TIMED_OUT = zero("timed out")
STOPPED = zero("crashed", "timed out", "died")  # by one limit or the other, which depends on the machine

SWALLOW = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"

FORK_BOMB = """
def bomb(generations):
    # Doubles until it may not any more; 2,048 processes at most.
    with quietly:
        for _ in range(generations):
            os.fork()
    time.sleep(30)
"""

EAT = """
def eat(more, most=8 << 30, step=64 << 20):
    # more(): takes `step` bytes and keeps them. Ends at `most`, which nobody should ever have been allowed.
    eaten = 0
    while eaten < most:
        more(step)
        eaten += step
    escaped("memory", eaten)
"""

FILL = """
def fill(folder, most=8 << 30):
    piece, written = bytes(16 << 20), 0
    try:
        while written < most:
            with open(f"{folder}/filler-{written}", "wb") as file:
                for _ in range(8):
                    written += file.write(piece)
    except OSError as error:
        print("full after", written, error.strerror)
    else:
        escaped("disk", folder, written)
"""


def last_cells(*sources: str) -> Case:
    """Cells of the student's own at the end, for which time may run out."""
    return Case(lambda notebook: notebook.cells.extend(code(source) for source in sources), MAY_LACK_TIME)


# An attack by a notebook on itself, outside of any question: whatever it loses, it gains nothing.
ITSELF = {
    test: Verdict(("passed", "died", "timed out", "crashed", "not attempted"), (0.0, FULL[test])) for test in TESTS
}

# Where time runs out for all: what is done until then counts, or nothing does.
MAY_LACK_TIME = {test: Verdict(("passed", "timed out"), (0.0, FULL[test])) for test in TESTS}

CASES: dict[str, Case] = {
    # --- time
    "loop": in_call("while True:\n    pass", TIMED_OUT),
    "loop-swallowing-everything": in_call(SWALLOW, TIMED_OUT),
    "loop-deaf-to-signals": in_call(
        "import signal\nfor number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    signal.signal(number, signal.SIG_IGN)\n" + SWALLOW,
        TIMED_OUT,
    ),
    "loop-in-c": in_call("import ctypes\nctypes.PyDLL(None).sleep(1000)", TIMED_OUT),
    "power-without-end": in_call("return 7 ** 7 ** 7 ** 7", STOPPED),
    "pattern-without-end": in_call("return re.match(r'(a+)+b', 'a' * 60)", TIMED_OUT),
    "sleep": in_call("time.sleep(1000)", TIMED_OUT),
    "stopped-by-itself": in_call("import signal\nos.kill(os.getpid(), signal.SIGSTOP)\nreturn x", TIMED_OUT),
    "loop-in-a-cell": in_cell("while True:\n    pass", remark="'while True:': stopped after"),
    "loop-swallowing-everything-in-a-cell": in_cell(SWALLOW, remark="'while True:': stopped after"),
    "loop-in-c-in-a-cell": in_cell(
        "import ctypes\nctypes.PyDLL(None).sleep(1000)", remark="'import ctypes': stopped after"
    ),
    "stopped-by-itself-in-a-cell": in_cell(
        "import signal; os.kill(os.getpid(), signal.SIGSTOP)", remark="stopped after"
    ),
    "loop-in-the-answer": in_cell(
        "", {"test-clip": TIMED_OUT}, clip="while True:\n    pass\n\ndef clip(x):\n    return x.clamp(0, 1)"
    ),
    "defined-and-then-slow": in_cell(
        "", remark="stopped after", clip="def clip(x):\n    return x.clamp(0, 1)\n\ntime.sleep(1000)"
    ),
    "loop-before-the-parser": in_cell("(" * 100 + ")" * 100 + "\n" + "+".join(["(" * 90 + "1" + ")" * 90] * 300)),
    "loop-in-a-hook": in_cell(
        # Every later cell hangs before it begins; whether it is run after all is IPython's affair.
        "def hang(*_):\n    while True: pass\n\nget_ipython().events.register('pre_run_cell', hang)",
        ITSELF,
        says="",
    ),
    "many-slow-cells": last_cells(*["time.sleep(2)" if i else "import time" for i in range(12)]),
    "many-slow-calls": in_call("time.sleep(1.4)\nreturn x.clamp(0, 1)", TIMED_OUT),
    "late-after-the-answer": in_call(
        "threading.Thread(target=time.sleep, args=(1000,)).start()\nreturn x.clamp(0, 1)", Verdict(("passed",), (3.0,))
    ),
    "slow-text": in_cell(
        "class Slow:\n    def __repr__(self):\n        time.sleep(1000)\n\nSlow()", remark="stopped after"
    ),
    # --- processes and threads
    "fork-bomb": in_call(FORK_BOMB + "\nbomb(11)\nreturn x.clamp(0, 1)", STOPPED),
    "fork-bomb-in-a-cell": in_cell(
        FORK_BOMB + "\nif os.fork() == 0:\n    bomb(11)\n    os._exit(0)\ntime.sleep(1)", ITSELF, says=""
    ),
    "thread-bomb": in_cell(
        """
        started = 0
        with quietly:
            for _ in range(20_000):
                threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
                started += 1
        print("started", started)
        if started > 5000:
            escaped("threads", started)
        """,
        ITSELF,
        says="started",
    ),
    "daemons": in_cell(
        """
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)  # @MARK@"])
                os._exit(0)
        subprocess.Popen(["nohup", "setsid", "sleep", "601"], start_new_session=True)
        !(sleep 602 &) ; nohup sleep 603 >/dev/null 2>&1 &
        """
    ),
    "daemons-from-a-call": in_call(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.execv('/bin/sleep', ['sleep', '604'])\n"
        "    os._exit(0)\nreturn x.clamp(0, 1)",
        Verdict(("passed",), (3.0,)),
    ),
    "a-child-that-goes-on-as-the-notebook": in_cell("os.fork()"),
    "many-children-as-the-notebook": in_call(
        "os.fork()\nreturn x.clamp(0, 1)", Verdict(("passed", "partial", "wrong", "crashed"), (0.0, 1.0, 2.0, 3.0))
    ),
    "signals-to-everybody": in_cell(
        "import signal",
        ITSELF | {"test-clip": zero("crashed", "died", "timed out", "wrong")},
        clip="""
        def clip(x):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
                with quietly:
                    os.kill(-1, number)
            return x + 0.5
        """,
    ),
    "signals-to-everybody-in-a-cell": in_cell("import signal\nos.kill(-1, signal.SIGKILL)"),
    "signals-to-each": in_cell(
        """
        import signal
        for process in range(1, 5000):
            if process != os.getpid():
                with quietly:
                    os.kill(process, signal.SIGKILL)
        """,
    ),
    "parent-killed": in_call(
        "import signal\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(0.5)\nreturn x.clamp(0, 1)",
        Verdict(("passed", "crashed", "died", "timed out"), (0.0, 3.0)),
    ),
    "parent-stopped": in_call(
        "import signal\nos.kill(os.getppid(), signal.SIGSTOP)\nreturn x.clamp(0, 1)",
        Verdict(("passed", "crashed", "died", "timed out"), (0.0, 3.0)),
    ),
    "parent-stopped-in-a-cell": in_cell("import signal\nos.kill(os.getppid(), signal.SIGSTOP)"),
    "first-process-stopped-in-a-cell": in_cell(
        "import signal\nwith quietly:\n    os.kill(1, signal.SIGSTOP)\nwith quietly:\n    os.kill(1, signal.SIGKILL)"
    ),
    # --- memory
    "memory": in_call(EAT + "\nkept = []\neat(lambda step: kept.append(bytearray(b'x') * step))", STOPPED),
    "memory-of-torch": in_call(
        EAT + "\nkept = []\neat(lambda step: kept.append(torch.ones(step, dtype=torch.uint8)))", STOPPED
    ),
    "memory-at-once": in_call("return len(bytearray(10**12))", STOPPED),
    "memory-shared": in_call(
        EAT
        + "\nimport mmap\nkept = []\ndef more(step):\n    kept.append(mmap.mmap(-1, step))\n    for page in range(0, step, 4096):\n        kept[-1][page] = 1\neat(more)",
        STOPPED,
    ),
    "memory-in-a-file-of-memory": in_call(
        EAT + "\nfile = os.memfd_create('x')\neat(lambda step: os.write(file, bytes(step)))", STOPPED
    ),
    "memory-in-dev-shm": in_call(
        EAT
        + "\nwith open('/dev/shm/filler', 'wb', 0) as file:\n    eat(lambda step: file.write(bytes(step)) == step or file.write(bytes(1 << 20)))",
        STOPPED,
    ),
    "memory-in-pipes": in_call(
        """
        import fcntl
        kept = []
        for _ in range(20_000):
            read, write = os.pipe()
            os.set_blocking(write, False)
            with quietly:
                fcntl.fcntl(write, 1031, 1 << 20)
            with quietly:
                os.write(write, bytes(1 << 20))
            kept.append((read, write))
        """,
        STOPPED,
    ),
    "memory-of-many-processes": in_cell(
        """
        for _ in range(40):
            with quietly:
                if os.fork() == 0:
                    with quietly:
                        kept = bytearray(b"x") * (400 << 20)
                        time.sleep(20)
                    os._exit(0)
        time.sleep(1)
        """,
        says="",
    ),
    "memory-of-many-processes-in-a-call": in_call(
        """
        for _ in range(40):
            with quietly:
                if os.fork() == 0:
                    with quietly:
                        kept = bytearray(b"x") * (400 << 20)
                        time.sleep(20)
                    os._exit(0)
        time.sleep(2)
        return x.clamp(0, 1)
        """,
        STOPPED,
    ),
    "memory-locked": in_call(
        "import ctypes, mmap\nkept = mmap.mmap(-1, 512 << 20)\nctypes.CDLL(None).mlockall(3)\nreturn x + 0.5"
    ),
    "recursion": in_call("return clip(x)", zero("crashed", reason="RecursionError")),
    "recursion-without-a-limit": in_call("sys.setrecursionlimit(10**9)\nreturn clip(x)", STOPPED),
    "stack-in-c": in_call(
        "import threading\nthreading.stack_size(16 << 20)\nsys.setrecursionlimit(10**9)\nf = lambda y: [f(z) for z in [y]]\nreturn f(x)",
        STOPPED,
    ),
    "parser": in_call("return eval('-' * 5_000_000 + '1')", STOPPED),
    # --- disk and descriptors
    "disk": in_cell(
        FILL
        + "\nfor folder in (os.getcwd(), '/tmp', os.path.expanduser('~'), '/dev/shm', '/var/tmp'):\n    with quietly:\n        fill(folder)",
        says="full after",
    ),
    "disk-from-a-call": in_call(
        FILL + "\nfill(os.getcwd())\nreturn x.clamp(0, 1)",
        Verdict(("passed", "timed out", "crashed", "died"), (0.0, 3.0)),
    ),
    "large-file-of-nothing": in_cell(
        "with quietly, open('large', 'wb') as file:\n    file.truncate(1 << 50)\n    escaped('a file of a petabyte')",
        says="tried",
    ),
    "files": in_cell(
        """
        made = 0
        with quietly:
            for _ in range(10):
                os.mkdir(f"folder-{_}")
                for number in range(50_000):
                    open(f"folder-{_}/{number}", "w").close()
                    made += 1
        print("made", made)
        """,
        says="",
    ),
    "folders-in-folders": in_cell(
        "with quietly:\n    for _ in range(3000):\n        os.mkdir('f')\n        os.chdir('f')"
    ),
    "folders-locked": in_cell("os.makedirs('a/b')\nos.chmod('a/b', 0)\nos.chmod('a', 0)\nos.chmod('.', 0)"),
    "descriptors": in_cell(
        "kept = []\nwith quietly:\n    for _ in range(100_000):\n        kept.append(open('/dev/null'))\nprint('had', len(kept))\n"
        "if len(kept) > 90_000:\n    escaped('descriptors')\nkept.clear()",
        says="had",
    ),
    "descriptors-kept": in_call(
        "torch.kept = []\nwith quietly:\n    while True:\n        torch.kept.append(os.dup(0))\nreturn x.clamp(0, 1)",
        Verdict(("passed", "crashed", "died"), (0.0, 3.0)),
    ),
    # --- output
    "output": in_cell("while True:\n    print('x' * 100_000)", remark="'while True:': stopped after"),
    "output-below-python": in_cell(
        "while True:\n    os.write(1, b'x' * 100_000)", remark="'while True:': stopped after"
    ),
    "output-from-a-call": in_call(
        "for _ in range(2000):\n    print('x' * 100_000)\n    os.write(1, b'y' * 10_000)\nreturn x.clamp(0, 1)",
        Verdict(("passed", "timed out"), (0.0, 3.0)),
    ),
    "output-for-cells-that-are-not-there": in_cell(
        # The marks by which the grader tells whose output is whose, and enough behind each to fill its memory.
        """
        with quietly:
            for number in range(10_000):
                os.write(2, b"\\0cell %d\\0" % number + b"x" * 70_000)
        """,
        says="",
    ),
    "events-without-end": in_cell(
        """
        for descriptor in range(3, 64):
            with quietly:
                if os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe"):
                    print("pipe", descriptor)
                    os.write(descriptor, b"\\n" + b"{}\\n" * 2_000_000 + b"x" * 40_000_000 + b"\\n")
        """,
        says="",
    ),
    "output-from-a-daemon": in_cell("if os.fork() == 0:\n    while True:\n        os.write(2, b'x' * 1000)"),
    "pictures": in_cell(
        "from IPython.display import display\nfor _ in range(300):\n    display({'image/png': 'A' * 2_000_000}, raw=True)"
    ),
    "result-of-a-cell": in_cell("'x' * 200_000_000"),
    "displays": in_cell("for i in range(20_000):\n    display(i)"),
    "errors": in_cell("raise ValueError('x' * 200_000_000)"),
    "names": in_cell("globals().update({f'name_{i}': (lambda: 0) for i in range(300_000)})", MAY_LACK_TIME),
    "many-names-for-an-answer": in_cell("globals().update({'x' * 10_000_000: 1, 7: 2, '\\ud800': 3, 'a b': len})"),
}
