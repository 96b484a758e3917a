"""Randomised smoothing: a classifier that is asked about a cloud of noisy copies, and what that proves in L2.

    smoothed = SmoothedClassifier(model, sigma=0.25)
    result = smoothed.certify(x, generator=generator)      # .label, .radius, .abstained per image
    certified_accuracy(result, y, radii=[0.0, 0.25, 0.5])

It needs no more of the base classifier than its answers, so any network will do, of any size; to be of use it must be
right about noisy images (`training.gaussian_noise`). The certificate is one for the smoothed classifier, not for the
base classifier, and each one is false with a probability of at most alpha, over the noise that was drawn.
Source: Cohen, Rosenfeld, Kolter 2019, "Certified adversarial robustness via randomized smoothing".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from scipy import stats
from torch import Generator, Tensor, nn

from coursekit.attacks.common import check_count, check_generator
from coursekit.attacks.physical import views
from coursekit.losses import check_labels
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations.random import normal

BLOCK = 16  # noisy copies whose noise is drawn at once; the random numbers depend on it, and on no batch size


class Prediction(NamedTuple):
    """label (B,) int64: the class with the most votes; abstained (B,) bool: where it does not lead clearly."""

    label: Tensor
    abstained: Tensor


class Certificate(NamedTuple):
    """label (B,) int64; radius (B,) float64, 0 where it abstains; abstained (B,) bool. On the device of x.

    Where it does not abstain, the smoothed classifier says `label` at every point less than `radius` (L2) away. Where
    it does, label is still the class that was thought the likeliest, and nothing is claimed.
    """

    label: Tensor
    radius: Tensor
    abstained: Tensor


@dataclass(frozen=True, eq=False)
class SmoothedClassifier:
    """g(x) = argmax over c of P[f(x + e) = c], with e ~ N(0, sigma^2 I): the majority of all noisy copies of x.

    model: f, logits (B, K) of x (B, ...), used in eval mode and left as it was. sigma: > 0, in units of x. batch_size:
    how many noisy copies f is shown at once (rounded up to a multiple of 16); memory and time depend on it, and no
    random number does.

    The noise is not clipped to the image range. The proof compares two normal distributions that differ by a shift, and
    clipped ones differ by more. (f may clip its input itself: what f does is its own affair.) Its probabilities
    are those of real arithmetic; that a float has 24 digits is not part of it.
    Source: Cohen et al. 2019, eq. 1.
    """

    model: Classifier
    sigma: float
    batch_size: int = 1000

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise TypeError(f"model must be a function x -> logits (B, K); got {type(self.model).__name__}")
        _check_sigma(self.sigma)
        check_count("batch_size", self.batch_size)

    def predict(self, x: Tensor, n: int = 1000, alpha: float = 0.001, generator: Generator | None = None) -> Prediction:
        """What g says about x (B, ...), or that n noisy copies do not tell: Cohen et al. 2019, PREDICT.

        Where it does not abstain, label is g(x) with a probability of at least 1 - alpha over the noise (their
        proposition 1). Arguments and errors as for `certify`.
        """
        check_alpha(alpha)
        counts = self.counts(x, n, generator)
        if counts.shape[1] < 2:
            raise ValueError(f"model must know at least 2 classes; got {counts.shape[1]}")
        n_A, n_B = counts.topk(2, dim=1).values.unbind(1)
        return Prediction(counts.argmax(dim=1), binomial_p_value(n_A, n_A + n_B) > alpha)

    def certify(
        self, x: Tensor, n0: int = 100, n: int = 10_000, alpha: float = 0.001, generator: Generator | None = None
    ) -> Certificate:
        """A radius within which g is constant, for each image of x (B, ...): Cohen et al. 2019, CERTIFY, theorem 1.

        n0: noisy copies that choose the class. n: further ones, drawn independently, that bound its probability from
        below; they must not be the same, or the class would be the one that was lucky in them. alpha: in (0, 1), the
        probability that the certificate of an image is false. generator: the only source of random numbers if given.
        n unanimous votes certify `largest_radius(n, sigma, alpha)`, and no image gets more.

        One label, radius and answer per image. The host waits for the device once, for the votes.
        Raises ValueError or TypeError for what it cannot take.
        """
        check_alpha(alpha)
        check_count("n", n)  # before the first n0 copies are looked at
        counts0 = self.counts(x, n0, generator)
        counts = self.counts(x, n, generator)
        return certificate(counts0, counts, n, self.sigma, alpha)

    def counts(self, x: Tensor, n: int, generator: Generator | None = None) -> Tensor:
        """How often f says each class of n noisy copies of each image, int64 (B, K): SAMPLEUNDERNOISE of the paper.

        A copy for which f answers NaN is a vote for no class.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"x must be a floating tensor (B, ...); got {got}")
        if x.ndim < 2:
            raise ValueError(f"x must be a batch (B, ...) of images or points; got shape {tuple(x.shape)}")
        check_count("n", n)
        check_generator(generator)
        at_once, total = BLOCK * math.ceil(self.batch_size / BLOCK), len(x) * n
        counts = None
        with torch.no_grad(), evaluating(self.model):
            for first in range(
                0, max(total, 1), at_once
            ):  # of no image at all f still knows how many classes there are
                image = torch.arange(first, min(first + at_once, total), device=x.device) // n
                logits = self._logits(self.noisy(x[image], generator=generator))
                if counts is None:
                    counts = torch.zeros(len(x), logits.shape[1], dtype=torch.int64, device=x.device)
                vote = (~logits.isnan().any(dim=1)).long()
                counts.index_put_((image, logits.argmax(dim=1)), vote, accumulate=True)
        assert counts is not None
        return counts

    def noisy(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """x + e, with noise of its own for each image of x (B, ...); like x, and not clipped to any range."""
        noise = torch.cat([normal(block, generator) for block in x.split(BLOCK)])
        return x + self.sigma * noise

    def looking(self, samples: int = 16, generator: Generator | None = None) -> nn.Module:
        """f looking at `samples` noisy copies of each image, logits (B, S, K): what an attack on g differentiates.

        pgd(smoothed.looking(16), x, y, LpBall(eps, 2), early_stop=False) ascends the mean loss of the copies; whether
        g is fooled is for `predict` to say. Source: Salman et al. 2019, section 2.2 (who take the loss of the mean
        probabilities instead).
        """
        return views(self.model, self.noisy, samples, generator)

    def _logits(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"model must return logits ({len(x)}, K); got {got}")
        return logits


def certificate(counts0: Tensor, counts: Tensor, n: int, sigma: float, alpha: float) -> Certificate:
    """What two independent sets of votes certify: counts0 chooses the class, counts bounds its probability from below.

    counts0, counts: int64 (B, K), as of `SmoothedClassifier.counts`; n: the votes of the second, some of which may be
    for no class. Source: Cohen et al. 2019, CERTIFY.
    """
    c_A = counts0.argmax(dim=1)
    p_A = lower_bound(counts.gather(1, c_A[:, None]).squeeze(1), n, alpha)
    return Certificate(c_A, radius(p_A, sigma), p_A <= 1 / 2)


def lower_bound(successes: Tensor | int, n: int | Tensor, alpha: float) -> Tensor:
    """A number that is below p with a probability of at least 1 - alpha, whatever p is: Clopper and Pearson 1934.

    The p at which so many successes of n or more have probability alpha, float64 in the shape of `successes`: it solves
    P[Bin(n, p) >= k] = alpha, which is the alpha-quantile of Beta(k, n - k + 1); 0 for k = 0. successes: k in 0 .. n,
    int64 of any shape or one number. n: at least 1; a whole number as a tensor, such as a row's sum, will do. Computed
    on the host. Source: Cohen et al. 2019, LOWERCONFBOUND.
    """
    if isinstance(n, Tensor):
        if n.ndim or n.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"n must be an int; got Tensor of dtype {n.dtype} and shape {tuple(n.shape)}")
        n = int(n)
    check_count("n", n)
    check_alpha(alpha)
    k = torch.as_tensor(successes)
    if k.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"successes must be whole numbers, int64; got {k.dtype}")
    at_home = k.cpu()
    if k.numel() and (int(at_home.min()) < 0 or int(at_home.max()) > n):
        raise ValueError(f"successes must lie between 0 and n = {n}; got {int(at_home.min())} to {int(at_home.max())}")
    quantile = torch.as_tensor(stats.beta.ppf(alpha, at_home.clamp_min(1), n - at_home + 1), dtype=torch.float64)
    return torch.where(at_home > 0, quantile, 0.0).to(k.device)


def least_probability(p_A: Tensor, sigma: float, distance: float) -> Tensor:
    """What is left at worst of the probability p_A of a class at another point: Phi(Phi^-1(p_A) - distance / sigma).

    Of all regions that hold p_A of N(x, sigma^2 I), the half-space away from x~ holds the least of N(x~, sigma^2 I).
    p_A: any shape, in [0, 1]. distance: ||x~ - x||_2, 0 or more. Source: Cohen et al. 2019, lemma 4; Neyman and Pearson
    1933.
    """
    _check_sigma(sigma)
    if not distance >= 0:
        raise ValueError(f"distance must be at least 0; got {distance!r}")
    return torch.special.ndtr(torch.special.ndtri(p_A) - distance / sigma)


def radius(p_A: Tensor, sigma: float) -> Tensor:
    """R = sigma * Phi^-1(p_A), the distance at which `least_probability` is down to 1/2; 0 for p_A up to 1/2.

    p_A: any shape, float64 for the sake of those next to 1. The smallest R is that of a half-space, and is reached.
    Source: Cohen et al. 2019, theorems 1 and 2, with the bound 1 - p_A for the second class.
    """
    _check_sigma(sigma)
    return sigma * torch.special.ndtri(p_A.clamp_min(1 / 2))


def largest_radius(n: int, sigma: float, alpha: float = 0.001) -> float:
    """What n votes certify if they are unanimous: sigma * Phi^-1(alpha^(1/n)), or 0. No network gets any further.

    Source: Cohen et al. 2019, section 3.2.2.
    """
    return radius(lower_bound(n, n, alpha), sigma).item()


def certified_accuracy(result: Certificate, y: Tensor, radii: Sequence[float]) -> Tensor:
    """The share of images that g is right about at every point of the closed ball of radius r, for each r: (R,).

    Right, not abstained, and a certified radius above r. y: (B,) int64. radii: R numbers, each 0 or more. float64, on
    the device of y. Source: Cohen et al. 2019, section 4 ("certified test set accuracy").
    """
    check_labels("y", y, batch=len(result.label))
    least = torch.as_tensor(radii, dtype=torch.float64, device=y.device)
    if least.ndim != 1 or bool((least < 0).any()):
        raise ValueError(f"radii must be a list of numbers, each 0 or more; got {radii!r}")
    if not len(y):
        raise ValueError("y must hold at least one label; got none")
    holds = (result.label == y) & ~result.abstained
    return (holds & (result.radius > least[:, None])).double().mean(dim=1)


def binomial_p_value(successes: Tensor, n: Tensor) -> Tensor:
    """The p-value of a fair coin that shows heads so often of n, two-sided, float64. successes: at least n / 2."""
    tail = stats.binom.sf(successes.cpu() - 1, n.cpu(), 0.5)
    return torch.as_tensor(2 * tail, dtype=torch.float64).clamp_max(1).to(n.device)


def check_alpha(alpha: float) -> None:
    """Raises unless alpha is a probability strictly between 0 and 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1; got {alpha!r}")


def _check_sigma(sigma: Any) -> None:
    if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be a number above 0; got {sigma!r}")
