"""The explorer of naive and adaptive attackers: what it says is what the attacks do."""

import pytest
import torch

from coursekit import data, models, widgets
from coursekit.attacks import pgd
from coursekit.perturbations import LpBall

CNN = models.load("mnist_cnn")
X, Y = data.load("mnist", "test").x[:80], data.load("mnist", "test").y[:80]
FOOLED = 3  # a digit that plain PGD fools at eps = 0.15 without a defence


def explorer(**controls):
    torch.set_num_threads(1)
    return widgets.defence_explorer(CNN, X, Y, **{"image": FOOLED, **controls})


@pytest.fixture(scope="module")
def shared():
    return explorer()


@pytest.mark.parametrize("defence", ["grey levels", "temperature"])
def test_the_naive_attacker_is_stuck_and_the_adaptive_one_gets_through(shared, defence):
    shared.set(defence=defence, attacker="naive", eps=0.15, steps=20, image=FOOLED)
    assert shared.alt.startswith("Stuck: the gradient is exactly zero")
    assert "the slope that the attacker sees is zero" in shared.alt
    assert "right." in shared.alt
    shared.set(attacker="adaptive")
    assert shared.alt.startswith("Broken by the attacker who knows the defence.")
    assert "the slope that the attacker sees is not zero" in shared.alt
    assert "fooled" in shared.alt


def test_the_noise_lets_the_naive_attacker_stop_at_a_lucky_draw(shared):
    shared.set(defence="noise", attacker="naive", eps=0.15, steps=40, image=18)
    assert shared.alt.startswith("Content with a lucky draw: asked 16 times, the model is right in ")
    shared.set(attacker="adaptive")
    assert shared.alt.startswith("Broken by the attacker who knows the defence.")
    assert "Wrong in 16 of 16 answers" in shared.alt


def test_without_a_defence_both_attackers_fool_it(shared):
    for attacker in ("naive", "adaptive"):
        shared.set(defence="none", attacker=attacker, eps=0.15, steps=20, image=FOOLED)
        assert shared.alt.startswith("Fooled by plain PGD: there is no defence to know of.")


def test_without_room_nothing_happens(shared):
    for defence in ("none", "grey levels", "noise", "temperature"):
        shared.set(defence=defence, attacker="adaptive", eps=0.0, image=FOOLED)
        assert shared.alt.startswith("Not fooled: with eps = 0 nothing may move."), shared.alt


def test_it_is_said_when_the_attacker_stopped_and_only_then(shared):
    shared.set(defence="none", attacker="naive", eps=0.15, steps=20, image=FOOLED)
    assert "It stopped after step" in shared.alt
    shared.set(attacker="adaptive")
    assert "It stopped" not in shared.alt
    shared.set(defence="grey levels", attacker="naive")
    assert "It stopped" not in shared.alt


def test_a_digit_that_is_wrong_anyway_needs_no_attack(shared):
    wrong = int((CNN(X).argmax(1) != Y).nonzero()[0])
    shared.set(defence="none", attacker="naive", eps=0.15, image=wrong)
    assert shared.alt.startswith("Wrong without any attack")


def test_its_verdict_is_that_of_the_attack(shared):
    for image in range(4, 12):
        shared.set(defence="none", attacker="naive", eps=0.1, steps=10, image=image)
        x, y = X[image : image + 1], Y[image : image + 1]
        x_adv = pgd(CNN, x, y, LpBall(0.1, torch.inf), steps=10, random_start=False)
        assert ("fooled." in shared.alt) == bool((CNN(x_adv).argmax(1) != y).item()), image


def test_the_same_controls_give_the_same_picture():
    first, second = (explorer(defence="noise", attacker="adaptive") for _ in range(2))
    assert first.png == second.png
    state = torch.random.get_rng_state()
    first.redraw()
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.png == second.png


def test_every_control_changes_picture_and_words():
    shown = explorer(attacker="adaptive")
    for change in ({"defence": "noise"}, {"attacker": "naive"}, {"eps": 0.3}, {"steps": 5}, {"image": 7}):
        before = shown.png, shown.alt
        shown.set(**change)
        assert shown.png != before[0], change
        assert shown.alt != before[1], change


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"defence": "moat"}, "defence must be one of none, grey levels, noise, temperature; got 'moat'"),
        ({"attacker": "lazy"}, "attacker must be one of naive, adaptive; got 'lazy'"),
        ({"x": X[0], "y": Y[:1]}, r"x and y must be images \(B, C, H, W\) and labels \(B,\)"),
        ({"x": X[:2], "y": Y[:1]}, "x and y must be images"),
    ],
)
def test_wrong_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        widgets.defence_explorer(**{"model": CNN, "x": X, "y": Y, **arguments})
