"""Two clouds, the promise of a bound, votes: what the figures say is so."""

import numpy as np
import pytest
import torch
from scipy import stats

from coursekit import plots
from coursekit.certify.smoothing import least_probability, lower_bound

EXACT = {"exact": lambda k, n, alpha: lower_bound(k, n, alpha).item()}


def test_four_regions_start_with_the_same_share_and_none_falls_below_the_half_space():
    figure = plots.two_clouds(0.84, 0.5, 0.6, least_probability)
    left, right = figure.axes
    *others, least = [line.get_data() for line in right.lines[:4]]
    np.testing.assert_allclose(least[1], stats.norm.cdf(stats.norm.ppf(0.84) - least[0] / 0.5), atol=1e-9)
    for far, share in others:
        np.testing.assert_array_equal(far, least[0])
        assert share[0] == pytest.approx(0.84, abs=0.01)
        assert (share >= least[1] - 0.005).all()
    said = plots.alt_text(figure)
    assert "A half-line holds 84 % of the cloud of x and 42 % of that of x~" in said
    assert "down to one half at distance 0.5." in said
    assert "majority lost at 0.5 " in right.get_title(loc="left")
    assert {text.get_text() for text in left.texts} >= {"x: 84 %", "x̃: 42 %"}


@pytest.mark.parametrize("p", [0.5, 1.0, 0.2])
def test_without_a_majority_there_is_nothing_to_draw(p):
    with pytest.raises(ValueError, match="p must lie between 1/2 and 1"):
        plots.two_clouds(p, 0.5, 0.6, least_probability)


def test_the_exact_bound_stays_below_its_promise_and_the_estimate_does_not():
    figure = plots.coverage({"share": lambda k, n, alpha: k / n, **EXACT}, n=30, alpha=0.05)
    (axes,) = figure.axes
    share, exact, promised = (line.get_data() for line in axes.lines[:3])
    assert (exact[1] <= 0.05 + 1e-9).all()
    assert share[1].max() > 0.5
    assert promised[1][0] == 0.05
    for p, false in zip(*(part[::60] for part in share), strict=True):
        k = np.arange(31)
        assert false == pytest.approx(max(stats.binom.pmf(k, 30, p)[k / 30 > p].sum(), 0.05 / 100), rel=1e-6)
    assert "promised is 5 %. share: up to > 99 %; exact: up to 5 %" in plots.alt_text(figure)


def test_a_coverage_needs_a_bound():
    with pytest.raises(ValueError, match="bounds must hold at least one"):
        plots.coverage({}, n=30, alpha=0.05)


def test_votes_are_drawn_as_shares_below_each_image():
    counts = torch.tensor([[8, 2, 0], [1, 0, 4]])
    figure = plots.votes(torch.rand(2, 1, 5, 5), counts, ["first", "second"], ["a", "b", "c"], marked=[False, True])
    widths = [[patch.get_width() for patch in axes.patches] for axes in figure.axes[2:]]
    np.testing.assert_allclose(widths, [[0.8, 0.2, 0.0], [0.2, 0.0, 0.8]])
    said = plots.alt_text(figure)
    assert said.startswith(
        "2 images with the votes of their noisy copies: first, 80 % of the votes for a; second, 80 %"
    )


def test_votes_that_do_not_belong_to_the_images_are_refused():
    with pytest.raises(ValueError, match="must be of one length; got 2, 1, 2"):
        plots.votes(torch.rand(2, 1, 5, 5), torch.ones(1, 3), ["first", "second"], ["a", "b", "c"])


def test_certified_accuracy_is_drawn_as_steps_with_ceilings_and_attacks_as_dots():
    radii = torch.linspace(0, 2, 41, dtype=torch.float64)
    lines = {"one": (radii, (radii < 0.5).double()), "two": (radii, 0.8 * (radii < 1.2).double())}
    attack = {"attack": ([0.0, 1.0], [0.9, 0.7], [0.8, 0.6], [1.0, 0.75])}
    figure = plots.certified(lines, ceilings={"one": 0.5}, attacked=attack)
    (axes,) = figure.axes
    one, ceiling, two, dots = axes.lines
    assert one.get_drawstyle() == two.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(ceiling.get_xdata(), [0.5, 0.5])
    np.testing.assert_array_equal(dots.get_xydata(), [[0.0, 0.9], [1.0, 0.7]])
    assert {text.get_text() for text in axes.texts} == {"one", "two", "ceiling, one", "attack"}
    said = plots.alt_text(figure)
    assert "one: 100 % at 0, 0 % at 1, no further than its ceiling at 0.5; two: 80 % at 0" in said
    assert "attack: 90 % at 0, 70 % at 1" in said


def test_certified_accuracy_needs_a_line():
    with pytest.raises(ValueError, match="lines must hold at least one curve"):
        plots.certified({})
