"""The networks that have certificates: linear layers and ReLUs, one after the other; and what is known of each kind."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from coursekit.models.architectures import Normalize

SUPPORTED = (nn.Linear, nn.Conv2d, nn.ReLU, nn.Flatten, Normalize)


def layers(model: nn.Module) -> list[nn.Module]:
    """The layers of a Sequential, nested ones unpacked, in order. All but ReLU are affine: h -> W h + b.

    Raises ValueError naming the first that is not supported, with the supported ones.
    """
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"model must be a torch.nn.Sequential; got {type(model).__name__}")
    flat = [inner for layer in model for inner in (layers(layer) if isinstance(layer, nn.Sequential) else [layer])]
    for layer in flat:
        if type(layer) not in SUPPORTED:
            known = ", ".join(kind.__name__ for kind in SUPPORTED)
            raise ValueError(f"model must consist of {known}; got {type(layer).__name__}")
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ValueError(f"Conv2d's padding_mode must be 'zeros'; got {layer.padding_mode!r}")
    return flat


def spread(layer: nn.Module, radius: Tensor) -> Tensor:
    """|W| r of an affine layer: how far W h can be from W h_0 if |h - h_0| <= r. radius: (B, ...) -> as W h."""
    if isinstance(layer, nn.Linear):
        return F.linear(radius, layer.weight.abs())
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(
            radius, layer.weight.abs(), None, layer.stride, layer.padding, layer.dilation, layer.groups
        )  # fmt: skip
    return layer(radius) - layer(torch.zeros_like(radius))  # no weight of these is negative


def pull_back(layer: nn.Module, rows: Tensor, shape: torch.Size) -> Tensor:
    """rows W of an affine layer: linear functions of W h as linear functions of h.

    rows: (N, ...), one function of the layer's output each. shape: of h, without the batch. Returns (N, *shape).
    """
    if isinstance(layer, nn.Linear):
        return rows @ layer.weight
    if isinstance(layer, nn.Conv2d):
        padding = _padding(layer)
        return conv2d_input(
            [len(rows), *shape], layer.weight, rows, layer.stride, padding, layer.dilation, layer.groups
        )  # fmt: skip
    if isinstance(layer, Normalize):
        return rows / layer.std.view(-1, *(1,) * (rows.ndim - 2))
    return rows.reshape(len(rows), *shape)  # Flatten


def offset(layer: nn.Module, h: Tensor) -> Tensor:
    """b of an affine layer W h + b, (1, ...), for inputs like h (B, ...)."""
    return layer(h.new_zeros(1, *h.shape[1:]))


def _padding(layer: nn.Conv2d) -> list[int]:
    """In numbers. Raises ValueError for "same" where that is more on one side than on the other."""
    if not isinstance(layer.padding, str):
        return list(layer.padding)
    if layer.padding == "valid":
        return [0, 0]
    both = [step * (size - 1) for step, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    if any(total % 2 for total in both):
        raise ValueError(f"Conv2d's padding must be the same on both sides; got 'same' with {layer.kernel_size}")
    return [total // 2 for total in both]
