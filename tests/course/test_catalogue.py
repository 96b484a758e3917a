"""Every graded exercise against answers as students write them: `tests/course/<assignment>.py`.

A wrong one must lose points and be told what is wrong with it; an unusual right one must get full points.
"""

from collections import Counter
from pathlib import Path

import pytest
from single_cells import ASSIGNMENTS, Assignment, Cell, cells

HERE = Path(__file__).parent

# What a function returns that does nothing: each must be survived by every case, and earn next to nothing.
NOTHING = (
    "None", "args[0]", "args[1]", "args[-1]", "0.0", "1", "True", "'text'", "[1.0]", "{}", "object()", "args[1] * float('nan')",
    "torch.tensor([])", "torch.zeros(2, 3, 4)", "torch.rand(5).numpy()", "torch.zeros(1, dtype=torch.complex64)",
    "torch.zeros(3).to_sparse()", "torch.nn.Linear(2, 2)", "iter([])",
)  # fmt: skip


def catalogue(name: str) -> list[Cell]:
    return cells(HERE / f"{name}.py")


QUICK = 2  # entries of each kind to an exercise that are not slow tests: all of them take minutes


def entries(role: str) -> list:
    found = []
    for name in ASSIGNMENTS:
        count: Counter[str] = Counter()
        for cell in catalogue(name):
            if cell.role == role:
                count[cell.name] += 1
                marks = [pytest.mark.slow] if count[cell.name] > QUICK else []
                found.append(pytest.param(name, cell, id=f"{name} {cell.name}: {cell.header['name']}", marks=marks))
    return found


def shown(report: dict) -> str:
    """All that a student reads."""
    texts = [report["reason"], report["status"]]
    for case in report["cases"]:
        if case["status"] != "passed":
            texts += [case["title"], case["got"], case["expected"], case["hint"]]
    return " | ".join(texts)


@pytest.mark.parametrize(("name", "cell"), entries("wrong"))
def test_wrong_answer_loses_points_with_the_fitting_diagnosis(name, cell, assignment):
    report = assignment(name).report(cell.name, cell.source)
    assert report["points"] < report["max"]
    assert report["points"] <= float(cell.header.get("most", report["max"])), "it earns more than its header allows"
    assert cell.header["says"].lower() in shown(report).lower(), shown(report)


@pytest.mark.parametrize(("name", "cell"), entries("right"))
def test_unusual_right_answer_gets_full_points(name, cell, assignment):
    report = assignment(name).report(cell.name, cell.source)
    assert report["points"] == report["max"], shown(report)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_own_solution_gets_full_points(name, assignment):
    course: Assignment = assignment(name)
    for exercise in course.of("test"):
        report = course.report(exercise, course.of("solution")[exercise])
        assert report["points"] == report["max"], shown(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_doing_nothing_earns_nothing(name, assignment):
    course: Assignment = assignment(name)
    for exercise in course.of("test"):
        stub = f"def {exercise}(*args, **kwargs):\n    raise NotImplementedError()"
        assert course.report(exercise, stub)["status"] == "not attempted"
        for nothing in NOTHING:
            report = course.report(exercise, f"def {exercise}(*args, **kwargs):\n    return {nothing}")
            assert report["points"] <= 0.25 * report["max"], f"{exercise} pays {report['points']} for {nothing}"


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_catalogue_covers_every_exercise(name, assignment):
    exercises = set(assignment(name).of("test"))
    wrong = Counter(cell.name for cell in catalogue(name) if cell.role == "wrong")
    right = Counter(cell.name for cell in catalogue(name) if cell.role == "right")
    assert {e: wrong[e] for e in exercises if wrong[e] < 5} == {}
    assert {e: right[e] for e in exercises if right[e] < 2} == {}
    assert set(wrong) | set(right) == exercises, "an entry names no exercise"
