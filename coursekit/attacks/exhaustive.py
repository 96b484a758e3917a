"""The truth about a small set, by trying it: every point of a grid over a ball in the plane, or over all rotations."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from coursekit.attacks.common import Goal, check_inputs, goal
from coursekit.losses import Loss, cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import LpBall, Masked, PerturbationSet, Rotation, per_image

MOST_COORDINATES = 4
Points = int | Sequence[int]


class Landscape(NamedTuple):
    """The loss on a grid of n1 x n2 x ... points of P(x), for each image.

    z: the points in the coordinates of the set, (B, n1, n2, ..., *coordinates): positions in the plane for a ball,
    shares of the largest angle and shifts (3) for a rotation. loss: (B, n1, n2, ...). fooled: bool, like loss.
    """

    z: Tensor
    loss: Tensor
    fooled: Tensor


def exhaustive(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, points: Points = 11,
    target: Tensor | int | None = None, loss: Loss = cross_entropy, batch_size: int = 1000,
) -> Tensor:  # fmt: skip
    """The worst of all points of a grid over P(x): argmax over x~ in grid(x) of l(f(x~), y).

    For a set of at most four coordinates: a rotation has three (one without shift), a ball as many as x has numbers,
    a mask as many as it has pixels. points: how many along each coordinate, one number or one for each; odd numbers
    include the middle. For a ball the grid fills the ball and the image range up to their edges, whatever p.

    For each image a point that fools the model counts before one that does not, then the higher loss (towards a
    target: the lower), then the one nearer to x in the set's coordinates. x itself competes. So no point of the grid
    is worse. Between the points nothing is proven: a region of wrong answers narrower than the grid goes unseen, and
    then an attack may find what this does not. It takes points ** coordinates evaluations of the model per image, at
    most batch_size at a time.

    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works. target, loss:
    as in `pgd`. Returns x_adv like x, detached, inside P(x). Nothing is random, nothing waits for the device. The
    model is used in eval mode and left as it was. Raises ValueError or TypeError for what it cannot take.
    Source: lecture, slide "Adversarial Attacks: Objective Function"; Engstrom et al. 2019, section 3 (grid search).
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return exhaustive(
            model, x[None], y[None], threat, points=points, target=target, loss=loss, batch_size=batch_size
        )[0]  # fmt: skip
    check_inputs(x, y, threat, target)
    grid = _grid(threat, threat.origin(x), points)
    unit = grid.view(-1, grid.shape[-1])
    if not len(x):
        return x.detach().clone()
    # From the middle outwards, and x itself before all: of equally bad points the first is the nearest.
    unit = torch.cat([torch.zeros_like(unit[:1]), unit[unit.norm(dim=1).argsort(stable=True)]])
    with evaluating(model), differentiating(), torch.no_grad():
        clean = x.detach().clone()
        value, fooled = _evaluate(model, clean, threat, unit, goal(y, target, loss), batch_size)
        worst = _first_best(fooled, value)
        return threat.render(_place(threat, unit[worst], clean), clean)


def landscape(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, *, points: Points = 11,
    target: Tensor | int | None = None, loss: Loss = cross_entropy, batch_size: int = 1000,
) -> Landscape:  # fmt: skip
    """The loss on the grid that `exhaustive` searches, as a table for a figure: z, loss and fooled for each image.

    For a rotation the axes are angle, shift to the right and shift down, each from -1 to 1 in units of its largest;
    those whose largest is 0 are left out. Arguments as for `exhaustive`, and for one image with a 0-dimensional y no
    batch dimension; the loss towards a target is as its formula has it, small near the target. Raises ValueError or
    TypeError for what it cannot take.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        table = landscape(
            model, x[None], y[None], threat, points=points, target=target, loss=loss, batch_size=batch_size
        )  # fmt: skip
        return Landscape(*(part[0] for part in table))
    check_inputs(x, y, threat, target)
    grid = _grid(threat, threat.origin(x), points)
    unit = grid.view(-1, grid.shape[-1])
    with evaluating(model), differentiating(), torch.no_grad():
        clean, aim = x.detach().clone(), goal(y, target, loss)
        value, fooled = _evaluate(model, clean, threat, unit, aim, batch_size)
        image, point = _pairs(len(x), len(unit))
        z = _place(threat.select(image), unit[point], clean[image])
    shape = (len(x), *grid.shape[:-1])
    value = -value if aim.targeted else value
    return Landscape(z.view(*shape, *z.shape[1:]), value.view(shape), fooled.view(shape))


def _grid(threat: PerturbationSet, origin: Tensor, points: Points) -> Tensor:
    """The grid over the unit cube [-1, 1]^d of the coordinates, (n1, n2, ..., d); 0 along those that cannot move."""
    free = _free(threat, origin)
    count = int(free.sum())
    if count > MOST_COORDINATES:
        raise ValueError(
            f"threat must have at most {MOST_COORDINATES} coordinates, because a grid of n points along each of d has "
            f"n**d; got {count}"
        )
    numbers = list(points) if isinstance(points, Sequence) else [points] * count
    for n in numbers:
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"points must be an int, or one for each coordinate; got {type(n).__name__}")
    if len(numbers) != count or any(n < 2 for n in numbers):
        raise ValueError(f"points must be at least 2 along each of the {count} coordinates; got {points!r}")
    axes = [torch.linspace(-1, 1, n, dtype=origin.dtype) for n in numbers]
    grid = torch.zeros(*numbers, len(free), dtype=origin.dtype)
    if axes:
        grid[..., free] = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return grid.to(origin.device)


def _free(threat: PerturbationSet, origin: Tensor) -> Tensor:
    """Which of an image's coordinates can move, bool (d,), on the CPU."""
    if isinstance(threat, Rotation):
        return torch.tensor(threat.free)
    if isinstance(threat, Masked) and not threat.per_image:
        return threat.mask.expand(1, *origin.shape[1:]).flatten().cpu()
    return torch.ones(origin.shape[1:].numel(), dtype=torch.bool)


def _place(threat: PerturbationSet, unit: Tensor, x: Tensor) -> Tensor:
    """Points of the unit cube, (B, d), as coordinates in P(x), (B, ...), each around its own x.

    For p = 1 and 2 the cube is pressed into the ball, each of its shells onto the sphere of the same radius, so that
    its surface becomes the ball's. What is beyond the image range is projected onto it, which brings no two points
    further apart: no point of P(x) is further from the grid than without the range.
    """
    search, origin = threat.search, threat.origin(x)
    ball = search.ball if isinstance(search, Masked) else search
    if not isinstance(ball, LpBall):
        raise TypeError(f"threat must be searched in an LpBall of coordinates; got {type(ball).__name__}")
    shell, length = (torch.linalg.vector_norm(unit, ord=p, dim=1, keepdim=True) for p in (torch.inf, ball.p))
    delta = (unit * (shell / length.where(length > 0, 1))).view(origin.shape)
    return search.projector(origin)(origin + per_image(ball.eps, origin) * delta)


def _evaluate(
    model: Classifier, x: Tensor, threat: PerturbationSet, unit: Tensor, aim: Goal, batch_size: int
) -> tuple[Tensor, Tensor]:
    """The objective and whether it is fooled, each (B, G), for every image at every point of the unit cube (G, d)."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an int of at least 1; got {batch_size!r}")
    value, fooled = [], []
    for image, point in zip(*(part.split(batch_size) for part in _pairs(len(x), len(unit))), strict=True):
        part, pixels, labels = threat.select(image), x[image], aim.labels[image]
        logits = model(part.render(_place(part, unit[point], pixels), pixels))
        value.append(aim.objective(logits, labels))
        fooled.append(aim.reached(logits, labels))
    shape = len(x), len(unit)
    return torch.cat(value).view(shape), torch.cat(fooled).view(shape)


def _pairs(images: int, points: int) -> tuple[Tensor, Tensor]:
    """All pairs of an image and a point, as two index tensors; on the CPU, which every device takes."""
    return torch.arange(images).repeat_interleave(points), torch.arange(points).repeat(images)


def _first_best(fooled: Tensor, value: Tensor) -> Tensor:
    """The first point (B,) with the highest value among those that fool, or among all if none does; both (B, G)."""
    value = value.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    candidate = fooled == fooled.any(1, keepdim=True)
    best = value.where(candidate, -torch.inf).amax(1, keepdim=True)
    rank = torch.arange(value.shape[1], device=value.device)
    return rank.where(candidate & (value == best), value.shape[1]).amin(1)
