"""Training under a constraint: weights that stay orthogonal, so that the network is 1-Lipschitz in L2."""

import math
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from coursekit.losses import cross_entropy
from coursekit.training.loop import fit, training_step
from coursekit.training.processes import ALONE, Processes


def lipschitz_fit(
    model: nn.Module, x: Tensor, y: Tensor, *, radius: float = 1.0, scale: float = 20.0,
    generator: Generator | None = None, processes: Processes = ALONE, **settings,
) -> nn.Module:  # fmt: skip
    """Trains a network whose Linear layers have orthogonal weights, for a lead that is worth the radius.

    While it trains, each weight is made from free parameters such that its rows (or its columns, if these are fewer)
    have length 1 and are at right angles; it ends as an ordinary weight again. So no layer stretches a distance, and
    with activations that do not either (MaxMin, ReLU) neither does the network: ||f(x~) - f(x)||_2 <= ||x~ - x||_2. The
    difference of two logits then changes by sqrt(2) at most, and a lead of sqrt(2) * radius certifies the radius. So
    each image has to be right after that much was taken off z_y (`margin_loss`).

    model: with Linear layers; what else it has must not stretch distances. radius: in L2, >= 0. scale: of the logits in
    the loss, > 0: those of a 1-Lipschitz network are small. settings: as for `fit`. Returns the model in eval mode.
    Raises ValueError for a radius or scale that is not allowed and for a model without a Linear layer.
    Source: Anil, Lucas, Grosse 2019; Tsuzuku et al. 2018, algorithm 1, for the loss.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise ValueError(f"radius must be finite and at least 0; got {radius!r}")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be finite and above 0; got {scale!r}")
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError("model must have Linear layers; got none")
    loss = partial(margin_loss, margin=math.sqrt(2) * radius, scale=scale)
    step = partial(_step, loss=loss, processes=processes)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", Orthonormal())
    identity = {"method": "lipschitz", "radius": radius, "scale": scale}
    try:
        fit(model, x, y, step=step, generator=generator, processes=processes, identity=identity, **settings)
    finally:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight")
    return model


class Orthonormal(nn.Module):
    """Makes of any weight one with orthonormal rows, or columns if these are fewer: its Q factor.

    Far quicker than torch's own parametrisation for weights that are no squares, and without chance.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """The weight (out, in), its rows or columns made orthonormal one after the other, as Gram and Schmidt do."""
        wide = weight.shape[0] < weight.shape[1]
        Q, R = torch.linalg.qr(weight.mT if wide else weight)
        Q = Q * R.diagonal().sign()  # else a small step could turn a row round
        return (Q.mT if wide else Q).contiguous()  # as files of weights want it


def margin_loss(model: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor, margin: float, scale: float) -> Tensor:
    """Cross-entropy of scale * z after `margin` was taken off z_y, (B,); x_adv is not looked at."""
    logits = model(x)
    handicap = margin * nn.functional.one_hot(y, logits.shape[1]).to(logits)
    return cross_entropy(scale * (logits - handicap), y)


def _step(model, optimizer, x: Tensor, y: Tensor, t: float, *, loss, processes: Processes) -> Tensor:
    """The step that stays the same all the time."""
    return training_step(model, optimizer, x, y, loss=loss, processes=processes)
