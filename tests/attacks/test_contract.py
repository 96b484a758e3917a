"""What every attack promises, whatever it does inside: see the design, "Contract of names"."""

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from coursekit import models
from coursekit.attacks import fgsm, pgd
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall


def evaluated(model, x, y):
    model.eval()
    with torch.no_grad():
        return cross_entropy(model(x), y)


# -- what it returns


def test_the_result_is_a_new_detached_image_inside_the_set(attack, threat, model, batch):
    x, y = batch
    x_adv = attack(model, x, y, threat)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert not x_adv.requires_grad
    assert x_adv.grad_fn is None
    assert x_adv.data_ptr() != x.data_ptr()
    assert threat.contains(x_adv, x).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(attack, threat, model, right, dtype):
    x, y = right[0].to(dtype), right[1]
    model.to(dtype)
    x_adv = attack(model, x, y, threat)
    assert x_adv.dtype == dtype
    assert threat.contains(x_adv, x).all()
    assert evaluated(model, x_adv, y).mean() > evaluated(model, x, y).mean()


def test_small_steps_are_not_lost_in_bfloat16(right, model):
    """0.1 / 250 is far below half a unit in the last place of a bfloat16 near 1."""
    x, y = right[0].bfloat16(), right[1]
    x_adv = pgd(
        model.bfloat16(), x, y, LpBall(0.1, math.inf), steps=250, step_size=4e-4, random_start=False, early_stop=False
    )
    assert ((x_adv - x).abs() > 0.05).float().mean() > 0.5


def test_layouts_that_are_not_contiguous(attack, threat, model, right):
    x, y = right
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.manual_seed(0)
    expected = attack(model, x, y, threat)
    torch.manual_seed(0)
    torch.testing.assert_close(attack(model, strided, y, threat), expected, rtol=1e-4, atol=1e-4)


def test_an_empty_batch(attack, threat, model, batch):
    x, y = batch
    assert attack(model, x[:0], y[:0], threat).shape == (0, 2, 5, 5)


def test_one_image_without_a_batch_dimension(attack, threat, model, right):
    x, y = right
    torch.manual_seed(0)
    expected = attack(model, x[:1], y[:1], threat)[0]
    torch.manual_seed(0)
    assert torch.equal(attack(model, x[0], y[0], threat), expected)


def test_points_in_the_plane(attack, threat):
    model = models.load("moons_mlp")
    x = torch.rand(10, 2)
    assert threat.contains(attack(model, x, model(x).argmax(1), threat), x).all()


def test_an_image_does_not_depend_on_its_batch(attack, threat, model, batch):
    model.double()
    x, y = batch[0].double(), batch[1]
    settings = {} if attack is fgsm else {"random_start": False}
    together = attack(model, x, y, threat, **settings)
    for i in range(len(x)):
        alone = attack(model, x[i : i + 1], y[i : i + 1], threat, **settings)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-9)


def test_each_image_may_have_its_own_eps(attack, model, right):
    x, y = right
    eps = torch.linspace(0, 0.2, len(x))
    for p in (1, 2, math.inf):
        x_adv = attack(model, x, y, LpBall(eps, p))
        assert LpBall(eps, p).contains(x_adv, x).all()
        assert torch.equal(x_adv[0], x[0])
        assert not torch.equal(x_adv[-1], x[-1])


def test_a_zero_gradient_moves_nothing_and_makes_no_nan(threat, batch):
    x, y = batch
    for model in (lambda x: 0 * x.flatten(1)[:, :4], lambda x: torch.zeros(len(x), 4)):
        assert torch.equal(fgsm(model, x, y, threat), x)
        assert torch.equal(pgd(model, x, y, threat, steps=3, random_start=False), x)
        assert threat.contains(pgd(model, x, y, threat, steps=3), x).all()


def test_an_unused_input_is_a_zero_gradient_too(threat, batch):
    x, y = batch
    bias = torch.zeros(4, requires_grad=True)
    assert torch.equal(fgsm(lambda x: bias.expand(len(x), 4), x, y, threat), x)


def test_targeted_attacks_go_towards_the_target(attack, threat, model, right):
    x, y = right
    target = (y + 1) % 4
    x_adv = attack(model, x, y, threat, target=target)
    assert threat.contains(x_adv, x).all()
    assert (evaluated(model, x_adv, target) <= evaluated(model, x, target) + 1e-6).all()
    torch.manual_seed(0)
    by_number = attack(model, x, y, threat, target=2)
    torch.manual_seed(0)
    assert torch.equal(by_number, attack(model, x, y, threat, target=torch.full_like(y, 2)))


# -- what it leaves as it was


def state_of(model):
    return (
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
        [value.clone() for value in model.state_dict().values()],
    )


def assert_same_state(before, after):
    assert before[:2] == after[:2]
    for first, second in zip(before[2] + before[3], after[2] + after[3], strict=True):
        assert first is second is None or torch.equal(first, second)


def test_the_model_is_left_as_it_was(attack, threat, model, batch):
    x, y = batch
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    before = state_of(model)
    attack(model, x, y, threat)
    assert_same_state(before, state_of(model))


def test_the_model_is_left_as_it_was_after_an_exception(attack, threat, model, batch):
    x, y = batch
    calls = []

    def interrupt(module, inputs):
        calls.append(1)
        if len(calls) == (1 if attack is fgsm else 3):
            raise KeyboardInterrupt

    before = state_of(model)
    model.head.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        attack(model, x, y, threat)
    assert_same_state(before, state_of(model))


def test_the_model_is_attacked_in_eval_mode(attack, threat, model, batch):
    modes = []
    model.register_forward_pre_hook(lambda module, _: modes.append([m.training for m in module.modules()]))
    attack(model, *batch, threat)
    assert modes
    assert not any(any(mode) for mode in modes)


def test_the_callers_tensors_are_left_as_they_were(attack, threat, model, batch):
    x, y = batch[0].clone().requires_grad_(), batch[1].clone()
    attack(model, x, y, threat)
    assert torch.equal(x, batch[0])
    assert torch.equal(y, batch[1])
    assert x.requires_grad
    assert x.grad is None
    attack(model, x * 1, y, threat)  # not a leaf
    assert x.grad is None


def test_the_global_random_state_is_left_alone_if_there_is_a_generator(threat, model, batch):
    state = torch.random.get_rng_state()
    first, second = (
        pgd(model, *batch, threat, steps=3, restarts=2, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    fgsm(model, *batch, threat)
    pgd(model, *batch, threat, steps=3, random_start=False)
    assert torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(attack, threat, model, right, switched_off):
    x, y = right
    torch.manual_seed(0)
    expected = attack(model, x, y, threat)
    with switched_off():
        torch.manual_seed(0)
        x_adv = attack(model, x.clone(), y.clone(), threat)
        assert not torch.is_grad_enabled()
        assert torch.equal(x_adv, expected)


# -- any classifier


def test_a_classifier_need_not_be_a_module(attack, threat, model, right):
    x, y = right
    model.eval()
    torch.manual_seed(0)
    expected = attack(model, x, y, threat)
    torch.manual_seed(0)
    assert torch.equal(attack(lambda x: model(x), x, y, threat), expected)


def test_mixed_precision(attack, threat, model, right):
    x, y = right

    def autocast(x):
        with torch.autocast("cpu", torch.bfloat16):
            return model.eval()(x)

    x_adv = attack(autocast, x, y, threat)
    assert x_adv.dtype == torch.float32
    assert threat.contains(x_adv, x).all()
    assert evaluated(model, x_adv, y).mean() > evaluated(model, x, y).mean()


@pytest.mark.slow
def test_a_compiled_model(model, right):
    x, y = right
    threat = LpBall(0.5, 2)
    compiled = torch.compile(model, backend="aot_eager")
    for attack, settings in ((fgsm, {}), (pgd, {"steps": 3, "random_start": False, "early_stop": False})):
        expected = attack(model, x, y, threat, **settings)
        torch.testing.assert_close(attack(compiled, x, y, threat, **settings), expected, rtol=1e-4, atol=1e-4)


# -- on any device


def meta(model, batch):
    return model.to("meta"), batch[0].to("meta"), batch[1].to("meta")


def test_nothing_leaves_the_device(threat, model, batch):
    """The meta device holds no values: a tensor made elsewhere, an .item() or a numpy round trip raises there."""
    model, x, y = meta(model, batch)
    assert fgsm(model, x, y, threat).device == x.device
    for settings in ({"restarts": 2}, {"generator": torch.Generator()}, {"random_start": False, "target": 2}):
        trace = []
        settings = {"steps": 2, "early_stop": False, "trace": trace, **settings}
        assert pgd(model, x, y, threat, **settings).device == x.device
        assert all(part.device == x.device for iterate in trace for part in iterate)


class Waits(TorchDispatchMode):
    """Counts the operations that make the host wait for a device."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "_to_copy_host")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket.__name__ in self.WAITING
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("steps", "restarts"), [(4, 1), (5, 1), (13, 2)])
def test_early_stopping_waits_at_most_once_in_four_steps(model, batch, steps, restarts):
    """Counted as the difference, because checking the arguments is free on the CPU and not done elsewhere."""
    threat = LpBall(1e-6, math.inf)  # fools nobody, so no step is saved
    model.eval()
    with torch.no_grad():
        x, y = batch[0], model(batch[0]).argmax(1)
    waits = {}
    for early_stop in (False, True):
        with Waits() as counter:
            pgd(model, x, y, threat, steps=steps, restarts=restarts, early_stop=early_stop)
        waits[early_stop] = counter.count
    assert waits[True] - waits[False] <= restarts * math.ceil(steps / 4)


def test_on_another_device_the_result_is_the_same(threat, model, right, device):
    x, y = right
    expected = pgd(model, x, y, threat, steps=3, generator=torch.Generator().manual_seed(0))
    model.to(device)
    x_adv = pgd(model, x.to(device), y.to(device), threat, steps=3, generator=torch.Generator().manual_seed(0))
    assert x_adv.device.type == device.type
    torch.testing.assert_close(x_adv.cpu(), expected, rtol=1e-3, atol=1e-3)


# -- what it does not take


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": 255 * torch.ones(2, 3)}, ValueError, "x must lie in the threat's bounds, 0 to 1; got 255 to 255"),
        ({"x": torch.full((2, 3), math.nan)}, ValueError, "x must lie in the threat's bounds.* got nan"),
        ({"x": torch.ones(2, 3).to(torch.uint8)}, TypeError, "x must be a floating tensor .* got torch.uint8"),
        ({"x": [[0.5] * 3] * 2}, TypeError, "x must be a floating tensor .* got list"),
        ({"x": torch.ones(2)}, ValueError, r"x must be a batch .* got shape \(2,\)"),
        ({"y": torch.tensor([0.0, 1.0])}, TypeError, "y must be an int64 tensor .* got torch.float32"),
        ({"y": torch.tensor([0])}, ValueError, r"y must have one label per image, shape \(2,\); got \(1,\)"),
        ({"y": torch.tensor([0, 3])}, ValueError, "y must hold classes 0 to 2; got values from 0 to 3"),
        ({"target": torch.tensor([0, 7])}, ValueError, "target must hold classes 0 to 2; got values from 0 to 7"),
        ({"target": 7}, ValueError, "target must hold classes 0 to 2; got values from 7 to 7"),
        ({"target": torch.tensor([0])}, ValueError, r"target must have one label per image"),
        ({"target": "cat"}, TypeError, "target must be a class .* got str"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set .* got float"),
        ({"threat": LpBall(torch.ones(3), 2)}, ValueError, r"eps must be .* \(2,\); got shape \(3,\)"),
        ({"model": nn.Flatten(0)}, ValueError, r"model must return logits \(2, K\); got \(6,\)"),
        ({"model": lambda x: None}, ValueError, r"model must return logits \(2, K\); got NoneType"),
    ],
)
def test_wrong_arguments_are_named(attack, change, error, says):
    arguments = {
        "model": lambda x: x, "x": torch.full((2, 3), 0.5), "y": torch.tensor([0, 1]), "threat": LpBall(0.1, math.inf),
    }  # fmt: skip
    arguments.update(change)
    with pytest.raises(error, match=says):
        attack(**arguments)
