"""Whatever is handed in, what comes out can be graded: each question once, its tests as the course has them."""

import copy
import json

import nbformat
import pytest
from grading_samples import RIGHT, as_bytes, cell, code, place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coursekit.grading.assignment import load
from coursekit.grading.build import load_config
from coursekit.grading.course import Course
from coursekit.grading.repair import LOCKED, Unreadable, repair, untouched

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GRADED = ["imports", "add", "test-add", "double", "test-double", "root", "test-root", "why"]


@pytest.fixture(scope="module")
def template(built):
    course = Course(built)
    return load(course, "tiny", load_config(course)).templates["tiny"]


def check_gradable(template, repaired):
    notebook = repaired.notebook
    nbformat.validate(notebook)
    nbformat.writes(notebook).encode("utf-8")
    ids = [c.id for c in notebook.cells]
    assert len(ids) == len(set(ids))
    assert [id for id in sorted(ids) if id in GRADED] == sorted(GRADED)
    for original in template.originals:
        if original.id not in GRADED:
            continue
        found = cell(notebook, original.id)
        assert found.cell_type == original.cell_type
        assert found.metadata == original.metadata
        if original.role in LOCKED:
            assert found.source == original.text
    for test, solutions in template.needs().items():
        for solution in solutions:
            assert place(notebook, solution) < place(notebook, test)
    assert all("nbgrader" not in c.metadata for c in notebook.cells if c.id not in GRADED)
    assert all(repair.isprintable() and repair.endswith(".") for repair in repaired.repairs), repaired.repairs


def test_a_clean_submission_needs_no_repair(template, filled, release):
    for notebook in (filled(), release):
        repaired = repair(template, as_bytes(notebook))
        check_gradable(template, repaired)
        assert repaired.repairs == []
        assert [c.id for c in repaired.notebook.cells] == [c.id for c in notebook.cells]
        assert repaired.skip == {"picture"}


def test_repairing_again_changes_nothing(template, filled):
    notebook = filled()
    notebook.cells = notebook.cells[::-1]
    once = repair(template, as_bytes(notebook))
    again = repair(template, as_bytes(once.notebook))
    assert [c.source for c in again.notebook.cells] == [c.source for c in once.notebook.cells]


def test_untouched_is_the_release_with_all_tests(template, release):
    check_gradable(template, type("R", (), {"notebook": untouched(template), "repairs": []}))
    assert cell(untouched(template), "add").source == cell(release, "add").source


@RELAXED
@given(data=st.data())
def test_any_shuffling_deleting_copying_and_stripping(data, template, filled):
    notebook = filled()
    cells = notebook.cells
    order = data.draw(st.lists(st.integers(0, len(cells) - 1), max_size=2 * len(cells)))
    notebook.cells = [copy.deepcopy(cells[i]) for i in order]
    for c in notebook.cells:
        what = data.draw(st.sampled_from(["keep", "keep", "keep", "strip", "new id", "edit", "retag", "retype"]))
        if what == "strip":
            c.metadata = {}
        elif what == "new id":
            c.id = f"x{data.draw(st.integers(0, 9))}"
        elif what == "edit":
            c.source = data.draw(st.sampled_from(["", "1 / 0", RIGHT["add"], RIGHT["root"], c.source + "\n# mine"]))
        elif what == "retag":
            c.metadata["nbgrader"] = {"grade_id": data.draw(st.sampled_from([*GRADED, "x", "", 3])), "grade": True}
        elif what == "retype":
            c.cell_type = data.draw(st.sampled_from(["code", "markdown", "raw", "heading", "what"]))
    check_gradable(template, repair(template, as_bytes(notebook)))


NAMES = "cells cell_type source input metadata nbgrader grade_id id tags attachments outputs worksheets level points x"
FIELDS = st.sampled_from(NAMES.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(GRADED),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=30,
)


@RELAXED
@given(cells=st.lists(JSON, max_size=5), rest=st.dictionaries(FIELDS, JSON, max_size=3))
def test_any_json(cells, rest, template):
    check_gradable(template, repair(template, json.dumps({**rest, "cells": cells}).encode()))


@RELAXED
@given(cut=st.integers(0, 3000), junk=st.binary(max_size=40))
def test_any_bytes(cut, junk, template, filled):
    try:
        repaired = repair(template, as_bytes(filled())[:cut] + junk)
    except Unreadable:
        return
    check_gradable(template, repaired)


class TestWhichCopyCounts:
    def test_the_last_solution_that_was_worked_on_and_stubs_go(self, template, filled, release):
        notebook = filled()
        stub = copy.deepcopy(cell(release, "add"))
        second = copy.deepcopy(cell(notebook, "add"))
        second.source = "def add(a, b):\n    return b + a"
        where = place(notebook, "add")
        notebook.cells[where + 1 : where + 1] = [second, stub]
        repaired = repair(template, as_bytes(notebook))
        assert cell(repaired.notebook, "add").source == second.source
        sources = [c.source for c in repaired.notebook.cells]
        assert RIGHT["add"] in sources, "the earlier version stays, as a plain cell"
        assert stub.source not in sources, "a stub below would undo the answer"

    def test_an_own_cell_that_defines_the_same_name_is_no_copy(self, template, filled):
        notebook = filled()
        notebook.cells.append(code("def add(a, b):\n    return 7", "mine"))
        repaired = repair(template, as_bytes(notebook))
        assert cell(repaired.notebook, "add").source == RIGHT["add"]
        assert repaired.repairs == []
        assert repaired.notebook.cells[-1].source.endswith("return 7")

    def test_answers_that_differ_are_all_kept_for_the_person_who_reads(self, template, filled):
        notebook = filled()
        second = copy.deepcopy(cell(notebook, "why"))
        second.source = "A second thought."
        notebook.cells.append(second)
        repaired = repair(template, as_bytes(notebook))
        assert cell(repaired.notebook, "why").source == "A second thought."
        assert RIGHT["why"] in [c.source for c in repaired.notebook.cells]


class TestRecognition:
    def test_solutions_by_their_function_tests_by_their_text_answers_by_their_place(self, template, filled):
        notebook = filled()
        cell(notebook, "test-add").source += "\n# I only added this line"
        for number, c in enumerate(notebook.cells):
            c.metadata, c.id = {}, f"n{number}"
        repaired = repair(template, as_bytes(notebook))
        check_gradable(template, repaired)
        assert {id: cell(repaired.notebook, id).source for id in RIGHT} == RIGHT
        assert len(repaired.notebook.cells) == len(notebook.cells), "nothing was put in twice"

    def test_ids_that_contradict_each_other_are_decided_by_the_function(self, template, filled):
        notebook = filled()
        for one, other in (("add", "double"), ("double", "add")):
            cell(notebook, one).metadata.nbgrader.grade_id = other
        repaired = repair(template, as_bytes(notebook))
        assert {id: cell(repaired.notebook, id).source for id in RIGHT} == RIGHT

    def test_pictures_in_an_answer_are_kept(self, template, filled):
        notebook = filled()
        picture = {"sketch.png": {"image/png": "aGVsbG8="}}
        cell(notebook, "why").attachments = picture
        assert cell(repair(template, as_bytes(notebook)).notebook, "why").attachments == picture

    def test_a_figure_is_skipped_as_released_and_run_when_edited(self, template, filled):
        notebook = filled()
        assert repair(template, as_bytes(notebook)).skip == {"picture"}
        cell(notebook, "picture").source += "\nmine = 1"
        assert not repair(template, as_bytes(notebook)).skip
