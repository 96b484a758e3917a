import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import rotate

from coursekit import data
from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall, Rotation

SETS = [Rotation(30.0), Rotation(0.0, 3.0), Rotation(20.0, 2.0)]
sets = pytest.mark.parametrize("threat", SETS, ids=["angle", "shift", "both"])
seeds = st.integers(0, 2**32 - 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(seed=0, shape=(3, 2, 12, 16), dtype=torch.float32):
    """Smooth images, so that interpolation says little and rotation much; dark towards the edge."""
    coarse = torch.rand(shape[0], shape[1], 4, 5, generator=seeded(seed), dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 1)
    across, down = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (shape[3], shape[2]))
    return (smooth * (1 - across**2) * (1 - down**2)[:, None]).to(dtype)


@pytest.fixture(scope="module")
def some_digits():
    return data.load("mnist", "test").x[:10]


# -- render


@sets
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_at_the_origin_it_is_x_itself(threat, dtype):
    x = blobs(dtype=dtype)
    z = threat.origin(x)
    assert z.shape == (3, 3)
    assert z.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(threat.render(z, x), x)


@pytest.mark.parametrize("angle", [-90.0, -20.0, 7.5, 90.0, 180.0])
def test_it_turns_counter_clockwise_as_others_do(angle):
    x = blobs(shape=(2, 1, 15, 15), dtype=torch.float64)
    z = torch.tensor([[angle / 180, 0, 0]], dtype=torch.float64).expand(2, 3)
    expected = torch.stack([torch.from_numpy(rotate(image[0].numpy(), angle, order=1)) for image in x])
    torch.testing.assert_close(Rotation(180.0).render(z, x)[:, 0], expected, rtol=0, atol=1e-6)


def test_it_moves_right_and_down_by_whole_pixels_exactly():
    x = blobs(dtype=torch.float64)
    moved = Rotation(10.0, 4.0).render(torch.tensor([[0, 0.5, -0.25]], dtype=torch.float64).expand(3, 3), x)
    torch.testing.assert_close(moved[..., :-1, 2:], x[..., 1:, :-2], rtol=0, atol=1e-12)
    assert moved[..., :2].abs().max() < 1e-12  # what comes in from outside
    assert moved[..., -1, :].abs().max() < 1e-12


def test_first_turned_then_shifted():
    x = blobs(dtype=torch.float64)
    one = torch.ones(3, 3, dtype=torch.float64)
    turned = Rotation(90.0).render(one, x)
    both = Rotation(90.0, 1.0).render(one, x)
    torch.testing.assert_close(both[..., 1:, 1:], turned[..., :-1, :-1], rtol=0, atol=1e-12)


def test_turning_an_oblong_image_does_not_stretch_it():
    """Four pixels right of the centre come to lie four pixels above it."""
    x = torch.zeros(1, 1, 21, 11, dtype=torch.float64)
    x[0, 0, 10, 9] = 1
    turned = Rotation(90.0).render(torch.tensor([[1.0, 0, 0]], dtype=torch.float64), x)
    assert turned[0, 0, 6, 5] == pytest.approx(1)
    assert turned.sum() == pytest.approx(1)


@pytest.mark.parametrize("threat", [Rotation(30.0, 2.0), Rotation(30.0, 2.0, padding="border")])
def test_its_derivative_is_that_of_the_images(threat):
    x = (0.2 + 0.6 * blobs(shape=(2, 1, 4, 6), dtype=torch.float64)).requires_grad_()
    for z in (
        threat.search.sample(torch.zeros(2, 3, dtype=torch.float64), generator=seeded(3)),
        0.1 * torch.ones(2, 3),
    ):
        z = z.double().requires_grad_()
        assert torch.autograd.gradcheck(lambda z, x: threat.render(z, x), (z, x), atol=1e-4)


def test_at_the_origin_there_is_a_slope_although_the_value_is_exact():
    x = blobs(dtype=torch.float64)
    threat, z = Rotation(30.0, 2.0), torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(x.shape, generator=seeded(), dtype=torch.float64)
    (slope,) = torch.autograd.grad((weight * threat.render(z, x)).sum(), z)
    h = 1e-3 * torch.eye(3, dtype=torch.float64)
    for i in range(3):
        there, here = (threat.render((sign * h[i]).expand(3, 3), x) for sign in (1, -1))
        # Bilinear interpolation has a kink at whole pixels, so its slope there is one of those beside it.
        beside = [(side * (weight * (image - x))).flatten(1).sum(1) / 1e-3 for side, image in ((1, there), (-1, here))]
        low, high = torch.minimum(*beside), torch.maximum(*beside)
        spread = (high - low).max() + 1e-2
        assert ((slope[:, i] >= low - spread) & (slope[:, i] <= high + spread)).all()
    assert (slope.abs() > 0).all()


@given(seed=seeds, padding=st.sampled_from(["zeros", "border", "reflection"]))
@settings(max_examples=15, deadline=None)
def test_images_stay_in_the_range(seed, padding):
    x = torch.rand(2, 1, 6, 8, generator=seeded(seed)).round()
    turned = Rotation(180.0, 5.0, padding=padding).sample(x, generator=seeded(seed))
    assert turned.min() >= 0
    assert turned.max() <= 1


# -- a small rotation is no small perturbation


@pytest.mark.parametrize(("p", "small"), [(math.inf, 0.3), (2, 2.0), (1, 10.0)])
def test_a_small_rotation_is_far_away_in_every_norm(some_digits, p, small):
    """Ten degrees leave every digit what it is, and every ball that attacks are given."""
    z = torch.tensor([[1.0, 0, 0]]).expand(10, 3)
    turned = Rotation(10.0).render(z, some_digits)
    assert Rotation(10.0).contains(turned, some_digits).all()
    assert not LpBall(small, p).contains(turned, some_digits).any()


# -- project, contains, sample


@sets
def test_what_was_turned_is_found_again(threat, some_digits):
    z = threat.search.sample(threat.origin(some_digits), generator=seeded())
    x_tilde = threat.render(z, some_digits)
    found = threat.coordinates(x_tilde, some_digits)
    torch.testing.assert_close(threat.render(found, some_digits), x_tilde, rtol=0, atol=1e-3)
    moving = torch.tensor(threat.free)
    torch.testing.assert_close(found[:, moving], z[:, moving], rtol=0, atol=1e-2)
    assert threat.contains(x_tilde, some_digits).all()


@sets
def test_no_image_on_a_fine_grid_is_nearer_than_the_projection(threat):
    x = blobs(shape=(2, 1, 12, 12))
    x_tilde = (
        Rotation(40.0, 4.0).sample(x, generator=seeded(1)) + 0.1 * torch.rand(x.shape, generator=seeded(2))
    ).clamp(0, 1)
    nearest = (threat.project(x_tilde, x) - x_tilde).flatten(1).norm(dim=1)
    axes = [torch.linspace(-1, 1, 9) if moves else torch.zeros(1) for moves in threat.free]
    for z in torch.cartesian_prod(*axes):
        assert ((threat.render(z.expand(2, 3), x) - x_tilde).flatten(1).norm(dim=1) >= nearest - 1e-4).all()


@sets
def test_a_projection_lies_in_the_set_and_is_its_own_projection(threat, some_digits):
    x = some_digits[:4]
    projected = threat.project(x.flip(0), x)
    assert threat.contains(projected, x).all()
    torch.testing.assert_close(threat.project(projected, x), projected, rtol=0, atol=1e-3)


def test_it_does_not_contain_what_it_should_not(some_digits):
    x, threat = some_digits[:5], Rotation(15.0, 1.0)
    assert threat.contains(x, x).all()
    assert not threat.contains((x + 0.05).clamp_max(1), x).any()
    assert not threat.contains(x.roll(1, 0), x).any()
    for column, too_far in ((0, 1.3), (1, 1.5), (2, -1.5)):
        z = torch.zeros(5, 3)
        z[:, column] = too_far
        assert not threat.contains(threat.render(z, x), x).any()
    spoilt = x.clone()
    spoilt[:, 0, 3, 3] = math.nan
    assert not threat.contains(spoilt, x).any()
    assert not Rotation(15.0, bounds=(0.0, 0.9)).contains(x, x).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype, some_digits):
    x, threat = some_digits[:5].to(dtype), Rotation(20.0, 2.0)
    sample = threat.sample(x, generator=seeded())
    assert sample.dtype == dtype
    assert threat.contains(sample, x).all()
    assert threat.project(sample, x).dtype == dtype


def test_samples_are_uniform_in_angle_and_shift():
    threat = Rotation(20.0, 2.0)
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1
    down, right = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
    sample = threat.sample(x.expand(4000, -1, -1, -1), generator=seeded())[:, 0]
    for place in (right, down):  # where the bright pixel has come to lie
        at = (sample * place).sum((1, 2)) / sample.sum((1, 2))
        assert at.abs().max() <= 2.1  # interpolation moves the middle a little
        assert (at < -1).float().mean() == pytest.approx(0.25, abs=0.03)
        assert (at < 0).float().mean() == pytest.approx(0.5, abs=0.03)


def test_the_generator_is_the_only_source_of_random_numbers():
    x, state = blobs(), torch.random.get_rng_state()
    first, second = (Rotation(30.0, 1.0).sample(x, generator=seeded(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_set_without_room_holds_x_alone():
    x, threat = blobs(), Rotation(0.0)
    assert torch.equal(threat.project(blobs(1), x), x)
    torch.testing.assert_close(threat.sample(x), x, rtol=0, atol=1e-5)
    assert threat.contains(x, x).all()
    assert not threat.contains(blobs(1), x).any()


def test_an_image_does_not_depend_on_its_batch():
    x, threat = blobs(dtype=torch.float64), Rotation(20.0, 1.0)
    x_tilde = threat.sample(x, generator=seeded())
    together = threat.project(x_tilde.flip(0), x), threat.contains(x_tilde, x)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(threat.select(one).project(x_tilde.flip(0)[one], x[one]), together[0][one])
        assert torch.equal(threat.contains(x_tilde[one], x[one]), together[1][one])


def test_an_empty_batch_and_constant_images():
    threat = Rotation(20.0, 1.0)
    empty = torch.zeros(0, 1, 5, 5)
    assert threat.project(empty, empty).shape == threat.sample(empty).shape == (0, 1, 5, 5)
    assert threat.contains(empty, empty).shape == (0,)
    black = torch.zeros(2, 1, 5, 5)
    assert torch.equal(threat.project(black, black), black)
    assert threat.contains(black, black).all()


def test_memory_layout_does_not_matter_and_inputs_stay():
    x = blobs()
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    threat = Rotation(20.0, 1.0)
    x_tilde = threat.sample(x, generator=seeded())
    torch.testing.assert_close(threat.sample(strided, generator=seeded()), x_tilde)
    torch.testing.assert_close(threat.project(x_tilde, strided), threat.project(x_tilde, x))
    assert torch.equal(strided, x)


def test_nothing_leaves_the_device(monkeypatch):
    """On the meta device, where resampling is slow: few steps of the search, on a coarse grid."""
    monkeypatch.setattr("coursekit.perturbations.rotation.NEWTON_STEPS", 2)
    threat, generator = Rotation(10.0), torch.Generator()
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.empty(2, 3, 6, 8, dtype=dtype, device="meta")
        sample = threat.sample(x, generator=generator)
        assert (sample.device, sample.dtype) == (x.device, dtype)
    assert threat.project(x, x).device == x.device
    assert threat.contains(x, x).device == x.device


def test_on_another_device_the_result_is_the_same(device, some_digits):
    threat = Rotation(20.0, 2.0)
    expected = threat.sample(some_digits, generator=seeded())
    there = threat.sample(some_digits.to(device), generator=seeded())
    torch.testing.assert_close(there.cpu(), expected, rtol=0, atol=1e-4)
    assert threat.contains(there, some_digits.to(device)).all()


# -- attacks step in angle and shift


@sets
def test_gradient_attacks_take_it_as_it_is(threat, cnn, digits):
    x, y = digits[0][:20], digits[1][:20]
    before = (cnn(x).argmax(1) == y).float().mean()
    one_step = fgsm(cnn, x, y, threat)
    found = pgd(cnn, x, y, threat, steps=8, restarts=2, generator=seeded())
    for x_adv in (one_step, found):
        assert threat.contains(x_adv, x).all()
    accuracy = [(cnn(x_adv).argmax(1) == y).float().mean() for x_adv in (one_step, found)]
    assert accuracy[1] < before - 0.1
    assert accuracy[1] <= accuracy[0] <= before


def test_pgd_makes_its_first_step_along_the_signs_of_the_three_slopes(cnn, digits):
    x, y, threat = digits[0][:5], digits[1][:5], Rotation(20.0, 2.0)
    z = threat.origin(x).requires_grad_()
    loss = torch.nn.functional.cross_entropy(cnn(threat.render(z, x)), y, reduction="sum")
    (slope,) = torch.autograd.grad(loss, z)
    x_adv = pgd(cnn, x, y, threat, steps=1, step_size=0.25, random_start=False)
    torch.testing.assert_close(x_adv, threat.render(0.25 * slope.sign(), x), rtol=0, atol=1e-5)


def test_a_zero_gradient_turns_nothing():
    x, y = blobs(), torch.zeros(3, dtype=torch.int64)
    for model in (lambda x: 0 * x.flatten(1)[:, :4], lambda x: torch.zeros(len(x), 4)):
        assert torch.equal(fgsm(model, x, y, Rotation(30.0)), x)
        assert torch.equal(pgd(model, x, y, Rotation(30.0), steps=3, random_start=False), x)


# -- what it is not


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((-1.0,), ValueError, r"angle must be from 0 to 180; got -1\.0"),
        ((181,), ValueError, "angle must be from 0 to 180; got 181"),
        ((math.nan,), ValueError, "angle must be from 0 to 180; got nan"),
        (("10",), TypeError, "angle must be a number; got str"),
        ((True,), TypeError, "angle must be a number; got bool"),
        ((10, -1), ValueError, "shift must be finite and >= 0; got -1"),
        ((10, math.inf), ValueError, "shift must be finite and >= 0; got inf"),
        ((10, 0, (1, 0)), ValueError, "bounds must be .* got .1, 0."),
        ((10, 0, (0.5, 1.0)), ValueError, "bounds must include 0 where padding is 'zeros'"),
        ((10, 0, (0.0, 1.0), "wrap"), ValueError, "padding must be one of 'zeros', 'border', 'reflection'; got 'wrap'"),
    ],
)
def test_impossible_sets_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        Rotation(*arguments)


def test_impossible_points_are_refused():
    threat, x = Rotation(10.0), torch.rand(2, 3)
    with pytest.raises(ValueError, match=r"x must be images \(B, C, H, W\) .* got shape \(2, 3\)"):
        pgd(lambda x: x, x, torch.zeros(2, dtype=torch.int64), threat)
    for method in (threat.project, threat.contains):
        with pytest.raises(ValueError, match=r"x must be images"):
            method(x, x)
        with pytest.raises(ValueError, match="x_tilde must have the shape of x"):
            method(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 5))
        with pytest.raises(TypeError, match="x_tilde must be a tensor; got ndarray"):
            method(x.numpy(), x)


def test_it_says_what_it_is():
    assert repr(Rotation(10.0, 2)) == "Rotation(angle=10.0, shift=2, bounds=(0.0, 1.0), padding='zeros')"
