"""Views of a traffic sign as a value that a test passes: described here, drawn on the student's side."""

import pytest
import torch

from coursekit import checks
from coursekit.checks import student
from coursekit.data import signs

STOP = signs.face("stop", 16)[None]


def answered(function, *arguments):
    with student.use(student.Notebook({"f": function})):
        return student.Function("f")(*arguments)


def test_a_students_function_gets_the_views_themselves_the_same_each_time():
    spec = checks.views(3, seed=5, yaw=[-30.0, 0.0, 30.0], noise=0.0)
    fixed = {"yaw": torch.tensor([-30.0, 0.0, 30.0]), "noise": 0.0}
    expected = signs.photograph(STOP, signs.views(3, torch.Generator().manual_seed(5), **fixed))
    for _ in range(2):
        assert torch.equal(answered(lambda view: signs.photograph(STOP, view), spec), expected)
    assert torch.equal(signs.photograph(STOP, spec.build()), expected)


def test_several_views_come_in_a_list():
    shots = [checks.views(2, seed) for seed in (1, 2)]
    seen = answered(lambda shots: [signs.photograph(STOP, view) for view in shots], shots)
    assert [tuple(x.shape) for x in seen] == [(2, 3, 32, 32)] * 2
    assert not torch.equal(seen[0], seen[1])


def test_a_failed_call_says_how_many_views_it_was_given():
    def f(view):
        raise ValueError("no")

    with student.use(student.Notebook({"f": f})):
        exercise = checks.Exercise("f", points=1)
        exercise.case("calls it")(lambda f: f(checks.views(7)))
    assert exercise.cases[0].expected == "a result from f(7 views)"


def test_a_description_that_cannot_be_drawn_fails_where_it_is_written():
    with pytest.raises(ValueError, match="got angle"):
        checks.views(3, angle=5.0)
