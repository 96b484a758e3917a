"""Random numbers like a tensor, from the global random state or from a generator."""

import torch
from torch import Generator, Tensor


def uniform(like: Tensor, generator: Generator | None) -> Tensor:
    """Uniform in [0, 1), in the shape, dtype and device of `like`."""
    # Drawn where the generator lives: a seeded CPU generator gives the same start on every device.
    device = like.device if generator is None else generator.device
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def exponential(like: Tensor, generator: Generator | None) -> Tensor:
    """Exponential with mean 1, like `like`."""
    return -torch.log1p(-uniform(like, generator))


def laplace(like: Tensor, generator: Generator | None) -> Tensor:
    """Laplace with scale 1, like `like`."""
    sign = (uniform(like, generator) - 0.5).sign()
    return sign * exponential(like, generator)


def normal(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal, like `like`."""
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)
