"""What the adaptive attacks are made of, and that one of them passes a detector."""

import math

import pytest
import torch
from torch import nn

from coursekit import data
from coursekit.attacks import input_gradient, pgd
from coursekit.attacks.common import goal
from coursekit.attacks.physical import views
from coursekit.defenses import (
    Guarded,
    Mahalanobis,
    NearestNeighbours,
    Preprocessed,
    Quantized,
    RandomNoise,
    averaged,
    bpda,
    evade,
    features,
    straight_through,
)  # fmt: skip
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall

LINF = LpBall(0.2, math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# -- the straight-through gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_straight_through_is_the_function_forwards_and_the_identity_backwards(dtype):
    x = torch.rand(4, 3, generator=seeded()).to(dtype).requires_grad_()
    value = straight_through(torch.floor)(10 * x)
    assert torch.equal(value, (10 * x).floor()), "to the last bit"
    weight = torch.randn(4, 3, generator=seeded(1)).to(dtype)
    assert torch.equal(torch.autograd.grad((weight * value).sum(), x)[0], 10 * weight)
    assert torch.equal(straight_through(lambda x: x)(x), x)
    with torch.no_grad():
        assert torch.equal(straight_through(torch.floor)(10 * x), (10 * x).floor())


def test_at_grey_levels_the_gradient_is_that_of_the_bare_model(cnn, digits):
    x, y = digits
    defended = Quantized(cnn, 8)
    at = defended.transform(x)
    assert torch.equal(input_gradient(bpda(defended), at, y), input_gradient(cnn, at, y))
    assert torch.equal(bpda(defended)(x), defended(x))


def test_any_preprocessing_can_be_bypassed(cnn, digits):
    class Blackened(Preprocessed):
        def transform(self, x):
            return torch.where(x > 0.5, 1.0, 0.0)

    x, y = digits
    defended = Blackened(cnn)
    x_adv = pgd(bpda(defended), x, y, LpBall(0.6, math.inf), steps=10)
    right = (defended(x_adv).argmax(1) == y).float().mean()
    assert right < 0.3 < (defended(x).argmax(1) == y).float().mean()


# -- averaging


def test_the_gradient_of_the_averaged_model_is_the_mean_of_the_single_gradients(cnn, digits):
    """With the same random numbers: first those of the S draws of the first image, then of the second."""
    x, y = digits[0][:3], digits[1][:3]
    losses = goal(y, None, cross_entropy).objective
    together = input_gradient(averaged(RandomNoise(cnn, generator=seeded()), 4), x, y, losses)
    noise = seeded()
    single = [
        torch.stack([input_gradient(RandomNoise(cnn, generator=noise), x[i : i + 1], y[i : i + 1]) for _ in range(4)])
        for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat([gradients.mean(0) for gradients in single]), rtol=1e-4, atol=1e-5)


def test_an_averaged_model_without_randomness_is_the_model(cnn, digits):
    x, _ = digits
    logits = averaged(cnn, 3)(x)
    assert logits.shape == (100, 3, 10)
    for look in range(3):
        torch.testing.assert_close(logits[:, look], cnn(x), rtol=1e-4, atol=1e-4)


def test_both_can_be_combined(cnn, digits):
    x, y = digits[0][:20], digits[1][:20]
    model = averaged(bpda(Quantized(cnn)), 2)
    assert LINF.contains(pgd(model, x, y, LINF, steps=2), x).all()


# -- past the detector


@pytest.mark.parametrize(
    ("make", "eps"),
    [
        (lambda cnn, x, y: Mahalanobis(cnn, x, y, features=cnn[:5]), 0.2),
        (lambda cnn, x, y: Mahalanobis(cnn, x, y), 0.3),
        (lambda cnn, x, y: NearestNeighbours(cnn, x), 0.3),
    ],
    ids=["mahalanobis of the convolutions", "mahalanobis", "neighbours"],
)
def test_evade_fools_the_model_and_the_detector(cnn, digits, make, eps):
    """On images that plain PGD fools all but gets caught with: see test_detection."""
    x, y = digits[0][:40], digits[1][:40]
    train = data.load("mnist", "train")
    detector = make(cnn, train.x[:1000], train.y[:1000])
    threshold, threat = detector.threshold(data.load("mnist", "test").x[500:700], 0.05), LpBall(eps, math.inf)
    x_adv = evade(cnn, detector, x, y, threat, threshold=threshold, steps=60, generator=seeded())
    assert threat.contains(x_adv, x).all()
    with torch.no_grad():
        fooled, alarm = cnn(x_adv).argmax(1) != y, detector.score(x_adv) > threshold
    assert (fooled & ~alarm).float().mean() >= 0.9
    assert alarm.float().mean() <= 0.1


def test_evade_reaches_the_target(cnn, digits):
    x, y = digits[0][:20], digits[1][:20]
    train = data.load("mnist", "train")
    detector = Mahalanobis(cnn, train.x[:1000], train.y[:1000])
    threshold = detector.threshold(train.x[1000:1300])
    x_adv = evade(cnn, detector, x, y, LpBall(0.4, math.inf), threshold=threshold, target=3, steps=60)
    assert ((cnn(x_adv).argmax(1) == 3) & (detector.score(x_adv) <= threshold)).float().mean() >= 0.9


# -- what every attack promises


@pytest.fixture
def detector(small, right):
    return Mahalanobis(small, *right, features=features(small))


def attack(small, detector, x, y, threat, **settings):
    settings = {"threshold": 30.0, "steps": 5, "generator": seeded(), **settings}
    return evade(small, detector, x, y, threat, **settings)


def test_the_result_is_a_new_detached_image_inside_the_set(small, right, detector, threat):
    x, y = right
    x_adv = attack(small, detector, x, y, threat)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert not x_adv.requires_grad
    assert x_adv.data_ptr() != x.data_ptr()
    assert threat.contains(x_adv, x).all()
    assert attack(small, detector, x[:0], y[:0], threat).shape == (0, 2, 5, 5)
    assert torch.equal(attack(small, detector, x[0], y[0], threat), attack(small, detector, x[:1], y[:1], threat)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_layouts(small, right, detector, threat, dtype):
    x, y = right
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(
        attack(small, detector, strided, y, threat), attack(small, detector, x, y, threat), rtol=1e-4, atol=1e-4
    )
    small.to(dtype)
    x_adv = attack(small, detector, x.to(dtype), y, threat)
    assert x_adv.dtype == dtype
    assert threat.contains(x_adv, x.to(dtype)).all()


def test_an_image_does_not_depend_on_its_batch(small, right, detector, threat):
    small.double()
    x, y = right[0].double(), right[1]
    together = attack(small, detector, x, y, threat, random_start=False)
    for i in range(len(x)):
        alone = attack(small, detector, x[i : i + 1], y[i : i + 1], threat, random_start=False)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-9)


def test_each_image_may_have_its_own_eps(small, right, detector):
    x, y = right
    threat = LpBall(torch.linspace(0, 0.3, 8), math.inf)
    x_adv = attack(small, detector, x, y, threat)
    assert threat.contains(x_adv, x).all()
    assert torch.equal(x_adv[0], x[0])
    assert not torch.equal(x_adv, x)


def test_model_detector_and_callers_tensors_are_left_as_they_were(small, right, detector, threat, state):
    x, y = right
    small[0].weight.grad = torch.ones_like(small[0].weight)
    before, random, copy = state(small), torch.random.get_rng_state(), x.clone()
    attack(small, detector, x, y, threat)
    assert state(small) == before
    assert torch.equal(x, copy)
    assert torch.equal(random, torch.random.get_rng_state())


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(small, right, detector, threat, switched_off):
    x, y = right
    expected = attack(small, detector, x, y, threat)
    with switched_off():
        assert torch.equal(attack(small, detector, x.clone(), y.clone(), threat), expected)


def test_a_classifier_need_not_be_a_module(small, right, detector, threat):
    x, y = right
    small.eval()
    expected = attack(small, detector, x, y, threat)
    assert torch.equal(attack(lambda x: small(x), detector, x, y, threat), expected)


def test_a_model_that_looks_several_times_is_fooled_each_time(small, right, detector):
    """Looks that are all the same change nothing; looks that differ are all to be taken in."""
    x, y = right
    threat = LpBall(0.5, math.inf)
    small.eval()
    expected = attack(small, detector, x, y, threat)
    torch.testing.assert_close(attack(averaged(small, 3), detector, x, y, threat), expected)
    brighter = views(small, lambda x, *, generator=None: x + 0.1 * (torch.arange(len(x)) % 2).view(-1, 1, 1, 1), 2)
    x_adv = attack(brighter, detector, x, y, threat, threshold=100.0, steps=30)
    looks = Guarded(brighter, detector, 100.0)(x_adv)
    assert looks.shape == (8, 2, 5)
    fooled = (looks.argmax(2) != y[:, None]) & (looks.argmax(2) != 4)
    assert fooled.all(1).float().mean() > 0.5


def test_a_zero_gradient_makes_no_nan(right, detector, threat):
    x, y = right
    flat = Mahalanobis(None, x, y, features=lambda x: x.flatten(1).round())
    x_adv = attack(lambda x: torch.zeros(len(x), 4), flat, x, y, threat)
    assert threat.contains(x_adv, x).all()


def test_nothing_leaves_the_device(small, right, detector, threat):
    small.to("meta")
    x, y = (part.to("meta") for part in right)
    assert attack(small, detector.to("meta"), x, y, threat, early_stop=False).device.type == "meta"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": torch.full((2, 3), 2.0)}, ValueError, "x must lie in the threat's bounds"),
        ({"y": torch.tensor([0])}, ValueError, "y must have one label per image"),
        ({"y": torch.tensor([0, 10])}, ValueError, "y must hold classes 0 to 2; got values from 0 to 10"),
        ({"y": torch.tensor([-1, 0])}, ValueError, "y must hold classes 0 to 2; got values from -1 to 0"),
        ({"target": "cat"}, TypeError, "target must be a class .* got str"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set"),
        ({"threshold": 0.0}, ValueError, "threshold must be finite and > 0; got 0"),
        ({"weight": -1.0}, ValueError, "weight must be finite and > 0; got -1"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(change, error, says):
    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
    arguments = {
        "model": lambda x: x, "x": x, "y": y, "threat": LINF, "threshold": 1.0,
        "detector": NearestNeighbours(None, torch.rand(5, 3), 1, features=lambda x: x),
    }  # fmt: skip
    with pytest.raises(error, match=says):
        evade(**{**arguments, **change})


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: bpda(nn.Flatten()), TypeError, "defended must have a transform and a model.* got Flatten"),
        (lambda: straight_through(torch.sum)(torch.ones(2, 3)), ValueError, r"transform must return .* \(2, 3\)"),
        (lambda: averaged(abs, 0), ValueError, "samples must be at least 1"),
        (lambda: averaged(abs, 2.0), TypeError, "samples must be an int"),
    ],
)
def test_wrong_models_are_named(make, error, says):
    with pytest.raises(error, match=says):
        make()
