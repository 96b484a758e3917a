"""FGSM and PGD against Foolbox, an independent implementation. (The others have theirs in their own files.)"""

import math

import foolbox
import pytest
import torch
from foolbox.attacks import FGM, FGSM, L2ProjectedGradientDescentAttack, LinfProjectedGradientDescentAttack

from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall


@pytest.fixture
def peer(cnn):
    return foolbox.PyTorchModel(cnn, bounds=(0, 1), device="cpu")


def theirs(attack, peer, x, y, eps):
    return attack(peer, x.clone(), foolbox.criteria.Misclassification(y), epsilons=eps)[1]


def fooled(model, x, y):
    with torch.no_grad():
        return model(x).argmax(1) != y


def test_fgsm_gives_the_same_images(cnn, digits, peer):
    x, y = digits
    expected = theirs(FGSM(random_start=False), peer, x, y, 0.1)
    assert ((fgsm(cnn, x, y, LpBall(0.1, math.inf)) - expected).abs() > 1e-6).float().mean() < 1e-4


def test_in_l2_it_fools_no_fewer(cnn, digits, peer):
    x, y = digits
    expected = theirs(FGM(random_start=False), peer, x, y, 1.0)
    assert fooled(cnn, fgsm(cnn, x, y, LpBall(1.0, 2)), y).sum() >= fooled(cnn, expected, y).sum() - 1


def test_pgd_takes_the_same_steps(cnn, digits, peer):
    """A gradient within rounding of 0 may have another sign: after some steps, in a few of the pixels."""
    x, y = digits
    attack = LinfProjectedGradientDescentAttack(abs_stepsize=0.02, steps=8, random_start=False)
    expected = theirs(attack, peer, x, y, 0.1)
    trace = []
    pgd(
        cnn, x, y, LpBall(0.1, math.inf), steps=8, step_size=0.02, random_start=False, early_stop=False, trace=trace
    )  # fmt: skip
    assert ((trace[-1].x - expected).abs() > 1e-5).float().mean() < 0.01


def test_pgd_in_l2_fools_no_fewer(cnn, digits, peer):
    """Not the same images: they clip to the range after projecting onto the ball."""
    x, y = digits
    attack = L2ProjectedGradientDescentAttack(abs_stepsize=0.25, steps=20, random_start=False)
    expected = theirs(attack, peer, x, y, 1.5)
    ours = pgd(cnn, x, y, LpBall(1.5, 2), steps=20, step_size=0.25, random_start=False)
    assert fooled(cnn, ours, y).sum() >= fooled(cnn, expected, y).sum()
