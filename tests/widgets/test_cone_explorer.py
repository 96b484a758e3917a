"""The explorer of the cone: its disc is the lead divided by the slope, and its verdict is true."""

import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from coursekit import data, models, plots, widgets
from coursekit.certify import lipschitz


def line(slope=20.0, offset=0.6):
    """A network whose lead is slope * (offset - first coordinate): the boundary is a line, its slope everywhere one."""
    network = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[-slope / 2, 0.0], [slope / 2, 0.0]]))
        network[0].bias.copy_(torch.tensor([slope * offset / 2, -slope * offset / 2]))
    return network


POINTS, LABELS = torch.tensor([[0.5, 0.5], [0.2, 0.4], [0.9, 0.5]]), torch.tensor([0, 0, 0])


def on_the_line(**settings):
    return widgets.cone_explorer(line(), POINTS, LABELS, classes=["left", "right"], **settings)


def number(alt, before):
    return float(re.search(rf"{before} ([\d.]+)", alt)[1].rstrip("."))


@pytest.mark.parametrize(("point", "distance"), [(0, 0.1), (1, 0.4)])
def test_the_disc_is_the_lead_over_the_slope_and_the_distance_is_found(point, distance):
    alt = on_the_line(point=point, slope=30.0).alt
    assert alt.startswith("Proven: 67 % of the true distance")
    assert number(alt, "a lead of") == pytest.approx(20 * distance, rel=0.01)
    assert number(alt, "the circle has the radius") == pytest.approx(20 * distance / 30, rel=0.01)
    assert number(alt, "the boundary is") == pytest.approx(distance, abs=0.003)
    assert number(alt, "proven is") == pytest.approx(20, rel=0.01)


def test_a_slope_too_small_makes_a_false_certificate_and_a_wrong_point_none():
    explorer = on_the_line(slope=10.0)
    assert explorer.alt.startswith("A false certificate: L is too small")
    explorer.set(point=2)
    assert explorer.alt == "Nothing to certify: point 2 is misclassified: its certified radius is 0."


def test_on_the_moons_the_four_verdicts_come_in_order_and_each_is_true():
    explorer, order = widgets.cone_explorer(point=3), []
    low, high = explorer.inputs["slope"].min, explorer.inputs["slope"].max
    model, (x, y, _) = models.load("moons_mlp"), data.load("moons", "test")
    proven = float(lipschitz.pair_constants(model, (2,))[0, 1])
    angle = torch.linspace(0, 2 * math.pi, 721)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    for slope in np.geomspace(low, high, 15):
        explorer.set(slope=float(slope))
        verdict, radius = explorer.alt.partition(":")[0], number(explorer.alt, "has the radius")
        with torch.no_grad():
            kept = all(
                (model(x[3] + share * radius * circle).argmax(1) == y[3]).all() for share in (0.98, 0.7, 0.4, 0.1)
            )
        assert kept == (verdict != "A false certificate")
        assert (verdict == "Proven") == (explorer.values["slope"] >= proven)
        if not order or order[-1] != verdict:
            order.append(verdict)
    expected = ["A false certificate", "True by luck, not by proof", "True as far as anyone has looked", "Proven"]
    assert order == [verdict for verdict in expected if verdict in order]
    assert order[0] == expected[0]
    assert order[-1] == "Proven"


def test_every_control_changes_picture_and_words():
    explorer = on_the_line()
    pictures, words = {explorer.png}, {explorer.alt}
    for change in ({"slope": 15.0}, {"point": 1}, {"slope": 35.0}, {"point": 2}):
        explorer.set(**change)
        assert explorer.png not in pictures
        assert explorer.alt not in words
        pictures.add(explorer.png)
        words.add(explorer.alt)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="model must have two classes; got 3"):
        widgets.cone_explorer(nn.Sequential(nn.Linear(2, 3)), POINTS, LABELS)


def test_the_circles_are_those_that_are_certified():
    figure = widgets.certified_circles({"line": line(), "steeper": line(40.0)}, POINTS, LABELS, classes=["l", "r"])
    alt = plots.alt_text(figure)
    assert "line: 67 % right, median certified radius 0.100. steeper: 67 % right, median certified radius 0.100." in alt
    for axes in figure.axes:
        (edges,) = [part for part in axes.collections if type(part).__name__ == "EllipseCollection"]
        assert sorted(edges._widths * 2) == pytest.approx([0.2, 0.8], rel=1e-3)
    plt.close("all")
