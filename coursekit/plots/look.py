"""The look of the course's figures, and how to set it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure

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
