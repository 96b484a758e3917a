import math

import pytest
import torch
from torch import nn

from coursekit import data
from coursekit.certify.relaxations import certified, worst_case_logits
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall
from coursekit.training import certified_fit, fit
from coursekit.training.certified import certified_loss

THREAT = LpBall(0.05, math.inf)


@pytest.mark.slow
def test_certified_training_makes_the_bounds_prove_something(fresh, seeded, moons):
    test = data.load("moons", "test")
    history = []
    proven = {}
    for name, train in (("standard", fit), ("certified", certified_fit)):
        threat = {} if name == "standard" else {"threat": THREAT, "history": history}
        model = train(fresh(), *moons, **threat, epochs=30, generator=seeded(), progress=False)
        proven[name] = certified(model, test.x, test.y, THREAT).float().mean()
    assert proven["certified"] > proven["standard"] + 0.2
    assert proven["certified"] > 0.7
    radii = [epoch.eps for epoch in history]
    assert radii == sorted(radii)
    assert radii[-1] == THREAT.eps


def test_the_loss_is_a_mixture_that_begins_with_the_clean_one(fresh, moons):
    model, x, y = fresh(), moons[0][:20], moons[1][:20]
    clean = cross_entropy(model(x), y)
    torch.testing.assert_close(certified_loss(model, x, x, y, THREAT, 0.0), clean)
    worst = cross_entropy(worst_case_logits(model, x, y, THREAT), y)
    torch.testing.assert_close(certified_loss(model, x, x, y, THREAT, 0.25), 0.75 * clean + 0.25 * worst)
    assert (worst >= clean).all()


def test_models_and_threats_without_bounds_are_refused_before_anything_is_trained(fresh, moons):
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    before = model[0].weight.clone()
    with pytest.raises(ValueError, match="model must consist of"):
        certified_fit(model, *moons, THREAT, progress=False)
    assert torch.equal(before, model[0].weight)
    with pytest.raises(ValueError, match="threat must be an LpBall with p = 2 or p = inf"):
        certified_fit(fresh(), *moons, LpBall(0.1, 1), progress=False)
