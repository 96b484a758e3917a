"""What a gradient claims, the larger of several losses, a training that collapses: what the figures say is so."""

import re

import numpy as np
import pytest
import torch

from coursekit import plots


def test_each_gradient_is_drawn_against_what_was_measured():
    measured, wrong = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.1, 0.2, 0.3])
    figure = plots.agreement(measured, {"right": measured, "wrong": wrong}, measured_as="truth", claimed_as="claim")
    for axes, claim in zip(figure.axes, (measured, wrong), strict=True):
        drawn = axes.lines[1].get_data()
        np.testing.assert_allclose(drawn, (claim, measured))
        assert axes.get_xlim() == axes.get_ylim()
    said = plots.alt_text(figure)
    assert "3 derivatives, truth against claim" in said
    assert "Gradient right: largest gap 0.0e+00. Gradient wrong: largest gap 4.0e-01." in said


def test_derivatives_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="one number for each weight"):
        plots.agreement(torch.ones(3), {"other": torch.ones(4)})


def test_the_envelope_is_the_largest_and_its_kink_has_two_slopes():
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)
    pieces = {"falling": 1 - 2 * x, "rising": 1 + 0.5 * x}
    figure = plots.upper_envelope(x, pieces, name="largest", xlabel="x")
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), torch.maximum(*pieces.values()), rtol=1e-6)
    (kink,) = (line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(kink.get_data(), [[0], [1]], atol=1e-6)
    assert "kink at 0, with slope -2.000 on its left and +0.500 on its right" in plots.alt_text(figure)


def test_of_several_kinks_the_lowest_is_told():
    x = torch.linspace(-2, 2, 401, dtype=torch.float64)
    figure = plots.upper_envelope(x, {"a": -x, "b": 0.2 * x, "c": 3 * x - 3}, name="largest", xlabel="x")
    assert "kink at 0," in plots.alt_text(figure)


def test_an_envelope_without_a_kink_says_so():
    x = torch.linspace(0, 1, 11)
    figure = plots.upper_envelope(x, {"above": 2 + x, "below": x}, name="largest", xlabel="x")
    assert "it never changes piece" in plots.alt_text(figure)
    with pytest.raises(ValueError, match="at least two functions"):
        plots.upper_envelope(x, {"alone": x}, name="largest", xlabel="x")


def test_a_collapse_shows_both_accuracies_of_each_training():
    histories = {"one": ([0.5, 0.8, 0.9], [0.3, 0.5, 0.05]), "two": ([0.4, 0.5, 0.6], [0.3, 0.4, 0.5])}
    figure = plots.collapse(histories)
    for axes, (one_step, many_steps) in zip(figure.axes, histories.values(), strict=True):
        np.testing.assert_allclose([line.get_ydata() for line in axes.lines], [one_step, many_steps])
        assert {text.get_text() for text in axes.texts} == {"one step (FGSM)", "many steps (PGD)"}
    said = plots.alt_text(figure)
    assert re.search(r"one: under one step 50 % to 90 %, under many steps 30 % to 5 %, best 50 % after epoch 2\.", said)


def test_a_history_needs_two_numbers_for_each_epoch():
    with pytest.raises(ValueError, match="two accuracies for each epoch; got 2, 1"):
        plots.collapse({"one": ([0.5, 0.8], [0.3])})
