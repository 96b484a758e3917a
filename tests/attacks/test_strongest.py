import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import models
from coursekit.attacks import fgsm, pgd, random_search, strongest
from coursekit.evaluation import counting
from coursekit.losses import cross_entropy, margin
from coursekit.perturbations import LpBall, Masked, Rotation

quick = partial(strongest, steps=3, restarts=2)
ALL = {
    "strongest": quick, "strongest to the end": partial(quick, early_stop=False),
    "random search": partial(random_search, queries=6),
}  # fmt: skip
LINF, SMALL = LpBall(0.1, math.inf), LpBall(0.5, 2)


@pytest.fixture(params=ALL)
def attack(request):
    return ALL[request.param]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fooled(model, x, y):
    with torch.no_grad():
        return model(x).argmax(1) != y


def lead(model, x, y):
    with torch.no_grad():
        return margin(model(x), y)


# -- how strong it is


def test_no_run_of_it_alone_finds_more(digits):
    x, y = (part[:40] for part in digits)
    robust = models.load("mnist_cnn", "pgd", 0.1)
    threat = LpBall(0.15, math.inf)
    together = fooled(robust, strongest(robust, x, y, threat, steps=20, restarts=1), y)
    for loss in (cross_entropy, margin):
        alone = pgd(robust, x, y, threat, steps=20, loss=loss, generator=seeded())
        assert together.sum() >= fooled(robust, alone, y).sum()
    assert 0 < together.sum() < 40


@pytest.mark.parametrize("change", [lambda z: 100 * z, lambda z: 1e6 * z, lambda z: 1e-30 * z, lambda z: z + 1000])
def test_scale_and_shift_of_the_logits_do_not_matter(cnn, digits, change):
    x, y = (part[:30] for part in digits)
    plain = fooled(cnn, strongest(cnn, x, y, LINF, steps=10, restarts=1), y)
    x_adv = strongest(lambda x: change(cnn(x)), x, y, LINF, steps=10, restarts=1)
    assert (fooled(cnn, x_adv, y).int() - plain.int()).sum().abs() <= 1
    assert plain.sum() > 10


@given(seed=st.integers(0, 1000))
@settings(max_examples=3, deadline=None)
def test_on_a_linear_classifier_it_finds_the_closed_form(seed):
    """Towards each other class the worst point is a corner of the box, and every other class gets its round."""
    weight, x = torch.randn(5, 20, generator=seeded(seed)).double(), torch.rand(40, 20, generator=seeded(seed)).double()
    z, y = x @ weight.T, (x @ weight.T).argmax(1)
    low, high = (x - 0.08).clamp_min(0) - x, (x + 0.08).clamp_max(1) - x
    robust = torch.ones(40, dtype=torch.bool)
    for other in range(5):
        slope = weight[other] - weight[y]
        worst = z[:, other] - z.gather(1, y[:, None])[:, 0] + torch.where(slope > 0, slope * high, slope * low).sum(1)
        robust &= (worst < 0) | (other == y)
    x_adv = strongest(lambda x: x @ weight.T, x, y, LpBall(0.08, math.inf), steps=30, restarts=4, generator=seeded())
    assert torch.equal(fooled(lambda x: x @ weight.T, x_adv, y), ~robust)


def test_more_rounds_never_lose_anything(digits):
    x, y = (part[:25] for part in digits)
    robust = models.load("mnist_cnn", "pgd", 0.1)
    threat = LpBall(0.15, math.inf)
    few, many = (strongest(robust, x, y, threat, steps=8, restarts=r, generator=seeded()) for r in (1, 3))
    assert (fooled(robust, many, y) >= fooled(robust, few, y)).all()
    assert (fooled(robust, many, y) | (lead(robust, many, y) >= lead(robust, few, y))).all()


@pytest.mark.parametrize("early_stop", [True, False])
def test_no_image_is_worse_for_the_attacker_than_before(model, batch, threat, early_stop):
    x, y = batch
    x_adv = quick(model, x, y, threat, early_stop=early_stop)
    model.eval()
    assert (lead(model, x_adv, y) >= lead(model, x, y)).all()


def test_without_early_stopping_the_margin_keeps_growing(cnn, digits):
    x, y = (part[:40] for part in digits)
    stopped, full = (quick(cnn, x, y, LINF, early_stop=stop, generator=seeded()) for stop in (True, False))
    assert lead(cnn, full, y).mean() > lead(cnn, stopped, y).mean() + 1


# -- what it costs


def test_only_images_still_standing_cost_anything(cnn, digits):
    x, y = (part[:12] for part in digits)
    x, y = x[~fooled(cnn, x, y)], y[~fooled(cnn, x, y)]
    easy, hard = counting(cnn), counting(cnn)
    strongest(easy, x, y, LpBall(0.5, math.inf), steps=20, restarts=3)
    strongest(hard, x, y, LpBall(1e-4, math.inf), steps=20, restarts=3)
    assert easy.gradients < 0.5 * 20 * len(x)
    assert hard.gradients == 3 * 3 * 20 * len(x)
    alone = counting(cnn)
    strongest(alone, x[:0], y[:0], LINF)
    assert alone.forward_passes == 0


def test_the_first_round_leaves_nothing_to_chance(cnn, digits):
    x, y = (part[:20] for part in digits)
    first, second = (strongest(cnn, x, y, LINF, steps=5, restarts=1, generator=seeded(seed)) for seed in (0, 1))
    assert torch.equal(first, second)


# -- any set, any classifier


def test_other_sets(attack, cnn, digits):
    x, y = (part[:4] for part in digits)
    for threat in (
        Masked(LpBall(1.0, math.inf), torch.arange(784).view(1, 28, 28) % 3 == 0), Rotation(20.0, 2.0),
        LpBall(torch.linspace(0, 0.2, 4), math.inf), LpBall(torch.linspace(0, 3, 4), 2),
    ):  # fmt: skip
        x_adv = attack(cnn, x, y, threat, generator=seeded())
        assert threat.contains(x_adv, x).all()
        assert (lead(cnn, x_adv, y) >= lead(cnn, x, y)).all()
        assert lead(cnn, x_adv, y).mean() > lead(cnn, x, y).mean()


def test_a_model_that_looks_several_times_is_fooled_each_time(cnn, digits):
    x, y = (part[:20] for part in digits)

    def views(x):
        return torch.stack([cnn(x), cnn(x.roll(1, dims=-1))], dim=1)

    x_adv = strongest(views, x, y, LpBall(0.3, math.inf), steps=20, restarts=1)
    assert (views(x_adv).argmax(-1) != y[:, None]).all(1).float().mean() > 0.9


def test_two_classes(attack):
    model = models.load("moons_mlp")
    x = torch.rand(20, 2, generator=seeded())
    y, threat = model(x).argmax(1), LpBall(0.3, 2)
    assert threat.contains(attack(model, x, y, threat, generator=seeded()), x).all()


# -- the promises of every attack: see test_contract.py


def test_the_result_is_a_new_detached_image_inside_the_set(attack, threat, model, batch):
    x, y = batch
    x_adv = attack(model, x, y, threat)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert not x_adv.requires_grad
    assert x_adv.data_ptr() != x.data_ptr()
    assert threat.contains(x_adv, x).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(attack, model, right, dtype):
    x, y = right[0].to(dtype), right[1]
    x_adv = attack(model.to(dtype), x, y, SMALL)
    assert x_adv.dtype == dtype
    assert SMALL.contains(x_adv, x).all()


def test_shapes_and_layouts(attack, model, right):
    x, y = right
    assert attack(model, x[:0], y[:0], SMALL).shape == (0, 2, 5, 5)
    expected = attack(model, x[:1], y[:1], SMALL, generator=seeded())[0]
    assert torch.equal(attack(model, x[0], y[0], SMALL, generator=seeded()), expected)
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    expected = attack(model, x, y, SMALL, generator=seeded())
    torch.testing.assert_close(attack(model, strided, y, SMALL, generator=seeded()), expected, rtol=1e-4, atol=1e-4)


def test_an_image_does_not_depend_on_its_batch(threat, model, batch):
    """In the first round, which is not random; later starts are drawn for all images that are still standing."""
    model.double()
    x, y = batch[0].double(), batch[1]
    together = strongest(model, x, y, threat, steps=5, restarts=1)
    for i in range(len(x)):
        alone = strongest(model, x[i : i + 1], y[i : i + 1], threat, steps=5, restarts=1)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-9)


def test_a_zero_gradient_makes_no_nan(attack, batch):
    x, y = batch
    for model in (lambda x: 0 * x.flatten(1)[:, :4], lambda x: torch.zeros(len(x), 4)):
        assert SMALL.contains(attack(model, x, y, SMALL), x).all()


def test_everything_is_left_as_it_was(attack, model, batch):
    x, y = batch[0].clone().requires_grad_(), batch[1].clone()
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random_state = torch.random.get_rng_state()
    first, second = (attack(model, x, y, SMALL, generator=seeded(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    for i, parameter in enumerate(model.parameters()):
        assert parameter.grad is None if i % 2 else (parameter.grad == 1).all()
    assert x.grad is None
    assert torch.equal(x, batch[0])
    assert torch.equal(y, batch[1])


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(attack, model, right, switched_off):
    x, y = right
    expected = attack(model, x, y, SMALL, generator=seeded())
    with switched_off():
        assert torch.equal(attack(model, x.clone(), y.clone(), SMALL, generator=seeded()), expected)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["strongest to the end", "random search"])
def test_nothing_leaves_the_device(name, model, batch):
    x, y = (part.to("meta") for part in batch)
    short = {"steps": 2, "restarts": 1} if name == "strongest to the end" else {"queries": 2}
    assert ALL[name](model.to("meta"), x, y, SMALL, generator=seeded(), **short).device == x.device


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": torch.full((2, 3), 2.0)}, ValueError, "x must lie in the threat's bounds"),
        ({"y": torch.tensor([0, 3])}, ValueError, "y must hold classes 0 to 2; got values from 0 to 3"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set"),
        ({"model": nn.Flatten(0)}, ValueError, r"model must return logits \(2, K\); got \(6,\)"),
    ],
)
def test_wrong_arguments_are_named(attack, change, error, says):
    arguments = {"model": lambda x: x, "x": torch.full((2, 3), 0.5), "y": torch.tensor([0, 1]), "threat": LINF}
    with pytest.raises(error, match=says):
        attack(**arguments | change)


@pytest.mark.parametrize(
    ("attack", "settings", "says"),
    [
        (strongest, {"steps": 0}, "steps must be at least 1; got 0"),
        (strongest, {"restarts": 0}, "restarts must be at least 1; got 0"),
        (random_search, {"queries": 0}, "queries must be at least 1; got 0"),
    ],
)
def test_wrong_settings_are_named(attack, settings, says):
    with pytest.raises(ValueError, match=says):
        attack(lambda x: x, torch.full((2, 3), 0.5), torch.tensor([0, 1]), LINF, **settings)


# -- random search


def test_random_search_needs_no_gradient(cnn, digits):
    x, y = (part[:40] for part in digits)

    def shattered(x):
        return cnn((x * 4).round() / 4)

    threat = LpBall(0.2, math.inf)
    by_search = fooled(shattered, random_search(shattered, x, y, threat, generator=seeded()), y)
    assert by_search.sum() > fooled(shattered, pgd(shattered, x, y, threat, steps=10, generator=seeded()), y).sum() + 20
    assert torch.equal(fgsm(shattered, x, y, threat), x)
