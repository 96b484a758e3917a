"""The LP relaxation: all linear constraints at once, each ReLU that may be on or off as its triangle.

Where CROWN has chosen one line below each ReLU, the linear program takes the best for what is asked. The neurons'
bounds are CROWN's, so that it is never worse. A ball, p = 2, is no polytope: it is cut out of its box by planes that
touch it where the program's solution lay outside.
Source: Ehlers 2017; Salman et al. 2019, "A convex relaxation barrier to tight robustness verification", section 3.
"""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.certify.program import Encoded, Vector, encode
from coursekit.certify.relaxations.crown import Walk
from coursekit.certify.relaxations.region import Interval

CUTS = 5  # planes for each question about a ball, at most: in many dimensions more bring next to nothing
OUTSIDE = 1e-3  # of the radius, where no more are needed


def outputs(walk: Walk, known: Interval) -> Interval:
    """The box of the logits, (B, K), at least as tight as `known`."""
    lower, upper = known.lower.clone(), known.upper.clone()
    for image in range(len(lower)):
        problem = _Image(walk, image)
        for k, (row, b) in enumerate(zip(problem.encoded.weight, problem.encoded.constant, strict=True)):
            lower[image, k] = max(lower[image, k].item(), problem.least(row, b))
            upper[image, k] = min(upper[image, k].item(), -problem.least(-row, -b))
    return known.intersect(Interval(lower, upper))


def differences(walk: Walk, y: Tensor, known: Tensor) -> Tensor:
    """Upper bounds of z_i - z_y, (B, K), at least as tight as `known`."""
    worst = known.clone()
    for image, own in enumerate(y.tolist()):
        problem = _Image(walk, image)
        weight, constant = problem.encoded.weight, problem.encoded.constant
        for k in range(worst.shape[1]):
            if k != own:
                least = problem.least(weight[own] - weight[k], constant[own] - constant[k])
                worst[image, k] = min(worst[image, k].item(), -least)
    return worst


def least(walk: Walk, rows: Tensor, known: Tensor) -> Tensor:
    """Lower bounds of rows z, (B, m), at least as tight as `known`; rows: (m, K)."""
    found = known.clone()
    asked = rows.detach().double().cpu().numpy()
    for image in range(len(found)):
        problem = _Image(walk, image)
        weights, constants = asked @ problem.encoded.weight, asked @ problem.encoded.constant
        for i, (weight, constant) in enumerate(zip(weights, constants, strict=True)):
            found[image, i] = max(found[image, i].item(), problem.least(weight, constant))
    return found


class _Image:
    """The program of one image of the walk."""

    def __init__(self, walk: Walk, image: int) -> None:
        self.encoded = image_program(walk, image)
        if walk.region.p != math.inf:
            centre = walk.region.x[image].detach().double().flatten().cpu().numpy()
            self.encoded.program.ball = centre, float(walk.region.eps.flatten()[image])

    def least(self, weight: Vector, constant: float) -> float:
        """A lower bound of weight . v + constant."""
        program = self.encoded.program
        bound, point = program.relaxed(weight, constant)
        if program.ball is None:
            return bound
        centre, eps = program.ball
        for _ in range(CUTS):
            delta = point[: len(centre)] - centre
            length = float(np.linalg.norm(delta))
            if length <= eps * (1 + OUTSIDE):
                break
            program.constrain(delta / length, upper=float(delta @ centre) / length + eps)  # the ball lies behind it
            again, point = program.relaxed(weight, constant)
            bound = max(bound, again)
        return bound


def image_program(walk: Walk, image: int, tighten: float = 0.0) -> Encoded:
    """The program of one image of a walk, in float64 on the CPU. tighten: as for `encode`."""
    with torch.no_grad():
        layers = [_exactly(layer) for layer in walk.layers]
        neurons = [
            _one(box, image) for layer, box in zip(walk.layers, walk.before, strict=True) if isinstance(layer, nn.ReLU)
        ]
        return encode(layers, _one(walk.region.box, image), neurons, tighten=tighten)


def _one(box: Interval, image: int) -> Interval:
    lower, upper = (end[image : image + 1].detach().double().cpu() for end in box)
    return Interval(lower, upper)


def _exactly(layer: nn.Module) -> nn.Module:
    """The same layer in float64 on the CPU."""
    return copy.deepcopy(layer).double().cpu()
