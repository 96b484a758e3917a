"""Live figures as plain objects: a changed control changes picture and words, and the words are true."""

import io
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image
from plane import ZERO, at, half_plane
from torch import nn

from coursekit import data, models, widgets
from coursekit.attacks import Iterate, pgd
from coursekit.perturbations import LpBall
from coursekit.perturbations.lp_ball import LOOSE

NORMS = (1, 2, math.inf)


def line_explorer(**settings_):
    """One point at (0.5, 0.5), 0.1 away from the boundary x_1 = 0.6."""
    return widgets.ball_explorer(half_plane(), at(0.5, 0.5), ZERO, classes=["left", "right"], **settings_)


# --- the explorer -----------------------------------------------------------------------------------------------


def counting(draws):
    def draw(figure, number, word):
        draws.append((number, word))
        figure.axes[0].plot([0, number])
        figure.text(0.5, 0.5, word)
        return f"a line to {number}, {word}"

    return draw


@pytest.fixture
def explorer():
    draws = []
    made = widgets.Explorer(
        counting(draws),
        {
            "number": widgets.Number("how far", 0.1, 0.0, 1.0, 0.05),
            "word": widgets.Choice("say", "one", {"Eins": "one", "Zwei": "two"}),
        },
        size=(3, 2),
        panels=[(0.1, 0.1, 0.8, 0.8)],
    )
    made.draws = draws
    return made


def test_a_changed_control_changes_picture_and_alt_text(explorer):
    assert explorer.alt == "a line to 0.1, one"
    seen = {explorer.png}
    for change in ({"number": 0.5}, {"word": "two"}, {"number": 0.75}):
        explorer.set(**change)
        assert explorer.png not in seen
        seen.add(explorer.png)
    assert explorer.alt == "a line to 0.75, two"
    assert explorer.values == {"number": 0.75, "word": "two"}


def test_the_same_values_give_the_same_picture(explorer):
    first = explorer.png
    explorer.set(number=0.9)
    explorer.set(number=0.1)
    assert explorer.png == first


def test_box_and_slider_of_a_number_move_together_and_draw_once(explorer):
    row = next(child for child in explorer.children[0].children if hasattr(child, "children"))
    box, slider = row.children
    explorer.draws.clear()
    slider.value = 0.15000000000000002  # what a browser sends for the third step
    assert box.value == 0.15
    box.value = 0.3
    assert slider.value == 0.3
    assert explorer.draws == [(0.15, "one"), (0.3, "one")]


def test_every_control_has_a_label(explorer):
    assert [box.description for box in explorer.inputs.values()] == ["how far", "say"]


def test_a_list_is_as_wide_as_its_options_need():
    box, _ = widgets.Choice("say", 1, {"a rather long option": 1}, width="20em").build()
    assert box.layout.width == "20em"


def test_whole_numbers_stay_whole():
    box, _ = widgets.Number("steps", 3, 1, 9, 1).build()
    box.value = 5
    assert isinstance(box.value, int)


def test_set_names_the_controls_there_are(explorer):
    with pytest.raises(ValueError, match="no control 'eps'; there are number, word"):
        explorer.set(eps=0.1)


def test_the_picture_is_an_img_with_size_and_alt_text(explorer):
    tag = explorer.picture.value
    assert 'width="300" height="200"' in tag
    assert 'alt="a line to 0.1, one"' in tag
    assert Image.open(io.BytesIO(explorer.png)).size == (375, 250)


def test_shown_it_leaves_a_still_picture_beside_the_live_one(explorer):
    explorer.set(number=0.5)
    InteractiveShell.instance()
    with capture_output() as shown:
        explorer._ipython_display_()
    InteractiveShell.clear_instance()
    live, still = (output.data for output in shown.outputs)
    assert "application/vnd.jupyter.widget-view+json" in live
    assert explorer.picture.value in still["text/html"]
    assert still["text/plain"] == "a line to 0.5, one"


def test_without_scenery_nothing_of_an_earlier_picture_stays():
    def draw(figure, n):
        figure.axes[0].set(xlim=(0, n), xticks=[n / 3])
        return str(n)

    made, fresh = (
        widgets.Explorer(draw, {"n": widgets.Number("n", n, 1, 9, 1)}, size=(2, 1), panels=[(0.1, 0.3, 0.8, 0.6)])
        for n in (3, 8)
    )
    made.set(n=8)
    assert made.png == fresh.png


def test_scenery_is_drawn_once_and_stays():
    calls = []

    def scenery(figure):
        calls.append(figure)
        figure.axes[0].axis("off")
        figure.axes[0].fill([0, 1, 1, 0], [0, 0, 1, 1], color="red")
        figure.axes[0].set(xlim=(0, 2), ylim=(0, 1))

    made = widgets.Explorer(
        lambda figure, n: str(n), {"n": widgets.Number("n", 1, 0, 9, 1)}, size=(2, 1), panels=[(0, 0, 1, 1)],
        scenery=scenery,
    )  # fmt: skip
    for n in range(5):
        made.set(n=n)
    pixels = np.asarray(Image.open(io.BytesIO(made.png)))
    assert len(calls) == 1
    assert tuple(pixels[60, 30]) == (255, 0, 0)
    assert tuple(pixels[60, 220]) == (255, 255, 255)


# --- eps-ball explorer: what it says is so ----------------------------------------------------------------------


@given(st.sampled_from(NORMS), st.floats(0.01, 0.5), st.integers(1, 12), st.floats(0.005, 0.3), st.integers(0, 199))
@settings(max_examples=60, deadline=None)
def test_the_path_is_that_of_pgd(p, eps, steps, step_size, point):
    moons, model = data.load("moons", "test"), models.load("moons_mlp")
    x, y, threat = moons.x[point : point + 1], moons.y[point : point + 1], LpBall(eps, p)
    path = widgets.attack_path(model, x, y, threat, steps=steps, step_size=step_size)
    trace: list[Iterate] = []
    pgd(model, x, y, threat, steps=steps, step_size=step_size, random_start=False, early_stop=False, trace=trace)
    np.testing.assert_allclose(path.iterates, torch.cat([step.x for step in trace]), atol=1e-5)
    assert path.iterates.shape == (steps + 1, 2)
    iterates, moved = (torch.from_numpy(part).float() for part in (path.iterates, path.steps))
    assert torch.equal(iterates[:1], x)
    assert threat.contains(iterates, x.expand_as(iterates)).all()
    nearest = threat.project(moved, x.expand_as(moved))
    assert torch.allclose(nearest, iterates[1:], atol=1e-6 + (LOOSE * eps if p == 2 else 0))
    assert path.classes.tolist() == model(iterates).argmax(dim=1).tolist()


@given(
    st.sampled_from(NORMS), st.floats(0, 2 * math.pi), st.floats(0.1, 0.9), st.floats(0.1, 0.9),
    st.floats(0.02, 0.4), st.floats(0.02, 0.4),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_the_search_finds_an_adversarial_example_just_where_there_is_one(p, angle, first, second, distance, eps):
    # A half plane at a known distance: its nearest point in the L_p norm is distance * ||w||_2 / ||w||_q away.
    w = np.array([math.cos(angle), math.sin(angle)])
    x = np.array([first, second])
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    model = half_plane(tuple(w.tolist()), -float(w @ x) - distance)
    found = widgets.adversarial_in_ball(model, at(first, second), ZERO, LpBall(eps, p))
    corners = np.clip(x + eps * widgets.ball_outline(p, 4000), 0, 1)
    reaches = (corners @ w).max() - w @ x
    if reaches > distance + 0.02:
        assert found is not None
        assert np.linalg.norm(found - x, ord=p) <= eps + 1e-6
        assert np.linalg.norm(found - x, ord=p) >= distance / np.linalg.norm(w, ord=q) - 1e-4
        assert ((found >= 0) & (found <= 1)).all()
        assert found @ w - w @ x > distance - 1e-4
    elif reaches < distance - 1e-4:
        assert found is None


def test_the_search_stays_in_the_unit_square():
    model = half_plane(offset=-1.05)  # the other class lies outside
    assert widgets.adversarial_in_ball(model, at(0.9, 0.5), ZERO, LpBall(0.3, math.inf)) is None


@pytest.mark.parametrize("p", NORMS)
def test_the_outline_of_the_ball_has_norm_one_and_all_corners(p):
    outline = widgets.ball_outline(p)
    np.testing.assert_allclose(np.linalg.norm(outline, ord=p, axis=1), 1)
    corners = [(1, 0), (0, 1), (-1, 0)] if p == 1 else [(1, 1), (-1, 1), (-1, -1)] if p == math.inf else []
    for corner in corners:
        assert np.abs(outline - corner).max(axis=1).min() < 1e-12


def test_fooled_says_after_how_many_steps():
    explorer = line_explorer(eps=0.2, steps=10, step_size=0.04)
    assert explorer.alt.startswith("Fooled after 3 of 10 steps: x̃ is taken for right; it lies 0.12 away")


def test_a_ball_that_does_not_reach_the_boundary_says_so():
    assert line_explorer(eps=0.05).alt.startswith("Not fooled: the ball does not reach the boundary")


def test_an_attack_that_stops_too_early_is_told_from_one_that_cannot_succeed():
    explorer = line_explorer(eps=0.2, steps=2, step_size=0.02)
    assert "an adversarial example exists: the attack missed it" in explorer.alt
    assert "2 steps of 0.02 lead at most 0.04 away, the star lies 0.1 away" in explorer.alt
    explorer.set(steps=6)
    assert explorer.alt.startswith("Fooled after 6 of 6 steps")


def test_an_attack_that_jumps_over_the_other_class_missed_it():
    # The other class is a thin strip; one long step lands behind it, and steps back over it.
    def strip(x):
        return torch.stack([torch.zeros(len(x)), 20 * (0.02 - (x[:, 0] - 0.6).abs())], dim=1)

    explorer = widgets.ball_explorer(strip, at(0.5, 0.5), ZERO, eps=0.2, steps=5, step_size=0.2)
    assert "an adversarial example exists: the attack missed it: no iterate lands near the star" in explorer.alt


def test_a_point_that_is_wrong_anyway_needs_no_attack():
    explorer = widgets.ball_explorer(half_plane(), at(0.8, 0.5), ZERO)
    assert explorer.alt.startswith("Nothing to attack: x itself is taken for class 1")


@pytest.mark.parametrize("eps", [0.0, 0.5])
@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 0.5)])
@pytest.mark.parametrize("p", NORMS)
def test_extreme_places_and_radii_are_drawn(p, place, eps):
    explorer = widgets.ball_explorer(half_plane(), at(*place), ZERO, eps=eps, p=p, step_size=0.3)
    assert explorer.png


@pytest.mark.slow
def test_every_verdict_on_the_moons_agrees_with_the_model():
    moons, model = data.load("moons", "test"), models.load("moons_mlp")
    explorer = widgets.ball_explorer()
    heads = set()
    for point in range(0, 200, 19):
        for eps, p in ((0.05, 2), (0.15, math.inf), (0.25, 1)):
            explorer.set(eps=eps, p=p, point=point)
            x, y, threat = moons.x[point : point + 1], moons.y[point : point + 1], LpBall(eps, p)
            path = widgets.attack_path(model, x, y, threat, steps=10, step_size=0.03)
            right, fooled = path.classes[0] == int(y), (path.classes != int(y)).any()
            head = explorer.alt.split(":")[0]
            heads.add(re.sub(r"\d+", "n", head))
            assert (head == "Nothing to attack") == (not right)
            assert head.startswith("Fooled") == bool(right and fooled)
    assert {"Fooled after n of n steps", "Not fooled"} <= heads


def test_a_model_in_training_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3)).train()
    statistics = model[1].running_mean.clone()
    explorer = widgets.ball_explorer(model, *data.load("moons", "test")[:2])
    first = explorer.png
    explorer.set(eps=0.3)
    explorer.set(eps=0.15)
    assert explorer.png == first
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": at(0.5, 0.5)}, "x and y must be given together"),
        ({"x": torch.rand(2, 3), "y": torch.tensor([0, 1])}, r"x must be \(N, 2\) and y \(N,\)"),
    ],
)
def test_ball_explorer_names_what_it_cannot_take(arguments, message):
    with pytest.raises(ValueError, match=message):
        widgets.ball_explorer(half_plane(), **arguments)


# --- step scrubber ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digit():
    digits = data.load("mnist", "test")
    return digits.x[4:5], digits.y[4:5]


def test_the_scrubber_shows_every_step_of_the_attack(digit):
    x, y = digit
    model, threat = models.load("mnist_cnn"), LpBall(0.1, math.inf)
    explorer = widgets.step_scrubber(model, x, y, threat, steps=8)
    trace: list[Iterate] = []
    pgd(model, x, y, threat, steps=8, random_start=False, early_stop=False, trace=trace)
    seen = set()
    for step, iterate in enumerate(trace):
        explorer.set(step=step)
        assert explorer.alt.startswith(f"Step {step} of 8 of PGD on an image of class 4.")
        called = int(iterate.logits.argmax())
        assert f"“{called}”" in explorer.alt
        assert ("(right)" in explorer.alt) == (called == int(y))
        seen.add(explorer.png)
    assert len(seen) == 9
    assert torch.equal(trace[0].x, x)


def test_a_second_model_is_attacked_beside_the_first(digit):
    x, y = digit
    standard = models.load("mnist_cnn")

    def unshaken(images):
        return 100.0 * torch.eye(10)[4].expand(len(images), 10) + 0 * images.sum()

    explorer = widgets.step_scrubber(
        standard, x[0], y[0], LpBall(0.2, math.inf), steps=10, beside=unshaken, names=("shaken", "unshaken")
    )
    explorer.set(step=10)
    assert re.search(r"shaken: “[^4]”, .*\(wrong\)", explorer.alt)
    assert "unshaken: “4”, 100 % (right)" in explorer.alt


def test_the_scrubber_repeats_a_random_start(digit):
    model, threat = models.load("mnist_cnn"), LpBall(0.1, 2)
    first, second = (widgets.step_scrubber(model, *digit, threat, steps=3, random_start=True) for _ in range(2))
    assert first.png == second.png


def test_the_scrubber_takes_colour_and_many_classes():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 50)).eval()
    x = torch.rand(3, 6, 6)
    explorer = widgets.step_scrubber(model, x, torch.tensor(37), LpBall(0.1, math.inf), steps=2)
    assert "class 37" in explorer.alt


def test_the_scrubber_takes_one_image(digit):
    with pytest.raises(ValueError, match="x and y must be one image and its label"):
        widgets.step_scrubber(models.load("mnist_cnn"), torch.rand(2, 1, 28, 28), digit[1], LpBall(0.1, 2))
