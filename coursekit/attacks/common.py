"""What every attack needs around its formula: checked arguments, a goal, the gradient with respect to the input."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from coursekit.losses import Loss, check_labels, cross_entropy
from coursekit.models.state import Classifier, differentiating
from coursekit.perturbations import PerturbationSet, per_image, widen


def input_gradient(model: Classifier, x: Tensor, y: Tensor, loss: Loss = cross_entropy) -> Tensor:
    """grad_x L(f(x), y) for each image of the batch, like x; the parameters' .grad stays as it is.

    loss: per example, (logits (B, K), y (B,)) -> (B,). The model is used in the mode it is in. Works under
    torch.no_grad and torch.inference_mode, too.
    """
    with differentiating():
        return loss_and_gradient(model, x.detach().clone(), y, loss)[2]  # the clone of an inference tensor is none


def loss_and_gradient(model: Classifier, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, K), loss (B,) and the gradient of the loss with respect to x: one pass forward, one back."""
    x = x.detach().requires_grad_()
    logits = model(x)
    value = loss(logits, y)
    if value.shape != y.shape:
        raise ValueError(f"loss must return one value per image, {tuple(y.shape)}; got {tuple(value.shape)}")
    if not value.requires_grad:  # a constant classifier
        return logits, value, torch.zeros_like(x)
    # Summed, not averaged: an image's gradient must not depend on how many others there are.
    (gradient,) = torch.autograd.grad(value.sum(), x, materialize_grads=True)
    return logits.detach(), value.detach(), gradient


@dataclass(frozen=True)
class Goal:
    """What the attack wants: away from the labels y, or, `targeted`, towards the labels given as target."""

    labels: Tensor
    targeted: bool
    loss: Loss

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What the attack maximises, (B,). Raises if the model's output or the labels are not what it takes.

        A model may look at an image S times, in other views or with other random numbers: logits (B, S, K). Then the
        objective is the mean of the S losses, which is not the loss of the mean logits.
        Source: Athalye et al. 2018, "Synthesizing robust adversarial examples", eq. 2.
        """
        if not isinstance(logits, Tensor) or logits.ndim not in (2, 3) or len(logits) != len(labels):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"model must return logits ({len(labels)}, K); got {got}")
        if logits.ndim == 3:
            looks = logits.shape[1]
            value = self.objective(logits.flatten(0, 1), labels.repeat_interleave(looks))
            if value.shape != (len(labels) * looks,):
                got = tuple(value.shape)
                raise ValueError(f"loss must return one value per image, ({len(labels) * looks},); got {got}")
            return value.view(-1, looks).mean(1)
        check_labels("target" if self.targeted else "y", labels, batch=len(labels), classes=logits.shape[1])
        return -self.loss(logits, labels) if self.targeted else self.loss(logits, labels)

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Which images are classified as the attack wants, bool (B,); if the model looks S times, each time."""
        return _each_time(logits, labels, lambda hit: hit if self.targeted else ~hit)


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Which images are taken for another class than y, bool (B,). logits (B, K), or (B, S, K) for S looks at each.

    Of several looks each has to be wrong. NaN is no class: an image whose logits hold one is not misclassified.
    """
    return _each_time(logits, y, lambda hit: ~hit)


def _each_time(logits: Tensor, labels: Tensor, wanted: Callable[[Tensor], Tensor]) -> Tensor:
    hit = logits.argmax(dim=-1) == (labels if logits.ndim == 2 else labels[:, None])
    answer = wanted(hit) & ~logits.isnan().any(dim=-1)
    return answer if logits.ndim == 2 else answer.all(1)


def goal(y: Tensor, target: Tensor | int | None, loss: Loss) -> Goal:
    """The attack's goal; its labels are a copy that gradients may be computed with, whatever mode y was made in."""
    if target is None:
        return Goal(y.clone(), False, loss)
    return Goal(target.clone() if isinstance(target, Tensor) else torch.full_like(y, target), True, loss)


def at_coordinates(threat: PerturbationSet, z: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """From the gradient with respect to the image render(z, x) to that with respect to the coordinates z."""
    if threat.search is threat:  # the coordinates are the pixels
        return widen(gradient)
    z = z.detach().requires_grad_()
    return torch.autograd.grad(threat.render(z, x), z, gradient)[0]


def check_inputs(x: Tensor, y: Tensor, threat: PerturbationSet, target: Tensor | int | None) -> None:
    """Raises a ValueError or TypeError that names the argument, what was got and what is allowed."""
    check_batch(x, y, target)
    if not hasattr(threat, "project"):
        raise TypeError(f"threat must be a perturbation set such as LpBall(0.1, math.inf); got {type(threat).__name__}")
    per_image(threat.search.default_step(1), x)  # raises if there is one eps per image of another batch
    check_range(x, threat.bounds, "the threat's bounds")


def check_batch(x: Tensor, y: Tensor, target: Tensor | int | None) -> None:
    """Raises unless x, y and target are a batch of images, its labels, and a class or classes."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a floating tensor (B, ...); got {got}")
    if x.ndim < 2:
        raise ValueError(f"x must be a batch (B, ...) of images or points; got shape {tuple(x.shape)}")
    check_labels("y", y, batch=len(x))
    if isinstance(target, Tensor):
        check_labels("target", target, batch=len(x))
    elif target is not None and (isinstance(target, bool) or not isinstance(target, int)):
        raise TypeError(f"target must be a class or an int64 tensor ({len(x)},); got {type(target).__name__}")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raises unless value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")


def check_generator(generator: Generator | None) -> None:
    """Raises unless it is a torch.Generator or None."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"generator must be a torch.Generator or None; got {type(generator).__name__}")


def check_range(x: Tensor, bounds: tuple[float, float], called: str = "bounds") -> None:
    """Raises unless x lies in the image range. Looked at on the CPU only: another device would have to wait."""
    if x.device.type == "cpu" and x.numel():
        low, high = (end.item() for end in x.aminmax())
        (lo, hi), slack = bounds, torch.finfo(x.dtype).eps
        if math.isnan(low) or low < lo - slack * abs(lo) or high > hi + slack * abs(hi):
            raise ValueError(f"x must lie in {called}, {lo:g} to {hi:g}; got {low:g} to {high:g}")
