import math

import foolbox
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit.attacks import ddn


def distance(x_adv, x):
    return (x_adv - x).flatten(1).norm(dim=1)


def fooled(model, x, y):
    with torch.no_grad():
        return model(x).argmax(1) != y


@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_on_a_linear_model_it_finds_the_distance_to_the_boundary(seed):
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(12, generator=generator, dtype=torch.float64)
    x = torch.randn(6, 12, generator=generator, dtype=torch.float64)

    def model(x):
        return torch.stack([x @ w, -x @ w], dim=1)

    y, exact = model(x).argmax(1), (x @ w).abs() / w.norm()
    x_adv = ddn(model, x, y, steps=120, bounds=(-math.inf, math.inf))
    assert fooled(model, x_adv, y).all()
    assert (distance(x_adv, x) >= exact * (1 - 1e-9)).all()
    assert distance(x_adv, x).median() <= exact.median() * 1.06  # the radius moves in steps of 5 %


def test_it_takes_as_many_gradients_as_it_has_steps(cnn, digits):
    calls = []

    def counting(x):
        calls.append(x.requires_grad)
        return cnn(x)

    ddn(counting, digits[0][:3], digits[1][:3], steps=7)
    assert calls == [True] * 7 + [False]


def test_more_steps_come_closer(cnn, digits):
    x, y = digits[0][:20], digits[1][:20]
    few, many = (distance(ddn(cnn, x, y, steps=steps), x).mean() for steps in (20, 60))
    assert many < few


def test_it_comes_as_close_as_a_peer_with_the_same_gradients(cnn, digits):
    x, y = digits[0][:30], digits[1][:30]
    attack = foolbox.attacks.DDNAttack(steps=40)
    _, theirs, _ = attack(foolbox.PyTorchModel(cnn, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    ours = ddn(cnn, x, y, steps=40)
    assert fooled(cnn, ours, y).sum() >= fooled(cnn, theirs, y).sum()
    assert distance(ours, x).median() <= distance(theirs, x).median() * 1.01
