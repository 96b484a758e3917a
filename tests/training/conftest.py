"""What the tests of training start from."""

import pytest
import torch
from torch import nn

from coursekit import data, models


@pytest.fixture
def seeded():
    """A function seed -> generator."""
    return lambda seed=0: torch.Generator().manual_seed(seed)


@pytest.fixture
def fresh():
    """A function name -> the untrained network, the same every time."""

    def build(name="moons_mlp"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return models.build(name)

    return build


@pytest.fixture
def weights():
    """A function model -> all its parameters in one vector."""
    return lambda model: torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture
def moons():
    """The points to train on."""
    return data.load("moons")[:2]


@pytest.fixture
def with_dropout():
    """A function -> a network that draws random numbers itself, and keeps running statistics, the same every time."""

    def build():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2))

    return build
