"""The sandbox that a zygote lives in, as a command line for bubblewrap.

No network, no capabilities, a clean environment, processes of its own; the system, Python and this package read-only,
nothing else of the machine at all: no home, no course, no gradebook.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import coursekit
from coursekit.grading.sandbox import jail

PACKAGE = Path(coursekit.__file__).parent
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = ("ld.so.cache", "alternatives", "fonts", "localtime", "nsswitch.conf")  # of /etc: no names, no passwords


def program() -> str | None:
    """Where bubblewrap is."""
    return shutil.which("bwrap")


def command(*arguments: str, nested: bool, folders: tuple[str, ...] = ()) -> list[str]:
    """The command line that runs this Python with `arguments` in the sandbox.

    nested: what runs there makes sandboxes of its own in it: it must call `jail.prepare` first, and be trusted until
    then. folders: more of the machine that may be read in there.
    """
    found = program() or "bwrap"
    options = [found, "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
    options += ["--clearenv", *_environment(folders)]
    for path in SYSTEM:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += ["--ro-bind", path, path]
    for name in SETTINGS:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    readable = [*_python(), *_caches().values(), *folders]
    for path in readable:
        options += ["--ro-bind-try", path, path]
    if not any(Path(path).is_relative_to("/tmp") for path in readable):
        options += ["--symlink", f"{jail.BOX}/tmp", "/tmp"]
    options += ["--ro-bind-try", str(_fonts()), "/fonts"]
    if nested:
        # bubblewrap would cover parts of /proc, and the kernel then refuses another one in a namespace within.
        options += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETFCAP"]
        options += ["--dir", "/proc", "--ro-bind", "/proc", jail.HOST_PROC]
    else:
        options += ["--proc", "/proc"]
    options += _devices()
    if not nested:  # a nested submission gets its own, bounded
        options += ["--tmpfs", "/dev/shm", *_sized(jail.BOX_SIZE)]
    options += ["--tmpfs", jail.BOX]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", jail.BOX]
    return [*options, sys.executable, "-P", *arguments]


def _sized(size: int) -> list[str]:
    """Bounds the next tmpfs, where bubblewrap can do that (from 0.7)."""
    said = subprocess.run([program() or "bwrap", "--version"], capture_output=True, text=True, check=False).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    return ["--size", str(size)] if version >= (0, 7) else []


def _devices() -> list[str]:
    """No terminals: with bubblewrap's own /dev, which has some, an ordinary user could not nest."""
    options = ["--tmpfs", "/dev", "--dir", "/dev/shm"]
    for name in ("null", "zero", "full", "random", "urandom"):
        options += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for target, name in (("", "fd"), ("/0", "stdin"), ("/1", "stdout"), ("/2", "stderr")):
        options += ["--symlink", f"/proc/self/fd{target}", f"/dev/{name}"]
    return options


def shows(path: Path) -> str:
    """What of the machine that students' code can read lies above `path`; empty if it cannot be read."""
    above = [*(folder for folder in SYSTEM if not os.path.islink(folder)), *_python(), *_caches().values()]
    return next((folder for folder in above if path.is_relative_to(folder)), "")


def _python() -> list[str]:
    """Where this Python, its packages and `coursekit` lie."""
    paths = [sys.base_prefix, sys.prefix, *sysconfig.get_paths().values(), *site.getsitepackages(), str(PACKAGE)]
    if site.ENABLE_USER_SITE:
        paths.append(site.getusersitepackages())
    paths.append(os.path.dirname(os.path.realpath(sys.executable)))
    covered = [path for path in SYSTEM if not os.path.islink(path)]
    kept: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths}, key=len):
        if path != "/" and not any(Path(path).is_relative_to(other) for other in [*covered, *kept]):
            kept.append(path)
    return kept


def _caches() -> dict[str, str]:
    """What was downloaded before, by the variable that names it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = {"COURSEKIT_CACHE": cache / "coursekit", "TORCH_HOME": cache / "torch"}
    return {name: os.path.abspath(os.environ.get(name) or place) for name, place in places.items()}


def _fonts() -> Path:
    """matplotlib's list of the machine's fonts, which takes seconds to make."""
    return Path(os.environ.get("MPLCONFIGDIR") or Path.home() / ".cache" / "matplotlib")


def _environment(folders: tuple[str, ...]) -> list[str]:
    home, temporary = f"{jail.BOX}/home", f"{jail.BOX}/tmp"
    path = os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])
    variables = _caches() | {
        "PATH": path, "HOME": home, "TMPDIR": temporary, "IPYTHONDIR": home, "MPLCONFIGDIR": home, "USER": "student",
        "LOGNAME": "student", "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *folders]),
        "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        # One thread each, also where a notebook asks for more: a copy of a process that had several may hang.
        "OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NBGRADER_EXECUTION": "autograde",  # as nbgrader tells a notebook that it is being graded
    }  # fmt: skip
    if site.ENABLE_USER_SITE:  # packages in a home that is not there: HOME is another one
        variables["PYTHONUSERBASE"] = site.getuserbase()
    if "TZ" in os.environ:
        variables["TZ"] = os.environ["TZ"]
    return [part for name, value in variables.items() for part in ("--setenv", name, value)]
