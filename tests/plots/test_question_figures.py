"""Questions asked by a bisection, and the lead along FGSM's step: what they say is so."""

import numpy as np
import pytest
import torch

from coursekit import plots


def test_the_staircase_is_the_number_of_halvings():
    figure = plots.questions_asked([0.5, 1.0, 3.0, 1000.0], [1, 2, 3, 12], ["a", "a", "b", "b"])
    (axes,) = figure.axes
    ratio, halvings = axes.lines[0].get_data()
    for r, k in zip(ratio[::50], halvings[::50], strict=True):
        assert r / 2**k < 1
        assert k == 0 or r / 2 ** (k - 1) >= 1
    assert "1 to 2 above the number of halvings, from 1 to 12 questions" in plots.alt_text(figure)


def test_numbers_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="got 2, 1, 2"):
        plots.questions_asked([1.0, 2.0], [1], ["a", "b"])


def bump(x):
    """One pixel; class 1 between 0.55 and 0.75, and a slope that leads there from the left."""
    u = x.flatten(1)[:, :1]
    return torch.cat([torch.zeros_like(u), 10 * (0.1 - (u - 0.65).abs()) + 0.01 * u], dim=1)


def test_a_crossing_on_the_way_is_counted():
    x, y = torch.tensor([[0.4], [0.5]]), torch.tensor([0, 0])
    figure = plots.along_the_step(bump, {0.1: (x[:1], y[:1]), 0.5: (x, y)})
    near, far = figure.axes
    assert near.get_title(loc="left") == "ε = 0.1: 1 missed, 0 crossed on the way"
    assert far.get_title(loc="left") == "ε = 0.5: 2 missed, 2 crossed on the way"
    share, lead = far.lines[0].get_data()
    logits = bump(x[:1] + torch.tensor(share)[:, None] * 0.5)
    np.testing.assert_allclose(lead, logits[:, 0] - logits[:, 1], atol=1e-5)
    assert "2 images that FGSM leaves right; 2 of them are misclassified on the way" in plots.alt_text(figure)


def test_of_the_lines_that_do_not_cross_a_few_are_drawn():
    x, y = torch.linspace(0.1, 0.3, 30)[:, None], torch.zeros(30, dtype=torch.int64)
    figure = plots.along_the_step(bump, {0.1: (x, y)}, most=7)
    assert len(figure.axes[0].lines) == 7 + 1  # and the line at 0
    assert figure.axes[0].get_title(loc="left") == "ε = 0.1: 30 missed, 0 crossed on the way"
    assert "7 of the others are drawn" in plots.alt_text(figure)


HAT = [[[1.0]] * 4, [-0.25, -0.5, -0.75, 2.0]], [[[0.0] * 4, [8.0, -16.0, 8.0, -0.25]], [0.0, -0.5]]


def test_a_network_is_drawn_through_its_ball_in_the_direction_of_the_step():
    figure = plots.step_of_network(HAT, [0.0], 0, 1.0)
    share, lead = figure.axes[0].lines[1].get_data()
    assert lead[share == 0] == pytest.approx(1.0)
    assert lead[share == 1] == pytest.approx(0.75)  # to the left, away from the hat
    assert lead[share == -0.5] == pytest.approx(-0.875)
    assert "FGSM lands where the lead is 0.75" in plots.alt_text(figure)


def test_a_network_without_a_slope_stands_still_and_tensors_and_two_inputs_are_read():
    flat = (torch.zeros(1, 2), torch.ones(1)), (torch.ones(2, 1), torch.tensor([0.5, 0.0]))
    assert "FGSM stands still" in plots.alt_text(plots.step_of_network(flat, torch.zeros(2), 1, 0.5))


def test_the_corner_of_the_mixture_need_not_be_the_best():
    weight = torch.tensor([[0.0, 0.0], [1.0, -0.3], [-0.8, 1.0]])
    figure = plots.rivals(weight, torch.tensor([1.0, 0.0, 0.0]), 0.7, ["y", "rival 1", "rival 2"])
    said = plots.alt_text(figure)
    assert "where the lead of y is 0.51" in said
    assert "at the corner for rival 1 it is 0.09, at that for rival 2 -0.26" in said
    assert [text.get_text() for text in figure.axes[0].texts].count("f says\nrival 1") == 1
