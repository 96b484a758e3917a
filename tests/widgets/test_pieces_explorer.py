"""The explorer of linear pieces: what it says of a box is true, whatever the controls say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit import widgets
from coursekit.certify import exact
from coursekit.perturbations import LpBall
from coursekit.widgets.pieces import NEURONS, PLACE, WAY, lead, network, pieces, switching

places = st.integers(0, 20).map(lambda k: k / 20)
radii = st.sampled_from([0.01, 0.07, 0.2, 0.33, 0.5])


def grid(x, eps, count=61):
    low, high = (np.clip(np.asarray(x) + side * eps, 0, 1) for side in (-1, 1))
    ticks = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)


@given(places, places, radii)
@settings(max_examples=40, deadline=None)
def test_the_pieces_cover_the_box_and_none_has_a_lower_point_than_it_says(x1, x2, eps):
    parts, points = pieces((x1, x2), eps), grid((x1, x2), eps)
    assert min(part.least for part in parts) <= lead(points).min() + 1e-9
    corner = min(parts, key=lambda part: part.least)
    assert lead(corner.corners).min() == pytest.approx(corner.least)
    area = sum(_area(part.corners) for part in parts)
    assert area == pytest.approx(np.prod(np.ptp(points, axis=0)), abs=1e-9)


@given(places, places, radii)
@settings(max_examples=25, deadline=None)
def test_no_neuron_switches_within_a_piece(x1, x2, eps):
    for part in pieces((x1, x2), eps):
        middle = part.corners.mean(axis=0)
        for share in (0.3, 0.9):
            inner = middle + share * (part.corners - middle)
            signs = inner @ WAY.T - PLACE
            assert (np.abs(np.sign(signs).sum(axis=0)) == len(inner))[np.abs(signs).min(axis=0) > 1e-9].all()


@given(places, places, radii)
@settings(max_examples=15, deadline=None)
def test_the_verdict_is_that_of_exact_verification(x1, x2, eps):
    truth = min(part.least for part in pieces((x1, x2), eps))
    x, y = torch.tensor([[x1, x2]], dtype=torch.float64), torch.tensor([0])
    status = exact.verify(network(), x, y, LpBall(eps, torch.inf)).status[0]
    if abs(truth) > 1e-4:
        assert status == ("robust" if truth > 0 else "counterexample")


def _area(corners):
    x, y = corners.T
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def test_who_can_switch_is_who_cuts_the_box():
    assert switching((0.5, 0.5), 0.5) == NEURONS
    assert len(pieces((0.5, 0.5), 0.01)) <= 2 ** switching((0.5, 0.5), 0.01)
    assert switching((0.5, 0.5), 0.0) == 0


@pytest.mark.parametrize(
    ("controls", "verdict"),
    [
        ({}, "Counterexample, and PGD misses it"),
        ({"eps": 0.1}, "Robust, proven"),
        ({"eps": 0.2, "x1": 0.3, "x2": 0.4}, "Counterexample, and PGD finds one"),
        ({"eps": 0.05, "x1": 0.0, "x2": 0.9}, "Nothing to certify"),
    ],
)
def test_the_verdict_in_words(controls, verdict):
    explorer = widgets.pieces_explorer(**controls)
    assert explorer.alt.startswith(verdict)
    assert len(explorer.png) > 1000


def test_a_control_changes_picture_and_words():
    explorer = widgets.pieces_explorer()
    before, alt = explorer.png, explorer.alt
    explorer.set(eps=0.1)
    assert explorer.png != before
    assert explorer.alt != alt
    explorer.set(eps=0.25)
    assert explorer.alt == alt
