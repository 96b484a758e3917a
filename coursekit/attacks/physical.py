"""Attacks that survive the real world: printed, looked at from anywhere, in any light.

A camera shows the model not x but t(x), in a view t that nobody knows beforehand. `RandomView` draws such t, `views`
is the model looking through them, and `expectation` attacks all of them at once. `Worn` draws who wears a printed
piece. `glasses` and `sticker` are masks for the part of an image that an attacker can print.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from coursekit.attacks.common import (
    at_coordinates,
    check_batch,
    check_count,
    check_generator,
    check_inputs,
    goal,
    loss_and_gradient,
)
from coursekit.attacks.pgd import cosine, step_sizes
from coursekit.losses import Loss, check_labels, cross_entropy
from coursekit.models.state import Classifier, differentiating, evaluating
from coursekit.perturbations import PerturbationSet, widen
from coursekit.perturbations.random import normal, uniform
from coursekit.perturbations.rotation import PADDINGS, check_images, check_number, shift_matrix, turn_matrix, warp

Range = tuple[float, float]
MOMENTUM = 0.9  # averages the views of about ten steps
FLAT = 1e-6  # under the square root of the total variation, whose slope at 0 is infinite


class Transform(Protocol):
    """A random view t ~ T of images: a `RandomView`, or a function of one's own."""

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """(B, ...) -> (B, ...), drawn anew for each image, differentiable in x."""


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """t ~ T: an image from another viewpoint, in another light, through a camera; drawn anew for every image.

    rotation: by at most so many degrees. scale: (smallest, largest) apparent size. shift: by at most so many pixels
    each way. perspective: how much nearer one edge may be than the middle, as a share of the distance, at most 0.4.
    contrast: (smallest, largest) factor about the middle of the range. brightness: lighter or darker by at most so
    much. noise: standard deviation of normal noise. All else is uniform; what is not given is left as it is.
    bounds: (lo, hi) of a pixel, to which the result is clipped. padding: what is seen beyond the image, "zeros",
    "border" or "reflection". Raises ValueError or TypeError for anything else.

    Called with x (B, C, H, W) and optionally a generator, then the only source of random numbers. Returns images
    like x, differentiable in x; half precision is computed in float32.
    Source: Athalye et al. 2018, "Synthesizing robust adversarial examples", section 2.
    """

    rotation: float = 0.0
    scale: Range = (1.0, 1.0)
    shift: float = 0.0
    perspective: float = 0.0
    contrast: Range = (1.0, 1.0)
    brightness: float = 0.0
    noise: float = 0.0
    bounds: Range = (0.0, 1.0)
    padding: str = "zeros"

    def __post_init__(self) -> None:
        check_number("rotation", self.rotation, 180)
        check_number("perspective", self.perspective, 0.4)
        for name in ("shift", "brightness", "noise"):
            check_number(name, getattr(self, name))
        _check_range("scale", self.scale, above=0)
        _check_range("contrast", self.contrast, above=0)
        _check_range("bounds", self.bounds)
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(map(repr, PADDINGS))}; got {self.padding!r}")

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Another view of every image of x (B, C, H, W); like x."""
        check_images(x)
        seen = self._light(self._viewpoint(widen(x), generator), generator)
        return seen.clamp(*self.bounds).to(x.dtype)

    def _viewpoint(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Tilt away, shift, turn and scale: where each pixel of the view comes from, the last one first."""
        share = uniform(x.new_empty(6, len(x)), generator)
        either_way = 2 * share - 1
        height, width = x.shape[2:]
        turn, size = math.radians(self.rotation) * either_way[0], _between(self.scale, share[1])
        right, down = self.shift * either_way[2:4]
        tilt = self.perspective * either_way[4:] / x.new_tensor([[width / 2], [height / 2]])
        to_source = turn_matrix(turn) @ shift_matrix(-right, -down) @ _tilt_matrix(*tilt)
        to_source = torch.cat([to_source[:, :2] / size.view(-1, 1, 1), to_source[:, 2:]], 1)
        still = not (self.rotation or self.shift or self.perspective or tuple(self.scale) != (1, 1))
        return x if still else warp(x, to_source, self.padding)

    def _light(self, x: Tensor, generator: Generator | None) -> Tensor:
        share = uniform(x.new_empty(2, len(x), 1, 1, 1), generator)
        middle = sum(self.bounds) / 2
        contrast, brightness = _between(self.contrast, share[0]), self.brightness * (2 * share[1] - 1)
        # Written so that without contrast and brightness nothing is rounded.
        x = x + (contrast - 1) * (x - middle) + brightness
        return x + self.noise * normal(x, generator) if self.noise else x


@dataclass(frozen=True, eq=False)
class Worn:
    """t ~ T: a printed piece, such as glasses, on another photograph each time.

    photographs: (N, C, H, W). mask: bool, broadcasting to one of them: the pixels that the piece covers. Called with
    pieces x (B, C, H, W), of which only the pixels of the mask matter, and optionally a generator, then the only source
    of random numbers: draws a photograph for every piece. Returns pictures like x, differentiable in x.
    So `expectation` makes one piece for all the photographs, and for others like them.
    Source: Sharif et al. 2016, section 4.2.
    """

    photographs: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        check_images(self.photographs)
        if not isinstance(self.mask, Tensor) or self.mask.dtype != torch.bool:
            got = self.mask.dtype if isinstance(self.mask, Tensor) else type(self.mask).__name__
            raise TypeError(f"mask must be a bool tensor; got {got}")
        if not len(self.photographs):
            raise ValueError("photographs must hold at least one; got none")
        shape = tuple(self.photographs.shape[1:])
        if any(have not in (1, want) for have, want in zip(self.mask.shape[::-1], shape[::-1], strict=False)):
            raise ValueError(f"mask must fit {shape}; got shape {tuple(self.mask.shape)}")

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Each piece of x (B, C, H, W) on a photograph of its own; like x."""
        check_images(x)
        if x.shape[1:] != self.photographs.shape[1:]:
            allowed, got = tuple(self.photographs.shape[1:]), tuple(x.shape)
            raise ValueError(f"x must be pieces in the shape of the photographs, {allowed} each; got {got}")
        photographs = self.photographs.to(x)
        share = uniform(widen(x).new_empty(len(x)), generator)
        which = (share * len(photographs)).long().clamp_max(len(photographs) - 1)
        return torch.where(self.mask.to(x.device), x, photographs[which])


class Views(nn.Module):
    """The classifier that `views` returns. A module, so that an attack finds and sets the mode of the model inside."""

    def __init__(self, model: Classifier, transform: Transform, samples: int, generator: Generator | None) -> None:
        super().__init__()
        self.model, self.transform, self.samples, self.generator = model, transform, samples, generator

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, S, K) of S fresh views of every image of x (B, ...)."""
        logits = self.model(self.transform(x.repeat_interleave(self.samples, 0), generator=self.generator))
        if not isinstance(logits, Tensor) or logits.ndim < 2 or len(logits) != len(x) * self.samples:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"model must return logits ({len(x) * self.samples}, K); got {got}")
        # A model that looks several times itself sees each view so often.
        return logits.reshape(len(x), self.samples * logits.shape[1:-1].numel(), logits.shape[-1])


def views(model: Classifier, transform: Transform, samples: int = 8, generator: Generator | None = None) -> Views:
    """The model looking at `samples` random views t(x) of every image: x (B, ...) -> logits (B, S, K).

    For any attack: its loss is then the mean over S of the losses, an estimate of E_t[L(f(t(x)), y)], and not the
    loss of the mean logits; an image is fooled when all its views are. Each call draws anew, from `generator` alone
    if there is one. transform: a `RandomView`, or any function (x, *, generator) -> images like x.
    Raises ValueError or TypeError for what it cannot take.
    Source: Athalye et al. 2018, "Synthesizing robust adversarial examples", section 2.
    """
    check_count("samples", samples)
    if not callable(transform):
        raise TypeError(f"transform must be a function (x, *, generator) -> images; got {type(transform).__name__}")
    check_generator(generator)
    return Views(model, transform, samples, generator)


def expectation(
    model: Classifier, x: Tensor, y: Tensor, threat: PerturbationSet, transform: Transform, *, samples: int = 8,
    steps: int = 100, step_size: float | Tensor | None = None, target: Tensor | int | None = None,
    loss: Loss = cross_entropy, smoothness: float = 0.0, printable: Tensor | None = None, printability: float = 1.0,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Expectation over transformations: max over x~ in P(x) of E_t[L(f(t(x~)), y)] - lambda TV(x~) - mu NPS(x~).

    v_{t+1} = 0.9 v_t + grad_z of that, estimated from `samples` fresh views; z_{t+1} = Pi(z_t + eta_t steepest(v)).
    PGD with momentum, which averages over more views than one step can afford, and steps eta_t that shrink like a
    cosine, so that it settles. For an attack without penalties, `pgd` on `views(model, transform)` is the same idea.

    x: (B, ...) floating, in threat.bounds; y: (B,) int64; one image with a 0-dimensional y also works. threat: mostly
    Masked(LpBall(1., math.inf), mask), with a mask like `glasses`. target: classes (B,) or one for all: E[L] is then
    minimised towards it. step_size: eta_0, a number or one per image; None takes 2.5 eps / steps. smoothness: lambda,
    the weight of `total_variation`. printable: the colours a printer has, (n, C); printability: mu, the weight of
    `non_printability` to them. Both count what is printed: the pixels of a mask, otherwise all.

    Returns x_adv like x, detached, inside P(x): where the search ended, and unlike that of `pgd` not the best point
    it saw, because no two points were seen in the same views. Whether it fools is a share: `success_over_views`. The
    cross-entropy of views that are fooled keeps growing; `losses.margin` often fools a larger share. Random numbers
    come from `generator` alone if there is one. Nothing waits for the device. The model is used in eval mode and left
    as it was. Raises ValueError or TypeError for what it cannot take.
    Source: Sharif et al. 2016, section 4.2; Eykholt et al. 2018, eq. 3; momentum: Dong et al. 2018.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return expectation(
            model, x[None], y[None], threat, transform, samples=samples, steps=steps, step_size=step_size,
            target=target, loss=loss, smoothness=smoothness, printable=printable, printability=printability,
            generator=generator,
        )[0]  # fmt: skip
    check_inputs(x, y, threat, target)
    check_count("steps", steps)
    check_number("smoothness", smoothness)
    check_number("printability", printability)
    if not callable(loss):
        raise TypeError(f"loss must be a function (logits, y) -> one value per image; got {type(loss).__name__}")
    look = views(model, transform, samples, generator)
    if not len(x):
        return x.detach().clone()
    with evaluating(look), differentiating():
        clean, aim = x.detach().clone(), goal(y, target, loss)
        origin = z = threat.origin(clean)
        project, velocity = threat.search.projector(origin), torch.zeros_like(origin)
        eta_0 = threat.search.default_step(steps) if step_size is None else step_size
        eta = cosine(step_sizes(eta_0, 1, origin)[0], steps)
        for t in range(steps):
            x_t = threat.render(z, clean)
            gradient = loss_and_gradient(look, x_t, aim.labels, aim.objective)[2]
            gradient = gradient - _penalty_gradient(x_t, threat, smoothness, printable, printability)
            velocity = MOMENTUM * velocity + at_coordinates(threat, z, clean, gradient)
            z = project(threat.search.step(z, velocity, eta(t)))
        return threat.render(z, clean).detach()


def success_over_views(
    model: Classifier, x: Tensor, y: Tensor, transform: Transform, *, samples: int = 100,
    target: Tensor | int | None = None, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """P_t(f(t(x)) != y), estimated from fresh views: the share of `samples` random views that fool, (B,).

    x: images (B, ...) floating, mostly an attack's result; y: (B,) int64; one image with a 0-dimensional y also works.
    target: the share that is classified as it instead. Held out, if `generator` is another than the attack had. The
    model is used in eval mode and left as it was. Raises ValueError or TypeError for what it cannot take.
    """
    if isinstance(y, Tensor) and y.ndim == 0:
        return success_over_views(
            model, x[None], y[None], transform, samples=samples, target=target, generator=generator
        )[0]  # fmt: skip
    check_batch(x, y, target)
    check_count("samples", samples)
    aim, look = goal(y, target, cross_entropy), views(model, transform, 1, generator)
    hits = widen(x).new_zeros(len(x))
    with evaluating(look), torch.no_grad():
        for _ in range(samples):
            logits = look(x)
            check_labels("y" if target is None else "target", aim.labels, batch=len(x), classes=logits.shape[-1])
            hits += aim.reached(logits, aim.labels)
    return hits / samples


def total_variation(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """TV(x) = mean over pixels of sqrt((x_{i,j} - x_{i+1,j})^2 + (x_{i,j} - x_{i,j+1})^2), (B,): 0 if it is even.

    x: (B, C, H, W). mask: bool, broadcasting to x: only pixels inside count, and only next to others inside, so that
    a sticker need not have the colour of what it sticks on. A mean, not the sum of the paper: a weight means the same
    for images and masks of any size. Source: Sharif et al. 2016, section 4.2.
    """
    inside = _inside(mask, x)
    pixels = torch.where(inside, widen(x), 0)
    down, right = torch.zeros_like(pixels), torch.zeros_like(pixels)
    down[:, :, :-1] = pixels.diff(dim=2) * (inside[:, :, :-1] & inside[:, :, 1:])
    right[..., :-1] = pixels.diff(dim=3) * (inside[..., :-1] & inside[..., 1:])
    steps = (down.square() + right.square() + FLAT**2).sqrt() - FLAT
    return _mean(steps.sum(1), inside.any(1))


def non_printability(x: Tensor, printable: Tensor, mask: Tensor | None = None) -> Tensor:
    """NPS(x) = mean over pixels of prod over colours c of |x_{i,j} - c|, (B,): 0 if a printer has every colour.

    x: (B, C, H, W). printable: colours (n, C). mask: bool, broadcasting to x: only pixels inside count. Distances are
    Euclidean; a mean over pixels, not the sum of the paper, as in `total_variation`. The product of many colours is
    small everywhere: a dozen are enough. Source: Sharif et al. 2016, section 4.2.
    """
    if not isinstance(printable, Tensor) or printable.ndim != 2 or printable.shape[1] != x.shape[1]:
        got = tuple(printable.shape) if isinstance(printable, Tensor) else type(printable).__name__
        raise ValueError(f"printable must be colours, a tensor (n, {x.shape[1]}); got {got}")
    pixels = widen(x)
    difference = pixels[:, None] - printable.to(pixels)[:, :, None, None]
    distance = torch.linalg.vector_norm(difference, dim=2)
    return _mean(distance.prod(1), _inside(mask, x).any(1))


def glasses(height: int, width: int, *, eyes: float = 0.4, apart: float = 0.4, thickness: float = 0.05) -> Tensor:
    """A mask (height, width) of the frame of glasses, bool, for the picture of a face that looks straight ahead.

    In shares of the picture: eyes: how far down they are. apart: from eye to eye. thickness: of the frame.
    Source: Sharif et al. 2016, section 4.2.
    """
    across, down = _centres(height, width)
    across, down = (across - 0.5).abs(), (down - eyes).abs()  # left and right are the same
    lens_width, lens_height = 0.8 * apart / 2, 0.55 * apart / 2
    # How far outside the lens's edge a pixel lies, in the direction in which it is furthest.
    outside = torch.maximum((across - apart / 2).abs() - lens_width, down - lens_height)
    rim = outside.abs() <= thickness / 2
    bridge_and_temples = (down <= thickness / 2) & (outside > 0)
    frame = rim | bridge_and_temples
    return frame | frame.flip(1)  # rounding may have come out differently on the two sides


def sticker(height: int, width: int, *, centre: Range = (0.5, 0.5), size: Range = (0.2, 0.5)) -> Tensor:
    """A mask (height, width) of a rectangle, bool; several are joined by `|`.

    centre: (down, across) and size: (height, width) in shares of the picture. Source: Eykholt et al. 2018, figure 1.
    """
    across, down = _centres(height, width)
    return ((down - centre[0]).abs() <= size[0] / 2) & ((across - centre[1]).abs() <= size[1] / 2)


def _centres(height: int, width: int) -> tuple[Tensor, Tensor]:
    """How far across (1, width) and down (height, 1) the centre of each pixel is, from 0 to 1."""
    check_count("height", height)
    check_count("width", width)
    return (torch.arange(width) + 0.5)[None] / width, (torch.arange(height) + 0.5)[:, None] / height


def _penalty_gradient(
    x: Tensor, threat: PerturbationSet, smoothness: float, printable: Tensor | None, printability: float
) -> Tensor:
    """grad_x of lambda TV(x) + mu NPS(x), like x."""
    mask, x = getattr(threat, "mask", None), x.detach().requires_grad_()
    penalty = widen(x).new_zeros(len(x))
    if smoothness:
        penalty = penalty + smoothness * total_variation(x, mask)
    if printable is not None:
        penalty = penalty + printability * non_printability(x, printable, mask)
    return torch.autograd.grad(penalty.sum(), x)[0] if penalty.requires_grad else torch.zeros_like(x)


def _inside(mask: Tensor | None, x: Tensor) -> Tensor:
    """The mask in the shape of x (B, C, H, W); everything if there is none."""
    check_images(x)
    if mask is None:
        return torch.ones_like(x, dtype=torch.bool)
    return mask.to(x.device).expand(x.shape)


def _mean(value: Tensor, inside: Tensor) -> Tensor:
    """The mean of value (B, H, W) over the pixels inside, (B,); 0 if there are none."""
    return (value * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)


def _tilt_matrix(across: Tensor, down: Tensor) -> Tensor:
    """The map (B, 3, 3) that divides by 1 + across * right + down * down, each (B,): a plane turned away."""
    none, one = torch.zeros_like(across), torch.ones_like(across)
    return torch.stack([one, none, none, none, one, none, across, down, one], 1).view(-1, 3, 3)


def _between(ends: Range, share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def _check_range(name: str, value: Range, above: float = -math.inf) -> None:
    if not (isinstance(value, tuple) and len(value) == 2 and above < value[0] <= value[1] < math.inf):
        limits = "0 < low <= high" if above == 0 else "low <= high"
        raise ValueError(f"{name} must be (low, high) with {limits}; got {value!r}")
