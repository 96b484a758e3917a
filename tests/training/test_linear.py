"""The worst case of a linear classifier: nothing that is tried does better, and the closed form is its loss."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit.perturbations import LpBall
from coursekit.training import linear

NORMS = (1, 2, math.inf)


def draw(seed, d=6, images=5):
    generator = torch.Generator().manual_seed(seed)
    w, x = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((d,), (images, d)))
    y = torch.where(torch.rand(images, generator=generator) < 0.5, -1.0, 1.0).double()
    return w, 0.3, x, y, generator


def loss_at(w, b, x, y):
    return F.softplus(-y * (x @ w + b))


@pytest.mark.parametrize("p", NORMS)
@given(st.integers(0, 10**6), st.floats(0.01, 2.0))
@settings(deadline=None)
def test_the_closed_form_is_the_loss_at_the_worst_point_which_lies_in_the_ball(p, seed, eps):
    w, b, x, y, _ = draw(seed)
    worst = linear.worst_point(w, x, y, eps, p)
    torch.testing.assert_close(linear.robust_loss(w, b, x, y, eps, p), loss_at(w, b, worst, y))
    assert (torch.linalg.vector_norm(worst - x, ord=p, dim=1) <= eps * (1 + 1e-9)).all()


@pytest.mark.parametrize("p", NORMS)
@given(st.integers(0, 10**6))
@settings(deadline=None)
def test_no_point_of_the_ball_is_worse(p, seed):
    w, b, x, y, generator = draw(seed)
    best = linear.robust_loss(w, b, x, y, 0.4, p)
    ball = LpBall(0.4, p, bounds=(-math.inf, math.inf))
    for _ in range(20):
        assert (loss_at(w, b, ball.sample(x, generator=generator), y) <= best + 1e-9).all()


def test_a_weight_of_zero_moves_nothing():
    w, x, y = torch.tensor([0.0, 2.0]), torch.tensor([[0.5, 0.5]]), torch.tensor([1.0])
    assert linear.worst_point(w, x, y, 0.1).tolist()[0] == pytest.approx([0.5, 0.4])
    for p in NORMS:
        assert torch.equal(linear.worst_point(torch.zeros(2), x, y, 0.1, p), x)


def test_a_radius_of_zero_is_the_ordinary_loss():
    w, b, x, y, _ = draw(3)
    for p in NORMS:
        assert torch.equal(linear.worst_point(w, x, y, 0.0, p), x)
        torch.testing.assert_close(linear.robust_loss(w, b, x, y, 0.0, p), loss_at(w, b, x, y))


@pytest.mark.parametrize("p", NORMS)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0))
@settings(deadline=None)
def test_danskins_theorem_the_gradient_at_the_worst_points_is_that_of_the_closed_form(p, seed, eps):
    w, b, x, y, _ = draw(seed)
    v = w.clone().requires_grad_()
    (slope,) = torch.autograd.grad(linear.robust_loss(v, b, x, y, eps, p).mean(), v)
    torch.testing.assert_close(linear.gradient(w, b, x, y, eps, p), slope)
    assert not w.requires_grad


def test_measured_slopes_are_those_of_the_gradient_and_central():
    w, b, x, y, _ = draw(5)
    torch.testing.assert_close(
        linear.measured_gradient(w, b, x, y, 0.1), linear.gradient(w, b, x, y, 0.1), atol=1e-8, rtol=1e-6
    )
    first = torch.eye(len(w), dtype=w.dtype)[0]
    ends = [linear.robust_loss(w + h * first, b, x, y, 0.1).mean() for h in (0.3, -0.3)]
    torch.testing.assert_close(linear.measured_gradient(w, b, x, y, 0.1, 0.3)[0], (ends[0] - ends[1]) / 0.6)


def test_it_names_another_norm():
    w, b, x, y, _ = draw(0)
    for call in (lambda: linear.worst_point(w, x, y, 0.1, 3), lambda: linear.robust_loss(w, b, x, y, 0.1, 3)):
        with pytest.raises(ValueError, match="p must be 1, 2 or math"):
            call()


def test_bad_input_is_named():
    w, x, y = torch.ones(2), torch.zeros(3, 2), torch.tensor([1.0, -1.0, 1.0])
    for arguments, name in (
        ((y[:, None], 0.1), "y must have one label"),
        ((torch.tensor([0, 1, 1]), 0.1), "y must hold -1. and 1."),
        ((y, -0.1), "eps must be at least 0"),
        ((y, math.nan), "eps must be at least 0"),
    ):
        with pytest.raises(ValueError, match=name):
            linear.robust_loss(w, 0.0, x, *arguments)
        with pytest.raises(ValueError, match=name):
            linear.worst_point(w, x, *arguments)
