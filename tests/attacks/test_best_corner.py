"""One step for each rival: the truth for linear models, and where FGSM falls short of it. And pairs by bisection."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import models
from coursekit.attacks import best_corner, fgsm, opposite_ends
from coursekit.perturbations import LpBall

WIDE = (-math.inf, math.inf)


def linear(seed, classes, d, count=4):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(d, classes, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, d, generator=generator, dtype=torch.float64))
        model.bias.copy_(torch.randn(classes, generator=generator, dtype=torch.float64))
    x = torch.rand(count, d, generator=generator, dtype=torch.float64)
    return model, x, torch.randint(0, classes, (count,), generator=generator)


def lead(model, points, y):
    logits = model(points).detach()
    others = logits.scatter(1, y[:, None], -math.inf).max(dim=1).values
    return logits.gather(1, y[:, None]).squeeze(1) - others


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 6), st.sampled_from([WIDE, (0.0, 1.0)]))
@settings(max_examples=40, deadline=None)
def test_no_corner_of_the_ball_is_worse(seed, classes, d, bounds):
    model, x, y = linear(seed, classes, d)
    ball = LpBall(0.3, math.inf, bounds)
    found = best_corner(model, x, y, ball)
    assert ball.contains(found, x).all()
    signs = 2 * torch.cartesian_prod(*[torch.arange(2)] * d).reshape(-1, d) - 1
    corners = (x[:, None] + 0.3 * signs).clamp(*bounds)
    lowest = lead(model, corners.flatten(0, 1), y.repeat_interleave(len(signs))).view(len(x), -1).min(dim=1).values
    torch.testing.assert_close(lead(model, found, y), lowest, rtol=1e-5, atol=1e-5)


def test_for_two_classes_it_is_fgsm_and_for_many_it_is_not():
    model, x, y = linear(0, 2, 5)
    ball = LpBall(0.2, math.inf, WIDE)
    torch.testing.assert_close(best_corner(model, x, y, ball), fgsm(model, x, y, ball))
    model, x, y = linear(0, 10, 5, count=200)
    ours, theirs = (lead(model, attack(model, x, y, ball), y) for attack in (best_corner, fgsm))
    assert (ours <= theirs + 1e-12).all()
    assert ((ours < 0) & (theirs > 0)).sum() >= 1


def test_on_images_it_fools_at_least_as_many_as_fgsm():
    from coursekit import data

    digits, model = data.load("mnist", "test"), models.load("mnist_linear")
    x, y, ball = digits.x[:50], digits.y[:50], LpBall(0.05, math.inf)
    x_adv = best_corner(model, x, y, ball)
    assert x_adv.dtype == x.dtype
    assert not x_adv.requires_grad
    assert ball.contains(x_adv, x).all()
    assert (lead(model, x_adv, y) <= lead(model, fgsm(model, x, y, ball), y) + 1e-4).all()
    eps = torch.linspace(0.01, 0.1, 50)
    assert ((best_corner(model, x, y, LpBall(eps, math.inf)) - x).abs().flatten(1).amax(1) <= eps + 1e-6).all()


def test_other_balls_are_refused():
    model, x, y = linear(0, 3, 2)
    with pytest.raises(ValueError, match="p = inf"):
        best_corner(model, x, y, LpBall(0.1, 2))


# ------------------------------------------------------------------ opposite_ends


@given(st.integers(0, 1000), st.integers(1, 30), st.sampled_from([1, 2, math.inf]), st.floats(1e-6, 3.0))
@settings(max_examples=60, deadline=None)
def test_the_ends_keep_their_labels_and_come_closer_by_half_each_time(seed, d, p, eps):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, d, generator=generator, dtype=torch.float64)
    asked = []

    def wild(x):
        asked.append(x)
        return 0 if torch.equal(x, a) else 1 if torch.equal(x, b) else hash(tuple(x.tolist())) % 2

    pairs = opposite_ends(wild, a, b, eps=eps, p=p)
    distance = float(torch.linalg.vector_norm(a - b, ord=p))
    assert len(asked) == len(pairs) + 1  # both ends and one for each halving
    assert all(wild(x) == 0 and wild(z) == 1 for x, z in pairs)
    for k, (x, z) in enumerate(pairs):
        assert float(torch.linalg.vector_norm(x - z, ord=p)) == pytest.approx(distance / 2**k, rel=1e-6)
        assert (float(torch.linalg.vector_norm(x - z, ord=p)) < eps) == (k == len(pairs) - 1)


def test_equal_labels_and_an_eps_below_rounding_are_named():
    a, b = torch.tensor([1.0]), torch.tensor([2.0])
    with pytest.raises(ValueError, match="different labels; both have 0"):
        opposite_ends(lambda x: 0, a, b, eps=0.1)
    with pytest.raises(ValueError, match=r"spacing of torch\.float32"):
        opposite_ends(lambda x: int(x > 1.3), a, b, eps=1e-12)
