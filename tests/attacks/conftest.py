"""Small classifiers on which an attack's answer is known, or is quick to find."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall

ATTACKS = {"fgsm": fgsm, "pgd": partial(pgd, steps=5), "pgd to the end": partial(pgd, steps=5, early_stop=False)}
THREATS = [LpBall(2.0, 1), LpBall(0.5, 2), LpBall(0.1, math.inf)]


@pytest.fixture(params=ATTACKS)
def attack(request):
    return ATTACKS[request.param]


@pytest.fixture(params=THREATS, ids=["L1", "L2", "Linf"])
def threat(request):
    return request.param


class Everything(nn.Module):
    """A classifier with all that an attack might disturb: dropout, running statistics, a frozen layer."""

    def __init__(self, classes=4):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Dropout(), nn.Tanh(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(6 * 9, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, classes))
        self.head[0].weight.requires_grad_(False)

    def forward(self, x):
        return 3 * self.head(self.features(x))


@pytest.fixture
def model():
    """In train mode, apart from one layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Everything().train()
    model.features[1].eval()
    return model


@pytest.fixture
def batch():
    """Eight images (2, 5, 5), some pixels at the ends of the range, and labels that are mostly wrong."""
    generator = torch.Generator().manual_seed(1)
    x = (1.6 * torch.rand(8, 2, 5, 5, generator=generator) - 0.3).clamp(0, 1)
    return x, torch.randint(0, 4, (8,), generator=generator)


@pytest.fixture
def right(model, batch):
    """The same images with the labels the model gives them: none is misclassified to begin with."""
    model.eval()
    with torch.no_grad():
        y = model(batch[0]).argmax(1)
    model.train()
    model.features[1].eval()
    return batch[0], y
