"""The two penalties along a line, and distance and margin against lambda: what they say is so."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from coursekit import plots
from coursekit.losses import cw_margin


def ruler(scale: float = 20.0):
    """One pixel; class 1 from 0.5 on."""
    return lambda x: torch.cat([torch.zeros(len(x), 1), scale * (x - 0.5)], dim=1)


X, Y = torch.tensor([[0.2]]), torch.tensor([0])


def test_the_margin_falls_to_zero_at_the_boundary_and_stays_there():
    figure = plots.penalties_along(ruler(), X, Y, torch.tensor([[0.6]]), reach=2.0)
    values, slopes = figure.axes
    distance, margin = values.lines[0].get_data()
    np.testing.assert_allclose(margin, np.maximum(20 * (0.3 - distance), 0), atol=1e-4)
    _, steepness = slopes.lines[0].get_data()
    np.testing.assert_allclose(steepness[distance < 0.29], 20, rtol=1e-4)
    assert np.isnan(steepness[distance > 0.31]).all()  # zero: not on a log scale
    said = plots.alt_text(figure)
    assert "fooled from distance 0.3 on" in said
    assert "the margin loss goes from 6 to 0" in said


def test_the_log_probability_is_minus_the_cross_entropy_and_falls_on():
    figure = plots.penalties_along(ruler(), X, Y, torch.tensor([[0.6]]), reach=2.0)
    distance, log_p = figure.axes[0].lines[1].get_data()
    logits = ruler()(torch.tensor(0.2 + distance, dtype=torch.float32)[:, None])
    np.testing.assert_allclose(log_p, logits.log_softmax(1)[:, 0], atol=1e-4)
    assert (np.diff(log_p) <= 0).all()


def test_a_line_that_never_fools_says_so():
    assert "never fooled" in plots.alt_text(plots.penalties_along(ruler(), X, Y, torch.tensor([[0.25]]), reach=1.0))


def test_penalties_name_what_they_cannot_take():
    with pytest.raises(ValueError, match="x and towards must be one image each"):
        plots.penalties_along(ruler(), X.repeat(2, 1), Y, X)
    with pytest.raises(ValueError, match="towards must differ from x"):
        plots.penalties_along(ruler(), X, Y, X)


def test_an_image_that_is_misclassified_all_along_has_no_slope_of_the_margin():
    figure = plots.penalties_along(ruler(), X, 1 - Y, torch.tensor([[0.1]]), reach=1.0)
    values, slopes = figure.axes
    assert not np.any(values.lines[0].get_ydata())
    assert np.isnan(slopes.lines[0].get_ydata()).all()
    assert [text.get_text() for text in slopes.texts if text.get_text().startswith("L")] == []
    assert "fooled from distance 0 on" in plots.alt_text(figure)


def test_a_model_in_training_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3)).train()
    statistics = model[1].running_mean.clone()
    plots.penalties_along(model, X, Y, torch.tensor([[0.6]]))
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None for parameter in model.parameters())


LAM = torch.logspace(-2, 2, 9)
FOUND = torch.tensor([math.inf, math.inf, math.inf, math.inf, 0.6, 0.5, 0.7, 0.8, 0.9])
END = torch.linspace(0.01, 1, 9)
MARGIN = cw_margin(torch.stack([torch.linspace(5, -5, 9), torch.zeros(9)], 1), torch.zeros(9, dtype=torch.int64))


def test_the_first_lambda_that_fools_and_the_best_are_marked():
    figure = plots.tradeoff(LAM, END, FOUND, MARGIN)
    said = plots.alt_text(figure)
    assert "the first that fools is 1;" in said
    assert "the closest is found with 3.16, at distance 0.5" in said
    assert "with the largest it is 0.9" in said
    upper = figure.axes[0]
    assert [float(line.get_xdata()[0]) for line in upper.lines if line.get_linestyle() == ":"] == [1.0]
    (star,) = (line for line in upper.lines if line.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((10**0.5, 0.5))


def test_where_no_lambda_fools_it_says_so():
    assert "no lambda fools" in plots.alt_text(plots.tradeoff(LAM, END, torch.full((9,), math.inf), MARGIN + 1))


def test_each_picture_stands_above_its_lambda():
    images = torch.rand(9, 1, 6, 6)
    figure = plots.tradeoff(LAM, END, FOUND, MARGIN, share=torch.linspace(0, 1, 9), images=images, pictures=3)
    figure.draw_without_rendering()
    film, upper, _, share = figure.axes
    assert share.get_xlabel().startswith("λ")
    assert len(film.child_axes) == 3
    for inset in film.child_axes:
        weight = float(re.search(r"[\d.]+", inset.get_title())[0])
        place = int((LAM - weight).abs().argmin())
        np.testing.assert_allclose(inset.images[0].get_array(), images[place, 0])
        box = inset.get_window_extent()
        middle = (box.x0 + box.x1) / 2
        assert middle == pytest.approx(upper.transData.transform((float(LAM[place]), 0.1))[0], abs=3)
    assert "Of a batch 0 % to 100 % are fooled." in plots.alt_text(figure)


def test_tradeoff_names_what_it_cannot_take():
    with pytest.raises(ValueError, match="one number for each weight"):
        plots.tradeoff(LAM, END[:3], FOUND, MARGIN)
