"""How robust is a model: accuracy under attack, with what is known and what is only estimated."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from coursekit.attacks.common import check_batch, check_count, check_inputs
from coursekit.losses import check_labels
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import PerturbationSet

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
    model: Classifier, x: Tensor, y: Tensor, attack: Callable[..., Tensor],
    *, threat: PerturbationSet | None = None, batch_size: int = 250,
) -> RobustAccuracy:  # fmt: skip
    """The share of images that the model gets right before and after the attack.

    x: (N, ...) floating, y: (N,) int64, N >= 1. attack: any callable (model, x, y) -> x_adv like x; it sees the images
    that are right to begin with, at most batch_size at a time. threat: if given, the attack is called with
    (model, x, y, threat=threat), of these images alone: a set may have one eps per image. Where the model looks
    several times, logits (B, S, K), an image is right unless it is wrong each time, as for the attacks. Logits with
    NaN are wrong. The model is used in eval mode and left as it was.
    Raises ValueError or TypeError for what it cannot take, and for an attack that returns another shape or NaN.
    """
    if threat is None:
        check_batch(x, y, None)
    else:
        check_inputs(x, y, threat, None)
    if not len(x):
        raise ValueError("x must hold at least one image; got none")
    if not callable(attack):
        raise TypeError(f"attack must be a function (model, x, y) -> x_adv; got {type(attack).__name__}")
    check_count("batch_size", batch_size)
    correct, survived = [], []
    with evaluating(model):
        parts = (images.split(batch_size) for images in (x, y, torch.arange(len(x))))
        for x_b, y_b, numbers in zip(*parts, strict=True):
            right = _is_right(model, x_b, y_b)
            still = right.clone()
            if right.any():
                settings = {} if threat is None else {"threat": threat.select(numbers[right.cpu()])}
                x_adv = attack(model, x_b[right], y_b[right], **settings)
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
    model: Classifier, x: Tensor, y: Tensor, attack: Callable[..., Tensor], threats: Iterable[PerturbationSet],
    *, batch_size: int = 250,
) -> list[RobustAccuracy]:  # fmt: skip
    """`robust_accuracy` for each threat, for a figure over eps.

    attack: called with (model, x, y, threat=threat): `fgsm`, `pgd`, or a `functools.partial` of one with settings.
    """
    return [robust_accuracy(model, x, y, attack, threat=threat, batch_size=batch_size) for threat in threats]


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a share; unlike the textbook one also sensible at 0 and 1.

    successes: 0 to trials. trials: at least 1. Raises ValueError or TypeError for anything else. Source: Wilson 1927.
    """
    check_count("trials", trials)
    check_count("successes", successes, least=0)
    if successes > trials:
        raise ValueError(f"successes must be at most trials, {trials}; got {successes}")
    share, z2 = successes / trials, Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # At 0 and 1 rounding would leave the end beside the share itself.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def _is_right(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Which images the model gets right, bool (B,); if it looks several times, at least once."""
    with torch.no_grad():
        logits = model(x)
    if not isinstance(logits, Tensor) or logits.ndim not in (2, 3) or len(logits) != len(x):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model must return logits ({len(x)}, K) or ({len(x)}, S, K); got {got}")
    check_labels("y", y, batch=len(x), classes=logits.shape[-1])
    # argmax of NaN is a class like any other, but it is no classification.
    looks = logits if logits.ndim == 3 else logits[:, None]
    return ((looks.argmax(dim=2) == y[:, None]) & ~looks.isnan().any(dim=2)).any(1)


def check_result(x_adv: Tensor, x: Tensor) -> None:
    """Raises unless an attack has returned a tensor of the shape of x without NaN."""
    if not isinstance(x_adv, Tensor):
        raise TypeError(f"attack must return a tensor, did it forget to return? got {type(x_adv).__name__}")
    if x_adv.shape != x.shape:
        raise ValueError(f"attack must return the shape of x, {tuple(x.shape)}; got {tuple(x_adv.shape)}")
    if broken := int(x_adv.isnan().flatten(1).any(1).sum()):
        raise ValueError(f"attack must return images without NaN; got NaN in {broken} of {len(x)}")
