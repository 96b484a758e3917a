"""The explorer of the radius of training: its numbers are those of a search, and its words follow the controls."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from coursekit import data, models, plots, widgets
from coursekit.attacks import exhaustive
from coursekit.perturbations import LpBall
from coursekit.widgets.plane import Plane
from coursekit.widgets.training import GRID, distances

MOONS = data.load("moons", "test")


def wall(at):
    """Class 1 to the right of x_1 = at."""
    return lambda x: torch.stack([torch.zeros(len(x)), 20 * (x[:, 0] - at)], dim=1)


X, Y = torch.tensor([[0.30, 0.5], [0.45, 0.2], [0.7, 0.9], [0.8, 0.4]]), torch.tensor([0, 0, 1, 0])


def explorer(**controls):
    """Three points are right for a wall at 0.5, of which one is only 0.05 away; all but one for walls elsewhere."""
    return widgets.training_explorer({0.0: wall(0.5), 0.1: wall(0.6)}, X, Y, classes=["left", "right"], **controls)


def test_a_distance_is_that_to_the_boundary_and_zero_where_the_point_is_wrong():
    away = distances(Plane(wall(0.5), X, Y))
    np.testing.assert_allclose(away, [0.2, 0.05, 0.2, 0.0], atol=1.1 / (GRID - 1))
    assert (away[:3] > 0).all()


def test_where_there_is_no_other_class_no_radius_is_too_large():
    assert np.isinf(distances(Plane(wall(2.0), X[:2], Y[:2]))).all()


def test_the_verdicts_agree_with_an_attack_that_looks_everywhere():
    model, eps = models.load("moons_mlp"), 0.1
    found = exhaustive(model, MOONS.x, MOONS.y, LpBall(eps, math.inf), points=61)
    robust = (model(found).argmax(1) == MOONS.y) & (model(MOONS.x).argmax(1) == MOONS.y)
    assert abs((distances(Plane(model)) > eps).mean() - robust.double().mean().item()) < 0.03


def test_the_words_say_what_is_right_and_what_is_cut():
    said = explorer(attack=0.1).alt
    assert said.startswith("Ordinary training: 75.0 % right, 50.0 % also under attack.")
    assert "Of 4 points 1 are wrong, crossed out; 1 are right and their square of half-width 0.1 is cut" in said
    assert "the one of ε = 0.1 keeps most, 50.0 %" in said or "the one of ordinary training keeps most" in said


def test_without_an_attack_accuracy_is_all_that_counts():
    assert "no attack: ordinary accuracy is all that counts" in explorer(attack=0.0).alt


def test_between_two_networks_the_nearer_one_is_shown():
    live = explorer(attack=0.12)
    live.set(trained=0.08)
    assert live.alt.startswith("Trained with ε = 0.1:")


def test_every_control_changes_picture_and_words():
    live = explorer()
    seen = {(live.png, live.alt)}
    for change in ({"attack": 0.03}, {"trained": 0.1}, {"attack": 0.2}):
        live.set(**change)
        assert live.png not in {png for png, _ in seen}
        assert live.alt not in {alt for _, alt in seen}
        seen.add((live.png, live.alt))


def test_boundaries_stand_side_by_side_with_their_numbers():
    figure = widgets.boundaries({"ordinary": wall(0.5), "robust": wall(0.6)}, X, Y, 0.1)
    assert len(figure.axes) == 2
    said = plots.alt_text(figure)
    assert "a square of half-width 0.1 round each of 4 points" in said
    assert "ordinary: 75.0 % right, 50.0 % with their whole square." in said


def test_a_key_says_what_squares_and_crosses_mean():
    figure = widgets.boundaries({"ordinary": wall(0.5)}, X, Y, 0.1)
    words = {text.get_text() for text in figure.texts}
    assert {"square kept", "square cut by the boundary", "wrong"} <= words


def test_the_words_say_what_the_colour_of_the_verdict_means():
    live = explorer(attack=0.02)
    assert "the verdict is green" in live.alt
    live.set(trained=0.1, attack=0.15)
    assert "the verdict is " in live.alt


def test_a_model_in_training_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2)).train()
    statistics = model[1].running_mean.clone()
    widgets.training_explorer({0.0: model, 0.1: wall(0.5)}, X, Y).set(attack=0.05)
    widgets.boundaries({"model": model}, X, Y, 0.1)
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].running_mean, statistics)


def test_it_names_what_it_cannot_take():
    with pytest.raises(ValueError, match="at least two radii; got 1"):
        widgets.training_explorer({0.0: wall(0.5)}, X, Y)
