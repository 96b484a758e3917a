"""One model, all that is known of it: attacked from above, certified from below, the exact truth between.

An attack can only show that images are not robust, a certificate only that they are. Between the two lies what nobody
has looked at yet, and where exact verification is affordable, nothing.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from coursekit.attacks import strongest
from coursekit.attacks.common import check_batch
from coursekit.certify import exact, lipschitz, relaxations
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall

ATTACK, EXACT = "attack", "exact"
BOUNDS = ("lp", "crown", "interval", "lipschitz")  # from the tightest to the loosest, mostly
NAMES = {"lp": "LP", "crown": "CROWN", "interval": "intervals", "lipschitz": "Lipschitz constant"}


@dataclass(frozen=True, eq=False)
class CertificationReport:
    """What is known of N images at each of E radii. Masks are bool (E, N), on the CPU.

    eps: the radii, rising. p: of the ball. clean: (N,), classified correctly. standing: not broken by the attack nor by
    a counterexample. certified: by name of a method, the images it proves robust. robust: proven by any of them or by
    exact verification. Where `standing` and `robust` differ, nobody knows.
    """

    eps: list[float]
    p: float
    clean: Tensor
    attacked: Tensor
    standing: Tensor
    robust: Tensor
    certified: dict[str, Tensor]
    exact: bool

    @property
    def unknown(self) -> Tensor:
        """Neither broken nor proven."""
        return self.standing & ~self.robust

    @property
    def contradictions(self) -> Tensor:
        """Proven robust and broken: at least one of the two is wrong. To be empty."""
        return self.robust & ~self.standing

    def rows(self) -> list[tuple[str, list[float]]]:
        """The table: what was done, and the share of all images that it leaves or proves, one for each radius."""
        found = [("after the attack", self.attacked)]
        if self.exact:
            found += [("exact: at most", self.standing), ("exact: at least", self.robust)]
        found += [(f"certified, {NAMES[name]}", mask) for name, mask in self.certified.items()]
        return [(name, mask.float().mean(1).tolist()) for name, mask in found]

    def __str__(self) -> str:
        ball = "L-inf" if self.p == math.inf else f"L{self.p:g}"
        head = f"{len(self.clean)} images, {self.clean.float().mean():.1%} correct; radius in {ball}"
        width = max(len(head), *(len(name) for name, _ in self.rows()))
        lines = [head.ljust(width) + "".join(f"{eps:>9g}" for eps in self.eps)]
        lines += [name.ljust(width) + "".join(f"{share:>9.1%}" for share in shares) for name, shares in self.rows()]
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col'>{eps:g}</th>" for eps in self.eps)
        body = "".join(
            f"<tr><th scope='row' style='text-align: left'>{html.escape(name)}</th>"
            + "".join(f"<td>{share:.1%}</td>" for share in shares) + "</tr>"
            for name, shares in self.rows()
        )  # fmt: skip
        caption = f"<caption>{html.escape(str(self).splitlines()[0].split(';')[0])}</caption>"
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<table>{caption}<thead><tr><th>radius</th>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    def _notes(self) -> list[str]:
        images = [i for i in range(len(self.clean)) if self.contradictions[:, i].any()]
        return [f"Proven robust and broken at once, so one of the two is wrong: images {images}"] if images else []


def certification_report(
    model: nn.Module, x: Tensor, y: Tensor, eps: float | Sequence[float], p: float = math.inf, *,
    bounds: tuple[float, float] = (0.0, 1.0), methods: Sequence[str] | None = None, time_limit: float = 0.0,
    attack: Callable[[nn.Module, Tensor, Tensor, LpBall], Tensor] | None = None, generator: Generator | None = None,
) -> CertificationReport:  # fmt: skip
    """Attack and certify each image at each radius.

    model: as for `relaxations.bounds`. x: (B, ...) in bounds; y: (B,) int64. eps: one radius or several. p: 2 or
    math.inf. methods: which of "interval", "crown", "lp" and "lipschitz" certify; None takes all but "lp", which takes
    long. time_limit: seconds of exact verification for each image that is neither broken nor certified; 0 leaves it
    out, and it exists for p = inf only. attack: (model, x, y, threat) -> x_adv; None takes `strongest` with two
    restarts. generator: for that attack; None seeds one. Raises ValueError or TypeError that names the argument.
    """
    radii = sorted([eps] if isinstance(eps, int | float) else eps)
    methods = [name for name in BOUNDS if name != "lp"] if methods is None else list(methods)
    _check(radii, p, methods, time_limit)
    check_batch(x, y, None)
    generator = generator or Generator(device=x.device).manual_seed(0)

    def by_default(model: nn.Module, x: Tensor, y: Tensor, threat: LpBall) -> Tensor:
        return strongest(model, x, y, threat, steps=50, restarts=2, generator=generator)

    with torch.no_grad(), evaluating(model):
        clean = (model(x).argmax(1) == y).cpu()
    attacked, standing, robust = [], [], []
    certified: dict[str, list[Tensor]] = {name: [] for name in BOUNDS if name in methods}
    reach = lipschitz.radius(model, x, y, p).cpu() if "lipschitz" in methods else None
    for radius in radii:
        threat = LpBall(radius, p, bounds)
        x_adv = (attack or by_default)(model, x, y, threat)
        with torch.no_grad(), evaluating(model):
            survived = clean & (model(x_adv).argmax(1) == y).cpu()
        for name, masks in certified.items():
            if reach is not None and name == "lipschitz":
                masks.append(reach > radius)
            else:
                masks.append(relaxations.certified(model, x, y, threat, name).cpu())
        proven = torch.stack([masks[-1] for masks in certified.values()] or [torch.zeros_like(clean)]).any(0)
        attacked.append(survived)
        standing.append(survived.clone())
        robust.append(proven)
        if time_limit:
            _settle(model, x, y, threat, time_limit, standing[-1], proven)
    return CertificationReport(
        radii, p, clean, torch.stack(attacked), torch.stack(standing), torch.stack(robust),
        {name: torch.stack(masks) for name, masks in certified.items()}, bool(time_limit),
    )  # fmt: skip


def _settle(
    model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, time_limit: float, standing: Tensor, robust: Tensor
) -> None:
    """Exact verification of what is neither broken nor proven; writes into the two masks."""
    (left,) = (standing & ~robust).nonzero(as_tuple=True)
    here = left.to(x.device)
    found = exact.verify(model, x[here], y[here], threat.select(here), time_limit=time_limit, attack=False)
    for image, status in zip(left.tolist(), found.status, strict=True):
        standing[image] = status != exact.COUNTEREXAMPLE
        robust[image] = status == exact.ROBUST


def _check(radii: Sequence[float], p: float, methods: Sequence[str], time_limit: float) -> None:
    if not radii or not all(isinstance(radius, int | float) and 0 <= radius < math.inf for radius in radii):
        raise ValueError(f"eps must be one radius or several, each a number of at least 0; got {list(radii)!r}")
    if p not in (2, math.inf):
        raise ValueError(f"p must be 2 or math.inf; got {p!r}")
    for name in methods:
        if name not in BOUNDS:
            raise ValueError(f"methods must be of {', '.join(map(repr, BOUNDS))}; got {name!r}")
    if not time_limit >= 0:
        raise ValueError(f"time_limit must be seconds, at least 0; got {time_limit!r}")
    if time_limit and p != math.inf:
        raise ValueError(f"time_limit must be 0 for p = {p:g}: exact verification is for p = inf")
