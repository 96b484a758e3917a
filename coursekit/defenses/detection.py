"""Detectors of adversarial images: how far are an image's features from those of natural images?

They catch images of an attack that does not know of them, and fall to one that does, `coursekit.defenses.evade`.
Source: lecture, slide "What does not seem to work", on out-of-distribution shift.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from coursekit.defenses.common import check_positive
from coursekit.losses import check_labels
from coursekit.models.state import Classifier, evaluating
from coursekit.perturbations import widen
from coursekit.perturbations.common import broad

Features = Callable[[Tensor], Tensor]
FIT_BATCH = 500


def features(model: Classifier) -> nn.Sequential:
    """The penultimate features: everything before the last linear layer of an nn.Sequential, sharing its layers.

    For an earlier layer slice the model yourself: model[:5]. Raises TypeError for any other model, ValueError if it
    has no linear layer.
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model must be an nn.Sequential, or give features; got {type(model).__name__}")
    linear = [i for i, layer in enumerate(model) if isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError("model must have a linear layer; got none")
    return model[: linear[-1]]


class Detector(nn.Module):
    """Scores how strange an image's features are; higher means stranger. A subclass says how: `distance`.

    features: (B, ...) -> (B, ...), of a classifier, used in eval mode and left as they were. Scores follow the dtype
    of the features, half precision counts as float32, and can be differentiated with respect to the image.
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        if not callable(features):
            raise TypeError(f"features must be a function (B, ...) -> (B, ...); got {type(features).__name__}")
        self.features = features

    def distance(self, phi: Tensor) -> Tensor:
        """From features (B, D) to scores (B,)."""
        raise NotImplementedError("a subclass of Detector defines distance")

    def score(self, x: Tensor) -> Tensor:
        """How strange each image (B, ...) is: (B,)."""
        return self.distance(self._look(x))

    def forward(self, x: Tensor) -> Tensor:
        """`score`."""
        return self.score(x)

    def threshold(self, x_clean: Tensor, false_positive_rate: float = 0.05) -> Tensor:
        """The lowest score t for which at most this share of the natural images (N, ...), N >= 1, has a score > t.

        Returns a tensor without dimensions. Take images that the detector was not fitted to.
        """
        if isinstance(false_positive_rate, bool) or not isinstance(false_positive_rate, (int, float)):
            raise TypeError(f"false_positive_rate must be a number; got {type(false_positive_rate).__name__}")
        if not 0 <= false_positive_rate < 1:
            raise ValueError(f"false_positive_rate must be at least 0 and below 1; got {false_positive_rate}")
        if not len(x_clean):
            raise ValueError("x_clean must hold at least one image; got none")
        with torch.no_grad():
            scores = torch.cat([self.score(part) for part in x_clean.split(FIT_BATCH)])
        alarms = math.floor(false_positive_rate * len(scores))
        return scores.sort(descending=True).values[alarms]

    def _look(self, x: Tensor) -> Tensor:
        with evaluating(self.features):
            phi = widen(self.features(x))
        return phi.reshape(len(x), phi.shape[1:].numel())

    def _look_at_all(self, x: Tensor) -> Tensor:
        """The features (N, D) of the images that the detector is fitted to, fixed."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"x must be a floating tensor; got {x.dtype if isinstance(x, Tensor) else type(x).__name__}"
            )
        if not len(x):
            raise ValueError("x must hold images to fit the detector to; got none")
        with torch.no_grad():
            return torch.cat([self._look(part) for part in x.split(FIT_BATCH)])


class Mahalanobis(Detector):
    """min_c (phi(x) - mu_c)^T Sigma^{-1} (phi(x) - mu_c): the squared distance to the nearest class.

    Each class c is a normal distribution of features with its mean mu_c and a covariance Sigma that all share, fitted
    to natural images x (N, ...) with labels y int64 (N,). features: a function, by default `features(model)`.
    shrinkage: rho in [0, 1]; Sigma becomes (1 - rho) Sigma + rho tr(Sigma) / D I, which can be inverted also where a
    feature never varies. Raises ValueError if it still cannot.
    Source: Lee et al. 2018, eq. 1 and 2; shrinkage: Ledoit and Wolf 2004.
    """

    means: Tensor
    whitening: Tensor

    def __init__(
        self, model: Classifier, x: Tensor, y: Tensor, *, features: Features | None = None, shrinkage: float = 0.01
    ) -> None:
        super().__init__(_features_of(model) if features is None else features)
        if isinstance(shrinkage, bool) or not isinstance(shrinkage, (int, float)) or not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be a number between 0 and 1; got {shrinkage!r}")
        phi = self._look_at_all(x)
        check_labels("y", y, batch=len(x))
        classes = y.unique()
        means = torch.stack([phi[y == c].mean(0) for c in classes])
        centred = phi - means[torch.searchsorted(classes, y)]
        sigma = centred.T @ centred / len(phi)
        size = sigma.diagonal().mean()
        sigma = (1 - shrinkage) * sigma + shrinkage * size * torch.eye(len(sigma)).to(sigma)
        root, failed = torch.linalg.cholesky_ex(sigma)
        if failed:
            raise ValueError(f"shrinkage must be larger, or features must vary: with {shrinkage} Sigma is singular")
        # Sigma = R R^T, so the distance is the Euclidean one of R^{-1} phi.
        whitening = torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=False)
        self.register_buffer("whitening", whitening)
        self.register_buffer("means", means @ whitening.T)

    def distance(self, phi: Tensor) -> Tensor:
        """The squared Mahalanobis distance of features (B, D) to the nearest class mean: (B,)."""
        white = phi @ self.whitening.T.to(phi)
        return (white[:, None] - self.means.to(phi)).square().sum(2).amin(1)


class NearestNeighbours(Detector):
    """The distance of phi(x) to the k-th nearest of the features of natural images x (N, ...), N >= k.

    features: a function, by default `features(model)`. Unlike the Mahalanobis distance it assumes no shape of the
    classes. Source: Sun et al. 2022, section 3, here without normalising the features.
    """

    natural: Tensor

    def __init__(self, model: Classifier, x: Tensor, k: int = 5, *, features: Features | None = None) -> None:
        super().__init__(_features_of(model) if features is None else features)
        if isinstance(k, bool) or not isinstance(k, int):
            raise TypeError(f"k must be an int; got {type(k).__name__}")
        phi = self._look_at_all(x)
        if not 1 <= k <= len(phi):
            raise ValueError(f"k must be between 1 and the number of images, {len(phi)}; got {k}")
        self.k = k
        self.register_buffer("natural", phi)

    def distance(self, phi: Tensor) -> Tensor:
        """The Euclidean distance of features (B, D) to their k-th nearest neighbour: (B,)."""
        return torch.cdist(phi, self.natural.to(phi)).topk(self.k, largest=False).values[:, -1]


class Guarded(nn.Module):
    """Model and detector as the one classifier they are together, whose last class is "rejected".

    Logits (B, K + 1): those of the model, Z, and for the last class max_i Z_i + weight * (score(x) / threshold - 1),
    the largest exactly if the score is above the threshold. So whoever wants class t and no alarm attacks this
    classifier with the target t. If the model looks several times, so does this: (B, S, K + 1). threshold: > 0, a
    number or a tensor without dimensions. weight: > 0, the lead of "rejected" at twice the threshold.
    Source: Carlini and Wagner 2017, "Adversarial examples are not easily detected", section 3.3, here with a sum
    instead of a product, so that adding a constant to the logits changes nothing.
    """

    def __init__(
        self, model: Classifier, detector: Detector, threshold: float | Tensor, *, weight: float = 1.0
    ) -> None:
        super().__init__()
        for name, value in (("threshold", threshold), ("weight", weight)):
            check_positive(name, value)
        self.model, self.detector = model, detector
        self.threshold, self.weight = threshold, weight

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K + 1) or (B, S, K + 1), the last for "rejected"; in the dtype of the model's."""
        logits = self.model(x)
        excess = broad(self.detector.score(x) / self.threshold - 1, logits)
        rejected = logits.amax(-1, keepdim=True) + self.weight * excess
        return torch.cat([logits, rejected.to(logits.dtype)], dim=-1)


def auroc(clean_scores: Tensor, adv_scores: Tensor) -> float:
    """Area under the ROC curve: the probability that an adversarial image scores higher than a clean one.

    clean_scores: (N,), adv_scores: (M,), both not empty. 1 is perfect, 0.5 a coin; a tie counts as half.
    """
    for name, scores in (("clean_scores", clean_scores), ("adv_scores", adv_scores)):
        if not isinstance(scores, Tensor):
            raise TypeError(f"{name} must be a tensor (N,); got {type(scores).__name__}")
        if scores.ndim != 1 or not len(scores) or scores.isnan().any():
            raise ValueError(f"{name} must be a tensor (N,), N >= 1, without NaN; got shape {tuple(scores.shape)}")
    clean = clean_scores.detach().sort().values
    adv = adv_scores.detach().to(clean).contiguous()
    below, not_above = (torch.searchsorted(clean, adv, right=right) for right in (False, True))
    return ((below + not_above).double().mean() / (2 * len(clean))).item()


_features_of = features  # inside a class an argument goes by that name
