"""Catastrophic overfitting: a network that defeats the one step it was trained with, and nothing else."""

import math
from collections.abc import Sequence


def breakdown(one_step: Sequence[float], many_steps: Sequence[float], drop: float = 0.2) -> int:
    """The first epoch, counted from 1, of a catastrophic overfitting; 0 if there is none.

    one_step, many_steps: accuracy under an attack of one step and of many after each epoch. It is the first epoch in
    which many_steps lies by more than `drop` below its best so far, and one_step by more than `drop` above many_steps:
    where both fall, training merely goes badly. Raises ValueError for histories that are not equally long.
    Source: Wong et al. 2020, section 5.4, for the phenomenon.
    """
    if len(one_step) != len(many_steps):
        raise ValueError(f"one_step and many_steps must be equally long; got {len(one_step)} and {len(many_steps)}")
    peak = -math.inf
    for number, (one, many) in enumerate(zip(one_step, many_steps, strict=True), start=1):
        fallen, apart = peak - many, one - many
        if min(fallen, apart) > drop:
            return number
        peak = max(peak, many)
    return 0
