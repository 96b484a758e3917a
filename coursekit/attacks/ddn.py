"""Decoupled direction and norm: the modern baseline beside Carlini and Wagner."""

import math

import torch
from torch import Tensor

from coursekit.attacks.common import goal
from coursekit.attacks.minimum_norm import Closest, check_search, unit_length
from coursekit.losses import cross_entropy, margin
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import per_image
from coursekit.perturbations.common import norm

GAMMA = 0.05  # the radius shrinks or grows by this share
FIRST_RADIUS, FIRST_STEP, LAST_STEP = 1.0, 1.0, 0.01  # in units of the image range


def ddn(
    model: Classifier, x: Tensor, y: Tensor, *, steps: int = 100, target: Tensor | int | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:  # fmt: skip
    """The closest x~ in L2 that fools the model, by descent on a sphere around x whose radius follows success.

    The direction and the norm of delta = x~ - x are decoupled: delta takes a step of length alpha_t along the
    normalised gradient, then is rescaled to the radius eps_t, which is 5 % smaller than the last one if that point
    fooled the model, else 5 % larger. No lambda to search for. alpha_t falls from 1 to 0.01 as a cosine.
    The loss is the cross-entropy, or where it is flat in floating point the margin of the log-probabilities.

    x: (B, ...) floating, within bounds = (lo, hi), the range of a pixel; y: (B,) int64; one image with a 0-dimensional
    y also works. target: classes (B,) or one class for all, to reach instead of leaving y. A model that looks at an
    image S times returns logits (B, S, K): the loss is the mean over them, and fooled means each time.

    Takes `steps` gradients and one forward pass. There is no chance in it. Returns x_adv like x, detached: x itself
    where that is misclassified (or the target) already; where nothing was found, the point of least loss.
    Nothing waits for the device. The model is used in eval mode and left as it was. Raises ValueError or TypeError
    for what it cannot take.
    Source: Rony et al. 2019, "Decoupling direction and norm", algorithm 1, without quantisation.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return ddn(model, x[None], y[None], steps=steps, target=target, bounds=bounds)[0]
    check_search(x, y, target, bounds, steps=steps)
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        closest = Closest(model, x.detach().clone(), goal(y, target, _loss), bounds)
        clean, unit = closest.clean, unit_length(bounds)
        farthest = norm(torch.maximum(clean - bounds[0], bounds[1] - clean), 2)  # corner of the image range
        eps = torch.full_like(closest.distance, FIRST_RADIUS * unit)
        x_t = clean
        for t in range(steps):
            before = closest.hits
            gradient = closest.gradient(x_t)
            alpha = unit * (LAST_STEP + (FIRST_STEP - LAST_STEP) * (1 + math.cos(math.pi * t / steps)) / 2)
            delta = x_t - clean - alpha * _direction(gradient)
            eps = eps * torch.full_like(eps, 1 + GAMMA).where(closest.hits == before, 1 - GAMMA)
            eps = torch.minimum(eps, farthest)
            x_t = (clean + per_image(eps, clean) * _direction(delta)).clamp(*bounds)
        closest.look(x_t)
    return closest.x_adv


def _direction(delta: Tensor) -> Tensor:
    """delta / ||delta||_2 for each image; zero stays zero."""
    length = norm(delta, 2)
    return delta * per_image(length.where(length > 0, 1).reciprocal(), delta)


def _loss(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy; below about 1e-5, where it is lost in rounding, the margin, which leads the same way.

    Only the gradient's direction is used, so it does not matter that the two differ in size.
    """
    loss = cross_entropy(logits, y)
    return loss.where(loss > 100 * torch.finfo(loss.dtype).eps, margin(logits, y))
