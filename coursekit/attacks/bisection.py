"""Bisection: the smallest value at which an attack succeeds, and two points that no model can keep apart."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.attacks.common import misclassified
from coursekit.attacks.minimum_norm import check_search
from coursekit.attacks.pgd import pgd
from coursekit.losses import Loss, cross_entropy
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import LpBall

GROW = 10.0  # what the value is multiplied with as long as it never sufficed


def narrow(value: Tensor, low: Tensor, high: Tensor, success: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the search for the smallest value that suffices: the next value, and the interval it lies in.

    value, low, high: (B,), low <= value <= high; low did not suffice, high did, or is inf. success: bool (B,), whether
    value did. The next value is the middle of the interval, or ten times the last one while there is no upper end.
    Source: Carlini and Wagner 2017, section VI, as in their code.
    """
    low, high = low.where(success, torch.maximum(low, value)), torch.minimum(high, value).where(success, high)
    return torch.where(high.isinf(), GROW * value, (low + high) / 2), low, high


def opposite_ends(
    classify: Callable[[Tensor], int], a: Tensor, b: Tensor, *, eps: float, p: float = 2
) -> list[tuple[Tensor, Tensor]]:
    """Ever shorter pieces of the way from a to b whose ends have different labels, the last shorter than eps.

    classify: one point -> its label, any function; it must differ at a and b, both (d,). Each halving asks about one
    point, the middle. Returns the pairs after 0, 1, 2, ... halvings. The two points of the last one are adversarial
    examples for each other in the open L_p ball, whatever the classifier. Raises ValueError for equal labels, or if eps
    is too small for the floating-point numbers around a and b. Source: lecture, slide "Questions - Rob1".
    """
    label, pairs = classify(a), [(a, b)]
    if classify(b) == label:
        raise ValueError(f"a and b must have different labels; both have {label}")
    while not torch.linalg.vector_norm(pairs[-1][0] - pairs[-1][1], ord=p) < eps:
        left, right = pairs[-1]
        centre = left + (right - left) / 2
        if torch.equal(centre, left) or torch.equal(centre, right):
            raise ValueError(f"eps must be above the spacing of {a.dtype} numbers here; got {eps}")
        pairs.append((centre, right) if classify(centre) == label else (left, centre))
    return pairs


def smallest_eps(
    model: Classifier, x: Tensor, y: Tensor, p: float = 2, *, eps_max: float, halvings: int = 8, steps: int = 20,
    loss: Loss = cross_entropy, bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:  # fmt: skip
    """The smallest radius of an L_p ball in which PGD fools the model, by bisection for every image: (B,).

    p: 1, 2 or math.inf. eps_max: the first radius tried; where PGD fails there, the result is inf. halvings: how often
    the interval is halved: the result is at most eps_max / 2^halvings more than what PGD can do, if PGD succeeds in
    every ball larger than one in which it did. PGD starts at x and takes `steps` steps of 2.5 eps / steps. 0 where x is
    misclassified. An upper bound of the distance to the nearest adversarial example, like that of every attack.
    """
    check_search(x, y, None, bounds, halvings=halvings, steps=steps)

    def fools(eps: Tensor) -> Tensor:
        x_adv = pgd(model, x, y, LpBall(eps, p, bounds), steps=steps, random_start=False, loss=loss)
        return wrong(x_adv)

    def wrong(points: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(model):
            return misclassified(model(points), y)

    low = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    high = torch.full_like(low, eps_max)
    found = fools(high)
    eps = high / 2
    for _ in range(halvings):
        eps, low, high = narrow(eps, low, high, fools(eps))
    return high.where(found, math.inf).masked_fill(wrong(x), 0)
