"""Attacks that know the defence. Each is plain PGD on a model that differs from the defended one only backwards.

    pgd(bpda(defended), x, y, threat)                       # shattered gradients: Quantized
    pgd(averaged(defended, 16), x, y, threat)               # stochastic gradients: RandomNoise, RandomResize
    pgd(defended, x, y, threat, loss=losses.margin)         # vanishing gradients: Saturated
    evade(model, detector, x, y, threat, threshold=t)       # a detector

They can be combined, averaged(bpda(defended), 16). What comes out is to be judged on the defended model itself:
robust_accuracy(defended, x, y, lambda model, x, y: pgd(bpda(model), x, y, threat)).
Source: Athalye et al. 2018, section 4; Tramèr et al. 2020, "On adaptive attacks to adversarial example defenses".
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from coursekit.attacks import pgd
from coursekit.attacks.common import check_inputs
from coursekit.attacks.physical import views
from coursekit.defenses.detection import Detector, Guarded
from coursekit.defenses.obfuscation import Preprocessed
from coursekit.losses import check_labels
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import PerturbationSet

Transform = Callable[[Tensor], Tensor]


def straight_through(transform: Transform) -> Transform:
    """The same function, x -> transform(x) to the last bit, whose gradient is that of the identity.

    For a transform that stays near its input but has no useful derivative: f(x) is close to x, so x stands in for f(x)
    where it is differentiated. transform: (B, ...) -> like x. Raises ValueError if it returns another shape.
    Source: Bengio et al. 2013 (straight-through estimator); Athalye et al. 2018, section 4.1.
    """

    def estimator(x: Tensor) -> Tensor:
        value = transform(x.detach())
        if value.shape != x.shape:
            raise ValueError(f"transform must return the shape of x, {tuple(x.shape)}; got {tuple(value.shape)}")
        return _StraightThrough.apply(x, value)

    return estimator


class _StraightThrough(torch.autograd.Function):
    """(x, value) -> value, with the gradient going to x. The sum x + (value - x) would round to something else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def bpda(defended: Preprocessed) -> nn.Module:
    """The defended model with its transform differentiated as if it were the identity: same logits, useful gradient.

    Backward pass differentiable approximation with the identity. defended: a `Preprocessed` model, or any other with
    `transform` and `model`. Raises TypeError if it has none.
    Source: Athalye et al. 2018, section 4.1.
    """
    if not (callable(getattr(defended, "transform", None)) and callable(getattr(defended, "model", None))):
        raise TypeError(f"defended must have a transform and a model, as Quantized has; got {type(defended).__name__}")
    return _Bypassed(defended)


class _Bypassed(nn.Module):
    def __init__(self, defended: Preprocessed) -> None:
        super().__init__()
        self.defended = defended

    def forward(self, x: Tensor) -> Tensor:
        return self.defended.model(straight_through(self.defended.transform)(x))


def averaged(model: Classifier, samples: int = 16) -> nn.Module:
    """The model asked `samples` times about every image: logits (B, S, K), each with random numbers of its own.

    An attack on it ascends the mean of the S losses, whose gradient estimates that of the expected loss, and has fooled
    it only when it is fooled S times. It is `attacks.physical.views` with the model's own randomness in place of a
    random view. Raises ValueError or TypeError for what it cannot take.
    Source: Athalye et al. 2018, section 4.2 (expectation over transformation).
    """
    return views(model, _as_it_is, samples)


def _as_it_is(x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """The transform that leaves all randomness to the model."""
    return x


def evade(
    model: Classifier, detector: Detector, x: Tensor, y: Tensor, threat: PerturbationSet, *, threshold: float | Tensor,
    target: Tensor | int | None = None, weight: float = 1.0, steps: int = 200, step_size: float | Tensor | None = None,
    random_start: bool = True, early_stop: bool = True, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Images of P(x) that the model gets wrong and that the detector takes for natural: score at most `threshold`.

    Targeted PGD on `Guarded(model, detector, threshold)`, the classifier with the further class "rejected": whoever
    reaches the class t there has fooled the model and passed the detector. A threshold below the detector's own leaves
    less to see. target: classes (B,) or one class for all; None takes for each image the wrong class that is most
    likely at x. A model that looks several times, as `averaged` does, is to be fooled each time. weight: what the score
    counts for beside the logits, see `Guarded`. For x, y, steps, step_size, random_start, early_stop, generator, the
    result, and what is raised see `pgd`.
    Source: Carlini and Wagner 2017, "Adversarial examples are not easily detected", section 3.3.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return evade(
            model, detector, x[None], y[None], threat, threshold=threshold, target=target, weight=weight, steps=steps,
            step_size=step_size, random_start=random_start, early_stop=early_stop, generator=generator,
        )[0]  # fmt: skip
    check_inputs(x, y, threat, target)
    if target is None and len(x):
        with evaluating(model), torch.no_grad():
            logits = model(x)
        check_labels("y", y, batch=len(x), classes=logits.shape[-1])
        logits = logits.mean(1) if logits.ndim == 3 else logits  # the class of the least mean cross-entropy stays first
        target = logits.scatter(1, y[:, None], -torch.inf).argmax(1)
    return pgd(
        Guarded(model, detector, threshold, weight=weight), x, y, threat, steps=steps, step_size=step_size,
        random_start=random_start, target=target, early_stop=early_stop, generator=generator,
    )  # fmt: skip
