"""The smoothing explorer: its circle is what was certified, and its dashed line the true boundary."""

import re

import numpy as np
import pytest
import torch

from coursekit import data, widgets
from coursekit.certify.smoothing import SmoothedClassifier
from coursekit.widgets.smoothing import BASES, islands, smoothed_at, smoothed_map


def radius(explorer):
    found = re.search(r"within ([0-9.]+) of x", explorer.alt)
    return float(found[1]) if found else 0.0


def test_the_circle_is_the_certificate_of_the_library():
    explorer = widgets.smoothing_explorer(point=30, sigma=0.12, n=1000, alpha=0.001, draw=3)
    x = data.load("moons", "test").x[30:31]
    # One image, noise drawn in the same order: the same copies are asked.
    generator = torch.Generator().manual_seed(3)
    smoothed = SmoothedClassifier(BASES["network"], 0.12)
    result = smoothed.certify(x, n0=100, n=1000, alpha=0.001, generator=generator)
    assert radius(explorer) == pytest.approx(result.radius.item(), abs=6e-4)
    circle = next(artist for artist in explorer.figure.axes[0].patches if hasattr(artist, "radius"))
    assert circle.radius == pytest.approx(result.radius.item())


@pytest.mark.parametrize("base", BASES)
def test_the_smoothed_probability_is_what_many_votes_say(base):
    points = data.load("moons", "test").x[:6]
    for sigma in (0.05, 0.4):
        votes = SmoothedClassifier(BASES[base], sigma).counts(points, 4000, torch.Generator().manual_seed(0))
        share = votes[:, 1].numpy() / 4000
        assert np.abs(smoothed_at(base, sigma, points.double().numpy()) - share).max() < 6 * 0.5 / np.sqrt(4000) + 0.01


def test_the_map_and_single_points_agree():
    ticks, one = smoothed_map("with islands", 0.1)
    points = np.array([[ticks[7], ticks[20]], [ticks[50], ticks[33]]])
    np.testing.assert_allclose(smoothed_at("with islands", 0.1, points), [one[20, 7], one[33, 50]], atol=1e-9)
    assert one.min() >= 0
    assert one.max() <= 1


def test_islands_are_small_and_everywhere():
    points = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0))
    assert 0.12 < islands(points).float().mean() < 0.18
    f, g = BASES["network"](points).argmax(1), BASES["with islands"](points).argmax(1)
    assert torch.equal(f != g, islands(points))


def test_the_verdict_in_words():
    explorer = widgets.smoothing_explorer()
    assert explorer.alt.startswith("Certified: upper moon within")
    explorer.set(n=10, alpha=0.001, sigma=0.5)
    assert explorer.alt.startswith("g abstains: no majority is proven")
    explorer.set(base="with islands", n=10_000, sigma=0.2)
    assert "f itself says otherwise at points in it, g at none" in explorer.alt


def test_an_unlucky_draw_is_called_a_false_certificate_and_is_as_rare_as_promised():
    x, smoothed = data.load("moons", "test").x[112:113], SmoothedClassifier(BASES["network"], 0.12)
    radii = torch.tensor([
        smoothed.certify(x, 100, 30, 0.1, torch.Generator().manual_seed(draw)).radius.item() for draw in range(51)
    ])  # fmt: skip
    explorer = widgets.smoothing_explorer(sigma=0.12, point=112, n=30, alpha=0.1, draw=int(radii.argmax()))
    assert explorer.alt.startswith("A false certificate: not upper moon all over the circle")
    assert "an unlucky draw" in explorer.alt
    assert 1 <= (radii == radii.max()).sum() <= 12  # 5 of 51 are to be expected
    explorer.set(draw=int((radii == radii.median()).nonzero()[0]))
    assert explorer.alt.startswith("Certified: upper moon")


def test_every_control_changes_picture_and_words():
    explorer = widgets.smoothing_explorer()
    seen = {(explorer.png, explorer.alt)}
    for change in ({"base": "with islands"}, {"sigma": 0.2}, {"n": 300}, {"alpha": 0.1}, {"point": 7}, {"draw": 5}):
        explorer.set(**change)
        assert all(explorer.png != png and explorer.alt != alt for png, alt in seen)
        seen.add((explorer.png, explorer.alt))


def test_more_votes_certify_more():
    explorer = widgets.smoothing_explorer()
    radii = []
    for n in (50, 500, 5000):
        explorer.set(n=n)
        radii.append(radius(explorer))
    assert radii == sorted(radii)
    assert radii[0] > 0


def test_an_unknown_base_is_named():
    with pytest.raises(ValueError, match="base must be one of network, with islands; got 'lake'"):
        widgets.smoothing_explorer(base="lake")
