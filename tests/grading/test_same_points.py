"""On honest work of the course's own assignments: the points of plain nbgrader, and in the sandbox the results without.

`test_stock.py` holds the small sample course against nbgrader.
"""

import copy
import shutil
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
import pytest
from grading_samples import nbgrader, recorded
from nbformat.v4 import new_code_cell, new_notebook

from coursekit.grading import assignment, run
from coursekit.grading.attempt import Given
from coursekit.grading.build import build, load_config
from coursekit.grading.course import Course
from coursekit.grading.demo import first_wrong_answers, solved, with_answers
from coursekit.grading.grade import grade_class
from coursekit.grading.score import grades
from coursekit.grading.source import read as read_source

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
CATALOGUES = ROOT / "tests" / "course"


# --- plain nbgrader -------------------------------------------------------------------------------------------------

CHEAP = "rob1_questions"  # the assignment that takes least to run
PLAIN = "\nc.Autograde.clear()  # nbgrader as it comes, without what repairs submissions\n"


@pytest.fixture(scope="module")
def graded(tmp_path_factory, hand_in):
    """The same class graded by us and by nbgrader: our results, and both courses."""
    ours = Course(tmp_path_factory.mktemp("ours") / "course")
    shutil.copytree(ROOT / "solutions" / CHEAP, ours.sources / CHEAP)
    shutil.copy(ROOT / "nbgrader_config.py", ours.dir)
    assert build(ours) == 0
    for student, notebook in class_of(ours).items():
        hand_in(ours, student, notebook, name=f"{CHEAP}.ipynb", assignment=CHEAP)
    stock = Course(tmp_path_factory.mktemp("stock") / "course")
    shutil.copytree(ours.dir, stock.dir)
    with stock.nbgrader_config.open("a") as file:
        file.write(PLAIN)
    results = grade_class(ours, CHEAP, jobs=2)
    nbgrader(stock, "generate_assignment", CHEAP, "--force")
    nbgrader(stock, "autograde", CHEAP)
    return results, ours, stock


def class_of(course):
    """{student: notebook}: all right, and some of each kind."""
    released = nbformat.read(course.release / CHEAP / f"{CHEAP}.ipynb", as_version=4)
    (path,) = course.notebooks(CHEAP)
    complete = solved(released, read_source(path).notebook)
    wrong = first_wrong_answers(CATALOGUES / f"{CHEAP}.py")
    crashing = {
        "worst_lead": "def worst_lead(*arguments, **keywords):\n    return forgotten",
        "best_step": "def best_step(*arguments, **keywords)\n    return 1",
    }
    untouched = {cell.id: cell.source for cell in released.cells if cell.id in ("lowest_lead", "everywhere-robust")}
    return {"complete": complete, "mixed": with_answers(complete, {**wrong, **crashing, **untouched})}


def test_the_points_of_plain_nbgrader_question_by_question(graded):
    _, ours, stock = graded
    assert recorded(ours, CHEAP) == recorded(stock, CHEAP)


def test_the_class_is_worth_comparing(graded):
    results, *_ = graded
    statuses = {result.student: Counter(grade.status for grade in result.all_grades()) for result in results}
    assert statuses["complete"] == {"passed": 8, "manual": 2}
    some_points = statuses["mixed"].pop("partial", 0) + statuses["mixed"].pop("wrong", 0)
    assert some_points == 3
    assert statuses["mixed"] == {"passed": 2, "crashed": 2, "not attempted": 2, "manual": 1}


# --- without the sandbox --------------------------------------------------------------------------------------------

OF_EACH = 1  # answers of each kind to an exercise: all that there are take minutes


def answers(name, role):
    """(exercise, source) for the first answers to each exercise in a catalogue."""
    count = Counter()
    for answer in jupytext.read(CATALOGUES / f"{name}.py", fmt="py:percent").cells:
        exercise = answer.metadata.get(role)
        if exercise is not None and count[exercise] < OF_EACH:
            count[exercise] += 1
            yield exercise, answer.source


def notebook_of(template, queue):
    """A notebook in which answers follow one another, each with the exercise's test after it."""
    parts = {original.id: original for original in template.originals}
    setup = [part for part in template.originals if part.role == "readonly"]
    notebook = new_notebook(cells=[new_code_cell(part.text, id=part.id, metadata=part.metadata) for part in setup])
    for number, (exercise, source) in enumerate(queue):
        for id, text in ((exercise, source), (f"test-{exercise}", parts[f"test-{exercise}"].text)):
            metadata = copy.deepcopy(parts[id].metadata)
            metadata["nbgrader"]["grade_id"] = f"{id}-{number}"
            notebook.cells.append(new_code_cell(text, id=f"{id}-{number}", metadata=metadata))
    return notebook


@pytest.mark.parametrize("name", ["gradient_attacks", "physical_attacks"])
def test_the_same_tables_with_and_without_the_sandbox(name, pool):
    course = Course(ROOT)
    expected = assignment.load(course, name, load_config(course))
    template = expected.templates[name]
    notebook = notebook_of(template, [*answers(name, "wrong"), *answers(name, "right")])
    given = Given(tuple(expected.files), tuple(template.imports))
    inside, outside = (
        grades(runner(notebook, given=given, cell_limit=120.0, time_limit=1200.0), {}) for runner in (pool.run, run.run)
    )
    assert {grade.status for grade in outside} >= {"passed", "partial"}
    assert inside == outside
