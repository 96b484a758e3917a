"""Adversarial training: which points of P(x) the loop trains on, and what they cost."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from coursekit.attacks import fgsm, input_gradient, pgd
from coursekit.attacks.pgd import ascend
from coursekit.losses import cross_entropy
from coursekit.models.state import differentiating, evaluating
from coursekit.perturbations import LpBall, Masked, PerturbationSet
from coursekit.training.loop import fit, training_step
from coursekit.training.processes import ALONE, Processes
from coursekit.training.progress import Attack
from coursekit.training.schedules import Schedule, constant
from coursekit.training.threats import check_threat, in_words

METHODS = ("fgsm", "fast", "free", "pgd", "trades")
VALIDATION_STEPS = 10


def adversarial_fit(
    model: nn.Module, x: Tensor, y: Tensor, threat: PerturbationSet, *, method: str = "pgd", steps: int = 7,
    beta: float = 6.0, eps_schedule: Schedule | None = None, generator: Generator | None = None,
    processes: Processes = ALONE, validation_attack: Attack | None = None, **settings,
) -> nn.Module:  # fmt: skip
    """Adversarial training: `fit` on the worst point of P(x) that an attack finds, instead of on x.

    method, with the passes (forward and back) that a batch takes, where standard training takes one:
      "fgsm"    2           one step from x. Goodfellow et al. 2015, section 6.
      "fast"    2           one step of 1.25 eps from a random point of the ball, whatever the range of a pixel: started
                            inside it, pixels at its ends would all step to the surface. Wong et al. 2020, algorithm 3.
      "free"    steps       trains on each of `steps` points of an ascent; the pass that updates the model also gives
                            the next point. That many updates for each batch, so ask for fewer epochs.
                            Shafahi et al. 2019, algorithm 1 (which begins where the batch before ended, not at random).
      "pgd"     steps + 1   `steps` steps from a random point. Madry et al. 2018, section 4.
      "trades"  steps + 2   `steps` steps that maximise KL(f(x) || f(x~)); minimises the cross-entropy at x plus beta
                            times that. Zhang et al. 2019, algorithm 1 (which starts close to x, not at random).
    Methods of one step may break down after some epochs: perfect against that step, helpless against PGD ("catastrophic
    overfitting"). validation=(x, y) shows it and keeps the best epoch.

    eps_schedule: t -> factor of the radius, such as `ramp(0.3)`, for an LpBall or Masked. validation_attack: None
    takes PGD with ten steps and the same random numbers every epoch, at the full radius. settings: as for `fit`.
    Raises ValueError for another method, steps below 1, beta below 0, a radius that cannot be scheduled, a radius or
    a mask for each image, and x outside the threat's bounds.
    Source: lecture, slide "Adversarial Training: Algorithm".
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
    check_threat(threat, x, y)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be an int of at least 1; got {steps!r}")
    if not beta >= 0:
        raise ValueError(f"beta must be at least 0; got {beta!r}")
    if eps_schedule is not None and not isinstance(threat, LpBall | Masked):
        raise ValueError(f"eps_schedule is for an LpBall or Masked; got a {type(threat).__name__}")
    if validation_attack is None and settings.get("validation") is not None:
        validation_attack = partial(_same_every_time, threat=threat)
    schedule = eps_schedule or constant

    def step(model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, t: float) -> Tensor:
        now = scaled(threat, schedule(t))
        # Drawn for the whole batch, then split: the number of processes makes no difference.
        around = without_range(now) if method == "fast" else now
        start = processes.share(around.search.sample(now.origin(x), generator=generator))
        if method == "free":
            return free_steps(model, optimizer, x, y, now, start, steps, processes)
        attack: Attack = {
            "fgsm": partial(fgsm, threat=now),
            "fast": partial(fast, threat=now, start=start),
            "pgd": partial(climb, threat=now, start=start, steps=steps),
            "trades": partial(disagree, threat=now, start=start, steps=steps),
        }[method]
        loss = partial(trades_loss, beta=beta) if method == "trades" else None
        return training_step(model, optimizer, x, y, attack, loss=loss, processes=processes)

    radius = _radius(threat)
    eps = None if radius is None else lambda t: radius * schedule(t)
    return fit(
        model, x, y, step=step, eps=eps, generator=generator, processes=processes,
        validation_attack=validation_attack,
        identity={"method": method, "steps": steps, "beta": float(beta), "threat": in_words(threat)}, **settings,
    )  # fmt: skip


def fast(model: nn.Module, x: Tensor, y: Tensor, threat: PerturbationSet, start: Tensor) -> Tensor:
    """One step of 1.25 eps uphill in the cross-entropy from `start`, coordinates in P(x). Returns x_adv like x.

    The model is used in eval mode and left as it was. Source: Wong et al. 2020, algorithm 3.
    """
    return _ascend(model, x, y, threat, start, [1.25 * threat.search.default_step(1)], cross_entropy)


def climb(model: nn.Module, x: Tensor, y: Tensor, threat: PerturbationSet, start: Tensor, steps: int) -> Tensor:
    """The end of `steps` steps of PGD from `start`: for training the last point does, so nothing else is computed.

    The model is used in eval mode and left as it was. Source: Madry et al. 2018, section 4.
    """
    return _ascend(model, x, y, threat, start, [threat.search.default_step(steps)] * steps, cross_entropy)


def disagree(model: nn.Module, x: Tensor, y: Tensor, threat: PerturbationSet, start: Tensor, steps: int) -> Tensor:
    """The point of P(x) where the model disagrees most with itself at x: `steps` steps up KL(f(x) || f(x~)).

    y is not looked at. The model is used in eval mode and left as it was. Source: Zhang et al. 2019, eq. 5.
    """
    with evaluating(model), differentiating():
        at_x = model(x).detach()
    etas = [threat.search.default_step(steps)] * steps
    return _ascend(model, x, y, threat, start, etas, lambda logits, _: divergence(at_x, logits))


def trades_loss(model: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor, beta: float) -> Tensor:
    """L(f(x), y) + beta KL(f(x) || f(x~)), (B,). Source: Zhang et al. 2019, eq. 5."""
    logits = model(x)
    return cross_entropy(logits, y) + beta * divergence(logits, model(x_adv))


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(others)) of each image, (B,).

    From log-probabilities throughout: where softmax rounds to 0, the logarithm of it would make 0 * inf = NaN.
    """
    return F.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="none", log_target=True).sum(1)


def free_steps(
    model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, threat: PerturbationSet, start: Tensor,
    steps: int, processes: Processes = ALONE,
) -> Tensor:  # fmt: skip
    """Training steps on the points of an ascent from `start`, each pass back giving both gradients.

    That is what makes it free, and why, other than in the attacks, the model climbs in train mode. Returns the mean
    loss, a detached scalar. Source: Shafahi et al. 2019, algorithm 1.
    """
    images, total, z = len(x), x.new_zeros(()), start
    x, y = processes.share(x), processes.share(y)
    project, eta = threat.search.projector(threat.origin(x)), threat.search.default_step(1)
    model.train()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        optimizer.zero_grad()
        mean = cross_entropy(model(threat.render(z, x)), y).sum() / images
        mean.backward()
        processes.add_gradients(model)
        optimizer.step()
        assert z.grad is not None
        z = project(threat.search.step(z.detach(), z.grad, eta))
        total += mean.detach() / steps
    return processes.sum(total)


def scaled(threat: PerturbationSet, factor: float) -> PerturbationSet:
    """The LpBall or Masked with `factor` times its radius; any other set as it is."""
    if isinstance(threat, LpBall):
        return dataclasses.replace(threat, eps=factor * threat.eps)
    if isinstance(threat, Masked):
        return dataclasses.replace(threat, ball=dataclasses.replace(threat.ball, eps=factor * threat.ball.eps))
    return threat


def without_range(threat: PerturbationSet) -> PerturbationSet:
    """The LpBall or Masked for pixels of any value; any other set as it is."""
    if isinstance(threat, LpBall):
        return dataclasses.replace(threat, bounds=(-math.inf, math.inf))
    if isinstance(threat, Masked):
        return dataclasses.replace(threat, ball=dataclasses.replace(threat.ball, bounds=(-math.inf, math.inf)))
    return threat


def _ascend(
    model: nn.Module, x: Tensor, y: Tensor, threat: PerturbationSet, z: Tensor, etas: list,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """The slide's formula in the coordinates of P(x); returns the last point, as an image."""
    with evaluating(model), differentiating():
        z = ascend(
            lambda z: input_gradient(lambda z: model(threat.render(z, x)), z, y, loss),
            z, threat.origin(x), threat.search, etas,
        )  # fmt: skip
        return threat.render(z, x).detach()


def _same_every_time(model: nn.Module, x: Tensor, y: Tensor, threat: PerturbationSet) -> Tensor:
    """PGD with random numbers of its own, so that epochs differ by their weights alone."""
    return pgd(model, x, y, threat, steps=VALIDATION_STEPS, generator=Generator().manual_seed(0))


def _radius(threat: PerturbationSet) -> float | None:
    """The radius for the history, if the set has one."""
    ball = threat.ball if isinstance(threat, Masked) else threat
    return float(ball.eps) if isinstance(ball, LpBall) and isinstance(ball.eps, int | float) else None
