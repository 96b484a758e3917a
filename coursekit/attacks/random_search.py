"""An attack without gradients: what it finds and gradients do not was hidden from them, not absent."""

import torch
from torch import Generator, Tensor

from coursekit.attacks.common import check_count, check_generator, check_inputs, goal
from coursekit.losses import margin
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import PerturbationSet
from coursekit.perturbations.common import broad, choose
from coursekit.perturbations.random import uniform

LARGEST, SMALLEST = 0.5, 0.02  # the share of an image that a patch covers: at first, and in the end


def random_search(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, queries: int = 100,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Changes a random patch as far as P(x) allows, keeps the change if the margin grows, and tries the next.

    The patches get smaller. Nothing but the model's answers is used, `queries` + 1 of them for each image, so flat,
    shattered or missing gradients make no difference. On an honest model PGD is far stronger.
    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works. generator: the
    only source of random numbers if given. Returns x_adv like x, detached, inside P(x). Nothing waits for the device.
    The model is used in eval mode and left as it was. Raises ValueError or TypeError for what it cannot take.
    Source: after Andriushchenko et al. 2020, "Square Attack", algorithm 1.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return random_search(model, x[None], y[None], threat, queries=queries, generator=generator)[0]
    check_inputs(x, y, threat, None)
    check_count("queries", queries)
    check_generator(generator)
    x_adv = x.detach().clone()
    if not len(x):
        return x_adv
    with evaluating(model), torch.inference_mode(False), torch.no_grad():
        clean, aim = x_adv.clone(), goal(y, None, margin)
        z = origin = threat.origin(clean)
        width, project = 2 * threat.search.default_step(1), threat.search.projector(origin)
        logits = model(clean)
        best, fooled = aim.objective(logits, aim.labels), aim.reached(logits, aim.labels)
        for query in range(queries):
            share = LARGEST * (SMALLEST / LARGEST) ** (query / queries)
            candidate = project(threat.search.step(z, _patch(origin, share, generator), width))
            point = threat.render(candidate, clean)
            logits = model(point)
            value, hit = aim.objective(logits, aim.labels), aim.reached(logits, aim.labels)
            better = ~fooled & (hit | (value > best))
            z, x_adv = choose(better, candidate, z), choose(better, point, x_adv)
            best, fooled = torch.where(better, value, best), fooled | hit
    return x_adv


def _patch(z: Tensor, share: float, generator: Generator | None) -> Tensor:
    """+1 or -1, the same for all of a channel, in a random box for each image (B, ...); 0 outside of it."""
    axes = range(2, z.ndim) if z.ndim > 2 else (1,)
    side = share ** (1 / len(axes))
    channels = z[(slice(None), slice(None), *(slice(1),) * (z.ndim - 2))] if z.ndim > 2 else z[:, :1]
    patch = (uniform(channels, generator) - 0.5).sign()
    for axis in axes:
        length = z.shape[axis]
        shape = [1] * z.ndim
        shape[axis] = length
        position = torch.arange(length, device=z.device).view(shape)
        size = max(1, round(side * length))
        first = (uniform(broad(z.flatten(1)[:, 0], z), generator) * (length - size + 1)).floor()
        patch = patch * ((position >= first) & (position < first + size))
    return patch
