# ruff: noqa: E501 - one line per submission
"""Slips that need torch, under the course's own checks. Few submissions: each imports torch."""

import copy
import shutil
from pathlib import Path

import nbformat
import pytest
from grading_samples import cell, code, left_running, recorded

from coursekit.grading.build import build
from coursekit.grading.course import Course
from coursekit.grading.grade import grade_class

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow

SCALE, MEAN = "def scale(x, a):\n    return a * x", "def mean(x):\n    return x.mean().item()"
LOADER = """
from torch.utils.data import DataLoader, TensorDataset

def mean(x):
    total = 0.0
    for batch, in DataLoader(TensorDataset(x), batch_size=16, num_workers=2):
        total += batch.sum().item()
    return total / len(x)
"""
OTHER_CONDITIONS = """
import random
import numpy
torch.manual_seed(99); random.seed(99); numpy.random.seed(99)
torch.set_num_threads(7)
torch.set_grad_enabled(False)
"""


@pytest.fixture(scope="module")
def graded(tmp_path_factory, hand_in):
    folder = tmp_path_factory.mktemp("torch") / "course"
    shutil.copytree(HERE / "sample_with_torch", folder)
    shutil.copy(HERE.parents[1] / "nbgrader_config.py", folder)
    course = Course(folder)
    assert build(course) == 0
    released = nbformat.read(course.release / "tensors" / "tensors.ipynb", as_version=4)

    def filled(scale=SCALE, mean=MEAN, own=""):
        notebook = copy.deepcopy(released)
        cell(notebook, "scale").source, cell(notebook, "mean").source = scale, mean
        notebook.cells.insert(2, code(own))
        return notebook

    class_ = {
        "plain": filled(),
        "loader-and-conditions": filled(mean=LOADER, own=OTHER_CONDITIONS),
        "cuda": filled(scale="def scale(x, a):\n    return a * x.cuda()"),
        "noise": filled(scale="import warnings\nfrom tqdm.auto import tqdm\n" + SCALE.replace("    ", "    warnings.warn('x')\n    list(tqdm(range(2)))\n    ")),
        "threads": filled(mean="def mean(x):\n    return torch.stack([r @ r.T for r in x.view(8, 8, 1)]).mul(0).sum().item() + 31.5"),
    }  # fmt: skip
    for student, notebook in class_.items():
        hand_in(course, student, notebook, name="tensors.ipynb", assignment="tensors")
    results = {result.student: result.all_grades() for result in grade_class(course, "tensors", jobs=2)}
    return results, course


@pytest.mark.parametrize("student", ["plain", "loader-and-conditions", "noise", "threads"])
def test_full_points(graded, student):
    assert [(grade.score, grade.status, grade.reason) for grade in graded[0][student]] == [
        (2.0, "passed", ""),
        (1.0, "passed", ""),
    ]


def test_cuda_without_a_gpu_costs_that_question_only_and_says_why(graded):
    scale, mean = graded[0]["cuda"]
    assert mean.status == "passed"
    import torch

    if not torch.cuda.is_available():
        assert scale.status == "crashed"
        assert "x.cuda()" in scale.reason


def test_gradebook_and_leftovers(graded):
    results, course = graded
    assert {s: e["test-mean"][0] for s, e in recorded(course, "tensors").items()} == dict.fromkeys(results, 1.0)
    assert not left_running()
