"""`coursekit check`: what a student sees before handing in, and honest exit codes."""

import os
import subprocess
import sys

import nbformat
import pytest
from grading_samples import as_bytes, cell

from coursekit import cli


@pytest.fixture
def check(tmp_path, capsys):
    """check(notebook or bytes) -> (exit code, what was printed, errors)."""

    def run(content):
        path = tmp_path / "tiny.ipynb"
        path.write_bytes(content if isinstance(content, bytes) else as_bytes(content))
        code = cli.main(["check", str(path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_everything_right(check, filled):
    code, said, errors = check(filled())
    assert code == 0, (said, errors)
    assert "6 of 6 points in the tests" in said
    assert "2 more for answers that a person reads\n" in said
    assert errors == ""


def test_each_question_has_its_table_and_one_wrong_answer_is_exit_code_1(check, filled):
    code, said, _ = check(filled(root="def root(x): return 3.0", why="", double="def double(x)\n    return 1"))
    assert code == 1
    assert "root: 1 of 3 points" in said
    assert "passed  root of nine" in said
    assert "SyntaxError" in said
    assert "3 of 6 points" in said
    assert "not written yet: why" in said


def test_a_deleted_test_cell_counts_and_is_missed(check, filled):
    notebook = filled()
    notebook.cells = [cell for cell in notebook.cells if cell.id != "test-root"]
    code, said, _ = check(notebook)
    assert code == 1
    assert "test-root: its test cell is not in this notebook" in said
    assert "3 of 6 points" in said


def test_a_cell_of_ones_own_that_fails_is_mentioned(check, filled):
    notebook = filled()
    notebook.cells.insert(2, nbformat.v4.new_code_cell("1 / 0", id="mine"))
    code, said, _ = check(notebook)
    assert code == 0
    assert "note: a cell that begins with '1 / 0': ZeroDivisionError: division by zero" in said


def test_a_syntax_error_is_what_is_told_and_not_what_follows_from_it(check, filled):
    _, said, _ = check(filled(root="def root(x)\n    return 3"))
    assert "test-root: 0 of 3 points  crashed: its cell does not run: SyntaxError" in said
    assert "there is no function" not in said


def test_the_release_as_it_is(check, release):
    code, said, _ = check(release)
    assert code == 1
    assert "0 of 6 points" in said
    assert "not written yet: why" in said


def test_a_question_that_ends_the_process_or_is_not_reached(check, filled):
    code, said, _ = check(filled(add="def add(a, b):\n    import os\n    os._exit(5)"))
    assert code == 1
    assert "exit code 5" in said
    assert "4 of 6 points" in said


def test_files_beside_the_notebook_are_found(check, filled, tmp_path):
    (tmp_path / "mine.py").write_text("from math import sqrt as root")
    assert check(filled(root="from mine import root"))[0] == 0


def test_settings_that_are_damaged_are_as_good_as_deleted(check, filled):
    notebook = filled()
    for id, change in {
        "add": {"nbgrader": None}, "why": {"tags": None}, "picture": {"tags": 3, "nbgrader": []},
        "test-add": {"nbgrader": {"grade": True, "points": 2}},  # no grade_id
        "test-double": {"nbgrader": {"grade": True, "grade_id": "test-double"}},  # the release knows its points
        "test-root": {"nbgrader": {"grade": True, "grade_id": "test-root", "points": "x"}},
    }.items():  # fmt: skip
        cell(notebook, id).metadata.update(change)
    del cell(notebook, "imports")["source"]
    code, said, errors = check(notebook)
    assert errors == ""
    assert "test-add: its test cell is not in this notebook, or lost its settings" in said
    assert "double: 1 of 1 points" in said
    assert " of 6 points" in said
    assert code == 1
    for odd in ([], None, {"points": [1]}, {"points": {"test-add": "two"}}):
        notebook.metadata.coursekit = odd
        code, said, errors = check(notebook)
        assert (code, said) == (2, ""), "no test is left whose points are known"
        assert "has no test cells" in errors


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings_are_read_as_the_grader_reads_them(encoding, check, filled):
    notebook = filled(why="Größe zählt nicht.")
    content = as_bytes(notebook).decode().encode(encoding, "replace")
    code, said, _ = check(content)
    assert code == 0
    assert "note: The file is written in " in said


@pytest.mark.parametrize(
    ("content", "word"), [(b"hello", "is not a notebook"), (b"{}", "not a notebook"), (b"", "is empty"),
                          (b"\xff\xfe", "not a notebook"), (b"[" * 100_000, "nested too deeply")]
)  # fmt: skip
def test_not_a_notebook(check, content, word):
    code, said, errors = check(content)
    assert (code, said) == (2, "")
    assert errors.count("\n") == 1
    assert word in errors


def test_not_there_or_not_of_this_course(check, filled, tmp_path, capsys):
    for path, word in ((tmp_path / "none.ipynb", "no such file"), (tmp_path, "not a file")):
        assert cli.main(["check", str(path)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert word in said
    notebook = filled()
    for c in notebook.cells:
        c.metadata = {}
    assert check(notebook)[0] == 2


def test_escape_sequences_do_not_reach_the_terminal(check, filled):
    notebook = filled(root="def root(x): raise ValueError('\\x1b[2J\\x1b]0;owned\\x07')")
    code, said, _ = check(notebook)
    assert code == 1
    assert "\x1b" not in said
    assert "\x07" not in said


@pytest.mark.slow
def test_needs_neither_nbgrader_nor_the_sources(filled, tmp_path):
    """As installed for students: without the packages that only grading needs."""
    path = tmp_path / "tiny.ipynb"
    path.write_bytes(as_bytes(filled()))
    code = (
        "import sys\n"
        "for name in ('nbgrader', 'sqlalchemy', 'jinja2', 'jupytext'): sys.modules[name] = None\n"
        f"from coursekit.cli import main; sys.exit(main(['check', {str(path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
