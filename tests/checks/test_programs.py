import math

import pytest
import torch

from coursekit.certify import milp
from coursekit.checks import programs
from coursekit.checks.failures import Wrong


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
        ([torch.full((2, 3), math.inf).double(), torch.zeros(2).double(), torch.zeros(2).double()], "A holds NaN"),
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
    assert milp.relaxed(one).point[0] == pytest.approx(0.3)
    assert milp.minimise(one).value == pytest.approx(1.0)
    assert milp.relaxed(half, {0: 0}).value == math.inf
    assert milp.minimise(half).value == pytest.approx(2.0)
