import math
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from coursekit import models
from coursekit.attacks import strongest
from coursekit.evaluation import AttackReport, attack_report
from coursekit.perturbations import LpBall, Masked, Rotation

LINF = LpBall(0.1, math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def report(model, digits, threat=LINF, attack=None, count=30, **settings):
    x, y = (part[:count] for part in digits)
    return attack_report(model, x, y, threat, attack, **{"steps": 20, "restarts": 2, "generator": seeded()} | settings)


class Hidden(nn.Module):
    """The standard classifier behind something that hides its gradients: local to these tests, written for them."""

    def __init__(self, how):
        super().__init__()
        self.how, self.cnn = how, models.load("mnist_cnn")

    def forward(self, x):
        return {
            "saturated": lambda: 100 * self.cnn(x),
            "quantised": lambda: self.cnn((4 * x).round() / 4),
            "random": lambda: self.cnn(x + 0.3 * torch.randn_like(x)),
            "detached": lambda: self.cnn(x.detach()),
            "half detached": lambda: self.cnn(0.8 * x.detach() + 0.2 * x),
            "rippled": lambda: self.cnn(x + 0.02 * torch.sin(500 * x)),
        }[self.how]()


# -- both ways: no false alarm, and no false peace


@pytest.mark.parametrize(
    ("model", "threat"),
    [
        (("mnist_cnn", "standard"), LINF),
        (("mnist_cnn", "pgd", 0.1), LINF),
        (("mnist_cnn", "pgd", 0.1), LpBall(1.5, 2)),
        (("mnist_cnn", "standard"), LpBall(10.0, 1)),
        (("mnist_linear",), LpBall(0.03, math.inf)),
    ],
)
@pytest.mark.slow
def test_an_honest_model_raises_no_doubt(model, threat, digits):
    result = report(models.load(*model), digits, threat, steps=30)
    assert result.doubts == [], result
    assert 0 < result.robust < 1
    assert str(result).endswith("No doubts.")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            "saturated",
            ["the softmax is saturated", "never rose", "random search", "PGD with the margin loss", "at will"],
        ),
        ("quantised", ["is zero .* whatever the loss: something .* shatters", "by random search"]),
        ("random", ["it is random. Attack the mean loss"]),
        ("detached", ["is zero for .* whatever the loss", "random search", "at will"]),
        ("half detached", ["a small step changes the loss by less than half or more than twice"]),
        ("rippled", ["a small step changes the loss by less than half"]),
    ],
)
def test_hidden_gradients_raise_doubts(how, says, digits):
    doubts = "\n".join(report(Hidden(how), digits, LpBall(0.15, math.inf), steps=10).doubts)
    for words in says:
        assert re.search(words, doubts), doubts


@pytest.mark.slow
def test_the_ensemble_survives_what_blinds_cross_entropy(digits):
    attack = partial(strongest, steps=10, restarts=1)
    blinded, plain = (
        report(model, digits, LINF, attack, steps=10) for model in (Hidden("saturated"), models.load("mnist_cnn"))
    )
    assert blinded.doubts == plain.doubts == []
    assert abs(blinded.fooled["the attack"].sum() - plain.fooled["the attack"].sum()) <= 1


def test_an_attack_that_does_nothing_is_found_out(cnn, digits):
    attack, surrogate = (lambda model, x, y, threat: x), models.load("mnist_cnn", "pgd", 0.1)
    result = report(cnn, digits, LpBall(0.2, math.inf), attack, surrogate=surrogate, count=20)
    doubts = "\n".join(result.doubts)
    for name in ("random search", "transfer", "one step", "PGD", "PGD with the margin loss"):
        assert f"that the attack misses are fooled by {name}" in doubts
    assert "images standing even if it may change every pixel at will" in doubts


def test_too_few_steps_are_noticed(cnn, digits):
    result = report(cnn, digits, count=10, steps=10)
    late = replace(result, fooled_in=torch.full((10,), 10))
    assert any("were first fooled in the last tenth of PGD's 10 steps" in doubt for doubt in late.doubts)
    assert not any("last tenth" in doubt for doubt in result.doubts)


def test_too_few_restarts_are_noticed():
    """A landscape of narrow valleys, where the start decides."""

    def valleys(x):
        return torch.cat([0 * x[:, :1] + 0.9, (25 * x).cos().mean(1, keepdim=True)], dim=1)

    x = torch.full((60, 3), 0.44)
    result = attack_report(
        valleys, x, torch.zeros(60, dtype=torch.int64), LpBall(0.5, math.inf), steps=5, restarts=2, generator=seeded()
    )
    assert result.gained[-1] > 2
    assert any("start" in doubt and "restarts" in doubt for doubt in result.doubts)


def test_the_gap_between_the_losses_is_noticed():
    """A linear classifier of ten classes, where the margin climbs straight on and cross-entropy wavers."""
    weight, x = torch.randn(10, 30, generator=seeded()), torch.rand(300, 30, generator=seeded(1))

    def model(x):
        return x @ weight.T

    result = attack_report(model, x, model(x).argmax(1), LpBall(0.08, math.inf), steps=20, generator=seeded())
    gap = (result.fooled["PGD with the margin loss"] & ~result.fooled["PGD"]).sum()
    assert gap >= 6
    assert f"{gap} images that PGD misses are fooled by PGD with the margin loss" in "".join(result.doubts)


# -- what is in it


def test_the_numbers_fit_together(digits):
    robust = models.load("mnist_cnn", "pgd", 0.1)
    x, y = (part[:30] for part in digits)
    result = report(robust, digits, LpBall(0.15, math.inf))
    assert isinstance(result, AttackReport)
    assert torch.equal(result.right, robust(x).argmax(1) == y)
    for name, fooled in result.fooled.items():
        assert fooled.shape == (30,)
        assert (fooled <= result.right).all()
        assert f"fooled by {name}" in str(result)
    assert sum(result.gained) == result.fooled["PGD"].sum()
    assert torch.equal(result.right & (result.fooled_in >= 0), result.fooled["PGD"])
    assert ((result.lead <= 0) >= result.fooled["PGD"]).all()
    assert (result.survived <= ~result.fooled["PGD"]).all()
    assert result.robust == result.survived.float().mean()
    low, high = result.interval
    assert low < result.robust < high


@pytest.mark.slow
def test_every_image_is_explained(digits):
    x, y = (part[:30].clone() for part in digits)
    cnn = models.load("mnist_cnn")
    y[0] = (y[0] + 1) % 10
    result = report(cnn, (x, y))
    assert result.explain(0) == "misclassified without any attack"
    for i in range(1, 30):
        said = result.explain(i)
        if result.fooled["PGD"][i]:
            assert re.fullmatch(r"fooled by PGD, start [12], after \d+ steps", said)
        elif result.right[i]:
            assert "the label leads by" in said
    hidden = report(Hidden("saturated"), digits)
    missed = (hidden.right & ~hidden.survived & ~hidden.fooled["PGD"]).nonzero()[0].item()
    assert re.match("not robust: fooled by .*PGD with the margin loss, but not by PGD", hidden.explain(missed))
    assert "the gradient is zero in 100% of PGD's steps; the loss never rose" in hidden.explain(missed)


def test_it_is_a_table_in_a_notebook(cnn, digits):
    result = report(cnn, digits, count=5, steps=2)
    shown = result._repr_html_()
    assert shown.count("<tr>") == len(result.rows()) + 1
    assert "L-inf ball of radius 0.1" in shown


@pytest.mark.slow
def test_sets_without_a_larger_one(cnn, digits):
    """A rotation has no eps; in a mask the attacker need not win, however large the ball."""
    masked = Masked(LpBall(0.3, math.inf), torch.arange(784).view(1, 28, 28) < 28)
    within = {"noise of the same size", "random search", "one step (FGSM)", "PGD", "PGD with the margin loss"}
    assert set(report(cnn, digits, masked, count=5, steps=2).fooled) == within | {"the same within twice the eps"}
    assert set(report(cnn, digits, Rotation(20.0, 1.0), count=5, steps=2).fooled) == within
    one_each = report(cnn, digits, LpBall(torch.linspace(0, 0.2, 5), math.inf), count=5, steps=2)
    assert "radius one per image" in str(one_each)


def test_what_leaves_the_set_does_not_count(cnn, digits):
    assert not report(cnn, digits, attack=lambda model, x, y, threat: 1 - x, count=5).fooled["the attack"].any()


@pytest.mark.parametrize("labels", [lambda y: y, lambda y: (y + 1) % 10], ids=["right", "wrong"])
def test_everything_is_left_as_it_was(labels, digits):
    model = models.load("mnist_cnn").train()
    x, y = digits[0][:5], labels(digits[1][:5])
    state = torch.random.get_rng_state()
    with torch.no_grad():
        result = attack_report(model, x, y, LINF, steps=2, generator=seeded())
        assert not torch.is_grad_enabled()
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.random.get_rng_state())
    assert result.right.sum() in (0, 5)
    assert len(str(result)) > 100
    assert len(result.doubts) == 0 or result.right.any()


def test_a_model_that_looks_several_times(cnn, digits):
    def views(x):
        return torch.stack([cnn(x), cnn(x.roll(1, dims=-1))], dim=1)

    assert report(views, digits, count=10, steps=5).doubts == []


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (
            {"x": torch.zeros(0, 3), "y": torch.zeros(0, dtype=torch.int64)},
            ValueError,
            "x must hold at least one image",
        ),
        ({"x": torch.full((2, 3), 2.0)}, ValueError, "x must lie in the threat's bounds"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set"),
        ({"steps": 0}, ValueError, "steps must be at least 1; got 0"),
        ({"attack": lambda model, x, y, threat: None}, TypeError, "attack must return a tensor"),
        ({"attack": lambda model, x, y, threat: x[:1]}, ValueError, "attack must return the shape of x"),
    ],
)
def test_wrong_arguments_are_named(change, error, says):
    arguments = {"model": lambda x: x, "x": torch.full((2, 3), 0.5), "y": torch.tensor([0, 0]), "threat": LINF}
    with pytest.raises(error, match=says):
        attack_report(**arguments | change)
