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
