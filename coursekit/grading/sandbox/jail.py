"""Namespaces and limits for one submission, made by a process that was just forked inside the sandbox.

    prepare()                once, by the zygote, before it forks
    enter()                  by the child: afterwards it is process 1 of namespaces of its own, without any capability
    limit(memory, ...)       by the process that is to run the code

Linux only. The calls are the kernel's own (unshare(2), mount(2), prctl(2), capset(2)); `OSError` says which was
refused.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
DETACH = 2
CAP_SETFCAP = 31
USER = 1000  # the number of user and group that a submission sees itself as
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38

HOST_PROC = "/host-proc"  # the machine's own, for as long as it takes to have one of the sandbox's
BOX = "/box"  # all that a submission can write to: work/, home/ and tmp/ in it
BOX_SIZE, BOX_FILES = 512 * 1024**2, 20_000  # bytes, files and folders
SHM_SIZE = 256 * 1024**2  # bytes, for what is handed from process to process

OPEN_FILES, PROCESSES = 512, 256
NICE = 10

_libc = ctypes.CDLL(None, use_errno=True)


def prepare() -> None:
    """Have a /proc of the sandbox's own, and none of the machine's; give up the capabilities that it took.

    But for one: where user 0 grades, a namespace whose maker has not got CAP_SETFCAP may not take its number over.
    """
    _mount("proc", "/proc", NOSUID | NODEV | NOEXEC)
    _check(_libc.umount2(HOST_PROC.encode(), DETACH), f"umount of {HOST_PROC}")
    drop_capabilities(keep=CAP_SETFCAP)


def enter() -> None:
    """Leave the process behind and go on as process 1 of new namespaces.

    The process that calls must be single-threaded. It ends; its child returns from here, sees no process but its own,
    no network but an unconnected one, and can write to nothing but a `BOX` of its own, bounded in size.
    """
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(NEWUSER | NEWNS | NEWPID | NEWIPC | NEWNET | NEWUTS), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{USER} {user} 1")
    _write("/proc/self/gid_map", f"{USER} {group} 1")
    if os.fork():
        os._exit(0)
    _mount("tmpfs", BOX, NOSUID | NODEV, f"size={BOX_SIZE},nr_inodes={BOX_FILES},mode=700")
    _mount("tmpfs", "/dev/shm", NOSUID | NODEV | NOEXEC, f"size={SHM_SIZE},nr_inodes=1000")
    # If anything of the machine runs out, this goes first. Written here, because there is no writing to the new /proc:
    # its settings belong to user 0 of the machine, who may be the one who grades.
    _write("/proc/self/oom_score_adj", "1000")
    _mount("proc", "/proc", RDONLY | NOSUID | NODEV | NOEXEC)
    drop_capabilities()
    os.setsid()
    # What we hold, the job and the way back to the grader, cannot be read by what we start.
    _check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def keep_shut() -> None:
    """For a process 1 that `enter` has not made: what it holds cannot be read by what it starts."""
    _write("/proc/self/oom_score_adj", "1000")
    _check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def make_box() -> None:
    """The folders in the box; the work folder becomes the current one."""
    for name in ("work", "home", "tmp"):
        os.makedirs(os.path.join(BOX, name), exist_ok=True)
    os.chdir(os.path.join(BOX, "work"))


def drop_capabilities(keep: int | None = None) -> None:
    """Give up every capability but `keep` for good, also for what is started later."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    class Data(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]

    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    for capability in range(64):  # those that a program started later could have
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # no right to, or beyond the last one that the kernel knows; then nothing gives any back either
    kept = 0 if keep is None else 1 << keep
    _check(_libc.capset(ctypes.byref(Header(0x20080522, 0)), (Data * 2)(Data(kept, kept, 0))), "capset")


def limit(memory: int, cpu: float) -> None:
    """Bounds for this process and each of its children: memory beyond what it has now, in bytes; processor time in
    seconds, which ends what nobody waits for any more."""
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    bounds = {
        resource.RLIMIT_AS: now + memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(cpu) + 1,
        resource.RLIMIT_FSIZE: BOX_SIZE,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_SIGPENDING: 1000,
    }
    if _kernel() >= (5, 14):  # before, it counted whatever the user runs on the machine
        bounds[resource.RLIMIT_NPROC] = PROCESSES
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))
    os.setpriority(os.PRIO_PROCESS, 0, NICE)  # who keeps the time and asks the questions comes first
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a full file is an error in the notebook, not its end


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _mount(kind: str, target: str, flags: int, options: str = "") -> None:
    result = _libc.mount(kind.encode(), target.encode(), kind.encode(), flags, options.encode() or None)
    _check(result, f"mount of {kind} on {target}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
