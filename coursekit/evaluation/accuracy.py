"""How robust is a model: accuracy under attack, with what is known and what is only estimated."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import LpBall

Z_95 = 1.959964  # the standard normal's 97.5 % quantile


@dataclass(frozen=True)
class RobustAccuracy:
    """What `robust_accuracy` found.

    clean: share of images classified correctly. robust: share still correct after the attack, an upper bound on the
    truth, since a stronger attack may find more. interval: 95 % confidence interval of `robust` over the draw of
    the images. correct, survived: which images, bool (N,), on the CPU.
    """

    clean: float
    robust: float
    interval: tuple[float, float]
    correct: Tensor
    survived: Tensor

    def __str__(self) -> str:
        low, high = self.interval
        return f"clean {self.clean:.1%}, robust {self.robust:.1%} (95 % interval {low:.1%} to {high:.1%})"


def robust_accuracy(
    model: Classifier, x: Tensor, y: Tensor, attack: Callable[[Classifier, Tensor, Tensor], Tensor],
    *, batch_size: int = 250,
) -> RobustAccuracy:  # fmt: skip
    """The share of images that the model gets right before and after the attack.

    x: (N, ...), y: (N,) int64, N >= 1. attack: any callable (model, x, y) -> x_adv like x; it sees the images that
    are right to begin with, at most batch_size at a time. The model is used in eval mode and left as it was.
    Raises ValueError for empty or unequal x and y or an attack that returns another shape, TypeError for what
    is no tensor.
    """
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor; got {type(value).__name__}")
    if not len(x) or y.shape != (len(x),):
        raise ValueError(f"x and y must hold the same N >= 1 images; got {len(x)} and shape {tuple(y.shape)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    correct, survived = [], []
    with evaluating(model):
        for x_b, y_b in zip(x.split(batch_size), y.split(batch_size), strict=True):
            right = _is_right(model, x_b, y_b)
            still = right.clone()
            if right.any():
                x_adv = attack(model, x_b[right], y_b[right])
                check_result(x_adv, x_b[right])
                still[right] = _is_right(model, x_adv, y_b[right])
            correct.append(right.cpu())
            survived.append(still.cpu())
    before, after = torch.cat(correct), torch.cat(survived)
    count = int(after.sum())
    return RobustAccuracy(
        int(before.sum()) / len(x), count / len(x), wilson_interval(count, len(x)), before, after
    )  # fmt: skip


def accuracy_curve(
    model: Classifier, x: Tensor, y: Tensor, attack: Callable[..., Tensor], threats: Iterable[LpBall],
    *, batch_size: int = 250,
) -> list[RobustAccuracy]:  # fmt: skip
    """`robust_accuracy` for each threat, for a figure over eps.

    attack: called with (model, x, y, threat=threat): `fgsm`, `pgd`, or a `functools.partial` of one with settings.
    """
    return [robust_accuracy(model, x, y, partial(attack, threat=threat), batch_size=batch_size) for threat in threats]


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a share; unlike the textbook one also sensible at 0 and 1.

    Source: Wilson 1927.
    """
    share, z2 = successes / trials, Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # At 0 and 1 rounding would leave the end beside the share itself.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def _is_right(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        logits = model(x)
    # argmax of NaN is a class like any other, but it is no classification.
    return (logits.argmax(dim=1) == y) & ~logits.isnan().any(dim=1)


def check_result(x_adv: Tensor, x: Tensor) -> None:
    """Raises unless an attack has returned a tensor of the shape of x."""
    if not isinstance(x_adv, Tensor):
        raise TypeError(f"attack must return a tensor, did it forget to return? got {type(x_adv).__name__}")
    if x_adv.shape != x.shape:
        raise ValueError(f"attack must return the shape of x, {tuple(x.shape)}; got {tuple(x_adv.shape)}")
