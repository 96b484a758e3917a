"""Bisection for every image, the closest of several points, and the path that a penalty descends."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit.attacks import PenaltyStep, boundary_distance, closest, narrow, penalty, penalty_path, smallest_eps
from coursekit.losses import margin


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=6), st.floats(0.01, 100))
@settings(max_examples=50, deadline=None)
def test_narrow_closes_in_on_every_threshold(thresholds, first):
    threshold = torch.tensor(thresholds, dtype=torch.float64)
    value = torch.full_like(threshold, first)
    low, high = torch.zeros_like(value), torch.full_like(value, math.inf)
    for _ in range(60):
        value, low, high = narrow(value, low, high, value >= threshold)
        assert (low < threshold).all()
        assert (high >= threshold).all()
        assert value.isfinite().all()
    torch.testing.assert_close(high, threshold, rtol=1e-6, atol=1e-9)


def two_classes(pixels=4, seed=0):
    """A linear classifier with two classes, and points in the middle of the range that it puts into class 0."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(pixels, 2)
    x = 0.45 + 0.1 * torch.rand(5, pixels, generator=generator)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, pixels, generator=generator))
        lead = x @ (model.weight[0] - model.weight[1])
        model.bias.copy_(torch.stack([0.05 - lead.min(), torch.tensor(0.0)]))
    return model, x, torch.zeros(5, dtype=torch.int64)


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_the_smallest_eps_lies_just_above_the_exact_distance(p):
    model, x, y = two_classes()
    exact = boundary_distance(model, x, y, p)
    eps = smallest_eps(model, x, y, p, eps_max=1.0, halvings=8, bounds=(-math.inf, math.inf), loss=margin)
    assert (eps >= exact - 1e-6).all()
    assert (eps <= exact + 2 / 2**8).all()


def test_what_is_never_fooled_is_infinitely_far_and_what_is_wrong_is_near():
    model, x, y = two_classes()
    y = torch.tensor([0, 1, 0, 0, 0])
    eps = smallest_eps(model, x, y, 2, eps_max=1e-4, halvings=3)
    assert eps[1] == 0
    assert eps[[0, 2, 3, 4]].isinf().all()


def test_the_result_does_not_depend_on_the_batch(model, right):
    x, y = right
    together = smallest_eps(model, x, y, 2, eps_max=2.0, halvings=5, steps=5)
    alone = torch.cat([smallest_eps(model, x[[i]], y[[i]], 2, eps_max=2.0, halvings=5, steps=5) for i in (0, 3)])
    torch.testing.assert_close(together[[0, 3]], alone)


# -- the closest of several points


def test_closest_chooses_for_every_image_by_itself():
    pixels = nn.Identity()  # logits = pixels
    x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0, 0])
    candidates = torch.tensor([[[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [[0.5, 0.6], [0.7, 0.3], [0.4, 0.7]]])
    x_adv, found = closest(pixels, x, y, candidates)
    assert found.tolist() == [True, False, True]
    assert torch.equal(x_adv, torch.stack([candidates[1, 0], x[1], x[2]]))  # the last is wrong as it is
    assert x_adv.data_ptr() != x.data_ptr()


def test_closest_knows_the_norm():
    x, y = torch.tensor([[0.7, 0.3]]), torch.tensor([0])
    candidates = torch.tensor([[[0.7, 0.75]], [[0.4, 0.6]]])
    assert torch.equal(closest(nn.Identity(), x, y, candidates, p=1)[0], candidates[0])
    assert torch.equal(closest(nn.Identity(), x, y, candidates, p=2)[0], candidates[1])


def test_closest_names_candidates_of_another_shape():
    with pytest.raises(ValueError, match=r"candidates must be \(T, 2, 3\); got \(2, 3\)"):
        closest(nn.Linear(3, 2), torch.rand(2, 3), torch.tensor([0, 1]), torch.rand(2, 3))


# -- the path of the penalty


def test_the_path_is_that_of_the_penalty(model, right):
    x, y = right
    lam = torch.linspace(0.1, 2, len(x))
    trace: list[PenaltyStep] = []
    penalty(model, x, y, lam, steps=5, trace=trace)
    path = penalty_path(model, x, y, lam, steps=4)
    assert path.shape == (5, *x.shape)
    assert torch.equal(path[0], x)
    assert torch.equal(path, torch.stack([step.x for step in trace]))
