"""Robust accuracy against eps, and lines that carry their own labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from coursekit.plots.look import COLOURS, GREY, LINES, ink, styled
from coursekit.plots.pictures import percent, short, to_numpy


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
