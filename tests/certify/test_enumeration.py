"""The exact search of a tiny network: against a dense search that knows nothing of pieces, and by hand."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit.certify.enumeration import TinyNetwork, worst, worst_of_model
from coursekit.perturbations import LpBall

WHOLE = LpBall(0.7, math.inf, bounds=(-math.inf, math.inf))


def network(seed, inputs, neurons, classes=2):
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(inputs, neurons), nn.ReLU(), nn.Linear(neurons, classes)).double()
    return model, torch.randn(inputs, generator=generator, dtype=torch.float64)


def lead(model, points, y):
    logits = model(points).detach()
    others = logits.clone()
    others[:, y] = -math.inf
    return logits[:, y] - others.max(dim=1).values


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 5), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_no_point_of_the_box_is_lower_and_the_point_found_is_as_low_as_said(seed, inputs, neurons, classes):
    model, x = network(seed, inputs, neurons, classes)
    y = seed % classes
    found = worst_of_model(model, x.tolist(), y, WHOLE)
    at = torch.tensor([[float(value) for value in found.x]], dtype=torch.float64)
    assert float((at - x).abs().max()) <= 0.7 + 1e-12
    assert lead(model, at, y).item() == pytest.approx(float(found.lead), abs=1e-9)
    generator = torch.Generator().manual_seed(seed)
    inside = x + 0.7 * (2 * torch.rand(4000, inputs, generator=generator, dtype=torch.float64) - 1)
    assert float(lead(model, inside, y).min()) >= float(found.lead) - 1e-9


def test_one_input_is_lowest_at_a_kink_or_an_end():
    valley = TinyNetwork.of_numbers([[1], [-1]], [-1, 1], [[1, 1], [0, 0]], [-0.5, 0])  # |u - 1| - 1/2
    assert worst(valley, [0], 0, 2) == (Fraction(-1, 2), [Fraction(1)])
    assert worst(valley, [-1], 0, 0.5) == (Fraction(1), [Fraction(-1, 2)])
    assert worst(valley, [3], 0, 0) == (Fraction(3, 2), [Fraction(3)])


def test_a_crack_far_below_any_grid_is_found():
    width = Fraction(1, 10**12)
    place = Fraction(1234567, 10**7)
    crack = TinyNetwork.of_numbers(
        [[1], [1], [1]], [width - place, -place, -width - place],
        [[0, 0, 0], [3 / width, -6 / width, 3 / width]], [1, 0],
    )  # fmt: skip
    found = worst(crack, [0], 0, 1)
    assert found == (Fraction(-2), [place])


def test_parallel_kinks_and_neurons_that_see_nothing_do_no_harm():
    flat = TinyNetwork.of_numbers([[1, 1], [2, 2], [0, 0]], [0, 0, 5], [[0, 0, 1], [1, -0.25, 0]], [0, 0])
    assert worst(flat, [0, 0], 0, 1).lead == Fraction(5) - Fraction(2) + Fraction(1)


def test_gradients_are_those_of_autograd_away_from_kinks():
    model, x = network(3, 2, 6, 3)
    tiny = TinyNetwork.of_model(model)
    expected = torch.autograd.functional.jacobian(lambda point: model(point[None])[0], x)
    gradients = tiny.logit_gradients([Fraction(value) for value in x.tolist()])
    torch.testing.assert_close(torch.tensor([[float(v) for v in row] for row in gradients]).double(), expected)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (([[1, 2]], [0], [[1], [1]], [0]), "do not fit together"),
        (([[1, 2], [3]], [0, 0], [[1, 1], [1, 1]], [0, 0]), "do not fit together"),
        (([[math.nan]], [0], [[1], [1]], [0, 0]), "finite numbers"),
        (([[1]], ["a"], [[1], [1]], [0, 0]), "finite numbers"),
        (([1], [0], [[1], [1]], [0, 0]), "list of rows|finite numbers"),
        (([[1] * 4], [0], [[1], [1]], [0, 0]), "at most 3 inputs"),
        (([[1]] * 17, [0] * 17, [[1] * 17] * 2, [0, 0]), "at most 3 inputs and 16 neurons"),
        (([[1]], [0], [[1]], [0]), "two classes"),
        (([], [], [[], []], [0, 0]), "at least one input"),
    ],
)
def test_layers_that_cannot_be_searched_are_named(layers, message):
    with pytest.raises(ValueError, match=message):
        TinyNetwork.of_numbers(*layers)


def test_other_arguments_are_named():
    model, x = network(0, 2, 3)
    with pytest.raises(ValueError, match="Sequential of Linear, ReLU, Linear"):
        TinyNetwork.of_model(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="p = inf"):
        worst_of_model(model, x.tolist(), 0, LpBall(0.1, 2))
    tiny = TinyNetwork.of_model(model)
    with pytest.raises(ValueError, match="x must have 2 numbers; got 1"):
        worst(tiny, [0.0], 0, 1)
    with pytest.raises(ValueError, match="y must be a class"):
        worst(tiny, [0.0, 0.0], 2, 1)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        worst(tiny, [0.0, 0.0], 0, -1)
