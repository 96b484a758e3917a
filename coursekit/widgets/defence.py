"""A defended model under attack: why the naive attacker is stuck, and what the adaptive one does differently."""

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from coursekit import plots
from coursekit.attacks import Iterate, input_gradient, pgd
from coursekit.attacks.common import goal
from coursekit.defenses import Quantized, RandomNoise, Saturated, averaged, bpda
from coursekit.losses import Loss, cross_entropy, margin
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import LpBall
from coursekit.widgets.explorer import Choice, Explorer, Number

DRAWS, LOOKS = 16, 6  # answers of a random model that are averaged to judge it; gradients that its attacker averages
ALONG = 61  # points on the line
LEAST = 0.01  # height of the middle panel, also of a level line
SEED = 0  # the same numbers at every redraw, so that only what the reader changes changes


class Defence(NamedTuple):
    """A defended classifier, the model that an adaptive attacker puts in its place, with which loss, and how in words.

    random: answers differ from call to call. temperature: what the logits are divided by.
    """

    model: Classifier
    stand_in: Classifier
    loss: Loss
    trick: str
    random: bool = False
    temperature: float = 1.0


def defence_explorer(
    model: Classifier, x: Tensor, y: Tensor, *, defence: str = "grey levels", attacker: str = "naive",
    eps: float = 0.15, steps: int = 20, image: int = 0, levels: int = 8, sigma: float = 0.2, temperature: float = 0.01,
) -> Explorer:  # fmt: skip
    """One image, a defence around the model, and PGD that knows it or not.

    model: a classifier (B, C, H, W) -> logits. x: (B, C, H, W) images to choose from, y: (B,) their labels. levels,
    sigma, temperature: of the defences. The other arguments say where the controls stand to begin with. Left: x~ and
    what the defended model says. Middle: its loss on the way from x to an adversarial example of the bare model, and
    the slope that the attacker sees. Right: how far y is ahead after each step of the attack.
    """
    if x.ndim != 4 or y.shape != (len(x),) or not len(x):
        raise ValueError(f"x and y must be images (B, C, H, W) and labels (B,); got {tuple(x.shape)}, {tuple(y.shape)}")
    quantized, noisy, saturated = Quantized(model, levels), RandomNoise(model, sigma), Saturated(model, temperature)
    defences = {
        "none": Defence(model, model, cross_entropy, "nothing to know"),
        "grey levels": Defence(quantized, bpda(quantized), cross_entropy, "straight through the rounding"),
        "noise": Defence(noisy, averaged(noisy, LOOKS), cross_entropy, f"averages {LOOKS} draws", random=True),
        "temperature": Defence(saturated, saturated, margin, "margin loss", temperature=temperature),
    }
    for name, value, allowed in (("defence", defence, list(defences)), ("attacker", attacker, ["naive", "adaptive"])):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    scene = _Scene(model, x, y, defences)
    controls: dict[str, Number | Choice] = {
        "defence": Choice("defence", defence, {name: name for name in defences}, width="15em"),
        "attacker": Choice("attacker", attacker, {"naive": "naive", "adaptive": "adaptive"}),
        "eps": Number("eps", eps, 0.0, 0.3, 0.01),
        "steps": Number("steps", steps, 1, 40, 1),
        "image": Number("image", min(image, len(x) - 1), 0, len(x) - 1, 1),
    }
    return Explorer(scene.draw, controls, size=(9.6, 3.8), panels=scene.PANELS)


class _Attack(NamedTuple):
    """One run: the image after every step (T + 1, C, H, W); how far y was ahead in each of S answers (T + 1, S), in
    logits of the bare model; the class of the last answers (S,); after which step it stopped, content."""

    path: Tensor
    leads: np.ndarray
    called: np.ndarray
    stopped: int

    @property
    def fooled(self) -> float:
        """In which share of the answers the last image fools the model."""
        return float((self.leads[-1] <= 0).mean())


class _Scene:
    """The picture of `defence_explorer`."""

    PANELS = ((0.01, 0.11, 0.25, 0.65), (0.345, 0.15, 0.27, 0.61), (0.705, 0.15, 0.275, 0.61))

    def __init__(self, model: Classifier, x: Tensor, y: Tensor, defences: dict[str, Defence]) -> None:
        self.bare, self.x, self.y, self.defences = model, x, y, defences
        self.ways: dict[tuple[int, float], Tensor] = {}  # computed once: they depend on no other control

    def draw(self, figure: Figure, defence: str, attacker: str, eps: float, steps: int, image: int) -> str:
        """One redraw; returns the alt text."""
        chosen, adaptive = self.defences[defence], attacker == "adaptive"
        x, y = self.x[image : image + 1], self.y[image : image + 1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            done = self._attack(chosen, adaptive, x, y, eps, steps)
            loss, slope = self._along(chosen, adaptive, x, y, self._way(image, eps))
        picture, line, run = figure.axes
        verdict = self._show(picture, chosen, done, int(y))
        stuck = self._show_line(line, loss, slope)
        self._show_run(run, chosen, done)
        why = _why(defence, attacker, done, stuck, rises=bool(loss.max() - loss[0] > 1e-3), eps=eps)
        figure.text(0.01, 0.93, why, fontsize=13, weight="bold", va="center")
        before, after = done.leads[0].mean(), done.leads[-1].mean()
        content = f" It stopped after step {done.stopped}, the model being fooled." if done.stopped < steps else ""
        return (
            f"{why} Digit {int(y)}, defence “{defence}”, attacked by the {attacker} attacker "
            f"({chosen.trick if adaptive else 'plain PGD'}) with {steps} steps, eps = {eps:g}. "
            f"{verdict[0].upper()}{verdict[1:]}. On the way to an adversarial example the loss goes from "
            f"{loss[0] + 0:.2g} to {loss[-1] + 0:.2g}; the slope that the attacker sees is "
            f"{'zero' if stuck else 'not zero'}. The right class leads by {before:.2g} logits before the attack and by "
            f"{after:.2g} after it.{content}"
        )

    def _attack(self, chosen: Defence, adaptive: bool, x: Tensor, y: Tensor, eps: float, steps: int) -> _Attack:
        trace: list[Iterate] = []
        # The naive attacker stops when the model is fooled; of a random one that may be a lucky draw.
        attacked, loss = (chosen.stand_in, chosen.loss) if adaptive else (chosen.model, cross_entropy)
        pgd(
            attacked, x, y, LpBall(eps, torch.inf), steps=steps, random_start=False, loss=loss, trace=trace,
            early_stop=not adaptive,
        )  # fmt: skip
        path = torch.cat([step.x for step in trace])
        moved = (path[1:] != path[:-1]).flatten(1).any(dim=1).nonzero()
        # PGD looks only now and then whether it may end; the image itself stays from the step on that fooled the model.
        stopped = int(moved.max()) + 1 if len(path) <= steps and len(moved) else len(path) - 1
        path = torch.cat([path, path[-1:].expand(steps + 1 - len(path), *path.shape[1:])])
        answers = DRAWS if chosen.random else 1
        with torch.no_grad(), evaluating(chosen.model):
            logits = chosen.model(path.repeat_interleave(answers, dim=0)) * chosen.temperature
        leads = -margin(logits, y.expand(len(logits)))
        return _Attack(path, plots.to_numpy(leads.view(-1, answers)), logits[-answers:].argmax(dim=1).numpy(), stopped)

    def _way(self, image: int, eps: float) -> Tensor:
        """From x to an adversarial example of the bare model."""
        if (image, eps) not in self.ways:
            x, y = self.x[image : image + 1], self.y[image : image + 1]
            ball = LpBall(eps, torch.inf)
            self.ways[image, eps] = pgd(self.bare, x, y, ball, steps=8, random_start=False, early_stop=False) - x
        return self.ways[image, eps]

    def _along(
        self, chosen: Defence, adaptive: bool, x: Tensor, y: Tensor, direction: Tensor
    ) -> tuple[np.ndarray, float]:
        """The loss at ALONG points on the way, and the slope there as the attacker sees it at x."""
        loss = chosen.loss if adaptive else cross_entropy
        t = torch.linspace(0, 1, ALONG).view(-1, 1, 1, 1)
        with torch.no_grad(), evaluating(chosen.model):
            logits = chosen.model(x + t * direction)
        scale = chosen.temperature if loss is margin else 1.0  # in logits of the bare model
        values = loss(logits * scale, y.expand(ALONG))
        seen = chosen.stand_in if adaptive else chosen.model
        with evaluating(seen):
            gradient = input_gradient(seen, x, y, goal(y, None, loss).objective)
        return plots.to_numpy(values), scale * float((gradient * direction).sum())

    def _show(self, axes: Axes, chosen: Defence, done: _Attack, y: int) -> str:
        """x~ with what the defended model says; returns that in words."""
        shown, counts = done.called, np.bincount(done.called)
        called, fooled = int(counts.argmax()), done.fooled
        colour = plots.VERMILION if fooled > 0.5 else plots.GREEN
        if chosen.random:
            words = f"wrong in {round(fooled * len(shown))} of {len(shown)} answers"
        else:
            words = f"the model says “{called}”: " + ("fooled" if called != y else "right")
        plots.show_image(axes, plots.to_numpy(done.path[-1]), vmin=0, vmax=1)
        axes.spines[:].set(color=colour, linewidth=4)
        axes.text(0.5, 1.06, words, transform=axes.transAxes, ha="center", color=plots.ink(colour), weight="bold")
        return words

    def _show_line(self, axes: Axes, loss: np.ndarray, slope: float) -> bool:
        """The loss on the way, and the attacker's tangent at x; returns whether that has no slope."""
        t, low, high = np.linspace(0, 1, len(loss)), min(0.0, loss.min()), max(loss.max(), loss.min() + LEAST)
        room = 0.12 * (high - low)
        axes.plot(t, loss, color=plots.BLUE, linestyle="-", linewidth=2)
        stuck = abs(slope) <= 1e-12
        reach = 0.3 if stuck else min(0.3, 0.6 * (high - low + room) / abs(slope))
        arrow = {"arrowstyle": "-|>", "linewidth": 2.5, "color": plots.VERMILION, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (reach, loss[0] + slope * reach), (0, loss[0]), arrowprops=arrow, zorder=5)
        axes.plot(0, loss[0], "o", color="black", markersize=7, zorder=6)
        axes.set(
            xlim=(-0.04, 1.02), ylim=(low - room, high + 2.2 * room), xticks=[0, 1], xticklabels=["x", "adversarial"]
        )
        axes.text(0, 1.06, "loss on the way there", transform=axes.transAxes)
        words = (
            "arrow: slope 0, nowhere to go"
            if stuck
            else f"arrow: slope {plots.short(abs(slope))}" + (" down" if slope < 0 else " up")
        )
        axes.text(0.02, 0.96, words, transform=axes.transAxes, color=plots.ink(plots.VERMILION), va="top", fontsize=10)
        return stuck

    def _show_run(self, axes: Axes, chosen: Defence, done: _Attack) -> None:
        steps, mean = np.arange(len(done.leads)), done.leads.mean(axis=1)
        top, bottom = max(float(done.leads.max()), 1.0), min(float(done.leads.min()), -1.0)
        axes.axhspan(bottom * 1.15, 0, color="#FBE6D6", linewidth=0, zorder=0)
        if chosen.random:
            axes.fill_between(
                steps, done.leads.min(axis=1), done.leads.max(axis=1), color=plots.BLUE, alpha=0.18, linewidth=0
            )
        axes.plot(steps, mean, color=plots.BLUE, linestyle="--" if chosen.random else "-", linewidth=2.5)
        if done.stopped < len(steps) - 1:
            axes.plot(
                done.stopped, mean[done.stopped], "o", color=plots.VERMILION, markersize=12, markerfacecolor="none",
                markeredgewidth=2, zorder=6,
            )  # fmt: skip
            axes.text(
                0.97, 0.96, f"stops after step {done.stopped}", transform=axes.transAxes, ha="right", va="top",
                color=plots.ink(plots.VERMILION), fontsize=10,
            )  # fmt: skip
        axes.plot(steps[-1], mean[-1], "o", color="black", markersize=7, clip_on=False, zorder=5)
        axes.axhline(0, color="black", linewidth=1, linestyle=":")
        room = 0.04 * len(steps)
        axes.set(xlim=(-room, len(steps) - 1 + room), ylim=(bottom * 1.15, top * 1.3), xlabel="steps")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.text(0, 1.06, "lead of the right class", transform=axes.transAxes)
        axes.text(
            1, 1.06, "< 0: fooled", transform=axes.transAxes, ha="right", color=plots.ink(plots.VERMILION), fontsize=10
        )


def _why(defence: str, attacker: str, done: _Attack, stuck: bool, rises: bool, eps: float) -> str:
    """The picture's headline. rises: the loss, on the way to an adversarial example of the bare model."""
    fooled = done.fooled
    if done.leads[0].mean() <= 0:
        return "Wrong without any attack: nothing to show here."
    if attacker == "naive" and defence == "noise" and fooled < 0.9 and (done.leads.min(axis=1) <= 0).any():
        return f"Content with a lucky draw: asked {DRAWS} times, the model is right in {round((1 - fooled) * DRAWS)}."
    if eps == 0:
        return "Not fooled: with eps = 0 nothing may move."
    if stuck and fooled <= 0.5 and rises:
        return "Stuck: the gradient is exactly zero, but the loss does rise on the way."
    if stuck and fooled <= 0.5:
        return "Stuck: the gradient is exactly zero, and within this eps the loss hardly rises."
    if fooled > 0.5 and defence == "none":
        return "Fooled by plain PGD: there is no defence to know of."
    if fooled > 0.5:
        return {"naive": "Fooled by plain PGD.", "adaptive": "Broken by the attacker who knows the defence."}[attacker]
    return "Not fooled within this eps and this number of steps."
