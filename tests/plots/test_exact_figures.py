"""Figures of exact certification: they show what the numbers say."""

import math

import numpy as np
import pytest
import torch

from coursekit import plots
from coursekit.certify import milp


def test_the_encoding_of_a_relu_and_its_triangle():
    figure = plots.encoding(milp.relu(-1.0, 2.0), -1.0, 2.0)
    said = plots.alt_text(figure)
    assert "s = 0: off: z from -1 to 0, a single a for each z" in said.replace("−", "-")
    assert "a whole area" in said
    assert "Left out" not in said
    assert len(figure.axes) == 3


def test_what_bounds_that_are_too_tight_leave_out():
    said = plots.alt_text(plots.encoding(milp.relu(-0.4, 2.0), -1.0, 2.0))
    assert "Left out of the ReLU, in red: 20 %" in said


def test_rows_that_allow_nothing_can_be_drawn():
    nothing = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([5.0]), torch.tensor([4.0])
    assert "nothing" in plots.alt_text(plots.encoding(nothing, -1.0, 1.0))


def test_two_bounds_and_where_they_decide():
    history = [(-1.0, math.inf), (-0.5, 0.9), (0.1, 0.4), (0.3, 0.3)]
    said = plots.alt_text(plots.two_bounds(history, truth=0.3))
    assert "rises from -1 to 0.3" in said.replace("−", "-")
    assert "falls from 0.9 to 0.3" in said
    assert "From 3 programs on both are on one side of 0" in said
    assert "The smallest value is 0.3" in said


@pytest.mark.parametrize("upper", [1.0, math.inf])
def test_two_bounds_that_do_not_decide(upper):
    said = plots.alt_text(plots.two_bounds([(-1.0, upper), (-0.5, upper)]))
    assert "0 lies between them all the time" in said
    assert ("still infinite" in said) == math.isinf(upper)


def test_the_cost_of_an_exact_answer():
    lines = {"one": ([0.1, 0.2], np.array([[3, 5, 4], [9, 11, 30]]), np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]]))}
    figure = plots.search_cost(lines)
    said = plots.alt_text(figure)
    assert "one: 4 neurons and 0.1 seconds at 0.1, 11 and 2 at 0.2, the longest 3 seconds" in said
    assert figure.axes[1].get_yscale() == "log"
    assert "time limit" not in said
    assert "time limit of 2.5 seconds" in plots.alt_text(plots.search_cost(lines, limit=2.5))
