"""A steady memory allocator, without which times mean little."""

import os
import sys

# Activations of a batch are megabytes. glibc by default takes such blocks from the system and gives them back each
# time, or keeps them, as a threshold that it moves by itself has it: the same loop then takes one time or half as
# much more, by what ran before. Fixed here: blocks up to 32 MB (the most it accepts) stay in the process.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}


def pin_allocator() -> None:
    """Starts this program anew with glibc's allocator pinned: it reads its settings only when a process begins.

    Elsewhere than on Linux the settings mean nothing, and nothing happens.
    """
    if sys.platform == "linux" and any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **ALLOCATOR})
