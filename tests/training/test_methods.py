import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coursekit import data, models
from coursekit.attacks import input_gradient, pgd
from coursekit.perturbations import LpBall, Masked, Rotation
from coursekit.training import METHODS, adversarial_fit, certified_fit, fit, ramp
from coursekit.training.methods import (
    climb,
    disagree,
    divergence,
    fast,
    free_steps,
    scaled,
    trades_loss,
    without_range,
)

THREAT = LpBall(0.08, math.inf)


@pytest.mark.parametrize("method", METHODS)
def test_adversarial_training_makes_it_more_robust(method, fresh, seeded, moons):
    test = data.load("moons", "test")
    standard = fit(fresh(), *moons, generator=seeded(), epochs=10, progress=False)
    robust = adversarial_fit(
        fresh(), *moons, THREAT, method=method, steps=4, epochs=10, generator=seeded(), progress=False
    )  # fmt: skip
    kept = [
        (model(pgd(model, test.x, test.y, THREAT, generator=seeded())).argmax(1) == test.y).float().mean()
        for model in (standard, robust)
    ]
    assert kept[1] > kept[0] + 0.01


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_takes_the_passes_it_is_said_to(method, steps, fresh, moons):
    model, passes, updates = fresh(), [], []
    model.register_forward_hook(lambda *_: passes.append(1))
    model[-1].weight.register_post_accumulate_grad_hook(lambda _: updates.append(1))
    x, y = moons[0][:30], moons[1][:30]
    adversarial_fit(model, x, y, THREAT, method=method, steps=steps, epochs=1, batch_size=10, progress=False)
    forward = {"fgsm": 2, "fast": 2, "free": steps, "pgd": steps + 1, "trades": steps + 3}  # trades looks at x twice
    assert len(passes) == 3 * forward[method]
    assert len(updates) == 3 * (steps if method == "free" else 1)


SEARCHES = {"climb": partial(climb, steps=3), "fast": fast, "disagree": partial(disagree, steps=3)}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("threat", [LpBall(0.2, math.inf), LpBall(0.3, 2), LpBall(0.4, 1)], ids=["Linf", "L2", "L1"])
def test_training_points_lie_in_the_set_and_the_model_is_left_alone(search, threat, with_dropout, moons, seeded):
    x, y = moons[0][:40], moons[1][:40]
    model = with_dropout().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = threat.sample(x, generator=seeded())
    x_adv = SEARCHES[search](model, x, y, threat=threat, start=start)
    assert threat.contains(x_adv, x).all()
    assert not x_adv.requires_grad
    assert not torch.equal(x_adv, start)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_fast_is_one_step_of_five_quarters_of_eps_from_the_start(fresh, moons, seeded):
    x, y = moons[0][:40], moons[1][:40]
    model = fresh().eval()
    start = THREAT.sample(x, generator=seeded())
    by_hand = start + 1.25 * 0.08 * input_gradient(model, start, y).sign()
    by_hand = by_hand.clamp(x - 0.08, x + 0.08).clamp(0, 1)
    torch.testing.assert_close(fast(model, x, y, THREAT, start), by_hand)


@pytest.mark.parametrize("mask", [None, torch.tensor([True, False])])
def test_fast_starts_anywhere_in_the_ball_and_trains_within_the_range(mask, fresh, seeded):
    """At the ends of the range, where a start inside it would always be on the same side of x."""
    x, y = torch.tensor([[0.0, 1.0]]).repeat(100, 1), torch.zeros(100, dtype=torch.int64)
    threat = THREAT if mask is None else Masked(THREAT, mask)
    start = without_range(threat).sample(x, generator=seeded())
    seen, model = [], fresh()
    model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].detach()))
    adversarial_fit(
        model, x, y, threat, method="fast", epochs=1, batch_size=100, generator=seeded(), progress=False
    )  # fmt: skip
    attacked, trained_on = seen
    assert (attacked - x).abs().max() <= 0.08 + 1e-6
    outside = [(attacked[:, 0] < 0).float().mean(), (attacked[:, 1] > 1).float().mean()]
    assert outside[0] == pytest.approx(0.5, abs=0.2)
    assert outside[1] == (0 if mask is not None else pytest.approx(0.5, abs=0.2))
    assert threat.contains(trained_on, x).all()
    assert (start < 0).any()
    assert without_range(Rotation(15.0, 2.0)) == Rotation(15.0, 2.0)


@pytest.mark.parametrize(
    ("threat", "says"),
    [
        (LpBall(torch.full((60,), 0.05), math.inf), "one radius for all images.*got 60 radii"),
        (Masked(LpBall(torch.full((60,), 0.05), 2), torch.ones(2, dtype=torch.bool)), "one radius for all images"),
        (Masked(THREAT, torch.ones(60, 2, dtype=torch.bool), per_image=True), "one mask for all images.*per_image"),
    ],
)
@pytest.mark.parametrize("train", [adversarial_fit, certified_fit])
def test_a_set_for_each_image_is_refused_because_batches_are_shuffled(train, threat, says, fresh, moons):
    with pytest.raises(ValueError, match=f"threat must have {says}"):
        train(fresh(), moons[0][:60], moons[1][:60], threat, progress=False)


def test_one_radius_may_be_a_tensor(fresh, moons, seeded, weights):
    trained = [
        adversarial_fit(
            fresh(), *moons, LpBall(eps, math.inf), steps=1, epochs=1, generator=seeded(), progress=False
        ) for eps in (0.25, torch.tensor(0.25))
    ]  # fmt: skip
    assert torch.equal(weights(trained[0]), weights(trained[1]))


@pytest.mark.parametrize("train", [partial(adversarial_fit, method=method) for method in METHODS] + [certified_fit])
def test_images_outside_the_range_of_the_threat_are_refused_before_anything_is_trained(train, fresh, moons, weights):
    model = fresh()
    for x in (255 * moons[0], moons[0] - 1, moons[0] * math.nan):
        with pytest.raises(ValueError, match="x must lie in the threat's bounds, 0 to 1; got"):
            train(model, x, moons[1], THREAT, progress=False)
    assert torch.equal(weights(model), weights(fresh()))


def test_the_climb_is_the_attacks_own(fresh, moons, seeded):
    """Where nothing is fooled and the loss rises all the way, the last point of PGD is its best."""
    x, y = moons[0][:40], moons[1][:40]
    model = fresh().eval()
    threat = LpBall(0.002, math.inf)
    start = threat.sample(x, generator=seeded())
    best = pgd(model, x, y, threat, steps=3, start=start, early_stop=False)
    torch.testing.assert_close(climb(model, x, y, threat, start, 3), best)


logits = st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6).map(lambda v: torch.tensor(v).view(2, 3))


@given(logits, logits)
def test_the_divergence_is_one_and_has_a_gradient_however_sure_the_model_is(these, others):
    these, others = these.requires_grad_(), others.requires_grad_()
    value = divergence(these, others)
    value.sum().backward()
    assert value.shape == (2,)
    assert (value >= -1e-4).all()
    assert value.isfinite().all()
    assert these.grad.isfinite().all()
    assert others.grad.isfinite().all()
    torch.testing.assert_close(divergence(these, these), torch.zeros(2))
    shifted = divergence(these.detach().double() + 3, others.detach().double() - 5)
    torch.testing.assert_close(shifted.float(), value.detach(), rtol=1e-3, atol=1e-2)


def test_trades_finds_disagreement_and_ignores_the_labels(fresh, moons, seeded):
    x, y = moons[0][:100], moons[1][:100]
    model = fit(fresh(), *moons, epochs=3, generator=seeded(), progress=False)
    start = THREAT.sample(x, generator=seeded())
    found = disagree(model, x, y, THREAT, start, 5)
    assert torch.equal(found, disagree(model, x, 1 - y, THREAT, start, 5))
    with torch.no_grad():
        random, worst = divergence(model(x), model(start)), divergence(model(x), model(found))
    assert (worst >= random - 1e-6).float().mean() > 0.95
    assert worst.mean() > 1.2 * random.mean()


def test_trades_without_beta_is_standard_training(fresh, moons, seeded, weights):
    generators = seeded(), seeded()
    standard = fit(fresh(), *moons, epochs=1, batch_size=len(moons[0]), generator=generators[0], progress=False)
    trades = adversarial_fit(
        fresh(), *moons, THREAT, method="trades", beta=0.0, steps=1, epochs=1, batch_size=len(moons[0]),
        generator=generators[1], progress=False,
    )  # fmt: skip
    torch.testing.assert_close(weights(trades), weights(standard))
    x, y = moons[0][:5], moons[1][:5]
    model = fresh()
    by_hand = nn.functional.cross_entropy(model(x), y, reduction="none")
    torch.testing.assert_close(trades_loss(model, x + 0.1, x, y, 0.0), by_hand)
    assert (trades_loss(model, x + 0.1, x, y, 2.0) > by_hand).all()


def test_free_trains_where_it_is_and_climbs_with_the_same_gradient(fresh, moons, seeded):
    """Each point is one step of eps from the last, uphill in the loss of the model as it was when it saw the last."""
    x, y = moons[0][:50].double(), moons[1][:50]
    model, points, slopes = fresh().double(), [], []

    def note(module, arguments):
        as_it_is = fresh().double()
        as_it_is.load_state_dict(model.state_dict())
        points.append(arguments[0].detach().clone())
        slopes.append(input_gradient(as_it_is, points[-1], y))

    model.register_forward_pre_hook(note)
    start = THREAT.sample(x, generator=seeded())
    free_steps(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y, THREAT, start, 4)
    torch.testing.assert_close(points[0], start)
    for here, slope, there in zip(points, slopes, points[1:], strict=False):
        torch.testing.assert_close(there, THREAT.project(here + 0.08 * slope.sign(), x))


@pytest.mark.parametrize("search", SEARCHES)
def test_nothing_of_the_methods_leaves_the_device(search):
    with torch.device("meta"):
        model = models.build("mnist_cnn")
        x, y = torch.empty(4, 1, 28, 28), torch.empty(4, dtype=torch.int64)
    assert SEARCHES[search](model, x, y, threat=THREAT, start=x.clone()).device == x.device
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert free_steps(model, optimizer, x, y, THREAT, x.clone(), 2).device == x.device


@pytest.mark.parametrize("method", METHODS)
def test_any_perturbation_set_can_be_trained_against(method, digits, fresh, seeded):
    x, y = digits[0][:20], digits[1][:20]
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[10:18] = True
    for threat in (Rotation(15.0, 2.0), Masked(LpBall(0.5, math.inf), mask)):
        history = []
        adversarial_fit(
            fresh("mnist_linear"), x, y, threat, method=method, steps=2, epochs=2, history=history,
            generator=seeded(), progress=False,
        )  # fmt: skip
        assert history[1].loss < history[0].loss


def test_the_radius_grows_as_scheduled_and_starts_from_the_clean_images(fresh, moons, seeded):
    seen = []
    x, y = moons[0][:60], moons[1][:60]
    model = fresh()
    model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].detach()))
    adversarial_fit(
        model, x, y, THREAT, method="pgd", steps=2, eps_schedule=ramp(0.5), epochs=4, batch_size=60,
        generator=seeded(), progress=False,
    )  # fmt: skip
    trained_on = seen[2::3]
    distances = [torch.cdist(points, x, p=math.inf).amin(1).max().item() for points in trained_on]
    assert distances[0] == 0
    assert distances[1] <= 0.04 + 1e-6
    assert max(distances) <= 0.08 + 1e-6
    assert scaled(LpBall(0.5, 2), 0.5) == LpBall(0.25, 2)
    assert scaled(Rotation(15.0, 2.0), 0.5) == Rotation(15.0, 2.0)


def test_validation_is_at_the_full_radius_with_the_same_random_numbers(fresh, moons, seeded):
    """A model that does not change keeps its robust accuracy, whatever the radius it is trained with."""
    x, y = moons
    history = []
    adversarial_fit(
        fresh(), x[:300], y[:300], THREAT, epochs=4, lr=1e-12, eps_schedule=ramp(0.9), history=history,
        validation=(x[300:], y[300:]), generator=seeded(), progress=False,
    )  # fmt: skip
    assert len({(row.clean, row.robust) for row in history}) == 1


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"method": "pdg"}, ValueError, "method must be one of 'fgsm', 'fast', 'free', 'pgd', 'trades'; got 'pdg'"),
        ({"steps": 0}, ValueError, "steps must be an int of at least 1; got 0"),
        ({"steps": 2.0}, ValueError, "steps must be an int of at least 1; got 2.0"),
        ({"beta": -1.0}, ValueError, "beta must be at least 0; got -1.0"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set such as .*got float"),
        ({"threat": Rotation(15.0, 2.0), "eps_schedule": ramp(0.5)}, ValueError, "eps_schedule is for .*Rotation"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
    ],
)
def test_bad_arguments_are_named(wrong, error, says, fresh, moons):
    with pytest.raises(error, match=says):
        adversarial_fit(fresh(), *moons, **{"threat": THREAT, "progress": False, **wrong})
