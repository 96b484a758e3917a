"""A small course in a temporary folder, and submissions made from its release by replacing named cells."""

import copy
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from coursekit.grading.build import build
from coursekit.grading.course import Course

HERE = Path(__file__).parent

RIGHT = {
    "add": "def add(a, b):\n    return a + b",
    "double": "def double(x):\n    return 2 * x",
    "root": "def root(x):\n    return math.sqrt(x)",
    "why": "Addition is commutative.",
}
POINTS = {"test-add": 2.0, "test-double": 1.0, "test-root": 3.0, "why": 2.0}


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
    """The released notebook. Do not change it: `filled` gives copies."""
    return nbformat.read(built / "notebooks" / "tiny" / "tiny.ipynb", as_version=4)


@pytest.fixture
def course(built, tmp_path) -> Course:
    """A course of one's own, without submissions."""
    folder = tmp_path / "course"
    shutil.copytree(built, folder)
    return Course(folder)


@pytest.fixture(scope="session")
def filled(release):
    """filled(add="...", ...): the release with everything right but what is named; None leaves a cell as released."""

    def make(**sources):
        notebook = copy.deepcopy(release)
        for cell in notebook.cells:
            text = {**RIGHT, **sources}.get(cell.id)
            if text is not None:
                cell.source = text
        return notebook

    return make


@pytest.fixture
def hand_in(course):
    """hand_in("ada", notebook or bytes): put a submission where it belongs. Returns its path."""

    def put(student, content, name="tiny.ipynb", assignment="tiny"):
        folder = course.submitted / student / assignment
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else nbformat.writes(content).encode())
        return path

    return put


def cell(notebook, id):
    """The cell of this id."""
    return next(cell for cell in notebook.cells if cell.id == id)


def position(notebook, id):
    return next(i for i, cell in enumerate(notebook.cells) if cell.id == id)


def code(source, id):
    return nbformat.v4.new_code_cell(source, id=id)


def read_json(path):
    """Results as {student: {grade id: namespace}}."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return {s: {id: SimpleNamespace(**grade) for id, grade in grades.items()} for s, grades in content.items()}


def points(results, student):
    return {id: grade.score for id, grade in results[student].items()}
