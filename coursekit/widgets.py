"""Live figures: controls and one picture that follows them, with an alt text that follows too.

An `Explorer` is an ipywidgets box. Shown in a notebook it is live; saved, exported or opened without a kernel its
picture is still there. Without any front end it works as a plain object: `set`, `alt`, `png`.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import ipywidgets
import matplotlib
import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Generator, Tensor

from coursekit import data, models, plots
from coursekit.attacks import Iterate, input_gradient, pgd
from coursekit.losses import cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import LpBall

# --- the explorer -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A number from low to high: a labelled box to type into and a slider beside it. Integers stay integers."""

    label: str
    start: float
    low: float
    high: float
    step: float

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """The widget that holds the value, and the row that is shown."""
        whole = all(isinstance(value, int) for value in (self.start, self.low, self.high, self.step))
        box_class = ipywidgets.BoundedIntText if whole else ipywidgets.BoundedFloatText
        slider_class = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        limits = {"value": self.start, "min": self.low, "max": self.high, "step": self.step}
        box = box_class(**limits, description=self.label, layout=ipywidgets.Layout(width="13em"), style=LABELS)
        slider = slider_class(**limits, readout=False, layout=ipywidgets.Layout(width="16em"))
        # A slider in the browser counts steps in binary fractions: 0.03 comes back as 0.030000000000000002.
        digits = 0 if whole else max(0, 2 - math.floor(math.log10(self.step)))
        ipywidgets.link((box, "value"), (slider, "value"), transform=(lambda v: v, lambda v: round(v, digits)))
        row = ipywidgets.HBox([box, slider])
        row.add_class(f"{NAME}-number")
        return box, row


@dataclass(frozen=True)
class Choice:
    """One of several options, as a labelled list to choose from. options: what is shown -> the value."""

    label: str
    start: Any
    options: Mapping[str, Any]

    def build(self) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
        """The widget that holds the value, and the row that is shown."""
        box = ipywidgets.Dropdown(
            options=list(self.options.items()), value=self.start, description=self.label,
            layout=ipywidgets.Layout(width="13em"), style=LABELS,
        )  # fmt: skip
        return box, box


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
    in words what is to be seen. controls: keyword of draw -> Number or Choice. size: inches. panels: left, bottom,
    width and height of each, in shares of the figure. scenery: called once as scenery(figure), draws into the panels
    what never changes; it is kept as pixels behind everything that `draw` draws.
    """

    DPI, SHARP = 100, 1.25

    def __init__(
        self,
        draw: Callable[..., str],
        controls: Mapping[str, Number | Choice],
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


# --- eps-ball explorer ------------------------------------------------------------------------------------------

REGION = ("#D3E6F3", "#FBE3D0", "#D5EFE5", "#F3E1EC")
CLASS = (plots.BLUE, plots.VERMILION, plots.GREEN, plots.PURPLE)
MARKS, SYMBOLS = "o^sD", "●▲■◆"
NORMS = {"∞": math.inf, "2": 2, "1": 1}


class AttackPath(NamedTuple):
    """What PGD did from one point: iterates (T + 1, 2), the first is x; where each gradient step led before it was
    projected, (T, 2); the model's class at each iterate, (T + 1,)."""

    iterates: np.ndarray
    steps: np.ndarray
    classes: np.ndarray

    def until(self, end: int) -> "AttackPath":
        """The first `end` steps."""
        return AttackPath(self.iterates[: end + 1], self.steps[:end], self.classes[: end + 1])


def attack_path(model: Classifier, x: Tensor, y: Tensor, threat: LpBall, *, steps: int, step_size: float) -> AttackPath:
    """PGD from x itself, step by step. x: (1, 2), y: (1,)."""
    x_t = x
    iterates, moved = [x], []
    with evaluating(model), differentiating():
        for _ in range(steps):
            moved.append(threat.step(x_t, input_gradient(model, x_t, y, cross_entropy), step_size))
            x_t = threat.project(moved[-1], x)
            iterates.append(x_t)
    points = torch.cat(iterates)
    return AttackPath(plots.to_numpy(points), plots.to_numpy(torch.cat(moved)), classes_at(model, points).numpy())


def adversarial_in_ball(
    model: Classifier, x: Tensor, y: Tensor, threat: LpBall, *, grid: int = 121
) -> np.ndarray | None:
    """The adversarial example nearest to x in P(x) that a dense search of the plane finds, (2,), or None.

    x: (1, 2), y: (1,). Looks at grid x grid points of the ball's bounding box and at its edge and corners: on a
    picture's scale that decides whether there is one.
    """
    centre, eps = x.double(), float(threat.eps)
    ticks = torch.linspace(-eps, eps, grid, dtype=torch.float64)
    square = centre + torch.cartesian_prod(ticks, ticks)
    inside = torch.cat([square, centre + torch.from_numpy(eps * ball_outline(threat.p))]).clamp(*threat.bounds).to(x)
    inside = inside[threat.contains(inside, x.expand_as(inside))]
    wrong = inside[classes_at(model, inside) != y]
    if not len(wrong):
        return None
    return plots.to_numpy(wrong[torch.linalg.vector_norm(wrong - x, ord=threat.p, dim=1).argmin()])


def classes_at(model: Classifier, points: Tensor) -> Tensor:
    """(N,): the model's class at each point (N, 2)."""
    with torch.no_grad(), evaluating(model):
        return model(points).argmax(dim=1)


def ball_outline(p: float, points: int = 240) -> np.ndarray:
    """(N, 2): the unit circle of the L_p norm in the plane, corners included."""
    angle = np.linspace(0, 2 * np.pi, points + 1)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return circle / np.linalg.norm(circle, ord=p, axis=1, keepdims=True)


def ball_explorer(
    model: Classifier | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    *,
    classes: Sequence[str] | None = None,
    eps: float = 0.15,
    steps: int = 10,
    step_size: float = 0.03,
    p: float = math.inf,
    point: int = 0,
) -> Explorer:
    """PGD in the plane: decision regions, the eps-ball of a point within the unit square, the path, the verdict.

    model: points (B, 2) in the unit square -> logits; None takes the one shipped for the two moons. x: (N, 2) points
    to choose from, y: (N,) their classes; None takes the moons' test points. The other arguments say where the
    controls stand to begin with. The verdict is checked: where the attack fails, a dense search of the ball says
    whether there was something to find.
    """
    if (x is None) != (y is None):
        raise ValueError("x and y must be given together, or neither of them")
    if x is None or y is None:
        x, y, names = data.load("moons", "test")
        classes = classes or names
    if x.ndim != 2 or x.shape[1] != 2 or y.shape != (len(x),):
        raise ValueError(f"x must be (N, 2) and y (N,); got {tuple(x.shape)} and {tuple(y.shape)}")
    scene = _Plane(model or models.load("moons_mlp"), x.detach().float(), y, classes)
    controls: dict[str, Number | Choice] = {
        "eps": Number("eps", float(eps), 0.0, 0.5, 0.01),
        "p": Choice("norm p", p, NORMS),
        "steps": Number("steps", steps, 1, 40, 1),
        "step_size": Number("step size", float(step_size), 0.005, 0.3, 0.005),
        "point": Number("point", point, 0, len(x) - 1, 1),
    }
    return Explorer(scene.draw, controls, size=(9.2, 5.0), panels=scene.PANELS, scenery=scene.scenery)


class _Plane:
    """The picture of `ball_explorer`: what stays the same from redraw to redraw, and how to draw one."""

    PANELS = (0.045, 0.055, 0.43, 0.79), (0.555, 0.055, 0.43, 0.79)

    def __init__(self, model: Classifier, x: Tensor, y: Tensor, classes: Sequence[str] | None) -> None:
        self.model, self.x, self.y = model, x, y
        self.points, self.labels = plots.to_numpy(x), plots.to_numpy(y).astype(int)
        with torch.no_grad(), evaluating(model):
            count = model(x[:1]).shape[1]
        self.classes = list(classes or (f"class {label}" for label in range(count)))

    def scenery(self, figure: Figure) -> None:
        """The whole square with the model's regions and the data, and the key to both panels."""
        axes, close = figure.axes
        self._draw_plane(axes, (0, 1), (0, 1), grid=200, size=4.5)
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        for label in np.unique(self.labels):
            axes.text(
                0.5 * label, 1.02, f"{SYMBOLS[label % 4]} {self.classes[label]}", fontsize=10.5, weight="bold",
                color=plots.ink(CLASS[label % 4]),
            )  # fmt: skip
        close.axis("off")
        close.text(0, 1.02, "● iterates   ○ before the projection Π", fontsize=10.5, transform=close.transAxes)

    def draw(self, figure: Figure, eps: float, p: float, steps: int, step_size: float, point: int) -> str:
        """One redraw; returns the alt text."""
        threat = LpBall(eps, p)
        x, y = self.x[point : point + 1], self.y[point : point + 1]
        path = attack_path(self.model, x, y, threat, steps=steps, step_size=step_size)
        wrong = np.flatnonzero(path.classes != int(y))
        fooled = bool(len(wrong))
        if fooled:  # there the attack is over
            path = path.until(int(wrong[0]))
        missed = None if fooled else adversarial_in_ball(self.model, x, y, threat)
        verdict, why, colour = self._verdict(path, fooled, missed, threat, steps, step_size)

        figure.text(0.045, 0.957, verdict, fontsize=14, weight="bold", color=plots.ink(colour), va="center")
        figure.text(0.045, 0.907, why, fontsize=10.5, color=plots.GREY, va="center")
        overview, close = figure.axes
        overview.axis("off")  # its axis is part of the scenery
        _draw_ball(overview, threat, self.points[point])
        overview.plot(*self.points[point], "o", color="black", markersize=7)
        self._draw_close(close, threat, path, fooled, missed)
        norm = next(name for name, value in NORMS.items() if value == p).replace("∞", "infinity")
        start, end = (f"({place[0]:.2f}, {place[1]:.2f})" for place in path.iterates[[0, -1]])
        return (
            f"{verdict}: {why}. Point {point} of class {self.classes[int(y)]} at {start} in the unit square, its ball "
            f"of radius eps = {eps:g} in the L-{norm} norm, and the path of PGD with {steps} steps of size "
            f"{step_size:g}, which leads to {end}."
        )

    def _verdict(
        self, path: AttackPath, fooled: bool, missed: np.ndarray | None, threat: LpBall, steps: int, step_size: float
    ) -> tuple[str, str, str]:
        """The outcome, its reason, and a colour for it."""
        start, end = path.iterates[0], path.iterates[-1]
        if fooled and len(path.iterates) == 1:
            return "Nothing to attack", f"x itself is taken for {self.classes[path.classes[0]]}", plots.GREY
        if fooled:
            away, called = np.linalg.norm(end - start, ord=threat.p), self.classes[path.classes[-1]]
            why = f"x̃ is taken for {called}; it lies {away:.2g} away from x, allowed is {threat.eps:g}"
            return f"Fooled after {len(path.iterates) - 1} of {steps} steps", why, plots.VERMILION
        if missed is None:
            why = "a dense search of the ball finds no adversarial example, so no attack can"
            return "Not fooled: the ball does not reach the boundary", why, plots.GREEN
        needed, reach = float(np.linalg.norm(missed - start, ord=threat.p)), steps * step_size
        if reach < needed:
            why = f"{steps} steps of {step_size:g} lead at most {reach:.2g} away, the star lies {needed:.2g} away"
        else:
            why = "no iterate lands near the star; another step size, more steps or another start might"
        return "Not fooled, yet an adversarial example exists: the attack missed it", why, plots.PURPLE

    def _draw_plane(
        self, axes: Axes, across: tuple[float, float], up: tuple[float, float], *, grid: int, size: float
    ) -> None:
        """Regions, boundary and data in a part of the plane; white where no inputs are."""
        square = Rectangle((0, 0), 1, 1, facecolor=REGION[0])
        axes.add_patch(square)
        first, second = (np.linspace(*limits, grid) for limits in (across, up))
        points = torch.from_numpy(np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)).to(self.x)
        with torch.no_grad(), evaluating(self.model):
            logits = self.model(points)
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

    def _draw_close(
        self, axes: Axes, threat: LpBall, path: AttackPath, fooled: bool, missed: np.ndarray | None
    ) -> None:
        """The ball from near, and in it every step of the attack."""
        centre, eps = path.iterates[0], float(threat.eps)
        overshoot = np.abs(path.steps - centre).max() if len(path.steps) else 0.0
        half = max(1.12 * eps, min(1.05 * overshoot, 1.6 * eps), 0.02)
        across, up = ((float(middle) - half, float(middle) + half) for middle in centre)
        self._draw_plane(axes, across, up, grid=90, size=6)
        _draw_ball(axes, threat, centre)
        before, moved, after = path.iterates[:-1], path.steps, path.iterates[1:]
        back = np.abs(moved - after).max(axis=1) > 0.01 * half  # the projection brought these back
        for tail, head, dashes in ((before, moved, "-"), (moved, after, ":")):
            gap = np.full_like(tail, np.nan)  # one line with gaps is drawn faster than many lines
            axes.plot(
                *np.stack([tail, head, gap], axis=1)[back].reshape(-1, 2).T, dashes, color=plots.GREY, linewidth=1.4
            )
        axes.plot(*moved[back].T, "o", color="white", markeredgecolor=plots.GREY, markersize=6)
        axes.plot(*path.iterates.T, "-o", color="black", markersize=5, linewidth=1.6)
        axes.plot(*centre, "o", color="black", markersize=8)
        if fooled and len(path.iterates) > 1:
            axes.plot(*path.iterates[-1], "X", color=plots.VERMILION, markeredgecolor="black", markersize=13)
        if missed is not None:
            axes.plot(*missed, "*", color=plots.PURPLE, markeredgecolor="black", markersize=18)
        _number_iterates(axes, path.iterates, half)
        axes.axis("on")
        axes.spines[:].set(visible=True, color=plots.GREY, linewidth=0.8)


def _draw_ball(axes: Axes, threat: LpBall, centre: np.ndarray) -> None:
    """The ball cut off at the unit square: moving its outline inwards to the square's edges leaves just that."""
    outline = np.clip(centre + float(threat.eps) * ball_outline(threat.p), *threat.bounds)
    # add_patch would look for the limits of every edge, which takes longer than to draw them.
    axes.add_artist(Polygon(outline, facecolor=(1, 1, 1, 0.35), edgecolor="black", linestyle="--", linewidth=1.8))


def _number_iterates(axes: Axes, iterates: np.ndarray, half: float) -> None:
    """The number of each iterate beside it, where there is room between them."""
    labelled: list[np.ndarray] = []
    last = len(iterates) - 1
    for number in (0, last, *range(1, last)):
        place = iterates[number]
        if all(np.abs(place - other).max() > 0.16 * half for other in labelled):
            axes.annotate(
                str(number) if number else "x",
                place,
                xytext=(6, 5),
                textcoords="offset points",
                fontsize=10,
                weight="bold",
            )
            labelled.append(place)


# --- step scrubber ----------------------------------------------------------------------------------------------


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
