"""The attack of Carlini and Wagner: the closest adversarial example, by a penalty and a search over its weight."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from coursekit.attacks.common import Goal, goal
from coursekit.attacks.minimum_norm import Closest, check_search
from coursekit.losses import cw_margin, cw_margin_targeted
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import per_image, round_towards, widen
from coursekit.perturbations.common import choose, norm

FIRST_LAMBDA = 2.0  # times the smallest lambda that would do if the model were linear
GROW, SHRINK = 1.3, 0.8  # what lambda is multiplied with when it was too small, and when it was large enough
UNTIL_FOUND = 3.0  # and as long as nothing was found with any lambda
SCOUTING = 4  # lambdas spent on each start before the closest of them is pursued
HALVINGS = 7  # of the last segment: within 1 % of where it crosses the boundary, mostly far less


class PenaltyStep(NamedTuple):
    """One step as recorded by `trace`, on the device of x: the point and what is known there.

    x: x_t like x; logits (B, K); loss: L(x_t, y) (B,); lam: lambda (B,); distance: ||x_t - x||_2 (B,).
    """

    x: Tensor
    logits: Tensor
    loss: Tensor
    lam: Tensor
    distance: Tensor


def descend(
    gradient: Callable[[Tensor], Tensor], x_t: Tensor, x: Tensor, lam: Tensor, bounds: tuple[float, float],
    times: range,
) -> Tensor:  # fmt: skip
    """The slide's formula by gradient descent: x_{t+1} = Pi(x_t - eta_t * grad(||x_t - x||_2^2 + lambda L(x_t, y))).

    eta_t = 1 / (t + 2), the step size for a function that curves like ||.||^2 and may have kinks like L.
    Source of the step size: Lacoste-Julien et al. 2012, "A simpler approach to obtaining an O(1/t) rate".
    """
    lam = per_image(lam, x)
    for t in times:
        x_t = (x_t - (2 * (x_t - x) + lam * gradient(x_t)) / (t + 2)).clamp(*bounds)
    return x_t


def carlini_wagner(
    model: Classifier, x: Tensor, y: Tensor, *, steps: int = 3, search_steps: int = 20, starts: int = 3,
    target: Tensor | int | None = None, bounds: tuple[float, float] = (0.0, 1.0),
    trace: list[PenaltyStep] | None = None,
) -> Tensor:  # fmt: skip
    """The closest x~ in L2 that fools the model: min over x~ of ||x~ - x||_2^2 + lambda * L(x~, y), search over lambda.

    L is the margin of the log-probabilities, losses.cw_margin, or towards a target losses.cw_margin_targeted.
    Too small a lambda leaves x~ classified as y, too large a one makes L's kink at the boundary hard to descend. So
    for every image lambda grows while the model is not fooled and shrinks when it is; each lambda takes `steps`
    gradient steps, in the pixels, clipped to their range, from where the one before ended (a warm start). The
    problem is not convex, and which other class is nearest is not known: the first few lambdas are tried towards
    each of the `starts` most probable other classes, and the closest result is where the search without a target
    goes on. At last the segment from x to the result is bisected, so that it ends just beyond the boundary.

    x: (B, ...) floating, within bounds = (lo, hi), the range of a pixel; y: (B,) int64; one image with a 0-dimensional
    y also works. target: classes (B,) or one class for all, to reach instead of leaving y (then there is one start).
    search_steps: how many lambdas. A model that looks at an image S times returns logits (B, S, K): L is the mean
    over them, and fooled means each time. trace: a list that gets a PenaltyStep for every gradient step.

    Takes 1 + steps * (search_steps + 4 (starts - 1)) gradients and HALVINGS forward passes: 85 and 7 by default. There
    is no chance in it. Returns x_adv like x, detached: x itself where that is misclassified (or the target) already;
    where nothing was found, the point of least L, which `robust_accuracy` then counts as robust.
    Nothing waits for the device. The model is used in eval mode and left as it was. Raises ValueError or TypeError
    for what it cannot take.
    Source: lecture, slide "Alternative Optimization Problem"; Carlini and Wagner 2017, sections V and VI.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return carlini_wagner(
            model, x[None], y[None], steps=steps, search_steps=search_steps, starts=starts, target=target,
            bounds=bounds, trace=trace,
        )[0]  # fmt: skip
    check_search(x, y, target, bounds, steps=steps, search_steps=search_steps, starts=starts)
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        aim = _aim(y, target)
        search = _Search(Closest(model, x.detach().clone(), aim, bounds), steps, trace)
        first, classes = search.first_lambda(), search.likeliest(starts)
        if aim.targeted or len(classes) < 2:
            search.over_lambda(first, search.closest.clean, 0, search_steps)
        else:
            scouting = min(SCOUTING, search_steps)
            lam, x_t = search.scout(first, classes, scouting)
            search.over_lambda(lam, x_t, scouting, search_steps)
        search.closest.approach(HALVINGS)
    return search.closest.x_adv


def penalty(
    model: Classifier, x: Tensor, y: Tensor, lam: float | Tensor, *, steps: int = 100,
    target: Tensor | int | None = None, bounds: tuple[float, float] = (0.0, 1.0), start: Tensor | None = None,
    trace: list[PenaltyStep] | None = None,
) -> Tensor:  # fmt: skip
    """min over x~ of ||x~ - x||_2^2 + lambda * L(x~, y) for one lambda: what `carlini_wagner` searches with.

    lam: lambda >= 0, one number or one per image (B,). start: like x, the point to start from, instead of x. Other
    arguments as for `carlini_wagner`. Returns x~ like x, detached: the point of the least objective among the `steps`
    of gradient descent and where they end. For a lambda that is too small that is no adversarial example.
    Source: lecture, slide "Alternative Optimization Problem".
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return penalty(
            model, x[None], y[None], lam, steps=steps, target=target, bounds=bounds,
            start=None if start is None else start[None], trace=trace,
        )[0]  # fmt: skip
    check_search(x, y, target, bounds, steps=steps)
    lam = _check_lambda(lam, x)
    if start is not None and (not isinstance(start, Tensor) or start.shape != x.shape):
        got = tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__
        raise ValueError(f"start must be a tensor like x, {tuple(x.shape)}; got {got}")
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        closest = Closest(model, x.detach().clone(), _aim(y, target), bounds)
        best, least = closest.x, torch.full_like(lam, torch.inf)

        def compare(x_t: Tensor) -> None:
            nonlocal best, least
            objective = norm(x_t - closest.clean, 2).square() + lam * closest.loss
            better = objective < least
            best, least = choose(better, round_towards(x_t, best), best), objective.where(better, least)

        def gradient(x_t: Tensor) -> Tensor:
            slope = closest.gradient(x_t)
            _record(trace, closest, x_t, lam)
            compare(x_t)
            return slope

        first = closest.clean if start is None else widen(start.detach().clone()).clamp(*bounds)
        last = descend(gradient, first, closest.clean, lam, bounds, range(steps))
        closest.look(last)
        compare(last)
    return best


def penalty_path(
    model: Classifier, x: Tensor, y: Tensor, lam: float | Tensor, *, steps: int = 100,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:  # fmt: skip
    """The points x_0 = x, x_1, ..., x_steps of the descent of `penalty`, (steps + 1, B, ...).

    Which of them fools the model most cheaply, `closest` says. Arguments as for `penalty`.
    """
    trace: list[PenaltyStep] = []
    penalty(model, x, y, lam, steps=steps + 1, bounds=bounds, trace=trace)
    return torch.stack([step.x for step in trace])


class _Search:
    """The search over lambda, for every image by itself."""

    def __init__(self, closest: Closest, steps: int, trace: list[PenaltyStep] | None) -> None:
        self.closest, self.steps, self.trace = closest, steps, trace

    def first_lambda(self) -> Tensor:
        """From the gradient at x. A linear model's L reaches 0 at the distance L / ||grad L||, if lambda is at least
        2 L / ||grad L||^2: then the slope of the distance there no longer outweighs that of lambda L."""
        slope = norm(self.closest.gradient(self.closest.clean), 2)
        enough = 2 * (self.closest.loss / slope) / slope
        return FIRST_LAMBDA * enough.where(enough.isfinite() & (enough > 0), 1)

    def likeliest(self, count: int) -> list[Tensor]:
        """The `count` most probable classes other than y at the point looked at last, each (B,)."""
        logits = self.closest.logits if self.closest.logits.ndim == 2 else self.closest.logits.mean(1)
        others = logits.scatter(1, self.closest.aim.labels[:, None], -torch.inf)
        return list(others.topk(min(count, others.shape[1] - 1), dim=1).indices.unbind(1))

    def scout(self, first: Tensor, classes: list[Tensor], search_steps: int) -> tuple[Tensor, Tensor]:
        """The lambda and the point to go on from: where a short search towards one of the classes came closest."""
        clean = self.closest.clean
        lam, x_t = first, clean
        for t in classes:
            before = self.closest.distance
            ended = self.over_lambda(first, clean, 0, search_steps, _aim(t, t))
            closer = self.closest.distance < before
            lam, x_t = ended[0].where(closer, lam), choose(closer, ended[1], x_t)
        return lam, x_t

    def over_lambda(
        self, lam: Tensor, x_t: Tensor, first: int, last: int, towards: Goal | None = None
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The search's steps number `first` to `last` - 1. Returns lambda (B,) and the point where they end."""
        for s in range(first, last):
            before = self.closest.hits
            gradient = partial(self.gradient, lam=lam, towards=towards)
            times = range(self.steps * s, self.steps * (s + 1))
            x_t = descend(gradient, x_t, self.closest.clean, lam, self.closest.bounds, times)
            grow = torch.full_like(lam, GROW).where(self.closest.distance.isfinite(), UNTIL_FOUND)
            lam = lam * grow.where(self.closest.hits == before, SHRINK)
        return lam, x_t

    def gradient(self, x_t: Tensor, lam: Tensor, towards: Goal | None) -> Tensor:
        """The gradient of L at x_t."""
        slope = self.closest.gradient(x_t, towards)
        _record(self.trace, self.closest, x_t, lam)
        return slope


def _aim(y: Tensor, target: Tensor | int | None) -> Goal:
    """A goal maximises: minus L."""
    loss = cw_margin_targeted if target is not None else (lambda logits, y: -cw_margin(logits, y))
    return goal(y, target, loss)


def _record(trace: list[PenaltyStep] | None, closest: Closest, x_t: Tensor, lam: Tensor) -> None:
    if trace is not None:
        point = round_towards(x_t, closest.x)
        trace.append(PenaltyStep(point, closest.logits, closest.loss, lam, norm(point - closest.clean, 2)))


def _check_lambda(lam: float | Tensor, x: Tensor) -> Tensor:
    """lambda for every image, (B,)."""
    if not isinstance(lam, Tensor) and (isinstance(lam, bool) or not isinstance(lam, (int, float))):
        raise TypeError(f"lam must be a number or one per image (B,); got {type(lam).__name__}")
    weight = per_image(lam, widen(x), "lam").reshape(-1)
    if weight.device.type == "cpu" and not bool(((weight >= 0) & weight.isfinite()).all()):
        raise ValueError(f"lam must be finite and >= 0; got {lam}")
    return weight.detach().clone()
