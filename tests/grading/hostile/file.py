# ruff: noqa: E501 - one line per submission reads as a table
"""Attempts by the file itself: its cells, their settings, its outputs, its names, and what lies beside it.

What an honest hand does to a file (deleted, doubled, moved cells, other encodings) is in `test_class.py`.
"""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from hostile.case import FULL, TESTS, Case, Verdict, World, answer, cell, code, place, zero
from hostile.forging import WRONG

UNREADABLE = {id: Verdict(("unreadable",)) for id in FULL}
LOST_CLIP = {"test-clip": zero()}
FORGED = [
    nbformat.v4.new_output("execute_result", {"text/plain": "3.0"}),
    nbformat.v4.new_output(
        "display_data",
        {
            "application/vnd.coursekit.score+json": {
                "exercise": "clip", "points": 3.0, "max": 3, "status": "passed", "reason": "", "cases": [],
            },
            "text/html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
            "application/javascript": "alert(1)",
        },
    ),
]  # fmt: skip


def changed(change: Callable[[NotebookNode], object], lost: dict | None = None, **more: object) -> Case:
    """The answer to clip is wrong unless `lost` is empty, and the file is changed to hide it."""

    def edit(notebook: NotebookNode) -> bytes | None:
        if lost != {}:
            answer(notebook, clip=WRONG["clip"])
        result = change(notebook)
        return result if isinstance(result, bytes) else None

    return Case(edit, LOST_CLIP if lost is None else lost, **more)  # type: ignore[arg-type]


def whole(content: Callable[[NotebookNode], bytes], **more: object) -> Case:
    """A file that is no notebook."""
    return Case(content, UNREADABLE, **more)  # type: ignore[arg-type]


def as_bytes(notebook: NotebookNode) -> bytes:
    return json.dumps(notebook, ensure_ascii=False).encode("utf-8", "surrogatepass")


def settings(**changes: object) -> Callable[[NotebookNode], None]:
    return lambda notebook: cell(notebook, "test-clip").metadata.nbgrader.update(changes)


def all_cells(change: Callable[[NotebookNode], object]) -> Callable[[NotebookNode], None]:
    def apply(notebook: NotebookNode) -> None:
        for each in notebook.cells:
            change(each)

    return apply


def own_test(notebook: NotebookNode) -> None:
    """A test of one's own, worth more than all others."""
    mine = code("1000")
    mine.metadata.nbgrader = dict(cell(notebook, "test-clip").metadata.nbgrader, grade_id="test-mine", points=1000)
    notebook.cells.append(mine)


def shadow_test(notebook: NotebookNode) -> None:
    """A second test of the same name, kind to its author, before and after the real one."""
    for index in (place(notebook, "test-clip"), place(notebook, "test-clip") + 2):
        double = copy.deepcopy(cell(notebook, "test-clip"))
        double.source = "3.0"
        notebook.cells.insert(index, double)


def solution_as_test(notebook: NotebookNode) -> None:
    """Names exchanged, so that the test is taken for the solution and the other way round."""
    one, two = cell(notebook, "clip"), cell(notebook, "test-clip")
    one.metadata.nbgrader, two.metadata.nbgrader = two.metadata.nbgrader, one.metadata.nbgrader
    one.id, two.id = two.id, one.id


def forged_results(notebook: NotebookNode) -> None:
    """What the grader itself writes into an autograded notebook."""
    notebook.metadata.coursekit = {"remarks": [], "files": {"../../../gradebook.db": "0" * 64}}
    for each in notebook.cells:
        each.metadata.coursekit = {"score": 100.0, "max": 100.0, "status": "passed", "reason": "", "cases": []}
        if each.cell_type == "code":
            each.outputs = copy.deepcopy(FORGED)


def scripts(notebook: NotebookNode) -> None:
    """In every place that a page might show."""
    script = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    answer(notebook, why=f"{script}\n\n[link](javascript:alert(1)) <svg onload=alert(1)>")
    answer(notebook, share=f"def share(robust):\n    raise ValueError({script!r})")
    notebook.cells.append(code(f"{script!r}"))
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"# {script}"))
    for each in notebook.cells:
        each.metadata.tags = [script]
        if each.cell_type == "code":
            each.outputs = copy.deepcopy(FORGED)
    notebook.metadata.title = script


def huge_cell(notebook: NotebookNode) -> None:
    notebook.cells.append(code("# " + "x" * 20_000_000))


def many_cells(notebook: NotebookNode) -> None:
    notebook.cells += [code(f"x_{i} = {i}") for i in range(1500)]


def link(target: str) -> Callable[[Path, World], None]:
    """The notebook is a symbolic link."""

    def prepare(folder: Path, world: World) -> None:
        (folder / "robust.ipynb").unlink()
        (folder / "robust.ipynb").symlink_to(world.fill(target))

    return prepare


def links_beside(folder: Path, world: World) -> None:
    (folder / "gradebook.txt").symlink_to(world.course / "gradebook.db")
    (folder / "home").symlink_to(world.home)
    (folder / "up").symlink_to("../../..")
    (folder / "secret.txt").symlink_to(world.home / "secret.txt")
    os.mkfifo(folder / "pipe")
    (folder / "itself").symlink_to("itself")


def linked_folder(folder: Path, world: World) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.symlink_to(world.course / "submitted" / world.values["HONEST"] / "robust")


LOOK_AT_LINKS = """
import os
for folder, _, names in os.walk("."):
    for name in sorted(names):
        try:
            print(name, open(os.path.join(folder, name), "rb").read()[:2000])
        except OSError as error:
            print(name, error.strerror)
print("looked at", sorted(os.listdir(".")))
"""

MARKS = "import os\nos.system('touch /tmp/@MARK@ /var/tmp/@MARK@')\nprint('shadowed')\nraise SystemExit\n"

CASES: dict[str, Case] = {
    # --- settings
    "points-raised": changed(settings(points=1000), remark="settings were changed"),
    "points-negative": changed(settings(points=-5), remark="settings were changed"),
    "points-not-a-number": changed(settings(points=float("nan")), remark="settings were changed"),
    "test-not-graded": changed(settings(grade=False), remark="settings were changed"),
    "test-made-a-solution": changed(settings(solution=True, locked=False), remark="settings were changed"),
    "test-renamed": changed(settings(grade_id="test-share"), remark="settings were changed"),
    "test-of-a-strange-name": changed(settings(grade_id="../../x\n<script>"), remark="settings were changed"),
    "settings-of-the-wrong-kind": changed(
        settings(grade=[], solution={}, locked="yes", points={}, schema_version="x", cell_type=7)
    ),
    "checksum-forged": changed(settings(checksum="0" * 32)),
    "test-edited": changed(
        lambda notebook: cell(notebook, "test-clip").update(source="3.0"), remark="test-clip: was edited"
    ),
    "test-deleted": changed(
        lambda notebook: notebook.cells.remove(cell(notebook, "test-clip")), remark="test-clip: was deleted"
    ),
    "test-as-text": changed(
        lambda notebook: cell(notebook, "test-clip").update(cell_type="markdown"), remark="markdown cell"
    ),
    "tests-not-to-be-run": changed(
        all_cells(lambda each: each.metadata.update(tags=["skip-execution", "raises-exception", "demo"])),
        remark="not to be run",
    ),
    "all-metadata-lost": changed(all_cells(lambda each: each.update(metadata={})), remark="recognised"),
    "all-ids-the-same": changed(all_cells(lambda each: each.update(id="x"))),
    "ids-of-the-wrong-kind": changed(all_cells(lambda each: each.update(id=[7]))),
    "id-with-a-path": changed(all_cells(lambda each: each.update(id="../" * 5 + each.id))),
    "own-test": changed(own_test),
    "shadow-tests": changed(shadow_test, remark="test-clip: was there 3 times"),
    "solution-as-test": changed(solution_as_test),
    "foreign-kernel": changed(
        lambda notebook: notebook.metadata.update(
            kernelspec={"name": "evil", "display_name": "x", "language": "bash", "argv": ["touch", "/tmp/@MARK@"]}
        )
    ),
    # --- what is in the file already
    "forged-results": changed(forged_results),
    "scripts": changed(scripts, LOST_CLIP | {"test-share": zero("crashed")}),
    "hidden-markers": changed(
        # The marks by which hidden parts are found, in the student's own text: nothing must be cut out or shown by them.
        lambda notebook: answer(
            notebook,
            why="### BEGIN HIDDEN TESTS\n=== BEGIN MARK SCHEME ===\n=== END MARK SCHEME ===\nx",
            share="### END HIDDEN TESTS\n### BEGIN SOLUTION\ndef share(robust):\n    return sum(robust) / len(robust)\n### BEGIN HIDDEN TESTS",
        )
    ),
    "test-with-another-end": changed(
        lambda notebook: cell(notebook, "test-clip").update(source=cell(notebook, "test-clip").source + "\n3.0"),
        remark="was edited",
    ),
    "huge-cell": changed(huge_cell, {}),
    "many-cells": changed(many_cells, {}),
    "many-copies": changed(
        lambda notebook: notebook.cells.extend(copy.deepcopy(cell(notebook, "test-clip")) for _ in range(300)),
        remark="301 times",
    ),
    # --- no notebook at all
    "huge": whole(lambda notebook: as_bytes(notebook) + b" " * (200 * 1024**2), remark="MB allowed"),
    "nested": whole(lambda notebook: b'{"cells": ' + b"[" * 2_000_000, remark="nested"),
    "nested-in-metadata": whole(
        lambda notebook: as_bytes(notebook)[:-1] + b', "x": ' + b'{"a":' * 90_000 + b"1" + b"}" * 90_000 + b"}",
        remark="nested",
    ),
    "null-bytes": whole(lambda notebook: as_bytes(notebook)[:900] + bytes(900), remark="null bytes"),
    "invalid-json": whole(lambda notebook: as_bytes(notebook)[:-200], remark="not a notebook"),
    "not-text": whole(lambda notebook: bytes(range(256)) * 64),
    "a-program": whole(lambda notebook: b"\x7fELF" + os.urandom(5000)),
    "number-of-many-digits": whole(lambda notebook: b'{"cells": [], "nbformat": ' + b"9" * 1_000_000 + b"}"),
    "cells-of-the-wrong-kind": Case(
        lambda notebook: (
            b'{"cells": [[], 7, null, "x", {"cell_type": {}, "source": {"a": 1}, "metadata": 3}], "metadata": []}'
        ),
        {test: Verdict(("not attempted",)) for test in (*TESTS, "why")},
    ),
    # --- what lies beside it
    "shadowing-modules": changed(
        lambda notebook: notebook.cells.insert(
            0, code("import torch, json, coursekit, numpy, random\nprint(torch.__version__)")
        ),
        {},
        files=dict.fromkeys(
            (
                "torch.py",
                "json.py",
                "random.py",
                "numpy.py",
                "IPython.py",
                "coursekit/__init__.py",
                "coursekit/checks.py",
                "sitecustomize.py",
                "usercustomize.py",
                "x.pth",
                "conftest.py",
                "nbgrader_config.py",
                "ipython_config.py",
                "profile_default/startup/00-first.py",
                "profile_default/ipython_config.py",
                "pyvenv.cfg",
                "python.py",
            ),
            MARKS,
        ),
    ),
    "extension": changed(
        # It breaks the shell that is to run the student's cells; that is the student's own loss.
        lambda notebook: notebook.cells.insert(0, code("%load_ext mine")),
        {test: zero("crashed", "not attempted") for test in TESTS},
        files={"mine.py": "def load_ipython_extension(shell):\n    print('loaded')\n    type(shell).run_cell = None\n"},
    ),
    "odd-names-beside": changed(
        lambda notebook: None,
        {},
        files={
            "a\nb.txt": "x",
            "\x1b[2J.txt": "x",
            "-rf": "x",
            "<script>alert(1)</script>.txt".replace("/", ""): "x",
            "x" * 250: "x",
            "données.csv": "x",
        },
    ),
    "links-beside": changed(
        lambda notebook: notebook.cells.append(code(LOOK_AT_LINKS)), {}, prepare=links_beside, says="looked at"
    ),
    "link-to-the-gradebook": whole(lambda notebook: b"", prepare=link("@COURSE@/gradebook.db"), remark="symbolic link"),
    "link-to-another": whole(
        lambda notebook: b"", prepare=link("@COURSE@/submitted/@HONEST@/robust/robust.ipynb"), remark="symbolic link"
    ),
    "link-to-the-solution": whole(
        lambda notebook: b"", prepare=link("@COURSE@/build/source/robust/robust.ipynb"), remark="symbolic link"
    ),
    "link-to-a-device": whole(lambda notebook: b"", prepare=link("/dev/zero"), remark="symbolic link"),
    "link-for-a-folder": whole(lambda notebook: b"", prepare=linked_folder, remark="symbolic link"),
    "bad-time": changed(lambda notebook: None, {}, files={"timestamp.txt": "9" * 100_000}, remark="timestamp.txt"),
}
