"""The course that hostile submissions are handed in to, and the class of those that are asked for."""

import shutil
from pathlib import Path

import nbformat
import pytest

from coursekit.grading.build import build
from coursekit.grading.course import Course
from hostile.classroom import ALL, Graded, grade_class

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def hostile_course(tmp_path_factory) -> Course:
    folder = tmp_path_factory.mktemp("hostile") / "course"
    shutil.copytree(HERE / "course", folder)
    shutil.copy(HERE.parents[2] / "nbgrader_config.py", folder)
    course = Course(folder)
    assert build(course) == 0
    return course


@pytest.fixture(scope="session")
def graded(request, hostile_course, tmp_path_factory) -> Graded:
    """One class of all the cases whose verdicts are asked for: `pytest -k reading` grades a small one."""
    asked = {item.callspec.params["student"] for item in request.session.items if _has_case(item)}
    release = nbformat.read(hostile_course.release / "robust" / "robust.ipynb", as_version=4)
    cases = {student: case for student, case in ALL.items() if student in asked}
    return grade_class(cases, hostile_course, release, tmp_path_factory.mktemp("outside"))


def _has_case(item: pytest.Item) -> bool:
    return "student" in getattr(getattr(item, "callspec", None), "params", {})
