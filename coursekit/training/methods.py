"""Adversarial training: which points the loop trains on."""

from functools import partial

from torch import Generator, Tensor, nn

from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall
from coursekit.training.loop import Attack, fit


def adversarial_fit(
    model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, *, method: str = "pgd", steps: int = 7,
    generator: Generator | None = None, **settings,
) -> nn.Module:  # fmt: skip
    """Adversarial training: `fit` on the worst point of P(x) that an attack finds, instead of on x.

    method: "pgd" (`steps` steps from a random start, Madry et al. 2018, section 4) or "fgsm" (one step from x,
    Goodfellow et al. 2015, section 6). settings: as for `fit`. Raises ValueError for another method.
    Source: lecture, slide "Adversarial Training: Algorithm".
    """
    attacks: dict[str, Attack] = {
        "pgd": partial(pgd, threat=threat, steps=steps, early_stop=False, generator=generator),
        "fgsm": partial(fgsm, threat=threat),
    }
    if method not in attacks:
        raise ValueError(f"method must be one of {', '.join(map(repr, attacks))}; got {method!r}")
    return fit(model, x, y, attack=attacks[method], generator=generator, **settings)
