"""The explorer of the three norm balls: its steps and projections are those of the definitions, its words are true."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit import widgets
from coursekit.widgets.norms import best_face, step_and_gain

NORMS = (1, 2, math.inf)
DUAL = {1: math.inf, 2: 2, math.inf: 1}
SURFACE = {p: widgets.ball_outline(p, 2000) for p in NORMS}


def said_of(alt: str, norm: str) -> str:
    """What the alt text says about one norm."""
    return re.search(rf"{norm}: (.*?)\.(?= L|$)", alt)[1]


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 1.4), st.sampled_from(NORMS))
@settings(max_examples=150, deadline=None)
def test_no_point_of_the_ball_gains_more_than_the_step(across, up, eps, p):
    g = torch.tensor([across, up], dtype=torch.float64)
    step, gain = step_and_gain(g, eps, p)
    assert np.linalg.norm(step, ord=p) <= eps * (1 + 1e-9)
    assert gain == pytest.approx(eps * np.linalg.norm(g, ord=DUAL[p]), abs=1e-9)
    assert gain == pytest.approx(float(g.numpy() @ step), abs=1e-9)
    assert (eps * SURFACE[p] @ g.numpy()).max() <= gain + 1e-9


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("angle", range(-180, 181, 15))
def test_an_edge_is_shown_just_where_all_of_it_gains_the_same(p, angle):
    turn = math.radians(angle)
    g = torch.tensor([round(math.cos(turn), 9), round(math.sin(turn), 9)], dtype=torch.float64)
    face, (_, gain) = best_face(g, 0.5, p), step_and_gain(g, 0.5, p)
    gains = 0.5 * SURFACE[p] @ g.numpy()
    many = (gains > gain - 1e-6).sum() > 100  # of 2000 points of the outline
    assert len(face) == 1 + many
    for share in np.linspace(0, 1, 5):
        place = share * face[0] + (1 - share) * face[-1]
        assert place @ g.numpy() == pytest.approx(gain)
        assert np.linalg.norm(place, ord=p) == pytest.approx(0.5)


def test_every_control_changes_picture_and_words():
    explorer = widgets.norm_explorer()
    pictures, words = {explorer.png}, {explorer.alt}
    for change in ({"angle": 70}, {"length": 0.9}, {"eps": 0.5}, {"mode": "projection"}, {"angle": -120}, {"eps": 1.0}):
        explorer.set(**change)
        assert explorer.png not in pictures
        assert explorer.alt not in words
        pictures.add(explorer.png)
        words.add(explorer.alt)


def test_the_gains_in_words_are_the_dual_norms():
    alt = widgets.norm_explorer(angle=30, length=1.0, eps=0.5).alt
    gains = {norm: float(said_of(alt, norm).rpartition("= ")[2]) for norm in ("L1", "L2", "L-infinity")}
    assert gains == pytest.approx({"L1": 0.43, "L2": 0.5, "L-infinity": 0.68})
    assert alt.startswith("Same ε: L∞ gains 1.37 times as much as L₂, and L₂ 1.15 times as much as L₁.")


def test_ties_are_named():
    explorer = widgets.norm_explorer(angle=45)
    assert "a tie" in said_of(explorer.alt, "L1")
    assert "a tie" not in said_of(explorer.alt, "L-infinity")
    explorer.set(angle=90)
    assert "a tie" in said_of(explorer.alt, "L-infinity")
    assert explorer.alt.startswith("Along an axis all three gain the same")


def test_a_gradient_of_zero_has_no_direction():
    explorer = widgets.norm_explorer(length=0.0)
    assert explorer.alt.startswith("No gradient, no direction")


@pytest.mark.parametrize(
    ("angle", "length", "head", "said"),
    [
        (0, 1.5, "x̃ lies outside of all three",
         {"L1": "shortened", "L2": "straight towards x", "L-infinity": "only the coordinate too long"}),
        (10, 1.6, "x̃ lies outside of all three", {"L1": "until one of them is 0"}),
        (45, 1.6, "x̃ lies outside of all three", {"L1": "by the same amount", "L-infinity": "both coordinates"}),
        (40, 0.9, "x̃ lies in the ball of L∞", {"L-infinity": "it stays", "L2": "straight towards x"}),
        (45, 0.7, "x̃ lies in the ball of L₂ and L∞", {"L1": "by the same amount", "L2": "it stays"}),
        (45, 0.2, "x̃ lies in all three balls", {"L1": "it stays", "L2": "it stays", "L-infinity": "it stays"}),
    ],
)  # fmt: skip
def test_projection_says_what_each_ball_does(angle, length, head, said):
    alt = widgets.norm_explorer(mode="projection", angle=angle, length=length, eps=0.8).alt
    assert alt.startswith(head)
    for norm, words in said.items():
        assert words in said_of(alt, norm)


@given(st.integers(-180, 180), st.floats(0, 1.6), st.floats(0.1, 1.4))
@settings(max_examples=25, deadline=None)
def test_no_point_of_the_ball_is_nearer_than_the_projection(angle, length, eps):
    alt = widgets.norm_explorer(mode="projection", angle=angle, length=length, eps=eps).alt
    point = length * np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    for name, p in (("L1", 1), ("L2", 2), ("L-infinity", math.inf)):
        moved = float(said_of(alt, name).rpartition("moved ")[2])
        if np.linalg.norm(point, ord=p) <= eps:
            assert moved == 0
        else:
            assert moved == pytest.approx(np.linalg.norm(eps * SURFACE[p] - point, axis=1).min(), abs=0.006)


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="mode must be 'steepest step' or 'projection'; got 'both'"):
        widgets.norm_explorer(mode="both")
