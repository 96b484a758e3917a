from functools import partial

import pytest
import torch

from coursekit.training import gaussian_noise, random_affine, random_shift
from coursekit.training.augment import mirrored_shift

STILL = {"degrees": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}


def test_random_shifts_move_images_and_nothing_else(seeded):
    x = torch.zeros(200, 1, 9, 9)
    x[:, :, 4, 4] = torch.arange(1, 201).view(-1, 1)
    moved = random_shift(x, seeded())
    assert torch.equal(moved.flatten(1).sum(1), x.flatten(1).sum(1))
    rows, columns = moved[:, 0].nonzero()[:, 1], moved[:, 0].nonzero()[:, 2]
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4, 5, 6}
    edge = torch.ones(50, 2, 5, 5)
    assert set(random_shift(edge, seeded()).unique().tolist()) == {0.0, 1.0}


def test_half_of_the_images_are_mirrored_left_to_right_and_all_are_moved(seeded):
    x = torch.zeros(400, 1, 9, 11)
    x[:, :, 3, 4], x[:, :, 3, 5], x[:, :, 5, 4] = 1, 2, 3  # tells left from right and up from down
    moved = mirrored_shift(x, seeded())
    mirrored = 0
    for image in moved:
        (one,), (two,), (three,) = ((image[0] == value).nonzero().tolist() for value in (1, 2, 3))
        assert three == [one[0] + 2, one[1]]
        assert two[0] == one[0]
        assert abs(two[1] - one[1]) == 1
        mirrored += two[1] < one[1]
        assert image.sum() == 6
    assert 160 < mirrored < 240
    assert set((moved[:, 0] == 1).nonzero()[:, 1].tolist()) == {1, 2, 3, 4, 5}


def test_no_affine_change_is_the_image_itself(digits, seeded):
    torch.testing.assert_close(random_affine(digits[0], seeded(), **STILL), digits[0])


def spread(x):
    """Of each image: the centre of its mass (B, 2) and the covariance (B, 2, 2), as (column, row) in pixels."""
    mass = x[:, 0] / x.sum((1, 2, 3))[:, None, None]
    rows, columns = torch.meshgrid(*[torch.arange(float(n)) for n in x.shape[2:]], indexing="ij")
    points = torch.stack([columns, rows], dim=-1)
    centre = (mass[..., None] * points).sum((1, 2))
    away = points - centre[:, None, None]
    return centre, torch.einsum("brc,brci,brcj->bij", mass, away, away)


def test_each_change_does_what_it_is_called(seeded):
    """Seen in the moments of a bar: a shift moves its centre; a turn keeps its length, a stretch and a shear do not."""
    bar = torch.zeros(300, 1, 41, 41)
    bar[:, :, 12:29, 19:22] = 1
    change = {name: partial(random_affine, bar, **(STILL | {name: value})) for name, value in
              {"degrees": 30.0, "scale": 0.2, "shear": 0.3, "shift": 3.0}.items()}  # fmt: skip
    centre, _ = spread(bar)
    moments = {name: spread(moved(seeded())) for name, moved in change.items()}
    for name in ("degrees", "scale", "shear"):
        torch.testing.assert_close(moments[name][0], centre, rtol=0, atol=0.05)
    distance = (moments["shift"][0] - centre).abs()
    assert 2.8 < distance.max() <= 3.05

    long = {name: torch.linalg.eigvalsh(covariance)[:, 1].sqrt() for name, (_, covariance) in moments.items()}
    length = torch.linalg.eigvalsh(spread(bar)[1])[0, 1].sqrt()
    torch.testing.assert_close(long["degrees"], length.expand(300), rtol=0.03, atol=0)
    torch.testing.assert_close(long["shift"], length.expand(300), rtol=0.03, atol=0)
    assert 1.15 < (long["scale"] / length).max() < 1.23
    assert 0.77 < (long["scale"] / length).min() < 0.85
    slope = {name: covariance[:, 0, 1] / covariance[:, 1, 1] for name, (_, covariance) in moments.items()}
    assert 0.27 < slope["shear"].abs().max() < 0.33
    angle = slope["degrees"].atan().rad2deg()
    assert 27 < angle.max() < 31
    assert -31 < angle.min() < -27
    assert slope["scale"].abs().max() < 0.02


def test_the_generator_decides_and_values_stay_in_range(digits, seeded):
    x = digits[0]
    state = torch.random.get_rng_state()
    for augment in (random_shift, mirrored_shift, random_affine):
        first, second, other = (augment(x, seeded(seed)) for seed in (0, 0, 1))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)
        assert first.shape == x.shape
        assert first.dtype == x.dtype
        assert first.min() >= 0
        assert first.max() <= 1 + 1e-6
        assert augment(x.double(), seeded()).dtype == torch.float64
        assert augment(x.to("meta"), seeded()).device.type == "meta"
    assert torch.equal(state, torch.random.get_rng_state())


def test_noise_has_its_sigma_is_new_for_each_pixel_and_is_not_clipped(seeded):
    x = torch.full((100, 1, 20, 20), 0.9)
    noise = gaussian_noise(0.5)(x, seeded()) - x
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 0.5) < 0.02
    assert len(noise.unique()) > 0.9 * noise.numel()
    assert (x + noise).max() > 2
    assert torch.equal(gaussian_noise(0.0)(x), x)
    with pytest.raises(ValueError, match="sigma must be a number of at least 0; got -1"):
        gaussian_noise(-1)


def test_noise_comes_after_other_changes_and_from_the_generator(digits, seeded):
    x, state = digits[0], torch.random.get_rng_state()
    moved = gaussian_noise(1e-4, after=random_shift)(x, seeded())
    torch.testing.assert_close(moved, random_shift(x, seeded()), rtol=0, atol=1e-3)
    assert torch.equal(gaussian_noise(0.3)(x, seeded()), gaussian_noise(0.3)(x, seeded()))
    assert not torch.equal(gaussian_noise(0.3)(x, seeded()), gaussian_noise(0.3)(x, seeded(1)))
    assert torch.equal(state, torch.random.get_rng_state())
    assert gaussian_noise(0.3)(x.double(), seeded()).dtype == torch.float64
    assert gaussian_noise(0.3)(x.to("meta"), seeded()).device.type == "meta"
