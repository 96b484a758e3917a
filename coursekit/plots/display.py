"""Figures as a notebook shows them: with an alt text that says in words what is to be seen."""

import base64
import io
import sys
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


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
