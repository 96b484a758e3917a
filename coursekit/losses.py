"""The lecture's losses, one value per example.

Nothing is averaged over the batch: the gradient of the sum gives every image the gradient it would have alone,
so an attack's result for an image does not depend on its neighbours.

Each takes logits (B, K), K >= 2, and labels y int64 (B,), and returns (B,) in the dtype of the logits, half
precision as float32. Raises ValueError or TypeError for other shapes, dtypes or labels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
Attack = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]


def zero_one(logits: Tensor, y: Tensor) -> Tensor:
    """l_{0/1}(f(x), y): 0. if the largest logit is that of y, else 1.; its gradient is zero or undefined.

    Source: lecture, slide "Adversarial Attacks: Objective Function".
    """
    logits = _checked(logits, y)
    return (logits.argmax(dim=1) != y).to(logits.dtype)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """L(f(x), y) = -log softmax(logits)_y, the surrogate for the zero-one loss.

    Source: lecture, slide "Adversarial Attacks: Objective Function".
    """
    return F.cross_entropy(_checked(logits, y), y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{i != y} Z_i - Z_y with Z = log f(x), the log-probabilities: positive if misclassified, else not.

    For an attack that maximises, such as `pgd(..., loss=margin)`. Where the cross-entropy of a confident model
    is flat in floating point, this is not.
    """
    return -_lead(_checked(logits, y), y)


def cw_margin(logits: Tensor, y: Tensor) -> Tensor:
    """L(x~, y) = [Z_y - max_{i != y} Z_i]_+ with Z = log f(x~): positive while classified as y, then 0.

    For an attack that minimises. Adding a constant to all logits changes nothing, whatever their signs.
    Source: lecture, slide "Alternative Optimization Problem"; Carlini and Wagner 2017, section V.
    """
    return _lead(_checked(logits, y), y).clamp_min(0)


def cw_margin_targeted(logits: Tensor, target: Tensor) -> Tensor:
    """[max_{i != t} Z_i - Z_t]_+ with Z = log f(x~): 0 once classified as the target t, else positive.

    Source: Carlini and Wagner 2017, section V, f_6, on log-probabilities as in the lecture.
    """
    return (-_lead(_checked(logits, target, "target"), target)).clamp_min(0)


def robust_loss(
    model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, attack: Attack, loss: Loss = cross_entropy
) -> Tensor:
    """l(f(x~), y) at the worst point x~ of P(x) that the attack finds: (B,), from below as near to the robust loss
    sup_{x~ in P(x)} l(f(x~), y) as the attack is strong.

    x: (B, ...), y: (B,) int64. attack: (model, x, y) -> x~ like x, for instance a `functools.partial` of `pgd`. The
    result can be differentiated with respect to the model's parameters: x~ counts as fixed, which Danskin's theorem
    allows. The model is used in the mode it is in. Raises TypeError or ValueError if the attack returns no such x~.
    Source: lecture, slides "Robust Training" and "Adversarial Training: Danskin's Theorem".
    """
    x_tilde = attack(model, x, y)
    if not isinstance(x_tilde, Tensor):
        raise TypeError(f"attack must return a tensor like x; got {type(x_tilde).__name__}")
    if x_tilde.shape != x.shape:
        raise ValueError(f"attack must return a tensor like x, {tuple(x.shape)}; got {tuple(x_tilde.shape)}")
    return loss(model(x_tilde.detach()), y)


def _lead(logits: Tensor, y: Tensor) -> Tensor:
    """Z_y - max_{i != y} Z_i: by how much y leads the best other class."""
    # log f(x) is the logits less one number, which cancels. Subtracting it first would round small differences away.
    others = logits.scatter(1, y[:, None], -torch.inf)
    return logits.gather(1, y[:, None]).squeeze(1) - others.amax(dim=1)


def _checked(logits: Tensor, y: Tensor, name: str = "y") -> Tensor:
    """The logits, half precision as float32, after checking that they and y are what a loss takes."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"logits must be a floating tensor (B, K); got {got}")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must have shape (B, K) with K >= 2 classes; got {tuple(logits.shape)}")
    check_labels(name, y, batch=len(logits), classes=logits.shape[1])
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def check_labels(name: str, y: Tensor, *, batch: int, classes: int | None = None) -> None:
    """Raises unless y is int64 (batch,) with values in 0 .. classes - 1 (looked at on the CPU only)."""
    if not isinstance(y, Tensor) or y.dtype != torch.int64:
        got = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"{name} must be an int64 tensor ({batch},); got {got}")
    if y.shape != (batch,):
        raise ValueError(f"{name} must have one label per image, shape ({batch},); got {tuple(y.shape)}")
    # On another device looking at values would mean to wait for it.
    if classes is not None and y.device.type == "cpu" and len(y):
        try:
            low, high = int(y.min()), int(y.max())
        except RuntimeError:  # inside torch.func.vmap nothing can be looked at
            return
        if low < 0 or high >= classes:
            raise ValueError(f"{name} must hold classes 0 to {classes - 1}; got values from {low} to {high}")
