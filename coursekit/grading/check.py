"""`coursekit check NOTEBOOK`: a student's own look at the points, the way the grader will count them.

Needs neither the sources nor nbgrader. The notebook is run from top to bottom in a process of its own.
"""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from coursekit.grading import repair, score
from coursekit.grading.report import number, wrap
from coursekit.grading.run import Run, RunError, is_test, run
from coursekit.grading.score import Grade
from coursekit.grading.submissions import other_files

WIDTH = 100


def check(path: Path) -> int:
    """Run a notebook and print its points. Exit code 0 if every test passes, 1 if not, 2 if it cannot be run."""
    try:
        notebook, remarks = _read(path)
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
    remarks += score.failed_cells(executed, raised=True)
    for line in [*remarks, *(f"{grade.id}: {grade.reason}" for grade in deleted)]:
        print("\n".join(wrap("note: ", line, WIDTH)))
    print(_total(tests, answers))
    return 0 if all(grade.status == "passed" for grade in tests) else 1


class _Unusable(Exception):
    pass


def _read(path: Path) -> tuple[NotebookNode, list[str]]:
    """The notebook in a form that can be run and scored, and remarks; the file is read as the grader reads it."""
    if not path.exists():
        raise _Unusable("there is no such file")
    if not path.is_file():
        raise _Unusable("is not a file; name the notebook itself")
    try:
        content, remarks = repair.parse(path.read_bytes())
        cells, left_out = repair.cells_of(content)
    except repair.Unreadable as error:
        raise _Unusable(f"{error}; was it saved completely?") from None
    released = _released_points(content)
    notebook = new_notebook(metadata={"coursekit": {"points": released}})
    make = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}
    used: set[str] = set()
    for place, cell in enumerate(cells):
        settings = _settings(cell, released)
        metadata = {"tags": sorted(cell.tags)} | ({"nbgrader": settings} if settings else {})
        id = settings.get("grade_id") or cell.claimed_id or f"cell-{place}"
        while id in used:
            id += f"-{place}"
        used.add(id)
        notebook.cells.append(make[cell.cell_type](cell.text, id=id, metadata=from_dict(metadata)))
    if not any(is_test(cell) for cell in notebook.cells):
        raise _Unusable("has no test cells; is it a notebook of this course, and were its cells kept?")
    return notebook, remarks + left_out


def _released_points(content: Any) -> dict[str, float]:
    """{grade id: points} of the questions with tests, as the release noted them."""
    for name in ("metadata", "coursekit", "points"):
        content = content.get(name) if isinstance(content, dict) else None
    points = content if isinstance(content, dict) else {}
    return {id: float(value) for id, value in points.items() if _is_points(value)}


def _settings(cell: Any, released: dict[str, float]) -> dict[str, Any]:
    """nbgrader's settings of a cell; none if they are not usable, which is as if they were deleted."""
    id = score.one_line(cell.claimed_grade_id)
    points = released.get(id, cell.settings.get("points"))
    graded = bool(cell.settings.get("grade"))
    if not id or (graded and not _is_points(points)):
        return {}
    settings = {name: bool(cell.settings.get(name)) for name in ("grade", "solution", "locked")}
    checksum = cell.settings.get("checksum")
    return {**settings, "grade_id": id, "checksum": checksum} | ({"points": points} if graded else {})


def _is_points(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


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
    released = notebook.metadata.coursekit.points
    reason = "its test cell is not in this notebook, or lost its settings; grading puts it back, and it counts"
    return [Grade(id, 0.0, points, "error", reason) for id, points in released.items() if id not in present]


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
