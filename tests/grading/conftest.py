"""A small course in a temporary folder, and submissions made from its release by replacing named cells."""

import contextlib
import copy
import os
import shutil
from pathlib import Path

import nbformat
import pytest
from grading_samples import RIGHT, as_bytes

from coursekit.grading import controller, isolated, sandbox
from coursekit.grading.build import build, load_config
from coursekit.grading.course import Course
from coursekit.grading.gradebook import Book

HERE = Path(__file__).parent
# The sample course's checks are a module of these tests: where the tests are run in a sandbox, it must be seen there.
os.environ["PYTHONPATH"] = str(HERE.parents[1])


@pytest.fixture(scope="session")
def pool():
    """A sandbox for all tests of this process: it takes seconds to start."""
    try:
        pool = isolated.Pool()
    except sandbox.Unavailable as unavailable:
        pytest.skip(f"no sandbox: {unavailable}")
    with pool:
        pool.wait()
        yield pool


@pytest.fixture(autouse=True)
def one_sandbox(request, monkeypatch):
    """Gradings in this process share the sandbox; those that are started as a program have their own."""

    @contextlib.contextmanager
    def start():
        yield request.getfixturevalue("pool")

    monkeypatch.setattr(controller, "start_pool", start)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The sample course, built once."""
    folder = tmp_path_factory.mktemp("built") / "course"
    shutil.copytree(HERE / "sample_course", folder)
    shutil.copy(HERE.parents[1] / "nbgrader_config.py", folder)
    assert build(Course(folder)) == 0
    return folder


@pytest.fixture(scope="session")
def release(built):
    """The released notebook `tiny`. Do not change it: `filled` gives copies."""
    return nbformat.read(built / "notebooks" / "tiny" / "tiny.ipynb", as_version=4)


@pytest.fixture(scope="session")
def filled(release):
    """filled(add="...", ...): the release with everything right but what is named; None leaves it as released."""

    def make(**sources):
        notebook = copy.deepcopy(release)
        for cell in notebook.cells:
            text = {**RIGHT, **sources}.get(cell.id)
            cell.source = cell.source if text is None else text
        return notebook

    return make


@pytest.fixture(scope="session")
def new_course(built, tmp_path_factory):
    """new_course(): a course of one's own, built, without submissions and without a gradebook."""

    def make() -> Course:
        folder = tmp_path_factory.mktemp("class") / "course"
        shutil.copytree(built, folder)
        return Course(folder)

    return make


@pytest.fixture(scope="session")
def empty_gradebook(new_course) -> bytes:
    """A new gradebook: making one takes a second."""
    course = new_course()
    with Book(course, load_config(course)):
        return course.gradebook.read_bytes()


@pytest.fixture
def course(new_course, empty_gradebook) -> Course:
    """A course of one's own with an empty gradebook."""
    course = new_course()
    course.gradebook.write_bytes(empty_gradebook)
    return course


@pytest.fixture(scope="session")
def hand_in():
    """hand_in(course, "ada", notebook or bytes): put a submission where it belongs. Returns its path."""

    def put(course, student, content, name="tiny.ipynb", assignment="tiny") -> Path:
        folder = course.submitted / student / assignment
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else as_bytes(content))
        return path

    return put
