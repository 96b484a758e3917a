"""The loss as a landscape over two directions: smooth, in terraces, flat, or torn."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.colors import LightSource, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.losses import cross_entropy
from coursekit.models.state import Classifier, evaluating
from coursekit.plots.look import BLUE, GREY, VERMILION, styled
from coursekit.plots.pictures import short, to_numpy

BATCH = 512
FLAT = 1e-3  # of a surface's height: neighbours that differ by less are on one level


def across(v: Tensor, r: Tensor) -> Tensor:
    """A direction made from r: orthogonal to v and as long as v. Both of one shape; r must not be parallel to v."""
    if v.shape != r.shape:
        raise ValueError(f"r must have the shape of v, {tuple(v.shape)}; got {tuple(r.shape)}")
    along = v / torch.linalg.vector_norm(v)
    rest = r - (along * r).sum() * along
    return torch.linalg.vector_norm(v) * rest / torch.linalg.vector_norm(rest)


def loss_plane(
    model: Classifier, x: Tensor, y: Tensor, v: Tensor, w: Tensor, *, points: int = 31
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and verdict at x + a v + b w, a down the rows and b along the columns, each from -1 to 1.

    x: one image (1, ...), y: its label (1,); v, w like x. Points are not clipped to the image range. Returns the loss
    (points, points) and whether the model is wrong there, bool, alike. The model is used in eval mode.
    """
    for name, direction in (("v", v), ("w", w)):
        if direction.shape != x.shape:
            raise ValueError(f"{name} must have the shape of x, {tuple(x.shape)}; got {tuple(direction.shape)}")
    if len(x) != 1 or y.shape != (1,):
        raise ValueError(f"x and y must be one image and its label; got {tuple(x.shape)} and {tuple(y.shape)}")
    ticks = torch.linspace(-1, 1, points, dtype=x.dtype, device=x.device)
    a, b = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in torch.meshgrid(ticks, ticks, indexing="ij"))
    plane = x + a * v + b * w
    with torch.no_grad(), evaluating(model):
        logits = torch.cat([model(part) for part in plane.split(BATCH)])
    labels = y.expand(len(logits))
    losses, wrong = cross_entropy(logits, labels), logits.argmax(dim=1) != labels
    return losses.view(points, points), wrong.view(points, points)


@styled
def loss_surfaces(
    models: Mapping[str, Classifier], x: Tensor, y: Tensor, v: Tensor, w: Tensor, *, points: int = 41,
    columns: int = 2,
) -> Figure:  # fmt: skip
    """One landscape for each model: the loss over x + a v + b w, orange where the model is wrong.

    models: name -> classifier. x (1, ...), y (1,), v, w: see `loss_plane`. v is the direction to look at, for instance
    towards an adversarial example, w another one. Each surface has a height of its own, written beside it.
    Source: Athalye et al. 2018, section 3; the picture after Li et al. 2018, "Visualizing the loss landscape".
    """
    if not models:
        raise ValueError("models must hold at least one classifier; got none")
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(4.7 * columns, 3.7 * rows))
    ticks, said = np.linspace(-1, 1, points), []
    for number, (name, model) in enumerate(models.items()):
        loss, wrong = (to_numpy(part) for part in loss_plane(model, x, y, v, w, points=points))
        axes = figure.add_subplot(rows, columns, number + 1, projection="3d", computed_zorder=False)
        _surface(axes, ticks, loss, wrong.astype(bool))
        axes.set_title(name, loc="center", y=0.95, weight="bold")
        said.append(f"{name}: {_in_words(loss, wrong)}.")
    figure.subplots_adjust(-0.02, 0.0, 1.0, 0.97, wspace=-0.1, hspace=0.03)
    figure.set_label(
        f"The loss around one image as {len(models)} landscapes, a towards an adversarial example and b across. "
        + " ".join(said)
    )
    return figure


def _surface(axes, ticks: np.ndarray, loss: np.ndarray, wrong: np.ndarray) -> None:
    """One landscape, lit from the side, with a dot for x in its middle."""
    b, a = np.meshgrid(ticks, ticks)
    low, high = loss.min(), loss.max()
    height = max(high - low, 1e-9)
    colours = np.where(wrong[..., None], to_rgb(VERMILION), to_rgb(BLUE))
    step = ticks[1] - ticks[0]
    light = LightSource(azdeg=200, altdeg=50)
    lit = light.shade_rgb(colours, (loss - low) / height, vert_exag=0.5, dx=step, dy=step, blend_mode="soft")
    axes.plot_surface(a, b, loss, facecolors=lit, rstride=1, cstride=1, linewidth=0, antialiased=False, shade=False)
    middle = len(ticks) // 2
    axes.plot([0], [0], [loss[middle, middle] + 0.03 * height], "o", color="black", markersize=6, zorder=10)
    axes.text(0, 0, loss[middle, middle] + 0.12 * height, "x", weight="bold", zorder=11)
    axes.view_init(elev=32, azim=-125)
    axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], zlim=(low, low + 1.05 * height))
    axes.set_xlabel("a", labelpad=-6)
    axes.set_ylabel("b", labelpad=-6)
    axes.set_zticks([low, high], ["0" if abs(low) < 0.01 * high else short(low), short(high)])
    axes.tick_params(labelsize=9, pad=-3, colors=GREY)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
    axes.grid(False)
    axes.patch.set_visible(False)  # it would cover the labels of the landscape above
    axes.set_box_aspect((1, 1, 0.62), zoom=1.12)


def _in_words(loss: np.ndarray, wrong: np.ndarray) -> str:
    """From where to where the loss goes, and how much of it lies on level ground."""
    low, high = loss.min() + 0.0, loss.max() + 0.0  # a loss of -0 is one of 0
    height = max(high - low, 1e-9)
    steps = np.abs(np.diff(loss, axis=0))
    level = float((steps < FLAT * height).mean())
    return (
        f"loss from {short(low)} to {short(high)}, {100 * level:.0f} % of the steps from point to "
        f"point along a are level, the model is wrong at {100 * wrong.mean():.0f} % of the points"
    )
