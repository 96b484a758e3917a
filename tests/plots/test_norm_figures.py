"""The figures of perturbation sets: their words give the numbers that the definitions give."""

import math
import re

import pytest
import torch

from coursekit import models, plots
from coursekit.data import load
from coursekit.perturbations import LpBall, Rotation

EVERYWHERE = (-math.inf, math.inf)


def exact(p):
    return lambda x_tilde, x, eps: LpBall(eps, p, EVERYWHERE).project(x_tilde, x)


def test_changes_gives_the_three_norms_of_each():
    x = torch.full((1, 1, 4, 4), 0.5)
    delta = torch.zeros(2, 1, 4, 4)
    delta[0, 0, 0, 0], delta[1] = -0.5, 0.25
    said = plots.alt_text(plots.changes(x, x + delta, titles=["one", "all"]))
    assert "one: L1 0.5, L2 0.5, L-infinity 0.5" in said
    assert "all: L1 4, L2 1, L-infinity 0.25" in said


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_takes_grey_and_colour_and_no_change_at_all(channels):
    x = torch.rand(2, channels, 5, 6)
    said = plots.alt_text(plots.changes(x, x))
    assert "image 2: L1 0, L2 0, L-infinity 0" in said


@pytest.mark.parametrize(
    ("x", "x_tilde", "titles", "message"),
    [
        (torch.rand(3, 1, 4, 4), torch.rand(2, 1, 4, 4), None, "x and x_tilde must be images"),
        (torch.rand(1, 4, 4), torch.rand(1, 4, 4), None, "x and x_tilde must be images"),
        (torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), ["a"], "one entry for each of the 2 images; got 1"),
    ],
)
def test_changes_names_what_it_cannot_take(x, x_tilde, titles, message):
    with pytest.raises(ValueError, match=message):
        plots.changes(x, x_tilde, titles)


def test_nearest_points_counts_what_the_corners_catch():
    figure = plots.nearest_points({p: exact(p) for p in (1, 2, math.inf)})
    counts = {name: int(n) for name, n in re.findall(r"(L1|L-infinity), (\d+) of 40", plots.alt_text(figure))}
    # The cone of a corner of the diamond is wide, that of a corner of the square is a quadrant beyond it.
    assert counts["L1"] > counts["L-infinity"] > 0
    assert len(figure.axes) == 3


def test_nearest_points_shows_whatever_projection_it_is_given():
    scaled = plots.nearest_points({1: lambda z, x, eps: x + (z - x) * 0.1})
    assert "L1, 0 of 40 land on a corner" in plots.alt_text(scaled)


@pytest.mark.parametrize("projections", [{}, {3: exact(2)}])
def test_nearest_points_names_what_it_cannot_take(projections):
    with pytest.raises(ValueError, match=r"keys from 1, 2 and math\.inf"):
        plots.nearest_points(projections)


def test_distances_tells_the_median_and_what_it_compares_to():
    angles = torch.linspace(0, 20, 11)
    lengths = angles[:, None] * torch.tensor([0.1, 0.2, 0.6])
    figure = plots.distances(angles, {2: lengths, math.inf: lengths / 10}, {2: {"usual": 2.0}, math.inf: {}})
    said = plots.alt_text(figure)
    assert "L2: 2 at 10, 4 at 20; to compare: usual 2" in said
    assert "L-infinity: 0.2 at 10, 0.4 at 20" in said


def test_loss_by_angle_says_where_the_model_errs():
    digits, model = load("mnist", "test"), models.load("mnist_cnn")
    x, y = digits.x[:2], digits.y[:2]
    figure = plots.loss_by_angle(model, x, y, Rotation(60), points=61, pictures=3)
    said = plots.alt_text(figure)
    assert "Image of class 0: " in said
    assert "wrong at 0 % of the angles" in said
    with torch.no_grad():
        turned = Rotation(60).render(torch.tensor([[-1.0, 0.0, 0.0]]), x[1:2])
    wrong = int(model(turned).argmax()) != int(y[1])
    assert wrong == bool(re.search(r"Image of class 1: .*wrong at [1-9]", said))


def test_loss_by_angle_names_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"x must be images \(B, C, H, W\) and y \(B,\)"):
        plots.loss_by_angle(models.load("mnist_cnn"), torch.rand(1, 28, 28), torch.tensor(3), Rotation(30))
