"""The loss of an image as it is turned."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.attacks import landscape
from coursekit.models.state import Classifier
from coursekit.perturbations import Rotation
from coursekit.plots.look import BLUE, GREY, VERMILION, ink, styled
from coursekit.plots.pictures import probabilities, show_image, to_numpy


@styled
def loss_by_angle(
    model: Classifier, x: Tensor, y: Tensor, threat: Rotation, *, points: int = 181, pictures: int = 7
) -> Figure:
    """The cross-entropy of each image against the angle it is turned by, above it the image at some of the angles.

    x: (B, C, H, W) with a few images, one row each; y: (B,). threat: which angles; shifts are left out. points: how
    many angles are tried. Angles at which the model errs are marked, and so are the pictures there.
    """
    if x.ndim != 4 or y.shape != (len(x),):
        raise ValueError(f"x must be images (B, C, H, W) and y (B,); got {tuple(x.shape)} and {tuple(y.shape)}")
    turns = Rotation(threat.angle, bounds=threat.bounds, padding=threat.padding)
    table = landscape(model, x, y, turns, points=points)
    degrees = to_numpy(table.z[0, :, 0]) * threat.angle
    shown = torch.linspace(-1, 1, pictures, dtype=table.z.dtype)
    z = torch.nn.functional.pad(shown[:, None], (0, 2))
    figure = Figure(figsize=(9.2, 2.75 * len(x) + 0.3), layout="constrained")
    rows = figure.subfigures(len(x), 1, squeeze=False)[:, 0]
    said = []
    for image, (part, loss, fooled) in enumerate(zip(rows, to_numpy(table.loss), to_numpy(table.fooled), strict=True)):
        panels = part.subplot_mosaic(
            [[f"{place}" for place in range(pictures)], ["loss"] * pictures], height_ratios=[1, 1.5]
        )
        film = turns.render(z.to(x), x[image : image + 1].expand(pictures, -1, -1, -1))
        called = probabilities(model, film).argmax(dim=1)
        for place, (frame, label) in enumerate(zip(film, called.tolist(), strict=True)):
            _frame(panels[f"{place}"], to_numpy(frame), f"{label}", label != int(y[image]), threat.bounds)
        _curve(panels["loss"], degrees, loss, fooled > 0)
        half = (degrees[-1] - degrees[0]) / 2 / (pictures - 1)  # so that each picture stands above its angle
        panels["loss"].set_xlim(degrees[0] - half, degrees[-1] + half)
        panels["loss"].set_xticks((to_numpy(shown) * threat.angle).round(1) + 0.0)  # -0 is 0
        peaks = int(((loss[1:-1] > loss[:-2]) & (loss[1:-1] > loss[2:])).sum())
        said.append(
            f"Image of class {int(y[image])}: {peaks} local maxima, the highest loss {loss.max():.2g} at "
            f"{degrees[loss.argmax()]:.0f} degrees, wrong at {100 * (fooled > 0).mean():.0f} % of the angles"
        )
    panels["loss"].set_xlabel("angle in degrees, counter-clockwise")
    figure.set_label(
        f"Cross-entropy against the angle by which an image is turned, from {degrees[0]:.0f} to {degrees[-1]:.0f} "
        f"degrees, above it the turned images. {'. '.join(said)}."
    )
    return figure


def _frame(axes: Axes, image: np.ndarray, label: str, wrong: bool, bounds: tuple[float, float]) -> None:
    show_image(axes, image, vmin=bounds[0], vmax=bounds[1])
    axes.set_title(f"“{label}”", loc="center", fontsize=10, weight="bold" if wrong else "normal",
                   color=ink(VERMILION) if wrong else "black")  # fmt: skip
    if wrong:
        axes.spines[:].set(color=VERMILION, linewidth=3)


def _curve(axes: Axes, degrees: np.ndarray, loss: np.ndarray, fooled: np.ndarray) -> None:
    axes.plot(degrees, loss, color=BLUE, linestyle="-")
    axes.plot(degrees, np.where(fooled, loss, np.nan), color=VERMILION, linestyle="-", linewidth=4)
    top = 1.15 * max(float(loss.max()), 1e-9)
    axes.set(ylim=(-0.03 * top, top), ylabel="cross-entropy")
    if fooled.any():
        axes.text(0.49, 0.96, "thick: the model errs", transform=axes.transAxes, ha="right", va="top", fontsize=10,
                  color=ink(VERMILION), weight="bold")  # fmt: skip
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1)
