"""What an attack or a corruption did to predictions, in one number per question."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from coursekit.models.state import Classifier, evaluating


def success_rate(before: Tensor, after: Tensor, y: Tensor) -> float:
    """Of the images that were right before an attack, the share that is wrong after it; 0 if none was right.

    before, after: (B,) predicted classes of x and of x~. y: (B,) the right ones.
    Source: lecture, slide "Adversarial Examples - Definition": f(x) = y is a condition, not a success.
    """
    attackable = int((before == y).sum())
    withstood = int(((before == y) & (after == y)).sum())
    return 1 - withstood / attackable if attackable else 0.0


def average_and_worst(right: Tensor) -> tuple[float, float]:
    """The accuracy over all corruptions and images, and the share of images that are right under every corruption.

    right: (R, B) booleans for R corruptions of B images, R and B at least 1.
    Source: lecture, slide "Introduction": how do models behave when the data is corrupted?
    """
    if right.ndim != 2 or not right.numel():
        raise ValueError(f"right must be (R, B) with at least one entry; got {tuple(right.shape)}")
    return right.double().mean().item(), right.all(0).double().mean().item()


def smallest_flip(model: Classifier, x: Tensor, delta: Tensor, sizes: Iterable[float]) -> Tensor:
    """For each image the smallest of the sizes s at which x + s * delta is of another class than x.

    x: (B, ...) in [0, 1], to which the sum is clipped; delta: like x. sizes: in any order. Returns (B,) like x,
    infinite where no size flips. Predictions need not change for good: larger sizes may be of x's class again.
    """
    flip = x.new_full((len(x),), math.inf)
    with torch.no_grad(), evaluating(model):
        label = model(x).argmax(1)
        for size in sizes:
            flipped = model((x + size * delta).clamp(0, 1)).argmax(1) != label
            flip = torch.where(flipped, flip.clamp_max(size), flip)
    return flip
