"""Defences that hide the gradient and leave the model as weak as it was.

Each wraps a trained model and is a classifier itself. None moves a decision boundary away from the images; plain PGD
merely finds no way there any more. Signs of that: one step does better than many, a larger eps does not help, an
unbounded attacker does not reach 0 % accuracy, adversarial images of the bare model do better than those of the
defended one. What breaks each is in `coursekit.defenses.adaptive`.
Source: lecture, slide "What does not seem to work"; Athalye et al. 2018, "Obfuscated gradients give a false sense of
security".
"""

import torch
from torch import Generator, Tensor, nn

from coursekit.attacks.common import check_count, check_generator
from coursekit.defenses.common import check_positive
from coursekit.models.state import Classifier
from coursekit.perturbations import widen
from coursekit.perturbations.random import normal, uniform
from coursekit.perturbations.rotation import check_number, shift_matrix, warp


class Preprocessed(nn.Module):
    """A classifier that transforms the image before a model sees it: x -> model(transform(x)).

    model: any classifier (B, ...) -> logits (B, K). A subclass defines `transform`, from images (B, ...) to images of
    the same shape, dtype and device.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        _check_model(model)
        self.model = model

    def transform(self, x: Tensor) -> Tensor:
        """The images (B, ...) as the model gets to see them."""
        raise NotImplementedError("a subclass of Preprocessed defines transform")

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits (B, K) for the transformed images."""
        return self.model(self.transform(x))


class Quantized(Preprocessed):
    """Rounds every pixel to one of `levels` grey levels: 0, 1 / (levels - 1), ..., 1.

    Claim: a perturbation of less than half a level is rounded away. Why it seems to work: rounding is a staircase,
    whose derivative is 0 on every step. The gradient is shattered, and PGD gets no further than its random start.
    Symptom: the gradient is exactly zero for every image; no eps helps an attack without random start. Broken by
    `bpda`, which takes rounding for the identity in the backward pass.

    Few levels do help a little, honestly, where the data is nearly black and white: at eps below half a level,
    1 / (2 levels - 2), only pixels near the middle between two levels can be moved at all.
    x: (B, ...) in [0, 1]. levels: int >= 2. Source: Guo et al. 2018 (bit-depth reduction); Athalye et al. 2018, 4.1.
    """

    def __init__(self, model: Classifier, levels: int = 16) -> None:
        super().__init__(model)
        check_count("levels", levels, least=2)
        self.levels = levels

    def transform(self, x: Tensor) -> Tensor:
        """Each pixel at its nearest grey level; like x."""
        top = self.levels - 1
        return (widen(x) * top).round().div(top).to(x.dtype)


class RandomNoise(Preprocessed):
    """Adds normal noise of standard deviation sigma to every pixel, anew at every call.

    Claim: the attacker does not know the noise that the next call will draw, and noise drowns a small perturbation.
    Why it seems to work: plain PGD takes the first lucky draw for a success and stops there; and it follows the
    gradient of one draw. Symptom: the same x~ is classified now so, now so; one step leaves fewer images right than
    twenty, and twenty fewer than a hundred, because short steps meet a lucky draw long before they get far. Broken by
    `averaged`, which ascends the mean loss over many draws and is content only when all of them are fooled.

    sigma: >= 0, in units of x. generator: the only source of random numbers if given.
    Source: He et al. 2017, "Adversarial example defenses: ensembles of weak defenses are not strong"; Athalye et al.
    2018, section 4.2.
    """

    def __init__(self, model: Classifier, sigma: float = 0.2, generator: Generator | None = None) -> None:
        super().__init__(model)
        check_number("sigma", sigma)
        self.sigma = sigma
        check_generator(generator)
        self.generator = generator

    def transform(self, x: Tensor) -> Tensor:
        """x with noise; like x, not clipped to the image range."""
        return x + self.sigma * normal(x, self.generator)


class RandomResize(Preprocessed):
    """Shrinks every image by a random factor and puts it at a random place on a background of zeros.

    Claim: an adversarial pattern is made for one size and place, and loses its effect at another. Why it seems to
    work, the symptom, and what breaks it: as for `RandomNoise`.

    x: (B, C, H, W). smallest: the factor is uniform between this, in (0, 1], and 1. Each image has its own.
    generator: the only source of random numbers if given. Source: Xie et al. 2018; Athalye et al. 2018, 5.3.2.
    """

    def __init__(self, model: Classifier, smallest: float = 0.8, generator: Generator | None = None) -> None:
        super().__init__(model)
        check_positive("smallest", smallest, 1)
        self.smallest = smallest
        check_generator(generator)
        self.generator = generator

    def transform(self, x: Tensor) -> Tensor:
        """x smaller and elsewhere, interpolated bilinearly, 0 around; like x."""
        if x.ndim != 4:
            raise ValueError(f"x must be images (B, C, H, W) to be resized; got shape {tuple(x.shape)}")
        if not len(x):
            return x.clone()
        pixels = widen(x)
        height, width = x.shape[2:]
        share, right, down = uniform(pixels.new_empty(3, len(x)), self.generator)
        size = 1 - (1 - self.smallest) * share
        room = (1 - size) / 2  # to each side of the middle, as a share of the frame
        to_source = shift_matrix((1 - 2 * right) * room * width, (1 - 2 * down) * room * height)
        to_source = torch.cat([to_source[:, :2] / size.view(-1, 1, 1), to_source[:, 2:]], dim=1)
        return warp(pixels, to_source, "zeros").to(x.dtype)


class Saturated(nn.Module):
    """Divides the logits by a small temperature: the same classifier, sure of everything.

    Claim: the output hardly changes around an image, so nothing leads an attacker away from it. Training a network at
    a high temperature and using it at 1 (defensive distillation) scales its logits in the same way. Why it seems to
    work: the probability of y rounds to 1, and the gradient of the cross-entropy, p - onehot(y), to exactly 0.
    Symptom: zero gradients although the loss surface of the bare model has none; no eps helps an attack without random
    start. Broken by a loss that does not saturate: `pgd(..., loss=losses.margin)`.

    temperature: > 0. Source: Papernot et al. 2016; Carlini and Wagner 2017, section VIII.
    """

    def __init__(self, model: Classifier, temperature: float = 0.01) -> None:
        super().__init__()
        _check_model(model)
        self.model = model
        check_positive("temperature", temperature)
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """logits / temperature, (B, K)."""
        return self.model(x) / self.temperature


def _check_model(model: Classifier) -> None:
    if not callable(model):
        raise TypeError(f"model must be a classifier (B, ...) -> logits (B, K); got {type(model).__name__}")
