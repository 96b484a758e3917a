"""The filter of kernel calls: what it refuses, in real processes, and what has to work all the same."""

import errno
import json
import os
import platform
import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from coursekit.grading.sandbox import seccomp

pytestmark = pytest.mark.skipif(bool(seccomp.available()), reason=f"no filter here: {seccomp.available()}")

ROOT = Path(__file__).parents[2]
HEADERS = {
    "x86_64": Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
COLUMN = {"x86_64": 0, "aarch64": 1}
ALLOWED = 0
FILTERED = """
import ctypes
from coursekit.grading.sandbox import seccomp
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
seccomp.install()
"""
CALLS = """
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    # The error number, 0 for success.
    arguments = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return 0 if libc.syscall(ctypes.c_long(number), *arguments) >= 0 else ctypes.get_errno()
"""


def run(script, filtered=True):
    """Run a script in a process of its own, with the filter or without. Returns what it prints, read as JSON."""
    script = textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", (FILTERED if filtered else "") + CALLS + script],
        capture_output=True, text=True, cwd=ROOT, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def number_of(name):
    own = {"clone": (56, 220), "socketpair": (53, 199), "ioctl": (16, 29), "getpid": (39, 172)}
    return (seccomp.REFUSED | seccomp.MISSING | own)[name][COLUMN[platform.machine()]]


# --- refused ----------------------------------------------------------------------------------------------------------


def test_every_call_of_the_lists_is_refused():
    numbers = {name: number_of(name) for name in seccomp.REFUSED | seccomp.MISSING}
    numbers = {name: number for name, number in numbers.items() if number is not None}
    # With arguments that do no harm should one get through.
    results = run(f"print(json.dumps({{name: call(number, *[-1] * 6) for name, number in {numbers}.items()}}))")
    assert results == {name: errno.ENOSYS if name in seccomp.MISSING else errno.EPERM for name in numbers}


# Calls that any process may make, so that it can be nothing but the filter that refuses them.
HARMLESS = {
    "unshare": "call(number, 0)",
    "personality": "call(number, 0xffffffff)",
    "kcmp": "call(number, os.getpid(), os.getpid(), 1, 0, 0)",
    "move_pages": "call(number, 0, 0, None, None, None, 0)",
    "process_vm_readv": "call(number, os.getpid(), None, 0, None, 0, 0)",
    "memfd_create": "call(number, b'x', 0)",
    "shmget": "call(number, 0, 4096, 0o600) or libc.shmctl(libc.shmget(0, 4096, 0o600), 0, None)",
    "io_setup": "call(number, 1, (ctypes.c_ulong * 1)())",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_it_is_the_filter_that_refuses(name):
    script = f"number = {number_of(name)}\nprint({HARMLESS[name]})"
    if run(script, filtered=False) != 0:
        pytest.skip("elsewhere: not a call that this process may make")
    assert run(script) == (errno.ENOSYS if name in seccomp.MISSING else errno.EPERM)


def test_no_process_is_started_in_a_namespace_of_its_own_but_others_are():
    kinds = {"mount": 0x20000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
             "pid": 0x20000000, "net": 0x40000000}  # fmt: skip
    results = run(
        f"""
        import signal
        number = ctypes.c_long({number_of("clone")})
        def clone(flags):
            child = libc.syscall(number, ctypes.c_long(flags | signal.SIGCHLD), *[None] * 4)
            if child == 0:
                os._exit(7)
            return ctypes.get_errno() if child == -1 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        print(json.dumps([clone(0), *(clone(flags) for flags in {list(kinds.values())})]))
        """
    )
    assert results == [7] + [errno.EPERM] * len(kinds)


def test_sockets_only_of_the_families_that_a_network_namespace_keeps_in():
    results = run(
        """
        def make(how, *arguments):
            try:
                for end in how(*arguments) if how is socket.socketpair else [how(*arguments)]:
                    end.close()
                return 0
            except OSError as error:
                return error.errno
        allowed = [make(socket.socket, family) for family in (socket.AF_UNIX, socket.AF_INET)]
        allowed.append(make(socket.socketpair))
        # Netlink, packets, the kernel's ciphers, Bluetooth, vsock, and a number far out.
        refused = [make(socket.socket, family, kind) for family, kind in
                   ((16, 3), (17, 3), (38, 5), (31, 3), (40, 1), (1000, 1), (1 << 30 | 1, 1))]
        refused.append(make(socket.socketpair, 30, 1))  # TIPC
        print(json.dumps([allowed, refused]))
        """
    )
    assert results == [[0, 0, 0], [errno.EAFNOSUPPORT] * 8]


def test_nothing_is_typed_into_a_terminal():
    terminal = """
        import fcntl, pty, termios
        _, terminal = pty.openpty()
        def do(request, argument):
            try:
                fcntl.ioctl(terminal, request, argument)
                return 0
            except OSError as error:
                return error.errno
        print(json.dumps([do(termios.TIOCGWINSZ, bytes(8)), do(termios.TIOCSTI, b"x"), do(0x541C, b"\\x03"),
                          call(IOCTL, terminal, 1 << 32 | termios.TIOCSTI, ctypes.c_char_p(b"x"))]))
    """.replace("IOCTL", str(number_of("ioctl")))
    assert run(terminal) == [0, errno.EPERM, errno.EPERM, errno.EPERM]


def test_calls_that_are_newer_than_the_lists_are_missing():
    assert run("print(json.dumps([call(n, *[-1] * 6) for n in (463, 467, 500, 1 << 20)]))") == [errno.ENOSYS] * 4


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other ways into the kernel are a thing of x86")
def test_the_ways_of_32_bit_programs_into_the_kernel_are_shut():
    script = """
        import mmap
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        old_way = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        child = os.fork()  # where there is no such way, it does not survive
        if child == 0:
            os._exit({os.getpid(): 1, -errno.EPERM: 2}.get(old_way(), 3))
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), call(0x40000000 | 39)]))
    """
    open_before, _ = run(script, filtered=False)
    old, x32 = run(script)
    assert old == 2 or open_before != 1
    assert x32 == errno.ENOSYS


def test_there_is_no_way_back_and_children_have_it_too():
    results = run(
        f"""
        import subprocess
        child = "import ctypes; print(ctypes.CDLL(None).syscall({number_of("unshare")}, 0))"
        print(json.dumps([
            subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.strip(),
            [line.split()[1] for line in open("/proc/self/status") if line.startswith("Seccomp:")],
            libc.prctl(22, 0, 0, 0, 0),  # to turn it off
        ]))
        """
    )
    assert results == ["-1", ["2"], -1]


def test_a_process_that_may_still_gain_rights_gets_no_filter():
    if os.getuid() == 0:
        pytest.skip("elsewhere: root may without")
    results = run(
        """
        from coursekit.grading.sandbox import seccomp
        try:
            seccomp.install()
        except OSError as error:
            print(json.dumps([error.errno, str(error)]))
        """,
        filtered=False,
    )
    assert results[0] == errno.EACCES
    assert "refused" in results[1]


# --- works ------------------------------------------------------------------------------------------------------------


def test_what_notebooks_do_with_python_works():
    results = run(
        """
        import asyncio, mmap, multiprocessing, subprocess, tempfile, threading, time
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        from multiprocessing import shared_memory
        import numpy as np

        def square(x):
            return x * x

        context = multiprocessing.get_context("fork")
        done = {}
        done["threads"] = sum(ThreadPoolExecutor(3).map(square, range(4)))
        with context.Pool(2) as pool:
            done["processes"] = sum(pool.map(square, range(4)))
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            done["executor"] = sum(pool.map(square, range(4)))
        memory = shared_memory.SharedMemory(create=True, size=4096)
        memory.buf[0] = 5
        done["shared memory"] = memory.buf[0]
        memory.close()
        memory.unlink()
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", np.arange(5))
            done["files"] = int(np.load(f"{folder}/x.npy", mmap_mode="r").sum())
        done["programs"] = subprocess.run("echo $((1 + 1))", shell=True, capture_output=True, text=True).stdout
        done["programs without a shell"] = subprocess.run(["true"], close_fds=False).returncode  # posix_spawn
        done["names"] = socket.getaddrinfo("127.0.0.1", 80)[0][4][0]
        done["linear algebra"] = round(float(np.linalg.det(np.eye(50) @ np.eye(50))))
        done["asyncio"] = asyncio.run(asyncio.sleep(0, "slept"))
        server = socket.create_server(("127.0.0.1", 0))
        done["sockets"] = socket.create_connection(server.getsockname()).getpeername() == server.getsockname()
        print(json.dumps(done))
        """
    )
    assert results == {
        "threads": 14, "processes": 14, "executor": 14, "shared memory": 5, "files": 10, "programs": "2\n",
        "programs without a shell": 0, "names": "127.0.0.1", "linear algebra": 1, "asyncio": "slept", "sockets": True,
    }  # fmt: skip


@pytest.mark.slow
def test_what_notebooks_do_with_torch_works():
    results = run(
        """
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset
        torch.set_num_threads(2)
        torch.manual_seed(0)
        x = torch.rand(64, 1, 8, 8)
        y = (x.mean(dim=(1, 2, 3)) > 0.5).long()
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        seen = 0
        for sharing in ("file_descriptor", "file_system"):
            torch.multiprocessing.set_sharing_strategy(sharing)
            for images, labels in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, num_workers=2):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimiser.step()
                seen += len(images)
        print(json.dumps([seen, bool(torch.isfinite(model(x)).all()), torch.cuda.is_available() in (True, False)]))
        """
    )
    assert results == [128, True, True]


# --- the program itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_numbers_are_those_of_the_kernel_s_headers(machine):
    if not HEADERS[machine].exists():
        pytest.skip("elsewhere: no kernel headers here")
    defined = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    }
    ours = {name: numbers[COLUMN[machine]] for name, numbers in (seccomp.REFUSED | seccomp.MISSING).items()}
    known = {name: number for name, number in ours.items() if number is not None and name in defined}
    assert known == {name: defined[name] for name in known}
    assert len(known) > 60


def answer(machine, architecture, number, *arguments):
    """What the filter says to a call: 0, or the error number. A processor for the packet language, as far as needed."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    program, at, loaded = seccomp.program(machine), 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        assert 0 <= if_true < 256
        assert 0 <= if_false < 256
        at += 1
        if code == 0x20:
            loaded = struct.unpack_from("=I", data, constant)[0]
        elif code == 0x06:
            return {0x7FFF: ALLOWED, 0x0005: constant & 0xFFFF}[constant >> 16]
        else:
            holds = {0x15: loaded == constant, 0x35: loaded >= constant, 0x45: loaded & constant != 0}[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "architecture", "other"),
    [("x86_64", 0xC000003E, 0x40000003), ("aarch64", 0xC00000B7, 0x40000028)],
)
def test_the_filter_of_either_architecture(machine, architecture, other):
    def says(number, *arguments):
        return answer(machine, architecture, number, *arguments)

    column = COLUMN[machine]
    for numbers, wanted in ((seccomp.REFUSED, errno.EPERM), (seccomp.MISSING, errno.ENOSYS)):
        for number in numbers.values():
            assert number[column] is None or says(number[column]) == wanted
    clone, socket, ioctl = ((56, 41, 16), (220, 198, 29))[column]
    assert says(clone, 0x01200011) == ALLOWED  # as fork does it
    assert says(clone, 0x003D0F00) == ALLOWED  # as a new thread is made
    assert says(clone, 0x10000011) == errno.EPERM
    assert says(socket, 1) == says(socket, 2) == says(socket, 10) == ALLOWED
    assert says(socket, 40) == errno.EAFNOSUPPORT
    assert says(ioctl, 3, 0x5412) == errno.EPERM
    assert says(ioctl, 3, 0x5413) == ALLOWED
    named = {n[column] for n in (seccomp.REFUSED | seccomp.MISSING).values()} | {clone, socket, (53, 199)[column]}
    assert all(says(number) == ALLOWED for number in set(range(463)) - named)
    assert says(463) == errno.ENOSYS
    assert answer(machine, other, 20) == errno.EPERM
