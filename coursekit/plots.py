"""Figures in one house style, each with an alt text that says in words what is to be seen.

Every function takes tensors (or a model and tensors) and returns a matplotlib `Figure`: the last line of a cell
shows it, `display(figure)` shows it anywhere else. `alt_text(figure)` is what a screen reader says.
"""

import base64
import io
import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from html import escape
from typing import Any

import matplotlib
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from coursekit.attacks import Iterate, fgsm, pgd
from coursekit.losses import cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import LpBall

# Okabe and Ito, "Color Universal Design", 2008: told apart with every kind of colour vision. Yellow is left out
# (invisible on white). No line is known by its colour alone: each comes with a line style of its own.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#595959"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
CHANGE = LinearSegmentedColormap.from_list("change", [BLUE, "white", VERMILION])  # below, at and above zero
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))

STYLE: Any = {  # Any: matplotlib's types list every setting there is
    "figure.facecolor": "white",  # opaque: a transparent figure cannot be read in JupyterLab's dark theme
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "lines.linewidth": 2,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
}


def style() -> None:
    """Gives the session's own matplotlib figures the look of the course. The functions here need no call of it."""
    matplotlib.rcParams.update(STYLE)


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """The house style for the length of one call: the session's settings stay as they are."""

    @wraps(function)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return drawn


def ink(colour: str) -> str:
    """The colour, darkened until text in it can be read on white (contrast at least 4.5, as WCAG 2.1 asks)."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (_luminance(rgb) + 0.05) < 4.5:
        rgb = rgb * 0.97
    return to_hex(tuple(rgb))


def _luminance(rgb: np.ndarray) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# --- alt text ---------------------------------------------------------------------------------------------------


def alt_text(figure: Figure) -> str:
    """What a figure says to someone who cannot see it: its label, or else its titles and axes."""
    if figure.get_label():
        return str(figure.get_label())
    said = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        titles = [axes.get_title(loc) for loc in ("left", "center", "right")]
        said.append(next(filter(None, titles), "") or " against ".join(filter(None, _axis_labels(axes))))
    return "Figure: " + "; ".join(filter(None, said))


def _axis_labels(axes: Axes) -> tuple[str, str]:
    return axes.get_ylabel(), axes.get_xlabel()


def as_html(figure: Figure, *, sharp: float = 2.0) -> str:
    """The figure as `<img alt>` with its alt text. sharp: pixels per point, 2 for projectors and fine screens."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=figure.dpi * sharp, bbox_inches="tight", facecolor="white")
    width = int.from_bytes(png.getvalue()[16:20], "big")  # the PNG header: what "tight" left of the width
    return image_tag(png.getvalue(), alt_text(figure), width=round(width / sharp))


def image_tag(png: bytes, alt: str, *, width: int, height: int | None = None) -> str:
    """An `<img>` that carries picture and alt text in itself, so it survives saving, export and sanitising.

    A height lets the browser keep the place free while it decodes the picture: nothing jumps at a redraw.
    """
    size = f'width="{width}"' + (f' height="{height}"' if height else "")
    data = base64.b64encode(png).decode()
    return (
        f'<img {size} alt="{escape(alt, quote=True)}" style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{data}">'
    )


def install(shell: Any = None) -> None:
    """Shows every matplotlib figure of an IPython session with its alt text; called on import, harmless twice.

    Notebooks drop the alt text of `image/png` outputs, so figures are shown as static HTML; a terminal gets the words.
    """
    if shell is None and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    if shell is not None:
        formatters = shell.display_formatter.formatters
        formatters["text/html"].for_type(Figure, lambda figure: as_html(figure) if figure.axes else None)
        formatters["text/plain"].for_type(Figure, lambda figure, printer, cycle: printer.text(alt_text(figure)))


install()


# --- from tensors to pictures -----------------------------------------------------------------------------------


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
    names = rows or [f"row {number}" for number in range(1, len(lines) + 1)]
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
        "in red where brighter raises the loss. "
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


# --- curves -----------------------------------------------------------------------------------------------------


@styled
def curves(
    lines: Mapping[str, Sequence[Any]],
    *,
    chance: float | None = 0.1,
    xlabel: str = "radius ε of the ball",
    ylabel: str = "robust accuracy",
    title: str = "",
) -> Figure:
    """Robust accuracy against eps, one line for each model or attack.

    lines: label -> (eps, accuracy) or (eps, accuracy, lower, upper), each a sequence of N numbers; accuracies in
    [0, 1], lower and upper the ends of the confidence interval, drawn as a band. chance: the accuracy of guessing.
    """
    if not lines:
        raise ValueError("lines must hold at least one curve; got none")
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    labels = {}
    said = []
    for (label, line), colour, dashes in zip(lines.items(), _cycle(COLOURS), _cycle(LINES), strict=False):
        eps, accuracy, *band = _checked_line(label, line)
        axes.plot(eps, accuracy, color=colour, linestyle=dashes, marker="o", markersize=4)
        if band:
            axes.fill_between(eps, band[0], band[1], color=colour, alpha=0.15, linewidth=0)
        labels[label] = (eps, accuracy, colour)
        said.append(f"{label}: {_fall_in_words(eps, accuracy)}.")
    if chance is not None:
        axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.5)
        labels[f"guessing: {percent(chance)}"] = (np.array(axes.get_xlim()), np.full(2, chance), GREY)
        said.append(f"Guessing gives {percent(chance)}.")
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(-0.02, 1.03))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    label_lines(axes, labels)
    figure.set_label(" ".join([f"{title or ylabel.capitalize()} against {xlabel}.", *said]))
    return figure


def _cycle(values: Sequence[Any]):
    while True:
        yield from values


def _checked_line(label: str, line: Sequence[Any]) -> list[np.ndarray]:
    if len(line) not in (2, 4):
        raise ValueError(
            f"lines[{label!r}] must be (eps, accuracy) or (eps, accuracy, lower, upper); got {len(line)} parts"
        )
    parts = [np.atleast_1d(to_numpy(part)) for part in line]
    if len({part.shape for part in parts}) != 1 or parts[0].ndim != 1:
        raise ValueError(f"lines[{label!r}] must hold sequences of one length; got shapes {[p.shape for p in parts]}")
    return [part[np.argsort(parts[0], kind="stable")] for part in parts]


def _fall_in_words(eps: np.ndarray, accuracy: np.ndarray) -> str:
    """Where a curve starts, where it is in the middle of its fall, where it ends."""
    middle = int(np.abs(accuracy - (accuracy[0] + accuracy[-1]) / 2).argmin())
    places = sorted({0, middle, len(eps) - 1})
    return ", ".join(f"{percent(accuracy[place])} at {short(eps[place])}" for place in places)


def label_lines(axes: Axes, lines: Mapping[str, tuple[np.ndarray, np.ndarray, str]], *, size: float = 10) -> list[Text]:
    """Writes each label beside its own line where there is room: off every line and every other label.

    lines: label -> (x, y, colour). The axes' limits must be final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # places are chosen in pixels, so the layout must have settled
    x_limits, y_limits = axes.get_xlim(), axes.get_ylim()
    axes.set(xlim=x_limits, ylim=y_limits)
    traces = {label: _pixels(axes, x, y) for label, (x, y, _) in lines.items()}
    taken: list[np.ndarray] = [np.array(text.get_window_extent().extents) for text in axes.texts]
    texts = []
    for label, (_, _, colour) in lines.items():
        text = axes.text(0, 0, label, color=ink(colour), fontsize=size, weight="bold", va="bottom", ha="left")
        extent = text.get_window_extent()
        box = _free_box(
            traces[label], list(traces.values()), taken, extent.width, extent.height, np.array(axes.bbox.extents)
        )
        text.set_position(tuple(axes.transData.inverted().transform(box[:2])))
        taken.append(box)
        texts.append(text)
    return texts


def _pixels(axes: Axes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(M, 2): points along a line, about every second pixel."""
    corners = axes.transData.transform(np.column_stack([x, y]))
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    along = np.linspace(0, lengths[-1], max(2, int(lengths[-1] / 2)))
    return np.column_stack([np.interp(along, lengths, corners[:, axis]) for axis in (0, 1)])


def _free_box(
    own: np.ndarray, traces: list[np.ndarray], taken: list[np.ndarray], width: float, height: float, frame: np.ndarray
) -> np.ndarray:
    """(4,): the box x0, y0, x1, y1 beside `own` that covers the fewest points of lines and nothing taken."""
    size, gap = np.array([width, height]), 5.0
    # A label may hang on a point of its line by any of its corners or the middle of its long sides.
    hang = np.array([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0), (0.5, 1)])
    away = np.array([(gap, gap), (-gap, gap), (gap, -gap), (-gap, -gap), (0, gap), (0, -gap)])
    corners = (own[::3, None] - hang * size + away).reshape(-1, 2)
    boxes = np.hstack([corners, corners + size])
    points = np.concatenate(traces)
    inside = (points[:, None] > boxes[:, :2] - 2) & (points[:, None] < boxes[:, 2:] + 2)
    cost = inside.all(axis=2).sum(axis=0).astype(float)
    for other in taken:
        apart = (boxes[:, :2] >= other[2:] + 4).any(axis=1) | (boxes[:, 2:] <= other[:2] - 4).any(axis=1)
        cost += np.where(apart, 0, 1e4)
    cost += 1e3 * ((boxes[:, :2] < frame[:2]) | (boxes[:, 2:] > frame[2:])).any(axis=1)
    # Among the free places, the one where no other line is near its own leaves no doubt whose label it is.
    others = [trace[::3] for trace in traces if trace is not own]
    if others:
        apart = np.min([np.hypot(*(own[::3, None] - trace).T).min(axis=0) for trace in others], axis=0)
        cost -= np.minimum(apart, 60).repeat(len(hang)) / 10
    return boxes[cost.argmin()]


@styled
def loss_along(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    direction: Tensor,
    *,
    span: tuple[float, float] = (-0.2, 1.0),
    points: int = 401,
    classes: Sequence[str] | None = None,
) -> Figure:
    """Zero-one loss and cross-entropy along the line x + t * direction, with the slope each shows at t = 0.

    x: (B, ...), y: (B,) int64, direction like x; also one image with a 0-dimensional y. Losses are means over the
    batch: one image gives a jump or two, a batch a staircase. span: first and last t. classes: names, for
    what is written above a single image's steps. A cross-entropy that spans orders of magnitude gets a log scale.
    Source: lecture, slide "Adversarial Attacks: Objective Function".
    """
    if direction.shape != x.shape:
        raise ValueError(f"direction must have the shape of x, {tuple(x.shape)}; got {tuple(direction.shape)}")
    if not span[0] <= 0 < span[1]:
        raise ValueError(f"span must run from some t <= 0 to some t > 0; got {span}")
    if y.ndim == 0:
        x, y, direction = x[None], y[None], direction[None]
    t = torch.linspace(*span, points, dtype=x.dtype, device=x.device)
    zero_one, surrogate, called = _losses_on_line(model, x, y, direction, t)
    slope = _slope_at_zero(model, x, y, direction)
    at_zero, places = int(t.abs().argmin()), to_numpy(t)

    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    upper.set(title="zero-one loss: slope 0, no direction to go", ylim=(-0.15, 1.3), yticks=[0, 0.5, 1])
    _staircase(upper, places, zero_one)
    if len(x) == 1:
        _write_classes(upper, places, called, classes)
    lower.plot(places, surrogate, color=BLUE, linestyle="-", linewidth=2.5)
    lower.set_title(f"cross-entropy: slope {slope:+.2g} at x".replace("slope -", "slope −"))
    lower.set(xlabel="t   in   x + t · direction", xlim=span)
    if surrogate.min() > 0 and surrogate.max() > 100 * surrogate.min():
        lower.set(yscale="log", title=lower.get_title(loc="left") + " (log scale)")
    lower.set_ylim(*lower.get_ylim())  # the arrow must not move it
    _tangent(upper, zero_one[at_zero], 0.0, span)
    _tangent(lower, surrogate[at_zero], slope, span)
    figure.set_label(_line_in_words(len(x), places, zero_one, surrogate, slope))
    return figure


def _losses_on_line(
    model: Classifier, x: Tensor, y: Tensor, direction: Tensor, t: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean zero-one loss, mean cross-entropy and the first image's class, each at every t."""
    zero_one, surrogate, called = [], [], []
    with torch.no_grad(), evaluating(model):
        for some in t.split(max(1, 2048 // len(x))):
            line = x + some.view(-1, *[1] * x.ndim) * direction
            logits = model(line.flatten(0, 1))
            labels = y.repeat(len(some))
            losses = cross_entropy(logits, labels), (logits.argmax(dim=1) != labels)
            surrogate.append(losses[0].view(len(some), -1).double().mean(dim=1))
            zero_one.append(losses[1].view(len(some), -1).double().mean(dim=1))
            called.append(logits.argmax(dim=1).view(len(some), -1)[:, 0])
    return to_numpy(torch.cat(zero_one)), to_numpy(torch.cat(surrogate)), to_numpy(torch.cat(called)).astype(int)


def _slope_at_zero(model: Classifier, x: Tensor, y: Tensor, direction: Tensor) -> float:
    """d/dt of the mean cross-entropy at t = 0: the inner product of gradient and direction."""
    t = torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True)
    with differentiating(), evaluating(model):
        loss = cross_entropy(model(x + t * direction), y).mean()
    return float(torch.autograd.grad(loss, t)[0])


def _stretches(t: np.ndarray, values: np.ndarray) -> list[tuple[float, float, Any]]:
    """(start, end, value) of each stretch on which the values stay the same; jumps lie between two points."""
    jumps = np.flatnonzero(np.diff(values))
    edges = [t[0], *(t[jumps] + t[jumps + 1]) / 2, t[-1]]
    return list(zip(edges[:-1], edges[1:], values[[0, *(jumps + 1)]], strict=True))


def _staircase(axes: Axes, t: np.ndarray, values: np.ndarray) -> None:
    """Strong steps; where it jumps only a hint of a line, for there is no slope there."""
    steps = _stretches(t, values)
    for start, end, value in steps:
        axes.hlines(value, start, end, color=VERMILION, linewidth=3)
    for (_, end, value), (_, _, following) in itertools.pairwise(steps):
        axes.vlines(end, *sorted((value, following)), color=VERMILION, linewidth=1, linestyle=":")


def _write_classes(axes: Axes, t: np.ndarray, called: np.ndarray, classes: Sequence[str] | None) -> None:
    """Above the staircase: which class the model names on each stretch wide enough for a word."""
    for start, end, label in _stretches(t, called):
        if end - start > 0.05 * (t[-1] - t[0]):
            name = classes[label] if classes else label
            axes.text((start + end) / 2, 1.16, f"“{name}”", ha="center", va="center", color=GREY)


def _tangent(axes: Axes, height: float, slope: float, span: tuple[float, float]) -> None:
    """A dot for x at t = 0 and an arrow along the tangent there, as far as it stays in the picture."""
    low, high = axes.get_ylim()
    t = np.linspace(0, 0.15 * (span[1] - span[0]), 50)
    # On a log scale the tangent of the curve as drawn is an exponential.
    line = height * np.exp(slope / height * t) if axes.get_yscale() == "log" else height + slope * t
    t, line = t[(line >= low) & (line <= high)], line[(line >= low) & (line <= high)]
    axes.plot(t[:-3], line[:-3], color="black", linestyle="-", linewidth=2.2, zorder=4)
    if len(t) > 4:
        arrow = {"arrowstyle": "-|>", "linewidth": 2.2, "color": "black", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (t[-1], line[-1]), (t[-4], line[-4]), arrowprops=arrow, zorder=4)
    axes.plot(0, height, "o", color="black", markersize=7, zorder=4)
    axes.annotate("x", (0, height), xytext=(-4, 8), textcoords="offset points", ha="right", weight="bold")


def _line_in_words(count: int, t: np.ndarray, zero_one: np.ndarray, surrogate: np.ndarray, slope: float) -> str:
    steps = _stretches(t, zero_one)
    jumps = {1: "never jumps", 2: "jumps once"}.get(len(steps), f"jumps {len(steps) - 1} times")
    first = f", first at t = {short(steps[0][1])}" if len(steps) > 1 else ""
    return (
        f"Two losses along a line through {'one image' if count == 1 else f'{count} images'}, t from {t[0]:.2g} to "
        f"{t[-1]:.2g}. Above: the zero-one loss is flat and {jumps}{first}; its slope at t = 0 is zero. "
        f"Below: the cross-entropy is smooth, with slope {slope:.2g} at t = 0; "
        f"it goes from {surrogate[0]:.2g} to {surrogate[-1]:.2g}."
    )


# --- does the attack deserve trust? -----------------------------------------------------------------------------


def diagnostics(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: LpBall,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 5,
    generator: torch.Generator | None = None,
) -> Figure:
    """Runs PGD with random restarts, and FGSM beside it, and shows whether its result deserves trust.

    x: (B, ...), y: (B,) int64. generator: None takes a seed of its own, so the figure is the same each time.
    See `convergence` for what is shown.
    """
    trace: list[Iterate] = []
    generator = generator or torch.Generator().manual_seed(0)
    pgd(model, x, y, threat, steps=steps, step_size=step_size, restarts=restarts, early_stop=False,
        generator=generator, trace=trace)  # fmt: skip
    correct = torch.stack([step.logits.argmax(dim=1) == y for step in trace])
    losses = torch.stack([step.loss for step in trace])
    one_step = probabilities(model, fgsm(model, x, y, threat)).argmax(dim=1) == y
    return convergence(
        losses.unflatten(0, (restarts, -1)),
        correct.unflatten(0, (restarts, -1)),
        one_step=float(one_step.float().mean()),
    )


@styled
def convergence(losses: Tensor, correct: Tensor, *, one_step: float | None = None) -> Figure:
    """Loss and accuracy over the steps of an attack, accuracy over its restarts, and what looks wrong in them.

    losses: (R, T + 1, B) loss of every image at x_0, ..., x_T in each of R restarts; correct: bool, the same shape.
    Both also without R. one_step: the accuracy FGSM leaves; an attack of many steps must not do worse.
    """
    loss, right = to_numpy(losses), to_numpy(correct)
    if loss.shape != right.shape or loss.ndim not in (2, 3):
        raise ValueError(
            f"losses and correct must both be (R, T + 1, B) or (T + 1, B); got {loss.shape} and {right.shape}"
        )
    loss, right = (values.reshape(-1, *values.shape[-2:]) for values in (loss, right))
    mean_loss, accuracy = loss.mean(axis=2), right.mean(axis=2)
    # An image withstands the attack only if it withstands every restart.
    surviving = np.minimum.accumulate(right[:, -1], axis=0).mean(axis=1)
    flags = _red_flags(loss, right, surviving, one_step)

    figure = Figure(figsize=(9.6, 3.9 + 0.25 * len(flags)), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    _over_steps(first, mean_loss, BLUE, "-")
    first.set(title="loss", xlabel="steps", ylim=(min(0, mean_loss.min()), 1.08 * mean_loss.max() + 1e-9))
    _over_steps(second, accuracy, VERMILION, "--")
    second.set(title="accuracy", xlabel="steps")
    third.plot(np.arange(1, len(surviving) + 1), surviving, color=GREEN, linestyle="-.", marker="o", markersize=5)
    third.set(title="worst of k restarts", xlabel="k")
    third.xaxis.set_major_locator(MaxNLocator(integer=True))
    top = max(accuracy.max(), one_step or 0, 1e-9)
    for axes in (second, third):
        axes.set_ylim(-0.03 * top, 1.12 * top)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        if one_step is not None:
            axes.axhline(one_step, color="black", linestyle=":", linewidth=1.5)
    if one_step is not None:
        second.annotate(
            f"FGSM: {percent(one_step)}", (1, one_step), xycoords=second.get_yaxis_transform(), xytext=(0, 3),
            textcoords="offset points", ha="right", fontsize=10,
        )  # fmt: skip
    third.annotate(
        percent(surviving[-1]), (len(surviving), surviving[-1]), xytext=(-2, 7), textcoords="offset points",
        ha="right" if len(surviving) > 1 else "center", color=ink(GREEN), weight="bold",
    )  # fmt: skip
    verdict = "\n".join(f"⚑ {flag}" for flag in flags) or "✓ no red flag"
    figure.suptitle(
        verdict, x=0.01, ha="left", fontsize=12, color=ink(VERMILION) if flags else ink(GREEN), weight="bold"
    )
    figure.set_label(
        f"Diagnostics of an attack with {len(loss)} restart{'s' * (len(loss) > 1)} of {loss.shape[1] - 1} steps on "
        f"{loss.shape[2]} images. "
        f"The mean loss goes from {mean_loss[:, 0].mean():.2g} to {mean_loss[:, -1].mean():.2g}; accuracy falls from "
        f"{percent(accuracy[:, 0].mean())} to {percent(surviving[0])} after the first restart and "
        f"{percent(surviving[-1])} after the last. {'Red flags: ' + '; '.join(flags) if flags else 'No red flag'}."
    )
    return figure


def _over_steps(axes: Axes, values: np.ndarray, colour: str, dashes: str) -> None:
    """(R, T + 1): each restart as a faint line, their mean as a strong one."""
    steps = np.arange(values.shape[1])
    if len(values) > 1:
        axes.plot(steps, values.T, color=colour, linestyle="-", linewidth=0.8, alpha=0.4)
    axes.plot(steps, values.mean(axis=0), color=colour, linestyle=dashes)
    axes.set_xlim(0, max(1, values.shape[1] - 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _red_flags(loss: np.ndarray, right: np.ndarray, surviving: np.ndarray, one_step: float | None) -> list[str]:
    """Reasons to distrust an attack. Source: Athalye et al. 2018, section 3.1; Carlini et al. 2019, section 3."""
    flags = []
    curve, images = loss.mean(axis=(0, 2)), loss.shape[2]
    rise, tail = curve.max() - curve[0], max(1, (len(curve) - 1) // 10)
    # An image that was wrong to begin with needs no attack, and its loss may rise without a meaning.
    attacked = right[:, 0].any(axis=0)
    stuck = attacked & ((loss.max(axis=1) - loss[:, 0]).max(axis=0) <= 1e-6)
    if stuck.sum() > 0.05 * attacked.sum():
        share = percent(stuck.sum() / attacked.sum())
        flags.append(f"the loss of {share} of the images never rises: there may be no gradient to follow")
    elif len(curve) > 2 and curve[-1] - curve[-1 - tail] > 0.05 * rise:
        flags.append("the loss still rises at the last step: give it more steps")
    if one_step is not None and one_step < surviving[-1] - 1 / images:
        flags.append("one step beats many: the gradients are probably masked")
    if len(surviving) > 1 and surviving[-2] - surviving[-1] > max(0.005, 1.5 / images):  # one image is chance
        flags.append("the last restart still gained: give it more restarts")
    return flags
