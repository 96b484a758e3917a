"""What surrounds an attack that looks for the closest adversarial example: what it has found so far, and where."""

import math

import torch
from torch import Tensor

from coursekit.attacks.common import Goal, check_batch, check_count, check_range, loss_and_gradient, misclassified
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import per_image, round_towards, widen
from coursekit.perturbations.common import choose, norm

CLEARANCE = 4  # units in the last place of the largest logit


class Closest:
    """The closest point found so far that fools the model, for every image of the batch.

    x_adv: like x; where nothing fools the model yet, the point of least loss, which is -objective of the goal.
    distance: (B,) in L2, inf where nothing was found, 0 where x itself does. hits: how many points fooled the model.
    logits, loss: those of the last point looked at. Nothing here waits for the device.
    """

    def __init__(self, model: Classifier, x: Tensor, aim: Goal, bounds: tuple[float, float]) -> None:
        self.model, self.x, self.clean, self.aim, self.bounds = model, x, widen(x), aim, bounds
        self.x_adv = x.clone()
        self.distance = torch.full_like(aim.labels, torch.inf, dtype=self.clean.dtype)
        self.least = self.distance
        self.hits = torch.zeros_like(aim.labels)

    def gradient(self, x_t: Tensor, aim: Goal | None = None) -> Tensor:
        """The gradient of the loss (of another goal's, if there is one) at x_t; what it sees is remembered."""
        aim = aim or self.aim
        point = round_towards(x_t, self.x)
        self.logits, self.loss, gradient = loss_and_gradient(
            self.model, point, aim.labels, lambda logits, y: -aim.objective(logits, y)
        )
        self._remember(point)
        return widen(gradient)

    def look(self, x_t: Tensor) -> Tensor:
        """Which points x_t fool the model, bool (B,): a forward pass alone; what it sees is remembered."""
        point = round_towards(x_t, self.x)
        with torch.no_grad():
            self.logits = self.model(point)
            self.loss = -self.aim.objective(self.logits, self.aim.labels)
        return self._remember(point)

    def approach(self, halvings: int) -> None:
        """Bisection between x and the closest point, for where the segment crosses the boundary: forward passes."""
        segment = widen(self.x_adv) - self.clean
        near, far = torch.zeros_like(self.distance), torch.ones_like(self.distance)
        for _ in range(halvings):
            middle = (near + far) / 2
            fooled = self.look((self.clean + per_image(middle, segment) * segment).clamp(*self.bounds))
            near, far = near.where(fooled, middle), middle.where(fooled, far)

    def _remember(self, point: Tensor) -> Tensor:
        distance = norm(point - self.clean, 2)
        fooled = self._fooled(distance)
        closer = fooled & (distance < self.distance)
        # Another goal's loss is no measure of how near to this one an image is.
        loss = -self.aim.objective(self.logits, self.aim.labels).to(self.least)
        nearly = ~fooled & (loss < self.least) & self.distance.isinf()
        self.x_adv = choose(closer | nearly, point, self.x_adv)
        self.distance, self.least = distance.where(closer, self.distance), loss.where(nearly, self.least)
        self.hits = self.hits + fooled
        return fooled

    def _fooled(self, distance: Tensor) -> Tensor:
        """Which points fool the model, by more than rounding unless they are x itself.

        In a batch of another size a model's logits differ in their last places. A point right on the boundary would
        be adversarial in one batch and not in the next.
        """
        logits = self.logits.detach()
        largest = logits.abs().nan_to_num(posinf=0.0).amax(dim=-1, keepdim=True)
        clearance = CLEARANCE * torch.finfo(logits.dtype).eps * largest
        labels = self.aim.labels.view(-1, *[1] * (logits.ndim - 1)).expand_as(clearance)
        handicapped = logits.scatter_add(-1, labels, -clearance if self.aim.targeted else clearance)
        clearly = self.aim.reached(handicapped, self.aim.labels)
        return clearly | (distance == 0) & self.aim.reached(logits, self.aim.labels)


def closest(model: Classifier, x: Tensor, y: Tensor, candidates: Tensor, p: float = 2) -> tuple[Tensor, Tensor]:
    """For every image the closest of several points that the model gets wrong, and whether there is one.

    x: (B, ...), y: (B,) int64. candidates: (T, B, ...), T >= 1 points for each image: the iterates of an attack, or
    the results of T attacks. p: the norm of the distance. Returns x_adv like x and found, bool (B,): x itself where
    that is misclassified, which counts as found, and where no candidate is. The model is used in eval mode.
    """
    check_search(x, y, None, (-math.inf, math.inf))
    if candidates.ndim != x.ndim + 1 or candidates.shape[1:] != x.shape or not len(candidates):
        raise ValueError(f"candidates must be (T, {', '.join(map(str, x.shape))}); got {tuple(candidates.shape)}")
    x_adv, least = x.detach().clone(), torch.full_like(y, torch.inf, dtype=widen(x).dtype)
    with torch.no_grad(), evaluating(model):
        for point in (x, *candidates):
            distance = norm(widen(point) - widen(x), p)
            closer = misclassified(model(point), y) & (distance < least)
            x_adv, least = choose(closer, point, x_adv), distance.where(closer, least)
    return x_adv, least.isfinite()


def check_search(
    x: Tensor, y: Tensor, target: Tensor | int | None, bounds: tuple[float, float], **counts: int
) -> None:  # fmt: skip
    """Raises unless x, y and target are a batch within bounds, and every count is an int of at least 1."""
    check_batch(x, y, target)
    if not (isinstance(bounds, tuple) and len(bounds) == 2 and bounds[0] < bounds[1]):
        raise ValueError(f"bounds must be (lo, hi) with lo < hi; got {bounds!r}")
    check_range(x, bounds)
    for name, value in counts.items():
        check_count(name, value)


def unit_length(bounds: tuple[float, float]) -> float:
    """The width of the image range, what step lengths are measured in; 1 if it has none."""
    return bounds[1] - bounds[0] if math.isfinite(bounds[1] - bounds[0]) else 1.0
