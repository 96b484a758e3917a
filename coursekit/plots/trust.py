"""Does an attack deserve trust?"""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from coursekit.attacks import Iterate, fgsm, pgd
from coursekit.models.state import Classifier
from coursekit.perturbations import LpBall
from coursekit.plots.look import BLUE, GREEN, VERMILION, ink, styled
from coursekit.plots.pictures import percent, probabilities, to_numpy


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
