"""A class of submissions, each with something wrong with its file or its code, graded in one run.

Beside each stands what it may cost: nothing unless said. `lost` names the questions that lose points, with the score,
the status and a word of the reason; `remark` is a word of what the instructor is told.
"""

# ruff: noqa: E501 - one line per submission reads as a table
import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import nbformat
import pytest
from grading_samples import FULL, MOST, RIGHT, as_bytes, cell, code, left_running, place, read_json, text

from coursekit.grading.grade import grade


@dataclass
class Case:
    make: Callable  # from `filled` to a notebook or the bytes of a file
    lost: dict = field(default_factory=dict)
    remark: str = ""


def changed(change: Callable) -> Callable:
    """A complete notebook with a change made to it."""

    def make(filled):
        notebook = filled()
        return change(notebook) or notebook

    return make


def answers(**sources) -> Callable:
    return lambda filled: filled(**sources)


def with_cell(source: str, before: str = "imports") -> Callable:
    """A complete notebook with a cell of the student's own."""
    return changed(lambda notebook: notebook.cells.insert(place(notebook, before), code(source)))


def everything(status: str, reason: str) -> dict:
    return dict.fromkeys(FULL, (0.0, status, reason))


# --- the file ------------------------------------------------------------------------------------------------------


def delete(*ids):
    def change(notebook):
        notebook.cells = [c for c in notebook.cells if c.id not in ids]

    return changed(change)


def edit(id, source):
    return changed(lambda notebook: cell(notebook, id).update(source=source))


def duplicate(id, source=None, after=None, new_id=None):
    """A copy of a cell, with other text if given, right below it or below another cell."""

    def change(notebook):
        again = copy.deepcopy(cell(notebook, id))
        again.source = again.source if source is None else source
        again.id = new_id or id
        notebook.cells.insert(place(notebook, after or id) + 1, again)

    return changed(change)


def settings(id, **changes):
    return changed(lambda notebook: cell(notebook, id).metadata.nbgrader.update(changes))


def strip_all(keep_ids):
    """Saved by a program that drops what it does not know."""

    def change(notebook):
        for number, c in enumerate(notebook.cells):
            c.metadata = {}
            if not keep_ids:
                c.id = f"new-{number}"
        notebook.metadata = {}

    return changed(change)


def move(id, before):
    def change(notebook):
        moved = notebook.cells.pop(place(notebook, id))
        notebook.cells.insert(place(notebook, before), moved)

    return changed(change)


def solution_then_stub(notebook):
    """The solution written in a copy above; the released cell is still there, and would undo it."""
    done = copy.deepcopy(cell(notebook, "add"))
    done.source, done.id = RIGHT["add"], "pasted"
    stub = cell(notebook, "add")
    stub.source = STUB
    notebook.cells.insert(place(notebook, "add"), done)


def old_format(filled):
    """nbformat 3: worksheets, `input` for `source`."""
    notebook = filled()
    cells = [
        {"cell_type": "code", "input": c.source, "language": "python", "outputs": [], "metadata": c.metadata}
        if c.cell_type == "code"
        else {"cell_type": c.cell_type, "source": c.source.splitlines(keepends=True), "metadata": c.metadata}
        for c in notebook.cells
    ]
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}).encode()


def without_ids(notebook):
    for c in notebook.cells:
        del c["id"]
    notebook.nbformat_minor = 4


def retag_swapped(notebook):
    """The grade ids of two solutions exchanged."""
    one, two = cell(notebook, "add").metadata.nbgrader, cell(notebook, "double").metadata.nbgrader
    one.grade_id, two.grade_id = two.grade_id, one.grade_id


def type_changed(id, cell_type):
    def change(notebook):
        cell(notebook, id).cell_type = cell_type
        for name in ("outputs", "execution_count"):
            cell(notebook, id).pop(name, None)

    return changed(change)


def skip_tags(notebook):
    for c in notebook.cells:
        c.metadata.tags = ["skip-execution", "raises-exception"]


def odd_values(notebook):
    """A cell list with things in it that are no cells, and fields of the wrong type."""
    data = json.loads(as_bytes(notebook))
    data["cells"] += [None, 7, {"cell_type": "code"}, {"cell_type": "spam", "source": 3, "metadata": []}]
    data["cells"][0]["metadata"] = "none"
    data["metadata"] = ["?"]
    return json.dumps(data).encode()


def forged_outputs(notebook):
    for c in notebook.cells:
        if c.cell_type == "code":
            c.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "100"})]


STUB = '''\
def add(a, b):
    """The sum of a and b."""
    # YOUR CODE HERE: replace this line and the next
    raise NotImplementedError()'''
WRONG_ADD = "def add(a, b):\n    return a - b"
LOST_ADD = {"test-add": (0.0, "wrong", "adds small numbers")}

FILES = {
    "complete": Case(answers()),
    "untouched": Case(lambda filled: filled(**dict.fromkeys(RIGHT)), everything("not attempted", "")),
    "test-deleted": Case(delete("test-add"), remark="test-add: was deleted"),
    "solution-deleted": Case(delete("add"), {"test-add": (0.0, "not attempted", "")}, "add: was deleted"),
    "answer-deleted": Case(delete("why"), {"why": (0.0, "not attempted", "")}, "why: was deleted"),
    "imports-deleted": Case(delete("imports"), remark="imports: was deleted"),
    "all-graded-deleted": Case(
        delete("imports", "test-add", "test-double", "test-root"), remark="test-root: was deleted"
    ),
    "everything-deleted": Case(
        changed(lambda notebook: notebook.cells.clear()), everything("not attempted", ""), "deleted"
    ),
    "test-edited": Case(edit("test-add", "2"), remark="test-add: was edited"),
    "test-edited-wrong": Case(
        lambda filled: edit("test-add", "2")(lambda: filled(add=WRONG_ADD)), LOST_ADD, "test-add: was edited"
    ),
    "imports-edited": Case(edit("imports", "import os"), remark="imports: was edited"),
    "test-twice": Case(duplicate("test-add"), remark="test-add: was there 2 times"),
    "test-twice-same-id-apart": Case(duplicate("test-add", after="why"), remark="test-add: was there 2 times"),
    "test-copied-and-edited": Case(duplicate("test-add", "print('my own try')", new_id="mine"), remark="kept as plain"),
    "solution-twice": Case(duplicate("add"), remark="add: was there 2 times"),
    "solution-then-stub": Case(changed(solution_then_stub), remark="add: was there 2 times"),
    "first-try-then-right": Case(
        lambda filled: duplicate("add", RIGHT["add"])(lambda: filled(add=WRONG_ADD)), remark="the last that was worked on"
    ),
    "right-then-unparseable": Case(duplicate("add", "def add(a, b)\n    return"), remark="the last that was worked on"),
    "answer-twice": Case(duplicate("why", "And another thought."), remark="why: was there 2 times"),
    "solution-moved-down": Case(move("add", "double"), remark="test-add: stood above its solution"),
    "sections-exchanged": Case(
        lambda filled: move("test-double", "add")(lambda: move("double", "add")(filled)), {}
    ),
    "points-raised": Case(settings("test-add", points=100), remark="points 2 to 100"),
    "grade-switched-off": Case(settings("test-add", grade=False), remark="grade True to False"),
    "test-made-a-solution": Case(settings("test-add", solution=True, locked=False), remark="settings were changed"),
    "ids-exchanged": Case(changed(retag_swapped), remark="settings were changed"),
    "unknown-id": Case(settings("test-add", grade_id="test-nonsense"), remark="test-add: its settings were changed"),
    "settings-lost": Case(strip_all(keep_ids=True), remark="recognised by its cell id"),
    "settings-and-ids-lost": Case(strip_all(keep_ids=False), remark="recognised by what is in it"),
    "solution-as-markdown": Case(type_changed("add", "markdown"), remark="add: was turned into a markdown cell"),
    "test-as-raw": Case(type_changed("test-add", "raw"), remark="test-add: was turned into a raw cell"),
    "skip-tags": Case(changed(skip_tags), remark="was marked not to be run"),
    "skip-tags-wrong": Case(
        lambda filled: changed(skip_tags)(lambda: filled(add=WRONG_ADD)), LOST_ADD, "was marked not to be run"
    ),
    "foreign-kernel": Case(
        changed(lambda notebook: notebook.metadata.update(kernelspec={"name": "ir", "display_name": "R", "language": "R"}))
    ),
    "no-metadata-at-all": Case(changed(lambda notebook: notebook.metadata.clear())),
    "forged-outputs": Case(changed(forged_outputs)),
    "own-cells": Case(
        changed(lambda notebook: notebook.cells.extend([text("<script>alert(1)</script>"), code("40 + 2", "own-2")]))
    ),
    "format-3": Case(old_format),
    "format-4.4": Case(changed(without_ids)),
    "odd-values": Case(changed(odd_values), remark="that are no cells were left out"),
    "lone-surrogate": Case(with_cell("print('\\ud800', '\ud800')")),
    "bom": Case(lambda filled: b"\xef\xbb\xbf" + as_bytes(filled())),
    "utf-16": Case(lambda filled: as_bytes(filled()).decode().encode("utf-16"), remark="utf-16"),
    "utf-16-no-mark": Case(lambda filled: as_bytes(filled()).decode().encode("utf-16-le"), remark="utf-16-le"),
    "latin-1": Case(lambda filled: as_bytes(with_cell("# très")(filled)).decode().encode("latin-1"), remark="latin-1"),
    "windows-line-ends": Case(lambda filled: as_bytes(filled()).replace(b"\\n", b"\\r\\n")),
    "not-json": Case(lambda filled: b"hello", everything("unreadable", "not a notebook"), "not a notebook"),
    "empty": Case(lambda filled: b"", everything("unreadable", "the file is empty"), "empty"),
    "cut-off": Case(lambda filled: as_bytes(filled())[:-300], everything("unreadable", "not a notebook"), "not a"),
    "null-bytes": Case(
        lambda filled: as_bytes(filled())[:500] + b"\0" * 500, everything("unreadable", "null bytes"), "null bytes"
    ),
    "not-a-notebook": Case(lambda filled: b'{"a": 1}', everything("unreadable", "has no cells"), "has no cells"),
    "a-list": Case(lambda filled: b"[1, 2]", everything("unreadable", "has no cells"), "has no cells"),
    "deeply-nested": Case(lambda filled: b"[" * 200_000, everything("unreadable", "nested too deeply"), "nested"),
    "deep-metadata": Case(
        lambda filled: as_bytes(filled()).replace(b'"cells":', b'"x": ' + b"[" * 50_000 + b"]" * 50_000 + b', "cells":', 1),
        everything("unreadable", "nested too deeply"),
        "nested",
    ),
    "huge": Case(
        lambda filled: as_bytes(filled()) + b" " * (101 * 1024**2), everything("unreadable", "MB allowed"), "MB allowed"
    ),
}  # fmt: skip


# --- the code ------------------------------------------------------------------------------------------------------

NOISE = """
    import sys, warnings
    warnings.warn("careful")
    print("on stderr", file=sys.stderr)
    print("on stdout")
"""
LOST_ROOT = "test-root"
SWALLOW = """
def root(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
HOLD_GIL = "def root(x):\n    import ctypes\n    ctypes.PyDLL(None).sleep(1000)"
DAEMON = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # left-behind-by-a-student"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)  # left-behind-by-a-student"])
    os._exit(0)
"""


def lost_root(status, reason):
    return {"test-root": (0.0, status, reason)}


CODE = {
    "stderr": Case(answers(add=f"def add(a, b):{NOISE}    return a + b", root=f"{NOISE.replace('    ', '')}{RIGHT['root']}")),
    "tqdm": Case(answers(root="from tqdm.auto import tqdm\ndef root(x):\n    for _ in tqdm(range(3)): pass\n    return math.sqrt(x)")),
    "input": Case(answers(root="def root(x):\n    return float(input('? '))"), lost_root("crashed", "input()")),
    "input-in-own-cell": Case(with_cell("name = input('Your name: ')")),
    "pip-install": Case(with_cell("!pip install nothing-of-this-name\n%pip install x\n!conda install -y x\nimport math")),
    "shell": Case(with_cell("!echo hello\nfiles = !ls\n%ls\n%%time\n1")),
    "await": Case(with_cell("import asyncio\nawait asyncio.sleep(0.01)\nx = await asyncio.gather(asyncio.sleep(0, 3))")),
    "magics": Case(with_cell("%matplotlib notebook\n%matplotlib qt\n%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'svg'")),
    "figure": Case(with_cell("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")),
    "widget": Case(with_cell("import ipywidgets\nipywidgets.interact(lambda x: print(x), x=3)")),
    "syntax-error": Case(answers(root="def root(x)\n    return 1"), lost_root("crashed", "SyntaxError")),
    "syntax-error-in-own-cell": Case(with_cell("for x in (1, 2:\n    print")),
    "own-cell-raises": Case(with_cell("1 / 0")),
    "raises-after-definition": Case(answers(root=RIGHT["root"] + "\nroot('nine')")),
    "sys-exit": Case(with_cell("import sys\nsys.exit(1)")),
    "exit": Case(with_cell("exit()\nquit()")),
    "sys-exit-in-function": Case(answers(root="def root(x):\n    raise SystemExit(0)"), lost_root("crashed", "SystemExit")),
    "closed-stdout": Case(with_cell("import sys, os\nsys.stdout.close()\nsys.stderr.close()\nos.close(1)\nos.close(2)\nprint('?')")),
    "stdout-replaced": Case(with_cell("import sys\nsys.stdout = None\nsys.stderr = open('log.txt', 'w')\nsys.displayhook = None")),
    "chdir": Case(with_cell("import os\nos.makedirs('a/b')\nos.chdir('a/b')\nos.rmdir('../b')")),
    "other-seed": Case(with_cell("import random, numpy\nrandom.seed(77)\nnumpy.random.seed(77)")),
    "names-overwritten": Case(with_cell("Exercise = exercise = list = None\nprint = 3", before="test-add")),
    "demo-edited": Case(edit("picture", "moved = RIGHT = 1\nassert double(2) == 4")),
    "demo-loops": Case(edit("picture", "while True: pass"), remark="'while True: pass': stopped"),
    "own-file": Case(answers(root="import helper_of_mine\ndef root(x):\n    return helper_of_mine.root(x)")),
    "os-exit": Case(answers(root="def root(x):\n    import os\n    os._exit(3)"), lost_root("died", "exit code 3")),
    "os-exit-in-cell": Case(answers(root="import os\nos._exit(0)"), lost_root("died", "exit code 0")),
    "os-exit-in-own-cell": Case(with_cell("import os\nos._exit(0)"), remark="A cell that begins with 'import os': the process ended itself"),
    "os-exit-everywhere": Case(
        answers(**{name: f"def {name}(*a):\n    import os\n    os._exit(1)" for name in ("add", "double", "root")}),
        dict.fromkeys(("test-add", "test-double", "test-root"), (0.0, "died", "exit code 1")),
    ),
    "segfault": Case(answers(root="def root(x):\n    import ctypes\n    ctypes.string_at(0)"), lost_root("died", "SIGSEGV")),
    "killed": Case(answers(root="def root(x):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)"), lost_root("died", "SIGKILL")),
    "parent-killed": Case(answers(root="def root(x):\n    import os, signal, time\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(60)  # till it is felt"), lost_root("timed out", "4 s")),
    "shows-much": Case(answers(root="def root(x):\n    for _ in range(300):\n        display({'text/plain': 'x' * 20000}, raw=True)\n    return x ** 0.5")),
    "memory": Case(answers(root="def root(x):\n    return len(bytearray(10**12))"), lost_root("crashed", "MemoryError")),
    "loop": Case(answers(root="def root(x):\n    while True: pass"), lost_root("timed out", "4 s")),
    "loop-swallowing": Case(answers(root=SWALLOW), lost_root("timed out", "4 s")),
    "loop-holding-gil": Case(answers(root=HOLD_GIL), lost_root("timed out", "4 s")),
    "loop-in-cell": Case(answers(root="while True: pass"), lost_root("timed out", "4 s")),
    "loop-in-cell-swallowing": Case(answers(root=SWALLOW + "\nroot(2)"), lost_root("timed out", "4 s")),
    "defined-then-slow": Case(answers(root=RIGHT["root"] + "\nimport time\ntime.sleep(600)"), remark="A cell that begins with 'def root(x):': stopped after 4 s"),
    "slow-own-cell": Case(with_cell("import time\ntime.sleep(600)"), remark="A cell that begins with 'import time': stopped after 4 s"),
    "daemon": Case(with_cell(DAEMON)),
    "fork-that-goes-on": Case(with_cell("import os\nos.fork()")),
    "thread-that-stays": Case(with_cell("import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()")),
    "at-exit": Case(with_cell("import atexit, time\natexit.register(time.sleep, 600)")),
    "output": Case(with_cell("while True: print('x' * 10_000)"), remark="stopped after 4 s"),
    "output-below-python": Case(with_cell("import os\nwhile True: os.write(1, b'x' * 100_000)"), remark="stopped after 4 s"),
    "large-output": Case(with_cell("print('x' * 50_000_000)\n'y' * 50_000_000")),
    "many-displays": Case(with_cell("from IPython.display import display\nfor i in range(5000): display(i)")),
    "unprintable": Case(with_cell("class Bad(Exception):\n    def __str__(self): raise ValueError\n    __repr__ = __str__\nx = Bad()\nraise x")),
    "recursion": Case(answers(root="def root(x):\n    return root(x)"), lost_root("crashed", "RecursionError")),
}  # fmt: skip

CASES = FILES | CODE
CELL_LIMIT = 4.0  # short, for the many that do not end; the lines above name it


@pytest.fixture(scope="module")
def graded(new_course, filled, hand_in, tmp_path_factory):
    """The whole class, graded in one go: (results, table, course)."""
    course = new_course()
    for name, case in CASES.items():
        hand_in(course, name, case.make(filled))
    (course.submitted / "own-file" / "tiny" / "helper_of_mine.py").write_text("import math\nroot = math.sqrt\n")
    (course.submitted / "own-file" / "tiny" / "math.py").write_text("1 / 0\n")
    file = tmp_path_factory.mktemp("results") / "results.json"
    code = grade(course, "tiny", jobs=3, json_file=file, cell_limit=CELL_LIMIT)
    return code, read_json(file), course


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_verdict(graded, name):
    _, results, course = graded
    case = CASES[name]
    for id, full in FULL.items():
        got = results[name][id]
        score, status, reason = case.lost.get(id, (full, "manual" if full is None else "passed", ""))
        assert (got["score"], got["status"]) == (score, status), (id, got)
        assert reason in got["reason"], (id, got)
        assert got["max"] == MOST[id]
    assert list(results[name]) == list(FULL)
    autograded = nbformat.read(course.autograded / name / "tiny" / "tiny.ipynb", as_version=4)
    nbformat.validate(autograded)
    remarks = " ".join(autograded.metadata.coursekit.remarks)
    assert case.remark in remarks
    if not case.remark:
        assert not remarks or case.lost, remarks


@pytest.mark.slow
def test_class_as_a_whole(graded):
    code, results, course = graded
    assert code == 0, "wrong answers are no error"
    assert sorted(results) == sorted(CASES)
    assert not left_running()
    sizes = [path.stat().st_size for path in course.autograded.rglob("*.ipynb")]
    assert max(sizes) < 20 * 1024**2
    assert not [path for path in course.dir.rglob("*") if path.name.startswith((".new-", ".gradebook-"))]
    assert os.getcwd()
