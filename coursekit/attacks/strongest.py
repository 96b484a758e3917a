"""An ensemble of attacks, for evaluations: what one of them misses another may find."""

import torch
from torch import Generator, Tensor

from coursekit.attacks.common import check_inputs, goal
from coursekit.attacks.pgd import ALL, check_settings, cosine, pgd
from coursekit.losses import cross_entropy, margin
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import PerturbationSet


def strongest(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, steps: int = 100, restarts: int = 10,
    early_stop: bool = True, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """PGD in three ways, each where the others are weak, on the images that are still standing.

    In every round: away from y by cross-entropy; away from y by the margin, which scaled or saturated logits do not
    blind; by the margin towards one other class, in round r the r-th most probable at x. The first round starts at x
    and leaves nothing to chance, the others start at random points of P(x). Steps get ever shorter (`cosine`). An
    image costs at most 3 restarts x steps gradients, one that is easy to fool only a few.

    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works. steps: of each
    run. restarts: the number of rounds. early_stop: only images still standing are attacked further; without it
    nothing waits for the device, and every image gets as large a margin as can be found. generator: the only source
    of random numbers if given. Returns x_adv like x, detached, inside P(x): the point with the largest margin of all
    runs and x itself. The model is used in eval mode and left as it was. Raises ValueError or TypeError for what it
    cannot take.
    Source: after Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks"; targets: Gowal et al. 2019.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return strongest(
            model, x[None], y[None], threat, steps=steps, restarts=restarts, early_stop=early_stop, generator=generator
        )[0]  # fmt: skip
    check_inputs(x, y, threat, None)
    check_settings(steps, restarts)
    x_adv = x.detach().clone()
    if not len(x):
        return x_adv
    aim = goal(y, None, margin)
    with evaluating(model), differentiating():
        logits = _logits(model, x_adv)
        best, fooled = aim.objective(logits, aim.labels), aim.reached(logits, aim.labels)
        others = _most_probable_others(logits, aim.labels)
        for r in range(restarts):
            nth = others[:, r % others.shape[1]]
            for loss, target in (cross_entropy, None), (margin, None), (margin, nth):
                images = (~fooled).nonzero().squeeze(1) if early_stop else ALL
                if isinstance(images, Tensor) and not len(images):
                    return x_adv
                labels, part = aim.labels[images], threat.select(images)
                point = pgd(
                    model, x[images], labels, part, steps=steps, step_size=cosine(part.search.default_step(1), steps),
                    random_start=r > 0, target=None if target is None else target[images], loss=loss,
                    early_stop=early_stop, generator=generator,
                )  # fmt: skip
                logits = _logits(model, point)
                value, won = aim.objective(logits, labels), aim.reached(logits, labels)
                better = won & ~fooled[images] | (won == fooled[images]) & (value > best[images])
                x_adv[images] = torch.where(better.view(-1, *(1,) * (x.ndim - 1)), point, x_adv[images])
                best[images] = torch.where(better, value, best[images])
                fooled[images] |= won
    return x_adv


def _logits(model: Classifier, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def _most_probable_others(logits: Tensor, y: Tensor) -> Tensor:
    """All classes but y, the most probable first: (B, K - 1)."""
    z = logits.log_softmax(-1).mean(1) if logits.ndim == 3 else logits
    return z.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)[:, :-1]
