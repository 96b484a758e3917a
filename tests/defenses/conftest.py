"""A small classifier with everything that might be disturbed, and images that it gets right."""

import math

import pytest
import torch
from torch import nn

from coursekit.perturbations import LpBall


@pytest.fixture
def small():
    """Dropout, running statistics, a frozen layer; a Sequential in train mode, apart from one layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Dropout(), nn.Tanh(), nn.Flatten(),
            nn.Linear(6 * 9, 16), nn.Tanh(), nn.Linear(16, 4),
        )  # fmt: skip
    model[5].weight.requires_grad_(False)
    model[7].weight.data.mul_(5)
    model.train()[1].eval()
    return model


@pytest.fixture
def right(small):
    """Eight images (2, 5, 5), some pixels at the ends of the range, with the labels that the model gives them."""
    generator = torch.Generator().manual_seed(1)
    x = (1.6 * torch.rand(8, 2, 5, 5, generator=generator) - 0.3).clamp(0, 1)
    modes = [module.training for module in small.modules()]
    with torch.no_grad():
        y = small.eval()(x).argmax(1)
    for module, mode in zip(small.modules(), modes, strict=True):
        module.training = mode
    return x, y


@pytest.fixture(params=[LpBall(2.0, 1), LpBall(0.5, 2), LpBall(0.1, math.inf)], ids=["L1", "L2", "Linf"])
def threat(request):
    return request.param


@pytest.fixture
def state():
    """model -> all that must be as before: modes, gradients, which parameters learn, values."""

    def of(model):
        return (
            [module.training for module in model.modules()],
            [parameter.requires_grad for parameter in model.parameters()],
            [None if parameter.grad is None else parameter.grad.tolist() for parameter in model.parameters()],
            {name: value.tolist() for name, value in model.state_dict().items()},
        )

    return of
