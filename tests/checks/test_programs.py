import math

import pytest
import torch

from coursekit.certify import milp
from coursekit.checks import programs
from coursekit.checks.failures import Crashed, Wrong


def as_lists(rows):
    return [part.clone() for part in rows]


def test_rows_of_the_right_form_are_taken_as_they_are():
    matrix, lower, upper = programs.rows(as_lists(milp.relu(-1.0, 2.0)), 3)
    assert matrix.shape == (4, 3)
    assert lower.shape == upper.shape == (4,)


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (None, "None"),
        (torch.zeros(2, 3), "tensor of shape"),
        ([torch.zeros(2, 3).double()] * 2, "a float64 tensor"),
        ([torch.zeros(2, 4).double(), torch.zeros(2).double(), torch.zeros(2).double()], "A of shape"),
        ([torch.zeros(2, 3).double(), torch.zeros(3).double(), torch.zeros(2).double()], "lower of shape"),
        ([torch.zeros(2, 3), torch.zeros(2).double(), torch.zeros(2).double()], "A of dtype float32"),
        ([torch.zeros(2, 3).double(), torch.zeros(2).double(), torch.full((2,), math.nan).double()], "upper holds NaN"),
        ([torch.full((2, 3), math.inf).double(), torch.zeros(2).double(), torch.zeros(2).double()], "A holds infinite"),
    ],
)
def test_what_is_wrong_with_the_form_is_named(got, says):
    with pytest.raises(Wrong) as failure:
        programs.rows(got, 3)
    assert says in failure.value.got


def test_allowed_is_what_satisfies_every_row():
    rows = milp.relu(-1.0, 2.0)
    assert programs.allows(rows, [1.5, 1.5, 1])
    assert not programs.allows(rows, [1.5, 1.4, 1])
    assert not programs.allows(rows, [1.5, 1.5, 0])
    assert programs.some_switch(rows, 0.0, 0.5)  # below the chord, which is at 2/3
    assert not programs.some_switch(rows, 0.0, 0.7)
    assert not programs.some_switch(rows, 0.0, -0.1)


def test_a_network_as_a_problem_is_nowhere_smaller_than_its_answer():
    problem = programs.of_network(inputs=2, neurons=4, seed=0)
    answer = milp.minimise(problem)
    assert milp.relaxed(problem).value <= answer.value == answer.bound
    for corner in ([0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.3, 0.6]):
        ends = torch.tensor(corner, dtype=torch.float64)
        low, high = problem["low"].clone(), problem["high"].clone()
        low[:2] = high[:2] = ends
        assert answer.value <= milp.minimise(problem | {"low": low, "high": high}).value + 1e-6 < math.inf


@pytest.mark.parametrize("seed", [23, 24])
def test_random_problems_have_a_gap_between_fractions_and_whole_switches(seed):
    problem = programs.random(switches=5, seed=seed)
    assert milp.minimise(problem).value < math.inf


def test_the_two_written_ones_have_the_values_that_they_say():
    one, half = programs.one_switch(), programs.with_empty_half()
    assert milp.relaxed(one).point[0] == pytest.approx(0.4)
    assert milp.minimise(one).value == pytest.approx(0.8)
    assert milp.relaxed(one, {0: 1}).value == pytest.approx(1.0)
    assert milp.relaxed(half, {0: 0}).value == math.inf
    assert milp.minimise(half).value == pytest.approx(2.0)


def test_every_held_switch_of_an_even_problem_raises_the_bound_by_one():
    problem = programs.even(switches=4)
    for held in ({}, {2: 1}, {0: 0, 3: 1}, {0: 1, 1: 1, 2: 0, 3: 0}):
        assert milp.relaxed(problem, held).value == pytest.approx(len(held), abs=1e-9)
    assert milp.minimise(problem).value == pytest.approx(4)


def rows_of(*, matrix=None, lower=None, upper=None):
    right = milp.relu(-1.0, 2.0)
    return tuple(r if new is None else new for r, new in zip(right, (matrix, lower, upper), strict=True))


def test_one_slip_in_the_rows_of_a_relu_is_named():
    matrix, lower, upper = milp.relu(-1.0, 2.0)
    assert programs.is_relu((matrix, lower, upper), -1.0, 2.0)
    assert programs.relu_hint((matrix, lower, upper), -1.0, 2.0) == ""
    assert "another order" in programs.relu_hint((matrix[:, [1, 0, 2]], lower, upper), -1.0, 2.0)
    turned = matrix.clone()
    turned[2, 2] *= -1
    assert "Row A[2] has its switch with the wrong sign" in programs.relu_hint(rows_of(matrix=turned), -1.0, 2.0)
    assert programs.relu_hint(rows_of(matrix=torch.zeros(4, 3).double()), -1.0, 2.0) == ""


@pytest.mark.parametrize(
    ("got", "hint"),
    [
        ([math.inf, math.inf], "is a copy lost"),
        ([-math.inf, 1.0], "proves more"),
        (torch.zeros(2), "as two numbers"),
        ([1.0], "Return both"),
        (None, "forget a return"),
    ],
)
def test_what_is_wrong_with_two_bounds_is_said(got, hint):
    with pytest.raises(Wrong) as failure:
        programs.two_bounds(got)
    assert hint in failure.value.hint


def test_two_bounds_may_be_apart_and_upper_infinite():
    assert programs.two_bounds([torch.tensor(0.5), math.inf]) == (0.5, math.inf)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("TypeError: '<' not supported between instances of 'dict' and 'dict'", "the same bound"),
        ("AttributeError: 'NoneType' object has no attribute", "has no point"),
    ],
)
def test_the_usual_crashes_of_a_search_are_explained(said, hint):
    def crashes(problem, most):
        raise Crashed(said)

    with pytest.raises(Wrong) as failure:
        programs.searched(crashes, {}, 1)
    assert hint in failure.value.hint
