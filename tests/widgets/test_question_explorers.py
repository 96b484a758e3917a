"""The explorers of the two questions: their verdicts are true, whatever the controls say."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit import widgets
from coursekit.widgets.halving import KINDS, path
from coursekit.widgets.one_step import bump, loss, one_step

# ------------------------------------------------------------------ one step


@given(
    st.integers(-12, 12), st.integers(0, 40), st.integers(-32, 32), st.integers(1, 20), st.integers(1, 36),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_best_point_is_the_best_and_the_step_follows_the_slope(slope, height, place, width, eps):
    slope, height, place, width, eps = 0.05 * slope, 0.1 * height, 0.05 * place, 0.05 * width, 0.05 * eps
    step = one_step(bump(slope, height, place, width), eps)

    def lead(u):
        return -1 + slope * u + height * np.clip(1 - np.abs(u - place) / width, 0, None)

    u = np.linspace(-eps, eps, 4001)
    assert lead(u).max() <= step.best_lead + 1e-9
    assert lead(np.array(step.best)) == pytest.approx(step.best_lead, abs=1e-9)
    assert lead(np.array(step.landing)) == pytest.approx(step.lead, abs=1e-9)
    if step.slope:
        rise = lead(np.array(1e-6)) - lead(np.array(-1e-6))
        assert np.sign(step.landing) == np.sign(rise)
        assert abs(step.landing) == pytest.approx(eps)
    else:
        assert step.landing == 0


@pytest.mark.parametrize(
    ("controls", "verdict"),
    [
        ({}, "FGSM fails: it walks the wrong way"),
        ({"slope": 0.3, "place": 0.5, "width": 0.2}, "FGSM fails: it steps too far"),
        ({"slope": 0.0}, "FGSM stands still: the gradient is zero"),
        ({"slope": 0.3, "place": 1.0}, "FGSM finds an adversarial example"),
        ({"height": 0.0}, "Nothing to find, and FGSM finds nothing"),
        ({"height": 0.0, "slope": 0.6, "eps": 1.8}, "FGSM finds an adversarial example"),
        ({"place": 0.0, "width": 0.5}, "Nothing to attack"),
        ({"place": 0.3, "width": 0.3}, "x lies on a kink"),
    ],
)
def test_the_verdict_in_words(controls, verdict):
    assert widgets.one_step_explorer(**controls).alt.startswith(verdict)


def test_the_way_that_is_wrong_is_said():
    assert "at x the loss rises to the left, away from the star" in widgets.one_step_explorer(slope=-0.5).alt
    assert "at x the loss rises to the right, away" in widgets.one_step_explorer(slope=0.5, place=-0.7).alt


def test_where_x_is_misclassified_there_is_nothing_to_attack():
    for controls in ({"slope": 0.5, "place": 0.05, "width": 0.3, "eps": 1.0},
                     {"slope": -0.5, "place": -0.2, "width": 0.5, "eps": 0.05}):  # fmt: skip
        assert widgets.one_step_explorer(**controls).alt.startswith("Nothing to attack")


def test_a_straight_line_never_fails():
    explorer = widgets.one_step_explorer(height=0.0)
    for slope in (-0.6, -0.3, 0.25, 0.6):
        for eps in (0.1, 1.0, 1.8):
            explorer.set(slope=slope, eps=eps)
            assert "FGSM fails" not in explorer.alt
            assert ("finds an adversarial" in explorer.alt.split(":")[0]) == (abs(slope) * eps > 1)


def test_loss_is_that_of_two_logits():
    assert loss(np.array(0.0)) == pytest.approx(np.log(2))
    logits = torch.tensor([[0.0, 1.7]])
    assert loss(np.array(1.7)) == pytest.approx(
        torch.nn.functional.cross_entropy(logits, torch.tensor([0])).item(), rel=1e-5
    )


# ------------------------------------------------------------------ halving


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_have_different_labels_after_every_halving(kind):
    label, pairs = path(kind)
    labels = KINDS[kind]
    for k, (first, second) in enumerate(pairs):
        both = labels(torch.from_numpy(np.stack([first, second])).double())
        assert both.tolist() == [label, 1 - label]
        start = np.abs(np.subtract(*pairs[0])).max()
        assert np.abs(first - second).max() == pytest.approx(start / 2**k, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [1, 2, float("inf")])
def test_the_verdict_turns_when_the_pair_fits_into_the_ball(kind, p):
    explorer = widgets.halving_explorer(kind=kind, eps=0.02, p=p)
    needed = int(re.search(r"it takes (\d+) halving", explorer.alt)[1])
    explorer.set(halvings=needed - 1)
    assert "still too far apart" in explorer.alt
    explorer.set(halvings=needed)
    assert explorer.alt.startswith("Found: neither of the two points is robust")
    first, second = path(kind)[1][needed]
    assert np.linalg.norm(first - second, ord=p) < 0.02


@pytest.mark.parametrize(("explorer", "changes"), [
    (widgets.one_step_explorer,
     [{"slope": 0.2}, {"height": 1.5}, {"place": -0.4}, {"width": 0.6}, {"eps": 0.3}]),
    (widgets.halving_explorer, [{"halvings": 6}, {"eps": 0.1}, {"p": 1}, {"kind": "network"}, {"kind": "half-plane"}]),
])  # fmt: skip
def test_every_control_changes_picture_and_words(explorer, changes):
    explorer = explorer()
    seen = {(explorer.png, explorer.alt)}
    for change in changes:
        explorer.set(**change)
        assert all(explorer.png != png and explorer.alt != alt for png, alt in seen)
        seen.add((explorer.png, explorer.alt))


def test_extremes_are_drawn():
    explorer = widgets.halving_explorer()
    explorer.set(halvings=14, eps=1e-4)
    assert explorer.alt.startswith("Found")
    explorer.set(halvings=0, eps=0.5, p=1)
    assert "still too far apart" in explorer.alt


def test_an_unknown_classifier_is_named():
    with pytest.raises(ValueError, match="kind must be one of half-plane, network, checkerboard, wild; got 'tame'"):
        widgets.halving_explorer(kind="tame")
