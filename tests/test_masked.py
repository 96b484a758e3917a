import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall, Masked

NORMS = [1, 2, math.inf]
norms = pytest.mark.parametrize("p", NORMS)
seeds = st.integers(0, 2**32 - 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(seed, eps=0.3, p=2, shape=(3, 2, 4, 5)):
    """Images with many pixels at the ends of the range, points scattered round them, and a set with a random mask."""
    x = (3 * torch.rand(shape, generator=seeded(seed), dtype=torch.float64) - 1).clamp(0, 1)
    x_tilde = x + torch.randn(shape, generator=seeded(seed + 1), dtype=torch.float64)
    mask = torch.rand(shape[1:], generator=seeded(seed + 2)) < 0.4
    return x_tilde, x, Masked(LpBall(eps, p), mask)


def outside(x, threat):
    return torch.where(threat.mask, 0, x)


@norms
@given(seed=seeds, eps=st.sampled_from([0.0, 0.1, 1.0, 5.0]))
@settings(max_examples=15, deadline=None)
def test_the_projection_is_the_nearest_point_and_leaves_the_rest_alone(p, seed, eps):
    """Pi projects onto a convex set iff <x~ - Pi(x~), w - Pi(x~)> <= 0 for every w of the set."""
    x_tilde, x, threat = scene(seed, eps, p)
    z = threat.project(x_tilde, x)
    assert torch.equal(outside(z, threat), outside(x, threat))
    assert threat.ball.contains(z, x).all()
    assert threat.contains(z, x).all()
    torch.testing.assert_close(threat.project(z, x), z, rtol=0, atol=1e-12)
    others = [threat.sample(x, generator=seeded(i)) for i in range(4)]
    others += [threat.project(threat.step(x, x_tilde - z, 2 * eps), x), x]
    for w in others:
        assert threat.contains(w, x).all()
        assert (((x_tilde - z) * (w - z)).flatten(1).sum(1) <= 1e-8).all()


@norms
def test_it_is_the_ball_of_the_images_that_consist_of_the_mask_alone(p):
    x_tilde, x, threat = scene(1, 0.7, p)
    expected = threat.ball.project(x_tilde[:, threat.mask], x[:, threat.mask])
    torch.testing.assert_close(threat.project(x_tilde, x)[:, threat.mask], expected)


@norms
def test_with_all_pixels_it_is_the_ball_and_with_none_it_is_x(p):
    x_tilde, x, _ = scene(2, p=p)
    ball, every = LpBall(0.3, p), torch.ones(2, 4, 5, dtype=torch.bool)
    assert torch.equal(Masked(ball, every).project(x_tilde, x), ball.project(x_tilde, x))
    assert torch.equal(Masked(ball, ~every).project(x_tilde, x), x)
    assert torch.equal(Masked(ball, ~every).sample(x), x)


@norms
def test_samples_lie_in_the_set_and_use_all_of_it(p):
    _, x, threat = scene(3, 0.5, p)
    x = 0.3 + 0.4 * x
    samples = torch.stack([threat.sample(x, generator=seeded(i)) for i in range(50)])
    assert all(threat.contains(sample, x).all() for sample in samples)
    moved = (samples != x).any(0)
    assert torch.equal(moved, threat.mask.expand(x.shape))
    # Spread over the pixels of the mask as the ball's own over its pixels, not thinned out by those left alone.
    # Neither is it a ball of many more dimensions, most of whose points are at the edge with little left for these.
    inside = (samples - x)[..., threat.mask]
    n = inside.shape[-1]
    radius = torch.linalg.vector_norm(inside, ord=p, dim=-1) / 0.5
    assert (radius <= 1 + 1e-9).all()
    if p != math.inf:
        assert radius.pow(n).mean() == pytest.approx(0.5, abs=0.1)  # uniform: P(radius <= r) = r^n


def test_contains_sees_a_single_pixel_outside_the_mask():
    _, x, threat = scene(4, 1.0, math.inf)
    x_tilde = threat.sample(x, generator=seeded())
    place = (~threat.mask).nonzero()[0]
    x_tilde[1, place[0], place[1], place[2]] = (x[1, place[0], place[1], place[2]] - 1e-6).abs()
    assert threat.contains(x_tilde, x).tolist() == [True, False, True]
    x_tilde[0] = math.nan
    x_tilde[2] = 2
    assert not threat.contains(x_tilde, x).any()


@norms
def test_steps_go_uphill_within_the_mask_alone(p):
    grad, x, threat = scene(5, 0.3, p)
    x = 0.25 + x / 2
    steepest = threat.steepest(grad)
    assert torch.equal(outside(steepest, threat), torch.zeros_like(grad))
    expected = threat.ball.steepest(outside(grad, Masked(threat.ball, ~threat.mask)))
    assert torch.equal(steepest, expected)
    moved = threat.step(x, grad, 0.1)
    assert torch.equal(outside(moved, threat), outside(x, threat))
    if p != 1:
        torch.testing.assert_close(moved, x + 0.1 * steepest)
    assert threat.default_step(40) == threat.ball.default_step(40)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 4, 5), (2, 1, 1), (2, 4, 5), ()])
def test_a_mask_broadcasts_to_one_image(shape):
    x_tilde, x, _ = scene(6)
    mask = torch.rand(shape, generator=seeded()) < 0.5
    whole = Masked(LpBall(0.3, 2), mask.expand(2, 4, 5))
    assert torch.equal(Masked(LpBall(0.3, 2), mask).project(x_tilde, x), whole.project(x_tilde, x))


def test_each_image_may_have_its_own_mask_and_eps():
    x_tilde, x, _ = scene(7)
    mask, eps = torch.rand(x.shape, generator=seeded()) < 0.5, torch.tensor([0.0, 0.2, 2.0])
    together = Masked(LpBall(eps, 2), mask, per_image=True)
    projected = together.project(x_tilde, x)
    for i in range(3):
        one = slice(i, i + 1)
        alone = Masked(LpBall(eps[i].item(), 2), mask[i])
        torch.testing.assert_close(projected[one], alone.project(x_tilde[one], x[one]))
        for index in (one, torch.tensor([i]), torch.arange(3) == i):
            torch.testing.assert_close(together.select(index).project(x_tilde[one], x[one]), projected[one])
    some = Masked(LpBall(0.3, 2), mask[0]).select(torch.tensor([2, 0]))
    assert torch.equal(
        some.project(x_tilde[[2, 0]], x[[2, 0]]), Masked(LpBall(0.3, 2), mask[0]).project(x_tilde, x)[[2, 0]]
    )


@norms
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_layouts_and_empty_batches(p, dtype):
    x_tilde, x, threat = scene(8, 0.4, p)
    x_tilde, x = x_tilde.to(dtype), x.to(dtype)
    for result in (threat.project(x_tilde, x), threat.sample(x, generator=seeded())):
        assert result.dtype == dtype
        assert threat.contains(result, x).all()
        assert torch.equal(outside(result, threat), outside(x, threat))
    strided = [t.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for t in (x_tilde, x)]
    torch.testing.assert_close(threat.project(*strided), threat.project(x_tilde, x))
    assert threat.project(x_tilde[:0], x[:0]).shape == (0, 2, 4, 5)
    assert threat.contains(x_tilde[:0], x[:0]).shape == (0,)


@norms
def test_nothing_leaves_the_device(p):
    x, threat = torch.empty(3, 2, 4, 5, device="meta"), scene(9, 0.3, p)[2]
    for result in (threat.project(x, x), threat.sample(x), threat.steepest(x), threat.step(x, x, 0.1)):
        assert result.device == x.device
    assert threat.contains(x, x).device == x.device


def test_on_another_device_the_result_is_the_same(device):
    x_tilde, x, threat = scene(10)
    torch.testing.assert_close(threat.project(x_tilde.to(device), x.to(device)).cpu(), threat.project(x_tilde, x))


@norms
def test_attacks_touch_the_mask_alone_and_fool_with_it(p, cnn, digits):
    """A bar above the digit, where nothing is written, of any grey."""
    x, y = digits[0][:30], digits[1][:30]
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[1:6, 3:25] = True
    threat = Masked(LpBall({1: 40.0, 2: 6.0, math.inf: 1.0}[p], p), mask)
    before = (cnn(x).argmax(1) != y).float().mean()
    for attack, arguments in ((fgsm, {}), (pgd, {"steps": 20, "generator": seeded()})):
        x_adv = attack(cnn, x, y, threat, **arguments)
        assert threat.contains(x_adv, x).all()
        assert torch.equal(outside(x_adv, threat), outside(x, threat))
    assert (cnn(x_adv).argmax(1) != y).float().mean() > before + 0.4


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((0.3, torch.ones(3, dtype=torch.bool)), TypeError, "ball must be an LpBall; got float"),
        ((LpBall(0.3, 2), torch.ones(3)), TypeError, r"mask must be a bool tensor; got torch\.float32"),
        ((LpBall(0.3, 2), [True, False]), TypeError, "mask must be a bool tensor; got list"),
    ],
)
def test_impossible_sets_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        Masked(*arguments)


@pytest.mark.parametrize(
    ("shape", "per_image"),
    [
        ((5, 4), False),
        ((2, 3, 2, 4, 5), False),
        ((3, 2, 4, 5), False),  # one for each image, without saying so
        ((2, 2, 4, 5), True),
        ((4, 5), True),
        ((1, 2, 4, 5), True),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(shape, per_image):
    x, threat = torch.rand(3, 2, 4, 5), Masked(LpBall(0.3, 2), torch.ones(shape, dtype=torch.bool), per_image)
    for method in (lambda: threat.project(x, x), lambda: threat.sample(x), lambda: threat.contains(x, x)):
        with pytest.raises(ValueError, match="mask must fit"):
            method()
