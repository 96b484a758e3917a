"""The explorer of the penalty's weight: its verdicts agree with the attack and with the true distance."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plane import ZERO, at, half_plane
from torch import nn

from coursekit import data, models, widgets
from coursekit.attacks import penalty_path
from coursekit.widgets.tradeoff import LAMBDAS, descents, nearest_other


def line_explorer(**controls):
    """One point at (0.5, 0.5), 0.1 away from the boundary x_1 = 0.6; lambda* = 2 * 2 / 20^2 = 0.01."""
    return widgets.tradeoff_explorer(half_plane(), at(0.5, 0.5), ZERO, classes=["left", "right"], **controls)


@given(st.floats(0, 2 * math.pi), st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(0.02, 0.4))
@settings(max_examples=50, deadline=None)
def test_the_dense_search_finds_the_true_distance(angle, first, second, distance):
    w = np.array([math.cos(angle), math.sin(angle)])
    x = np.array([first, second])
    foot = x + distance * w
    model = half_plane(tuple(w.tolist()), -float(w @ x) - distance)
    found = nearest_other(model, at(first, second), ZERO)
    if ((foot > 0.01) & (foot < 0.99)).all():
        assert found is not None
        assert ((found >= 0) & (found <= 1)).all()
        assert distance - 1e-4 <= np.linalg.norm(found - x) <= distance + 1e-3


def test_where_there_is_no_other_class_the_search_finds_none():
    assert nearest_other(half_plane(offset=-3.0), at(0.5, 0.5), ZERO) is None
    explorer = widgets.tradeoff_explorer(half_plane(offset=-3.0), at(0.5, 0.5), ZERO)
    assert explorer.alt.startswith("Nothing to find")


def test_a_descent_is_that_of_the_attack():
    moons, model = data.load("moons", "test"), models.load("moons_mlp")
    lam = torch.tensor([0.003, 0.01, 0.1])
    done = descents(model, moons.x[:1], moons.y[:1], lam, steps=12)
    path = penalty_path(model, moons.x[:1].repeat(3, 1), moons.y[:1].repeat(3), lam, steps=12)
    np.testing.assert_allclose(done.path, path)
    np.testing.assert_allclose(done.end, (path[-1] - moons.x[:1]).norm(dim=1), rtol=1e-6)
    wrong = model(path.flatten(0, 1)).argmax(1).view(13, 3) != moons.y[0]
    for i, found in enumerate(done.found):
        distances = (path[:, i] - moons.x[:1]).norm(dim=1)[wrong[:, i]]
        assert found == pytest.approx(distances.min().item() if len(distances) else math.inf)


def test_too_small_a_lambda_ends_where_the_bowl_has_its_bottom():
    explorer = line_explorer(lam=0.005)
    # x - lambda / 2 * slope: 0.0025 * 20 = 0.05.
    assert explorer.alt.startswith("Not fooled: λ pushes too little: the descent ends 0.05 away, with a margin of 1")
    assert "the boundary is 0.1 away (star)" in explorer.alt


def test_enough_lambda_is_told_from_too_much():
    explorer = line_explorer(lam=0.011)
    assert explorer.alt.startswith("Fooled, and close to the nearest point")
    explorer.set(lam=0.5, steps=2)
    factor = float(re.match(r"Fooled, but ([\d.]+) times as far as need be", explorer.alt)[1])
    assert factor > 1.1


def test_a_point_that_is_wrong_anyway_needs_no_attack():
    explorer = widgets.tradeoff_explorer(half_plane(), at(0.8, 0.5), ZERO)
    assert explorer.alt.startswith("Nothing to attack: x itself is misclassified")


def test_every_control_changes_picture_and_words():
    explorer = widgets.tradeoff_explorer()
    seen = {(explorer.png, explorer.alt)}
    for change in ({"lam": 0.01}, {"steps": 7}, {"point": 10}, {"lam": 0.3}):
        explorer.set(**change)
        assert explorer.png not in {png for png, _ in seen}
        assert explorer.alt not in {alt for _, alt in seen}
        seen.add((explorer.png, explorer.alt))


def test_the_slider_of_lambda_moves_on_a_logarithmic_scale():
    explorer = widgets.tradeoff_explorer(lam=0.01)
    box, slider = explorer.children[0].children[0].children
    assert (slider.min, slider.max) == pytest.approx((math.log10(LAMBDAS[0]), math.log10(LAMBDAS[-1])))
    slider.value = 0.123456
    assert box.value == 0.12
    box.value = 0.5
    assert slider.value == pytest.approx(0.5)


def test_a_model_in_training_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3)).train()
    statistics = model[1].running_mean.clone()
    widgets.tradeoff_explorer(model, *data.load("moons", "test")[:2]).set(lam=0.1)
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_names_what_it_cannot_take():
    with pytest.raises(ValueError, match="x and y must be given together"):
        widgets.tradeoff_explorer(half_plane(), at(0.5, 0.5))
    with pytest.raises(ValueError, match="no control 'eps'"):
        line_explorer().set(eps=1)
