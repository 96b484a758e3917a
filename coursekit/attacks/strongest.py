"""An ensemble of attacks, for evaluations: what one of them misses another may find."""

import torch
from torch import Generator, Tensor

from coursekit.attacks.common import Goal, check_generator, check_inputs, goal
from coursekit.attacks.pgd import ALL, Images, check_settings, cosine, pgd
from coursekit.losses import cross_entropy, margin
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import PerturbationSet, widen
from coursekit.perturbations.common import choose

SPREAD = 20.0  # between the largest and the smallest logit, where cross-entropy attacks best


def strongest(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, steps: int = 100, restarts: int = 10,
    early_stop: bool = True, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """PGD in three ways, each where the others are weak, on the images that are still standing.

    In every round: away from y by cross-entropy, of logits that are all scaled to the same spread; away from y by the
    margin; by the margin towards one other class, in round r the r-th most probable at x. Neither loss is blinded by
    large, small or shifted logits. The first round starts at x and leaves nothing to chance, the others start at
    random points of P(x). Steps get ever shorter (`cosine`, from eps). An image that stands to the end costs
    3 restarts x steps gradients, one that is easy to fool a few.

    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works. steps: of each
    run. restarts: the number of rounds. early_stop: only images still standing are attacked further; without it
    nothing waits for the device, and the margin of every image gets as large as possible. generator: the only source
    of random numbers if given. Returns x_adv like x, detached, inside P(x): of x and what the runs returned the point
    with the largest margin, where fooling the model counts before margin. The model is used in eval mode and left as
    it was. Raises ValueError or TypeError for what it cannot take.
    Source: after Croce and Hein 2020, "Reliable evaluation of adversarial robustness"; the targets as in Gowal et al.
    2019; the scaled cross-entropy after Yu and Xu 2023.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return strongest(
            model, x[None], y[None], threat, steps=steps, restarts=restarts, early_stop=early_stop, generator=generator
        )[0]  # fmt: skip
    check_inputs(x, y, threat, None)
    check_settings(steps, restarts)
    check_generator(generator)
    if not len(x):
        return x.detach().clone()
    with evaluating(model), differentiating():
        best = _Best(model, x.detach().clone(), goal(y, None, margin))
        others, origin = best.most_probable_others(), threat.origin(best.clean)
        for r in range(restarts):
            for loss, target in (even_cross_entropy, None), (margin, None), (margin, others[:, r % others.shape[1]]):
                images = (~best.fooled).nonzero().squeeze(1) if early_stop else ALL
                if isinstance(images, Tensor) and not len(images):
                    return best.x
                part = threat.select(images)
                # Drawn for all: where an image starts must not depend on how many others are still standing.
                start = threat.search.start(origin, generator=generator)[images] if r else None
                x_adv = pgd(
                    model, best.clean[images], best.aim.labels[images], part, loss=loss, steps=steps,
                    step_size=cosine(part.search.default_step(1), steps), random_start=False, start=start,
                    target=None if target is None else target[images], early_stop=early_stop,
                )  # fmt: skip
                best.update(x_adv, images)
    return best.x


def even_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of the logits scaled to the same spread for every image, so that it is flat for none of them.

    The scale counts as fixed when differentiating. logits (B, K), y int64 (B,) -> (B,).
    """
    z = widen(logits)
    spread = (z.amax(1, keepdim=True) - z.amin(1, keepdim=True)).detach()
    return cross_entropy(z / spread.where((spread > 0) & spread.isfinite(), 1) * SPREAD, y)


class _Best:
    """For every image the best point so far, by the margin."""

    def __init__(self, model: Classifier, x: Tensor, aim: Goal) -> None:
        self.model, self.clean, self.aim = model, x, aim
        with torch.no_grad():
            self.logits = model(x)
        self.x, self.margin, self.fooled = x.clone(), *self._judge(self.logits, ALL)

    def most_probable_others(self) -> Tensor:
        """All classes but y, the most probable first: (B, K - 1)."""
        z = self.logits.log_softmax(-1).mean(1) if self.logits.ndim == 3 else self.logits
        return z.scatter(1, self.aim.labels[:, None], -torch.inf).argsort(dim=1, descending=True)[:, :-1]

    def update(self, x: Tensor, images: Images) -> None:
        """Takes over those of the points x, of some images, that are better."""
        with torch.no_grad():
            margin, fooled = self._judge(self.model(x), images)
        before = self.fooled[images]
        better = fooled & ~before | (fooled == before) & (margin > self.margin[images])
        self.x[images] = choose(better, x, self.x[images])
        self.margin[images] = torch.where(better, margin, self.margin[images])
        self.fooled[images] = fooled | before

    def _judge(self, logits: Tensor, images: Images) -> tuple[Tensor, Tensor]:
        labels = self.aim.labels[images]
        return self.aim.objective(logits, labels), self.aim.reached(logits, labels)
