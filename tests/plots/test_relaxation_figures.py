"""Figures of convex relaxations: what they draw holds what it should, and their words say what is to be seen."""

import itertools
import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path
from torch import nn

from coursekit import plots
from coursekit.certify.relaxations import METHODS, certified
from coursekit.perturbations import LpBall
from coursekit.plots.relaxations import draw_leads, leads, polygon


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))


def inside(corners, points, slack=1e-4):
    """Whether all points lie in the convex polygon, whichever way round its corners go."""
    edge = np.roll(corners, -1, axis=0) - corners
    away = points[:, None] - corners
    side = edge[:, 0] * away[:, :, 1] - edge[:, 1] * away[:, :, 0]
    return bool((side >= -slack).all() or (side <= slack).all())


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.3])
def test_each_polygon_holds_all_leads_and_the_next_method_s_polygon(network, eps):
    x = torch.tensor([0.4, 0.7])
    found = leads(network, x, 1, LpBall(eps, math.inf), grid=21)
    for method in METHODS:
        assert inside(found.outlines[method], found.reached.reshape(-1, 2))
    for coarse, fine in itertools.pairwise(METHODS):
        assert inside(found.outlines[coarse], found.outlines[fine])
        assert (found.least[coarse] <= found.least[fine] + 1e-5).all()
    assert found.worst >= max(found.least["lp"].min(), -math.inf) - 1e-4


def test_the_verdict_is_that_of_the_library(network):
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    y = network(x).argmax(1)
    for threat in (LpBall(0.02, math.inf), LpBall(0.1, math.inf)):
        for method in METHODS:
            ours = [leads(network, x[i], int(y[i]), threat, [method], grid=3).certified(method) for i in range(20)]
            assert ours == certified(network, x, y, threat, method).tolist()


def test_half_planes_leave_a_polygon():
    around = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [-1, -1]])
    corners = polygon(around, np.array([-1.0, -1, -2, -2, -3]))
    assert {tuple(corner) for corner in corners.round(6)} == {(-1, -1), (2, -1), (2, 1), (1, 2), (-1, 2)}


@pytest.mark.parametrize("seed", range(5))
def test_a_point_stays_a_point(network, seed):
    x = torch.rand(2, generator=torch.Generator().manual_seed(seed))
    found = leads(network, x, 1, LpBall(0.0, math.inf), grid=3)
    for method in METHODS:
        assert np.abs(found.outlines[method] - found.reached[0, 0]).max() < 1e-3


def test_half_planes_that_rounding_drove_apart_leave_a_sliver():
    around = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    corners = polygon(around, np.array([2.0, 3.0, -2.0 + 1e-6, -3.0 + 1e-6]))
    assert np.abs(corners - [2, 3]).max() < 1e-4


def test_the_picture_shows_the_origin_and_the_whole_outline(network):
    found = leads(network, torch.tensor([0.4, 0.7]), 1, LpBall(0.1, math.inf), grid=5)
    figure = plots.tightening(network, torch.tensor([0.4, 0.7]), 1, LpBall(0.1, math.inf))
    for axes, method in zip(figure.axes, ("interval", "crown", "crown"), strict=True):
        frame = Path([(x, y) for x in axes.get_xlim() for y in axes.get_ylim()]).get_extents()
        for point in (*found.outlines[method], (0, 0)):
            assert frame.x0 <= point[0] <= frame.x1
            assert frame.y0 <= point[1] <= frame.y1
    said = plots.alt_text(figure)
    for method, name in zip(METHODS, ("intervals", "CROWN", "linear program"), strict=True):
        verdict = "certified" if found.certified(method) else "not certified"
        assert f"{name}: {verdict}" in [axes.get_title(loc="left") for axes in figure.axes]
        assert name in said
    draw_leads(figure.axes[0], found, "lp", ["a", "b", "c"], others=["crown"])
    assert figure.axes[0].get_xlabel() == "lead over a"
    assert figure.axes[0].get_ylabel() == "lead over c"


@pytest.mark.parametrize(
    ("model", "x", "says"),
    [
        (nn.Sequential(nn.Linear(2, 2)), torch.zeros(2), "three classes; got 2"),
        (nn.Sequential(nn.Linear(2, 3)), torch.zeros(1, 2), r"one point of the plane, \(2,\); got \(1, 2\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(model, x, says):
    with pytest.raises(ValueError, match=says):
        leads(model, x, 0, LpBall(0.1, math.inf))


def test_a_box_round_a_turned_square_grows_by_the_root_of_two():
    figure = plots.wrapping(4)
    assert [axes.get_title(loc="left").split()[-1] for axes in figure.axes] == ["1", "1.41", "2", "2.83", "4"]
    assert "1.41" in plots.alt_text(figure)
    for axes in figure.axes:
        box, _, square = axes.patches
        (low, high), corners = (box.get_bbox().p0, box.get_bbox().p1), square.get_xy()
        assert (corners >= low - 1e-9).all()
        assert (corners <= high + 1e-9).all()


def test_regions_of_a_relu_hold_it_and_the_triangle_is_the_smallest():
    figure = plots.relu_relaxations([(-1.0, 3.0), (-2.0, 0.5)])
    for row, (low, high) in enumerate([(-1.0, 3.0), (-2.0, 0.5)]):
        z = np.linspace(low, high, 31)
        areas = []
        for axes in figure.axes[3 * row : 3 * row + 3]:
            corners = axes.patches[0].get_xy()
            corners = corners if axes is not figure.axes[3 * row + 1] else corners[[0, 1, 3, 2]]
            areas.append(float(axes.get_title(loc="left").rsplit(" ", 1)[1]))
            assert len(axes.lines) == 1
        assert areas[2] == min(areas) == pytest.approx(-low * high / 2)
        assert areas[0] == pytest.approx((high - low) * high)
        assert (np.maximum(z, 0) <= high / (high - low) * (z - low) + 1e-9).all()
    with pytest.raises(ValueError, match="l < 0 < u"):
        plots.relu_relaxations([(0.5, 1.0)])


def test_bars_say_how_many_images_each_method_proves():
    figure = plots.between({"one": {"interval": 3, "crown": 2, "broken": 5}, "other": {"lp": 1, "exact": 4, "open": 5}})
    said = plots.alt_text(figure)
    assert "one: 3 proven by intervals, 2 proven by CROWN, 5 an attack breaks it" in said
    assert "other: 1 proven by the LP, 4 proven by exact search only, 5 open" in said
    assert sorted(text.get_text() for text in figure.axes[0].texts) == sorted("325145")
    with pytest.raises(ValueError, match="may hold broken, crown"):
        plots.between({"one": {"luck": 1}})
