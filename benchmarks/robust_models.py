"""The shipped mnist_cnn under ever stronger attacks, up to our ensemble beside AutoAttack's white-box part.

python -m benchmarks.robust_models [--quick] [--models pgd-0.3 ...] [--minutes 5] [--write]

Every model is attacked in L-inf at the radius it was trained for (standard: 0.1). AutoAttack's white-box part is its
APGD-CE, APGD-T and FAB-T with 100 steps each, as torchattacks has them, each on what the one before left standing.
"""

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from benchmarks.allocator import pin_allocator
from benchmarks.timing import machine, options, publish, table
from coursekit import data, models
from coursekit.attacks import fgsm, pgd, strongest
from coursekit.evaluation.budget import Counted, counting
from coursekit.losses import margin
from coursekit.perturbations import LpBall

Attack = Callable[[Counted, Tensor, Tensor, LpBall], Tensor]
AUTOATTACK = "AutoAttack's part"
CHUNK = 250  # images between two looks at the clock


def shipped() -> dict[str, tuple[str, float]]:
    """{"pgd-0.3": ("pgd", 0.3), ...}: the training and radius of every mnist_cnn that comes with the package."""
    names = sorted(path.stem.removeprefix("mnist_cnn-") for path in models.WEIGHTS.glob("mnist_cnn-*.safetensors"))
    parts = {name: name.split("-") for name in names}
    return {name: (training, float(eps[0]) if eps else 0.1) for name, (training, *eps) in parts.items()}


def autoattack(model: Counted, x: Tensor, y: Tensor, threat: LpBall, steps: int) -> Tensor:
    """APGD-CE, then APGD-T, then FAB-T, each on the images that are not fooled yet."""
    import torchattacks as ta

    settings = {"norm": "Linf", "eps": threat.eps, "steps": steps, "n_restarts": 1}
    x_adv = x.clone()
    for part in (ta.APGD(model, loss="ce", **settings), ta.APGDT(model, **settings),
                 ta.FAB(model, multi_targeted=True, **settings)):  # fmt: skip
        standing = survivors(model, x_adv, y).nonzero()[:, 0]
        if len(standing):
            x_adv[standing] = threat.project(part(x[standing], y[standing]), x[standing])
    return x_adv


def survivors(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Which images are classified correctly."""
    with torch.no_grad():
        return model(x).argmax(1) == y


@dataclass(frozen=True)
class Outcome:
    """Which of the first images survived, as many as the time allowed; what that took for each of them."""

    survived: Tensor
    gradients: float
    seconds: float

    of: int

    def __str__(self) -> str:
        """The robust accuracy, and on how many images if the time did not suffice for all."""
        text = f"{self.survived.double().mean():.1%}"
        return text if len(self.survived) == self.of else f"{text} of {len(self.survived)}"


def attacked(attack: Attack, model: Counted, x: Tensor, y: Tensor, threat: LpBall, minutes: float) -> Outcome:
    """The attack on one chunk of images after the other until the time is used up, on the first chunk in any case."""
    survived, start = [], time.perf_counter()
    model.reset()
    for x_b, y_b in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        if survived and time.perf_counter() - start > 60 * minutes:
            break
        x_adv = attack(model, x_b, y_b, threat)
        if not (allowed := threat.contains(x_adv, x_b)).all():
            raise ValueError(f"{int((~allowed).sum())} points of the attack lie outside of the ball")
        survived.append(survivors(model, x_adv, y_b))
    images = sum(map(len, survived))
    return Outcome(torch.cat(survived), model.gradients / images, (time.perf_counter() - start) / images, len(x))


def attacks(quick: bool) -> dict[str, Attack]:
    """From the weakest to the strongest."""
    steps, restarts = (2, 1) if quick else (100, 10)

    def seeded(attack: Callable[..., Tensor], **settings) -> Attack:
        return lambda *given: attack(*given, generator=Generator().manual_seed(0), **settings)

    return {
        "clean": lambda model, x, y, threat: x,
        "FGSM": fgsm,
        "PGD-20": seeded(pgd, steps=min(20, steps)),
        "PGD-100, margin": seeded(pgd, steps=steps, loss=margin),
        "strongest": seeded(strongest, steps=steps, restarts=restarts),
        AUTOATTACK: partial(autoattack, steps=steps),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """The shipped robust models under the strongest attacks."""
    known = shipped()
    chosen = options(
        main.__doc__, argv,
        ("--models", {"nargs": "+", "choices": tuple(known), "default": tuple(known)}),
        ("--minutes", {"type": float, "default": 15.0, "help": "at most, about, for one attack on one model"}),
    )  # fmt: skip
    x, y, _ = data.load("mnist", "test")
    x, y = x[: chosen.digits], y[: chosen.digits]
    wanted = attacks(chosen.quick)
    if not importlib.util.find_spec("torchattacks"):
        print("AutoAttack's part is left out: torchattacks is not installed. `make bench-robust` installs it.\n")
        del wanted[AUTOATTACK]
    accuracies, strengths = [], []
    for name in chosen.models:
        training, eps = known[name]
        model = counting(models.load("mnist_cnn", training, None if training == "standard" else eps)).eval()
        threat = LpBall(eps, math.inf)
        outcomes = {title: attacked(attack, model, x, y, threat, chosen.minutes) for title, attack in wanted.items()}
        title = f"{training}, eps {eps:g}"
        accuracies.append([title, *map(str, outcomes.values())])
        print("  ".join(accuracies[-1]), flush=True)  # the next takes minutes
        if AUTOATTACK in outcomes:
            strengths.append([title, *compared(outcomes["strongest"], outcomes[AUTOATTACK])])
    text = f"{table(['trained with', *wanted], accuracies)}\n\n{len(x)} digits, {machine()}"
    publish("robust models", text, chosen.write)
    if strengths:
        columns = ("", "fooled by both", "by strongest alone", "by AutoAttack's alone", "gradients", "seconds")
        publish("robust models: strength", table(columns, strengths), chosen.write)


def compared(ours: Outcome, theirs: Outcome) -> list[str]:
    """How many images each of two attacks fooled, of those both had time for; ours / theirs for an image."""
    images = min(len(ours.survived), len(theirs.survived))
    a, b = ~ours.survived[:images], ~theirs.survived[:images]
    counts = [str(int(mask.sum())) for mask in (a & b, a & ~b, b & ~a)]
    costs = [f"{ours.gradients:.0f} / {theirs.gradients:.0f}", f"{ours.seconds:.2g} / {theirs.seconds:.2g}"]
    return counts + costs


if __name__ == "__main__":
    pin_allocator()
    main()
