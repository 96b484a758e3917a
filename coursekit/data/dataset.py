"""The one shape in which every data set arrives."""

from typing import NamedTuple

from torch import Tensor


class Dataset(NamedTuple):
    """Inputs, labels and what the labels mean.

    x: float32 in [0, 1]; images are (N, C, H, W), points in the plane (N, 2). y: int64 (N,), indices into
    `classes`. The tensors belong to the caller: changing them changes nobody else's.
    """

    x: Tensor
    y: Tensor
    classes: list[str]
