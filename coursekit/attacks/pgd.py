"""Projected gradient descent, the attack to begin with."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from coursekit.attacks.common import (
    Goal,
    at_coordinates,
    check_count,
    check_generator,
    check_inputs,
    goal,
    loss_and_gradient,
)
from coursekit.losses import Loss, cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import PerturbationSet, per_image, widen
from coursekit.perturbations.common import Steps, broad, choose

StepSize = float | Tensor
Schedule = Callable[[int], StepSize]
Images = slice | Tensor  # which of the batch: indices, or all of them
ALL = slice(None)
LOOK_EVERY = 4  # steps between two looks at which images are fooled; each look makes a GPU wait once


class Iterate(NamedTuple):
    """One step of PGD as recorded by `trace`: x_t like x, logits (B, K), loss (B,), on the device of x."""

    x: Tensor
    logits: Tensor
    loss: Tensor


def pgd(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, steps: int = 40,
    step_size: StepSize | Schedule | None = None, restarts: int = 1, random_start: bool = True,
    target: Tensor | int | None = None, loss: Loss = cross_entropy, early_stop: bool = True,
    generator: Generator | None = None, start: Tensor | None = None, trace: list[Iterate] | None = None,
) -> Tensor:  # fmt: skip
    """Projected gradient descent: x_{t+1} = Pi(x_t + eta_t * steepest(grad_x L(f(x_t), y))).

    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works.
    step_size: eta, one number or one per image, or a schedule t -> eta_t for t = 0 .. steps - 1, such as `cosine`;
    None takes 2.5 eps / steps throughout. For a rotation, eta is a share of its largest angle and shift.
    restarts: how often to start anew from a random point of P(x); without random_start all would be the same, so
    there is one. target: classes (B,) or one class for all, approached instead of fleeing y. loss: per example,
    maximised; minimised towards a target. A model that looks at an image S times returns logits (B, S, K): maximised
    is the mean of the S losses, and fooled means each time. early_stop: an image is done once it is fooled and keeps
    its first fooling point; one that was misclassified anyway comes back unchanged. generator: the only source of
    random numbers if given. start: the one point to start from (its projection), instead of at random or at x, in
    the coordinates of P(x): like x for a ball; x competes all the same. trace: a list that gets an Iterate for every
    step of every restart; an image that is done stays at its fooling point.

    Returns x_adv like x, detached, inside P(x): for each image the best point seen, x included, where fooling the
    model counts before loss. So no image has a lower loss than before, and restarts never lose anything. Only a
    single step without random start is returned as it is: that is FGSM. Without early_stop nothing waits for the
    device; with it, once in LOOK_EVERY steps. The model is used in eval mode and left as it was.
    Raises ValueError or TypeError for what it cannot take.
    Source: lecture, slide "Projected Gradient Descent"; Madry et al. 2018, eq. 2.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return pgd(
            model, x[None], y[None], threat, steps=steps, step_size=step_size, restarts=restarts,
            random_start=random_start, target=target, loss=loss, early_stop=early_stop, generator=generator,
            start=None if start is None else start[None], trace=trace,
        )[0]  # fmt: skip
    check_inputs(x, y, threat, target)
    check_settings(steps, restarts)
    if not callable(loss):
        raise TypeError(f"loss must be a function (logits, y) -> one value per image; got {type(loss).__name__}")
    check_generator(generator)
    if start is not None and (not isinstance(start, Tensor) or start.shape != threat.origin(x).shape):
        got = tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__
        raise ValueError(f"start must be a tensor like x, {tuple(threat.origin(x).shape)}; got {got}")
    if not len(x):
        return x.detach().clone()
    random_start = random_start and start is None
    with evaluating(model), differentiating():
        clean = x.detach().clone()
        origin = threat.origin(clean)
        etas = step_sizes(threat.search.default_step(steps) if step_size is None else step_size, steps, origin)
        search = _Search(model, clean, threat, goal(y, target, loss), early_stop, trace)
        if random_start or start is not None:  # else x is the first point of the search anyway
            search.look(origin, ALL)
        search.start_competes = steps > 1 or random_start or start is not None
        for _ in range(restarts if random_start else 1):
            if random_start:
                z = threat.search.start(origin, generator=generator)
            else:
                z = origin.clone() if start is None else threat.search.projector(origin)(start.detach())
            _search_from(z, origin, threat, etas, search)
    return search.x_adv


def cosine(eta: StepSize, steps: int) -> Schedule:
    """A schedule for pgd: eta_t = eta (1 + cos(pi t / steps)) / 2, long steps first, ever shorter ones to end with."""

    def eta_t(t: int) -> StepSize:
        return eta * ((1 + math.cos(math.pi * t / steps)) / 2)

    return eta_t


def ascend(
    gradient: Callable[[Tensor], Tensor], x_t: Tensor, x: Tensor, threat: Steps, etas: Sequence[StepSize]
) -> Tensor:
    """The slide's formula, from x_t: x_{t+1} = Pi(x_t + eta_t * steepest(grad))."""
    project = threat.projector(x)
    for eta in etas:
        x_t = project(threat.step(x_t, gradient(x_t), eta))
    return x_t


def _search_from(z: Tensor, origin: Tensor, threat: PerturbationSet, etas: list[StepSize], search: "_Search") -> None:
    """One restart: the formula in short runs, each on the images that are still to be fooled."""
    for done in range(0, len(etas), LOOK_EVERY):
        images = search.unfinished()
        if not isinstance(images, slice) and not len(images):
            return
        run = [eta[images] if isinstance(eta, Tensor) and eta.ndim else eta for eta in etas[done : done + LOOK_EVERY]]
        part = threat if isinstance(images, slice) else threat.select(images)
        gradient = partial(search.gradient, images=images, threat=part)
        z[images] = ascend(gradient, z[images], origin[images], part.search, run)
    search.look(z[images], images, traced=True)


class _Search:
    """What surrounds the loop: the best point of every image so far, which images are done, the trace."""

    def __init__(
        self, model: Classifier, x: Tensor, threat: PerturbationSet, aim: Goal, early_stop: bool,
        trace: list[Iterate] | None,
    ) -> None:  # fmt: skip
        self.model, self.x, self.threat, self.aim = model, x, threat, aim
        self.early_stop, self.trace = early_stop, trace
        self.x_adv = x.clone()
        self.loss = torch.full_like(aim.labels, -torch.inf, dtype=widen(x).dtype)
        self.fooled = torch.zeros_like(aim.labels, dtype=torch.bool)
        self.latest: Iterate | None = None
        self.start_competes = True

    def unfinished(self) -> Images:
        """The images that are still worth a step. With early stopping the one place that waits for the device."""
        if not self.early_stop:
            return ALL
        return (~self.fooled).nonzero().squeeze(1)

    def gradient(self, z: Tensor, images: Images, threat: PerturbationSet) -> Tensor:
        """The gradient of the objective at the coordinates z; what comes with it for free is remembered."""
        x = self.x[images]
        point = threat.render(z, x)
        logits, loss, gradient = loss_and_gradient(self.model, point, self.aim.labels[images], self.aim.objective)
        self._record(point, images, logits, loss)
        if self.start_competes:
            self._remember(point, images, logits, loss)
        return at_coordinates(threat, z, x, gradient)

    def look(self, z: Tensor, images: Images, traced: bool = False) -> None:
        """Let the points at z compete; no gradient."""
        with torch.no_grad():
            point = self.threat.select(images).render(z, self.x[images])
            logits = self.model(point)
            loss = self.aim.objective(logits, self.aim.labels[images])
        self._record(point, images, logits, loss, keep=traced)
        self._remember(point, images, logits, loss)

    def _done(self, images: Images) -> Tensor:
        """Which images have their final result: also between two looks, so that it does not show when they come."""
        return self.fooled[images] if self.early_stop else torch.zeros_like(self.fooled[images])

    def _remember(self, point: Tensor, images: Images, logits: Tensor, loss: Tensor) -> None:
        fooled, before = self.aim.reached(logits, self.aim.labels[images]), self.fooled[images]
        better = fooled & ~before | (fooled == before) & (loss > self.loss[images])
        better = better & ~self._done(images)
        if isinstance(images, slice):
            torch.where(broad(better, point), point, self.x_adv, out=self.x_adv)
        else:
            self.x_adv[images] = choose(better, point, self.x_adv[images])
        self.loss[images] = choose(better, loss.to(self.loss.dtype), self.loss[images])
        self.fooled[images] = fooled | before

    def _record(self, point: Tensor, images: Images, logits: Tensor, loss: Tensor, *, keep: bool = True) -> None:
        if self.trace is None:
            return
        news = Iterate(point.clone(), logits, self._signed(loss))  # point may be a view of x_t, which moves on
        if self.latest is None:  # the first time, images are all of them
            self.latest = news
        else:
            self.latest = Iterate(*(part.clone() for part in self.latest))
            for part, new in zip(self.latest, news, strict=True):
                part[images] = choose(self._done(images), part[images], new)
        if keep:
            self.trace.append(self.latest)

    def _signed(self, loss: Tensor) -> Tensor:
        """The loss as its formula has it, towards a target too."""
        return -loss if self.aim.targeted else loss


def step_sizes(step_size: StepSize | Schedule, steps: int, z: Tensor) -> list[StepSize]:
    """eta_t for every step: a number, or one per image (B,) where z is. Raises if it cannot be one."""
    etas = [step_size(t) if callable(step_size) else step_size for t in range(steps)]
    for eta in etas:
        if isinstance(eta, Tensor):
            per_image(eta, z, "step_size")
            if eta.device.type == "cpu" and not bool(((eta >= 0) & eta.isfinite()).all()):
                raise ValueError(f"step_size must be finite and >= 0 for every image; got {eta.tolist()}")
        elif isinstance(eta, bool) or not isinstance(eta, (int, float)):
            raise TypeError(f"step_size must be a number or one per image (B,); got {type(eta).__name__}")
        elif not 0 <= eta < math.inf:
            raise ValueError(f"step_size must be finite and >= 0; got {eta}")
    return [eta.to(z) if isinstance(eta, Tensor) else eta for eta in etas]


def check_settings(steps: int, restarts: int) -> None:
    """Raises unless both are whole numbers >= 1."""
    check_count("steps", steps)
    check_count("restarts", restarts)
