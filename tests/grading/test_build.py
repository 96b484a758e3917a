"""From text sources to the release: what is written, what never is, and what a wrong source is told."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveCells

from coursekit.grading import build as build_module
from coursekit.grading.build import build, load_config, release_notebook
from coursekit.grading.course import Course, CourseError
from coursekit.grading.source import SourceError, read

ROOT = Path(__file__).parents[2]

TITLE = """\
# %% [markdown]
# # 3 Gradient attacks
#
# How to find adversarial examples. And more.

"""
SOLUTION = """\
# %% solution="fgsm"
def fgsm(x):
    ### BEGIN SOLUTION
    return x + secret_step
    ### END SOLUTION

"""
TEST = """\
# %% test="fgsm" points=3
from coursekit import checks

exercise = checks.Exercise("fgsm", points=3)

### BEGIN HIDDEN TESTS
hidden_case = 42
### END HIDDEN TESTS
exercise.score()

"""
ANSWER = """\
# %% [markdown] answer="why" points=2.5
# Model answer.
#
# === BEGIN MARK SCHEME ===
# One point for courage.
# === END MARK SCHEME ===

"""
READONLY = '# %% readonly="imports"\nimport math\n\n'
DEMO = '# %% demo="curve"\nprint(math.pi)\n\n'
PLAIN = "# %%\nguess = None\n"
WHOLE = TITLE + READONLY + SOLUTION + TEST + ANSWER + DEMO + PLAIN


@pytest.fixture
def source(tmp_path):
    """source(text): that text as a source file, read."""

    def make(text):
        path = tmp_path / "gradient_attacks.py"
        path.write_text(text, encoding="utf-8")
        return read(path, shown_as="x.py")

    return make


@pytest.fixture
def problems(source):
    """problems(text): what is wrong with that text, one line each."""

    def find(text):
        try:
            source(text)
        except SourceError as error:
            return error.problems
        return []

    return find


def cells(text_or_path):
    text = text_or_path.read_text() if isinstance(text_or_path, Path) else text_or_path
    return {cell.id: cell for cell in nbformat.reads(text, as_version=4).cells}


def contents(folder):
    """Every file under a folder, by its path in it."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def snapshot(folder):
    """Every file under a folder, with its content and when it was written."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


# -- what is written


def test_roles_become_nbgrader_cells(source):
    notebook = source(WHOLE).notebook
    roles = {
        cell.metadata.nbgrader.grade_id: [
            name for name in ("grade", "solution", "locked") if cell.metadata.nbgrader[name]
        ]
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    }
    assert roles == {
        "imports": ["locked"],
        "fgsm": ["solution"],
        "test-fgsm": ["grade", "locked"],
        "why": ["grade", "solution"],
    }
    by_id = {cell.id: cell for cell in notebook.cells}
    assert by_id["test-fgsm"].metadata.nbgrader.points == 3
    assert by_id["why"].metadata.nbgrader.points == 2.5
    assert by_id["curve"].metadata == {"tags": ["demo"]}
    assert all(cell.id == cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata)


def test_the_text_is_in_the_source_notebook_and_nothing_of_jupytext(source):
    notebook = source(WHOLE).notebook
    assert "return x + secret_step" in notebook.cells[2].source
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "coursekit": {"points": {"test-fgsm": 3}},
    }
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"nbgrader", "tags", "jupyter"}


def test_plain_cells_keep_their_id_when_others_come_and_go(source):
    def ids(text):
        return [cell.id for cell in source(text).notebook.cells]

    before = ids(WHOLE)
    after = ids(TITLE + "# %%\nnew = 1\n\n" + WHOLE.removeprefix(TITLE))
    assert [cell_id for cell_id in after if cell_id in before] == before
    assert len(after) == len(before) + 1


def test_equal_plain_cells_have_different_ids(source):
    ids = [cell.id for cell in source(TITLE + "# %%\nprint(1)\n\n" * 3).notebook.cells]
    assert len(set(ids)) == len(ids) == 4


def test_nothing_secret_is_released(source, course):
    released = release_notebook(source(WHOLE).notebook, load_config(course))
    assert "guess = None" in released
    for secret in ("secret_step", "hidden_case", "Model answer", "courage", "BEGIN", "END", "jupytext"):
        assert secret not in released


def test_stubs_say_what_to_do(source, course):
    released = cells(release_notebook(source(WHOLE).notebook, load_config(course)))
    code = released["fgsm"].source
    assert "YOUR CODE HERE" in code
    with pytest.raises(NotImplementedError):
        exec(code + "\nfgsm(1)", {})
    assert "Your answer" in released["why"].source


def test_the_release_is_what_nbgrader_generates(course):
    """nbgrader's own converter, but for the gradebook; the slow test below runs the whole command."""
    before = contents(course.release)
    shutil.rmtree(course.release / "tiny")
    config = load_config(course)
    converter = GenerateAssignment(
        coursedir=CourseDirectory(config=config, root=str(course.dir), assignment_id="tiny"), config=config
    )
    converter.no_database = True
    converter.preprocessors = [kind for kind in converter.preprocessors if kind is not SaveCells]
    converter.start()
    assert contents(course.release) == before


def test_building_again_writes_nothing(course, capsys):
    before = snapshot(course.dir / "build" / "source") | snapshot(course.release)
    assert build(course) == 0
    assert snapshot(course.dir / "build" / "source") | snapshot(course.release) == before
    assert "0 written" in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_bytes_in_another_process_and_folder(course, tmp_path):
    other = tmp_path / "elsewhere" / "course"
    shutil.copytree(course.sources, other / "solutions")
    shutil.copy(course.nbgrader_config, other)
    environment = os.environ | {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-m", "coursekit.cli", "build", "--course", str(other)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    for folder in ("build/source", "notebooks"):
        assert contents(course.dir / folder) == contents(other / folder)


def test_line_ends_do_not_depend_on_the_system(course):
    (source,) = course.notebooks("tiny")
    source.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    assert build(course, check=True) == 0


def test_table_of_contents_in_the_order_of_the_titles(course):
    for number, name, title in (("10", "ten", "Ten"), ("2", "two", "Two | three"), ("2.1", "more", "More")):
        (course.sources / name).mkdir()
        text = f"# %% [markdown]\n# # {number} {title}\n#\n# It is *about*\n# this. And that.\n\n" + TEST
        (course.sources / name / f"{name}.py").write_text(text)
    assert build(course) == 0
    rows = [line for line in (course.release / "README.md").read_text().splitlines() if "ipynb" in line]
    assert [row.split("(")[1].split(")")[0] for row in rows] == [
        "tiny/tiny.ipynb", "two/two.ipynb", "more/more.ipynb", "ten/ten.ipynb",
    ]  # fmt: skip
    assert rows[1] == "| 2 | [Two \\| three](two/two.ipynb) | It is *about* this. | 3 |"
    for row in rows:
        assert (course.release / row.split("(")[1].split(")")[0]).is_file()


def test_files_beside_a_source_are_released_but_no_python_and_nothing_hidden(course):
    folder = course.sources / "tiny"
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in (".secret", "executed.ipynb", "images/.thumbs", "old.pyc"):
        (folder / name).write_text("secret")
    assert build(course) == 0
    for into in (course.release, course.source_notebooks):
        assert (into / "tiny" / "images" / "a.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
        names = {path.name for path in (into / "tiny").rglob("*") if path.is_file()}
        assert names == {"a.png", "tiny.ipynb"}


def test_checkpoints_of_editors_are_no_sources(course):
    (course.sources / ".ipynb_checkpoints").mkdir()
    (course.sources / ".ipynb_checkpoints" / "tiny-checkpoint.py").write_text("")
    (course.sources / "tiny" / ".#tiny.py").write_text("")
    assert course.assignments() == ["tiny"]
    assert [path.name for path in course.notebooks("tiny")] == ["tiny.py"]


# -- what is left alone, and what is not


def add_assignment(course, name="extra"):
    (course.sources / name).mkdir()
    (course.sources / name / f"{name}.py").write_text(WHOLE)
    assert build(course) == 0


def test_what_was_built_from_a_source_that_is_gone_goes_too(course):
    add_assignment(course)
    (course.release / "extra" / "notes.txt").write_text("my own")
    shutil.rmtree(course.sources / "extra")
    assert build(course) == 0
    assert not (course.source_notebooks / "extra").exists()
    assert [path.name for path in (course.release / "extra").iterdir()] == ["notes.txt"]


def test_what_was_changed_or_made_by_somebody_else_is_never_removed(course, capsys):
    add_assignment(course)
    shutil.rmtree(course.sources / "extra")
    changed = course.release / "extra" / "extra.ipynb"
    changed.write_text(changed.read_text() + "\n")
    own = course.release / "own" / "own.ipynb"
    own.parent.mkdir()
    own.write_text("{}")
    assert build(course) == 0
    assert changed.exists()
    assert own.exists()
    told = capsys.readouterr().out
    assert "notebooks/extra/extra.ipynb: has no source" in told
    assert "notebooks/own/own.ipynb: has no source" in told


def test_a_forged_record_removes_nothing_outside(course):
    outside = course.dir.parent / "precious.txt"
    outside.write_text("precious")
    record = course.dir / "build" / "generated.json"
    digest = build_module._digest(b"precious")
    record.write_text(json.dumps({"../precious.txt": digest, str(outside): digest, "solutions/x": 3}))
    assert build(course) == 0
    assert outside.exists()


def test_answers_in_a_released_notebook_are_kept(course, capsys):
    """A student who works in the checkout builds again, or starts the demo: nothing of theirs is lost."""
    path = course.release / "tiny" / "tiny.ipynb"
    released = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    next(cell for cell in notebook.cells if cell.id == "add").source = "def add(a, b):\n    return a + b"
    nbformat.write(notebook, path)
    worked = path.read_bytes()
    assert build(course) == 0
    assert path.read_bytes() == released
    assert (path.parent / "tiny-kept-1.ipynb").read_bytes() == worked
    assert "kept as tiny-kept-1.ipynb" in capsys.readouterr().out
    assert build(course, check=True) == 0, "a notebook of one's own beside a released one is no fault"


def test_a_notebook_that_was_only_run_is_not_kept(course):
    path = course.release / "tiny" / "tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 3
    nbformat.write(notebook, path)
    assert build(course) == 0
    assert [file.name for file in path.parent.iterdir()] == ["tiny.ipynb"]


def test_a_source_that_cannot_be_built_leaves_everything_as_it_was(course, capsys):
    add_assignment(course)
    (course.sources / "extra" / "extra.py").write_text(WHOLE.replace('solution="fgsm"', 'solutoin="fgsm"'))
    (course.sources / "tiny" / "tiny.py").write_text(WHOLE)
    before = snapshot(course.dir)
    assert build(course) == 1
    assert snapshot(course.dir) == before
    assert "solutions/extra/extra.py:9: code cell: unknown key solutoin" in capsys.readouterr().err


def test_an_interrupted_write_leaves_the_old_file(course, monkeypatch):
    (course.sources / "tiny" / "tiny.py").write_text(WHOLE)
    before = contents(course.dir)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        build(course)
    assert contents(course.dir) == before


# -- --check


def test_check_names_what_is_out_of_date_and_writes_nothing(course, capsys):
    (course.sources / "tiny" / "tiny.py").write_text(WHOLE)
    before = snapshot(course.dir)
    assert build(course, check=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        "notebooks/README.md: out of date (run coursekit build)",
        "notebooks/tiny/tiny.ipynb: out of date (run coursekit build)",
    ]
    assert snapshot(course.dir) == before


def test_check_is_quiet_when_all_is_well(course, capsys):
    shutil.rmtree(course.dir / "build")  # as after a fresh clone
    assert build(course, check=True) == 0
    assert capsys.readouterr().out == ""
    assert not (course.dir / "build").exists()


def test_check_sees_missing_and_left_over_notebooks(course, capsys):
    (course.release / "tiny" / "tiny.ipynb").unlink()
    (course.release / "gone").mkdir()
    (course.release / "gone" / "gone.ipynb").write_text("{}")
    assert build(course, check=True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["notebooks/gone/gone.ipynb", "notebooks/tiny/tiny.ipynb"]


# -- what a wrong source is told


WRONG = {
    "unknown key": ('# %% solutoin="fgsm"\n', 'unknown key solutoin in the header; allowed are solution, test, answer'),
    "key of JupyterLab": ('# %% tags=["a"]\n', "unknown key tags"),
    "role without a name": ("# %% solution\n", "unknown words 'solution' in the header"),
    "unreadable header": ("# %% test=fgsm points=3\n", "cannot read the header 'test=fgsm'"),
    "two roles": ('# %% solution="a" test="a" points=1\n', "got solution and test; allowed is one of solution, test"),
    "no string": ("# %% solution=3\n", "got the name 3; allowed are up to 59 letters"),
    "a bad name": ('# %% solution="a b"\n', "got the name 'a b'"),
    "code for an answer": ('# %% answer="a" points=1\n', "is a code cell; allowed is markdown"),
    "text for a test": ('# %% [markdown] test="a" points=1\n', "is a markdown cell; allowed is code"),
    "no points": ('# %% test="a"\n1\n', "no points; allowed is a number above 0"),
    "negative points": ('# %% test="a" points=-1\n1\n', "got points=-1; allowed is a number above 0"),
    "zero points": ('# %% test="a" points=0\n1\n', "got points=0; allowed is a number above 0"),
    "points as text": ('# %% test="a" points="3"\n1\n', "got points=3; allowed is a number above 0"),
    "points for nothing": ('# %% solution="a" points=1\n', "has points=1; allowed are points on test or answer cells"),
    "points on a plain cell": ("# %% points=1\n", "has points=1; allowed are points on test or answer cells"),
    "same name twice": (SOLUTION + SOLUTION, "the id 'fgsm' is taken by the cell in line 6"),
    "demo named like a solution": (SOLUTION + '# %% demo="fgsm"\n', "the id 'fgsm' is taken by the cell in line 6"),
    "no solution in it": ('# %% solution="a"\nx = 1\n', "no BEGIN SOLUTION ... END SOLUTION in it"),
    "never ends": ('# %% solution="a"\n### BEGIN SOLUTION\nx = 1\n', "BEGIN SOLUTION without its END SOLUTION"),
    "never begins": ('# %% solution="a"\nx = 1\n### END SOLUTION\n', "END SOLUTION in line 2 of the cell without its"),
    "begins twice": (
        '# %% solution="a"\n### BEGIN SOLUTION\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n',
        "BEGIN SOLUTION in line 2 of the cell, inside another region",
    ),
    "hidden tests in a solution": (
        '# %% solution="a"\n### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n',
        "BEGIN HIDDEN TESTS in line 1 of the cell; allowed in test cells only",
    ),
    "solution in a plain cell": (
        "# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n",
        "BEGIN SOLUTION in line 1 of the cell; allowed in solution or answer cells only",
    ),
    "no marking scheme": ('# %% [markdown] answer="a" points=1\n# Because.\n', "no BEGIN MARK SCHEME"),
    "marking scheme that would stay": (
        '# %% [markdown] answer="a" points=1\n# ### BEGIN SOLUTION\n# ### END SOLUTION\n'
        "# === BEGIN MARK SCHEME ===\n# === END MARK SCHEME ===\n",
        "BEGIN MARK SCHEME outside of the solution",
    ),
    "broken when released": (
        '# %% solution="a"\n### BEGIN SOLUTION\nif True:\n    ### END SOLUTION\n    x = 1\n',
        "as released it is not Python",
    ),
    "a test that is no Python": ('# %% test="a" points=1\nx = = 1\n', "it is not Python"),
    "no score at the end": ('# %% test="a" points=1\nx = 1\n', "its last statement is not an expression"),
    "score only in the hidden tests": (
        '# %% test="a" points=1\nx = 1\n### BEGIN HIDDEN TESTS\nx\n### END HIDDEN TESTS\n',
        "without its hidden tests its last statement is not an expression",
    ),
    "other points in the exercise": (TEST.replace("points=3)", "points=4)"), "points=3 in the header, 4 in Exercise"),
    "YAML header": ("", "has a YAML header"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_source_is_told_where_and_what_is_allowed(problems, name):
    text, message = WRONG[name]
    found = problems(("# ---\n# jupyter: {}\n# ---\n\n" if name == "YAML header" else "") + TITLE + text)
    assert len(found) == 1, found
    assert message in found[0]
    assert found[0].startswith("x.py:")


def test_a_problem_names_the_line_of_its_cell(problems):
    text = TITLE + SOLUTION + '# %%\ntext = """\n# %% not a cell\n"""\n\n' + '# %% demo="bad name"\npass\n'
    (found,) = problems(text)
    line = 1 + text.splitlines().index('# %% demo="bad name"')
    assert found.startswith(f'x.py:{line}: cell demo="bad name": ')


def test_all_problems_are_told_at_once(problems):
    assert len(problems(TITLE + '# %% demo="a b"\npass\n\n# %% test="x"\n1\n\n# %% words\npass\n')) == 3


@pytest.mark.parametrize("title", ["# Gradient attacks", "## 3 Gradient attacks", "Gradient attacks", "# 3"])
def test_a_title_has_its_place_in_the_course(problems, title):
    (found,) = problems(f"# %% [markdown]\n# {title}\n")
    assert "no title; allowed is a heading with the place in the course" in found


def test_a_source_that_is_not_text(tmp_path):
    (tmp_path / "a.py").write_bytes(b"# %% [markdown]\n# # 1 \xff\n")
    with pytest.raises(SourceError, match="not UTF-8 text"):
        read(tmp_path / "a.py")


def test_grade_ids_are_unique_in_an_assignment(course, capsys):
    text = (course.sources / "tiny" / "tiny.py").read_text()
    (course.sources / "tiny" / "tiny2.py").write_text(text)
    assert build(course) == 1
    assert "solutions/tiny/tiny2.py: the id 'add' is taken in solutions/tiny/tiny.py" in capsys.readouterr().err


def test_magics_and_top_level_await_are_fine_outside_of_tests(problems):
    text = TITLE + (
        "# %%\n# %matplotlib inline\n# !pip list\nawait something()\n\n"
        '# %% readonly="setup"\n# %load_ext autoreload\n\n'
        '# %% demo="speed"\n# %%timeit\nprint(1)\n\n'
        '# %% solution="a"\n# %time x = 1\n### BEGIN SOLUTION\nawait something()\n### END SOLUTION\n'
    )
    assert problems(text) == []


# -- values only


FINE = [
    "import math\nfrom torch import nn as n\nmath.pi + n.x",
    "x = 1\nx + len('a')",
    "def f(a, *b, c=1, **d):\n    e = a\n    return e, b, c, d, f\nf(1)",
    "[a + b for a in range(3) for b in range(a)]",
    "{k: v for k, v in {}.items()}",
    "(lambda z: z)(1)",
    "class A:\n    x = 1\n    y = x\n    def m(self):\n        return super().x\nA()",
    "with open('f') as g:\n    g.read()\n1",
    "try:\n    pass\nexcept ValueError as error:\n    print(error)\n1",
    "if (n := 3) > 2:\n    print(n)\nn",
    "def f():\n    global late\n    late = 1\nf(), late",
    "for i, (j, *k) in []:\n    print(i, j, k)\n1",
    "match [1]:\n    case [first, *rest]:\n        print(first, rest)\n1",
    "def outer():\n    inner = 1\n    def f():\n        nonlocal inner\n        inner = 2\n    return f\nouter()",
    "def _(fgsm):\n    return fgsm(1)\n_",
    "from IPython.display import display\ndisplay(1)",
]
TOUCHING = {
    "fgsm(1)": "fgsm",
    "x = 1\ndef f():\n    return fgsm(x)\nf()": "fgsm",
    "[model(a) for a in range(3)]": "model",
    "(lambda: math.pi)()": "math",
    "def f(eps=default):\n    pass\n1": "default",
    "@decorate\ndef f():\n    pass\n1": "decorate",
    "def f(x: Tensor):\n    pass\n1": "Tensor",
    "class A(Base):\n    pass\n1": "Base",
    "fgsm.attribute = 1\n1": "fgsm",
    "globals()['fgsm']": "globals",
    "eval('fgsm')": "eval",
    "get_ipython().user_ns": "get_ipython",
    "display(1)": "display",
    "from tools import *\n1": "*",
    "import __main__\n__main__.fgsm": "__main__",
    "from __main__ import fgsm\nfgsm": "__main__",
}


@pytest.mark.parametrize("code", FINE)
def test_a_test_may_use_what_it_defines(problems, code):
    assert problems(f'{TITLE}# %% test="a" points=1\n{code}\n') == []


@pytest.mark.parametrize("code", TOUCHING)
def test_a_test_may_not_touch_names_it_does_not_define(problems, code):
    found = problems(f'{TITLE}# %% test="a" points=1\n{code}\n')
    assert found
    assert TOUCHING[code] in found[0]
    assert 'x.py:6: cell test="a": ' in found[0]


def test_a_public_test_may_not_lean_on_its_hidden_part(problems):
    code = "### BEGIN HIDDEN TESTS\nimport math\n### END HIDDEN TESTS\nmath.pi"
    (found,) = problems(f'{TITLE}# %% test="a" points=1\n{code}\n')
    assert "without its hidden tests uses math in line 1 of the cell" in found


# -- the way back


def save_in_jupyterlab(path):
    """Opens a source through JupyterLab's contents manager, runs it so to speak, and saves it."""
    from jupyter_server.services.contents.filemanager import AsyncFileContentsManager
    from jupytext.async_contentsmanager import build_async_jupytext_contents_manager_class

    async def go():
        manager = build_async_jupytext_contents_manager_class(AsyncFileContentsManager)(root_dir=str(path.parent))
        notebook = (await manager.get(path.name, type="notebook", content=True))["content"]
        notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook.metadata.language_info = {"name": "python", "version": "3.12.1", "file_extension": ".py"}
        notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
        for number, cell in enumerate(notebook.cells):
            cell.metadata |= {"trusted": True, "collapsed": False, "jupyter": {"source_hidden": True}}
            if cell.cell_type == "code":
                cell.execution_count = number
                cell.metadata.execution = {"iopub.execute_input": "2024-01-01T00:00:00Z"}
                cell.outputs = [nbformat.v4.new_output("stream", text="hello")]
        await manager.save({"type": "notebook", "content": notebook, "format": "json"}, path.name)

    with contextlib.redirect_stderr(None):
        asyncio.run(go())


SOURCES = sorted(ROOT.glob("solutions/*/*.py")) + sorted(ROOT.glob("tests/grading/sample_course/solutions/*/*.py"))


@pytest.mark.parametrize(
    "text", [WHOLE, *SOURCES], ids=lambda text: text.stem if isinstance(text, Path) else "all roles"
)
def test_saving_a_source_as_a_notebook_changes_nothing(tmp_path, text):
    before = text.read_text(encoding="utf-8") if isinstance(text, Path) else text
    path = tmp_path / "source.py"
    path.write_text(before, encoding="utf-8")
    save_in_jupyterlab(path)
    assert path.read_text(encoding="utf-8") == before


def test_a_text_that_would_come_back_changed_is_told(problems):
    (found,) = problems(TITLE + '# %%   demo="a"\npass\n')
    assert "JupyterLab would save '# %%   demo=\"a\"' as '# %% demo=\"a\"'" in found


# -- the course


def test_a_folder_that_is_no_course(tmp_path, course):
    with pytest.raises(CourseError, match=r"no source under .*--course DIR"):
        build(Course(tmp_path / "empty"))
    course.nbgrader_config.unlink()
    with pytest.raises(CourseError, match=r"no nbgrader_config.py in .*--course DIR"):
        build(course)
    course.nbgrader_config.write_text("c = get_config(\n")
    with pytest.raises(CourseError, match=r"nbgrader_config.py: SyntaxError"):
        build(course)


# -- nbgrader's own commands, as an instructor types them


@pytest.mark.slow
def test_nbgrader_commands_work_from_the_folder_of_the_course(course, hand_in, filled, release, tmp_path):
    deleted, twice, skipped = filled(), filled(), filled(add=None)
    deleted.cells = [cell for cell in deleted.cells if cell.id not in ("root", "test-root")]
    copied = nbformat.from_dict(next(cell for cell in twice.cells if cell.id == "test-add"))
    twice.cells.append(nbformat.from_dict(copied | {"id": "copy"}))
    for cell in skipped.cells:
        if cell.id == "test-add":
            cell.metadata.tags = ["skip-execution", "demo"]
    submissions = {"untouched": release, "right": filled(), "deleted": deleted, "twice": twice, "skipped": skipped,
                   "wrong": filled(root="def root(x):\n    return x / 3")}  # fmt: skip
    for student, notebook in submissions.items():
        hand_in(course, student, notebook)

    released = contents(course.release)
    run_nbgrader(course, "generate_assignment", "tiny", "--force")
    assert contents(course.release) == released
    run_nbgrader(course, "autograde", "tiny")
    scores = gradebook_scores(course)
    everything = {"test-add": 2.0, "test-double": 1.0, "test-root": 3.0}
    assert scores == {
        "right": everything, "twice": everything,
        "deleted": everything | {"test-root": 0.0},
        "skipped": everything | {"test-add": 0.0},
        "wrong": everything | {"test-root": 2.0},
        "untouched": dict.fromkeys(everything, 0.0),
    }  # fmt: skip
    for student in submissions:  # figures are not run, the answer to be read is there
        graded = cells(course.autograded / student / "tiny" / "tiny.ipynb")
        assert graded["picture"].outputs == []
        assert "add(-1, -2)" in graded["test-add"].source

    run_nbgrader(course, "generate_feedback", "tiny")
    page = (course.feedback / "right" / "tiny" / "tiny.html").read_text()
    assert "test-add" in page
    assert "add(-1, -2)" not in page, "the source of a hidden test is not for students"
    checked = run_nbgrader(course, "validate", "notebooks/tiny/tiny.ipynb").stdout
    assert "VALIDATION FAILED" in checked


@pytest.mark.slow
def test_formgrader_shows_the_course_in_jupyterlab(course):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=t",
    ]
    log = course.dir / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [program("jupyter-lab"), *options], cwd=course.dir, env=bare_shell(course), stdout=output, stderr=output
        )
        try:
            assignments = json.loads(fetch(f"http://127.0.0.1:{port}/formgrader/api/assignments?token=t", server, log))
        finally:
            server.terminate()
            server.wait(30)
    assert [(a["name"], a["source_path"], a["release_path"]) for a in assignments] == [
        ("tiny", "build/source/tiny", "notebooks/tiny")
    ]


def fetch(url, server, log):
    """What the address answers, as soon as the server does."""
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            return urllib.request.urlopen(url, timeout=60).read()
        except urllib.error.HTTPError as error:
            raise AssertionError(log.read_text()) from error
        except OSError:  # not listening yet
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def program(name):
    return str(Path(sys.executable).with_name(name))


def bare_shell(course):
    """The environment of somebody who has not activated ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "VIRTUAL_ENV"))}
    return kept | {"PYTHONPATH": str(ROOT), "PATH": os.defpath, "HOME": str(course.dir)}


def run_nbgrader(course, *arguments):
    command = [program("nbgrader"), *arguments]
    run = subprocess.run(command, cwd=course.dir, env=bare_shell(course), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run


def gradebook_scores(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        return {
            submission.student.id: {
                grade.name: grade.auto_score
                for notebook in submission.notebooks
                for grade in notebook.grades
                if grade.name.startswith("test-")
            }
            for submission in book.assignment_submissions("tiny")
        }
