"""Figures about slopes and certificates: what they say is what was put in, and lines carry their names."""

import pytest
import torch

from coursekit import plots


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_matrices_say_their_shape_and_how_empty_they_are():
    figure = plots.matrices({"A": torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]), "B": torch.eye(2)})
    assert "A: 2 rows and 3 columns, 50 % of the entries are 0, the others take 2 different values." in plots.alt_text(
        figure
    )
    assert [axes.get_xlabel() for axes in figure.axes] == ["3 inputs", "2 inputs"]


def test_estimates_lie_in_the_picture_and_carry_their_names():
    figure = plots.estimates({"start": [0.5, 0.9, 0.98]}, 1.0)
    assert "start: from 0.5 to 0.98" in plots.alt_text(figure)
    low, high = figure.axes[0].get_ylim()
    assert low <= 0.5
    assert high > 1.0
    assert {"start", "the norm: 1"} == set(words(figure.axes[0]))


def test_what_is_missing_falls_on_a_log_scale_even_where_nothing_is():
    figure = plots.estimates({"start": [0.5, 0.9, 0.98], "lucky": [1.0, 1.0, 1.0]}, 1.0)
    missing = figure.axes[1]
    assert missing.get_yscale() == "log"
    assert list(missing.lines[0].get_ydata()) == pytest.approx([0.5, 0.1, 0.02])
    assert (missing.lines[1].get_ydata() > 0).all()
    assert {"start", "lucky"} == set(words(missing))
    assert "start: from 0.5 to 0.98, 0.02 below" in plots.alt_text(figure)


def test_the_gap_is_named_where_it_is_widest():
    eps, proven, alive = [0.0, 0.5, 1.0], [0.9, 0.2, 0.0], [0.9, 0.8, 0.3]
    figure = plots.gap({"one": (eps, proven, alive), "two": (eps, alive, alive)})
    assert "one: at 0 90 % are certified, at 0.5 20 % against 80 % that survive, the widest gap." in plots.alt_text(
        figure
    )
    assert "unknown:\nup to\n60 points" in words(figure.axes[0])
    assert not any("unknown" in text for text in words(figure.axes[1]))
    assert {"certified", "survives the attack"} < set(words(figure.axes[0]))
    assert "certified" not in words(figure.axes[1])


def test_steepness_says_how_many_times_the_median_is_proven():
    figure = plots.steepness({"loose": (torch.tensor([1.0, 2.0, 4.0]), 40.0), "tight": (torch.ones(5), 1.5)})
    alt = plots.alt_text(figure)
    assert "loose: median 2, proven 40, 20 times as much." in alt
    assert "tight: median 1, proven 1.5, 1.5 times as much." in alt
    assert figure.axes[0].get_xscale() == "log"
    low, high = figure.axes[0].get_xlim()
    assert low < 1
    assert high > 40


def test_growth_follows_both_curves():
    figure = plots.growth([1, 2, 4], [2.0, 8.0, 100.0], [[1.0, 2.0], [3.0], [2.0, 4.0]])
    assert "grows from 2 at 1 layers to 100 at 4; the steepest slope that was seen goes from 2 to 4" in plots.alt_text(
        figure
    )
    assert set(words(figure.axes[0])) == {"proven for the lead", "steepest seen"}
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_networks_has_a_panel(count):
    lines = {f"network {i}": ([0.0, 1.0], [0.5, 0.1], [0.6, 0.2]) for i in range(count)}
    assert len(plots.gap(lines).axes) == count
