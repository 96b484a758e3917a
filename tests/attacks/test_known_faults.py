"""What well-known attack libraries get wrong, each fault with a test that ours do not share it.

Measured on or read in torchattacks, Foolbox, ART, cleverhans, advertorch, adv-lib, secml and the code of papers. Most
of these make a model look more robust than it is, without any error message.
"""

import math
from functools import partial

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.attacks import carlini_wagner, ddn, fgsm, input_gradient, pgd, random_search, strongest
from coursekit.evaluation import attack_report
from coursekit.losses import cross_entropy, margin
from coursekit.perturbations import LpBall, Masked
from coursekit.training.methods import trades_loss

LINF, L2, L1 = LpBall(0.15, math.inf), LpBall(1.5, 2), LpBall(10.0, 1)
from_x = partial(pgd, steps=10, random_start=False)
# Each as (model, x, y) -> x_adv, without chance.
BOUNDED = {
    "fgsm": partial(fgsm, threat=LINF),
    "pgd L-inf": partial(from_x, threat=LINF),
    "pgd L2": partial(from_x, threat=L2),
    "pgd L1": partial(from_x, threat=L1),
    "pgd margin": partial(from_x, threat=LINF, loss=margin),
    "strongest": partial(strongest, threat=LINF, steps=10, restarts=1),
}
ATTACKS = BOUNDED | {"carlini_wagner": partial(carlini_wagner, search_steps=8, starts=2), "ddn": partial(ddn, steps=20)}


@pytest.fixture(params=ATTACKS)
def attack(request):
    return ATTACKS[request.param]


@pytest.fixture
def few(cnn, digits):
    """Twenty digits that the standard classifier gets right."""
    with torch.no_grad():
        right = cnn(digits[0]).argmax(1) == digits[1]
    return digits[0][right][:20], digits[1][right][:20]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fooled(model, x, y):
    with torch.no_grad():
        return model(x).argmax(1) != y


def success(attack, model, x, y):
    """How many images the attack fools."""
    return fooled(model, attack(model, x, y), y).sum()


# "Carlini-Wagner margin assumes positive logits: 0 % success when the model returns log-probabilities" (torchattacks)


def test_log_probabilities_are_logits_too(attack, cnn, few):
    assert success(attack, nn.Sequential(cnn, nn.LogSoftmax(1)), *few) >= success(attack, cnn, *few) - 1


def test_a_constant_added_to_the_logits_changes_nothing(attack, cnn, few):
    assert success(attack, lambda x: cnn(x) - 100, *few) >= success(attack, cnn, *few) - 1


# "atanh at exactly 0 or 1: 82 % of MNIST pixels never move" (torchattacks)


def test_pixels_at_exactly_0_and_1_move(attack, cnn, few):
    x, y = few
    moved = attack(cnn, x, y) != x
    assert moved[x == 0].any()
    assert moved[x == 1].any()


def test_nearly_all_of_them_where_the_set_lets_them(cnn, few):
    x, y = few
    moved = from_x(cnn, x, y, LINF, early_stop=False) != x
    assert moved[(x == 0) | (x == 1)].float().mean() > 0.3  # the others have a gradient that points outwards


# "logits x 100 is the same classifier, yet every library's cross-entropy PGD drops from 99.5 % to 2 % success" (all)


@pytest.mark.parametrize("attack", ["pgd margin", "strongest", "carlini_wagner", "ddn"])
@pytest.mark.parametrize("factor", [1e-6, 100.0])
def test_scaled_logits_are_survived(attack, factor, cnn, few):
    attack = ATTACKS[attack]
    assert success(attack, lambda x: factor * cnn(x), *few) >= success(attack, cnn, *few) - 1


def test_scaled_logits_are_noticed_by_the_report(cnn, few):
    settings = {"steps": 5, "restarts": 1, "generator": seeded()}
    assert any("saturated" in doubt for doubt in attack_report(lambda x: 100 * cnn(x), *few, LINF, **settings).doubts)
    assert not any("saturated" in doubt for doubt in attack_report(cnn, *few, LINF, **settings).doubts)


# "mean-reduced loss plus an additive constant: L2 PGD success 87 % at batch 1, 66 % at batch 1,000" (cleverhans)


def test_the_result_does_not_depend_on_the_batch(attack, cnn, few):
    """In float64, so that the order of additions, which does depend on it, does not show."""
    x, y = few[0][:6].double(), few[1][:6]
    cnn.double()
    together = attack(cnn, x, y)
    alone = torch.cat([attack(cnn, x[i : i + 1], y[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


def test_tiny_gradients_are_normalised_all_the_same(cnn, few):
    """A constant added to the norm would swallow them."""
    x, y = few
    small = from_x(lambda x: 1e-20 * cnn(x), x, y, L2, loss=margin)
    torch.testing.assert_close(small, from_x(cnn, x, y, L2, loss=margin), rtol=0, atol=1e-3)


# "L1 'PGD' that barely attacks: robust accuracy 0.93 / 0.75 / 0.41 / 0.26 at eps 10, by library"


@pytest.mark.parametrize("attack", [partial(pgd, steps=40), partial(strongest, steps=20, restarts=1)])
def test_l1_leaves_no_more_standing_than_the_best_of_them(attack, cnn):
    x, y = (part[:100] for part in data.load("mnist", "test")[:2])
    x_adv = attack(cnn, x, y, L1, generator=seeded())
    assert L1.contains(x_adv, x).all()
    assert (~fooled(cnn, x_adv, y)).float().mean() <= 0.26


# "a 'projection' that moves interior points to the surface" (adv-lib FMN)


@pytest.mark.parametrize(
    "threat", [LINF, L2, L1, Masked(LINF, torch.ones(28, 28, dtype=torch.bool))], ids=["L-inf", "L2", "L1", "mask"]
)
def test_a_point_inside_is_its_own_projection(threat, few):
    x = few[0]
    inside = x + 0.5 * (threat.sample(x, generator=seeded()) - x)
    assert torch.equal(threat.project(inside, x), inside)
    assert torch.equal(threat.project(x, x), x)


# "BatchNorm statistics altered when the model is handed over in train mode; mode not restored" (Foolbox, cleverhans,
# advertorch, adv-lib, secml; ART); "parameter .grad polluted" (Foolbox, ART, cleverhans, advertorch, secml,
# torchattacks); "inner-loop gradient never zeroed" (fast_adversarial)


@pytest.mark.parametrize("attack", [*ATTACKS, "random search"])
def test_a_model_in_train_mode_is_left_as_it_was(attack):
    attack = ATTACKS.get(attack, partial(random_search, threat=LINF, queries=5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).train()
        x, y = torch.rand(6, 1, 4, 4), torch.randint(0, 3, (6,))
    model[1].weight.grad = torch.ones(8, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x.requires_grad_()
    attack(model, x, y)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[1].weight.grad, torch.ones(8, 16))
    assert all(parameter.grad is None for parameter in list(model.parameters())[1:])
    assert x.grad is None


# "NaN in the KL loss" (TRADES on recent torch)


@pytest.mark.parametrize("factor", [0.0, 1.0, 1e6])
def test_trades_has_no_nan(factor, cnn, few):
    x, y = few
    loss = trades_loss(lambda x: factor * cnn(x), x, x, y, 6.0)  # at x itself, where both distributions are the same
    gradients = torch.autograd.grad(loss.sum(), list(cnn.parameters()))
    assert loss.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


# "expectation over transformations averages logits instead of losses" (Foolbox wrapper)


def test_several_looks_average_the_losses(cnn, few):
    x, y = few

    def looks(x):
        return torch.stack([cnn(x), 10 * cnn(x.roll(2, dims=-1))], dim=1)

    trace = []
    pgd(looks, x, y, LINF, steps=1, random_start=False, early_stop=False, trace=trace)
    both = looks(x).detach()
    mean_of_losses = (cross_entropy(both[:, 0], y) + cross_entropy(both[:, 1], y)) / 2
    torch.testing.assert_close(trace[0].loss, mean_of_losses)
    assert not torch.allclose(mean_of_losses, cross_entropy(both.mean(1), y), atol=1e-3)


# "no `generator`; seeds from the clock" (all; AutoAttack); one eps for all


@pytest.mark.parametrize(
    "attack",
    [
        partial(pgd, steps=3), partial(strongest, steps=3, restarts=2), partial(random_search, queries=5),
        partial(pgd, steps=3, threat=L1),
    ],
)  # fmt: skip
def test_a_generator_decides_everything_that_is_random(attack, cnn, few):
    x, y = few
    attack = partial(attack, **{"threat": LpBall(0.02, math.inf)} | attack.keywords)
    state = torch.random.get_rng_state()
    first, second, other = (attack(cnn, x, y, generator=seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("p", [1, 2, math.inf])
@pytest.mark.parametrize("attack", [fgsm, partial(pgd, steps=3), partial(strongest, steps=3, restarts=1)])
def test_every_image_may_have_an_eps_of_its_own(attack, p, cnn, few):
    x, y = few[0][:6], few[1][:6]
    threat = LpBall(torch.linspace(0, 0.3, 6), p)
    x_adv = attack(cnn, x, y, threat)
    assert threat.contains(x_adv, x).all()
    assert torch.equal(x_adv[0], x[0])
    assert not torch.equal(x_adv[5], x[5])


# "linear model, eps 0.05: exact robust accuracy 0.5500, every cross-entropy PGD reports 0.565 to 0.567" (all)


def exactly_robust(weight, z, x, y, eps):
    """Which images of a linear classifier no point of the box and ball fools: the worst corner for every class."""
    low, high = (x - eps).clamp_min(0) - x, (x + eps).clamp_max(1) - x
    robust = torch.ones(len(x), dtype=torch.bool)
    for other in range(len(weight)):
        slope = weight[other] - weight[y]
        worst = z[:, other] - z.gather(1, y[:, None])[:, 0] + torch.where(slope > 0, slope * high, slope * low).sum(1)
        robust &= (worst < 0) | (other == y)
    return robust


def test_the_margin_finds_the_closed_form_of_a_linear_model():
    model = models.load("mnist_linear")
    x, y = (part[:300] for part in data.load("mnist", "test")[:2])
    weight = model[2].weight.detach() / model[0].std
    exact = exactly_robust(weight, model(x).detach(), x.flatten(1), y, 0.05)
    threat = LpBall(0.05, math.inf)
    by_margin = pgd(model, x, y, threat, steps=20, loss=margin, random_start=False)
    assert (fooled(model, by_margin, y) <= ~exact).all(), "no attack may fool what is proven robust"
    assert (~fooled(model, by_margin, y)).sum() - exact.sum() <= 3
    assert torch.equal(
        ~fooled(model, strongest(model, x, y, threat, steps=20, restarts=5, generator=seeded()), y), exact
    )


def test_the_report_shows_the_gap():
    """Ten classes in thirty dimensions: cross-entropy leaves 56 standing, 44 are robust."""
    weight, x = torch.randn(10, 30, generator=seeded()), torch.rand(300, 30, generator=seeded(1))

    def model(x):
        return x @ weight.T

    y = model(x).argmax(1)
    exact = exactly_robust(weight, model(x), x, y, 0.08)
    result = attack_report(model, x, y, LpBall(0.08, math.inf), steps=20, generator=seeded())
    by_cross_entropy, by_margin = (~result.fooled[name] for name in ("PGD", "PGD with the margin loss"))
    assert exact.sum() <= by_margin.sum() < by_cross_entropy.sum()
    assert any("fooled by PGD with the margin loss" in doubt for doubt in result.doubts)


# Gradients of the sum, not of the mean: what every one of the above rests on


def test_an_images_gradient_is_its_own(cnn, few):
    x, y = few
    together = input_gradient(cnn.double(), x.double(), y)
    alone = torch.cat([input_gradient(cnn, x[i : i + 1].double(), y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone)
