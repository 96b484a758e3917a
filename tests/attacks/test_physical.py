import math

import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.attacks import pgd
from coursekit.attacks.common import Goal, loss_and_gradient
from coursekit.attacks.physical import (
    RandomView,
    Worn,
    expectation,
    glasses,
    non_printability,
    sticker,
    success_over_views,
    total_variation,
    views,
)
from coursekit.losses import cross_entropy, margin
from coursekit.perturbations import LpBall, Masked, Rotation

VIEW = RandomView(
    rotation=20, scale=(0.8, 1.2), shift=2, perspective=0.1, contrast=(0.7, 1.0), brightness=0.1, noise=0.05
)  # fmt: skip
MILD = RandomView(rotation=5, shift=0.5, contrast=(0.9, 1.1), noise=0.02)
LINF = LpBall(0.15, math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def evaluated(model, x, y):
    with torch.no_grad():
        return cross_entropy(model(x), y)


@pytest.fixture
def few(digits):
    return digits[0][:20], digits[1][:20]


def picture(shape=(3, 3, 12, 16), dtype=torch.float32):
    return nn.functional.interpolate(torch.rand(shape[0], shape[1], 4, 5, generator=seeded()), shape[2:]).to(dtype)


# -- a random view


def test_a_view_without_any_range_is_x_itself():
    x = picture()
    assert torch.equal(RandomView()(x), x)


def test_each_range_does_what_its_name_says():
    grey = torch.full((500, 1, 9, 9), 0.4)
    bright = RandomView(brightness=0.3)(grey, generator=seeded())[:, 0, 0, 0]
    assert bright.min() == pytest.approx(0.1, abs=0.02)
    assert bright.max() == pytest.approx(0.7, abs=0.02)
    contrast = RandomView(contrast=(0.5, 2.0))(grey, generator=seeded())[:, 0, 0, 0]  # 0.5 - 0.1 c
    assert contrast.min() == pytest.approx(0.3, abs=0.02)
    assert contrast.max() == pytest.approx(0.45, abs=0.02)
    noisy = RandomView(noise=0.1)(grey, generator=seeded())
    assert noisy.std() == pytest.approx(0.1, abs=0.01)
    assert noisy.mean() == pytest.approx(0.4, abs=0.01)

    square = torch.zeros(500, 1, 33, 33)
    square[:, :, 12:21, 12:21] = 1
    area = RandomView(scale=(0.5, 2.0))(square, generator=seeded()).sum((1, 2, 3)) / 81
    assert area.min() == pytest.approx(0.25, abs=0.1)
    assert area.max() == pytest.approx(4.0, abs=0.4)
    place = (torch.arange(33.0) - 16)[None]
    for dim in (2, 3):
        moved = (RandomView(shift=4)(square, generator=seeded()).sum(dim)[:, 0] * place).sum(1) / 81
        assert moved.min() == pytest.approx(-4, abs=0.3)
        assert moved.max() == pytest.approx(4, abs=0.3)
    turned = RandomView(rotation=45)(square, generator=seeded())
    torch.testing.assert_close(turned.sum((1, 2, 3)), torch.full((500,), 81.0), rtol=0.03, atol=0)
    assert turned.std(0).max() > 0.2
    # Seen at a slant one edge is longer than the one across: the top and the bottom row of the same square.
    slanted = RandomView(perspective=0.4)(square, generator=seeded())
    widths = slanted.sum(3)[:, 0]
    assert (widths[:, 13] - widths[:, 19]).abs().max() > 1
    assert (widths[:, 13] - widths[:, 19]).mean().abs() < 0.3


def test_it_turns_as_the_perturbation_set_does():
    """The same convention: a view of a rotation of 20 degrees is an image of Rotation(20)."""
    x = picture(shape=(4, 1, 12, 12))
    seen = RandomView(rotation=20, shift=1.5)(x, generator=seeded())
    assert Rotation(20.0, 2.2).contains(seen, x).all()


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_views_stay_in_the_range_and_differ_from_image_to_image(padding):
    x = picture()[:1].expand(20, -1, -1, -1)
    light = {"contrast": (0.5, 3), "brightness": 0.5, "noise": 0.5}
    seen = RandomView(rotation=90, scale=(0.5, 2), perspective=0.4, padding=padding, **light)(x)
    assert seen.shape == x.shape
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert (seen[1:] != seen[:1]).flatten(1).any(1).all()


def test_it_is_differentiable_in_the_image():
    x = (0.4 + 0.2 * picture(shape=(2, 2, 5, 4), dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: VIEW(x, generator=seeded(1)), x)


def test_the_generator_is_the_only_source_of_random_numbers(few):
    x, state = few[0], torch.random.get_rng_state()
    assert torch.equal(VIEW(x, generator=seeded(1)), VIEW(x, generator=seeded(1)))
    assert not torch.equal(VIEW(x, generator=seeded(1)), VIEW(x, generator=seeded(2)))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"rotation": 200}, ValueError, "rotation must be from 0 to 180; got 200"),
        ({"perspective": 0.6}, ValueError, r"perspective must be from 0 to 0\.4; got 0\.6"),
        ({"noise": -1}, ValueError, "noise must be finite and >= 0; got -1"),
        ({"shift": "far"}, TypeError, "shift must be a number; got str"),
        ({"scale": (0, 1)}, ValueError, r"scale must be \(low, high\) with 0 < low <= high; got \(0, 1\)"),
        ({"contrast": 2}, ValueError, "contrast must be .* got 2"),
        ({"bounds": (0, math.inf)}, ValueError, "bounds must be .* got"),
        ({"padding": "black"}, ValueError, "padding must be one of .* got 'black'"),
    ],
)
def test_impossible_views_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        RandomView(**arguments)


def test_only_images_are_seen():
    with pytest.raises(ValueError, match="x must be images"):
        VIEW(torch.rand(2, 3))


# -- the model that looks several times


def test_the_views_of_an_image_lie_beside_each_other(cnn, few):
    logits = views(cnn, VIEW, 5, seeded(1))(few[0])
    assert logits.shape == (20, 5, 10)
    seen = VIEW(few[0].repeat_interleave(5, 0), generator=seeded(1))
    torch.testing.assert_close(logits.flatten(0, 1), cnn(seen))


def test_each_look_is_another_one(cnn, few):
    look = views(cnn, VIEW, 2, seeded())
    assert not torch.equal(look(few[0]), look(few[0]))


def test_what_is_averaged_are_losses_not_logits():
    """Foolbox averages logits. Here one view of two says 100 : 0, the other 0 : 1, and only the second can be moved:
    the mean logits do not notice it, and their gradient all but vanishes; the mean of the losses does."""

    def transform(x, *, generator=None):
        return x

    def model(x):
        first = torch.arange(len(x)) % 2 == 0
        return torch.stack([torch.where(first, 100.0 + 0 * x[:, 0], 0 * x[:, 0]), torch.where(first, 0.0, x[:, 0])], 1)

    x, y = torch.full((3, 1), 0.5), torch.zeros(3, dtype=torch.int64)
    aim = Goal(y, False, cross_entropy)
    logits, loss, gradient = loss_and_gradient(views(model, transform, 2), x, y, aim.objective)
    expected = torch.stack([cross_entropy(logits[:, s], y) for s in (0, 1)]).mean(0)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.full((3, 1), torch.sigmoid(torch.tensor(0.5)).item() / 2))
    of_the_mean = loss_and_gradient(lambda x: views(model, transform, 2)(x).mean(1), x, y, cross_entropy)[2]
    assert of_the_mean.abs().max() < 1e-6


def test_the_gradient_is_the_mean_of_those_of_the_views(cnn, few):
    x, y = few[0][:3], few[1][:3]
    aim = Goal(y, False, cross_entropy)
    gradient = loss_and_gradient(views(cnn, VIEW, 4, seeded(2)), x, y, aim.objective)[2]
    pixels = x.clone().requires_grad_()
    seen = VIEW(pixels.repeat_interleave(4, 0), generator=seeded(2))
    loss = nn.functional.cross_entropy(cnn(seen), y.repeat_interleave(4), reduction="sum") / 4
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, pixels)[0], rtol=1e-4, atol=1e-6)


def test_views_of_a_model_that_looks_several_times_itself(cnn, few):
    inner = views(cnn, MILD, 3, seeded())
    assert views(inner, VIEW, 2, seeded())(few[0]).shape == (20, 6, 10)
    assert views(inner, VIEW, 2, seeded())(few[0][:0]).shape == (0, 6, 10)
    assert views(cnn, VIEW, 2, seeded())(few[0][:0]).shape == (0, 2, 10)


def test_pgd_on_views_fools_all_of_them_or_none(cnn, few):
    x, y = few
    x_adv = pgd(views(cnn, MILD, 4, seeded(1)), x, y, LINF, steps=15, generator=seeded(2))
    assert LINF.contains(x_adv, x).all()
    assert success_over_views(cnn, x_adv, y, MILD, samples=20, generator=seeded(3)).mean() > 0.6


# -- one piece, worn by many


def test_a_worn_piece_covers_its_mask_on_a_photograph_drawn_for_each():
    photographs, mask = picture(shape=(5, 2, 6, 7)), sticker(6, 7, size=(0.4, 0.5))
    pieces = torch.full((40, 2, 6, 7), 0.25)
    worn = Worn(photographs, mask)(pieces, generator=seeded())
    assert (worn[:, :, mask] == 0.25).all()
    same = (worn[:, None] == photographs)[..., ~mask].flatten(2).all(2)  # (40, 5): on whom each piece is
    assert (same.sum(1) == 1).all()
    assert same.any(0).all()
    assert torch.equal(worn, Worn(photographs, mask)(pieces, generator=seeded()))
    assert not torch.equal(worn, Worn(photographs, mask)(pieces, generator=seeded(1)))


def test_the_gradient_of_a_worn_piece_is_that_of_its_pixels():
    photographs, mask = picture(shape=(5, 1, 6, 7)), sticker(6, 7, size=(0.4, 0.5))
    piece = torch.full((3, 1, 6, 7), 0.5, requires_grad=True)
    Worn(photographs, mask)(piece).sum().backward()
    assert torch.equal(piece.grad, mask.float().expand(3, 1, 6, 7))


def test_glasses_made_for_some_people_work_on_others():
    model, (train, test) = models.load("faces_cnn"), (data.load("faces", split) for split in ("train", "test"))
    people, strangers = train.x[train.y == 1], test.x[test.y == 1]
    mask = glasses(25, 25, thickness=0.08)
    grey, threat = torch.full((1, 1, 25, 25), 0.5), Masked(LpBall(1.0, math.inf), mask)
    pair = expectation(
        model, grey, torch.tensor([1]), threat, Worn(people, mask), samples=16, steps=40, generator=seeded()
    )
    for piece, at_least, at_most in ((grey, 0.0, 0.1), (pair, 0.8, 1.0)):
        missed = (model(torch.where(mask, piece, strangers)).argmax(1) == 0).float().mean().item()
        assert at_least <= missed <= at_most


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((torch.rand(1, 4, 4), torch.ones(4, 4, dtype=torch.bool)), ValueError, "must be images"),
        (
            (torch.rand(0, 1, 4, 4), torch.ones(4, 4, dtype=torch.bool)),
            ValueError,
            "photographs must hold at least one",
        ),
        ((torch.rand(2, 1, 4, 4), torch.ones(4, 4)), TypeError, "mask must be a bool tensor; got torch.float32"),
        ((torch.rand(2, 1, 4, 4), torch.ones(4, 5, dtype=torch.bool)), ValueError, r"mask must fit \(1, 4, 4\)"),
    ],
)
def test_what_cannot_be_worn_is_named(arguments, error, says):
    with pytest.raises(error, match=says):
        Worn(*arguments)


def test_only_pieces_like_the_photographs_are_worn():
    worn = Worn(torch.rand(2, 1, 4, 4), torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"in the shape of the photographs, \(1, 4, 4\) each; got \(3, 1, 5, 4\)"):
        worn(torch.rand(3, 1, 5, 4))


# -- success over views


def test_success_is_the_share_of_views_that_fool():
    """Whether the pixel is bright is decided by the view: over 0.5 with brightness in [-0.3, 0.3]."""
    x = torch.tensor([0.1, 0.35, 0.5, 0.65, 0.9]).view(5, 1, 1, 1)

    def model(x):
        bright = (x[:, 0, 0, 0] > 0.5).float()
        return torch.stack([1 - bright, bright], 1)

    y = torch.zeros(5, dtype=torch.int64)
    share = success_over_views(model, x, y, RandomView(brightness=0.3), samples=400, generator=seeded())
    torch.testing.assert_close(share, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), rtol=0, atol=0.06)
    towards = success_over_views(model, x, y, RandomView(brightness=0.3), samples=400, target=1, generator=seeded())
    assert torch.equal(towards, share)
    settings = {"transform": RandomView(brightness=0.3), "samples": 20}
    together = success_over_views(model, x[:1], y[:1], **settings, generator=seeded())
    assert torch.equal(success_over_views(model, x[0], y[0], **settings, generator=seeded()), together[0])
    assert success_over_views(model, x[:0], y[:0], **settings).shape == (0,)
    assert (success_over_views(lambda x: model(x) * math.nan, x, y, **settings) == 0).all()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)}, TypeError, "x must be a floating tensor"),
        ({"y": torch.zeros(2)}, TypeError, "y must be an int64 tensor .* got torch.float32"),
        ({"y": torch.zeros(1, dtype=torch.int64)}, ValueError, r"y must have one label per image, .* got \(1,\)"),
        ({"y": torch.zeros(2, 1, dtype=torch.int64)}, ValueError, r"y must have one label per image, .* got \(2, 1\)"),
        ({"y": torch.tensor([0, 2])}, ValueError, "y must hold classes 0 to 1"),
        ({"target": 2.7}, TypeError, "target must be a class .* got float"),
        ({"target": 2}, ValueError, "target must hold classes 0 to 1"),
        ({"samples": 0}, ValueError, "samples must be at least 1; got 0"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator"),
    ],
)
def test_success_of_what_makes_no_sense_is_refused(change, error, says):
    arguments = {
        "model": lambda x: x.flatten(1)[:, :2], "x": torch.rand(2, 1, 4, 4), "y": torch.tensor([0, 1]),
        "transform": MILD, "samples": 2, **change,
    }  # fmt: skip
    with pytest.raises(error, match=says):
        success_over_views(**arguments)


# -- expectation over transformations


def test_it_survives_views_that_the_attack_on_one_view_does_not(cnn, few):
    """Over held-out views, drawn from another generator than the attack's."""
    x, y = few
    naive = pgd(cnn, x, y, LINF, generator=seeded(1))
    robust = expectation(cnn, x, y, LINF, VIEW, samples=5, steps=25, generator=seeded(1))
    nothing, single, several = (
        success_over_views(cnn, image, y, VIEW, samples=40, generator=seeded(9)).mean() for image in (x, naive, robust)
    )
    assert LINF.contains(robust, x).all()
    assert nothing < 0.35
    assert several > single + 0.15
    assert several > 0.6


def test_a_sticker_towards_a_class_that_survives_views(cnn, few):
    x, y = few
    bar = Masked(LpBall(1.0, math.inf), sticker(28, 28, centre=(0.15, 0.5), size=(0.2, 0.9)))
    target = (y + 1) % 10
    x_adv = expectation(cnn, x, y, bar, VIEW, samples=4, steps=30, target=target, generator=seeded(1))
    assert bar.contains(x_adv, x).all()
    settings = {"samples": 40, "target": target, "generator": seeded(9)}
    before, after = (success_over_views(cnn, image, y, VIEW, **settings).mean() for image in (x, x_adv))
    assert after > before + 0.15


@pytest.mark.slow
def test_smoothness_and_printability_are_bought_with_success(cnn, few):
    x, y = few[0][:10], few[1][:10]
    mask = sticker(28, 28, centre=(0.15, 0.5), size=(0.2, 0.9))
    bar, black_and_white = Masked(LpBall(1.0, math.inf), mask), torch.tensor([[0.0], [1.0]])
    settings = {"samples": 3, "steps": 25, "generator": seeded(1)}
    plain = expectation(cnn, x, y, bar, VIEW, **settings)
    smooth = expectation(cnn, x, y, bar, VIEW, smoothness=20.0, **settings)
    printed = expectation(cnn, x, y, bar, VIEW, printable=black_and_white, printability=20.0, **settings)
    assert total_variation(smooth, mask).mean() < 0.6 * total_variation(plain, mask).mean()
    scores = (non_printability(image, black_and_white, mask).mean() for image in (plain, printed))
    assert next(scores) > next(scores)
    for image in (smooth, printed):
        assert bar.contains(image, x).all()
    share = [success_over_views(cnn, image, y, VIEW, samples=40).mean() for image in (plain, smooth, printed)]
    assert share[0] >= max(share[1:]) - 0.1


def test_with_smoothness_alone_nothing_is_left_but_an_even_patch():
    """A constant model has no gradient: what remains is the penalty, and its minimum is known."""
    x, y = torch.rand(2, 3, 10, 10, generator=seeded()), torch.tensor([0, 1])
    mask = sticker(10, 10, size=(0.6, 0.6))
    threat = Masked(LpBall(1.0, math.inf), mask)
    settings = {"samples": 1, "steps": 100, "step_size": 0.05}
    even = expectation(lambda x: torch.zeros(len(x), 2), x, y, threat, RandomView(), smoothness=1.0, **settings)
    assert total_variation(even, mask).max() < 0.1 * total_variation(x, mask).min()
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.8]])
    printed = expectation(lambda x: torch.zeros(len(x), 2), x, y, threat, RandomView(), printable=colours, **settings)
    assert non_printability(printed, colours, mask).max() < 0.02


# -- the penalties


def test_total_variation_is_that_of_the_paper_per_pixel():
    x = torch.rand(2, 1, 4, 5, generator=seeded(), dtype=torch.float64)
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")[:, 0]
    steps = ((padded[:, 1:, :-1] - padded[:, :-1, :-1]) ** 2 + (padded[:, :-1, 1:] - padded[:, :-1, :-1]) ** 2).sqrt()
    torch.testing.assert_close(total_variation(x), steps.mean((1, 2)), rtol=0, atol=1e-5)
    assert total_variation(torch.full((2, 3, 4, 5), 0.7)).tolist() == [0, 0]


def test_total_variation_of_a_mask_looks_at_no_edge_of_it():
    x = torch.rand(2, 3, 8, 8, generator=seeded())
    mask = sticker(8, 8, size=(0.5, 0.5))
    assert torch.equal(total_variation(torch.where(mask, 0.3, x), mask), torch.zeros(2))
    inside = torch.where(mask, x, 0.0)
    torch.testing.assert_close(total_variation(x, mask), total_variation(inside, mask))
    torch.testing.assert_close(total_variation(x, mask), total_variation(x[..., 2:6, 2:6]), rtol=1e-4, atol=1e-6)


def test_total_variation_has_a_slope_everywhere():
    x = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    total_variation(x).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_non_printability_is_zero_for_printable_colours_alone():
    colours = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]])
    x = colours[torch.tensor([[0, 1], [1, 0]])].permute(2, 0, 1)[None]
    assert non_printability(x, colours).item() == 0
    x = torch.rand(3, 3, 4, 4, generator=seeded())
    pixels = x.flatten(2).transpose(1, 2)
    expected = torch.cdist(pixels, colours.expand(3, -1, -1)).prod(2).mean(1)
    torch.testing.assert_close(non_printability(x, colours), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"printable must be colours, a tensor \(n, 3\); got \(2, 1\)"):
        non_printability(x, torch.rand(2, 1))


# -- masks


@pytest.mark.parametrize("size", [(25, 25), (64, 64), (224, 180)])
def test_glasses_are_a_frame_with_two_lenses(size):
    mask = glasses(*size)
    assert mask.shape == size
    assert mask.dtype == torch.bool
    assert torch.equal(mask, mask.flip(1))
    assert 0.03 < mask.float().mean() < 0.2
    eyes, left = round(0.4 * size[0] - 0.5), round(0.3 * size[1] - 0.5)
    assert not mask[eyes, left]  # one sees through
    assert mask[eyes, size[1] // 2]  # the bridge
    assert mask[eyes, 0]  # the temples
    assert not mask[: size[0] // 6].any()
    assert not mask[2 * size[0] // 3 :].any()


def test_stickers_lie_where_they_are_put():
    mask = sticker(20, 10, centre=(0.25, 0.5), size=(0.2, 0.6))
    assert mask.sum() == 4 * 6
    assert mask[3:7, 2:8].all()


@pytest.mark.parametrize("function", [glasses, sticker])
def test_masks_need_a_size(function):
    with pytest.raises(ValueError, match="width must be at least 1; got 0"):
        function(5, 0)
    with pytest.raises(TypeError, match=r"height must be an int; got float"):
        function(5.0, 5)


# -- what every attack promises


MASK = Masked(LpBall(1.0, math.inf), torch.tensor([[True, True, True, False, False]]))
THREATS = [MASK, LpBall(0.5, 2), LpBall(2.0, 1), Rotation(20.0)]
threats = pytest.mark.parametrize("threat", THREATS, ids=["mask", "L2", "L1", "rotation"])
QUICK = {"samples": 2, "steps": 4, "smoothness": 0.1, "printable": torch.rand(3, 2)}


@threats
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_result_is_a_new_detached_image_inside_the_set(threat, model, right, dtype):
    x, y = right[0].to(dtype).requires_grad_(), right[1]
    x_adv = expectation(model.to(dtype), x, y, threat, MILD, generator=seeded(), **QUICK)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert not x_adv.requires_grad
    assert x_adv.data_ptr() != x.data_ptr()
    assert threat.contains(x_adv, x.detach()).all()
    assert x.grad is None
    model.eval()
    assert evaluated(model, x_adv, y).mean() > evaluated(model, x, y).mean()


def test_batches_of_any_kind(model, right):
    """A view that is the same for all: then an image must not notice the others."""
    model.double()
    x, y = right[0].double(), right[1]

    def darker(x, *, generator=None):
        return 0.8 * x

    together = expectation(model, x, y, MASK, darker, **QUICK)
    for i in range(3):
        torch.testing.assert_close(expectation(model, x[i], y[i], MASK, darker, **QUICK), together[i])
        alone = expectation(model, x[i : i + 1], y[i : i + 1], MASK, darker, **QUICK)
        torch.testing.assert_close(alone, together[i : i + 1])
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(expectation(model, strided, y, MASK, darker, **QUICK), together)
    assert expectation(model, x[:0], y[:0], MASK, darker, **QUICK).shape == (0, 2, 5, 5)
    by_number = expectation(model, x, y, MASK, darker, target=2, **QUICK)
    assert torch.equal(by_number, expectation(model, x, y, MASK, darker, target=torch.full_like(y, 2), **QUICK))


def test_each_image_may_have_its_own_eps(model, right):
    x, y = right
    eps = torch.linspace(0, 0.2, len(x))
    x_adv = expectation(model, x, y, LpBall(eps, math.inf), MILD, **QUICK)
    assert LpBall(eps, math.inf).contains(x_adv, x).all()
    assert torch.equal(x_adv[0], x[0])
    assert not torch.equal(x_adv[-1], x[-1])


def test_points_without_penalties():
    model, x = models.load("moons_mlp"), data.load("moons", "test").x[:10]

    def shaken(x, *, generator=None):
        return x + 0.01 * torch.randn(x.shape, generator=generator)

    x_adv = expectation(model, x, model(x).argmax(1), LpBall(0.1, 2), shaken, samples=2, steps=3, generator=seeded())
    assert LpBall(0.1, 2).contains(x_adv, x).all()


def test_everything_is_left_as_it_was(model, batch):
    x, y = batch[0].clone(), batch[1].clone()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    modes, state = [m.training for m in model.modules()], {k: v.clone() for k, v in model.state_dict().items()}
    wishes, random = [p.requires_grad for p in model.parameters()], torch.random.get_rng_state()
    seen = []
    model.register_forward_pre_hook(lambda module, _: seen.append([m.training for m in module.modules()]))
    expectation(model, x, y, MASK, MILD, generator=seeded(), **QUICK)
    pgd(views(model, MILD, 2, seeded()), x, y, MASK, steps=2, generator=seeded())
    success_over_views(model, x, y, MILD, samples=2, generator=seeded())
    assert seen
    assert not any(any(mode) for mode in seen)
    assert modes == [m.training for m in model.modules()]
    assert wishes == [p.requires_grad for p in model.parameters()]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    assert torch.equal(x, batch[0])
    assert torch.equal(random, torch.random.get_rng_state())


@threats
def test_a_zero_gradient_moves_nothing_and_makes_no_nan(threat, batch):
    x, y = batch
    for model in (lambda x: 0 * x.flatten(1)[:, :4], lambda x: torch.zeros(len(x), 4)):
        assert torch.equal(expectation(model, x, y, threat, MILD, samples=2, steps=3), x)


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(model, right, switched_off):
    expected = expectation(model, *right, MASK, MILD, generator=seeded(), **QUICK)
    with switched_off():
        x, y = right[0].clone(), right[1].clone()
        assert torch.equal(expectation(model, x, y, MASK, MILD, generator=seeded(), **QUICK), expected)
        success_over_views(model, x, y, MILD, samples=2)


def test_nothing_leaves_the_device():
    x, y = torch.empty(3, 2, 5, 5, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    model = nn.Sequential(nn.Flatten(), nn.Linear(50, 4)).to("meta")
    for generator in (None, torch.Generator()):
        assert expectation(model, x, y, MASK, MILD, generator=generator, **{**QUICK, "steps": 2}).device == x.device
        assert success_over_views(model, x, y, MILD, samples=2, generator=generator).device == x.device


def test_on_another_device_the_result_is_the_same(model, right, device):
    x, y = right
    expected = expectation(model, x, y, MASK, MILD, generator=seeded(), **QUICK)
    there = expectation(model.to(device), x.to(device), y.to(device), MASK, MILD, generator=seeded(), **QUICK)
    assert there.device.type == device.type
    torch.testing.assert_close(there.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"samples": 0}, ValueError, "samples must be at least 1; got 0"),
        ({"samples": 2.0}, TypeError, "samples must be an int; got float"),
        ({"steps": 0}, ValueError, "steps must be at least 1; got 0"),
        ({"transform": None}, TypeError, r"transform must be a function .* got NoneType"),
        ({"smoothness": -1}, ValueError, "smoothness must be finite and >= 0; got -1"),
        ({"printability": "much"}, TypeError, "printability must be a number; got str"),
        ({"printable": torch.rand(4, 3)}, ValueError, r"printable must be colours, a tensor \(n, 2\); got \(4, 3\)"),
        ({"y": torch.tensor([0, 4])}, ValueError, "y must hold classes 0 to 1"),
        ({"x": torch.full((2, 2, 4, 4), 1.5)}, ValueError, "x must lie in the threat's bounds"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set"),
        ({"model": lambda x: None}, ValueError, "model must return logits"),
        ({"model": lambda x: x.flatten()}, ValueError, "model must return logits"),
        ({"target": "cat"}, TypeError, "target must be a class"),
        ({"step_size": -1.0}, ValueError, "step_size must be finite and >= 0"),
        ({"step_size": torch.ones(3)}, ValueError, r"step_size must be .* \(2,\); got shape \(3,\)"),
        ({"step_size": "big"}, TypeError, "step_size must be a number"),
        ({"loss": "cross-entropy"}, TypeError, "loss must be a function"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator"),
        ({"loss": lambda z, y: margin(z, y).mean()}, ValueError, "loss must return one value per image"),
    ],
)
def test_wrong_arguments_are_named(change, error, says):
    arguments = {
        "model": lambda x: x.mean((2, 3)), "x": torch.full((2, 2, 4, 4), 0.5), "y": torch.tensor([0, 1]),
        "threat": LINF, "transform": MILD, "steps": 2, **change,
    }  # fmt: skip
    with pytest.raises(error, match=says):
        expectation(**arguments)
