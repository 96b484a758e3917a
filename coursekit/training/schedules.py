"""What changes during training: functions of t, the share of it that is done (0 at the start, 1 at the end)."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def falling(t: float) -> float:
    """From 1 in a straight line to 0."""
    return 1 - t


def constant(t: float) -> float:
    """Always 1."""
    return 1.0


def one_cycle(rise: float = 0.1) -> Schedule:
    """From 0 to 1 in the first `rise` of training, then down to 0 along half a cosine.

    Source: Smith and Topin 2018; used for adversarial training by Wong et al. 2020.
    """
    _check_share("rise", rise)
    return lambda t: t / rise if t < rise else (1 + math.cos(math.pi * (t - rise) / (1 - rise))) / 2


def plateau(rise: float = 0.1, fall: float = 0.3) -> Schedule:
    """From 0 to 1 in the first `rise` of training, then 1, and in the last `fall` of it down to 0 along a cosine."""
    _check_share("rise", rise)
    _check_share("fall", fall)
    return lambda t: t / rise if t < rise else (1 + math.cos(math.pi * max(0.0, (t - 1 + fall) / fall))) / 2


def ramp(share: float) -> Schedule:
    """From 0 to 1 in the first `share` of training, then 1.

    For eps: met with a large radius at once, a network from random weights often learns to answer the same class
    everywhere and never leaves that; led there step by step it does not.
    """
    _check_share("share", share)
    return lambda t: min(1.0, t / share)


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1; got {value!r}")
