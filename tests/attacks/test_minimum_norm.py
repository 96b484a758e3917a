"""What the attacks promise that look for the closest adversarial example, whatever they do inside."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from coursekit import models
from coursekit.attacks import carlini_wagner, ddn, penalty

ATTACKS = {"carlini_wagner": partial(carlini_wagner, steps=2, search_steps=8), "ddn": partial(ddn, steps=40)}
ALL = {**ATTACKS, "penalty": partial(penalty, lam=0.5, steps=5)}


@pytest.fixture(params=ATTACKS)
def attack(request):
    """Those that end with an adversarial example."""
    return ATTACKS[request.param]


@pytest.fixture(params=ALL)
def any_attack(request):
    """Also the penalty with one fixed lambda, which may not."""
    return ALL[request.param]


def predicted(model, x):
    model.eval()
    with torch.no_grad():
        return model(x).argmax(-1)


def distance(x_adv, x):
    return (x_adv - x).flatten(1).double().norm(dim=1)


# -- what they return


def test_the_result_is_a_new_detached_image_in_the_range_that_fools_the_model(attack, model, right):
    x, y = right
    x_adv = attack(model, x, y)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert not x_adv.requires_grad
    assert x_adv.data_ptr() != x.data_ptr()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert (predicted(model, x_adv) != y).all()


def test_an_image_misclassified_to_begin_with_comes_back_unchanged(attack, model, batch):
    x, y = batch
    wrong = predicted(model, x) != y
    x_adv = attack(model, x, y)
    assert wrong.any()
    assert torch.equal(x_adv[wrong], x[wrong])
    target = predicted(model, x)
    assert torch.equal(attack(model, x, y, target=target), x)


def test_a_target_is_reached(attack, model, right):
    x, y = right
    target = (y + 1) % 4
    assert (predicted(model, attack(model, x, y, target=target)) == target).all()
    assert torch.equal(attack(model, x, y, target=2), attack(model, x, y, target=torch.full_like(y, 2)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(any_attack, model, right, dtype):
    x, y = right[0].to(dtype), right[1]
    model.to(dtype)
    y = predicted(model, x)
    x_adv = any_attack(model, x, y)
    assert x_adv.dtype == dtype
    assert x_adv.isfinite().all()
    if any_attack is not ALL["penalty"]:
        assert (predicted(model, x_adv) != y).all()


def test_layouts_that_are_not_contiguous(any_attack, model, right):
    x, y = right[0].double(), right[1]
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    model.double()
    torch.testing.assert_close(any_attack(model, strided, y), any_attack(model, x, y), rtol=1e-9, atol=1e-9)


def test_an_empty_batch(any_attack, model, batch):
    assert any_attack(model, batch[0][:0], batch[1][:0]).shape == (0, 2, 5, 5)


def test_one_image_without_a_batch_dimension(any_attack, model, right):
    x, y = right
    assert torch.equal(any_attack(model, x[0], y[0]), any_attack(model, x[:1], y[:1])[0])


def test_points_in_the_plane(attack):
    model = models.load("moons_mlp")
    x = torch.rand(10, 2, generator=torch.Generator().manual_seed(0))
    y = predicted(model, x)
    assert (predicted(model, attack(model, x, y)) != y).all()


def test_an_image_does_not_depend_on_its_batch(any_attack, model, batch):
    model.double()
    x, y = batch[0].double(), batch[1]
    together = any_attack(model, x, y)
    for i in range(0, len(x), 3):
        alone = any_attack(model, x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-8)


def test_success_does_not_depend_on_the_batch_that_looks_at_it(attack, cnn, digits):
    """The result lies clear of the boundary by more than the rounding in which batches of other sizes differ."""
    x, y = digits[0][:12], digits[1][:12]
    x_adv = attack(cnn, x, y)
    with torch.no_grad():
        assert all(cnn(x_adv[i : i + 1]).argmax(1) != y[i] for i in range(12))


def test_a_zero_gradient_moves_nothing_and_makes_no_nan(any_attack, batch):
    x, y = batch[0], torch.zeros(8, dtype=torch.int64)
    for model in (lambda x: 0 * x.flatten(1)[:, :4], lambda x: torch.zeros(len(x), 4)):
        assert torch.equal(any_attack(model, x, y), x)


def test_where_nothing_can_be_found_the_nearest_miss_comes_back(attack):
    """A classifier whose answer never changes, only its confidence."""
    x, y = torch.full((2, 3), 0.5), torch.zeros(2, dtype=torch.int64)

    def stubborn(x):
        return torch.stack([1 + x.mean(1), 0 * x.mean(1)], dim=1)

    x_adv = attack(stubborn, x, y)
    assert x_adv.isfinite().all()
    assert (stubborn(x_adv)[:, 0] < stubborn(x)[:, 0]).all()


def test_another_image_range_is_only_another_unit(any_attack, model, right):
    x, y = right[0].double(), right[1]
    model.double().eval()
    settings = {"lam": 2.0} if any_attack is ALL["penalty"] else {}
    rescaled = any_attack(lambda u: model((u + 1) / 2), 2 * x - 1, y, bounds=(-1.0, 1.0), **settings)
    torch.testing.assert_close((rescaled + 1) / 2, any_attack(model, x, y), rtol=0, atol=1e-6)


def test_pixels_at_the_ends_of_the_range_move(attack, cnn, digits):
    """With a change of variables to atanh(x) four fifths of a digit's pixels never would."""
    x, y = digits[0][:12], digits[1][:12]
    moved = ((attack(cnn, x, y) != x) & (x == 0)).flatten(1).any(1)
    assert torch.equal(moved, predicted(cnn, x) == y)


# -- what makes no difference


@pytest.mark.parametrize("form", ["log-probabilities", "minus 50", "plus 50"])
def test_a_constant_added_to_the_logits_changes_nothing(any_attack, model, right, form):
    x, y = right[0].double(), right[1]
    model.double().eval()
    forms = {
        "log-probabilities": lambda x: model(x).log_softmax(1),
        "minus 50": lambda x: model(x) - 50,
        "plus 50": lambda x: model(x) + 50,
    }
    torch.testing.assert_close(any_attack(forms[form], x, y), any_attack(model, x, y), rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [0.01, 100])
def test_scaled_logits_are_fooled_all_the_same(attack, cnn, digits, factor):
    x, y = digits[0][:12], digits[1][:12]
    x_adv = attack(lambda x: factor * cnn(x), x, y)
    assert (predicted(cnn, x_adv) != y).all()
    if attack is ATTACKS["carlini_wagner"]:  # lambda scales with them
        torch.testing.assert_close(distance(x_adv, x), distance(attack(cnn, x, y), x), rtol=0.02, atol=1e-3)


def test_a_model_that_looks_several_times_is_fooled_each_time(attack, model, right):
    x, y = right
    model.eval()

    def looks(x):
        return torch.stack([model(x), model(0.95 * x), model(x.clamp_max(0.9))], dim=1)

    same = (looks(x).argmax(2) == y[:, None]).all(1)
    x, y = x[same], y[same]
    assert (looks(attack(looks, x, y)).argmax(2) != y[:, None]).all()


# -- what they leave as it was


def state_of(model):
    return [
        *([module.training] for module in model.modules()),
        *([p.requires_grad, None if p.grad is None else p.grad.tolist()] for p in model.parameters()),
        *(value.tolist() for value in model.state_dict().values()),
    ]


def test_the_model_is_left_as_it_was(any_attack, model, batch):
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    before = state_of(model)
    any_attack(model, *batch)
    assert state_of(model) == before


def test_the_model_is_left_as_it_was_after_an_exception(any_attack, model, batch):
    calls = []

    def interrupt(module, inputs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    before = state_of(model)
    model.head.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        any_attack(model, *batch)
    assert state_of(model) == before


def test_the_model_is_attacked_in_eval_mode(any_attack, model, batch):
    modes = []
    model.register_forward_pre_hook(lambda module, _: modes.append(any(m.training for m in module.modules())))
    any_attack(model, *batch)
    assert modes
    assert not any(modes)


def test_the_callers_tensors_and_the_random_state_are_left_as_they_were(any_attack, model, batch):
    state = torch.random.get_rng_state()
    x, y = batch[0].clone().requires_grad_(), batch[1].clone()
    any_attack(model, x, y)
    any_attack(model, x * 1, y)  # not a leaf
    assert torch.equal(x, batch[0])
    assert torch.equal(y, batch[1])
    assert x.requires_grad
    assert x.grad is None
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_they_work_where_gradients_are_switched_off(any_attack, model, right, switched_off):
    expected = any_attack(model, *right)
    with switched_off():
        assert torch.equal(any_attack(model, right[0].clone(), right[1].clone()), expected)
        assert not torch.is_grad_enabled()


# -- any classifier, any device


def test_a_classifier_need_not_be_a_module(any_attack, model, right):
    expected = any_attack(model, *right)
    model.eval()
    assert torch.equal(any_attack(lambda x: model(x), *right), expected)


def test_a_compiled_model(model, right):
    compiled = torch.compile(model, backend="eager")
    expected = ddn(model, *right, steps=3)
    torch.testing.assert_close(ddn(compiled, *right, steps=3), expected, rtol=1e-3, atol=1e-3)


def test_mixed_precision(attack, model, right):
    def autocast(x):
        with torch.autocast("cpu", torch.bfloat16):
            return model.eval()(x)

    x_adv = attack(autocast, *right)
    assert x_adv.dtype == torch.float32
    with torch.no_grad():
        assert (autocast(x_adv).argmax(1) != right[1]).all()


@pytest.mark.parametrize("settings", [{}, {"target": 2}, {"bounds": (-math.inf, math.inf)}])
def test_nothing_leaves_the_device(any_attack, model, batch, settings):
    """The meta device holds no values: a tensor made elsewhere, an .item() or a wait for the device raises there."""
    x_adv = any_attack(model.to("meta"), batch[0].to("meta"), batch[1].to("meta"), steps=1, **settings)
    assert x_adv.device.type == "meta"


def test_on_another_device_the_result_is_as_close(attack, model, right, device):
    x, y = right
    expected = distance(attack(model, x, y), x)
    x_adv = attack(model.to(device), x.to(device), y.to(device))
    assert x_adv.device.type == device.type
    torch.testing.assert_close(distance(x_adv.cpu(), x), expected, rtol=0.05, atol=1e-3)


# -- what they do not take


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": 255 * torch.ones(2, 3)}, ValueError, "x must lie in bounds, 0 to 1; got 255 to 255"),
        ({"x": torch.full((2, 3), math.nan)}, ValueError, "x must lie in bounds.* got nan"),
        ({"x": torch.ones(2, 3).to(torch.uint8)}, TypeError, "x must be a floating tensor .* got torch.uint8"),
        ({"x": torch.ones(2)}, ValueError, r"x must be a batch .* got shape \(2,\)"),
        ({"y": torch.tensor([0.0, 1.0])}, TypeError, "y must be an int64 tensor .* got torch.float32"),
        ({"y": torch.tensor([0])}, ValueError, r"y must have one label per image, shape \(2,\); got \(1,\)"),
        ({"y": torch.tensor([0, 3])}, ValueError, "y must hold classes 0 to 2; got values from 0 to 3"),
        ({"target": 7}, ValueError, "target must hold classes 0 to 2; got values from 7 to 7"),
        ({"target": "cat"}, TypeError, "target must be a class .* got str"),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds must be \(lo, hi\) with lo < hi; got \(1.0, 0.0\)"),
        ({"bounds": 1.0}, ValueError, r"bounds must be \(lo, hi\) with lo < hi; got 1.0"),
        ({"steps": 0}, ValueError, "steps must be at least 1; got 0"),
        ({"steps": 2.0}, TypeError, "steps must be an int; got float"),
        ({"model": nn.Flatten(0)}, ValueError, r"model must return logits \(2, K\); got \(6,\)"),
        ({"model": lambda x: None}, ValueError, r"model must return logits \(2, K\); got NoneType"),
    ],
)
def test_wrong_arguments_are_named(any_attack, change, error, says):
    arguments = {"model": lambda x: x, "x": torch.full((2, 3), 0.5), "y": torch.tensor([0, 1])}
    with pytest.raises(error, match=says):
        any_attack(**{**arguments, **change})
