"""`coursekit doctor`: what is there, what is missing, and the command that mends it.

Works with any part missing: nothing is imported before it is known to be there, and whatever fails is a line of the
table.
"""

import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One line of the table. `mend`: what to do, empty if nothing is to be done."""

    name: str
    found: str
    mend: str = ""


class Missing(Exception):
    """Something is not there or does not work: (what was found, what mends it)."""


def doctor(course: Path | None = None) -> int:
    """Prints the table, with a line for the folder `course` if given. Returns the exit code: 0 if everything a student
    needs is there."""
    students = [_finding(name, check) for name, check in STUDENTS.items()] + _other_packages()
    _print("for students", students, bad="X")
    instructors = [_finding(name, check) for name, check in INSTRUCTORS.items()]
    if course is not None:
        instructors.append(_finding("course", lambda: _course(course)))
    _print("for instructors (optional)", instructors, bad="-")
    _print("for developers (optional)", [_finding(name, check) for name, check in DEVELOPERS.items()], bad="-")
    missing = [finding for finding in students if finding.mend]
    if missing:
        print(f"\nMissing: {', '.join(finding.name for finding in missing)}. The lines marked X say what to do.")
        return 1
    print("\nEverything a student needs is there.")
    return 0


def _print(title: str, findings: list[Finding], bad: str) -> None:
    print(f"{title}")
    for finding in findings:
        print(f"  {bad if finding.mend else 'ok':<3} {finding.name:<14} {finding.found}".rstrip())
        if finding.mend:
            print(f"      {'':<14} -> {finding.mend}")


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, check())
    except Missing as missing:
        found, mend = missing.args
        return Finding(name, found, mend)
    except ModuleNotFoundError as error:
        ours = (error.name or "coursekit").partition(".")[0] == "coursekit"
        return Finding(name, f"needs {error.name}", REINSTALL if ours else _install(str(error.name)))
    except Exception as error:  # a broken installation raises anything
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Finding(name, found[:90], f"mend the lines above first, then: {REINSTALL}")


# In the folder of the course, which is not on a package index.
REINSTALL = "python -m pip install --force-reinstall -e ."


# -- packages


def _requirements(extra: str = "") -> dict[str, str]:
    """{package: what coursekit needs of it} for students, or for one of its extras."""
    from packaging.requirements import Requirement

    found = {}
    for line in metadata.requires("coursekit") or []:
        requirement = Requirement(line)
        of_extra = "extra" in str(requirement.marker)
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if needed and of_extra == bool(extra) and requirement.name != "coursekit":
            parts = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found[requirement.name] = f"{requirement.name}{parts}{requirement.specifier}"
    return found


def _install(name: str, extra: str = "") -> str:
    try:
        needed = _requirements(extra).get(name, name)
    except Exception:  # coursekit is not installed, or what reads its requirements is not
        needed = name
    return f'python -m pip install "{needed}"'


def _package(name: str, extra: str = "") -> Callable[[], str]:
    """A check that the package is there in a version that coursekit can use."""

    def check() -> str:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise Missing("not found", _install(name, extra)) from None
        from packaging.requirements import Requirement

        needed = _requirements(extra).get(name, name)
        if not Requirement(needed).specifier.contains(version, prereleases=True):
            raise Missing(f"{version}, needed is {needed}", _install(name, extra))
        return version

    return check


def _other_packages() -> list[Finding]:
    """Packages a student needs that have no line of their own: only what is wrong with them."""
    try:
        shown = {name.lower() for name in STUDENTS}
        others = [name for name in _requirements() if name not in shown]
    except Exception:  # coursekit's own line says that it is not installed
        return []
    findings = [_finding(name, _package(name)) for name in others]
    wrong = [finding for finding in findings if finding.mend]
    return wrong or [Finding("other packages", f"all {len(findings)}")]


# -- what a student needs


def _python() -> str:
    if sys.version_info < (3, 11):  # noqa: UP036, coursekit may run from a folder it was never installed from
        raise Missing(platform.python_version(), "install Python 3.11 or newer: https://www.python.org/downloads/")
    return platform.python_version()


def _coursekit() -> str:
    try:
        return f"{metadata.version('coursekit')} in {Path(__file__).parent}"
    except metadata.PackageNotFoundError:
        raise Missing("not installed", "in the folder of the course: python -m pip install -e .") from None


def _threads() -> str:
    import torch

    return f"{os.cpu_count()} processors, torch uses {torch.get_num_threads()}"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "mps" if torch.backends.mps.is_available() else "cpu (enough for the whole course)"


def _digits() -> str:
    data = importlib.import_module("coursekit.data")
    return f"{sum(len(data.load('mnist', split).y) for split in ('train', 'test')):,} real digits"


def _weights() -> str:
    models = importlib.import_module("coursekit.models")
    shipped = sorted(file.stem for file in models.WEIGHTS.glob("*.safetensors"))
    if not shipped:
        raise Missing(f"none in {models.WEIGHTS}", f"git checkout -- coursekit/models/weights, or: {REINSTALL}")
    models.load("mnist_cnn")
    return f"{len(shipped)} trained models"


# -- what instructors and developers need


def _course(folder: Path) -> str:
    from coursekit.grading.course import Course

    course = Course(folder.resolve())
    assignments = course.assignments()
    if not assignments or not course.nbgrader_config.is_file():
        raise Missing(f"{course.dir} is no course", "go to the folder of the course, or name it with --course DIR")
    return f"{course.dir}, {len(assignments)} assignment{'s' * (len(assignments) != 1)}"


def _alembic() -> str:
    """nbgrader runs the program `alembic` when it makes a gradebook."""
    found = shutil.which("alembic")
    if found:
        return found
    beside = shutil.which("alembic", path=str(Path(sys.executable).parent))
    if beside:
        return f"{beside}, not on the PATH, where the course's settings put it"
    raise Missing("not found", 'python -m pip install "alembic"')


def _bubblewrap() -> str:
    """The sandbox for grading. Some systems have it and forbid it to start."""
    _on_linux()
    found = shutil.which("bwrap")
    if not found:
        raise Missing("not found", _system_package("bubblewrap"))
    command = [found, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        raise Missing("found, but it does not start in 20 s", _allow_namespaces()) from None
    if run.returncode:
        why = (run.stderr.splitlines() or ["no reason given"])[0]
        raise Missing(f"found, but it does not start: {why}", _allow_namespaces())
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20).stdout
    return f"{version.replace('bubblewrap', '').strip()}, starts"


def _isolation() -> str:
    """What `coursekit grade` keeps students' code in. Grading itself finds out in the same way."""
    _on_linux()
    sandbox = importlib.import_module("coursekit.grading.sandbox")
    try:
        nested = sandbox.nesting()
    except sandbox.Unavailable as unavailable:
        mend = _allow_namespaces() if shutil.which("bwrap") else unavailable.remedy
        raise Missing(f"none: {unavailable.reason}", f"{mend}; or {NO_ISOLATION}") from None
    if not nested:
        refused = sandbox.nesting_refused()
        raise Missing(f"a sandbox for each submission, which takes longer: {refused}", _allow_namespaces())
    return "namespaces for each submission, in a sandbox without network"


NO_ISOLATION = "coursekit grade --isolation none, for work of people you trust"


def _seccomp() -> str:
    """The filter of system calls within the sandbox."""
    _on_linux()
    if reason := importlib.import_module("coursekit.grading.sandbox.seccomp").available():
        raise Missing(reason, "nothing to do: the sandbox holds without it, with one wall less")
    return "no notebook can ask the kernel for what none needs"


def _cgroup() -> str:
    """Bounds on memory and processes of a submission, kept by the kernel."""
    _on_linux()
    if reason := importlib.import_module("coursekit.grading.sandbox.cgroup").why_not():
        mend = "nothing to do: grading looks several times a second itself, which is a little slower to notice"
        if shutil.which("systemd-run"):
            mend = "systemd-run --user --scope -p Delegate=yes coursekit grade ..."
        raise Missing(f"none: {reason}", mend)
    return "the kernel bounds memory and processes of each submission"


def _postgresql() -> str:
    """The driver, for a gradebook on a server. Installed without its binary part it needs a library of the system's."""
    version = _package("psycopg", "postgres")()
    try:
        importlib.import_module("psycopg")
    except ImportError as error:
        why = " ".join(str(error).split())
        raise Missing(f"psycopg {version} does not load: {why[:60]}", _install("psycopg", "postgres")) from None
    return f"psycopg {version}"


def _on_linux() -> None:
    if sys.platform != "linux":
        raise Missing(f"not available on {platform.system()}", "grade on Linux, or in a virtual machine with it")


def _allow_namespaces() -> str:
    """bubblewrap needs namespaces of its own, which systems forbid in different ways."""
    for setting, wanted in (("kernel.apparmor_restrict_unprivileged_userns", "0"),
                            ("kernel.unprivileged_userns_clone", "1")):  # fmt: skip
        file = Path("/proc/sys") / setting.replace(".", "/")
        if file.is_file() and file.read_text().strip() != wanted:
            return f"sudo sysctl {setting}={wanted}"
    return "allow user namespaces; for a container its host decides"


def _chromium() -> str:
    """For the tests that drive JupyterLab in a browser."""
    if chosen := os.environ.get("CHROMIUM"):
        if found := shutil.which(chosen):
            return found
        raise Missing(f"$CHROMIUM is {chosen}, which is no program", "unset CHROMIUM, or set it to the browser's path")
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    raise Missing("not found", _system_package("chromium"))


def _system_package(name: str) -> str:
    managers = {"apt-get": "sudo apt-get install", "dnf": "sudo dnf install", "pacman": "sudo pacman -S",
                "zypper": "sudo zypper install", "brew": "brew install"}  # fmt: skip
    for manager, command in managers.items():
        if shutil.which(manager):
            return f"{command} {name}"
    return f"install {name} with the system's package manager"


STUDENTS: dict[str, Callable[[], str]] = {
    "Python": _python,
    "coursekit": _coursekit,
    "torch": _package("torch"),
    "torchvision": _package("torchvision"),
    "JupyterLab": _package("jupyterlab"),
    "CPU threads": _threads,
    "device": _device,
    "mnist digits": _digits,
    "weights": _weights,
}
INSTRUCTORS: dict[str, Callable[[], str]] = {
    "nbgrader": _package("nbgrader", "grading"),
    "jupytext": _package("jupytext", "grading"),
    "alembic": _alembic,
    "bubblewrap": _bubblewrap,
    "isolation": _isolation,
    "seccomp": _seccomp,
    "cgroup": _cgroup,
    "Dask": _package("distributed", "cluster"),
    "PostgreSQL": _postgresql,
}
DEVELOPERS: dict[str, Callable[[], str]] = {
    "pytest": _package("pytest", "dev"),
    "ruff": _package("ruff", "dev"),
    "Chromium": _chromium,
}
