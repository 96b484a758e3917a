"""Runs single cells of an assignment's source: what a student's answer meets, without a notebook around it."""

import ast
import linecache
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext

from coursekit.checks import Score, student

ROOT = Path(__file__).parents[2]
ROLES = ("solution", "test", "answer", "readonly", "demo", "wrong", "right")


@dataclass
class Cell:
    role: str
    name: str
    source: str
    header: dict[str, Any]


def cells(path: Path) -> list[Cell]:
    """The cells of a text notebook that have a header."""
    found = []
    for cell in jupytext.read(path, fmt="py:percent").cells:
        role = next((role for role in ROLES if role in cell.metadata), None)
        if role and cell.cell_type == "code":
            found.append(Cell(role, cell.metadata[role], cell.source, dict(cell.metadata)))
    return found


def run(source: str, namespace: dict[str, Any], label: str) -> Any:
    """Runs a cell in the namespace and returns the value of its last expression."""
    filename = f"<cell {label}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), filename, "exec"), namespace)
    return eval(compile(last, filename, "eval"), namespace) if last else None


@dataclass
class Assignment:
    """An assignment's source, from which a single solution can be exchanged."""

    path: Path
    cells: list[Cell] = field(init=False)

    def __post_init__(self) -> None:
        self.cells = cells(self.path)

    @cached_property
    def given(self) -> dict[str, Any]:
        """The namespace after the setup cell."""
        namespace: dict[str, Any] = {"__name__": "__main__"}
        run(self.of("readonly")["setup"], namespace, "setup")
        return namespace

    def of(self, role: str) -> dict[str, str]:
        return {cell.name: cell.source for cell in self.cells if cell.role == role}

    def report(self, exercise: str, solution: str) -> dict[str, Any]:
        """The result of one exercise for one solution, in a namespace that holds only what the notebook gives."""
        namespace = dict(self.given)
        run(solution, namespace, exercise)
        # The test gets a namespace of its own: it may reach the student's work by name and value only.
        with student.use(student.Notebook(namespace)):
            score = run(self.of("test")[exercise], {"__name__": "test"}, f"test {exercise}")
        assert isinstance(score, Score), f"the test cell of {exercise} does not end with exercise.score()"
        return score.exercise.report()


ASSIGNMENTS = [path.stem for path in sorted((ROOT / "solutions").glob("*/*.py"))]
