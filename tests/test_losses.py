import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit.losses import cross_entropy, cw_margin, cw_margin_targeted, margin, robust_loss, zero_one

LOSSES = [zero_one, cross_entropy, margin, cw_margin, cw_margin_targeted]
each = pytest.mark.parametrize("loss", LOSSES)
seeds = st.integers(0, 2**32 - 1)


def some(seed, batch=6, classes=5, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    return logits.to(dtype), torch.randint(0, classes, (batch,), generator=generator)


@given(seed=seeds, classes=st.integers(2, 12), scale=st.sampled_from([0.01, 1.0, 30.0]))
@settings(max_examples=40, deadline=None)
def test_losses_follow_their_formulas(seed, classes, scale):
    """Written out in numpy, from probabilities, one example at a time."""
    logits, labels = some(seed, classes=classes, scale=scale)
    for z, y, i in zip(logits.numpy(), labels.tolist(), range(99), strict=False):
        log_f = z - z.max() - np.log(np.exp(z - z.max()).sum())
        best_other = max(value for k, value in enumerate(log_f) if k != y)
        one = logits[i : i + 1], labels[i : i + 1]
        assert zero_one(*one).item() == float(int(np.argmax(z)) != y)
        assert cross_entropy(*one).item() == pytest.approx(-log_f[y], abs=1e-10)
        assert margin(*one).item() == pytest.approx(best_other - log_f[y], abs=1e-10)
        assert cw_margin(*one).item() == pytest.approx(max(log_f[y] - best_other, 0), abs=1e-10)
        assert cw_margin_targeted(*one).item() == pytest.approx(max(best_other - log_f[y], 0), abs=1e-10)


@each
@given(seed=seeds, shift=st.sampled_from([-1000.0, -3.0, 50.0]))
@settings(max_examples=15, deadline=None)
def test_a_constant_added_to_the_logits_changes_nothing(loss, seed, shift):
    """Log-probabilities are all negative, logits need not be: a loss must not care which it is given."""
    logits, y = some(seed)
    torch.testing.assert_close(loss(logits + shift, y), loss(logits, y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss(logits.log_softmax(1), y), loss(logits, y), rtol=1e-9, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_the_signs_tell_how_it_is_classified(seed):
    logits, y = some(seed)
    wrong = zero_one(logits, y) == 1
    assert torch.equal(margin(logits, y) > 0, wrong)
    assert torch.equal(cw_margin(logits, y) > 0, ~wrong)
    assert torch.equal(cw_margin_targeted(logits, y) > 0, wrong)
    torch.testing.assert_close(cw_margin_targeted(logits, y) - cw_margin(logits, y), margin(logits, y))


@each
def test_an_example_does_not_depend_on_its_batch(loss):
    logits, y = some(0)
    alone = torch.cat([loss(logits[i : i + 1], y[i : i + 1]) for i in range(len(y))])
    torch.testing.assert_close(loss(logits, y), alone)


@each
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_and_extreme_logits(loss, dtype):
    logits, y = some(1, scale=1e4, dtype=dtype)
    value = loss(logits, y)
    assert value.shape == y.shape
    assert value.dtype == (dtype if dtype in (torch.float64, torch.float32) else torch.float32)
    assert value.isfinite().all()


@pytest.mark.parametrize("loss", [cross_entropy, margin, cw_margin, cw_margin_targeted])
def test_gradients_are_those_of_finite_differences(loss):
    logits, y = some(2)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), logits.requires_grad_())


def test_a_confident_model_has_a_margin_gradient_where_the_cross_entropy_has_none():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    assert not torch.autograd.grad(cross_entropy(logits, y).sum(), logits)[0].any()
    assert torch.autograd.grad(margin(logits, y).sum(), logits)[0].any()


@each
def test_nothing_leaves_the_device(loss):
    logits, y = torch.empty(3, 4, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    assert loss(logits, y).device == logits.device


@each
@pytest.mark.parametrize(
    ("logits", "y", "error", "says"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), ValueError, r"y must .* \(3,\); got \(2,\)"),
        (torch.zeros(3, 2), torch.zeros(3), TypeError, "y must be an int64 tensor .* got torch.float32"),
        (torch.zeros(3, 2), [0, 0, 0], TypeError, "y must be an int64 tensor .* got list"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), ValueError, "y must hold classes 0 to 1; got values from 0 to 2"),
        (torch.zeros(3, 2), torch.tensor([0, -1, 1]), ValueError, "y must hold classes 0 to 1; got values from -1"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), ValueError, r"logits must have shape .* got \(3,\)"),
        (torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), ValueError, "K >= 2 classes"),
        (torch.zeros(3, 2).long(), torch.zeros(3, dtype=torch.int64), TypeError, "logits .* got torch.int64"),
        (np.zeros((3, 2)), torch.zeros(3, dtype=torch.int64), TypeError, "logits .* got ndarray"),
    ],
)
def test_what_is_no_loss_is_refused(loss, logits, y, error, says):
    if loss is cw_margin_targeted:
        says = says.replace("y must", "target must")
    with pytest.raises(error, match=says):
        loss(logits, y)


def test_an_even_decision_costs_log_k():
    assert cross_entropy(torch.zeros(1, 7), torch.tensor([3])).item() == pytest.approx(math.log(7))


# -- the robust loss


def linear(weight):
    """f(x) = [0, <w, x>]: its robust loss is known."""
    return lambda x: torch.stack([0 * x.sum(1), x @ weight], dim=1)


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_the_robust_loss_of_a_linear_model_is_the_closed_form(seed):
    """sup over the L-inf ball: the logit moves by eps ||w||_1 against the label."""
    generator = torch.Generator().manual_seed(seed)
    weight, x = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((7,), (5, 7)))
    y = torch.randint(0, 2, (5,), generator=generator)

    def worst(model, x, y):
        return x + 0.1 * torch.where(y == 1, -1, 1)[:, None] * weight.sign()

    moved = x @ weight + torch.where(y == 1, -1, 1) * 0.1 * weight.abs().sum()
    expected = cross_entropy(torch.stack([0 * moved, moved], dim=1), y)
    torch.testing.assert_close(robust_loss(linear(weight), x, y, worst), expected)


def test_the_robust_loss_is_differentiated_with_the_worst_point_fixed():
    weight = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    x, y = torch.tensor([[0.2, 0.4, 0.6]]), torch.tensor([1])

    def attack(model, x, y):
        return x - 0.1 * weight.sign() * weight  # depends on the weights: no part of Danskin's gradient

    value = robust_loss(linear(weight), x, y, attack)
    fixed = attack(None, x, y).detach()
    (found,) = torch.autograd.grad(value.sum(), weight)
    (expected,) = torch.autograd.grad(cross_entropy(linear(weight)(fixed), y).sum(), weight)
    torch.testing.assert_close(found, expected)


def test_the_robust_loss_names_an_attack_that_returns_no_image():
    x, y = torch.rand(2, 3), torch.tensor([0, 1])
    with pytest.raises(TypeError, match="attack must return a tensor like x; got NoneType"):
        robust_loss(linear(torch.ones(3)), x, y, lambda *_: None)
    with pytest.raises(ValueError, match=r"attack must return a tensor like x, \(2, 3\); got \(3,\)"):
        robust_loss(linear(torch.ones(3)), x, y, lambda model, x, y: x[0])
