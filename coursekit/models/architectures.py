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


class MaxMin(nn.Module):
    """Sorts the features (B, F, ...) in pairs, F even: of a and b first the larger, then the smaller one.

    Like ReLU it brings no two points further apart; unlike ReLU it loses nothing: gradients keep their length.
    Source: Anil, Lucas, Grosse 2019, "Sorting out Lipschitz function approximation".
    """

    def forward(self, x: Tensor) -> Tensor:
        """x with each pair in order, same shape."""
        a, b = x.unflatten(1, (-1, 2)).unbind(2)
        return torch.stack([torch.maximum(a, b), torch.minimum(a, b)], dim=2).flatten(1, 2)


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


def mnist_mlp() -> nn.Module:
    """Two hidden layers of 32, small enough to verify exactly: (B, 1, 28, 28) -> logits (B, 10)."""
    return nn.Sequential(
        Normalize(MNIST_MEAN, MNIST_STD),
        nn.Flatten(),
        nn.Linear(28 * 28, 32), nn.ReLU(),
        nn.Linear(32, 32), nn.ReLU(),
        nn.Linear(32, 10),
    )  # fmt: skip


def mnist_lipschitz() -> nn.Module:
    """Two hidden layers of 128 that sort instead of cutting off: (B, 1, 28, 28) -> logits (B, 10).

    With orthogonal weights (`coursekit.training.lipschitz_fit`) no two images are further apart in the logits than in
    their pixels (L2). It takes pixels as they are: to divide by their standard deviation would stretch distances.
    Source: Anil, Lucas, Grosse 2019.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 128), MaxMin(),
        nn.Linear(128, 128), MaxMin(),
        nn.Linear(128, 10),
    )  # fmt: skip


def faces_cnn() -> nn.Module:
    """A face detector: two strided convolutions (8, 16), two linear layers: (B, 1, 25, 25) -> logits (B, 2)."""
    return nn.Sequential(
        Normalize([0.37], [0.23]),
        nn.Conv2d(1, 8, kernel_size=4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, kernel_size=4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 6 * 6, 32), nn.ReLU(),
        nn.Linear(32, 2),
    )  # fmt: skip


def signs_cnn() -> nn.Module:
    """Three convolutions (16, 32, 64), the last two strided, two linear: (B, 3, 32, 32) -> logits (B, 12)."""
    return nn.Sequential(
        Normalize([0.41, 0.41, 0.41], [0.2, 0.2, 0.2]),
        nn.Conv2d(3, 16, kernel_size=3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 100), nn.ReLU(),
        nn.Linear(100, 12),
    )  # fmt: skip


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, (B, 3, 224, 224) -> logits (B, 1000), as the package efficientnet-lite-pytorch builds it.

    Source: Tan and Le 2019; the "lite" variant has ReLU6 and no squeeze-and-excitation.
    """

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.normalize = Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])  # to [-1, 1]
        self.network = EfficientNet.from_name("efficientnet-lite0")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images in [0, 1]."""
        # The package's own forward cannot take an empty batch.
        features = self.network.extract_features(self.normalize(x)).mean((2, 3))
        return self.network._fc(self.network._dropout(features))


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
    "mnist_mlp": mnist_mlp,
    "mnist_linear": mnist_linear,
    "mnist_lipschitz": mnist_lipschitz,
    "moons_mlp": moons_mlp,
    "signs_cnn": signs_cnn,
    "faces_cnn": faces_cnn,
    "imagenet": EfficientNetLite0,
}
