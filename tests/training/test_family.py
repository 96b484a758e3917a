"""Several radii at once: each network is what it would be alone, and larger radii make more robust ones."""

import math

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.attacks import exhaustive
from coursekit.evaluation import robust_accuracy
from coursekit.perturbations import LpBall
from coursekit.training import family_fit

MOONS = data.load("moons", "train")


def build():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.build("moons_mlp")


def family(radii, **settings):
    settings = {"updates": 60, "generator": torch.Generator().manual_seed(0), "progress": False} | settings
    return family_fit(build, MOONS.x, MOONS.y, radii, **settings)


def test_a_network_does_not_depend_on_the_others():
    alone = family([0.1], updates=6)[0]
    among = family([0.0, 0.1, 0.2], updates=6)[1]
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(among.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_training_for_a_radius_makes_robust_at_it_and_the_networks_are_usable():
    test = data.load("moons", "test")
    standard, robust = family([0.0, 0.1], updates=150)
    ball = LpBall(0.1, math.inf)
    found = [
        robust_accuracy(model, test.x, test.y, lambda m, x, y: exhaustive(m, x, y, ball, points=21))
        for model in (standard, robust)
    ]
    assert found[0].clean > 0.97
    assert found[1].robust > found[0].robust + 0.15
    assert not any(module.training for model in (standard, robust) for module in model.modules())
    assert all(parameter.requires_grad for parameter in robust.parameters())


def test_the_same_seed_gives_the_same_networks():
    (first,), (second,) = family([0.05], updates=5), family([0.05], updates=5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_it_takes_images_of_any_shape():
    def images():
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))

    x, y = torch.rand(30, 3, 2, 2), torch.randint(0, 3, (30,))
    family_fit(images, x, y, [0.0, 0.1], updates=2, batch_size=8, progress=False)


def test_it_names_what_it_cannot_take():
    for radii in ([], [0.1, -0.1]):
        with pytest.raises(ValueError, match="radii must hold"):
            family(radii)
