import math

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit.attacks import carlini_wagner, penalty
from coursekit.attacks.carlini_wagner import HALVINGS, SCOUTING
from coursekit.losses import cw_margin, cw_margin_targeted

WHOLE_SPACE = (-math.inf, math.inf)


def linear(classes, seed, dimensions=12):
    """A linear classifier in float64, points, and the labels it gives them."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, dimensions, generator=generator, dtype=torch.float64)
    x = torch.rand(6, dimensions, generator=generator, dtype=torch.float64)
    return weight, x, (x @ weight.T).argmax(1)


def distance_to_boundary(weight, x, y):
    """min over i != y of (Z_y - Z_i) / ||w_y - w_i||_2."""
    lead = (x @ weight.T).gather(1, y[:, None]) - x @ weight.T
    each = lead / (weight[y][:, None] - weight).norm(dim=2)
    return each.scatter(1, y[:, None], math.inf).amin(1)


def distance(x_adv, x):
    return (x_adv - x).flatten(1).norm(dim=1)


def fooled(model, x, y):
    with torch.no_grad():
        return model(x).argmax(1) != y


class Counting(nn.Module):
    """Counts the images that are differentiated, and those that are only looked at."""

    def __init__(self, model):
        super().__init__()
        self.model, self.gradients, self.looks = model, 0, 0

    def forward(self, x):
        if torch.is_grad_enabled() and x.requires_grad:
            self.gradients += 1
        else:
            self.looks += 1
        return self.model(x)


seeds = st.integers(0, 10_000)


# -- one lambda


def test_it_takes_the_steps_of_the_slide(cnn, digits):
    """Written out without any of coursekit."""
    x, y = digits[0][:5], digits[1][:5]
    x_t, trace = x.clone(), []
    penalty(cnn, x, y, 0.7, steps=6, trace=trace)
    for t, step in enumerate(trace):
        torch.testing.assert_close(step.x, x_t, rtol=0, atol=1e-5)
        x_t = x_t.detach().requires_grad_()
        log_probabilities = cnn(x_t).log_softmax(1)
        others = log_probabilities.masked_fill(nn.functional.one_hot(y, 10).bool(), -math.inf)
        loss = (log_probabilities[range(5), y] - others.amax(1)).clamp_min(0)
        (((x_t - x) ** 2).sum() + 0.7 * loss.sum()).backward()
        x_t = (x_t - x_t.grad / (t + 2)).clamp(0, 1)
    assert len(trace) == 6


@given(seed=seeds, share=st.floats(0.05, 5))
@settings(max_examples=8, deadline=None)
@pytest.mark.slow
def test_on_a_linear_model_the_minimiser_is_known(seed, share):
    """delta = -lambda/2 * w until that reaches the boundary; from there on lambda makes no difference."""
    weight, x, y = linear(2, seed)
    w = (weight[1] - weight[0]).norm()
    exact = distance_to_boundary(weight, x, y)
    critical = 2 * exact / w
    x_tilde = penalty(lambda x: x @ weight.T, x, y, share * critical, steps=150, bounds=WHOLE_SPACE)
    torch.testing.assert_close(distance(x_tilde, x), exact * min(share, 1), rtol=0.06, atol=1e-6)


def test_a_larger_lambda_gives_a_smaller_margin_at_a_larger_distance(cnn, digits):
    x, y = digits[0][:10], digits[1][:10]
    results = [penalty(cnn, x, y, lam, steps=40) for lam in (0.0, 0.05, 0.2, 1.0, 5.0)]
    distances = torch.stack([distance(x_tilde, x) for x_tilde in results])
    with torch.no_grad():
        margins = torch.stack([cw_margin(cnn(x_tilde), y) for x_tilde in results])
    assert torch.equal(results[0], x)
    assert (distances.mean(1).diff() > 0).all()
    assert (margins.mean(1).diff() < 0).all()
    assert (distances.diff(dim=0) >= -0.05).all()
    assert (margins.diff(dim=0) <= 0.05).all()


def test_the_penalty_returns_the_least_objective_it_saw(cnn, digits):
    x, y = digits[0][:10], digits[1][:10]
    lam, trace = torch.linspace(0.1, 3, 10), []
    x_tilde = penalty(cnn, x, y, lam, steps=30, trace=trace)
    with torch.no_grad():
        objective = distance(x_tilde, x).square() + lam * cw_margin(cnn(x_tilde), y)
    seen = torch.stack([step.distance.square() + step.lam * step.loss for step in trace])
    assert (objective <= seen.amin(0) + 1e-5).all()


def test_the_penalty_starts_where_it_is_told(cnn, digits):
    x, y = digits[0][:5], digits[1][:5]
    trace = []
    penalty(cnn, x, y, 1.0, steps=1, start=(x + 0.3).clamp(0, 1), trace=trace)
    torch.testing.assert_close(trace[0].x, (x + 0.3).clamp(0, 1))


# -- search over lambda


@pytest.mark.parametrize(("classes", "steps"), [(2, 3), (4, 8)])
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_on_a_linear_model_it_finds_the_distance_to_the_boundary(classes, steps, seed):
    """Of several classes that are almost equally near, a short look at each may pick another than the nearest."""
    weight, x, y = linear(classes, seed)
    x_adv = carlini_wagner(lambda x: x @ weight.T, x, y, steps=steps, bounds=WHOLE_SPACE)
    exact = distance_to_boundary(weight, x, y)
    assert fooled(lambda x: x @ weight.T, x_adv, y).all()
    assert (distance(x_adv, x) >= exact * (1 - 1e-9)).all()
    assert (distance(x_adv, x) <= exact * 1.02).all()


@given(seed=seeds)
@settings(max_examples=6, deadline=None)
def test_also_where_the_range_is_in_the_way(seed):
    """The nearest point of a half-space within the box is clip(x - s w) for the least s that crosses: bisection."""
    weight, x, y = linear(2, seed)
    x = (2 * x - 0.5).clamp(0, 1)  # half of the coordinates at an end
    y = (x @ weight.T).argmax(1)
    w = weight[y] - weight[1 - y]
    low, high = torch.zeros(6, 1, dtype=x.dtype), torch.full((6, 1), 1e3, dtype=x.dtype)
    reachable = (((x - high * w).clamp(0, 1)) * w).sum(1) < 0
    for _ in range(80):
        middle = (low + high) / 2
        crossed = (((x - middle * w).clamp(0, 1)) * w).sum(1, keepdim=True) < 0
        low, high = low.where(crossed, middle), middle.where(crossed, high)
    exact = distance((x - high * w).clamp(0, 1), x)
    x_adv = carlini_wagner(lambda x: x @ weight.T, x, y)
    assert torch.equal(fooled(lambda x: x @ weight.T, x_adv, y), reachable)
    assert (distance(x_adv, x) <= exact * 1.03)[reachable].all()


@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=6, deadline=None)
def test_lambda_ends_near_the_smallest_that_works(seed, scale):
    """2 d / ||w||, whatever the unit of the logits."""
    weight, x, y = linear(2, seed)
    weight, trace = scale * weight, []
    carlini_wagner(lambda x: x @ weight.T, x, y, bounds=WHOLE_SPACE, trace=trace)
    critical = 2 * distance_to_boundary(weight, x, y) / (weight[1] - weight[0]).norm()
    assert (trace[-1].lam / critical).log2().abs().max() < 1


def test_the_trace_has_every_step(cnn, digits):
    x, y = digits[0][:10], digits[1][:10]
    trace = []
    x_adv = carlini_wagner(cnn, x, y, steps=2, search_steps=8, starts=1, trace=trace)
    assert len(trace) == 16
    for step in trace:
        assert step.x.shape == x.shape
        assert step.logits.shape == (10, 10)
        assert step.loss.shape == step.lam.shape == step.distance.shape == (10,)
        torch.testing.assert_close(step.loss, cw_margin(step.logits, y))
        torch.testing.assert_close(step.distance, distance(step.x, x))
    lams = torch.stack([step.lam for step in trace])
    assert torch.equal(lams[::2], lams[1::2])  # two steps each
    reached = torch.stack([step.loss == 0 for step in trace]).view(8, 2, 10).any(1)
    right = ~fooled(cnn, x, y)
    assert torch.equal((lams[2::2] < lams[:-2:2])[:, right], reached[:-1, right])
    seen = torch.stack([step.distance.where(step.logits.argmax(1) != y, math.inf) for step in trace]).amin(0)
    assert (distance(x_adv, x) <= seen + 1e-5).all()


@pytest.mark.parametrize("starts", [1, 3])
def test_it_takes_as_many_gradients_as_it_says(cnn, digits, starts):
    model = Counting(cnn)
    carlini_wagner(model, digits[0][:2], digits[1][:2], steps=2, search_steps=6, starts=starts)
    assert model.gradients == 1 + 2 * (6 + SCOUTING * (starts - 1))
    assert model.looks == HALVINGS


def test_with_few_classes_there_are_fewer_starts():
    weight, x, y = linear(2, 0)
    model = Counting(lambda x: x @ weight.T)
    carlini_wagner(model, x, y, steps=1, search_steps=5, starts=3)
    assert model.gradients == 6


def test_trying_several_classes_finds_closer_examples(cnn, digits):
    x, y = digits[0][:30], digits[1][:30]
    one, three = (distance(carlini_wagner(cnn, x, y, starts=starts), x) for starts in (1, 3))
    assert three.mean() < one.mean()


def test_a_target_of_every_class_is_reached(cnn, digits):
    x, y = digits[0][:10], digits[1][:10]
    target = (y + 3) % 10
    x_adv = carlini_wagner(cnn, x, y, target=target)
    with torch.no_grad():
        assert torch.equal(cnn(x_adv).argmax(1), target)
        assert (cw_margin_targeted(cnn(x_adv), target) == 0).all()
    assert distance(x_adv, x).median() > distance(carlini_wagner(cnn, x, y), x).median()


# -- beside another implementation


@pytest.mark.slow
def test_it_comes_closer_than_a_peer_with_three_times_the_gradients(cnn, digits):
    x, y = digits[0][:20], digits[1][:20]
    attack = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=5, steps=50, stepsize=0.05, initial_const=1.0)
    _, theirs, _ = attack(foolbox.PyTorchModel(cnn, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    ours = carlini_wagner(cnn, x, y)
    assert fooled(cnn, ours, y).all()
    assert distance(ours, x).median() <= distance(theirs, x)[fooled(cnn, theirs, y)].median() * 1.001


# -- what it does not take


@pytest.mark.parametrize(
    ("attack", "change", "error", "says"),
    [
        (carlini_wagner, {"search_steps": 0}, ValueError, "search_steps must be at least 1; got 0"),
        (carlini_wagner, {"starts": 1.5}, TypeError, "starts must be an int; got float"),
        (penalty, {"lam": -1.0}, ValueError, "lam must be finite and >= 0; got -1.0"),
        (penalty, {"lam": "big"}, TypeError, "lam must be a number .* got str"),
        (penalty, {"lam": torch.ones(3)}, ValueError, r"lam must be one number or one per image, \(2,\)"),
        (penalty, {"start": torch.ones(3)}, ValueError, r"start must be a tensor like x, \(2, 3\); got \(3,\)"),
    ],
)
def test_wrong_settings_are_named(attack, change, error, says):
    arguments = {"lam": 1.0} if attack is penalty else {}
    with pytest.raises(error, match=says):
        attack(lambda x: x, torch.full((2, 3), 0.5), torch.tensor([0, 1]), **{**arguments, **change})
