"""Calls to the kernel that no notebook needs, refused: the less of the kernel can be reached, the less can be wrong.

A filter in the kernel's packet language (seccomp(2)), put together here so that no library has to be installed. All is
allowed but what is named below and what is newer than these lists; a list of what is allowed instead would break with
the next release of torch.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Any

# Number of each call by architecture: (x86_64, aarch64), None where there is no such call.
# Other processes and what belongs to them.
_OTHERS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438), "perf_event_open": (298, 241),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
}  # fmt: skip
# Mounts and namespaces: a new user namespace makes much of the kernel reachable that otherwise is root's.
_WORLD = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
}  # fmt: skip
# Parts of the kernel with a history of mistakes, and what is for administrators.
_KERNEL = {
    "bpf": (321, 280), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "acct": (163, 89), "syslog": (103, 116), "vhangup": (153, 58),
    "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "modify_ldt": (154, None), "ioperm": (173, None),
    "iopl": (172, None), "personality": (135, 92), "memfd_secret": (447, 447),
}  # fmt: skip
REFUSED = _OTHERS | _WORLD | _KERNEL
# Programs know what to do where these are missing. memfd_create and the segments, queues and semaphores of System V
# make memory that stays when no process maps it, so that no limit of a process counts it; requests of io_setup come out
# of one store for the whole machine; the flags of clone3 are in memory, where a filter cannot look, so that glibc has
# to use clone.
MISSING = {
    "memfd_create": (319, 279), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "io_setup": (206, 0),
    "clone3": (435, 435), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip
# From here on nobody has looked yet what they do: 463 is the first call of Linux 6.13. The numbers of x32, the second
# way into a 64-bit x86 kernel, are up there, too.
FIRST_UNKNOWN = 463
# What a process may do to itself, and not to others: process 1 of the submission above all. (numbers, which argument
# names the other process; 0 is the caller.)
ON_ITSELF = {
    "prlimit64": ((302, 261), 0), "sched_setparam": ((142, 118), 0), "sched_setscheduler": ((144, 119), 0),
    "sched_setattr": ((314, 274), 0), "sched_setaffinity": ((203, 122), 0), "setpriority": ((141, 140), 1),
    "ioprio_set": ((251, 30), 1),
}  # fmt: skip
_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)

NEW_NAMESPACES = 0x7E020000  # the flags of clone(2) that make one
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET and AF_INET6: others, vsock above all, know no network namespaces
PUSH_INPUT = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX write into the terminal of whoever started us

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K and so on
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; of an argument the low half
_PR_SET_SECCOMP, _FILTER = 22, 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def available() -> str:
    """Why there can be no filter on this machine; empty if there can."""
    if sys.platform != "linux":
        return "only Linux has such filters"
    if platform.machine() not in _ARCHITECTURES or sys.maxsize < 2**32:
        return f"no table of calls for a Python of {struct.calcsize('P') * 8} bits on {platform.machine()}"
    # A kernel that knows filters follows the null pointer before anything else (seccomp(2), "Notes").
    if _prctl(None) == errno.EFAULT:
        return ""
    return "the kernel was built without filters of calls"


def install() -> None:
    """Put the filter on this process and all that it will start; there is no way back. Raises OSError.

    PR_SET_NO_NEW_PRIVS must be set, and the process have one thread. Where there can be no filter nothing is done.
    """
    if available():
        return
    instructions = program(platform.machine())
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    memory = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    if number := _prctl(ctypes.byref(Program(len(instructions), ctypes.cast(memory, ctypes.c_void_p)))):
        raise OSError(number, f"the filter of calls was refused: {os.strerror(number)}")


def _prctl(filter: Any) -> int:
    """Returns the error number, 0 if the kernel took it."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.prctl(_PR_SET_SECCOMP, _FILTER, filter, 0, 0) == 0 else ctypes.get_errno()


def program(machine: str) -> list[Instruction]:
    """The filter for an architecture."""
    column, architecture = _ARCHITECTURES[machine]
    refuse, missing = _answer(errno.EPERM), _answer(errno.ENOSYS)
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), refuse,
        (_LOAD, 0, 0, _NUMBER), (_ABOVE, 0, 1, FIRST_UNKNOWN), missing,
    ]  # fmt: skip
    for calls, answer in ((REFUSED, refuse), (MISSING, missing)):
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                instructions += _if_call(number, [answer])
    for numbers, place in ON_ITSELF.values():
        instructions += _if_call(numbers[column], [*_argument(place), (_EQUAL, 0, 1, 0), _allow(), refuse])
    instructions += _if_call(_CLONE[column], [*_argument(0), (_ANY_BIT, 0, 1, NEW_NAMESPACES), refuse, _allow()])
    families = [step for family in FAMILIES for step in ((_EQUAL, 0, 1, family), _allow())]
    for call in (_SOCKET, _SOCKETPAIR):
        instructions += _if_call(call[column], [*_argument(0), *families, _answer(errno.EAFNOSUPPORT)])
    requests = [step for request in PUSH_INPUT for step in ((_EQUAL, 0, 1, request), refuse)]
    instructions += _if_call(_IOCTL[column], [*_argument(1), *requests, _allow()])
    return [*instructions, _allow()]


def _if_call(number: int, steps: list[Instruction]) -> list[Instruction]:
    """Steps for one call; the last of them returns."""
    return [(_EQUAL, 0, len(steps), number), *steps]


def _argument(place: int) -> list[Instruction]:
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * place)]


def _answer(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERROR | number)


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)
