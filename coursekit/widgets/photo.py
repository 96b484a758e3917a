"""A photograph and how much of a perturbation is added to it: the classifier's answer at every size."""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from tqdm.auto import tqdm

from coursekit import data, plots
from coursekit.models.state import Classifier, evaluating
from coursekit.widgets.explorer import Choice, Explorer, Number, Upload

CRAFTED, NOISE = "δ", "noise"
OWN = -1  # stands for the reader's own photo in the list of photos
TRIED = 10  # sizes at which every photo is looked at beforehand, besides 0
SHOWN, LINES = 5, 3  # classes with a bar, and with a line


class Subject:
    """One photo x (1, C, H, W) in [0, 1] with its delta, like x: what is added to it, and what the model then says.

    directions: CRAFTED is delta; NOISE has the sign of every entry drawn at random, so each pixel changes as far and
    every L_p norm is the same. sizes: (T + 1,), from 0 to the largest. shares: for each direction the probabilities
    (T + 1, K) at these sizes.
    """

    def __init__(self, model: Classifier, x: Tensor, delta: Tensor, name: str, *, largest: float, seed: int) -> None:
        self.model, self.x, self.name = model, x, name
        signs = 2 * torch.randint(0, 2, delta.shape, generator=torch.Generator().manual_seed(seed)) - 1
        self.directions = {CRAFTED: delta, NOISE: delta * signs.to(delta)}
        self.sizes = np.linspace(0, largest, TRIED + 1)
        clean = self.say(x)
        self.shares = {
            kind: np.stack([clean, *(self.say(self.image(kind, size)) for size in self.sizes[1:])])
            for kind in self.directions
        }

    def image(self, kind: str, size: float) -> Tensor:
        """x + size * direction, an image again: clipped to [0, 1]."""
        return (self.x + size * self.directions[kind]).clamp(0, 1)

    def say(self, image: Tensor) -> np.ndarray:
        """The model's probabilities for one image, (K,)."""
        with torch.no_grad(), evaluating(self.model):
            return plots.to_numpy(self.model(image)[0].softmax(dim=0))

    def at(self, kind: str, size: float) -> np.ndarray:
        """The probabilities at one size, (K,); only sizes that were not tried beforehand take a forward pass."""
        tried = np.flatnonzero(np.isclose(self.sizes, size, rtol=0, atol=1e-9))
        return self.shares[kind][tried[0]] if len(tried) else self.say(self.image(kind, size))

    @property
    def label(self) -> int:
        """The model's class of the photo itself."""
        return int(self.shares[CRAFTED][0].argmax())

    @property
    def followed(self) -> list[int]:
        """The classes whose probability is worth a line: the photo's own, and what delta makes of it along the way."""
        table = self.shares[CRAFTED]
        called = list(dict.fromkeys(table.argmax(axis=1).tolist()))
        if len(called) == 1:  # nothing yet: the class that gains most
            called.append(int((table[-1] - table[0]).argmax()))
        return called[:LINES]


def photo_explorer(
    model: Classifier,
    x: Tensor,
    delta: Tensor,
    *,
    names: Sequence[str],
    classes: Sequence[str],
    craft: Callable[[Tensor], Tensor] | None = None,
    size: float = 0.005,
    largest: float = 0.01,
    seed: int = 0,
) -> Explorer:
    """x + size * delta = x~: the picture, the largest probabilities, and at which sizes the answer changes.

    x: (N, C, H, W) photos in [0, 1]; delta: like x, its entries in [-1, 1]; names: of the N photos; classes: of the K
    classes. Controls: which photo; whether delta itself is added or noise that changes each pixel just as far, up or
    down at random (drawn from `seed`); the size, from 0 to `largest`. craft: makes the delta (1, C, H, W) of a photo
    (1, C, H, W); with it there is a button to upload one's own, which takes as long as `craft` does. Everything else
    is computed once, here, so that a control needs one forward pass at most.
    """
    if x.ndim != 4 or x.shape != delta.shape:
        raise ValueError(
            f"x and delta must be photos (N, C, H, W) alike; got {tuple(x.shape)} and {tuple(delta.shape)}"
        )
    if not len(x) or len(names) != len(x):
        raise ValueError(
            f"names must have one entry for each of the photos, at least one; got {len(names)} for {len(x)}"
        )
    if not 0 <= size <= largest or not largest > 0:
        raise ValueError(f"size must lie in 0 to largest; got {size} and {largest}")

    def subject(photo: Tensor, change: Tensor, name: str) -> Subject:
        return Subject(model, photo, change, name, largest=largest, seed=seed)

    numbers = tqdm(range(len(x)), desc="looking at every photo at every size", leave=False)
    subjects = {number: subject(x[number][None], delta[number][None], names[number]) for number in numbers}
    gallery = _Gallery(subjects, list(classes))
    options = dict(zip(names, subjects, strict=True))
    controls: dict[str, Number | Choice | Upload] = {
        "photo": Choice("photo", 0, options | ({"your own": OWN} if craft else {})),
        "kind": Choice("add", CRAFTED, {"δ": CRAFTED, "random noise": NOISE}),
        "size": Number("size", float(size), 0.0, float(largest), largest / (2 * TRIED)),
    }
    if craft is not None:

        def own(content: bytes) -> Subject:
            try:
                photo = data.photo(content)[None]
            except ValueError as error:  # it speaks to a programmer, who knows an argument called source
                raise ValueError(str(error).replace("source", "it", 1)) from None
            return subject(photo, craft(photo), "your own photo")

        controls["own"] = Upload("Your own photo", own, "Looking at it from all sides: this takes some seconds ...")
    explorer = Explorer(gallery.draw, controls, size=gallery.SIZE, panels=gallery.PANELS, scenery=gallery.scenery)
    if craft is not None:
        explorer.inputs["own"].observe(lambda _: explorer.set(photo=OWN), "value")
    return explorer


class _Gallery:
    """The picture of `photo_explorer`."""

    SIZE = (9.4, 5.15)
    PANELS = (
        (0.01, 0.355, 0.262, 0.478),
        (0.29, 0.355, 0.262, 0.478),
        (0.745, 0.355, 0.245, 0.478),
        (0.075, 0.105, 0.735, 0.175),
    )
    STRONGER = 50  # the change is shown this many times as strong: at size 0.01 its entries of 1 are black or white

    def __init__(self, subjects: dict[int, Subject], classes: list[str]) -> None:
        self.subjects, self.classes = subjects, classes

    def scenery(self, figure: Figure) -> None:
        """The axis along which the size runs, and titles that stay."""
        picture, change, bars, curve = figure.axes
        for axes in (picture, change, bars):
            axes.axis("off")
        change.text(0, 1.03, f"what was added, × {self.STRONGER}", fontsize=10.5, transform=change.transAxes)
        bars.text(0, 1.03, "probability", fontsize=10.5, transform=bars.transAxes)
        largest = self.subjects[0].sizes[-1]
        curve.set(xlim=(0, largest), ylim=(-0.04, 1.08), yticks=[0, 1], yticklabels=["0 %", "100 %"])
        curve.set_xlabel("size", labelpad=1)
        grey_level = 1 / 255
        if grey_level < largest:
            curve.axvline(grey_level, color=plots.GREY, linestyle=":", linewidth=1.3)
            curve.text(grey_level, 1.12, "one grey level", fontsize=9, color=plots.GREY, ha="center")

    def draw(self, figure: Figure, photo: int, kind: str, size: float, own: Subject | None = None) -> str:
        """One redraw; returns the alt text."""
        picture, change, bars, curve = figure.axes
        for axes in figure.axes:
            axes.axis("off")  # what of the axes stays is part of the scenery
        subject = own if photo == OWN else self.subjects[photo]
        if subject is None:
            head = "No photo of your own yet: choose an image file with the button above"
            figure.text(0.01, 0.952, head, fontsize=13, weight="bold", va="center")
            return f"{head}. The panels are empty."
        image, shares = subject.image(kind, size), subject.at(kind, size)
        called, label = int(shares.argmax()), subject.label
        colour = plots.GREEN if called == label else plots.VERMILION
        added = "δ" if kind == CRAFTED else "random noise"
        head = f"x̃ = x + {size:.4f} × {added}:  “{self.classes[called]}”, {plots.percent(shares[called])}"
        along = self._along(subject, kind)
        figure.text(0.01, 0.952, head, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.01, 0.9, along, fontsize=10.5, color=plots.GREY, va="center")

        plots.show_image(picture, plots.to_numpy(image)[0])
        picture.text(0, 1.03, f"x̃ ({subject.name})", fontsize=10.5, transform=picture.transAxes)
        plots.show_image(change, 0.5 + self.STRONGER * plots.to_numpy(image - subject.x)[0])
        for axes in (picture, change):
            axes.axis("on")
        self._draw_bars(bars, subject, shares, called, colour)
        self._draw_curve(curve, subject, kind, size, shares)
        spoken = "delta" if kind == CRAFTED else "random noise of the same norm"
        return (
            f"{subject.name}, and {size:.4f} times {spoken} added: the model says “{self.classes[called]}” "
            f"with {plots.percent(shares[called])}, for the photo itself “{self.classes[label]}”. {along}."
        )

    def _along(self, subject: Subject, kind: str) -> str:
        """What the model says from size 0 on, in words."""
        called = subject.shares[kind].argmax(axis=1)
        runs = [list(run) for _, run in groupby(range(len(called)), key=lambda place: called[place])]
        end, step = subject.sizes[-1], subject.sizes[1]
        first = self.classes[subject.label]
        if len(runs) == 1:
            return f"“{first}” at every size tried, up to {end:.3f}"
        said = [f"“{first}” up to {subject.sizes[runs[0][-1]]:.3f}"]
        said += [f"“{self.classes[called[run[0]]]}” from {subject.sizes[run[0]]:.3f}" for run in runs[1:]]
        return ", ".join(said) + f" (sizes tried in steps of {step:.3f})"

    def _draw_bars(self, axes: Axes, subject: Subject, shares: np.ndarray, called: int, colour: str) -> None:
        """The classes that matter at some size, in the same order for every size."""
        highest = np.max([table.max(axis=0) for table in subject.shares.values()], axis=0)
        shown = np.argsort(-highest, kind="stable")[:SHOWN]
        shown = shown[np.argsort(-subject.shares[CRAFTED][0][shown], kind="stable")]
        places = np.arange(len(shown))[::-1]
        colours = [colour if index == called else "#D0D0D0" for index in shown]
        axes.hlines(places, 0, shares[shown], linewidth=15, colors=colours)
        axes.plot([0, 0], [-0.6, len(shown) - 0.4], "-", color="black", linewidth=0.8)
        for place, index in zip(places, shown, strict=True):
            weight = "bold" if index == called else "normal"
            axes.text(
                -0.03, place, _shortened(self.classes[index]), ha="right", va="center", fontsize=10, weight=weight
            )
            axes.text(shares[index] + 0.03, place, plots.percent(shares[index]), va="center", fontsize=9.5)
        axes.set(xlim=(0, 1.28), ylim=(-0.6, len(shown) - 0.4))

    def _draw_curve(self, axes: Axes, subject: Subject, kind: str, size: float, shares: np.ndarray) -> None:
        """The probability of each class that is followed at every size, and where the control stands."""
        here = np.searchsorted(subject.sizes, size)
        sizes, table = np.insert(subject.sizes, here, size), np.insert(subject.shares[kind], here, shares, axis=0)
        followed = subject.followed
        heights = _apart(table[-1, followed], 0.22)
        looks = zip(followed, (plots.GREEN, plots.VERMILION, plots.PURPLE), plots.LINES, strict=False)
        for (index, colour, dashes), height in zip(looks, heights, strict=True):
            axes.plot(sizes, table[:, index], color=colour, linestyle=dashes, linewidth=2, marker="o", markersize=3.5)
            axes.plot(size, shares[index], "o", color=colour, markeredgecolor="black", markersize=8, clip_on=False)
            axes.text(
                1.015 * subject.sizes[-1], height, _shortened(self.classes[index]), fontsize=10, weight="bold",
                color=plots.ink(colour), va="center",
            )  # fmt: skip
        axes.axvline(size, color="black", linewidth=1.2, linestyle="-")


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """The heights, moved up where two would be nearer to each other than `gap`, in the same order."""
    moved = heights.astype(float)
    order = np.argsort(moved, kind="stable")
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    return moved


def _shortened(name: str, most: int = 18) -> str:
    """A class name with no more letters than there is room for."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"
