"""`coursekit check NOTEBOOK`: a student's own look at the points, the way the grader will count them.

Needs neither the sources nor nbgrader. The notebook is run from top to bottom in a process of its own.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from coursekit.grading import score
from coursekit.grading.report import number, wrap
from coursekit.grading.run import Run, RunError, is_test, run
from coursekit.grading.score import Grade
from coursekit.grading.submissions import other_files

WIDTH = 100


def check(path: Path) -> int:
    """Run a notebook and print its points. Exit code 0 if every test passes, 1 if not, 2 if it cannot be run."""
    try:
        notebook = _read(path)
        files, _ = other_files(path.absolute().parent)
        executed = _run(notebook, files)
    except (_Unusable, RunError) as error:
        print(f"coursekit: {path}: {error}", file=sys.stderr)
        return 2
    stubs = {cell.id: cell.source for cell in notebook.cells if _as_released(cell)}
    grades = score.grades(executed, stubs)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in executed.notebook.cells if "nbgrader" in cell.metadata}
    answers = [grade for grade in grades if not is_test(cells[grade.id])]
    tests = [grade for grade in grades if is_test(cells[grade.id])]
    for grade in tests:
        print(_table(grade, cells[grade.id]) + "\n")
    tests += (deleted := _deleted(notebook, {grade.id for grade in tests}))
    for line in [*score.failed_cells(executed, raised=True), *(f"{grade.id}: {grade.reason}" for grade in deleted)]:
        print("\n".join(wrap("note: ", line, WIDTH)))
    print(_total(tests, answers))
    return 0 if all(grade.status == "passed" for grade in tests) else 1


class _Unusable(Exception):
    pass


def _read(path: Path) -> NotebookNode:
    if not path.exists():
        raise _Unusable("there is no such file")
    if not path.is_file():
        raise _Unusable("is not a file; name the notebook itself")
    try:
        notebook = nbformat.reads(path.read_bytes().decode("utf-8-sig"), as_version=4)
        cells = notebook.cells
    except Exception:
        raise _Unusable("is not a notebook (it is no JSON, or has no cells); was it saved completely?") from None
    used: set[str] = set()
    for place, cell in enumerate(cells):
        id = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id") or cell.get("id") or f"cell-{place}"
        cell.id = id if id not in used else f"cell-{place}"
        used.add(cell.id)
    if not any(is_test(cell) for cell in cells):
        raise _Unusable("has no test cells; is it a notebook of this course, and were its cells kept?")
    return notebook


def _run(notebook: NotebookNode, files: list[tuple[str, Path]]) -> Run:
    from tqdm import tqdm

    # Figures and experiments are not run when grading either.
    demos = [cell.id for cell in notebook.cells if "demo" in cell.metadata.get("tags", [])]
    with tqdm(unit="cell", file=sys.stderr, disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        return run(notebook, skip=demos, files=files, progress=progress)


def _as_released(cell: NotebookNode) -> bool:
    """Whether nothing was written into a cell for solutions or answers: nbgrader left a checksum of it."""
    meta = cell.metadata.get("nbgrader", {})
    if not meta.get("solution"):
        return False
    points = str(float(meta.get("points", 0))) if meta.get("grade") else ""
    parts = [cell.source, cell.cell_type, str(bool(meta.get("grade"))), "True", "False", meta["grade_id"], points]
    digest = hashlib.md5("".join(parts).encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return digest == meta.get("checksum")


def _deleted(notebook: NotebookNode, present: set[str]) -> list[Grade]:
    """Questions whose test cell is gone; the release says which there were."""
    released = notebook.metadata.get("coursekit", {}).get("points", {})
    reason = "its test cell is not in this notebook; grading puts it back, and it counts"
    return [Grade(id, 0.0, float(points), "error", reason) for id, points in released.items() if id not in present]


def _table(grade: Grade, cell: NotebookNode) -> str:
    """The check's own table as plain text; one line where there is none."""
    own_table = grade.status in ("passed", "partial", "wrong", "crashed") and not grade.reason.startswith(score.BLAMED)
    for output in cell.outputs:
        if own_table and grade.cases and output.output_type == "display_data" and score.MIME in output.data:
            text = "".join(output.data.get("text/plain", ""))
            return "\n".join(score.printable(line) for line in text.splitlines())
    head = f"{grade.id}: {number(grade.score or 0.0)} of {number(grade.max)} points  "
    reason = f"{grade.status}: {grade.reason}" if grade.reason not in ("", "not attempted yet") else grade.status
    return "\n".join(wrap(head, reason, WIDTH))


def _total(tests: list[Grade], answers: list[Grade]) -> str:
    got, most = sum(grade.score or 0.0 for grade in tests), sum(grade.max for grade in tests)
    lines = [f"{number(got)} of {number(most)} points in the tests that are in this notebook"]
    if answers:
        missing = [grade.id for grade in answers if grade.status == "not attempted"]
        points = number(sum(grade.max for grade in answers))
        lines.append(
            f"{points} more for answers that a person reads"
            + f"; not written yet: {', '.join(missing)}" * bool(missing)
        )
    return "\n".join(lines)
