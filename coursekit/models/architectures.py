"""The networks of the course. Each builder returns an untrained classifier with its normalisation inside."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std per channel, so that an attack can speak of pixels in [0, 1].

    mean, std: one number per channel; x (B, C, ...). Part of the weights file: a model knows its own input.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        """x normalised, same shape."""
        channels = (-1,) + (1,) * (x.ndim - 2)
        return (x - self.mean.view(channels)) / self.std.view(channels)


MNIST_MEAN, MNIST_STD = [0.1307], [0.3081]


def mnist_cnn() -> nn.Module:
    """Two strided convolutions (16, 32), two linear layers (100, 10): (B, 1, 28, 28) -> logits (B, 10).

    Source: Wong and Kolter 2018, section 4.
    """
    return nn.Sequential(
        Normalize(MNIST_MEAN, MNIST_STD),
        nn.Conv2d(1, 16, kernel_size=4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100), nn.ReLU(),
        nn.Linear(100, 10),
    )  # fmt: skip


def mnist_linear() -> nn.Module:
    """Softmax regression, where one step of FGSM is exact for two classes: (B, 1, 28, 28) -> logits (B, 10)."""
    return nn.Sequential(Normalize(MNIST_MEAN, MNIST_STD), nn.Flatten(), nn.Linear(28 * 28, 10))


def moons_mlp() -> nn.Module:
    """Two hidden layers of 32 for points in the plane, fast enough to redraw live: (B, 2) -> logits (B, 2)."""
    return nn.Sequential(
        Normalize([0.5, 0.5], [0.25, 0.25]),
        nn.Linear(2, 32), nn.ReLU(),
        nn.Linear(32, 32), nn.ReLU(),
        nn.Linear(32, 2),
    )  # fmt: skip


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "mnist_cnn": mnist_cnn,
    "mnist_linear": mnist_linear,
    "moons_mlp": moons_mlp,
}
