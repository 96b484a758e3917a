"""The plane as background of a live figure: a classifier's regions, its boundary, and the data."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from coursekit import data, models, plots
from coursekit.models.state import Classifier, evaluating

REGION = ("#D3E6F3", "#FBE3D0", "#D5EFE5", "#F3E1EC")
CLASS = (plots.BLUE, plots.VERMILION, plots.GREEN, plots.PURPLE)
MARKS, SYMBOLS = "o^sD", "●▲■◆"


def classes_at(model: Classifier, points: Tensor) -> Tensor:
    """(N,): the model's class at each point (N, 2)."""
    with torch.no_grad(), evaluating(model):
        return model(points).argmax(dim=1)


class Plane:
    """A classifier of the unit square, and points of it with their classes.

    model: points (B, 2) in the unit square -> logits; None takes the one shipped for the two moons. x: (N, 2) points,
    y: (N,) their classes; None takes the moons' test points. Raises ValueError for other shapes.
    """

    def __init__(
        self,
        model: Classifier | None = None,
        x: Tensor | None = None,
        y: Tensor | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        if (x is None) != (y is None):
            raise ValueError("x and y must be given together, or neither of them")
        if x is None or y is None:
            x, y, names = data.load("moons", "test")
            classes = classes or names
        if x.ndim != 2 or x.shape[1] != 2 or y.shape != (len(x),):
            raise ValueError(f"x must be (N, 2) and y (N,); got {tuple(x.shape)} and {tuple(y.shape)}")
        self.model, self.x, self.y = model or models.load("moons_mlp"), x.detach().float(), y
        self.points, self.labels = plots.to_numpy(x), plots.to_numpy(y).astype(int)
        with torch.no_grad(), evaluating(self.model):
            count = self.model(self.x[:1]).shape[1]
        self.classes = list(classes or (f"class {label}" for label in range(count)))

    def draw(self, axes: Axes, across: tuple[float, float], up: tuple[float, float], *, grid: int, size: float) -> None:
        """Regions, boundary and data in a part of the plane; white where no inputs are. size: of a point's mark."""
        square = Rectangle((0, 0), 1, 1, facecolor=REGION[0])
        axes.add_patch(square)
        first, second, points = mesh(across, up, grid)
        with torch.no_grad(), evaluating(self.model):
            logits = self.model(points.to(self.x))
        # By how much each class leads the others: zero on its boundary.
        lead = plots.to_numpy(logits - logits.topk(2, dim=1).values.mean(dim=1, keepdim=True)).T.reshape(-1, grid, grid)
        for label in range(1, len(lead)):
            if lead[label].max() > 0:
                region = axes.contourf(first, second, lead[label], [0, np.inf], colors=[REGION[label % 4]])
                region.set_clip_path(square)
                if lead[label].min() < 0:
                    edge = axes.contour(first, second, lead[label], [0], colors="black", linewidths=1.4)
                    edge.set_clip_path(square)
        axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color="black", linestyle="-", linewidth=1)
        for label in np.unique(self.labels):
            axes.plot(
                *self.points[self.labels == label].T, MARKS[label % 4], color=CLASS[label % 4], markersize=size,
                markeredgecolor="white", markeredgewidth=0.5,
            )  # fmt: skip
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.patch.set(hatch="//", edgecolor="#DDDDDD")
        axes.set(xlim=across, ylim=up, xticks=[], yticks=[])

    def name_classes(self, axes: Axes) -> None:
        """The classes, each with its mark, above axes that show the whole square."""
        for label in np.unique(self.labels):
            axes.text(
                0.5 * label, 1.02, f"{SYMBOLS[label % 4]} {self.classes[label]}", fontsize=10.5, weight="bold",
                color=plots.ink(CLASS[label % 4]), transform=axes.transAxes,
            )  # fmt: skip


def mesh(across: tuple[float, float], up: tuple[float, float], grid: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Ticks along both sides of a part of the plane (grid,), and all grid * grid points, row by row, (N, 2)."""
    columns, rows = (np.linspace(*limits, grid) for limits in (across, up))
    return columns, rows, torch.from_numpy(np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2))
