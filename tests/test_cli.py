"""The command line: one line for what the user can mend, honest exit codes, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coursekit import cli
from coursekit.grading.course import CourseError

COMMANDS = ["lab", "check", "build", "grade", "feedback", "export", "report", "doctor", "demo"]


@pytest.fixture
def failing(monkeypatch):
    """failing(error): the command `doctor` raises it."""

    def make(error):
        def run(course):
            raise error

        import coursekit.doctor

        monkeypatch.setattr(coursekit.doctor, "doctor", run)

    return make


def one_line(capsys):
    """What was said on stderr, which must be one line; nothing else may have been printed."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("coursekit: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("coursekit: ").rstrip("\n")


@pytest.mark.parametrize(
    "command",
    [["build"], ["build", "--check"], ["grade", "tiny"], ["feedback", "tiny"], ["demo"], ["lab"]],
    ids=" ".join,
)
def test_a_folder_that_is_not_there(command, tmp_path, capsys):
    assert cli.main([*command, "--course", str(tmp_path / "nowhere")]) == 1
    assert one_line(capsys) == f"no folder {tmp_path / 'nowhere'}; name the folder of the course with --course DIR"


@pytest.mark.parametrize("command", [["build"], ["build", "--check"], ["lab"]], ids=" ".join)
def test_a_folder_that_is_no_course(command, tmp_path, capsys):
    assert cli.main([*command, "--course", str(tmp_path)]) == 1
    assert "--course DIR" in one_line(capsys)


def test_no_right_to_write(tmp_path, capsys, failing):
    failing(PermissionError(13, "Permission denied", "/course/notebooks/a.ipynb"))
    assert cli.main(["doctor"]) == 1
    assert one_line(capsys) == "/course/notebooks/a.ipynb: Permission denied"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CourseError("wrong\nin two lines"), "wrong in two lines"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("no number"), "no number"),
        (ModuleNotFoundError("No module named 'nbgrader'", name="nbgrader"), "the package nbgrader is missing"),
        (ModuleNotFoundError("No module named 'coursekit.x'", name="coursekit.x"), "unexpected ModuleNotFoundError"),
        (ValueError("a bug"), "unexpected ValueError: a bug (COURSEKIT_TRACEBACK=1 shows where it happened)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_happens_is_one_line(error, said, capsys, failing):
    failing(error)
    assert cli.main(["doctor"]) == 1
    assert said in one_line(capsys)


def test_a_traceback_for_those_who_ask(failing, monkeypatch):
    monkeypatch.setenv("COURSEKIT_TRACEBACK", "1")
    failing(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["doctor"])


def test_interrupted(capsys, failing):
    failing(KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert "interrupted" in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["grade"], "required: ASSIGNMENT"),
        (["grade", "tiny", "--jobs", "0"], "got '0', allowed is a whole number from 1"),
        (["grade", "tiny", "--jobs", "²"], "got '²', allowed is a whole number from 1"),
        (["grade", "tiny", "--time-limit", "soon"], "got 'soon', allowed is a whole number from 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_arguments(arguments, said, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_course(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "--course DIR" in capsys.readouterr().out


def test_check_knows_the_notebooks_of_the_course(tmp_path, monkeypatch):
    import coursekit.grading.check

    asked = []
    monkeypatch.setattr(coursekit.grading.check, "check", lambda path: asked.append(path) or 0)
    monkeypatch.chdir(tmp_path)
    released = tmp_path / "course" / "notebooks" / "attacks" / "attacks.ipynb"
    released.parent.mkdir(parents=True)
    released.write_text("{}")
    for name in ("attacks", "attacks.ipynb", "attac[k]s", "other/attacks.ipynb"):
        cli.main(["check", name, "--course", "course"])
    assert asked == [released, released, Path("attac[k]s"), Path("other/attacks.ipynb")]
    (tmp_path / "attacks.ipynb").write_text("{}")
    cli.main(["check", "attacks.ipynb", "--course", "course"])
    assert asked[-1] == Path("attacks.ipynb"), "a file that is there comes first"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([command, "--help"])
    assert exit.value.code == 0
    assert f"usage: coursekit {command}" in capsys.readouterr().out


def test_help_is_light():
    """Completion and --help are typed often: they wait for no torch and no nbgrader."""
    code = (
        "import sys, contextlib\nfrom coursekit import cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--help'])\n"
        "print([name for name in ('torch', 'nbgrader', 'numpy', 'IPython') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(os.name == "nt", reason="pipes close in another way")
def test_a_reader_that_goes_away():
    """`coursekit doctor | head -1` ends quietly."""
    command = (
        f'{sys.executable} -c \'from coursekit import cli, doctor; doctor.doctor = lambda c: print("x" * 200_000);'
    )
    run = subprocess.run(
        ["sh", "-c", f"{command} raise SystemExit(cli.main([\"doctor\"]))' | head -c 1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stderr == ""
