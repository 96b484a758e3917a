"""Detectors: what their scores are, that they tell plain PGD images from clean ones, and as parts of a classifier."""

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import shrunk_covariance
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch import nn

from coursekit import data
from coursekit.attacks import pgd
from coursekit.defenses import Detector, Guarded, Mahalanobis, NearestNeighbours, auroc, features
from coursekit.perturbations import LpBall


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=60, d=5, classes=3, seed=0):
    """Features that are their own images, in classes of different means."""
    y = torch.arange(n) % classes
    return torch.randn(n, d, generator=seeded(seed)) + 3 * y[:, None], y


def detectors(x, y, look=None):
    look = look or (lambda x: x)
    return [Mahalanobis(None, x, y, features=look), NearestNeighbours(None, x, 3, features=look)]


@pytest.fixture(scope="module")
def natural():
    """1,000 digits to fit to, and 200 that are neither among them nor under attack."""
    x, y, _ = data.load("mnist", "train")
    return x[:1000], y[:1000], data.load("mnist", "test").x[500:700]


# -- the formula


def test_mahalanobis_is_the_distance_to_the_nearest_class_under_the_shared_covariance():
    """Against scikit-learn's shrunk covariance and a matrix inverse."""
    x, y = points()
    detector = Mahalanobis(None, x, y, features=lambda x: x, shrinkage=0.1)
    means = torch.stack([x[y == c].mean(0) for c in range(3)])
    centred = x - means[y]
    inverse = torch.from_numpy(shrunk_covariance((centred.T @ centred / len(x)).numpy(), 0.1)).inverse()
    strangers = 5 * torch.randn(20, 5, generator=seeded(1))
    away = strangers[:, None] - means
    expected = torch.einsum("bci,ij,bcj->bc", away, inverse.float(), away).min(1).values
    torch.testing.assert_close(detector.score(strangers), expected, rtol=1e-4, atol=1e-4)


def test_nearest_neighbours_is_the_distance_to_the_kth():
    x, _ = points()
    strangers = 5 * torch.randn(20, 5, generator=seeded(1))
    expected = NearestNeighbors(n_neighbors=4).fit(x.numpy()).kneighbors(strangers.numpy())[0][:, -1]
    scores = NearestNeighbours(None, x, 4, features=lambda x: x).score(strangers)
    torch.testing.assert_close(scores, torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-3)


def test_labels_need_not_be_consecutive_and_features_may_never_vary():
    x, y = points()
    x[:, 2] = 1.0  # such as a unit that is always off
    shifted = Mahalanobis(None, x, 7 * y + 1, features=lambda x: x)
    plain = Mahalanobis(None, x, y, features=lambda x: x)
    assert torch.equal(shifted.score(x), plain.score(x))
    assert plain.score(x).isfinite().all()


@settings(deadline=None)
@given(
    clean=st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    adv=st.lists(st.integers(-3, 3), min_size=1, max_size=30),
)
def test_auroc_is_that_of_scikit_learn_with_ties(clean, adv):
    expected = roc_auc_score([0] * len(clean) + [1] * len(adv), clean + adv)
    assert auroc(torch.tensor(clean).float(), torch.tensor(adv).float()) == pytest.approx(expected)


@settings(deadline=None, max_examples=30)
@given(rate=st.floats(0, 0.999), n=st.integers(1, 60), digits=st.integers(0, 3))
def test_the_threshold_is_the_lowest_that_keeps_the_false_positive_rate(rate, n, digits):
    class Itself(Detector):
        def distance(self, phi):
            return phi[:, 0]

    x = (torch.rand(n, 1, generator=seeded(n), dtype=torch.float64) * 10**digits).round()  # many ties, or few
    threshold = Itself(lambda x: x).threshold(x, rate)
    assert (x > threshold).double().mean() <= rate
    lower = x[x < threshold]
    if len(lower):
        assert (x > lower.max()).double().mean() > rate


# -- what they see


@pytest.mark.parametrize(
    ("make", "eps"),
    [
        (lambda cnn, x, y: Mahalanobis(cnn, x, y), 0.3),
        (lambda cnn, x, y: Mahalanobis(cnn, x, y, features=cnn[:5]), 0.2),
        (lambda cnn, x, y: NearestNeighbours(cnn, x), 0.3),
    ],
    ids=["mahalanobis", "mahalanobis of the convolutions", "neighbours"],
)
def test_images_of_plain_pgd_look_strange(cnn, digits, natural, make, eps):
    x, y = digits
    detector = make(cnn, *natural[:2])
    x_adv = pgd(cnn, x, y, LpBall(eps, math.inf), steps=10, early_stop=False, generator=seeded())
    clean, adv = detector.score(x), detector.score(x_adv)
    assert auroc(clean, adv) >= 0.9
    threshold = detector.threshold(natural[2], 0.05)
    assert (clean > threshold).float().mean() <= 0.12
    assert (adv > threshold).float().mean() >= 0.5


def test_features_are_everything_before_the_last_linear_layer(cnn, digits):
    x, _ = digits
    assert torch.equal(cnn[-1](features(cnn)(x)), cnn(x))
    assert features(cnn)[1] is cnn[1]


# -- as functions of the image


def test_scores_can_be_differentiated_also_at_a_natural_image():
    x, y = points()
    for detector in detectors(x, y):
        at = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(detector.score(at).sum(), at)
        assert gradient.isfinite().all()
        assert gradient.any()
        there, slope = 5 * torch.randn(4, 5, generator=seeded(2)).double(), torch.tensor([1e-5, 0, 0, 0, 0])
        there.requires_grad_()
        (gradient,) = torch.autograd.grad(detector.score(there).sum(), there)
        rise = (detector.score(there + slope) - detector.score(there - slope)) / 2e-5
        torch.testing.assert_close(gradient[:, 0], rise.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_scores_follow_the_dtype_of_the_features(small, right, dtype):
    x, y = right
    for detector in detectors(x, y, features(small)):
        small.to(dtype)
        scores = detector.score(x.to(dtype))
        assert scores.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
        assert scores.shape == (8,)
        assert detector.score(x[:0].to(dtype)).shape == (0,)


def test_the_score_of_an_image_does_not_depend_on_its_batch_and_layout(small, right):
    x, y = right
    for detector in detectors(x, y, features(small)):
        together = detector.score(x + 0.1)
        strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) + 0.1
        torch.testing.assert_close(detector.score(strided), together, rtol=1e-4, atol=1e-4)
        for i in range(len(x)):
            torch.testing.assert_close(detector.score(x[i : i + 1] + 0.1)[0], together[i], rtol=1e-4, atol=1e-4)


def test_fitting_and_scoring_leave_the_model_as_it_was(small, right, state):
    before, random = state(small), torch.random.get_rng_state()
    for detector in detectors(*right, features(small)):
        detector.score(right[0])
        detector.threshold(right[0])
        assert not any(value.requires_grad for value in detector.buffers())
    assert state(small) == before
    assert torch.equal(random, torch.random.get_rng_state())


def test_nothing_leaves_the_device(small, right):
    x, y = right
    for detector in detectors(x, y, features(small)):
        assert detector.to("meta").score(x.to("meta")).device.type == "meta"
        assert detector.threshold(x.to("meta")).device.type == "meta"
        detector.to_empty(device="cpu")


def test_a_detector_can_be_pickled(cnn, digits, natural):
    for detector in (Mahalanobis(cnn, *natural[:2]), NearestNeighbours(cnn, natural[0])):
        again = pickle.loads(pickle.dumps(detector))
        assert torch.equal(again.score(digits[0]), detector.score(digits[0]))


# -- model and detector as one classifier


def test_the_last_class_wins_exactly_where_the_detector_raises_an_alarm(cnn, digits, natural):
    x, _ = digits
    detector = Mahalanobis(cnn, *natural[:2])
    threshold = detector.score(x).median()
    logits = Guarded(cnn, detector, threshold)(x)
    assert torch.equal(logits[:, :-1], cnn(x))
    alarm = detector.score(x) > threshold
    assert torch.equal(logits.argmax(1) == 10, alarm)
    assert torch.equal(logits.argmax(1)[~alarm], cnn(x).argmax(1)[~alarm])
    assert alarm.any()
    assert not alarm.all()
    assert Guarded(cnn.bfloat16(), detector, 50.0)(x.bfloat16()).dtype == torch.bfloat16


# -- what they do not take


X, Y = points()


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: features(lambda x: x), TypeError, "model must be an nn.Sequential, or give features; got function"),
        (lambda: features(nn.Sequential(nn.ReLU())), ValueError, "model must have a linear layer"),
        (lambda: Mahalanobis(None, X, Y), TypeError, "model must be an nn.Sequential"),
        (lambda: Mahalanobis(None, X, Y, features=3), TypeError, "features must be a function .* got int"),
        (lambda: Mahalanobis(None, X, Y[:2], features=abs), ValueError, r"y must have one label per image"),
        (lambda: Mahalanobis(None, X, Y, features=abs, shrinkage=2), ValueError, "shrinkage must be .* 1; got 2"),
        (lambda: Mahalanobis(None, 0 * X, Y, features=abs), ValueError, "shrinkage must be larger, or features must"),
        (lambda: Mahalanobis(None, X[:0], Y[:0], features=abs), ValueError, "x must hold images"),
        (lambda: NearestNeighbours(None, [1], features=abs), TypeError, "x must be a floating tensor; got list"),
        (lambda: NearestNeighbours(None, X, 61, features=abs), ValueError, "k must be between 1 and .* 60; got 61"),
        (lambda: NearestNeighbours(None, X, 2.0, features=abs), TypeError, "k must be an int; got float"),
        (lambda: detectors(X, Y)[0].threshold(X, 1), ValueError, "false_positive_rate must be .* below 1; got 1"),
        (lambda: detectors(X, Y)[0].threshold(X, "5 %"), TypeError, "false_positive_rate must be a number; got str"),
        (lambda: detectors(X, Y)[0].threshold(X[:0]), ValueError, "x_clean must hold at least one image"),
        (lambda: Guarded(abs, abs, 0.0), ValueError, "threshold must be finite and > 0; got 0"),
        (lambda: Guarded(abs, abs, torch.ones(2)), ValueError, r"threshold must be a number > 0; got .* \(2,\)"),
        (lambda: Guarded(abs, abs, 1.0, weight="x"), TypeError, "weight must be a number > 0; got str"),
        (lambda: auroc(X[0], X), ValueError, r"adv_scores must be a tensor \(N,\).* got shape \(60, 5\)"),
        (lambda: auroc(X[0, :0], X[0]), ValueError, "clean_scores must be"),
        (lambda: auroc([1.0], X[0]), TypeError, r"clean_scores must be a tensor \(N,\); got list"),
        (lambda: Detector(abs).score(X), NotImplementedError, "distance"),
    ],
)
def test_wrong_arguments_are_named(make, error, says):
    with pytest.raises(error, match=says):
        make()
