"""Certified training: on a bound of the worst loss in P(x), where adversarial training takes the worst point found."""

from dataclasses import replace
from functools import partial

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from coursekit.certify.relaxations import worst_case_logits
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall
from coursekit.training.loop import fit, training_step
from coursekit.training.processes import ALONE, Processes
from coursekit.training.schedules import Schedule, ramp
from coursekit.training.threats import check_threat, in_words

SHARE = 0.5  # of the bound in the loss, once the radius is the full one


def certified_fit(
    model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, *, eps_schedule: Schedule | None = None,
    generator: Generator | None = None, processes: Processes = ALONE, **settings,
) -> nn.Module:  # fmt: skip
    """Interval bound training: (1 - k) L(f(x), y) + k L(worst-case logits, y), where no x~ in P(x) has a larger loss.

    The bounds of an ordinary network are far too wide to learn from. So eps and k grow from 0 together, eps to its
    full size and k to 1/2. A batch takes about three passes. threat: LpBall, p = 2 or inf. eps_schedule: t -> factor
    of the radius, and of 1/2 for k; None takes ramp(0.7). model: of layers that `certify.relaxations` knows.
    settings: as for `fit`. Raises ValueError for a model or a threat that has no interval bounds, a radius for each
    image, and x outside the threat's bounds.
    Source: Gowal et al. 2018, "On the effectiveness of interval bound propagation", eq. 12.
    """
    schedule = eps_schedule or ramp(0.7)
    check_threat(threat, x, y)
    worst_case_logits(model, x[:1], y[:1], threat)  # raises if this is a model or a threat without bounds

    def step(model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, t: float) -> Tensor:
        share = schedule(t)
        loss = partial(certified_loss, threat=replace(threat, eps=share * threat.eps), k=SHARE * share)
        return training_step(model, optimizer, x, y, loss=loss, processes=processes)

    radius = threat.eps
    eps = None if isinstance(radius, Tensor) else lambda t: radius * schedule(t)
    identity = {"method": "ibp", "threat": in_words(threat)}
    return fit(model, x, y, step=step, eps=eps, generator=generator, processes=processes, identity=identity, **settings)


def certified_loss(model: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor, threat: LpBall, k: float) -> Tensor:
    """(1 - k) L(f(x), y) + k L(worst-case logits, y), (B,); x_adv is not looked at."""
    worst = worst_case_logits(model, x, y, threat)
    return (1 - k) * cross_entropy(model(x), y) + k * cross_entropy(worst, y)
