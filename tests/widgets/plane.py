"""A classifier in the plane whose boundary is a line: what explorers say about it can be worked out by hand."""

import torch

ZERO = torch.tensor([0])


def half_plane(weights=(1.0, 0.0), offset=-0.6, scale=20.0):
    """Class 1 where weights . x + offset > 0."""
    w = torch.tensor(weights)
    return lambda x: torch.stack([torch.zeros(len(x)), scale * (x @ w + offset)], dim=1)


def at(*place):
    return torch.tensor([place], dtype=torch.float32)
