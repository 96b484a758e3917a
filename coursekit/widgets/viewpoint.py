"""A traffic sign and its stickers, seen by a camera that the reader moves."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from coursekit import plots
from coursekit.data import signs
from coursekit.models.state import Classifier, evaluating
from coursekit.widgets.explorer import Choice, Explorer, Number

AIR = {"clear": 0.0, "hazy": 0.2, "foggy": 0.45}


def viewpoint_explorer(
    model: Classifier,
    stickers: Mapping[str, Tensor],
    label: int,
    target: int,
    *,
    classes: Sequence[str] = tuple(signs.FACES),
    samples: int = 300,
    seed: int = 1000,
) -> Explorer:
    """One sign with different stickers on it, side by side: what the camera sees from here, and what the model says.

    stickers: name -> the sign's face (4, S, S), with its sticker on it. label: what the sign is; target: what the
    stickers want it to be taken for. Under each stands its record: in how many of `samples` random views, drawn from
    `seed`, it is taken for either. The controls move the camera; background and noise belong to the scene.
    """
    if not stickers:
        raise ValueError("stickers must hold at least one face; got none")
    for name, face in stickers.items():
        if face.ndim != 3 or len(face) != 4:
            raise ValueError(f"stickers[{name!r}] must be a face (4, S, S); got {tuple(face.shape)}")
    stage = _Stage(model, stickers, label, target, classes, samples, seed)
    controls: dict[str, Number | Choice] = {
        "yaw": Number("turned", 0, -75, 75, 1),
        "roll": Number("tilted", 0, -90, 90, 1),
        "size": Number("size", 0.85, 0.2, 1.2, 0.05),
        "light": Number("light", 1.0, 0.1, 1.6, 0.05),
        "haze": Choice("air", 0.0, AIR),
        "scene": Number("scene", 0, 0, 50, 1),
    }
    return Explorer(stage.draw, controls, size=stage.size, panels=stage.panels, scenery=stage.scenery)


def view_from(yaw: float, roll: float, size: float, light: float, haze: float, scene: int) -> signs.View:
    """The one view that the controls describe: head-on but for them, without shadow; the scene is a seed."""
    generator = torch.Generator().manual_seed(scene)
    return signs.views(
        1, generator, yaw=yaw, pitch=0.0, roll=roll, distance=6.0, size=size, light=light, haze=haze, shadow=0.0,
        fading=0.0, blur=0.4, noise=0.01,
    )  # fmt: skip


class _Stage:
    """The picture of `viewpoint_explorer`: a column for each sticker, the photograph above, probabilities below."""

    SIDE, GAP, LEFT, BARS, HEIGHT = 2.55, 0.45, 1.45, 0.9, 4.75  # inches

    def __init__(
        self, model: Classifier, stickers: Mapping[str, Tensor], label: int, target: int, classes: Sequence[str],
        samples: int, seed: int,
    ) -> None:  # fmt: skip
        self.model, self.label, self.target, self.classes = model, label, target, list(classes)
        self.names, self.faces = list(stickers), torch.stack(list(stickers.values()))
        self.records = [self._record(face, samples, seed) for face in self.faces]
        width = self.LEFT + len(self.names) * (self.SIDE + self.GAP)
        self.size = (width, self.HEIGHT)
        lefts = [(self.LEFT + column * (self.SIDE + self.GAP)) / width for column in range(len(self.names))]
        rows = ((1.62, self.SIDE), (0.6, self.BARS))
        self.panels = [
            (left, bottom / self.HEIGHT, self.SIDE / width, height / self.HEIGHT)
            for left in lefts for bottom, height in rows
        ]  # fmt: skip

    def _record(self, face: Tensor, samples: int, seed: int) -> tuple[float, float]:
        """In which share of random views the face is taken for its label, and for the target."""
        view = signs.views(samples, torch.Generator().manual_seed(seed))
        called = self._probabilities(signs.photograph(face[None], view)).argmax(dim=1)
        return tuple((called == wanted).double().mean().item() for wanted in (self.label, self.target))  # type: ignore[return-value]

    def _probabilities(self, x: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(self.model):
            return self.model(x).softmax(dim=1)

    def scenery(self, figure: Figure) -> None:
        """The names of the bars, and each sticker's record."""
        for number, (picture, bars) in enumerate(_columns(figure)):
            picture.axis("off")
            bars.set(xlim=(0, 1.16), ylim=(-0.6, 2.6), xticks=[], yticks=[])
            bars.grid(False)
            bars.spines["bottom"].set_visible(False)
            right, wanted = self.records[number]
            bars.text(
                0, -0.12, f"over random views: “{self.classes[self.label]}” {plots.percent(right)},\n"
                f"“{self.classes[self.target]}” {plots.percent(wanted)}",
                transform=bars.transAxes, va="top", fontsize=10, color=plots.GREY,
            )  # fmt: skip
            if not number:
                for place, name in ((2, self.classes[self.label]), (1, self.classes[self.target]), (0, "another sign")):
                    bars.text(-0.03, place, name, ha="right", va="center", fontsize=10.5)

    def draw(self, figure: Figure, **controls: float) -> str:
        """One redraw; returns the alt text."""
        view = view_from(**controls)  # type: ignore[arg-type]
        x = signs.photograph(self.faces, view.select(torch.zeros(len(self.faces), dtype=torch.int64)))
        shares = plots.to_numpy(self._probabilities(x))
        said = []
        for name, image, share, (picture, bars) in zip(
            self.names, plots.to_numpy(x), shares, _columns(figure), strict=True
        ):
            called = int(share.argmax())
            colour = {self.label: plots.GREEN, self.target: plots.VERMILION}.get(called, plots.PURPLE)
            plots.show_image(picture, image)
            picture.axis("on")
            picture.spines[:].set(color=colour, linewidth=4)
            picture.text(0, 1.115, name, transform=picture.transAxes, fontsize=10.5, color=plots.GREY)
            picture.text(
                0, 1.03, f"“{self.classes[called]}”", transform=picture.transAxes, fontsize=13, weight="bold",
                color=plots.ink(colour),
            )  # fmt: skip
            self._draw_bars(bars, share)
            said.append(f"{name}: taken for “{self.classes[called]}” with probability {plots.percent(share[called])}")
        return (
            f"The {self.classes[self.label]} sign turned by {controls['yaw']:g} and tilted by {controls['roll']:g} "
            f"degrees, of size {controls['size']:g}, in light {controls['light']:g}, haze {controls['haze']:g}, scene "
            f"{controls['scene']:g}. {'; '.join(said)}. {self._records_in_words()}"
        )

    def _draw_bars(self, bars: Axes, share: np.ndarray) -> None:
        bars.axis("off")  # its axis is part of the scenery
        values = np.array([1 - share[self.label] - share[self.target], share[self.target], share[self.label]]).clip(
            0, 1
        )
        colours = [plots.PURPLE, plots.VERMILION, plots.GREEN]
        bars.hlines([0, 1, 2], 0, values, linewidth=11, colors=colours)
        for place, value in enumerate(values):
            bars.text(value + 0.03, place, plots.percent(float(value)), va="center", fontsize=10)

    def _records_in_words(self) -> str:
        label, target = self.classes[self.label], self.classes[self.target]
        said = [
            f"{name} “{label}” in {plots.percent(right)}, “{target}” in {plots.percent(wanted)}"
            for name, (right, wanted) in zip(self.names, self.records, strict=True)
        ]
        return f"Over random views: {'; '.join(said)}."


def _columns(figure: Figure) -> list[tuple[Axes, ...]]:
    """The panels of each sticker: photograph, bars."""
    return list(zip(*[iter(figure.axes)] * 2, strict=True))
