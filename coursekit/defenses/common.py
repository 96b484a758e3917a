"""What the defences share: a check of their settings."""

import math

from torch import Tensor


def check_positive(name: str, value: float | Tensor, largest: float = math.inf) -> None:
    """Raises unless value is a finite number above 0, or a tensor of one (looked at on the CPU only), <= largest."""
    if isinstance(value, Tensor):
        if value.ndim or not value.is_floating_point():
            raise ValueError(f"{name} must be a number > 0; got {value.dtype} of shape {tuple(value.shape)}")
        if value.device.type != "cpu":
            return
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number > 0; got {type(value).__name__}")
    if not (0 < value <= largest and math.isfinite(value)):
        allowed = f"> 0 and <= {largest:g}" if math.isfinite(largest) else "finite and > 0"
        raise ValueError(f"{name} must be {allowed}; got {value:g}")
