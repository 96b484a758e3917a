"""An attack report that doubts itself: would a robust model look like this, or any model that is hard to attack?"""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Generator, Tensor

from coursekit.attacks import fgsm, input_gradient, pgd, random_search
from coursekit.attacks.common import at_coordinates, check_inputs, goal
from coursekit.evaluation.accuracy import check_result, wilson_interval
from coursekit.losses import Loss, cross_entropy, margin
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import LpBall, Masked, PerturbationSet
from coursekit.perturbations.common import rows

DRAWS, QUERIES = 20, 100  # of noise, and of random search
SMALL = 0.05  # of eps: the step after which the loss is compared with what its gradient promised
MANY = 0.02  # the share of the images, at least two, from which on a difference is more than chance

NOISE, SEARCH, ONE_STEP, TRANSFER = "noise of the same size", "random search", "one step (FGSM)", "transfer"
PGD, MARGIN, GIVEN = "PGD", "PGD with the margin loss", "the attack"
TWICE, NO_LIMIT = "the same within twice the eps", "the same without limit"


@dataclass(frozen=True)
class AttackReport:
    """What an attack on N images came to, and what speaks against believing it.

    Tensors are (N,), on the CPU; of an image that is wrong without any attack nothing else is said. PGD is that with
    cross-entropy, from several random starts.
    right: classified correctly. fooled: by name of an attack, the images it fooled. judged: the name of the attack
    whose result is doubted. steps: of each start of PGD. threat: P(x) in words. gained: how many images each start of
    PGD added. zero_at_x, zero_margin_at_x: the gradient of the cross-entropy, of the margin, is zero at x. zero_steps:
    the share of PGD's steps with a zero gradient. rose: the loss ended higher than it is at x in some start.
    fooled_in: the step of PGD that was the first to fool, counted on over the starts, steps + 1 a start; -1: none.
    varies: asked again, the model gives other logits or another gradient at x. rise: how much the margin grows in a
    small step uphill, as a share of what its gradient promises; NaN where that promises nothing. lead: how far y is
    ahead of the best other class after the judged attack, in logits; negative if it is behind.
    """

    right: Tensor
    fooled: dict[str, Tensor]
    judged: str
    steps: int
    threat: str
    gained: list[int]
    zero_at_x: Tensor
    zero_margin_at_x: Tensor
    zero_steps: Tensor
    rose: Tensor
    fooled_in: Tensor
    varies: Tensor
    rise: Tensor
    lead: Tensor

    @property
    def survived(self) -> Tensor:
        """The images that are right whatever was tried within P(x), bool (N,)."""
        return self.right & ~torch.stack([self.fooled[name] for name in self._within()]).any(0)

    @property
    def robust(self) -> float:
        """The share of all images that survived: as for every attack, an upper bound on the truth."""
        return _count(self.survived) / len(self.right)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of `robust`, over the draw of the images."""
        return wilson_interval(_count(self.survived), len(self.right))

    @property
    def doubts(self) -> list[str]:
        """Why not to believe the judged attack: what was seen, on how many images, what to try. Empty if nothing.

        Source: Athalye et al. 2018, "Obfuscated gradients", section 3.1; Carlini et al. 2019, "On evaluating
        adversarial robustness", section 5.
        """
        return [*self._doubts_on_gradients(), *self._doubts_by_comparison(), *self._doubts_on_effort()]

    def explain(self, i: int) -> str:
        """What happened to image i, in a sentence."""
        if not self.right[i]:
            return "misclassified without any attack"
        names = [name for name in self._within() if self.fooled[name][i]]
        if self.judged == PGD and PGD in names:
            start, step = divmod(int(self.fooled_in[i]), self.steps + 1)
            return f"fooled by PGD, start {start + 1}, after {step} steps"
        if self.judged in names:
            return f"fooled by {self.judged}"
        said = [f"the label leads by {float(self.lead[i]):.2g} after {self.judged}"]
        if self.zero_steps[i]:
            said.append(f"the gradient is zero in {self.zero_steps[i]:.0%} of PGD's steps")
        if not self.rose[i]:
            said.append("the loss never rose")
        if self.varies[i]:
            said.append("the gradient is another one each time")
        if NO_LIMIT in self.fooled and not self.fooled[NO_LIMIT][i]:
            said.append(f"{self.judged} fails without any limit, too, where nothing is robust")
        elif TWICE in self.fooled:
            said.append(f"twice the eps {'is enough' if self.fooled[TWICE][i] else 'is not enough either'}")
        if names:
            return f"not robust: fooled by {', '.join(names)}, but not by {self.judged}: {'; '.join(said)}"
        return f"not fooled: {'; '.join(said)}"

    def rows(self) -> list[tuple[str, int, str]]:
        """The table: what was found, for how many images, which share that is."""
        right, (low, high) = _count(self.right), self.interval
        found = {f"fooled by {name}": fooled for name, fooled in self.fooled.items()} | {
            f"fooled, but not by {self.judged}": self.right & ~self.survived & ~self.fooled[self.judged],
            "zero gradient at x": self.zero_at_x,
            "zero gradient in most steps": self.zero_steps > 0.5,
            "loss never rose": self.right & ~self.rose,
            "another gradient each time": self.varies,
            "gradient does not describe the loss": self._jagged(),
        }
        return [
            ("right without attack", right, f"{right / len(self.right):.1%} of all"),
            *((what, _count(which), f"{_count(which) / max(right, 1):.1%}") for what, which in found.items()),
            ("survived everything", _count(self.survived), f"{self.robust:.1%} of all, {low:.1%} to {high:.1%}"),
        ]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(what) for what, _, _ in rows)
        lines = [f"{len(self.right)} images, {self.threat}"]
        lines += [f"  {what:<{width}} {count:>6}  {share}" for what, count, share in rows]
        return "\n".join(lines + ([f"Doubt: {doubt}" for doubt in self.doubts] or ["No doubts."]))

    def _repr_html_(self) -> str:
        def row(what: str, count: int, share: str) -> str:
            return f'<tr><td style="text-align: left">{html.escape(what)}</td><td>{count}</td><td>{share}</td></tr>'

        doubts = "".join(f"<li>{html.escape(doubt)}</li>" for doubt in self.doubts)
        return (
            f"<table><caption>{len(self.right)} images, {html.escape(self.threat)}</caption>"
            f"<thead><tr><th>what</th><th>images</th><th>share</th></tr></thead>"
            f"<tbody>{''.join(row(*cells) for cells in self.rows())}</tbody></table>"
            + (f"<p><b>Doubts</b></p><ul>{doubts}</ul>" if doubts else "<p><b>No doubts.</b></p>")
        )

    def _doubts_on_gradients(self) -> list[str]:
        doubts, right = [], _count(self.right)
        zero = self.right & (self.zero_at_x | (self.zero_steps > 0.5))
        shattered = zero & self.zero_margin_at_x
        if self._many(shattered):
            doubts.append(
                f"The gradient is zero for {_count(shattered)} of {right} images, whatever the loss: something in the "
                "model shatters or stops it. Put a differentiable stand-in in its place going back (straight-through), "
                "or attack without gradients."
            )
        elif self._many(zero) and self.judged == PGD:
            doubts.append(
                f"The gradient of the cross-entropy is zero for {_count(zero)} of {right} images, that of the margin "
                "is not: the softmax is saturated, rounding leaves nothing. Attack with loss=margin, or `strongest`."
            )
        if self._many(self.varies):
            doubts.append(
                f"The model answers {_count(self.varies)} of {right} images differently when asked again: it is "
                "random. Attack the mean loss over many draws (expectation over transformations)."
            )
        if self._many(self.right & ~self.rose) and self.judged == PGD:
            doubts.append(
                f"The loss of {_count(self.right & ~self.rose)} of {right} images never rose above that at x: "
                "ascent that does not ascend. Look at the gradient, or take shorter steps."
            )
        if self._many(self._jagged()):
            doubts.append(
                f"For {_count(self._jagged())} of {right} images a small step changes the loss by less than half or "
                "more than twice what the gradient says: it belongs to another function, or the loss is jagged. "
                "Smooth the loss over nearby points, or attack without gradients."
            )
        return doubts

    def _doubts_by_comparison(self) -> list[str]:
        meanings = {
            NOISE: "gradients do worse than no plan at all, so they mislead. Attack without gradients",
            SEARCH: "adversarial examples are there, the gradients do not lead to them. Attack without gradients",
            TRANSFER: "adversarial examples of another model work, the model's own gradients do not lead to them. "
            "Attack with gradients of a surrogate",
            ONE_STEP: "many steps must not do worse than one. Take shorter steps, and look at where the loss goes",
            PGD: "the plainest attack finds more. Report the best of both",
            MARGIN: "the margin is the better objective here. Report the best of both, or `strongest`",
        }
        doubts = []
        for name, meaning in meanings.items():
            missed = self.fooled[name] & ~self.fooled[self.judged] if name in self.fooled else torch.zeros(0)
            if self._many(missed):
                doubts.append(f"{_count(missed)} images that {self.judged} misses are fooled by {name}: {meaning}.")
        if TWICE in self.fooled and self._many(self.fooled[self.judged] & ~self.fooled[TWICE]):
            lost = _count(self.fooled[self.judged] & ~self.fooled[TWICE])
            doubts.append(
                f"{lost} images are fooled by {self.judged} within eps, but not within twice the eps, where the same "
                "points are allowed: the search gets lost. Take more steps, or shorter ones."
            )
        if NO_LIMIT in self.fooled and not torch.equal(self.fooled[NO_LIMIT], self.right):
            left = _count(self.right & ~self.fooled[NO_LIMIT])
            doubts.append(
                f"{self.judged} leaves {left} of {_count(self.right)} images standing even if it may change every "
                "pixel at will. Any image of another class is within reach then, so it is the attack that fails."
            )
        return doubts

    def _doubts_on_effort(self) -> list[str]:
        doubts: list[str] = []
        if self.judged != PGD:
            return doubts
        if len(self.gained) > 1 and self.gained[-1] >= self._enough():
            doubts.append(
                f"The last of {len(self.gained)} starts of PGD still fooled {self.gained[-1]} more images. "
                "Take more restarts until nothing changes."
            )
        late = (self.fooled_in >= 0.9 * self.steps) & (self.fooled_in <= self.steps)  # of the first start
        if self._many(late):
            doubts.append(
                f"{_count(late)} images were first fooled in the last tenth of PGD's {self.steps} steps. "
                "Take more steps until nothing changes."
            )
        return doubts

    def _within(self) -> list[str]:
        """The attacks that stay within P(x)."""
        return [name for name in self.fooled if name not in (TWICE, NO_LIMIT)]

    def _jagged(self) -> Tensor:
        return self.right & ((self.rise < 0.5) | (self.rise > 2))

    def _enough(self) -> float:
        return max(2, MANY * _count(self.right))

    def _many(self, images: Tensor) -> bool:
        return _count(images) >= self._enough()


def attack_report(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, attack: Callable[..., Tensor] | None = None,
    *, steps: int = 40, restarts: int = 3, surrogate: Classifier | None = None, generator: Generator | None = None,
) -> AttackReport:  # fmt: skip
    """Attacks the model and looks for every sign that what survives is hard to find rather than robust.

    x: (N, ...) floating, in threat.bounds; y: (N,) int64, N >= 1. attack: the one to judge, called with
    (model, x, y, threat) and returning x_adv like x: `strongest`, or a `functools.partial` of one with settings. None
    judges PGD with cross-entropy, `steps` and `restarts`, which is run and watched in any case. What an attack returns
    outside P(x) does not count. surrogate: another classifier of the same images; examples made for it are tried on
    this one. generator: the only source of random numbers if given, the model's and the attack's own apart.

    Costs at most (restarts + 3) steps gradients of each image that is right, the attack's own apart, and 120 looks
    without gradient. All images are attacked together. The model is used in eval mode and left as it was. Raises
    ValueError or TypeError for what it cannot take.
    """
    check_inputs(x, y, threat, None)
    if not len(x):
        raise ValueError("x must hold at least one image; got none")
    with evaluating(model), differentiating():
        right = ~_is_fooled(model, x, y)
        images = right.nonzero().squeeze(1)
        x_r, y_r, part = x.detach()[images], y[images], threat.select(images)
        plain = partial(pgd, steps=steps, generator=generator)
        name, judged = (PGD, partial(plain, restarts=restarts)) if attack is None else (GIVEN, attack)
        x_adv, gained, seen = _watched_pgd(model, x_r, y_r, part, steps, restarts, generator)
        results = {
            NOISE: _worst_noise(model, x_r, y_r, part, generator),
            SEARCH: random_search(model, x_r, y_r, part, queries=QUERIES, generator=generator),
            ONE_STEP: fgsm(model, x_r, y_r, part),
            PGD: x_adv,
            MARGIN: plain(model, x_r, y_r, part, loss=margin),
        }
        if surrogate is not None:
            results[TRANSFER] = plain(surrogate, x_r, y_r, part, early_stop=False)
        if attack is not None:
            results[GIVEN] = attack(model, x_r, y_r, part)
            check_result(results[GIVEN], x_r)
        fooled = {key: _is_fooled(model, z, y_r) & part.contains(z, x_r) for key, z in results.items()}
        for key, larger in {TWICE: _scaled(part, 2), NO_LIMIT: _unlimited(part, x_r)}.items():
            if larger is not None:
                fooled[key] = _is_fooled(model, judged(model, x_r, y_r, larger), y_r)
        seen |= _at_x(model, x_r, y_r, part) | {"lead": -_value(model, results[name], y_r, margin)}

    def all_images(values: Tensor) -> Tensor:
        return torch.zeros(len(x), dtype=values.dtype).index_copy(0, images.cpu(), values.cpu())

    return AttackReport(
        right.cpu(), {key: all_images(which) for key, which in fooled.items()}, name, steps, _in_words(threat), gained,
        **{key: all_images(values) for key, values in seen.items()},
    )  # fmt: skip


class _Watched:
    """The model, noting what comes of every call: the loss, who is fooled, whose gradient is zero."""

    def __init__(self, model: Classifier, y: Tensor) -> None:
        self.model, self.aim = model, goal(y, None, cross_entropy)
        self.loss: list[Tensor] = []
        self.fooled: list[Tensor] = []
        self.zero: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.zero.append(torch.ones_like(self.aim.labels, dtype=torch.bool))  # for as long as none arrives
            x = x.view_as(x)
            x.register_hook(self._note)
        logits = self.model(x)
        self.loss.append(self.aim.objective(logits.detach(), self.aim.labels))
        self.fooled.append(self.aim.reached(logits.detach(), self.aim.labels))
        return logits

    def _note(self, gradient: Tensor) -> None:
        self.zero[-1] = _is_zero(gradient)


def _watched_pgd(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, steps: int, restarts: int,
    generator: Generator | None,
) -> tuple[Tensor, list[int], dict[str, Tensor]]:  # fmt: skip
    """PGD's result, how many images each start added, and what it went through as AttackReport has it."""
    watched = _Watched(model, y)
    x_adv = pgd(watched, x, y, threat, steps=steps, restarts=restarts, early_stop=False, generator=generator)
    if not len(x):  # nothing to watch
        return x_adv, [0] * restarts, {"zero_steps": torch.zeros(0), "rose": y > 0, "fooled_in": y}
    before, *after = watched.loss  # at x, then steps + 1 points a start
    last = torch.stack(after).view(restarts, steps + 1, -1)[:, -1]
    fooled = torch.stack(watched.fooled[1:])
    first = torch.where(fooled.any(0), fooled.int().argmax(0), -1)
    gained = [_count(first.div(steps + 1, rounding_mode="floor") == start) for start in range(restarts)]
    return x_adv, gained, {
        "zero_steps": torch.stack(watched.zero).float().mean(0), "rose": (last > before).any(0), "fooled_in": first,
    }  # fmt: skip


def _at_x(model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet) -> dict[str, Tensor]:
    """What the gradients at x look like."""
    first, again, by_margin = (
        input_gradient(model, x, y, goal(y, None, loss).objective) for loss in (cross_entropy, cross_entropy, margin)
    )
    with torch.no_grad():
        logits, other_logits = model(x), model(x)
    origin = threat.origin(x)
    slope = at_coordinates(threat, origin, x, by_margin)
    step = threat.search.projector(origin)(threat.search.step(origin, slope, SMALL * threat.search.default_step(1)))
    promised = rows(slope * (step - origin)).sum(1)
    came = _value(model, threat.render(step, x), y, margin) - _value(model, x, y, margin)
    return {
        "zero_at_x": _is_zero(first), "zero_margin_at_x": _is_zero(by_margin),
        "varies": _differ(first, again) | _differ(logits, other_logits),
        "rise": torch.where(promised > 0, came / promised, torch.nan),
    }  # fmt: skip


def _worst_noise(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, generator: Generator | None
) -> Tensor:
    """The first of many random points of P(x) that fools the model, for each image; x where none does."""
    worst = x.clone()
    fooled = torch.zeros_like(y, dtype=torch.bool)
    for _ in range(DRAWS):
        point = threat.sample(x, generator=generator)
        hit = _is_fooled(model, point, y) & ~fooled
        worst, fooled = torch.where(hit.view(-1, *(1,) * (x.ndim - 1)), point, worst), fooled | hit
    return worst


def _is_fooled(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Which images the model gets wrong, bool (B,)."""
    with torch.no_grad():
        return goal(y, None, margin).reached(model(x), y)


def _value(model: Classifier, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    with torch.no_grad():
        return goal(y, None, loss).objective(model(x), y)


def _scaled(threat: PerturbationSet, factor: float) -> PerturbationSet | None:
    """P(x) with a larger eps; None for a set that has none."""
    if isinstance(threat, Masked):
        return replace(threat, ball=replace(threat.ball, eps=factor * threat.ball.eps))
    return replace(threat, eps=factor * threat.eps) if isinstance(threat, LpBall) else None


def _unlimited(threat: PerturbationSet, x: Tensor) -> LpBall | None:
    """A ball that holds the whole image range; None where the range has no ends, or only some pixels may change."""
    if not isinstance(threat, LpBall) or not all(map(math.isfinite, threat.bounds)):
        return None
    lo, hi = threat.bounds
    return replace(threat, eps=(hi - lo) * x.shape[1:].numel() ** (1 / threat.p))


def _in_words(threat: PerturbationSet) -> str:
    """P(x) for the table's heading."""
    if isinstance(threat, Masked):
        return f"{_in_words(threat.ball)} in some pixels"
    if isinstance(threat, LpBall):
        norm = "L-inf" if threat.p == math.inf else f"L{threat.p:g}"
        per_image = isinstance(threat.eps, Tensor) and threat.eps.ndim
        return f"{norm} ball of radius {'one per image' if per_image else f'{float(threat.eps):g}'}"
    return str(threat)


def _is_zero(gradient: Tensor) -> Tensor:
    return (rows(gradient).nan_to_num() == 0).all(1)


def _differ(first: Tensor, second: Tensor) -> Tensor:
    """Whether two answers are further apart than rounding."""
    size = rows(first).abs().amax(1)
    return rows(first - second).abs().amax(1) > 1e-3 * size


def _count(images: Tensor) -> int:
    return int(images.sum())
