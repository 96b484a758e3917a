"""The explorer: controls above one persistent picture."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets
import matplotlib
import numpy as np
import traitlets
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from coursekit import plots


@dataclass(frozen=True)
class Number:
    """A number from low to high: a labelled box to type into and a slider beside it. Integers stay integers.

    log: the slider moves on a logarithmic scale, and a step of it is `step` powers of ten.
    """

    label: str
    start: float
    low: float
    high: float
    step: float
    log: bool = False

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """The widget that holds the value, and the row that is shown."""
        if self.log:
            return self._build_log()
        whole = all(isinstance(value, int) for value in (self.start, self.low, self.high, self.step))
        box_class = ipywidgets.BoundedIntText if whole else ipywidgets.BoundedFloatText
        slider_class = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        limits = {"value": self.start, "min": self.low, "max": self.high, "step": self.step}
        box = box_class(**limits, description=self.label, layout=ipywidgets.Layout(width="13em"), style=LABELS)
        slider = slider_class(**limits, readout=False, layout=ipywidgets.Layout(width="16em"))
        # A slider in the browser counts steps in binary fractions: 0.03 comes back as 0.030000000000000002.
        digits = 0 if whole else max(0, 2 - math.floor(math.log10(self.step)))
        return self._linked(box, slider, lambda v: round(v, digits))

    def _build_log(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        box = ipywidgets.BoundedFloatText(
            value=self.start, min=self.low, max=self.high, step=self.low, description=self.label,
            layout=ipywidgets.Layout(width="13em"), style=LABELS,
        )  # fmt: skip
        slider = ipywidgets.FloatLogSlider(
            value=self.start, min=math.log10(self.low), max=math.log10(self.high), step=self.step, readout=False,
            layout=ipywidgets.Layout(width="16em"),
        )  # fmt: skip
        return self._linked(box, slider, lambda v: float(f"{v:.2g}"))

    def _linked(
        self, box: ipywidgets.Widget, slider: ipywidgets.Widget, shown: Callable[[float], float]
    ) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """Box and slider side by side, moving together. shown: what the box says for a place of the slider."""
        ipywidgets.link((box, "value"), (slider, "value"), transform=(lambda v: v, shown))
        row = ipywidgets.HBox([box, slider])
        row.add_class(f"{NAME}-number")
        return box, row


@dataclass(frozen=True)
class Choice:
    """One of several options, as a labelled list to choose from. options: what is shown -> the value.

    width: of label and list together, wide enough for the longest option.
    """

    label: str
    start: Any
    options: Mapping[str, Any]
    width: str = "13em"

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """The widget that holds the value, and the row that is shown."""
        box = ipywidgets.Dropdown(
            options=list(self.options.items()), value=self.start, description=self.label,
            layout=ipywidgets.Layout(width=self.width), style=LABELS,
        )  # fmt: skip
        return box, box


@dataclass(frozen=True)
class Upload:
    """A file of the reader's own, from a button that opens the browser's file chooser; None until there is one.

    read: makes the value from the file's bytes. What it raises as ValueError is said beside the button, in its own
    words, and the value stays as it was. meanwhile: said while it reads. accept: what the chooser offers. note: said
    else; of a larger file nothing arrives, for a notebook server takes no message of more than 10 MB.
    """

    label: str
    read: Callable[[bytes], Any]
    meanwhile: str = "Reading the file ..."
    accept: str = "image/*"
    note: str = "a file of at most 10 MB"

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """The widget that holds the value, and the row that is shown."""
        box = UploadBox(self)
        return box, box


class UploadBox(ipywidgets.HBox):
    """The button of an `Upload`, and beside it what became of the file. `value`: what was made of it."""

    value = traitlets.Any(None, allow_none=True)

    def __init__(self, control: Upload) -> None:
        self.description, self._control = control.label, control
        self.button = ipywidgets.FileUpload(
            description=control.label, accept=control.accept, layout=ipywidgets.Layout(width="13em")
        )
        self.message = ipywidgets.HTML()
        self._say("")
        super().__init__([self.button, self.message])
        self.button.observe(self._arrived, "value")

    def take(self, content: bytes, name: str = "the file") -> None:
        """Takes a file's bytes, as a browser sends them."""
        self._say(self._control.meanwhile)
        try:
            value = self._control.read(content)
        except ValueError as error:
            self._say(f"{name}: {error}.")
            return
        self._say("")
        self.value = value

    def _arrived(self, change: Any) -> None:
        for file in change.new:
            self.button.value = ()  # so that the same file can be chosen again, and is not kept twice
            self.take(bytes(file["content"]), file["name"])

    def _say(self, text: str) -> None:
        # An alert that appears is read out; the name of a file is somebody else's text.
        quiet = f"<small>{escape(self._control.note)}</small>"
        self.message.value = f'<span role="alert">{escape(text)}</span>' if text else quiet


NAME = "coursekit-explorer"
LABELS = {"description_width": "5.5em"}

# The handle of ipywidgets' slider has no name that a screen reader could say: it gets the label of its box.
NAME_THE_SLIDERS = f"""<script>
if (!window.coursekitSliders) {{
  const name = () => document.querySelectorAll('.{NAME}-number').forEach((row) => {{
    const handle = row.querySelector('.noUi-handle:not([aria-label])'), label = row.querySelector('label');
    if (handle && label) handle.setAttribute('aria-label', label.textContent + ' slider');
  }});
  window.coursekitSliders = new MutationObserver(name);
  window.coursekitSliders.observe(document.body, {{childList: true, subtree: true}});
  name();
}}
</script>"""


class Explorer(ipywidgets.VBox):
    """Controls above one persistent picture: each change of a control redraws it and its alt text.

    draw: called as draw(figure, **values), where figure.axes are the empty `panels`; returns the alt text, which says
    in words what is to be seen. controls: keyword of draw -> Number, Choice or Upload. size: inches. panels: left,
    bottom, width and height of each, in shares of the figure. scenery: called once as scenery(figure), draws into the
    panels what never changes; it is kept as pixels behind everything that `draw` draws.
    """

    DPI, SHARP = 100, 1.25

    def __init__(
        self,
        draw: Callable[..., str],
        controls: Mapping[str, Number | Choice | Upload],
        *,
        size: tuple[float, float],
        panels: Sequence[tuple[float, float, float, float]],
        scenery: Callable[[Figure], None] | None = None,
    ) -> None:
        self._draw = draw
        self.figure = Figure(figsize=size, dpi=self.DPI * self.SHARP)
        self._canvas = FigureCanvasAgg(self.figure)
        with matplotlib.rc_context(plots.STYLE):
            if not scenery:
                self._canvas.draw()
            for panel in panels:
                self.figure.add_axes(panel)
            if scenery:
                scenery(self.figure)
                self._canvas.draw()
        self._behind = self._canvas.copy_from_bbox(self.figure.bbox)
        self.figure.patch.set_visible(False)
        self.alt = ""
        self.png = b""
        self.picture = ipywidgets.HTML()
        self.picture.add_class(f"{NAME}-picture")
        self.inputs: dict[str, ipywidgets.Widget] = {}
        rows = []
        for name, control in controls.items():
            self.inputs[name], row = control.build()
            rows.append(row)
        self.redraw()
        for box in self.inputs.values():
            box.observe(lambda _: self.redraw(), "value")
        panel = ipywidgets.Box(rows, layout=ipywidgets.Layout(flex_flow="row wrap", grid_gap="0 2em"))
        hide = ipywidgets.HTML(layout=ipywidgets.Layout(display="none"))
        super().__init__([panel, self.picture, hide])
        # While the live picture is shown, the still one below it is not.
        self._still = f"{NAME}-{self.model_id}"
        hide.value = f"<style>.jp-OutputArea-child:has(.{self._still}), .{self._still} {{display: none}}</style>"
        self.add_class(NAME)

    @property
    def values(self) -> dict[str, Any]:
        """The present value of every control."""
        return {name: box.value for name, box in self.inputs.items()}

    def set(self, **values: Any) -> None:
        """Changes controls by keyword, as a user would: explorer.set(eps=0.2). Raises ValueError for an unknown one."""
        for name, value in values.items():
            if name not in self.inputs:
                raise ValueError(f"there is no control {name!r}; there are {', '.join(self.inputs)}")
            self.inputs[name].value = value

    def redraw(self) -> None:
        """Draws the picture for the present values."""
        _empty(self.figure)
        self._canvas.restore_region(self._behind)
        with matplotlib.rc_context(plots.STYLE):
            self.alt = self._draw(self.figure, **self.values)
            self.figure.draw(self._canvas.get_renderer())
        png = io.BytesIO()
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(png, "png", compress_level=1)
        self.png = png.getvalue()
        self.picture.value = self.still()

    def still(self) -> str:
        """The picture as it is now, `<img alt>`."""
        width, height = (round(inches * self.DPI) for inches in self.figure.get_size_inches())
        return plots.image_tag(self.png, self.alt, width=width, height=height)

    def _ipython_display_(self) -> None:
        """The live widget, and below it a still picture for readers without a kernel."""
        from IPython.display import display

        live = dict(self._repr_mimebundle_() or {})
        labels = ", ".join(box.description for box in self.inputs.values())
        # JupyterLab says "Error displaying widget" for one whose kernel is gone; the picture below says it better.
        orphan = f".jp-OutputArea-child:has(+ * .{self._still}) > .jp-OutputArea-output.jupyter-widgets:not(:has(*))"
        still = (
            f'<div class="{self._still}">{self.still()}<p><small>Run this cell for live controls: {labels}.</small></p>'
            f"</div><style>{orphan} {{display: none}}</style>{NAME_THE_SLIDERS}"
        )
        display(live | {"text/plain": ""}, raw=True)
        display({"text/html": still, "text/plain": self.alt}, raw=True)


def _empty(figure: Figure) -> None:
    """Removes what was drawn. The axes stay: to make them anew takes longer than to draw everything."""
    drawn: list[Artist] = [*figure.texts]
    for axes in figure.axes:
        drawn += [*axes.lines, *axes.patches, *axes.collections, *axes.images, *axes.texts]
    for artist in drawn:
        artist.remove()
    for axes in figure.axes:
        axes.relim()  # neither limits nor colours remember what was there
        axes.set_prop_cycle(None)
