import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import data, models
from coursekit.attacks import cosine, fgsm, input_gradient, pgd
from coursekit.losses import cross_entropy, margin
from coursekit.perturbations import LpBall

LINF = LpBall(0.1, math.inf)
WHOLE_SPACE = (-math.inf, math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_net(seed, classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, classes)).double()
    for parameter in net.parameters():
        parameter.data.mul_(3)
    return net


def fooled(model, x, y):
    with torch.no_grad():
        return model(x).argmax(1) != y


def loss_at(model, x, y, loss=cross_entropy):
    with torch.no_grad():
        return loss(model(x), y)


seeds = st.integers(0, 10_000)
threats = st.sampled_from([LpBall(eps, p) for eps in (0.05, 0.3, 2.0) for p in (1, 2, math.inf)])


# -- the formula


@pytest.mark.parametrize("early_stop", [True, False])
@given(seed=seeds, threat=threats)
@settings(max_examples=20, deadline=None)
def test_one_step_of_length_eps_from_x_is_fgsm(early_stop, seed, threat):
    """Whether it fools, helps or harms, and for images misclassified to begin with."""
    model, x = small_net(seed), torch.rand(6, 6, generator=seeded(seed), dtype=torch.float64)
    y = torch.randint(0, 3, (6,), generator=seeded(seed))
    for target in (None, 1):
        settings = {"steps": 1, "step_size": threat.eps, "random_start": False, "target": target}
        x_adv = pgd(model, x, y, threat, early_stop=early_stop, **settings)
        assert torch.equal(x_adv, fgsm(model, x, y, threat, target=target))


@pytest.mark.parametrize("p", [2, math.inf])
def test_it_takes_the_steps_of_the_slide(cnn, digits, p):
    """Written out without any of coursekit, for a range that never matters."""
    x, y = digits[0][:10] / 2 + 0.25, digits[1][:10]
    x_t, path = x.clone(), []
    for _ in range(6):
        path.append(x_t)
        x_t = x_t.clone().requires_grad_()
        nn.functional.cross_entropy(cnn(x_t), y, reduction="sum").backward()
        gradient = x_t.grad
        direction = gradient.sign() if p == math.inf else gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        delta = x_t.detach() + 0.05 * direction - x
        if p == math.inf:
            delta = delta.clamp(-0.1, 0.1)
        else:
            delta = delta * (0.1 / delta.flatten(1).norm(dim=1)).clamp_max(1).view(-1, 1, 1, 1)
        x_t = x + delta
    trace = []
    pgd(cnn, x, y, LpBall(0.1, p), steps=6, step_size=0.05, random_start=False, early_stop=False, trace=trace)
    for expected, iterate in zip([*path, x_t], trace, strict=True):
        torch.testing.assert_close(iterate.x, expected, rtol=0, atol=1e-5)


def test_it_starts_at_a_random_point_of_the_set(cnn, digits):
    x, y = digits
    trace = []
    pgd(cnn, x, y, LINF, steps=2, early_stop=False, generator=seeded(), trace=trace)
    assert torch.equal(trace[0].x, LINF.sample(x, generator=seeded()))


# -- the best of what it saw


@pytest.mark.parametrize("early_stop", [True, False])
@given(seed=seeds, threat=threats, steps=st.integers(2, 6), start=st.booleans())
@settings(max_examples=20, deadline=None)
def test_no_image_is_worse_for_the_attacker_than_before(early_stop, seed, threat, steps, start):
    model, x = small_net(seed), torch.rand(6, 6, generator=seeded(seed), dtype=torch.float64)
    y = torch.randint(0, 3, (6,), generator=seeded(seed))
    settings = {"steps": steps, "random_start": start, "early_stop": early_stop, "generator": seeded(seed)}
    x_adv = pgd(model, x, y, threat, **settings)
    assert threat.contains(x_adv, x).all()
    before, after = fooled(model, x, y), fooled(model, x_adv, y)
    assert (after >= before).all()
    no_less = loss_at(model, x_adv, y) >= loss_at(model, x, y) - 1e-12
    assert (no_less | (after & ~before)).all()


@pytest.mark.parametrize("early_stop", [True, False])
@given(seed=seeds, threat=threats)
@settings(max_examples=20, deadline=None)
def test_restarts_never_lose_anything(early_stop, seed, threat):
    model, x = small_net(seed), torch.rand(6, 6, generator=seeded(seed), dtype=torch.float64)
    with torch.no_grad():
        y = model(x).argmax(1)
    found = []
    for restarts in (1, 3):
        x_adv = pgd(
            model, x, y, threat, steps=3, restarts=restarts, early_stop=early_stop, generator=seeded(seed)
        )  # fmt: skip
        found.append((fooled(model, x_adv, y), loss_at(model, x_adv, y)))
    for (fooled_before, loss_before), (fooled_after, loss_after) in pairwise(found):
        assert (fooled_after >= fooled_before).all()
        assert ((loss_after >= loss_before - 1e-12) | (fooled_after & ~fooled_before)).all()


def test_restarts_find_what_one_start_misses(digits):
    x, y = digits
    robust = models.load("mnist_cnn", "pgd", 0.1)
    threat = LpBall(0.15, math.inf)
    few, many = (
        fooled(robust, pgd(robust, x, y, threat, steps=5, restarts=restarts, generator=seeded()), y).sum()
        for restarts in (1, 4)
    )
    assert many >= few
    assert many > 0


def test_without_early_stopping_the_loss_keeps_rising(cnn, digits):
    x, y = digits
    stopped, full = (
        loss_at(cnn, pgd(cnn, x, y, LINF, steps=20, early_stop=stop, generator=seeded()), y) for stop in (True, False)
    )
    assert full.mean() > stopped.mean() + 1
    assert (full >= stopped - 1e-5).all()


# -- early stopping


def test_early_stopping_returns_the_first_fooling_point_and_changes_nothing_else(cnn, digits):
    """Dropping images from the batch, and when it is looked, must not show in the result."""
    x, y = digits
    x, y = x[~fooled(cnn, x, y)], y[~fooled(cnn, x, y)]
    settings = {"steps": 11, "random_start": False}
    trace = []
    pgd(cnn, x, y, LINF, early_stop=False, trace=trace, **settings)
    x_adv = pgd(cnn, x, y, LINF, **settings)
    hits = torch.stack([iterate.logits.argmax(1) != y for iterate in trace])
    first = hits.int().argmax(0)
    assert hits.any(0).float().mean() > 0.3
    assert torch.equal(fooled(cnn, x_adv, y), hits.any(0))
    for i in hits.any(0).nonzero().flatten().tolist():
        torch.testing.assert_close(x_adv[i], trace[first[i]].x[i], rtol=0, atol=1e-4)


def test_images_misclassified_anyway_come_back_unchanged(cnn, digits):
    x, y = digits
    y = torch.where(torch.arange(100) % 2 == 0, (y + 1) % 10, y)
    wrong = fooled(cnn, x, y)
    assert wrong.sum() >= 50
    x_adv = pgd(cnn, x, y, LINF, steps=5)
    assert torch.equal(x_adv[wrong], x[wrong])
    assert not torch.equal(x_adv[~wrong], x[~wrong])
    assert (loss_at(cnn, pgd(cnn, x, y, LINF, steps=5, early_stop=False), y) >= loss_at(cnn, x, y) - 1e-6).all()


def test_fooled_images_cost_nothing_more(cnn, digits):
    x, y = digits
    seen = []
    cnn.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    pgd(cnn, x, y, LpBall(0.5, math.inf), steps=40)
    assert sum(seen) < 0.4 * 40 * len(x)
    assert seen == sorted(seen, reverse=True)


# -- the trace


def test_the_trace_has_every_step_with_its_logits_and_loss(cnn, digits):
    x, y = digits
    trace = []
    x_adv = pgd(cnn, x, y, LINF, steps=9, random_start=False, trace=trace)
    assert len(trace) == 10
    assert torch.equal(trace[0].x, x)
    for iterate in trace:
        assert iterate.x.shape == x.shape
        torch.testing.assert_close(iterate.logits, cnn(iterate.x).detach(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(iterate.loss, cross_entropy(iterate.logits, y), rtol=1e-4, atol=1e-4)
        assert LINF.contains(iterate.x, x).all()
        assert not iterate.logits.requires_grad
    assert torch.equal(trace[0].x, x)  # not overwritten by later steps
    won = fooled(cnn, x_adv, y)
    assert won.any()
    assert torch.equal(trace[-1].x[won], x_adv[won])


def test_the_trace_of_a_targeted_attack_has_the_loss_towards_the_target(cnn, digits):
    x, y = digits
    trace = []
    pgd(cnn, x[:1], y[:1], LpBall(0.3, math.inf), steps=20, random_start=False, target=3, early_stop=False, trace=trace)
    target = torch.tensor([3])
    torch.testing.assert_close(trace[-1].loss, cross_entropy(trace[-1].logits, target))
    assert trace[-1].loss < trace[0].loss


def test_a_trace_of_several_restarts_follows_one_after_another(cnn, digits):
    x, y = digits
    trace = []
    pgd(cnn, x, y, LINF, steps=3, restarts=2, early_stop=False, trace=trace)
    assert len(trace) == 2 * 4


# -- against what is known


@pytest.mark.parametrize(("p", "dual"), [(1, math.inf), (2, 2), (math.inf, 1)])
def test_it_finds_the_boundary_of_a_linear_classifier(p, dual):
    w = torch.randn(20, generator=seeded(), dtype=torch.float64)
    x = torch.randn(50, 20, generator=seeded(1), dtype=torch.float64)

    def model(x):
        return torch.stack([-x @ w, x @ w], dim=1)

    y, distance = (x @ w > 0).long(), (x @ w).abs() / torch.linalg.vector_norm(w, ord=dual)
    for factor, expected in ((0.999, False), (1.001, True)):
        # Short steps would come near the one best point of an L2 ball, but no nearer than a percent.
        eps = factor * distance
        x_adv = pgd(model, x, y, LpBall(eps, p, WHOLE_SPACE), steps=20, step_size=eps, generator=seeded())
        assert torch.equal(fooled(model, x_adv, y), torch.full((50,), expected))


def test_the_margin_finds_the_exact_robust_accuracy_of_softmax_regression():
    """For each wrong class the worst point of box and ball is known: every pixel as far as it goes."""
    model = models.load("mnist_linear")
    x, y, _ = data.load("mnist", "test")
    eps, weight = 0.03, model[2].weight.detach() / model[0].std
    low, high = (x - eps).clamp_min(0) - x, (x + eps).clamp_max(1) - x
    logits = model(x).detach()
    exact = torch.ones(len(x), dtype=torch.bool)
    for other in range(10):
        slope = (weight[other] - weight[y]).view_as(x)
        worst = logits[:, other] - logits.gather(1, y[:, None])[:, 0]
        worst = worst + torch.where(slope > 0, slope * high, slope * low).flatten(1).sum(1)
        exact &= (worst < 0) | (other == y)
    by_margin = ~fooled(model, pgd(model, x, y, LpBall(eps, math.inf), loss=margin, random_start=False), y)
    assert (by_margin >= exact).all(), "no attack may fool an image that is proven robust"
    assert by_margin.sum() - exact.sum() <= 2
    assert 0.3 < exact.float().mean() < 0.8


@pytest.mark.parametrize(
    ("threat", "at_most"), [(LpBall(0.1, math.inf), 0.45), (LpBall(1.5, 2), 0.45), (LpBall(10.0, 1), 0.26)]
)
def test_it_is_strong_in_every_norm(cnn, threat, at_most):
    """L1 at eps 10 is where other libraries leave 0.93 to 0.26 of the digits standing."""
    x, y = (part[:150] for part in data.load("mnist", "test")[:2])
    assert (~fooled(cnn, pgd(cnn, x, y, threat, steps=20, generator=seeded()), y)).float().mean() <= at_most


def test_the_margin_is_not_deceived_by_scaled_logits(cnn, digits):
    """Logits times 100 are the same classifier, but its cross-entropy is flat in floating point."""
    x, y = digits
    threat, settings = LpBall(0.2, math.inf), {"steps": 20, "random_start": False}

    def scaled(x):
        return 100 * cnn(x)

    plain = fooled(cnn, pgd(cnn, x, y, threat, loss=margin, **settings), y)
    assert torch.equal(plain, fooled(cnn, pgd(scaled, x, y, threat, loss=margin, **settings), y))
    assert plain.sum() > fooled(cnn, pgd(scaled, x, y, threat, **settings), y).sum() + 20


def test_an_unbounded_attacker_always_wins(cnn, digits):
    x, y = digits
    assert fooled(cnn, pgd(cnn, x, y, LpBall(1.0, math.inf), generator=seeded()), y).all()


# -- what it does not take


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1; got 0"),
        ({"steps": 2.0}, TypeError, "steps must be an int; got float"),
        ({"restarts": 0}, ValueError, "restarts must be at least 1; got 0"),
        ({"step_size": -0.1}, ValueError, "step_size must be finite and >= 0; got -0.1"),
        ({"step_size": "big"}, TypeError, "step_size must be a number .* got str"),
        ({"step_size": torch.ones(3)}, ValueError, r"step_size must be .* \(100,\); got shape \(3,\)"),
        ({"loss": lambda z, y: cross_entropy(z, y).mean()}, ValueError, r"loss must return one value per image"),
    ],
)
def test_wrong_settings_are_named(cnn, digits, settings, error, says):
    with pytest.raises(error, match=says):
        pgd(cnn, *digits, LINF, **settings)


def test_a_loss_of_ones_own_and_steps_of_ones_own_per_image(cnn, digits):
    x, y = digits
    x_adv = pgd(
        cnn, x, y, LINF, steps=10, step_size=torch.linspace(0.0, 0.05, 100), random_start=False, early_stop=False,
        loss=lambda logits, y: -logits.softmax(1).gather(1, y[:, None])[:, 0],
    )  # fmt: skip
    assert torch.equal(x_adv[0], x[0])
    assert (loss_at(cnn, x_adv, y) > loss_at(cnn, x, y)).float().mean() > 0.9


def test_a_schedule_gives_every_step_its_own_length(cnn, digits):
    x, y = digits[0][:5], digits[1][:5]
    lengths = [0.03, 0.02, 0.01, 0.02, 0.01]
    settings = {"steps": 5, "random_start": False, "early_stop": False}
    trace = []
    pgd(cnn, x, y, LpBall(0.5, math.inf), step_size=lambda t: lengths[t], trace=trace, **settings)
    for (before, after), length in zip(pairwise(trace), lengths, strict=True):
        assert (after.x - before.x).abs().max() == pytest.approx(length, abs=1e-6)
    constant = pgd(cnn, x, y, LINF, step_size=0.02, **settings)
    assert torch.equal(constant, pgd(cnn, x, y, LINF, step_size=lambda t: 0.02, **settings))
    own = torch.linspace(0.0, 0.04, 5)
    per_image = pgd(cnn, x, y, LINF, step_size=lambda t: own, **settings)
    assert torch.equal(per_image, pgd(cnn, x, y, LINF, step_size=own, **settings))


def test_cosine_steps_shrink_from_eta_to_nearly_nothing():
    lengths = [cosine(0.4, 50)(t) for t in range(50)]
    assert lengths[0] == 0.4
    assert all(after < before for before, after in pairwise(lengths))
    assert 0 < lengths[-1] < 0.001
    torch.testing.assert_close(cosine(torch.tensor([0.1, 0.2]), 10)(5), torch.tensor([0.05, 0.1]))


@pytest.mark.parametrize(
    ("step_size", "error"), [(lambda t: -0.1, ValueError), (lambda t: "big", TypeError), (lambda t: None, TypeError)]
)
def test_a_schedule_must_give_lengths(cnn, digits, step_size, error):
    with pytest.raises(error, match="step_size must be"):
        pgd(cnn, *digits, LINF, step_size=step_size)


# -- a model that looks several times


def test_looking_twice_in_the_same_way_changes_nothing(cnn, digits):
    x, y = digits

    def twice(x):
        return torch.stack([cnn(x), cnn(x)], dim=1)

    for how in ({}, {"early_stop": False}, {"target": 3}):
        once = pgd(cnn, x, y, LINF, steps=6, generator=seeded(), **how)
        torch.testing.assert_close(pgd(twice, x, y, LINF, steps=6, generator=seeded(), **how), once)


def test_the_losses_are_averaged_not_the_logits():
    """One look saturates: averaged logits follow its size, averaged losses the look that can still gain."""
    weights = torch.tensor([[100.0, 0.0], [0.0, 1.0]], dtype=torch.float64)

    def looks(x):
        scores = x @ weights.T  # (B, S): how much each look is for class 1
        return torch.stack([torch.zeros_like(scores), scores], dim=2)

    x, y = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([1])
    trace = []
    pgd(looks, x, y, LpBall(0.1, 2), steps=1, random_start=False, early_stop=False, trace=trace)
    expected = sum(cross_entropy(looks(x)[:, s], y) for s in range(2)) / 2
    torch.testing.assert_close(trace[0].loss, expected)
    moved = (trace[1].x - x).abs()[0]
    assert moved[1] > 100 * moved[0]


def test_fooled_means_at_every_look():
    def looks(x):
        return torch.stack([torch.cat([x, 0.45 + 0 * x], dim=1), torch.cat([x, 0.2 + 0 * x], dim=1)], dim=1)

    x, y = torch.tensor([[0.5]]), torch.tensor([0])
    for eps, fooled_twice in ((0.2, False), (0.4, True)):
        trace = []
        x_adv = pgd(looks, x, y, LpBall(eps, math.inf), steps=8, random_start=False, trace=trace)
        # The first look is lost at once; only the second stops the search.
        assert (x_adv.item() < 0.2) == fooled_twice
        assert x_adv.item() < 0.45


def test_a_start_is_where_the_first_step_begins_in_the_ball_around_x(cnn, digits):
    x, y = digits[0][:5], digits[1][:5]
    start = LINF.sample(x, generator=seeded(1))
    trace = []
    result = pgd(cnn, x, y, LINF, steps=3, start=start, early_stop=False, trace=trace)
    assert LINF.contains(result, x).all()
    gradient = input_gradient(cnn, start, y)
    expected = LINF.project(start + LINF.default_step(3) * gradient.sign(), x)
    torch.testing.assert_close(trace[0].x, start)
    torch.testing.assert_close(trace[1].x, expected)
    again = pgd(cnn, x, y, LINF, steps=3, start=start, early_stop=False, generator=seeded(7))
    assert torch.equal(result, again)  # nothing is left to chance


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("loss", "cross-entropy", TypeError),
        ("generator", 0, TypeError),
        ("start", "x", ValueError),
        ("start", torch.zeros(5, 1, 28, 27), ValueError),
    ],
)
def test_bad_settings_are_named(cnn, digits, name, value, error):
    with pytest.raises(error, match=f"^{name} must be"):
        pgd(cnn, digits[0][:5], digits[1][:5], LINF, **{name: value})


@pytest.mark.parametrize("steps", [1, 6])
def test_with_a_start_of_ones_own_no_image_is_worse_for_the_attacker_either(cnn, digits, steps):
    x, y = digits
    y = y.clone()
    y[:5] = (y[:5] + 1) % 10  # misclassified already
    start = LINF.sample(x, generator=seeded(3))
    for early_stop in (False, True):
        x_adv = pgd(cnn, x, y, LINF, steps=steps, start=start, early_stop=early_stop)
        was, now = fooled(cnn, x, y), fooled(cnn, x_adv, y)
        assert (now | ~was).all()
        kept = was == now
        assert (loss_at(cnn, x_adv, y) >= loss_at(cnn, x, y) - 1e-6)[kept].all()
    assert torch.equal(x_adv[:5], x[:5])


@pytest.mark.parametrize("bad", [math.nan, -1.0, math.inf])
def test_step_sizes_per_image_are_checked_like_one_for_all(cnn, digits, bad):
    eta = torch.full((100,), 0.01)
    eta[7] = bad
    with pytest.raises(ValueError, match="step_size must be finite and >= 0 for every image"):
        pgd(cnn, *digits, LINF, step_size=eta)


def test_nan_is_no_class_that_an_image_could_be_taken_for(cnn, digits):
    """A model that breaks down off the clean images: argmax of NaN is 0, but nobody is fooled by it."""
    x, y = digits[0][1:20], digits[1][1:20]

    def fragile(z):
        far = ((z - x[: len(z)]).abs().amax((1, 2, 3)) > 1e-3)[:, None]
        return torch.where(far, math.nan, cnn(z))

    x_adv = pgd(fragile, x, y, LINF, steps=4, early_stop=False, random_start=False)
    assert not torch.equal(x_adv, x) or not fragile(x_adv).isnan().any()
    assert not fragile(x_adv).isnan().any()
