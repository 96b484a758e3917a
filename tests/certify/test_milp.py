import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit.certify import exact, milp, relaxations
from coursekit.certify.enumeration import TinyNetwork, corners
from coursekit.perturbations import LpBall


def problem(seed, switches=4, others=3, rows=5):
    """A random problem with a point that satisfies it."""
    generator = torch.Generator().manual_seed(seed)
    count = switches + others
    a = torch.randn(rows, count, generator=generator, dtype=torch.float64)
    inside = torch.cat([torch.randint(0, 2, (switches,), generator=generator), torch.rand(others, generator=generator)])
    return {
        "cost": torch.randn(count, generator=generator, dtype=torch.float64), "constant": 0.5, "rows": a,
        "lower": a @ inside.double() - 0.3, "upper": torch.full((rows,), math.inf, dtype=torch.float64),
        "low": torch.zeros(count, dtype=torch.float64), "high": torch.ones(count, dtype=torch.float64),
        "switches": list(range(switches)),
    }  # fmt: skip


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_smallest_value_is_the_smallest_over_all_positions_of_the_switches(seed):
    given_ = problem(seed)
    answer = milp.minimise(given_)
    each = [
        milp.relaxed(given_, dict(zip(range(4), held, strict=True))) for held in itertools.product((0, 1), repeat=4)
    ]
    assert answer.value == answer.bound == pytest.approx(min(one.value for one in each), abs=1e-6)
    assert milp.relaxed(given_).value <= answer.value + 1e-6
    point = answer.point
    assert (given_["rows"] @ point >= given_["lower"] - 1e-6).all()
    assert torch.allclose(point[:4], point[:4].round(), atol=1e-6)
    assert answer.value == pytest.approx(float(given_["cost"] @ point) + 0.5, abs=1e-6)


def test_what_cannot_be_has_an_infinite_value():
    given_ = problem(0) | {"lower": torch.full((5,), 100.0, dtype=torch.float64)}
    for answer in (milp.relaxed(given_), milp.minimise(given_), milp.relaxed(problem(0), {0: 2.0})):
        assert answer == (math.inf, math.inf, None)


def test_without_time_it_claims_nothing():
    answer = milp.minimise(problem(1), seconds=0.0)
    assert answer.bound <= milp.minimise(problem(1)).value <= answer.value


def test_the_problem_is_left_as_it_was():
    given_ = problem(2)
    before = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in given_.items()}
    milp.relaxed(given_, {0: 1})
    assert all(torch.equal(value, before[key]) for key, value in given_.items() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cost": torch.zeros(3)}, "rows must have the shape"),
        ({"lower": torch.zeros(2)}, r"lower must have the shape \(5,\); got \(2,\)"),
        ({"low": torch.full((7,), math.nan)}, "low must not hold NaN"),
        ({"switches": [7]}, "switches must be from 0 to 6"),
    ],
)
def test_arrays_that_do_not_fit_together_are_named(change, says):
    with pytest.raises(ValueError, match=says):
        milp.relaxed(problem(0) | change)


def test_a_missing_key_is_named():
    given_ = problem(0)
    del given_["high"]
    with pytest.raises(ValueError, match="there is no high"):
        milp.relaxed(given_)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_search_that_is_stopped_has_two_true_numbers_which_meet_at_its_end(seed):
    given_ = problem(seed)
    truth, first = milp.minimise(given_).value, milp.relaxed(given_).value
    for most in (1, 2, 3, 5, 9):
        lower, upper = milp.search(given_, most=most)
        assert first - 1e-6 <= lower <= truth + 1e-6
        assert upper >= truth - 1e-6
    assert milp.search(given_, most=100) == pytest.approx((truth, truth), abs=1e-6)


# -- networks written out


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_network_written_out_is_as_small_as_exact_fractions_say(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        weight, bias = torch.randn(5, 2).double(), torch.randn(5).double()
        last, offset = torch.randn(3, 5).double(), torch.randn(3).double()
        x, y = torch.rand(2).double(), int(torch.randint(0, 3, ()))
    low, high = x - 0.4, x + 0.4
    centre, radius = weight @ x + bias, weight.abs().sum(1) * 0.4
    rows, constants = milp.leads(last, offset, y)
    tiny = TinyNetwork.of_numbers(weight.tolist(), bias.tolist(), last.tolist(), offset.tolist())
    found = []
    for row, constant in zip(rows, constants, strict=True):
        given_ = milp.network([(weight, bias)], low, high, [(centre - radius, centre + radius)], row, float(constant))
        answer = milp.minimise(given_)
        a = (weight @ answer.point[:2] + bias).relu()
        assert answer.value == pytest.approx(float(row @ a + constant), abs=1e-5)
        assert milp.relaxed(given_).value <= answer.value + 1e-6
        found.append(answer.value)
    box = [(Fraction(a), Fraction(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    assert min(found) == pytest.approx(float(min(tiny.lead(point, y) for point in corners(tiny, box))), abs=1e-5)


def test_two_layers_are_as_small_as_exact_verification_says():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x, threat = torch.full((1, 3), 0.5).double(), LpBall(0.2, math.inf)
    y = model(x).argmax(1)
    hidden = [(model[i].weight.detach(), model[i].bias.detach()) for i in (0, 2)]
    bounds = [tuple(end[0] for end in relaxations.bounds(model[: i + 1], x, threat)) for i in (0, 2)]
    bounds = [tuple(end.detach() for end in pair) for pair in bounds]
    rows, constants = milp.leads(model[4].weight.detach(), model[4].bias.detach(), int(y))
    least = milp.minimise(milp.network(hidden, x[0] - 0.2, x[0] + 0.2, bounds, rows[0], float(constants[0]))).value
    assert exact.verify(model, x, y, threat).status == ["robust" if least > 0 else "counterexample"]


@pytest.mark.parametrize(("lower", "upper"), [(-1.0, 2.0), (-3.0, 0.5), (0.2, 1.0), (-1.0, -0.3)])
def test_one_neuron_is_the_relu_and_its_triangle(lower, upper):
    matrix, first, last = milp.relu(lower, upper)

    def allowed(z, a, s):
        values = matrix @ torch.tensor([z, a, s], dtype=torch.float64)
        return bool(((values >= first - 1e-9) & (values <= last + 1e-9)).all())

    for z in torch.linspace(lower, upper, 9).tolist():
        assert allowed(z, max(z, 0.0), float(z > 0))
        chord = upper * (z - lower) / (upper - lower)
        for a in (max(z, 0.0) + 0.05, max(z, 0.0) - 0.05, -0.1, upper + 0.1):
            assert not allowed(z, a, 0.0)
            assert not allowed(z, a, 1.0)
            in_triangle = max(z, 0.0) <= a <= (chord if lower < 0 < upper else max(z, 0.0))
            assert any(allowed(z, a, s / 1000) for s in range(1001)) <= (in_triangle or abs(a - chord) < 0.02)
