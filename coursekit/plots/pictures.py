"""Images, perturbations and gradients as pictures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.models.state import Classifier, evaluating
from coursekit.plots.look import CHANGE, GREY, VERMILION, styled


def to_numpy(values: Any) -> np.ndarray:
    """Tensors of any device and dtype, lists and arrays alike, as float64."""
    return torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()


def _batch(name: str, x: Tensor) -> Tensor:
    """Images as (B, C, H, W); also takes (C, H, W) and (H, W)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor of images; got {type(x).__name__}")
    if x.ndim not in (2, 3, 4) or (x.ndim > 2 and x.shape[-3] not in (1, 3)):
        raise ValueError(f"{name} must be (B, C, H, W), (C, H, W) or (H, W) with C = 1 or 3; got {tuple(x.shape)}")
    return x.reshape(-1, *((1,) if x.ndim == 2 else x.shape[-3:-2]), *x.shape[-2:])


def show_image(axes: Axes, image: np.ndarray, **options: Any) -> None:
    """One image (C, H, W) without ticks."""
    axes.imshow(image[0] if len(image) == 1 else np.clip(image.transpose(1, 2, 0), 0, 1), **options)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set(visible=True, color=GREY, linewidth=0.8)


def probabilities(model: Classifier, x: Tensor) -> Tensor:
    """(B, K): softmax of the model's logits, computed in eval mode and detached."""
    with torch.no_grad(), evaluating(model):
        return model(x).softmax(dim=-1)


def percent(share: float) -> str:
    """99.96 % is not 100 %: a whole number of per cent that says 0 or 100 only where it is so."""
    shown = f"{100 * share:.0f}"
    if (shown == "100" and share < 1) or (shown == "0" and share > 0):
        return "> 99 %" if shown == "100" else "< 1 %"
    return f"{shown} %"


@styled
def images(
    x: Tensor,
    titles: Sequence[str] | None = None,
    *,
    rows: Sequence[str] | None = None,
    marked: Tensor | Sequence[bool] | None = None,
    columns: int | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    size: float = 1.15,
    alt: str | None = None,
) -> Figure:
    """Images in a row or a grid, each with a caption.

    x: (B, C, H, W) in `bounds`, C = 1 or 3. titles: B captions. rows: a name for each row; with them, and without
    `columns`, the batch is cut into that many rows (clean images first, then adversarial ones: `torch.cat`).
    marked: B flags; a marked image gets a thick frame and a bold caption. size: inches of an image's side.
    """
    batch = to_numpy(_batch("x", x))
    count = len(batch)
    captions = [""] * count if titles is None else [str(title) for title in titles]
    flags = [False] * count if marked is None else [bool(flag) for flag in marked]
    for name, values in (("titles", captions), ("marked", flags)):
        if len(values) != count:
            raise ValueError(f"{name} must have one entry for each of the {count} images; got {len(values)}")
    columns = columns or (math.ceil(count / len(rows)) if rows else min(count, 10))
    height = math.ceil(count / columns)
    if rows is not None and len(rows) != height:
        raise ValueError(f"rows must name each of the {height} rows; got {len(rows)} names")

    caption = 0.22 * max((title.count("\n") + 1 for title in captions if title), default=0)
    figure = Figure(figsize=(columns * size + (1.1 if rows else 0.1), height * (size + caption)), layout="constrained")
    grid = figure.subplots(height, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= count:
            axes.axis("off")
            continue
        show_image(axes, batch[place], vmin=bounds[0], vmax=bounds[1])
        axes.set_title(captions[place], loc="center", fontsize=10, weight="bold" if flags[place] else "normal")
        if flags[place]:
            axes.spines[:].set(color=VERMILION, linewidth=3)
        if rows and place % columns == 0:
            axes.set_ylabel(rows[place // columns], rotation=0, ha="right", va="center", labelpad=8)
    figure.set_label(alt or _images_in_words(captions, flags, columns, rows))
    return figure


def _images_in_words(captions: list[str], flags: list[bool], columns: int, rows: Sequence[str] | None) -> str:
    said = [
        (" ".join(caption.split()) or "no caption") + (" (marked)" if flag else "")
        for caption, flag in zip(captions, flags, strict=True)
    ]
    lines = [said[start : start + columns] for start in range(0, len(said), columns)]
    names = [" ".join(name.split()) for name in rows or [f"row {number}" for number in range(1, len(lines) + 1)]]
    if len(lines) == 1 and not rows:
        return f"{len(said)} images: " + ", ".join(said)
    return f"{len(said)} images in {len(lines)} rows. " + " ".join(
        f"{name}: {', '.join(line)}." for name, line in zip(names, lines, strict=True)
    )


@styled
def gradient(x: Tensor, grad: Tensor, titles: Sequence[str] | None = None, *, size: float = 1.35) -> Figure:
    """Images and, below each, the gradient of the loss with respect to its pixels: where brighter raises the loss.

    x: (B, C, H, W); grad like x, shown from minus to plus its own largest entry. titles: B captions.
    """
    pictures, grads = to_numpy(_batch("x", x)), to_numpy(_batch("grad", grad))
    if pictures.shape != grads.shape:
        raise ValueError(f"grad must have the shape of x, {tuple(x.shape)}; got {tuple(grad.shape)}")
    count = len(pictures)
    captions = [str(title) for title in titles] if titles is not None else [""] * count
    if len(captions) != count:
        raise ValueError(f"titles must have one entry for each of the {count} images; got {len(captions)}")
    figure = Figure(figsize=(count * size + 2.1, 2 * size + (0.3 if titles else 0.1)), layout="constrained")
    grid = figure.subplots(2, count + 1, width_ratios=[1] * count + [0.07])
    grid[0, -1].axis("off")
    for picture, grad_i, caption, (above, below) in zip(pictures, grads, captions, grid.T[:-1], strict=True):
        show_image(above, picture, vmin=0, vmax=1)
        above.set_title(caption, loc="center", fontsize=10)
        largest = np.abs(grad_i).max() or 1.0
        show_image(below, (grad_i / largest).sum(axis=0, keepdims=True), cmap=CHANGE, vmin=-1, vmax=1)
    for axes, name in zip(grid[:, 0], ("x", "gradient\nat x"), strict=True):
        axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    bar = figure.colorbar(grid[1, 0].images[0], cax=grid[1, -1], ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["darker\nraises the loss", "", "brighter\nraises the loss"], fontsize=9)
    bar.outline.set_visible(False)
    zero = [str(number) for number, grad_i in enumerate(grads, 1) if not grad_i.any()]
    figure.set_label(
        f"{count} images and below each the gradient of the loss with respect to its pixels, in blue where darker and "
        "in orange where brighter raises the loss. "
        + (f"The gradient is zero everywhere for image {', '.join(zero)}." if zero else _where_largest(pictures, grads))
    )
    return figure


def _where_largest(pictures: np.ndarray, grads: np.ndarray) -> str:
    size = np.abs(grads)
    near = size[pictures > 0.1].sum() / size.sum()
    return f"{percent(near)} of its size lies on pixels that are not black."


@styled
def perturbation(
    x: Tensor,
    x_adv: Tensor,
    model: Classifier,
    classes: Sequence[str] | None = None,
    *,
    top: int = 5,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """x + k * delta = x~, what the model says of x and of x~, and its `top` largest probabilities.

    x, x_adv: one image each, (C, H, W) or (1, C, H, W). k is the largest change of a pixel, so delta fills [-1, 1].
    classes: K names, else class numbers.
    """
    clean, adversarial = _batch("x", x), _batch("x_adv", x_adv)
    if clean.shape != adversarial.shape or len(clean) != 1:
        raise ValueError(f"x and x_adv must be one image each; got {tuple(x.shape)} and {tuple(x_adv.shape)}")
    both = to_numpy(probabilities(model, torch.cat([clean, adversarial.to(clean)])))
    names = [str(label) for label in (classes or range(both.shape[1]))]
    before, after = to_numpy(clean)[0], to_numpy(adversarial)[0]
    k = float(np.abs(after - before).max())
    delta = (after - before) / k if k else np.zeros_like(before)

    figure = Figure(figsize=(9, 2.9 + 0.25 * min(top, both.shape[1])), layout="constrained")
    panels = figure.subplot_mosaic(
        [["x", "plus", "delta", "equals", "x_adv"], ["p", ".", "scale", ".", "p_adv"]],
        width_ratios=[1, 0.42, 1, 0.25, 1],
        height_ratios=[2.6, 0.25 * min(top, both.shape[1])],
    )
    show_image(panels["x"], before, vmin=bounds[0], vmax=bounds[1])
    show_image(panels["x_adv"], after, vmin=bounds[0], vmax=bounds[1])
    panels["plus"].text(0.5, 0.5, f"+ {short(k)} ×", ha="center", va="center", fontsize=17)
    panels["equals"].text(0.5, 0.5, "=", ha="center", va="center", fontsize=20)
    for name in ("plus", "equals", "scale"):
        panels[name].axis("off")
    _show_change(panels["delta"], panels["scale"], delta)

    shown = sorted(np.argsort(-both.max(axis=0), kind="stable")[:top])
    said = []
    for picture, bars, values, title in (("x", "p", both[0], "x"), ("x_adv", "p_adv", both[1], "x̃")):
        label = int(values.argmax())
        said.append(f"class {names[label]} with probability {percent(values[label])}")
        panels[picture].set_title(f"{title}: “{names[label]}”", loc="center", weight="bold")
        probability_bars(panels[bars], values[shown], [names[index] for index in shown], values[shown].argmax())
    panels["delta"].set_title("δ", loc="center")
    figure.set_label(
        f"An image x plus {short(k)} times a perturbation delta gives an image x tilde. "
        f"The model puts x into {said[0]}, and x tilde into {said[1]}."
    )
    return figure


def short(value: float) -> str:
    """A number in two digits, three from 1 on."""
    return f"{value:.2g}" if value < 1 else f"{value:.3g}"


def _show_change(axes: Axes, below: Axes, delta: np.ndarray) -> None:
    if len(delta) == 3:  # a colour image has no single direction of change: grey is none
        return show_image(axes, (delta + 1) / 2)
    show_image(axes, delta, cmap=CHANGE, vmin=-1, vmax=1)
    strip = below.inset_axes((0.1, 0.78, 0.8, 0.09))
    bar = axes.figure.colorbar(axes.images[0], cax=strip, orientation="horizontal", ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["−1\ndarker", "0", "+1\nbrighter"], fontsize=9)
    bar.outline.set_visible(False)


def probability_bars(axes: Axes, values: np.ndarray, names: Sequence[str], chosen: int) -> None:
    """Horizontal bars with the share written at each; the chosen one stands out."""
    places = np.arange(len(values))[::-1]
    colours = [VERMILION if index == chosen else "#D9D9D9" for index in range(len(values))]
    axes.barh(places, values, height=0.72, color=colours)
    for place, value in zip(places, values, strict=True):
        axes.text(value + 0.03, place, percent(value), va="center", fontsize=9)
    axes.set(yticks=places, yticklabels=names, xticks=[], xlim=(0, 1.35), ylim=(-0.6, len(values) - 0.4))
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.spines["left"].set_visible(True)
