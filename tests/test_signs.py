"""The drawing of traffic signs, and the views of them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coursekit import data
from coursekit.data import drawing, signs

SQUARE = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
ARROW = [(-0.6, -0.2), (0.1, -0.2), (0.1, -0.6), (0.7, 0.0), (0.1, 0.6), (0.1, 0.2), (-0.6, 0.2)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def faces():
    return torch.stack([signs.face(name) for name in signs.FACES])


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (lambda p: drawing.disc(p, (0.1, -0.2), 0.5), math.pi / 4),
        (lambda p: drawing.polygon(p, *SQUARE), 1.0),
        (lambda p: drawing.polygon(p, *SQUARE) - 0.2, 1 + 4 * 0.2 + math.pi * 0.04),
        (lambda p: drawing.polygon(p, *ARROW), 0.7 * 0.4 + 0.6 * 1.2 / 2),
        (lambda p: drawing.regular(p, 8, 0.9), 2 * math.sqrt(2) * 0.81),
        (lambda p: drawing.line(p, (-0.5, 0.0), (0.5, 0.0)) - 0.1, 0.2 + math.pi * 0.01),
        (lambda p: drawing.arc(p, (0, 0), 0.5, -90, 90) - 0.1, math.pi * 0.5 * 0.2 + math.pi * 0.01),
        (lambda p: (drawing.disc(p, (0, 0), 0.5)).abs() - 0.1, math.pi * (0.36 - 0.16)),
    ],
)
@pytest.mark.parametrize("size", [64, 200])
def test_shapes_cover_their_area(shape, area, size):
    assert drawing.covered(shape(drawing.grid(size))).mean() * 4 == pytest.approx(area, rel=0.01)


@given(st.tuples(*[st.floats(-1, 1)] * 2), st.tuples(*[st.floats(-1, 1)] * 2), st.sampled_from([SQUARE, ARROW]))
def test_no_point_is_nearer_to_an_edge_than_its_distance_says(a, b, corners):
    """Two points differ in distance by at most how far they lie apart: what makes smooth edges the same everywhere."""
    p = torch.tensor([a, b], dtype=torch.float64)
    d = drawing.polygon(p, *corners)
    assert (d[0] - d[1]).abs() <= (p[0] - p[1]).norm() + 1e-9


@pytest.mark.parametrize("name", signs.FACES)
def test_faces_fill_their_square_at_any_size(name):
    for size in (32, 64, 128):
        face = signs.face(name, size)
        assert face.shape == (4, size, size)
        assert face.dtype == torch.float32
        assert face.min() >= 0
        assert face.max() <= 1
        opaque = face[3] > 0.5
        assert opaque[size // 2, size // 2]
        assert not opaque[0, 0] or not opaque[-1, 0]
        assert opaque.any(0).float().mean() > 0.85  # as wide as the square, but for a margin
    coarse = torch.nn.functional.avg_pool2d(signs.face(name, 256)[None], 4)[0]
    assert (coarse - signs.face(name, 64)).abs().mean() < 0.02


def test_turns_mirror_each_other():
    assert torch.equal(signs.face("turn left"), signs.face("turn right").flip(-1))


def test_other_signs_are_refused_with_a_list():
    with pytest.raises(ValueError, match=r"name must be one of 'speed limit 30', .*; got 'halt'"):
        signs.face("halt")


def test_views_are_in_range_and_the_same_from_the_same_seed():
    view, again, other = signs.views(12, seeded()), signs.views(12, seeded()), signs.views(12, seeded(1))
    x = signs.photograph(faces(), view)
    assert x.shape == (12, 3, 32, 32)
    assert x.min() >= 0
    assert x.max() <= 1
    assert torch.equal(x, signs.photograph(faces(), again))
    assert not torch.equal(x, signs.photograph(faces(), other))


def test_one_face_is_seen_in_many_views_and_any_of_them_can_be_picked():
    view, stop = signs.views(7, seeded()), signs.face("stop")[None]
    x = signs.photograph(stop, view)
    assert x.shape == (7, 3, 32, 32)
    assert torch.allclose(x[[5, 2]], signs.photograph(stop, view.select(torch.tensor([5, 2]))), atol=1e-6)
    assert signs.photograph(stop, view.select(slice(0, 0))).shape == (0, 3, 32, 32)


def test_every_sign_is_in_the_picture_whole():
    """A black face on a white scene: it never touches the picture's border by more than a sliver."""
    view = signs.views(200, seeded())
    view = view._replace(background=torch.ones_like(view.background), light=torch.ones_like(view.light))
    view = view._replace(noise=0 * view.noise, blur=0 * view.blur, haze=0 * view.haze)
    black = signs.face("no entry")
    black[:3] = 0
    x = signs.photograph(black[None], view).mean(1)
    x[:, 16:, :] = 1  # the pole leads out of the picture
    border = torch.cat([x[:, 0], x[:, :, 0], x[:, :, -1]], 1)
    assert (border < 0.5).float().mean() < 0.01
    assert ((x[:, 2:16] < 0.5).flatten(1).float().mean(1) > 0.1).all()


def test_what_is_painted_on_a_sign_is_seen_from_every_view_and_can_be_optimised():
    paint = faces().double().requires_grad_()
    x = signs.photograph(paint, signs.views(12, seeded()))
    assert x.dtype == torch.float64
    (grad,) = torch.autograd.grad(x.sum(), paint)
    assert grad.isfinite().all()
    on_sign = paint[:, 3] > 0.9
    assert (grad[:, :3].abs().sum(1)[on_sign] > 0).float().mean() > 0.5
    assert (grad[:, :3] >= 0).all()  # brighter paint, brighter photograph


def test_what_is_fixed_is_not_drawn_and_all_else_stays():
    drawn = signs.views(6, seeded())
    fixed = signs.views(6, seeded(), light=0.9, shadow=0.0, haze=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], noise=0.0)
    for name in ("homography", "background", "fading", "blur"):
        assert torch.equal(getattr(fixed, name), getattr(drawn, name))
    torch.testing.assert_close(fixed.haze.flatten(), torch.arange(6) / 10)
    torch.testing.assert_close(fixed.light.mean(1), torch.full((6, 32, 32), 0.9))  # warmth: red up, blue down
    assert not fixed.noise.any()
    everything = dict.fromkeys(signs.FIXABLE, 0.5) | {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "distance": 5.0}
    assert signs.photograph(faces(), signs.views(12, seeded(), **everything)).isfinite().all()


def test_a_fixed_camera_looks_from_where_it_is_told():
    plain = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "distance": 6.0, "size": 0.8}
    points = torch.tensor([[0.8, 0.0, 1.0], [0.0, 0.8, 1.0]])  # right edge and lower edge of the sign

    def on_the_face(**change):
        view = signs.views(1, seeded(), **(plain | change))
        shift = view.homography[0] @ torch.tensor([0.0, 0.0, 1.0])
        where = (view.homography[0] @ points.T).T
        return where[:, :2] / where[:, 2:] - shift[:2] / shift[2]

    # Head-on, half the photograph's width times 0.8 is half the sign's width.
    torch.testing.assert_close(on_the_face(), torch.eye(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(on_the_face(size=0.4), 2 * torch.eye(2), rtol=0, atol=1e-5)
    turned = on_the_face(yaw=60.0)  # half as wide: the same step across the photograph spans twice as much of the sign
    assert turned[0, 0] > 1.5
    assert turned[1, 1] == pytest.approx(1.0, abs=0.2)
    tilted = on_the_face(roll=90.0)
    torch.testing.assert_close(tilted.abs(), torch.eye(2).flip(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("fixed", "says"),
    [
        ({"angle": 3.0}, "fixed must be among yaw, pitch, .*; got angle"),
        ({"yaw": [1.0, 2.0]}, r"yaw must be a number or one for each of 3 views; got \(2,\)"),
    ],
)
def test_what_cannot_be_fixed_is_named(fixed, says):
    with pytest.raises(ValueError, match=says):
        signs.views(3, **fixed)


def test_any_photograph_takes_each_face_in_a_view_of_its_own():
    x = signs.any_photograph(faces(), generator=seeded())
    assert torch.equal(x, signs.photograph(faces(), signs.views(12, seeded())))


def test_photographs_follow_the_device_of_the_faces():
    x = signs.photograph(torch.empty(3, 4, 64, 64, device="meta"), signs.views(3, seeded()))
    assert x.device.type == "meta"


def test_the_data_set_does_not_depend_on_what_is_switched_off():
    expected = data.load("signs", "test").x
    signs._pixels.cache_clear()
    with torch.inference_mode():
        x = data.load("signs", "test").x
    assert torch.equal(x, expected)
    assert torch.equal(data.load("signs", "test").x.requires_grad_(), expected)


@pytest.mark.slow
def test_colours_alone_do_not_tell_the_signs_apart():
    """The nearest mean colour finds few of them: a classifier has to see shapes."""
    train, test = data.load("signs"), data.load("signs", "test")
    means = torch.stack([train.x[train.y == k].mean((0, 2, 3)) for k in range(12)])
    nearest = torch.cdist(test.x.mean((2, 3)), means).argmin(1)
    assert (nearest == test.y).float().mean() < 0.4
