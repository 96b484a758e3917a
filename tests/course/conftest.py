"""Fixtures of the course's own tests."""

import shutil

import pytest
from single_cells import ROOT, Assignment


@pytest.fixture(scope="session")
def assignment():
    """assignment(name) -> Assignment, read once."""
    known: dict[str, Assignment] = {}

    def get(name: str) -> Assignment:
        if name not in known:
            known[name] = Assignment(next((ROOT / "solutions").glob(f"*/{name}.py")))
        return known[name]

    return get


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The course, built in a folder of its own: -> Course."""
    from coursekit.grading.build import build
    from coursekit.grading.course import Course

    course = Course(tmp_path_factory.mktemp("course"))
    shutil.copytree(ROOT / "solutions", course.sources)
    shutil.copy(ROOT / "nbgrader_config.py", course.dir)
    assert build(course) == 0
    return course
