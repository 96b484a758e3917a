"""Two interleaved half circles in the unit square: small enough to see everything."""

import math

import torch

from coursekit.data.dataset import Dataset

SIZE = {"train": 800, "test": 200}
SEED = {"train": 0, "test": 1}
NOISE = 0.1


def moons(split: str) -> Dataset:
    """Points (N, 2) of two classes that take turns; the same points on every call."""
    generator = torch.Generator().manual_seed(SEED[split])
    angle = math.pi * torch.rand(SIZE[split], generator=generator)
    y = torch.arange(SIZE[split]) % 2
    upper = torch.stack([angle.cos(), angle.sin()], dim=1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=1)
    points = torch.where(y[:, None] == 0, upper, lower)
    points = points + NOISE * torch.randn(points.shape, generator=generator)
    # The noiseless half circles fill [-1, 2] x [-0.5, 1]; a margin leaves room for the noise.
    corner, size = torch.tensor([-1.4, -0.9]), torch.tensor([3.8, 2.3])
    return Dataset(((points - corner) / size).clamp(0, 1), y, ["upper moon", "lower moon"])
