"""The model as its tangent sees it: the distance to the nearest decision boundary in closed form, and DeepFool."""

import math

import torch
from torch import Tensor

from coursekit.attacks.common import check_inputs, goal, misclassified
from coursekit.attacks.minimum_norm import Closest, check_search
from coursekit.losses import margin
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import LpBall, per_image, round_towards, widen
from coursekit.perturbations.common import choose

OVERSHOOT = 0.02  # of each step: beyond the boundary, not on it
DUAL = {1: math.inf, 2: 2, math.inf: 1}  # 1/p + 1/q = 1


def boundary_distance(model: Classifier, x: Tensor, y: Tensor, p: float = 2) -> Tensor:
    """The distance from x to the nearest decision boundary of the model linearised at x, in the L_p norm: (B,).

    min over i != y of (z_y - z_i) / ||grad z_y - grad z_i||_q with 1/p + 1/q = 1. For a linear classifier this is
    exact, where the image range is left aside: within the range the nearest point can only be further. x: (B, ...),
    y: (B,) int64, p: 1, 2 or math.inf. 0 where x is misclassified, inf where no class can overtake y. Takes K
    gradients for K classes. The model is used in eval mode and left as it was.
    Source: Hoelder's inequality; Moosavi-Dezfooli et al. 2016, "DeepFool", eq. 6 (p = 2).
    """
    if p not in DUAL:
        raise ValueError(f"p must be 1, 2 or math.inf; got {p!r}")
    check_search(x, y, None, (-math.inf, math.inf))
    with evaluating(model), differentiating():
        logits, lead, slope = _leads(model, x, y)
    steepness = torch.linalg.vector_norm(slope.flatten(2), ord=DUAL[p], dim=2)
    distance = _ratio(lead, steepness).scatter(1, y[:, None], math.inf).amin(1)
    return distance.masked_fill(misclassified(logits, y), 0)


def nearest_boundary(model: Classifier, x: Tensor, y: Tensor, bounds: tuple[float, float] | None = None) -> Tensor:
    """The point nearest to x in L2 on a decision boundary of the model linearised at x, like x.

    bounds: (lo, hi), the range that the point must lie in; x must, too. None leaves it aside: then the point is
    x - (z_y - z_i) / ||w||^2 * w with w = grad z_y - grad z_i, for the nearest class i. For a linear classifier both
    are exact. x itself where it is misclassified, or where no class can overtake y. Takes K gradients for K classes.
    Source: Moosavi-Dezfooli et al. 2016, "DeepFool", eq. 7; within bounds by the multiplier of the constraint.
    """
    check_search(x, y, None, bounds or (-math.inf, math.inf))
    with evaluating(model), differentiating():
        return _nearest(model, x.detach(), y, bounds).to(x.dtype)


def best_corner(model: Classifier, x: Tensor, y: Tensor, threat: LpBall) -> Tensor:
    """The point of the L-inf ball where the model linearised at x gives another class the largest lead over y.

    For each i != y the best step is eps * sign(grad z_i - grad z_y), within threat.bounds; of these K - 1 points the
    one with the largest lead counts. For a linear classifier this is the truth: if the ball holds an adversarial
    example, it is one. FGSM takes one step for all classes at once, along a mean of these gradients, and is the same
    for two classes only. x: (B, ...), in threat.bounds; y: (B,) int64. threat: an LpBall with p = inf. Takes K
    gradients for K classes. Returns x_adv like x, detached. The model is used in eval mode and left as it was.
    Source: Hoelder's inequality for p = inf, q = 1, once for each class.
    """
    if not isinstance(threat, LpBall) or threat.p != math.inf:
        raise ValueError("threat must be an LpBall with p = inf")
    check_inputs(x, y, threat, None)
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        _, lead, slope = _leads(model, x, y)
    clean = widen(x.detach())
    low, high = threat.bounds
    reach = per_image(threat.eps, slope) if isinstance(threat.eps, Tensor) else threat.eps
    corner = (clean[:, None] - reach * slope.sign()).clamp(low, high)
    there = lead + ((corner - clean[:, None]) * slope).flatten(2).sum(2)
    chosen = there.scatter(1, y[:, None], math.inf).argmin(1)
    return corner.gather(1, _index(chosen, clean)).squeeze(1).to(x.dtype).detach()


def deepfool(
    model: Classifier, x: Tensor, y: Tensor, *, steps: int = 20, bounds: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """The closest x~ in L2 that fools the model, greedily: step to the nearest boundary of the model linearised at
    x_t (2 % further, and within the range of a pixel), until it is crossed.

    x: (B, ...) floating, within bounds = (lo, hi); y: (B,) int64; one image with a 0-dimensional y also works. Exact
    but for the overshoot on a linear model. On others each step is the shortest from x_t, which does not make their
    sum the shortest from x. Takes K gradients for K classes in each of `steps` steps. There is no chance in it.
    Returns x_adv like x, detached: x itself where that is misclassified already; where nothing was found, the point
    of least loss. Nothing waits for the device. The model is used in eval mode and left as it was.
    Source: Moosavi-Dezfooli et al. 2016, "DeepFool", algorithm 2; the range of a pixel is not considered there.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return deepfool(model, x[None], y[None], steps=steps, bounds=bounds)[0]
    check_search(x, y, None, bounds, steps=steps)
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        closest = Closest(model, x.detach().clone(), goal(y, None, margin), bounds)
        x_t = closest.clean
        closest.look(x_t)
        for _ in range(steps):
            step = _nearest(model, round_towards(x_t, closest.x), y, bounds) - x_t
            x_t = (x_t + (1 + OVERSHOOT) * step).clamp(*bounds)
            closest.look(x_t)
    return closest.x_adv


def _leads(model: Classifier, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, K), z_y - z_i (B, K), and the gradient of each (B, K, ...), at x; half precision as float32."""
    x = x.detach().clone().requires_grad_()
    logits = model(x)
    if not logits.requires_grad:  # a constant classifier
        slopes = x.new_zeros(len(x), logits.shape[1], *x.shape[1:])
    else:
        classes = range(logits.shape[1])
        slopes = torch.stack(
            [torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True, materialize_grads=True)[0] for k in classes],
            dim=1,
        )  # fmt: skip
    logits, slopes = widen(logits.detach()), widen(slopes)
    return logits, logits.gather(1, y[:, None]) - logits, slopes.gather(1, _index(y, x)) - slopes


def _ratio(lead: Tensor, steepness: Tensor) -> Tensor:
    """lead / steepness, inf where nothing leads to the boundary."""
    return (lead / steepness.where(steepness > 0, 1)).where(steepness > 0, math.inf)


def _nearest(model: Classifier, x: Tensor, y: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """`nearest_boundary` in the widened dtype of x."""
    logits, lead, slope = _leads(model, x, y)
    x = widen(x)
    if bounds is None:
        multiplier = _ratio(lead, slope.flatten(2).square().sum(2))
        step = -_broad(multiplier.nan_to_num(posinf=0.0), slope) * slope
    else:
        low, high = (end - x[:, None] for end in bounds)
        multiplier = _multiplier(lead, slope, low, high)
        step = (-_broad(multiplier.nan_to_num(posinf=0.0), slope) * slope).clamp(low, high)
    length = torch.linalg.vector_norm(step.flatten(2), dim=2)
    shortest, nearest = length.masked_fill(multiplier.isinf(), math.inf).scatter(1, y[:, None], math.inf).min(1)
    stay = misclassified(logits, y) | shortest.isinf()
    return choose(stay, x, x + step.gather(1, _index(nearest, x)).squeeze(1)).detach()


def _multiplier(lead: Tensor, slope: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """m (B, K): the shortest step within low and high that brings the lead to 0 is -m * slope, cut to them.

    Each pixel gains in proportion to m until it is at the end of its range. In the order in which they get there the
    sum of all gains is made of straight pieces; m lies on the first piece that reaches the lead. inf if none does.
    """
    size = slope.flatten(2).abs()
    room = torch.where(slope > 0, -low, high).flatten(2)
    ends = (room / size.where(size > 0, 1)).where(size > 0, math.inf)
    ends, order = ends.sort(dim=2)
    gained = (room * size).where(size > 0, 0).gather(2, order)
    # By those that are at their ends before; shifted, not subtracted, for the range may have no end.
    gained = torch.cat([torch.zeros_like(gained[..., :1]), gained.cumsum(2)[..., :-1]], dim=2)
    rate = size.square().gather(2, order).flip(2).cumsum(2).flip(2)  # of those that are not
    enough = (gained + ends.where(rate > 0, 0) * rate >= lead[:, :, None]) & (rate > 0)
    piece = enough.to(torch.uint8).argmax(2, keepdim=True)
    multiplier = ((lead[:, :, None] - gained) / rate.where(rate > 0, 1)).gather(2, piece).squeeze(2)
    return multiplier.where(enough.any(2), math.inf)


def _broad(values: Tensor, like: Tensor) -> Tensor:
    """One value for each image and class (B, K) in the shape that broadcasts against (B, K, ...)."""
    return values.view(*values.shape, *[1] * (like.ndim - 2))


def _index(classes: Tensor, x: Tensor) -> Tensor:
    """Classes (B,) as an index that picks from (B, K, ...) one image for each of x (B, ...)."""
    return classes.view(-1, 1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[1:])
