import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import models
from coursekit.attacks import pgd
from coursekit.certify.relaxations import bounds, certified, worst_case_logits
from coursekit.losses import margin
from coursekit.models.architectures import Normalize
from coursekit.perturbations import LpBall

seeds = st.integers(0, 2**32 - 1)


def network(seed, layers=3):
    """A random network with convolutions, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hidden = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(layers - 2)]
        return nn.Sequential(
            Normalize([0.3], [0.5]), nn.Conv2d(1, 2, 2, stride=2), nn.ReLU(), nn.Flatten(), *hidden, nn.Linear(8, 3)
        ).double()


def images(seed, count=4):
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, eps=st.sampled_from([0.0, 0.01, 0.1, 0.5]), layers=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_no_point_of_the_ball_leaves_the_bounds(seed, eps, layers):
    model, x, ball = network(seed, layers), images(seed), LpBall(eps, math.inf)
    lower, upper = bounds(model, x, ball)
    generator = torch.Generator().manual_seed(seed)
    corners = [ball.project(x + eps * torch.randn(x.shape, generator=generator).sign(), x) for _ in range(20)]
    for x_tilde in [ball.sample(x, generator=generator) for _ in range(20)] + corners:
        logits = model(x_tilde)
        assert (lower - 1e-9 <= logits).all()
        assert (logits <= upper + 1e-9).all()


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_what_is_certified_no_attack_breaks_and_worst_cases_are_no_better_than_attacks(seed):
    model, x, ball = network(seed), images(seed, 20), LpBall(0.05, math.inf)
    y = model(x).argmax(1)
    x_adv = pgd(model, x, y, ball, steps=20, loss=margin, generator=torch.Generator().manual_seed(seed))
    proven = certified(model, x, y, ball)
    assert (model(x_adv).argmax(1) == y)[proven].all()
    logits = model(x_adv)
    worst = worst_case_logits(model, x, y, ball)
    assert (worst >= logits - logits.gather(1, y[:, None]) - 1e-9).all()
    assert (worst.gather(1, y[:, None]).abs() < 1e-9).all()


def test_the_bounds_of_a_point_are_its_logits_and_of_a_linear_model_exact():
    model, x = network(0), images(0)
    for end in bounds(model, x, LpBall(0.0, math.inf)):
        torch.testing.assert_close(end, model(x))
    linear = nn.Sequential(nn.Linear(5, 3)).double()
    x = torch.rand(4, 5, dtype=torch.float64)
    reach = 0.1 * linear[0].weight.abs().sum(1)
    lower, upper = bounds(linear, x, LpBall(0.1, math.inf, (-math.inf, math.inf)))
    torch.testing.assert_close(lower, linear(x) - reach)
    torch.testing.assert_close(upper, linear(x) + reach)


def test_each_image_may_have_its_own_eps_and_larger_ones_give_wider_bounds():
    model, x = network(1), images(1)
    eps = torch.tensor([0.0, 0.01, 0.1, 0.3])
    lower, upper = bounds(model, x, LpBall(eps, math.inf))
    for i, radius in enumerate(eps.tolist()):
        alone = bounds(model, x[i : i + 1], LpBall(radius, math.inf))
        torch.testing.assert_close(lower[i : i + 1], alone.lower, rtol=1e-6, atol=1e-6)
    widths = [(end[1] - end[0]).min() for end in (bounds(model, x, LpBall(e, math.inf)) for e in (0.0, 0.01, 0.1))]
    assert widths == sorted(widths)
    assert (upper >= lower).all()


def test_bounds_are_differentiable_follow_the_device_and_leave_the_mode():
    model = network(2).train()
    worst_case_logits(model, images(2), torch.zeros(4, dtype=torch.int64), LpBall(0.1, math.inf)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.training
    with torch.device("meta"):
        cnn, x = models.build("mnist_cnn"), torch.empty(3, 1, 28, 28)
    assert bounds(cnn, x, LpBall(0.1, math.inf)).upper.device.type == "meta"


@pytest.mark.parametrize("x", [255 * torch.rand(3, 4), torch.full((3, 4), math.nan), -torch.rand(3, 4)])
@pytest.mark.parametrize("function", [bounds, certified, worst_case_logits])
def test_nothing_is_proven_about_an_image_outside_of_the_range(function, x):
    y = () if function is bounds else (torch.zeros(3, dtype=torch.int64),)
    with pytest.raises(ValueError, match="x must lie in the threat's bounds, 0 to 1; got"):
        function(nn.Sequential(nn.Linear(4, 2)), x, *y, LpBall(0.1, math.inf))


def test_the_lower_end_of_the_box_is_never_above_the_upper_one_even_if_x_is_off_by_rounding():
    x = torch.full((1, 4), 1 + torch.finfo(torch.float32).eps)
    lower, upper = bounds(nn.Sequential(nn.Linear(4, 3)), x, LpBall(0.0, math.inf))
    assert (lower <= upper).all()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_network_that_answers_nan_is_certified_nowhere(broken):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    nn.init.constant_(model[0].bias, broken)
    for y in range(3):
        assert not certified(model, torch.rand(2, 4), torch.full((2,), y), LpBall(0.1, math.inf)).any()


@pytest.mark.parametrize("y", [torch.tensor([3]), torch.tensor([-1]), torch.tensor([0.0]), torch.tensor([[0]])])
def test_labels_are_checked(y):
    with pytest.raises((ValueError, TypeError), match="y must"):
        certified(nn.Sequential(nn.Linear(4, 3)), torch.rand(1, 4), y, LpBall(0.1, math.inf))


@pytest.mark.parametrize("x", [torch.zeros(1, 4, dtype=torch.uint8), [[0.0] * 4]])
def test_images_must_be_floating(x):
    with pytest.raises(TypeError, match=r"x must be a floating tensor; got (torch\.uint8|list)"):
        bounds(nn.Sequential(nn.Linear(4, 3)), x, LpBall(0.1, math.inf))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": nn.Sequential(nn.Linear(4, 2), nn.Tanh())}, "model must consist of Linear, Conv2d.*; got Tanh"),
        ({"model": nn.Linear(4, 2)}, "model must be a torch.nn.Sequential; got Linear"),
        ({"threat": LpBall(0.1, 1)}, "threat must be an LpBall with p = 2 or p = inf; got p = 1"),
        ({"threat": 0.1}, "threat must be an LpBall with p = 2 or p = inf; got float"),
        ({"method": "boxes"}, "method must be one of 'interval'.*; got 'boxes'"),
    ],
)
def test_what_is_not_supported_is_named(change, says):
    arguments = {"model": nn.Sequential(nn.Linear(4, 2)), "x": torch.rand(1, 4), "threat": LpBall(0.1, math.inf)}
    with pytest.raises(ValueError, match=says):
        bounds(**{**arguments, **change})
