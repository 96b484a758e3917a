"""Training under a constraint: the weights stay orthogonal, and the certificates are worth something."""

import math

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.certify import lipschitz
from coursekit.models.architectures import MaxMin
from coursekit.training import lipschitz_fit
from coursekit.training.lipschitz import Orthonormal, margin_loss


@pytest.fixture
def flat():
    """A function -> an untrained network for the plane, the same every time."""

    def build():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(2, 16), MaxMin(), nn.Linear(16, 16), MaxMin(), nn.Linear(16, 2))

    return build


def trained(flat, moons, seeded, **settings):
    return lipschitz_fit(flat(), *moons, radius=0.1, epochs=15, lr=1e-2, generator=seeded(), progress=False, **settings)


def test_the_network_is_1_lipschitz_learns_and_its_radii_are_of_use(flat, moons, seeded):
    state = torch.random.get_rng_state()
    model = trained(flat, moons, seeded)
    assert torch.equal(state, torch.random.get_rng_state())
    assert 0.99 < lipschitz.constant(model, (2,)) < 1 + 1e-5
    assert not model.training
    assert all(type(layer) in (nn.Linear, MaxMin) for layer in model)  # weights as ordinary as before
    assert all(value.is_contiguous() for value in model.state_dict().values())  # else they cannot be saved
    test = data.load("moons", "test")
    radius = lipschitz.radius(model, test.x, test.y)
    assert (radius > 0).float().mean() > 0.85
    assert (radius > 0.05).float().mean() > 0.7
    again = trained(flat, moons, seeded)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_weights_become_orthonormal_and_those_that_are_stay(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = Orthonormal()(weight)
    product = made @ made.T if shape[0] < shape[1] else made.T @ made
    torch.testing.assert_close(product, torch.eye(min(shape), dtype=torch.float64))
    torch.testing.assert_close(Orthonormal()(made), made)
    near = Orthonormal()(weight + 1e-7)
    assert (near - made).abs().max() < 1e-4  # no row turns round


def test_the_loss_takes_the_margin_off_the_right_class():
    model, x, y = nn.Linear(2, 3, bias=False), torch.randn(4, 2), torch.tensor([0, 2, 1, 1])
    z = 5 * model(x)
    z[torch.arange(4), y] -= 5 * 0.3
    expected = nn.functional.cross_entropy(z, y, reduction="none")
    torch.testing.assert_close(margin_loss(model, x, x, y, margin=0.3, scale=5), expected)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"radius": -1.0}, "radius must be finite and at least 0; got -1.0"),
        ({"radius": math.nan}, "radius must be finite and at least 0; got nan"),
        ({"scale": 0.0}, "scale must be finite and above 0; got 0.0"),
    ],
)
def test_what_it_cannot_take_is_named(flat, moons, settings, says):
    with pytest.raises(ValueError, match=says):
        lipschitz_fit(flat(), *moons, progress=False, **settings)
    with pytest.raises(ValueError, match="model must have Linear layers; got none"):
        lipschitz_fit(nn.Sequential(nn.ReLU()), *moons, progress=False)


def test_after_a_failure_the_weights_are_ordinary_again(flat, moons):
    model = flat()
    with pytest.raises(ValueError, match="epochs must be at least 1; got 0"):
        lipschitz_fit(model, *moons, epochs=0, progress=False)
    assert all(type(layer) in (nn.Linear, MaxMin) for layer in model)


def test_the_shipped_network_is_1_lipschitz_accurate_and_certified_far_beyond_ordinary_ones():
    x, y, _ = data.load("mnist", "test")
    model = models.load("mnist_lipschitz")
    assert lipschitz.constant(model, x.shape[1:]) < 1 + 1e-5
    radius, ordinary = lipschitz.radius(model, x, y), lipschitz.radius(models.load("mnist_cnn"), x, y)
    assert (radius > 0).float().mean() > 0.96
    assert (radius > 0.5).float().mean() > 0.85
    assert (radius > 1.0).float().mean() > 0.55
    assert radius.median() > 10 * ordinary.median()
