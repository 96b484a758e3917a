import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from coursekit.perturbations import LpBall

NORMS = [1, 2, math.inf]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
norms = pytest.mark.parametrize("p", NORMS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
seeds = st.integers(0, 2**32 - 1)
radii = st.sampled_from([0.0, 1e-3, 0.1, 1.0, 5.0])
sizes = st.integers(1, 40)


def norm(delta, p):
    return torch.linalg.vector_norm(delta.double().flatten(1), ord=p, dim=1)


def points(seed, shape, spread=1.0, dtype=torch.float64):
    """Images with many pixels exactly 0 or 1, as in MNIST, and points scattered round them, often out of range."""
    generator = torch.Generator().manual_seed(seed)
    x = (3 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1).clamp(0, 1)
    x_tilde = x + spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    return x_tilde.to(dtype), x.to(dtype)


# -- project


@norms
@given(seed=seeds, eps=radii, size=sizes, spread=st.sampled_from([1e-6, 0.1, 1.0, 1e4]))
@settings(max_examples=60, deadline=None)
def test_a_projection_lies_in_the_set_and_is_its_own_projection(p, seed, eps, size, spread):
    x_tilde, x = points(seed, (4, size), spread)
    ball = LpBall(eps, p)
    z = ball.project(x_tilde, x)
    assert z.min() >= 0
    assert z.max() <= 1
    assert (norm(z - x, p) <= eps * (1 + 1e-9) + 1e-12).all()
    torch.testing.assert_close(ball.project(z, x), z, rtol=0, atol=1e-12)


@norms
@given(seed=seeds, eps=radii, size=sizes, spread=st.sampled_from([0.1, 1.0, 100.0]))
@settings(max_examples=60, deadline=None)
def test_no_other_point_of_the_set_is_nearer(p, seed, eps, size, spread):
    """Pi is the projection onto a convex set iff <x~ - Pi(x~), w - Pi(x~)> <= 0 for every w of the set."""
    x_tilde, x = points(seed, (4, size), spread)
    ball = LpBall(eps, p)
    z = ball.project(x_tilde, x)
    # The w that is worst for this is a corner uphill of x~ - Pi(x~); random ones are far from it, so both.
    generator = torch.Generator().manual_seed(seed)
    others = [ball.sample(x, generator=generator) for _ in range(5)]
    others += [ball.project(ball.step(x, x_tilde - z, eps), x)]
    for w in others:
        assert (((x_tilde - z) * (w - z)).sum(1) <= 1e-8 * (1 + spread)).all()


@norms
@given(seed=seeds, eps=st.floats(0.05, 2), size=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_projection_agrees_with_a_general_solver(p, seed, eps, size):
    x_tilde, x = points(seed, (1, size))
    target, centre = x_tilde[0].numpy(), x[0].numpy()
    if p == 2:
        inside = {"type": "ineq", "fun": lambda z: eps**2 - ((z - centre) ** 2).sum()}
        answer = minimize(
            lambda z: ((z - target) ** 2).sum(), centre, jac=lambda z: 2 * (z - target), method="SLSQP",
            bounds=[(0, 1)] * size, constraints=[inside], options={"ftol": 1e-14, "maxiter": 500},
        ).x  # fmt: skip
    elif p == 1:  # delta = up - down makes the norm linear
        inside = {"type": "ineq", "fun": lambda d: eps - d.sum()}
        d = minimize(
            lambda d: ((centre + d[:size] - d[size:] - target) ** 2).sum(), np.zeros(2 * size), method="SLSQP",
            bounds=[(0, 1 - c) for c in centre] + [(0, c) for c in centre], constraints=[inside],
            options={"ftol": 1e-14, "maxiter": 500},
        ).x  # fmt: skip
        answer = centre + d[:size] - d[size:]
    else:
        answer = [min(max(t, max(c - eps, 0)), min(c + eps, 1)) for t, c in zip(target, centre, strict=True)]
    np.testing.assert_allclose(LpBall(eps, p).project(x_tilde, x)[0].numpy(), answer, atol=2e-5)


@norms
@dtypes
@pytest.mark.parametrize("spread", [0.0, 1e-4])
def test_a_point_inside_comes_back_bit_for_bit(p, dtype, spread):
    x_tilde, x = points(0, (5, 3, 7), spread, dtype)
    x_tilde = x_tilde.clamp(0, 1)
    assert torch.equal(LpBall(1.0, p).project(x_tilde, x), x_tilde)


@norms
def test_bounds_that_are_no_round_numbers_are_met_exactly(p):
    x_tilde, x = points(11, (6, 12))
    lo, hi = 0.1, 0.7
    x = lo + (hi - lo) * x
    ball = LpBall(2.0, p, (lo, hi))
    z = ball.project(x_tilde, x)
    assert z.min() == lo
    assert z.max() == hi
    assert ball.contains(z, x).all()


def test_clipping_after_the_ball_would_not_be_the_projection():
    x, x_tilde = torch.tensor([[1.0, 0.5]]), torch.tensor([[2.0, 1.0]])
    z = LpBall(0.4, 2).project(x_tilde, x)
    clipped = (x + 0.4 * (x_tilde - x) / (x_tilde - x).norm()).clamp(0, 1)
    assert (z - x_tilde).norm() < (clipped - x_tilde).norm() - 0.01
    torch.testing.assert_close(z, torch.tensor([[1.0, 0.9]]))


@pytest.mark.parametrize("p", [1, 2])
def test_without_a_range_the_projection_is_the_textbook_one(p):
    x_tilde, x = points(1, (6, 20))
    z = LpBall(1.5, p, (-math.inf, math.inf)).project(x_tilde, x)
    assert torch.allclose(norm(z - x, p), torch.tensor(1.5, dtype=torch.float64))
    if p == 2:
        delta = x_tilde - x
        torch.testing.assert_close(z, x + 1.5 * delta / delta.norm(dim=1, keepdim=True))
    else:  # every coordinate gives up the same, or all it has
        given_up = ((x_tilde - x).abs() - (z - x).abs()).masked_fill(z == x, math.nan)
        torch.testing.assert_close(
            given_up, given_up.nanmedian(1, keepdim=True).values.expand_as(z).where(z != x, math.nan), equal_nan=True
        )


@norms
@pytest.mark.parametrize("spread", [1e-20, 1e15])
def test_projection_of_extreme_points_is_finite(p, spread):
    x_tilde, x = points(2, (4, 10), spread, torch.float32)
    for eps in (0.0, 0.1, 100.0):
        z = LpBall(eps, p).project(x_tilde, x)
        assert z.isfinite().all()
        assert LpBall(eps, p).contains(z, x).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@norms
def test_half_precision_is_rounded_towards_x(p, dtype):
    """Each coordinate off by half a unit in the last place would leave an L1 ball of 784 pixels far behind."""
    x_tilde, x = points(3, (8, 784), 0.3, dtype)
    for eps in (0.1, 3.0):
        delta = LpBall(eps, p).project(x_tilde, x).double() - x.double()
        assert (norm(delta, p) <= eps * (1 + 1e-5)).all()


# -- projector, for loops


@norms
@given(seed=seeds, eps=radii, size=st.integers(1, 400), spread=st.sampled_from([1e-6, 0.1, 1.0, 1e4]))
@settings(max_examples=60, deadline=None)
def test_the_projector_of_a_loop_stays_in_the_set_and_close_to_the_nearest_point(p, seed, eps, size, spread):
    x_tilde, x = points(seed, (4, size), spread)
    ball = LpBall(eps, p)
    quick, exact = ball.projector(x)(x_tilde), ball.project(x_tilde, x)
    assert ball.contains(quick, x).all()
    assert (norm(quick - exact, 2) <= 0.01 * eps + 1e-9).all()
    farther = norm(x_tilde - quick, 2) - norm(x_tilde - exact, 2)
    assert (farther <= 1e-3 * eps + 1e-9 * spread).all()


@norms
@dtypes
def test_starts_lie_in_the_set_and_come_from_the_generator_alone(p, dtype):
    _, x = points(2, (5, 1, 6, 6), dtype=dtype)
    ball = LpBall(0.5, p)
    state = torch.random.get_rng_state()
    first, again = (ball.start(x, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.dtype == dtype
    assert ball.contains(first, x).all()
    assert not torch.equal(first, x)


# -- contains


@norms
@dtypes
@given(seed=seeds, eps=st.sampled_from([1e-2, 0.1, 1.0]))
@settings(max_examples=20, deadline=None)
def test_contains_takes_the_closed_ball_with_rounding_and_no_more(p, dtype, seed, eps):
    _, x = points(seed, (4, 3, 5), dtype=torch.float64)
    x = (0.25 + x / 2).to(dtype)
    ball = LpBall(eps, p, (-10, 10))
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    direction = direction / norm(direction, p).view(-1, 1, 1)
    ulp = torch.finfo(dtype).eps
    on_surface, outside = eps * direction, (1.01 * eps + 15 * ulp) * direction
    assert ball.contains((x.double() + on_surface).to(dtype), x).all()
    if 15 * ulp < eps:
        assert not ball.contains((x.double() + 3 * outside).to(dtype), x).any()
        assert not LpBall(eps, p).contains((x.double() + 0 * outside - 0.5).to(dtype), x).any()


def test_contains_knows_the_range_nan_and_each_images_eps():
    x = torch.tensor([[0.1, 0.5]]).expand(5, 2)
    x_tilde = torch.tensor([[0.1, 0.6], [-0.05, 0.5], [math.nan, 0.5], [0.1, 0.8], [0.1, 0.8]])
    ball = LpBall(torch.tensor([0.2, 0.2, 0.2, 0.2, 0.31]), 2)
    assert ball.contains(x_tilde, x).tolist() == [True, False, False, False, True]


# -- sample


@norms
@dtypes
def test_samples_lie_in_the_set(p, dtype):
    _, x = points(4, (50, 2, 3), dtype=dtype)
    for eps in (0.0, 0.01, 0.5, 4.0):
        ball = LpBall(eps, p)
        sample = ball.sample(x)
        assert sample.dtype == dtype
        assert sample.shape == x.shape
        assert ball.contains(sample, x).all()


@norms
def test_samples_fill_the_ball_evenly(p):
    """Uniform in n dimensions: the share within r of the centre is r^n, and every direction is as likely."""
    n, count = 3, 20_000
    ball = LpBall(2.0, p, (-math.inf, math.inf))
    delta = ball.sample(torch.zeros(count, n), generator=torch.Generator().manual_seed(0)) / 2
    radius = norm(delta, p)
    for r in (0.3, 0.6, 0.9):
        assert (radius <= r).double().mean() == pytest.approx(r**n, abs=0.012)
    octant = ((delta > 0).long() * torch.tensor([1, 2, 4])).sum(1).bincount(minlength=8) / count
    assert octant.sub(1 / 8).abs().max() < 0.012
    # Within an octant too: a cube's corners are reached, a cross-polytope is not rounded.
    assert delta.abs().mean(0).sub(delta.abs().mean()).abs().max() < 0.01
    expected = {1: 1 / 4, 2: 3 / 8, math.inf: 1 / 2}[p]  # E|delta_i| in the unit ball of R^3
    assert delta.abs().mean() == pytest.approx(expected, abs=0.01)


def test_the_linf_sample_is_uniform_in_ball_and_range():
    x = torch.zeros(20_000, 1)
    sample = LpBall(0.5, math.inf).sample(x, generator=torch.Generator().manual_seed(0))
    assert (sample < 0.1).double().mean() == pytest.approx(0.2, abs=0.01)


@norms
def test_the_generator_is_the_only_source_of_random_numbers(p):
    x = torch.rand(3, 8)
    state = torch.random.get_rng_state()
    first, second = (LpBall(0.3, p).sample(x, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


# -- steepest and step


@norms
@given(seed=seeds, size=sizes, scale=st.sampled_from([1e-30, 1.0, 1e30]))
@settings(max_examples=40, deadline=None)
def test_steepest_is_the_maximiser_over_the_unit_ball(p, seed, size, scale):
    """Its inner product with the gradient reaches the dual norm, which by Hoelder nothing in the ball exceeds."""
    grad = torch.randn(4, size, generator=torch.Generator().manual_seed(seed)) * scale
    d = LpBall(0.1, p).steepest(grad)
    dual = {1: math.inf, 2: 2, math.inf: 1}[p]
    assert (norm(d, p) <= 1 + 1e-5).all()
    torch.testing.assert_close((grad.double() * d.double()).sum(1), norm(grad / scale, dual) * scale, rtol=1e-4, atol=0)


@norms
@dtypes
def test_without_a_gradient_there_is_no_step(p, dtype):
    ball = LpBall(0.1, p)
    assert torch.equal(ball.steepest(torch.zeros(3, 2, 4, dtype=dtype)), torch.zeros(3, 2, 4, dtype=dtype))
    grad = torch.tensor([[math.nan, 1.0], [math.nan, math.nan]], dtype=dtype)
    assert torch.equal(ball.steepest(grad), torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=dtype))
    assert torch.equal(ball.step(torch.zeros(2, 2, dtype=dtype), grad, 0.5)[1], torch.zeros(2, dtype=dtype))


@given(seed=seeds, eta=st.floats(0.01, 4), size=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_the_l1_step_is_the_best_within_the_range(seed, eta, size):
    grad, x_t = points(seed, (1, size))
    moved = LpBall(1.0, 1).step(x_t, grad, eta)
    assert moved.min() >= -1e-12
    assert moved.max() <= 1 + 1e-12
    assert norm(moved - x_t, 1) <= eta + 1e-9
    g, c = grad[0].numpy(), x_t[0].numpy()
    best = linprog(
        np.concatenate([-g, g]), A_ub=np.ones((1, 2 * size)), b_ub=[eta],
        bounds=[(0, 1 - ci) for ci in c] + [(0, ci) for ci in c],
    )  # fmt: skip
    assert float((grad * (moved - x_t)).sum()) == pytest.approx(-best.fun, abs=1e-8)


@norms
def test_without_a_range_a_step_goes_along_steepest(p):
    grad, x_t = points(6, (5, 2, 9))
    ball = LpBall(1.0, p, (-math.inf, math.inf))
    torch.testing.assert_close(ball.step(x_t, grad, 0.7), x_t + 0.7 * ball.steepest(grad))


@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_default_steps_reach_the_surface_and_never_beyond(steps):
    eta = LpBall(0.3, 2).default_step(steps)
    assert 0 < eta <= 0.3
    assert eta * steps >= 0.3
    eps = torch.tensor([0.1, 0.2])
    torch.testing.assert_close(LpBall(eps, 2).default_step(steps), eps * eta / 0.3)


# -- all of them


@norms
def test_an_image_does_not_depend_on_its_batch_and_eps_may_differ(p):
    x_tilde, x = points(7, (4, 3, 6), 0.5)
    eps = torch.tensor([0.0, 0.1, 0.7, 3.0])
    together = LpBall(eps, p)
    for i in range(4):
        alone = LpBall(eps[i].item(), p)
        one = slice(i, i + 1)
        torch.testing.assert_close(together.project(x_tilde, x)[one], alone.project(x_tilde[one], x[one]))
        torch.testing.assert_close(
            together.step(x, x_tilde - x, eps)[one], alone.step(x[one], (x_tilde - x)[one], eps[i].item())
        )
        assert together.contains(x_tilde, x)[i] == alone.contains(x_tilde[one], x[one])


@norms
@pytest.mark.parametrize("shape", [(0, 3), (3,), (3, 1), (2, 3, 4, 5)])
def test_any_rank_and_empty_batches(p, shape):
    x_tilde, x = points(8, shape)
    ball = LpBall(0.3, p)
    for result in (ball.project(x_tilde, x), ball.sample(x), ball.steepest(x), ball.step(x, x_tilde, 0.1)):
        assert result.shape == shape
    assert ball.contains(ball.project(x_tilde, x), x).shape == shape[:1]


@norms
def test_memory_layout_does_not_matter_and_inputs_stay(p):
    x_tilde, x = points(9, (4, 3, 6, 5), 0.5)
    ball = LpBall(0.4, p)
    strided = [t.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for t in (x_tilde, x)]
    before = [t.clone() for t in strided]
    assert not strided[0].is_contiguous()
    torch.testing.assert_close(ball.project(*strided), ball.project(x_tilde, x))
    torch.testing.assert_close(ball.steepest(strided[0]), ball.steepest(x_tilde))
    torch.testing.assert_close(ball.step(strided[1], strided[0], 0.3), ball.step(x, x_tilde, 0.3))
    assert torch.equal(ball.contains(*strided), ball.contains(x_tilde, x))
    assert all(torch.equal(*pair) for pair in zip(strided, before, strict=True))


@norms
@dtypes
@pytest.mark.parametrize("eps", [0.1, torch.tensor([0.1, 0.2])])
def test_nothing_leaves_the_device(p, dtype, eps):
    """On the meta device there are no values to look at: a hidden .item() or .cpu() raises."""
    x = torch.empty(2, 3, 4, dtype=dtype, device="meta")
    ball = LpBall(eps, p)
    results = [ball.project(x, x), ball.steepest(x), ball.step(x, x, ball.default_step(5))]
    results += [ball.sample(x), ball.sample(x, generator=torch.Generator())]
    for result in results:
        assert result.device == x.device
        assert result.dtype == dtype
    assert ball.contains(x, x).device == x.device


@norms
def test_on_another_device_the_result_is_the_same(p, device):
    x_tilde, x = points(10, (4, 3, 6), 0.5)
    ball = LpBall(0.4, p)
    torch.testing.assert_close(ball.project(x_tilde.to(device), x.to(device)).cpu(), ball.project(x_tilde, x))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((-0.1, 2), ValueError, "eps must be finite and >= 0; got -0.1"),
        ((math.nan, 2), ValueError, "eps must be finite"),
        ((math.inf, 2), ValueError, "eps must be finite"),
        (("0.1", 2), TypeError, "eps must be a number .* got str"),
        ((torch.tensor([0.1, -0.2]), 2), ValueError, "eps must be finite and >= 0 for every image"),
        ((torch.tensor([1, 2]), 2), TypeError, "eps must be .* floating"),
        ((torch.ones(2, 1), 2), TypeError, r"eps must be .* shape \(2, 1\)"),
        ((0.1, 3), ValueError, "p must be 1, 2 or math.inf; got 3"),
        ((0.1, "inf"), ValueError, "p must be 1, 2 or math.inf; got 'inf'"),
        ((0.1, 2, (1, 0)), ValueError, "bounds must be .* got .1, 0."),
        ((0.1, 2, 1.0), ValueError, "bounds must be .* got 1.0"),
    ],
)
def test_impossible_sets_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        LpBall(*arguments)


def test_impossible_points_are_refused():
    ball, x = LpBall(0.1, 2), torch.rand(2, 3)
    for method in (ball.project, ball.contains):
        with pytest.raises(ValueError, match=r"x_tilde must have the shape of x, \(2, 3\); got \(2, 2\)"):
            method(torch.rand(2, 2), x)
        with pytest.raises(TypeError, match=r"x must be a floating tensor; got torch\.uint8"):
            method(x, x.to(torch.uint8))
        with pytest.raises(TypeError, match="x_tilde must be a tensor; got ndarray"):
            method(x.numpy(), x)
    with pytest.raises(ValueError, match=r"eps must be one number or one per image, \(2,\); got shape \(3,\)"):
        LpBall(torch.rand(3), 2).project(x, x)


def test_a_ball_says_what_it_is():
    assert repr(LpBall(0.1, math.inf)) == "LpBall(eps=0.1, p=inf, bounds=(0.0, 1.0))"
