"""Smoothing: the bound covers, the radius is true in the plane where one can look everywhere, and no vote is lost."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from coursekit import models
from coursekit.attacks import pgd
from coursekit.certify import smoothing
from coursekit.certify.smoothing import (
    Certificate,
    SmoothedClassifier,
    binomial_p_value,
    certified_accuracy,
    largest_radius,
    least_probability,
    lower_bound,
    radius,
)
from coursekit.perturbations import LpBall

SURE = 1e-9  # alpha of tests that must not fail by bad luck


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def half_plane(x):
    """Class 1 where the first coordinate is above 0: the distance to the boundary is known."""
    return torch.stack([-x[:, 0], x[:, 0]], dim=1)


def network(seed, width=12, classes=3):
    """A wild random network of the plane, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, classes)]
    for layer in layers[:3:2]:
        layer.weight.data.mul_(4)
    return nn.Sequential(*layers).double()


# ------------------------------------------------------------------ the bound


@given(st.integers(1, 3000), st.floats(0, 1), st.floats(1e-6, 0.5))
@settings(max_examples=100, deadline=None)
def test_the_bound_is_where_so_many_successes_become_too_good_to_be_likely(n, share, alpha):
    k = round(share * n)
    p = lower_bound(k, n, alpha).item()
    assert 0 <= p <= k / n
    assert k == 0 or stats.binom.sf(k - 1, n, p) == pytest.approx(alpha, rel=1e-6)
    assert lower_bound(n, n, alpha).item() == pytest.approx(alpha ** (1 / n), rel=1e-9)


@given(st.integers(1, 400), st.floats(0.01, 0.99), st.sampled_from([0.3, 0.05, 0.001]))
@settings(max_examples=100, deadline=None)
def test_it_is_above_the_truth_no_more_often_than_promised(n, p, alpha):
    k = torch.arange(n + 1)
    bound = lower_bound(k, n, alpha)
    assert (bound.diff() > 0).all()
    assert stats.binom.pmf(k[bound > p], n, p).sum() <= alpha * (1 + 1e-9)


def test_bounds_come_in_the_shape_of_the_counts():
    assert lower_bound(torch.tensor([[0, 3], [5, 10]]), 10, 0.05).shape == (2, 2)
    assert lower_bound(torch.zeros(0, dtype=torch.int64), 10, 0.05).shape == (0,)
    assert lower_bound(0, 10, 0.05).item() == 0


def test_the_number_of_votes_may_be_a_sum_of_counts_and_nothing_else_of_torch():
    votes = torch.tensor([3, 7])
    assert torch.equal(lower_bound(votes, votes.sum(), 0.05), lower_bound(votes, 10, 0.05))
    for n in (torch.tensor(10.0), torch.tensor([10]), torch.tensor(True)):
        with pytest.raises(TypeError, match="n must be an int; got Tensor"):
            lower_bound(votes, n, 0.05)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5])
def test_no_radius_without_a_majority(p):
    assert radius(torch.tensor(p, dtype=torch.float64), 0.5).item() == 0


def test_the_radius_is_the_quantile_of_the_normal_distribution_in_units_of_sigma():
    p = torch.linspace(0.5, 0.999999, 50, dtype=torch.float64)
    np.testing.assert_allclose(radius(p, 0.3), 0.3 * stats.norm.ppf(p), rtol=1e-9, atol=1e-12)


@given(st.floats(0.5001, 0.9999), st.floats(0.05, 2))
@settings(max_examples=50, deadline=None)
def test_at_the_radius_one_half_is_left_and_further_away_less(p, sigma):
    p_A = torch.tensor([p], dtype=torch.float64)
    far = radius(p_A, sigma).item()
    assert least_probability(p_A, sigma, far).item() == pytest.approx(0.5, abs=1e-9)
    assert least_probability(p_A, sigma, 0.9 * far) > 0.5 > least_probability(p_A, sigma, 1.1 * far)
    assert least_probability(p_A, sigma, 0.0).item() == pytest.approx(p, rel=1e-9)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.8]), st.floats(0.01, 1.5))
@settings(max_examples=30, deadline=None)
def test_no_region_loses_more_than_the_half_space(seed, sigma, distance):
    """Random unions of intervals of a line, with their exact probabilities at x = 0 and at x~ = distance."""
    ends = np.sort(np.random.default_rng(seed).normal(0, 1.5 * sigma, 8))
    here, there = (np.diff(stats.norm.cdf(ends, centre, sigma))[::2].sum() for centre in (0.0, distance))
    assert there >= least_probability(torch.tensor(here), sigma, distance).item() - 1e-9


# ------------------------------------------------------------------ votes


def test_votes_are_those_of_a_known_probability_and_of_noise_that_is_not_clipped():
    x = torch.tensor([[0.1, 0.5], [0.0, 0.5], [-0.3, 0.5]])  # clipped to [0, 1], no vote would be for class 0
    n = 20_000
    votes = SmoothedClassifier(half_plane, 0.25).counts(x, n, seeded())
    assert votes.dtype == torch.int64
    assert votes.sum(dim=1).tolist() == [n] * 3
    expected = n * stats.norm.cdf(np.array([0.1, 0.0, -0.3]) / 0.25)
    assert np.abs(votes[:, 1].numpy() - expected).max() < 6 * math.sqrt(n / 4)


def test_the_same_votes_whatever_the_batch_size_and_whatever_was_drawn_before(cnn, digits):
    x, _ = digits
    first = SmoothedClassifier(cnn, 0.5).counts(x[:3], 70, seeded())
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    for batch_size in (1, 33, 100_000):
        assert torch.equal(SmoothedClassifier(cnn, 0.5, batch_size=batch_size).counts(x[:3], 70, seeded()), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(SmoothedClassifier(cnn, 0.5).counts(x[:3], 70, seeded(1)), first)


def test_each_copy_of_each_image_has_noise_of_its_own():
    x = torch.zeros(100, 3)
    noise = SmoothedClassifier(half_plane, 0.5).noisy(x, generator=seeded())
    assert len(noise.unique()) == noise.numel()
    assert noise.std().item() == pytest.approx(0.5, abs=0.1)


def test_no_more_than_the_batch_size_is_looked_at_at_once():
    sizes = []
    SmoothedClassifier(lambda x: sizes.append(len(x)) or half_plane(x), 0.1, batch_size=32).counts(torch.rand(5, 2), 50)
    assert max(sizes) == 32
    assert sum(sizes) == 250


def test_the_model_is_asked_in_eval_mode_and_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (
        SmoothedClassifier(model, 0.1).counts(torch.rand(4, 2, generator=seeded()), 50, seeded()) for _ in "ab"
    )
    assert torch.equal(first, second)  # no dropout
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nan_is_a_vote_for_no_class():
    votes = SmoothedClassifier(lambda x: half_plane(x).masked_fill(x[:, :1] < 0, math.nan), 0.1).counts(
        torch.zeros(1, 2), 1000, seeded()
    )
    assert 400 < votes.sum() < 600
    never = SmoothedClassifier(lambda x: torch.full((len(x), 4), math.nan), 0.1)
    assert never.certify(torch.zeros(2, 2), n=50).abstained.all()
    assert never.predict(torch.zeros(2, 2), n=50).abstained.all()


def test_shapes_dtypes_no_image_at_all_and_other_devices():
    for dtype in (torch.float64, torch.bfloat16):
        result = SmoothedClassifier(half_plane, 0.25).certify(torch.ones(3, 2, dtype=dtype), n=30, generator=seeded())
        assert [len(part) for part in result] == [3, 3, 3]
        assert [part.dtype for part in result] == [torch.int64, torch.float64, torch.bool]
    assert SmoothedClassifier(half_plane, 0.25).counts(torch.rand(0, 2), 10).shape == (0, 2)
    assert SmoothedClassifier(half_plane, 0.25).certify(torch.rand(0, 2)).radius.shape == (0,)
    with torch.device("meta"):
        cnn, x = models.build("mnist_cnn"), torch.empty(3, 1, 28, 28)
    assert SmoothedClassifier(cnn, 0.25).counts(x, 40, seeded()).shape == (3, 10)
    strided = torch.rand(2, 4, 4, 1).permute(0, 3, 1, 2)
    f = SmoothedClassifier(lambda x: half_plane(x.flatten(1)), 0.25)
    assert torch.equal(f.counts(strided, 40, seeded()), f.counts(strided.contiguous(), 40, seeded()))


# ------------------------------------------------------------------ the certificate


def test_of_a_half_space_the_radius_is_nearly_the_distance_and_never_more():
    distance = torch.linspace(-0.6, 0.6, 25)
    x = torch.stack([distance, torch.zeros(25)], dim=1)
    result = SmoothedClassifier(half_plane, 0.5).certify(x, n=20_000, alpha=SURE, generator=seeded())
    assert (result.radius <= distance.abs()).all()
    assert ((distance.abs() - result.radius)[distance.abs() > 0.12] < 0.06).all()
    clear = distance.abs() > 0.12
    assert torch.equal(result.label[clear], (distance > 0).long()[clear])
    assert result.abstained[distance == 0].all()
    assert (result.radius[result.abstained] == 0).all()


def smoothed_probabilities(model, points, sigma, grid=101, reach=5.0):
    """P[f(x + e) = c] of each point of the plane, (N, K), by summing over a fine grid of the noise."""
    ticks = torch.linspace(-reach, reach, grid, dtype=torch.float64)
    weight = torch.exp(-(ticks**2) / 2)
    weight = weight / weight.sum()
    noise, weight = sigma * torch.cartesian_prod(ticks, ticks), torch.outer(weight, weight).flatten()
    with torch.no_grad():
        says = torch.stack([model(point + noise).argmax(dim=1) for point in points])
    return torch.stack([(weight * (says == c)).sum(dim=1) for c in range(int(says.max()) + 1)], dim=1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.6]))
@settings(max_examples=8, deadline=None)
def test_nobody_in_the_certified_circle_gets_another_answer(seed, sigma):
    """Random networks of the plane, with islands: looked at all round, at the very edge of the circle and within."""
    model, x = network(seed), torch.rand(3, 2, generator=seeded(seed), dtype=torch.float64)
    result = SmoothedClassifier(model, sigma).certify(x, n=1000, alpha=SURE, generator=seeded(seed))
    angle = torch.arange(8, dtype=torch.float64) * math.tau / 8
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    for point, label, far, abstained in zip(x, *result, strict=True):
        if not abstained:
            around = torch.cat([point[None], point + far * circle, point + 0.5 * far * circle])
            assert (smoothed_probabilities(model, around, sigma).argmax(dim=1) == label).all()


def test_no_attack_on_the_smoothed_classifier_breaks_its_certificate():
    model, x = network(3), torch.rand(40, 2, generator=seeded(), dtype=torch.float64)
    smoothed = SmoothedClassifier(model, 0.3)
    label, far, abstained = smoothed.certify(x, n=2000, alpha=SURE, generator=seeded())
    assert (~abstained).sum() > 20
    ball = LpBall((0.99 * far).clamp_min(0), 2, bounds=(-9.0, 9.0))
    x_adv = pgd(smoothed.looking(16, seeded()), x, label, ball, steps=10, early_stop=False, generator=seeded())
    after = smoothed.predict(x_adv, n=2000, alpha=SURE, generator=seeded(1))
    assert (after.abstained | (after.label == label))[~abstained].all()
    assert (model(x_adv).argmax(dim=1) != label)[~abstained].any()  # of the base classifier nothing was promised


def test_the_class_comes_from_the_first_sample_and_its_probability_from_another():
    model, x = network(1).float(), torch.rand(20, 2, generator=seeded())
    smoothed, generator = SmoothedClassifier(model, 0.5), seeded()
    first, second = smoothed.counts(x, 5, generator), smoothed.counts(x, 200, generator)
    result = smoothed.certify(x, n0=5, n=200, alpha=0.01, generator=seeded())
    assert torch.equal(result.label, first.argmax(dim=1))
    p = lower_bound(second.gather(1, result.label[:, None])[:, 0], 200, 0.01)
    assert torch.equal(result.radius, radius(p, 0.5))
    assert torch.equal(result.abstained, p <= 0.5)
    assert not torch.equal(result.label, second.argmax(dim=1))  # so the two can be told apart here


def test_on_the_boundary_it_claims_something_no_more_often_than_promised():
    """Both classes are equally likely, so every certificate is false. With one sample for both it would be 8.9 %."""
    x, promised = torch.zeros(4000, 2), stats.binom.sf(58, 100, 0.5)  # 59 votes certify, 58 do not
    assert promised <= 0.05
    result = SmoothedClassifier(half_plane, 1.0).certify(x, n0=100, n=100, alpha=0.05, generator=seeded())
    claims = (~result.abstained).double().mean().item()
    assert abs(claims - promised) < 6 * math.sqrt(promised / 4000)


def test_unanimous_votes_certify_the_largest_radius_there_is():
    for n, sigma, alpha in ((100, 0.5, 0.001), (2000, 0.25, 0.05)):
        constant = SmoothedClassifier(lambda x: torch.tensor([[0.0, 1.0]]).expand(len(x), 2), sigma)
        result = constant.certify(torch.rand(1, 2), n=n, alpha=alpha)
        assert result.radius.item() == pytest.approx(largest_radius(n, sigma, alpha), rel=1e-9)
        assert largest_radius(n, sigma, alpha) == pytest.approx(sigma * stats.norm.ppf(alpha ** (1 / n)), rel=1e-9)
    assert largest_radius(9, 0.5, 0.001) == 0  # nine votes prove no majority
    assert largest_radius(10, 0.5, 0.001) > 0


# ------------------------------------------------------------------ predictions, accuracy


def test_a_prediction_abstains_where_the_votes_do_not_tell():
    x = torch.tensor([[0.5, 0.0], [0.0, 0.0], [-0.5, 0.0]])
    label, abstained = SmoothedClassifier(half_plane, 0.25).predict(x, n=500, generator=seeded())
    assert abstained.tolist() == [False, True, False]
    assert label[[0, 2]].tolist() == [1, 0]


@given(st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_the_p_value_is_that_of_the_binomial_test(one, other):
    heads, n = max(one, other), one + other
    p = binomial_p_value(torch.tensor([heads]), torch.tensor([n])).item()
    assert p == pytest.approx(stats.binomtest(heads, n, 0.5).pvalue if n else 1.0, rel=1e-9)


def test_certified_accuracy_counts_what_is_right_certain_and_large_enough():
    result = Certificate(
        torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0.5, 0.2, 0.0, 0.9, 0.6], dtype=torch.float64),
        torch.tensor([False, False, True, False, False]),
    )  # fmt: skip
    y = torch.tensor([0, 1, 2, 0, 4])
    assert certified_accuracy(result, y, [0.0, 0.2, 0.5, 0.55, 1.0]).tolist() == [0.6, 0.4, 0.2, 0.2, 0.0]


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"x": torch.rand(2)}, ValueError, r"x must be a batch \(B, ...\).*got shape \(2,\)"),
        ({"x": torch.zeros(2, 2, dtype=torch.int64)}, TypeError, "x must be a floating tensor.*got torch.int64"),
        ({"n0": 0}, ValueError, "n must be at least 1; got 0"),
        ({"n": 10.0}, TypeError, "n must be an int; got float"),
        ({"alpha": 0.0}, ValueError, "alpha must lie between 0 and 1; got 0.0"),
        ({"generator": 5}, TypeError, "generator must be a torch.Generator"),
    ],
)
def test_arguments_are_checked(arguments, error, says):
    with pytest.raises(error, match=says):
        SmoothedClassifier(half_plane, 0.25).certify(**{"x": torch.rand(2, 2), "n": 10} | arguments)


def test_settings_models_and_numbers_are_checked():
    for sigma in (0, -1.0, math.nan, math.inf, "0.5", True):
        with pytest.raises(ValueError, match="sigma must be a number above 0; got"):
            SmoothedClassifier(half_plane, sigma)
    with pytest.raises(TypeError, match="model must be a function"):
        SmoothedClassifier(None, 0.5)
    with pytest.raises(ValueError, match=r"model must return logits \(16, K\); got \(16,\)"):
        SmoothedClassifier(lambda x: x[:, 0], 0.5).counts(torch.rand(2, 2), 8)
    with pytest.raises(ValueError, match="at least 2 classes; got 1"):
        SmoothedClassifier(lambda x: x[:, :1], 0.5).predict(torch.rand(2, 2), 8)
    with pytest.raises(ValueError, match="successes must lie between 0 and n = 10; got 3 to 11"):
        lower_bound(torch.tensor([3, 11]), 10, 0.05)
    with pytest.raises(TypeError, match="successes must be whole numbers"):
        lower_bound(torch.tensor([0.5]), 10, 0.05)
    empty = SmoothedClassifier(half_plane, 1.0).certify(torch.rand(0, 2))
    with pytest.raises(ValueError, match="y must hold at least one label"):
        certified_accuracy(empty, torch.zeros(0, dtype=torch.int64), [0.0])
    with pytest.raises(ValueError, match="distance must be at least 0; got -1"):
        least_probability(torch.tensor([0.9]), 0.5, -1)
    one = SmoothedClassifier(half_plane, 1.0).certify(torch.rand(1, 2))
    with pytest.raises(ValueError, match="radii must be a list of numbers, each 0 or more"):
        certified_accuracy(one, torch.tensor([0]), [-0.5])


def test_the_part_is_reached_from_the_package():
    from coursekit import certify

    assert certify.smoothing is smoothing
