"""PGD on one image, step by step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Generator, Tensor

from coursekit import plots
from coursekit.attacks import Iterate, pgd
from coursekit.models.state import Classifier
from coursekit.perturbations import LpBall
from coursekit.widgets.explorer import Explorer, Number


class Walk(NamedTuple):
    """One model under attack: its name, and at x_0, ..., x_T the image (T + 1, C, H, W), the loss (T + 1,) and the
    probabilities (T + 1, K)."""

    name: str
    images: np.ndarray
    losses: np.ndarray
    shares: np.ndarray

    @property
    def called(self) -> np.ndarray:
        """The model's class at every step, (T + 1,)."""
        return self.shares.argmax(axis=1)


def step_scrubber(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: LpBall,
    steps: int = 20,
    *,
    step_size: float | None = None,
    random_start: bool = False,
    beside: Classifier | None = None,
    names: tuple[str, str] = ("standard model", "robust model"),
    classes: Sequence[str] | None = None,
    generator: Generator | None = None,
) -> Explorer:
    """PGD on one image, step by step: the image, the loss so far, and what the model makes of it.

    x: (1, C, H, W) or (C, H, W); y: (1,) or a 0-dimensional label. beside: a second model, attacked by itself with the
    same settings and shown below the first; names: of the two. generator: for random_start; None takes a seed of its
    own. The steps are computed once, so moving the slider is quick whatever the model.
    """
    image, label = x.reshape(-1, *x.shape[-3:]), y.reshape(-1)
    if len(image) != 1 or len(label) != 1:
        raise ValueError(f"x and y must be one image and its label; got {tuple(x.shape)} and {tuple(y.shape)}")

    def walk(name: str, classifier: Classifier) -> Walk:
        trace: list[Iterate] = []
        source = generator or torch.Generator().manual_seed(0)
        pgd(classifier, image, label, threat, steps=steps, step_size=step_size, random_start=random_start,
            early_stop=False, generator=source, trace=trace)  # fmt: skip
        points, logits, losses = (torch.cat(part) for part in zip(*trace, strict=True))
        return Walk(name, *(plots.to_numpy(part) for part in (points, losses, logits.softmax(dim=1))))

    walks = [walk(names[0], model)] + ([walk(names[1], beside)] if beside else [])
    film = _Film(walks, int(label), threat, classes)
    return Explorer(
        film.draw, {"step": Number("step", 0, 0, steps, 1)}, size=film.size, panels=film.panels, scenery=film.scenery
    )


class _Film:
    """The picture of `step_scrubber`: one row of three panels for each model."""

    SHOWN = 10

    def __init__(self, walks: list[Walk], y: int, threat: LpBall, classes: Sequence[str] | None) -> None:
        self.walks, self.y, self.threat = walks, y, threat
        count = walks[0].shares.shape[1]
        self.classes = [str(name) for name in (classes or range(count))]
        # With many classes, those that matter at some step for some model.
        largest = np.max([walk.shares.max(axis=0) for walk in walks], axis=0)
        largest[y] = 2
        self.shown = np.sort(np.argsort(-largest, kind="stable")[: self.SHOWN])
        self.places = np.arange(len(self.shown))[::-1]
        row = 2.85
        self.size = (9.2, 0.45 + row * len(walks))
        bottoms = [(0.5 + row * number) / self.size[1] for number in reversed(range(len(walks)))]
        columns = ((0.02, 0.26), (0.345, 0.3), (0.74, 0.19))
        self.panels = [(left, bottom, width, 2.05 / self.size[1]) for bottom in bottoms for left, width in columns]

    def scenery(self, figure: Figure) -> None:
        """The whole loss curve, thin, and the names of the classes."""
        top = 1.18 * max(walk.losses.max() for walk in self.walks) + 1e-9
        for walk, (picture, curve, bars) in zip(self.walks, _rows(figure), strict=True):
            picture.axis("off")
            for axes, name in ((curve, "cross-entropy"), (bars, "probability")):
                axes.text(0, 1.06, name, transform=axes.transAxes)
            curve.plot(walk.losses, color=plots.BLUE, linestyle="-", linewidth=1, alpha=0.5)
            curve.set(xlim=(-0.3, len(walk.losses) - 0.7), ylim=(-0.04 * top, top), xlabel="step")
            curve.xaxis.set_major_locator(MaxNLocator(integer=True))
            self._mark_fooled(curve, walk, top)
            bars.set(xlim=(0, 1), ylim=(-0.7, len(self.shown) - 0.3), xticks=[])
            bars.set(yticks=self.places, yticklabels=[self._class(index) for index in self.shown])
            bars.tick_params(axis="y", length=0)
            bars.grid(False)
            bars.spines["bottom"].set_visible(False)

    def _mark_fooled(self, axes: Axes, walk: Walk, top: float) -> None:
        wrong = np.flatnonzero(walk.called != self.y)
        if not len(wrong):
            return
        first, early = int(wrong[0]), wrong[0] < 0.6 * len(walk.losses)
        axes.axvline(first, color=plots.VERMILION, linestyle=":", linewidth=1.5)
        axes.annotate(
            f"fooled at step {first}" if first else "wrong from the start", (first, 0.97 * top), va="top",
            xytext=(4 if early else -4, 0), textcoords="offset points", ha="left" if early else "right",
            fontsize=10, color=plots.ink(plots.VERMILION),
        )  # fmt: skip

    def _class(self, index: int) -> str:
        return f"true  {self.classes[index]}" if index == self.y else self.classes[index]

    def draw(self, figure: Figure, step: int) -> str:
        """One redraw; returns the alt text."""
        verdicts = []
        for walk, (picture, curve, bars) in zip(self.walks, _rows(figure), strict=True):
            called, share = walk.called[step], walk.shares[step]
            right = called == self.y
            colour = plots.GREEN if right else plots.VERMILION
            verdicts.append(f"{walk.name}: “{self.classes[called]}”, {plots.percent(share[called])}")
            plots.show_image(picture, walk.images[step], vmin=self.threat.bounds[0], vmax=self.threat.bounds[1])
            picture.axis("on")
            picture.text(
                0, 1.06, verdicts[-1], transform=picture.transAxes, weight="bold", color=plots.ink(colour)
            )  # fmt: skip
            for axes in (curve, bars):
                axes.axis("off")  # their axes are part of the scenery
            curve.plot(walk.losses[: step + 1], color=plots.BLUE, linestyle="-", linewidth=2.5)
            curve.plot(step, walk.losses[step], "o", color="black", markersize=8)
            bars.hlines(
                self.places, 0, share[self.shown], linewidth=9,
                colors=[colour if index == called else "#BFBFBF" for index in self.shown],
            )  # fmt: skip
            if called in self.shown:
                place = self.places[list(self.shown).index(called)]
                bars.annotate(
                    plots.percent(share[called]), (share[called], place), xytext=(5, 0), va="center", fontsize=10,
                    textcoords="offset points", annotation_clip=False,
                )  # fmt: skip
        last = len(self.walks[0].losses) - 1
        eps = f"ε = {float(self.threat.eps):g}"
        figure.text(
            0.02, 1 - 0.25 / self.size[1], f"PGD, step {step} of {last}, {eps}", fontsize=14, weight="bold", va="center"
        )
        said = [
            f"{verdict} ({'right' if walk.called[step] == self.y else 'wrong'}), cross-entropy {walk.losses[step]:.2g}"
            for walk, verdict in zip(self.walks, verdicts, strict=True)
        ]
        return f"Step {step} of {last} of PGD on an image of class {self.classes[self.y]}. {'; '.join(said)}."


def _rows(figure: Figure) -> list[tuple[Axes, ...]]:
    """The panels of each model: image, loss curve, bars."""
    return list(zip(*[iter(figure.axes)] * 3, strict=True))
