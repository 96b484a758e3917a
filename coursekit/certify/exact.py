"""Exact certification: is there an adversarial example in P(x), or is there none?

An attack looks first, because what it finds is an answer. Then bounds: what CROWN proves is an answer, too. What is
left is a mixed-integer program for each other class j: the smallest z_y - z_j in P(x), with a switch for each ReLU that
can be on or off (see `program`). The search branches on the switches until it knows that the smallest value is above 0,
or has a point where it is below; that point is then shown to the model itself.
Source: Tjeng et al. 2019, "Evaluating robustness of neural networks with mixed integer programming"; Bunel et al. 2020.
"""

import copy
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from coursekit.attacks import pgd, smallest_eps
from coursekit.attacks.common import check_batch
from coursekit.certify.layers import layers as layers_of
from coursekit.certify.program import Vector
from coursekit.certify.relaxations.crown import Walk
from coursekit.certify.relaxations.lp import image_program
from coursekit.certify.relaxations.region import Region
from coursekit.losses import check_labels, margin
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall

ROBUST, COUNTEREXAMPLE, UNDECIDED = "robust", "counterexample", "undecided"
CLEAR = 1e-5  # of the leads' size: what is nearer to 0 than that is within what the solver computes


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What is known of each image.

    status: "robust" (no point of P(x) is misclassified, proven), "counterexample" (x_adv is one, seen by the model),
    or "undecided" (the time was up, or the lead is so near to 0 that rounding decides). x_adv: like x; x itself where
    no counterexample is known. lead: (B,) float64, what z_y - max_j z_j is at least in P(x); where a counterexample is
    known, what it is there. seconds: (B,) float64, spent on bounds and programs.
    """

    status: list[str]
    x_adv: Tensor
    lead: Tensor
    seconds: Tensor

    def share(self, status: str = ROBUST) -> float:
        """How many of the images have this status, between 0 and 1."""
        return self.status.count(status) / max(len(self.status), 1)


@dataclass(frozen=True, eq=False)
class Distances:
    """How far x is, in L-inf, from the nearest point that the model gets wrong: at least lower, at most upper.

    Both (B,) float64; 0 where x itself is misclassified; upper is inf where nothing was found within eps_max. x_adv:
    like x, misclassified and `upper` away from x; x itself where nothing was found.
    """

    lower: Tensor
    upper: Tensor
    x_adv: Tensor


def verify(
    model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, *, time_limit: float = 10.0, attack: bool = True,
) -> Verdicts:  # fmt: skip
    """Is there a point of P(x) that the model gets wrong? With proof or counterexample, image by image.

    model: as for `relaxations.bounds`, ending with a Linear layer. Its size and eps decide how long it takes: each
    neuron that can be on and off in P(x) may double it; the shipped "mnist_mlp" takes a tenth of a second at eps 0.05.
    x: (B, ...) in threat.bounds; y: (B,) int64. threat: LpBall with p = inf. time_limit: seconds for each image; when
    they are over, it is "undecided", never "robust". attack: look with PGD first.
    Programs run on the CPU in float64; "robust" rests on bounds that hold up to rounding whatever the solver does, and
    on a lead of more than CLEAR. A counterexample lies in P(x) and is misclassified by the model itself, in its own
    dtype. Leaves the model, x and the global random state as they are. Raises ValueError or TypeError naming the
    argument.
    """
    _check(model, x, y, threat, time_limit)
    exact_model = copy.deepcopy(model).double().cpu()
    verdicts = []
    with evaluating(model), evaluating(exact_model):
        candidates = _attacked(model, x, y, threat) if attack else x.detach()
        for i in range(len(x)):
            one = slice(i, i + 1)
            verdicts.append(
                _verify_one(model, exact_model, x[one], y[one], threat.select(one), candidates[one], time_limit)
            )
    return Verdicts(
        [verdict.status for verdict in verdicts],
        torch.cat([x.detach()[:0], *(verdict.x_adv for verdict in verdicts)]),
        torch.tensor([verdict.lead for verdict in verdicts], dtype=torch.float64),
        torch.tensor([verdict.seconds for verdict in verdicts], dtype=torch.float64),
    )


def minimum_distance(
    model: nn.Module, x: Tensor, y: Tensor, *, eps_max: float = 0.5, bounds: tuple[float, float] = (0.0, 1.0),
    tolerance: float = 1e-4, time_limit: float = 60.0,
) -> Distances:  # fmt: skip
    """The exact L-inf distance from x to the nearest point that the model gets wrong, up to `tolerance`.

    Between the largest eps at which `verify` proves that there is nothing and the distance of the closest
    counterexample, by bisection, from what PGD finds. eps_max: where to stop looking. time_limit: seconds for each
    image; when they are over, the ends are as far apart as they then are, and both hold. Otherwise as `verify`.
    """
    for name, value in (("eps_max", eps_max), ("tolerance", tolerance)):
        if isinstance(value, bool) or not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ValueError(f"{name} must be a number above 0; got {value!r}")
    _check(model, x, y, LpBall(eps_max, math.inf, bounds), time_limit)
    attacked = smallest_eps(model, x, y, math.inf, eps_max=eps_max, loss=margin, bounds=bounds)
    found = []
    for i, reached in enumerate(attacked.tolist()):
        one = slice(i, i + 1)
        first = eps_max if math.isinf(reached) else reached
        found.append(_distance_of_one(model, x[one], y[one], first, eps_max, bounds, tolerance, time_limit))
    return Distances(
        torch.tensor([one.lower for one in found], dtype=torch.float64),
        torch.tensor([one.upper for one in found], dtype=torch.float64),
        torch.cat([x.detach()[:0], *(one.x_adv for one in found)]),
    )


# --- one image -----------------------------------------------------------------------------------------------------


class _Verdict(NamedTuple):
    status: str
    x_adv: Tensor  # (1, ...)
    lead: float
    seconds: float


class _Between(NamedTuple):
    lower: float
    upper: float
    x_adv: Tensor  # (1, ...)


def _verify_one(
    model: nn.Module, exact_model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, candidate: Tensor, seconds: float
) -> _Verdict:
    """x, candidate: (1, ...); y: (1,). candidate: a point of P(x) that may be a counterexample."""
    start = time.monotonic()
    status, lead = UNDECIDED, -math.inf
    if not _wrong(model, candidate, y):
        status, lead, pixels = _decide(exact_model, x, y, threat, start + seconds)
        if pixels is not None:
            candidate = threat.project(torch.from_numpy(pixels).view_as(x).to(x), x)
    if _wrong(model, candidate, y):
        with torch.no_grad():
            # The margin of log-probabilities is that of logits.
            return _Verdict(COUNTEREXAMPLE, candidate, -margin(model(candidate), y).item(), time.monotonic() - start)
    return _Verdict(status, x.detach(), lead, time.monotonic() - start)


def _decide(model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, until: float) -> tuple[str, float, Vector | None]:
    """ "robust" or "undecided", what the lead over every other class is at least, and pixels where a program found it
    to be below 0, if one did. model: in float64, on the CPU."""
    eps = threat.eps.double().cpu() if isinstance(threat.eps, Tensor) else threat.eps
    with torch.no_grad():
        walk = Walk(
            layers_of(model), Region.of(x.detach().double().cpu().clamp(*threat.bounds), replace(threat, eps=eps))
        )
        worst = walk.differences(y.cpu())[0]
    own = int(y)
    lead = {j: -value for j, value in enumerate(worst.tolist()) if j != own}
    if not all(map(math.isfinite, lead.values())):
        return UNDECIDED, -math.inf, None
    clear = CLEAR * max(1.0, *(abs(value) for value in lead.values()))
    if min(lead.values()) > clear:
        return ROBUST, min(lead.values()), None
    program, weight, constant = image_program(walk, 0, tighten=(until - time.monotonic()) / 2)
    best: tuple[float, Vector | None] = 0.0, None
    for j in sorted(lead, key=lambda j: lead[j]):
        if lead[j] > clear or time.monotonic() >= until:
            continue
        row, b = weight[own] - weight[j], constant[own] - constant[j]
        found = program.search(row, b, partial(_gap, model, x, own, j), until=until, stop=-clear, close=clear)
        lead[j] = max(lead[j], found.bound)
        if found.point is not None and found.value < best[0]:
            best = found.value, found.point[: x.numel()]
        if best[0] < -clear:
            break
    if best[1] is None and min(lead.values()) > clear:
        return ROBUST, min(lead.values()), None
    return UNDECIDED, min(lead.values()), best[1]


def _gap(model: nn.Module, x: Tensor, own: int, other: int, point: Vector) -> float:
    """z_y - z_j of the network itself at the pixels that a point of the program begins with."""
    pixels = torch.from_numpy(point[: x.numel()]).view(x.shape)
    with torch.no_grad():
        logits = model(pixels)[0]
    return float(logits[own] - logits[other])


def _distance_of_one(
    model: nn.Module, x: Tensor, y: Tensor, first: float, eps_max: float, bounds: tuple[float, float],
    tolerance: float, seconds: float,
) -> _Between:  # fmt: skip
    """first: the radius to begin with."""
    until = time.monotonic() + seconds
    lower, upper, nearest, eps = 0.0, math.inf, x.detach(), first
    while lower < min(upper, eps_max) and min(upper, eps_max) - lower > tolerance and time.monotonic() < until:
        found = verify(model, x, y, LpBall(eps, math.inf, bounds), time_limit=until - time.monotonic())
        if found.status[0] == COUNTEREXAMPLE:
            nearest = found.x_adv
            upper = (nearest.double() - x.double()).abs().max().item()
        elif found.status[0] == ROBUST:
            lower = eps
        else:
            break
        eps = (lower + min(upper, eps_max)) / 2 if math.isfinite(upper) else eps_max
    return _Between(lower, upper, nearest)


def _wrong(model: nn.Module, x: Tensor, y: Tensor) -> bool:
    with torch.no_grad():
        return bool(model(x).argmax(1) != y)


def _attacked(model: nn.Module, x: Tensor, y: Tensor, threat: LpBall) -> Tensor:
    """PGD on the margin, from x and from a few other points, the same ones each time."""
    generator = Generator(device=x.device).manual_seed(0)
    return pgd(model, x, y, threat, steps=30, restarts=3, loss=margin, generator=generator)


def _check(model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, time_limit: float) -> None:
    layers = layers_of(model)
    last = layers[-1] if layers else None
    if not isinstance(last, nn.Linear):
        raise ValueError(f"model must end with a Linear layer; got {type(last).__name__}")
    if last.out_features < 2:
        raise ValueError(f"model must have at least two classes; got {last.out_features}")
    if not isinstance(threat, LpBall) or threat.p != math.inf:
        got = f"p = {threat.p:g}" if isinstance(threat, LpBall) else type(threat).__name__
        raise ValueError(f"threat must be an LpBall with p = inf; got {got}")
    Region.of(x, threat)
    check_batch(x, y, None)
    check_labels("y", y, batch=len(x), classes=last.out_features)
    if isinstance(time_limit, bool) or not isinstance(time_limit, int | float) or not time_limit >= 0:
        raise ValueError(f"time_limit must be seconds, at least 0; got {time_limit!r}")
