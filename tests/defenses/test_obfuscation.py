"""Each defence looks convincing, shows the signs of hidden gradients, and falls to the attack that knows it."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit.attacks import fgsm, input_gradient, pgd
from coursekit.defenses import Preprocessed, Quantized, RandomNoise, RandomResize, Saturated, averaged, bpda
from coursekit.losses import margin
from coursekit.perturbations import LpBall

DEFENCES = {"quantized": Quantized, "noise": RandomNoise, "resize": RandomResize, "saturated": Saturated}
EPS = LpBall(0.15, math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def accuracy(model, x, y, draws=1):
    """The share of right answers; of a random model the mean over several."""
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).float().mean().item() for _ in range(draws)) / draws


@pytest.fixture
def undefended(cnn, digits):
    """The accuracy of the bare model under plain PGD."""
    x, y = digits
    return accuracy(cnn, pgd(cnn, x, y, EPS, steps=20, generator=seeded()), y)


# -- shattered


def test_quantized_seems_robust_and_falls_to_the_straight_through_gradient(cnn, digits, undefended):
    x, y = digits
    defended = Quantized(cnn)
    assert accuracy(defended, x, y) >= accuracy(cnn, x, y) - 0.01
    plain = pgd(defended, x, y, EPS, steps=20, generator=seeded())
    assert accuracy(defended, plain, y) >= 0.9
    adaptive = pgd(bpda(defended), x, y, EPS, steps=20, generator=seeded())
    assert EPS.contains(adaptive, x).all()
    assert accuracy(defended, adaptive, y) <= undefended + 0.08
    assert undefended < 0.1


def test_signs_of_a_shattered_gradient(cnn, digits):
    x, y = digits
    defended = Quantized(cnn)
    assert not input_gradient(defended, x, y).any()
    anything = LpBall(1.0, math.inf)
    assert torch.equal(pgd(defended, x, y, anything, steps=5, random_start=False), x), "no eps helps"
    # Images made for the bare model do better than those made for the defended one: black box beats white box.
    borrowed = pgd(cnn, x, y, EPS, steps=10, early_stop=False, generator=seeded())
    assert accuracy(defended, borrowed, y) < accuracy(defended, pgd(defended, x, y, EPS, steps=10), y) - 0.5


@settings(deadline=None, max_examples=30)
@given(levels=st.integers(2, 300), seed=st.integers(0, 1000), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_quantized_pixels_are_the_nearest_grey_levels(levels, seed, dtype):
    x = torch.rand(3, 2, 4, 4, generator=seeded(seed), dtype=dtype)
    seen = Quantized(torch.nn.Identity(), levels)(x)
    steps = seen * (levels - 1)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    assert ((seen - x).abs() <= 0.5 / (levels - 1) + 1e-6).all()
    assert ((seen >= 0) & (seen <= 1)).all()
    assert torch.equal(Quantized(torch.nn.Identity(), levels)(seen), seen)


# -- stochastic


@pytest.mark.parametrize("defence", [RandomNoise, RandomResize])
def test_a_random_defence_seems_better_than_it_is_and_falls_to_averaging(cnn, digits, undefended, defence):
    """Plain PGD stops at the first lucky draw. So a single step, which cannot stop, leaves fewer images right, and
    the more and the shorter the steps, the more robust the defence seems."""
    x, y = digits[0][:50], digits[1][:50]
    defended = defence(cnn, generator=seeded(1))
    assert accuracy(defended, x, y, 10) >= 0.93
    few, plain = (
        accuracy(defended, pgd(defended, x, y, EPS, steps=steps, generator=seeded()), y, 10) for steps in (5, 40)
    )
    one_step = accuracy(defended, fgsm(defended, x, y, EPS), y, 10)
    adaptive = accuracy(defended, pgd(averaged(defended, 8), x, y, EPS, steps=12, generator=seeded()), y, 10)
    assert plain >= undefended + 0.3
    assert few < plain - 0.1
    assert one_step < plain - 0.05
    assert adaptive < plain - 0.25
    assert adaptive < undefended + 0.15


@pytest.mark.parametrize("defence", [RandomNoise, RandomResize])
def test_signs_of_a_random_gradient(cnn, digits, defence):
    x, y = digits
    defended = defence(cnn, generator=seeded())
    first, second = (input_gradient(defended, x, y) for _ in range(2))
    assert not torch.allclose(first, second)
    plain = pgd(defended, x, y, EPS, steps=20, generator=seeded())
    with torch.no_grad():
        answers = torch.stack([defended(plain).argmax(1) for _ in range(10)])
    assert (answers != answers[0]).any(0).float().mean() > 0.3, "the same image is classified now so, now so"


@pytest.mark.parametrize("defence", [RandomNoise, RandomResize])
def test_all_randomness_comes_from_the_generator(cnn, digits, defence):
    x, _ = digits
    state = torch.random.get_rng_state()
    first, again = (defence(cnn, generator=seeded(3))(x) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(state, torch.random.get_rng_state())
    defended = defence(cnn, generator=seeded(3))
    assert not torch.equal(defended(x), defended(x)), "each call draws anew"


def test_every_image_gets_noise_of_its_own_and_of_the_right_size(digits):
    noise = RandomNoise(torch.nn.Identity(), 0.3, seeded())(torch.zeros(50, 1, 28, 28))
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert not torch.equal(noise[0], noise[1])


@settings(deadline=None, max_examples=20)
@given(smallest=st.floats(0.3, 1), seed=st.integers(0, 1000))
def test_a_resized_image_is_somewhere_in_the_frame_whole_and_not_too_small(smallest, seed):
    """A white image of 1s: its brightness is its area, and no part of it is cut off."""
    seen = RandomResize(torch.nn.Identity(), smallest, seeded(seed))(torch.ones(20, 1, 40, 40, dtype=torch.float64))
    sides = seen.amax(3).sum(2).flatten(), seen.amax(2).sum(2).flatten()
    for side in sides:
        assert ((side >= 40 * smallest - 2) & (side <= 40)).all()
    torch.testing.assert_close(*sides, rtol=0, atol=1.5)


def test_a_resized_image_of_full_size_is_the_image(digits):
    x, _ = digits
    torch.testing.assert_close(RandomResize(torch.nn.Identity(), 1.0)(x), x, rtol=0, atol=1e-5)


# -- vanishing


def test_saturated_seems_robust_and_falls_to_the_margin(cnn, digits, undefended):
    x, y = digits
    defended = Saturated(cnn)
    assert torch.equal(defended(x).argmax(1), cnn(x).argmax(1))
    assert accuracy(defended, pgd(defended, x, y, EPS, steps=20, generator=seeded()), y) >= 0.9
    adaptive = pgd(defended, x, y, EPS, steps=20, loss=margin, generator=seeded())
    assert accuracy(defended, adaptive, y) <= undefended + 0.05


def test_signs_of_a_vanishing_gradient(cnn, digits):
    x, y = digits
    defended = Saturated(cnn)
    vanished = (input_gradient(defended, x, y) == 0).flatten(1).all(1)
    assert vanished.float().mean() > 0.8
    assert (input_gradient(cnn, x, y) != 0).flatten(1).any(1).all(), "those of the bare model have not"
    assert (input_gradient(defended, x, y, margin) != 0).flatten(1).any(1).all()
    anything = LpBall(1.0, math.inf)
    assert accuracy(defended, pgd(defended, x, y, anything, steps=10, random_start=False), y) > 0.8, "no eps helps"


# -- as classifiers


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_logits_follow_the_dtype(small, right, defence, dtype):
    small.to(dtype)
    logits = defence(small)(right[0].to(dtype))
    assert logits.dtype == dtype
    assert logits.shape == (8, 4)
    assert defence(small)(right[0][:0].to(dtype)).shape == (0, 4)


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
def test_nothing_leaves_the_device(small, right, defence):
    defended = defence(small.to("meta"))
    x, y = (part.to("meta") for part in right)
    assert defended(x).device.type == "meta"
    assert pgd(defended, x, y, EPS, steps=2, early_stop=False).device.type == "meta"


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
def test_on_another_device_the_logits_are_the_same(cnn, digits, defence, device):
    random = defence in (RandomNoise, RandomResize)
    expected = defence(cnn, **({"generator": seeded()} if random else {}))(digits[0])
    logits = defence(cnn.to(device), **({"generator": seeded()} if random else {}))(digits[0].to(device))
    assert logits.device.type == device.type
    torch.testing.assert_close(logits.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
def test_a_defence_can_be_copied_and_pickled(cnn, digits, defence):
    random = defence in (RandomNoise, RandomResize)
    defended = defence(cnn, **({"generator": seeded(5)} if random else {}))
    copies = [copy.deepcopy(defended), pickle.loads(pickle.dumps(defended))]
    expected = defended(digits[0])
    assert all(torch.equal(other(digits[0]), expected) for other in copies)


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
def test_the_model_inside_is_left_as_it_was(small, right, state, defence):
    before = state(small)
    defended = defence(small)
    pgd(defended, *right, EPS, steps=2)
    assert state(small) == before


@pytest.mark.parametrize("defence", DEFENCES.values(), ids=DEFENCES)
def test_the_model_inside_may_be_any_callable(small, right, defence):
    assert defence(lambda x: small(x))(right[0]).shape == (8, 4)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Quantized(abs, 1), ValueError, "levels must be at least 2; got 1"),
        (lambda: Quantized(abs, 2.0), TypeError, "levels must be an int; got float"),
        (lambda: Quantized("model"), TypeError, "model must be a classifier .*; got str"),
        (lambda: Saturated(3), TypeError, "model must be a classifier .*; got int"),
        (lambda: Saturated(abs, 0), ValueError, "temperature must be finite and > 0; got 0"),
        (lambda: Saturated(abs, math.inf), ValueError, "temperature must be finite and > 0; got inf"),
        (lambda: RandomNoise(abs, -0.1), ValueError, "sigma must be finite and >= 0; got -0.1"),
        (lambda: RandomNoise(abs, math.nan), ValueError, "sigma must be finite and >= 0; got nan"),
        (lambda: RandomNoise(abs, "much"), TypeError, "sigma must be a number; got str"),
        (lambda: RandomNoise(abs, generator=0), TypeError, "generator must be a torch.Generator or None; got int"),
        (lambda: RandomResize(abs, 0), ValueError, "smallest must be > 0 and <= 1; got 0"),
        (lambda: RandomResize(abs, 1.2), ValueError, "smallest must be > 0 and <= 1; got 1.2"),
        (lambda: RandomResize(abs)(torch.ones(3, 4)), ValueError, r"x must be images .* got shape \(3, 4\)"),
        (lambda: Preprocessed(abs)(torch.ones(1)), NotImplementedError, "transform"),
    ],
)
def test_wrong_arguments_are_named(make, error, says):
    with pytest.raises(error, match=says):
        make()
