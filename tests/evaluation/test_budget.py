import math

import torch
from torch import nn

from coursekit.attacks import carlini_wagner, fgsm, pgd
from coursekit.evaluation import counting
from coursekit.perturbations import LpBall

LINF = LpBall(0.1, math.inf)


def test_every_image_of_every_pass_is_counted(cnn, digits):
    x, y = (part[:10] for part in digits)
    model = counting(cnn)
    with torch.no_grad():
        assert torch.equal(model(x), cnn(x))
    assert (model.forward_passes, model.gradients) == (10, 0)
    fgsm(model, x, y, LINF)
    assert (model.forward_passes, model.gradients) == (20, 10)
    model.reset()
    pgd(model, x, y, LINF, steps=7, restarts=2, early_stop=False)
    assert model.gradients == 2 * 7 * 10
    assert model.forward_passes == 10 + 2 * (7 + 1) * 10  # at x, and at the last point of each start


def test_early_stopping_is_what_it_saves(cnn, digits):
    x, y = digits
    model = counting(cnn)
    pgd(model, x, y, LpBall(0.5, math.inf), steps=40)
    assert 0 < model.gradients < 0.4 * 40 * 100


def test_any_callable_can_be_counted():
    model = counting(lambda x: torch.cat([x, 1 - x], dim=1))
    pgd(model, torch.tensor([[0.6]]), torch.tensor([0]), LINF, steps=3, random_start=False, early_stop=False)
    assert model.gradients == 3


def test_a_gradient_that_never_arrives_is_none(digits):
    model = counting(lambda x: torch.zeros(len(x), 10))
    pgd(model, *digits, LINF, steps=3)
    assert model.gradients == 0
    assert model.forward_passes > 0


def test_the_model_is_otherwise_the_same(cnn, digits):
    original = nn.Sequential(nn.Dropout(0.5), cnn)
    model = counting(original).train()
    assert original.training
    assert all(ours is theirs for ours, theirs in zip(model.parameters(), cnn.parameters(), strict=True))
    carlini_wagner(model, digits[0][:2], digits[1][:2], steps=2, search_steps=1)
    assert original.training
