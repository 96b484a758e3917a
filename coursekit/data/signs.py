"""Traffic signs: drawn by the course itself after the Vienna Convention on Road Signs, then photographed.

A `face` is a sign seen from the front. `views` says how signs are photographed, `photograph` does it:

    x = photograph(torch.stack([face("stop")]), views(1, generator))        # (1, 3, 32, 32)

`photograph` is differentiable in the faces: what is painted on a sign is seen from every view.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from coursekit.data.dataset import Dataset
from coursekit.data.drawing import arc, covered, disc, grid, line, polygon, regular, union

SIZE = {"train": 2400, "test": 600}
SEED = {"train": 0, "test": 1}
PIXELS = 32  # of a photograph, as the published classifiers of the GTSRB take it
FACE_PIXELS = 64

WHITE, BLACK = (0.95, 0.95, 0.95), (0.06, 0.06, 0.07)
RED, BLUE, YELLOW = (0.74, 0.07, 0.10), (0.02, 0.30, 0.62), (0.98, 0.74, 0.05)

Colour = tuple[float, float, float]
Layers = list[tuple[Tensor, Colour]]  # distances and colour, from the plate upwards
Draw = Callable[..., Tensor]  # (low, high, *shape) -> uniform random numbers (N, *shape)


# --- the faces


def _text(p: Tensor, text: str, height: float, stroke: float) -> Tensor:
    """Letters of even strokes, as on German signs (DIN 1451), around the origin."""
    gap = 0.1 + stroke / height
    left = -(sum(_WIDTH[letter] for letter in text) + gap * (len(text) - 1)) / 2
    shapes = []
    for letter in text:
        q = p / height - p.new_tensor([left, -0.5])
        shapes.append(_LETTERS[letter](q) * height - stroke / 2)
        left += _WIDTH[letter] + gap
    return union(*shapes)


# Each letter stands on [0, width] x [0, 1].
_WIDTH = {"0": 0.44, "1": 0.26, "3": 0.46, "5": 0.48, "S": 0.48, "T": 0.5, "O": 0.48, "P": 0.45}
_LETTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "0": lambda q: (line(q, (0.22, 0.22), (0.22, 0.78)) - 0.22).abs(),
    "1": lambda q: line(q, (0.0, 0.24), (0.26, 0.0), (0.26, 1.0)),
    "3": lambda q: union(arc(q, (0.2, 0.24), 0.24, -165, 90), arc(q, (0.2, 0.74), 0.26, -90, 165)),
    "5": lambda q: union(line(q, (0.44, 0.0), (0.06, 0.0), (0.03, 0.47)), arc(q, (0.2, 0.71), 0.29, -126, 155)),
    "S": lambda q: union(arc(q, (0.24, 0.25), 0.25, 90, 345), arc(q, (0.24, 0.75), 0.25, -90, 165)),
    "T": lambda q: union(line(q, (0.0, 0.0), (0.5, 0.0)), line(q, (0.25, 0.0), (0.25, 1.0))),
    "O": lambda q: (line(q, (0.24, 0.24), (0.24, 0.76)) - 0.24).abs(),
    "P": lambda q: union(
        line(q, (0.0, 1.0), (0.0, 0.0), (0.18, 0.0)), arc(q, (0.18, 0.27), 0.27, -90, 90),
        line(q, (0.18, 0.54), (0.0, 0.54)),
    ),
}  # fmt: skip


def _speed_limit(number: str) -> Callable[[Tensor], Layers]:
    def draw(p: Tensor) -> Layers:
        plate = disc(p, (0, 0), 0.92)
        height, stroke = (0.74, 0.14) if len(number) == 2 else (0.6, 0.11)
        return [(plate, WHITE), (plate + 0.03, RED), (plate + 0.22, WHITE), (_text(p, number, height, stroke), BLACK)]

    return draw


def _no_entry(p: Tensor) -> Layers:
    plate = disc(p, (0, 0), 0.92)
    bar = polygon(p, (-0.66, -0.17), (0.66, -0.17), (0.66, 0.17), (-0.66, 0.17))
    return [(plate, WHITE), (plate + 0.04, RED), (bar, WHITE)]


def _stop(p: Tensor) -> Layers:
    plate = regular(p, 8, 0.98, turn=22.5)
    return [(plate, WHITE), (plate + 0.07, RED), (_text(p, "STOP", 0.5, 0.1), WHITE)]


def _yield(p: Tensor) -> Layers:
    plate = regular(p + p.new_tensor([0, 0.2]), 3, 1.0, turn=90) - 0.06
    return [(plate, WHITE), (plate + 0.03, RED), (plate + 0.26, WHITE)]


def _danger(p: Tensor) -> Layers:
    plate = regular(p - p.new_tensor([0, 0.2]), 3, 1.0, turn=-90) - 0.06
    mark = polygon(p, (-0.1, -0.3), (0.1, -0.3), (0.05, 0.22), (-0.05, 0.22)) - 0.02
    return [
        (plate, WHITE), (plate + 0.03, RED), (plate + 0.22, WHITE), (union(mark, disc(p, (0, 0.4), 0.1)), BLACK),
    ]  # fmt: skip


def _priority_road(p: Tensor) -> Layers:
    plate = regular(p, 4, 0.94) - 0.04
    return [(plate, WHITE), (plate + 0.04, BLACK), (plate + 0.06, WHITE), (plate + 0.24, YELLOW)]


def _turn(side: float) -> Callable[[Tensor], Layers]:
    def draw(p: Tensor) -> Layers:
        plate, q = disc(p, (0, 0), 0.92), p * p.new_tensor([side, 1.0])
        way = union(
            line(q, (-0.32, 0.5), (-0.32, 0.1)),
            arc(q, (-0.1, 0.1), 0.22, 180, 270),
            line(q, (-0.1, -0.12), (0.2, -0.12)),
        )
        head = polygon(q, (0.16, -0.46), (0.6, -0.12), (0.16, 0.22))
        return [(plate, WHITE), (plate + 0.04, BLUE), (union(way - 0.115, head), WHITE)]

    return draw


def _roundabout(p: Tensor) -> Layers:
    plate = disc(p, (0, 0), 0.92)
    arrows = []
    for turn in (0, 120, 240):
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        q = p @ p.new_tensor([[cos, -sin], [sin, cos]])
        # Traffic goes anticlockwise: the head is at the arc's start.
        head = polygon(q, (0.27, -0.02), (0.75, -0.02), (0.51, -0.34))
        arrows += [arc(q, (0, 0), 0.51, -2, 62) - 0.095, head]
    return [(plate, WHITE), (plate + 0.04, BLUE), (union(*arrows), WHITE)]


def _pedestrian_crossing(p: Tensor) -> Layers:
    plate = polygon(p, (-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)) - 0.06
    triangle = polygon(p, (0, -0.68), (0.72, 0.62), (-0.72, 0.62))
    walker = union(
        disc(p, (0.02, -0.3), 0.085),
        line(p, (0.02, -0.12), (-0.02, 0.14)) - 0.08,
        line(p, (-0.02, 0.14), (0.08, 0.3), (0.14, 0.52)) - 0.05,
        line(p, (-0.02, 0.14), (-0.08, 0.32), (-0.2, 0.5)) - 0.05,
        line(p, (0.02, -0.12), (-0.15, 0.06)) - 0.035,
        line(p, (0.02, -0.12), (0.12, 0.02), (0.2, 0.04)) - 0.035,
    )
    return [(plate, WHITE), (plate + 0.05, BLUE), (triangle, WHITE), (walker, BLACK)]


FACES: dict[str, Callable[[Tensor], Layers]] = {
    "speed limit 30": _speed_limit("30"),
    "speed limit 50": _speed_limit("50"),
    "speed limit 100": _speed_limit("100"),
    "no entry": _no_entry,
    "stop": _stop,
    "yield": _yield,
    "priority road": _priority_road,
    "danger": _danger,
    "turn right": _turn(1.0),
    "turn left": _turn(-1.0),
    "roundabout": _roundabout,
    "pedestrian crossing": _pedestrian_crossing,
}


def face(name: str, size: int = FACE_PIXELS) -> Tensor:
    """The sign `name` from the front: float32 (4, size, size), red, green, blue and opacity, each in [0, 1].

    Opacity is 1 on the sign, 0 beside it. Raises ValueError, listing the signs, for another name.
    """
    if name not in FACES:
        raise ValueError(f"name must be one of {', '.join(map(repr, FACES))}; got {name!r}")
    (plate, colour), *layers = FACES[name](grid(size))
    # The plate's colour goes on beside it, so that no other colour bleeds into its edge when the face is resampled.
    image = plate.new_tensor(colour)[:, None, None].expand(3, size, size)
    for d, colour in layers:
        image = torch.lerp(image, plate.new_tensor(colour)[:, None, None], covered(d))
    return torch.cat([image, covered(plate)[None]])


# --- the photographs


class View(NamedTuple):
    """How each of N signs is photographed; made by `views`. All float32."""

    homography: Tensor  # (N, 3, 3): from the photograph's coordinates to the face's, both in [-1, 1]
    background: Tensor  # (N, 3, PIXELS, PIXELS)
    fading: Tensor  # (N, 1, 1, 1): how far the sign's colours have gone towards grey
    light: Tensor  # (N, 3, PIXELS, PIXELS): how much light of each colour falls where, shadows in it
    haze: Tensor  # (N, 1, 1, 1): how far black has gone towards grey
    blur: Tensor  # (N, 2): standard deviation in pixels, across and down
    noise: Tensor  # (N, 3, PIXELS, PIXELS): of the camera, added at the end

    def select(self, images: slice | Tensor) -> "View":
        """The views of some images (slice, indices or mask)."""
        return View(*(part[images] for part in self))


# What `views` takes instead of drawing it.
FIXABLE = ("yaw", "pitch", "roll", "distance", "size", "light", "shadow", "haze", "fading", "blur", "noise")


def views(count: int, generator: Generator | None = None, **fixed: float | Sequence[float] | Tensor) -> View:
    """`count` random views, on the CPU; their ranges are those of `load("signs")`, train and test alike.

    Camera: turned about the sign by up to 40 degrees to the sides (`yaw`), 20 up and down (`pitch`); tilted by up to 12
    (`roll`); at 3 to 10 half-widths of the sign (`distance`), which takes 60 to 95 % of the photograph's width (`size`)
    and lies up to 10 % off its centre. Light (`light`): 0.45 to 1.2 of full, bluish to reddish by 10 %; half of the
    signs lie partly in a shadow that takes 20 to 60 % (`shadow`, 0 for none). Haze (`haze`) takes up to 25 % of the
    contrast, age (`fading`) up to 30 % of the colours, blur (`blur`) up to 0.9 pixels each way, and the camera adds
    noise of standard deviation up to 0.03 (`noise`). Background: sky, trees, walls, street in soft patches.

    fixed: by the names above, what is given instead of drawn, a number or one for each view; also beyond these ranges.
    All else is then drawn as it would have been. Raises ValueError, listing the names, for another one.
    """
    unknown = sorted(set(fixed) - set(FIXABLE))
    if unknown:
        raise ValueError(f"fixed must be among {', '.join(FIXABLE)}; got {', '.join(unknown)}")

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    def given(name: str, drawn: Tensor) -> Tensor:
        if name not in fixed:
            return drawn
        value = torch.as_tensor(fixed[name], dtype=drawn.dtype)
        if value.shape not in ((), (count,)):
            raise ValueError(f"{name} must be a number or one for each of {count} views; got {tuple(value.shape)}")
        return value.view(-1, *[1] * (drawn.ndim - 1)).expand(drawn.shape)

    bright = given("light", between(math.log(0.45), math.log(1.2), 1, 1, 1).exp())
    warmth = between(-0.1, 0.1, 1, 1, 1) * torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1)
    return View(
        homography=_homographies(between, given),
        background=_backgrounds(count, between, generator),
        fading=given("fading", between(0.0, 0.3, 1, 1, 1)),
        light=bright * (1 + warmth) * _shadows(between, given),
        haze=given("haze", between(0.0, 0.25, 1, 1, 1)),
        blur=given("blur", between(0.0, 0.9, 2)),
        noise=given("noise", between(0.0, 0.03, 1, 1, 1)) * torch.randn(count, 3, PIXELS, PIXELS, generator=generator),
    )


def photograph(faces: Tensor, view: View) -> Tensor:
    """The faces as the views show them, (N, 3, 32, 32) in [0, 1]; differentiable in the faces.

    faces: (N, 4, S, S), or (1, 4, S, S) for one sign in every view: red, green, blue, opacity as `face` gives them.
    The result has their dtype and device. S = 64 suits 32 pixels; much larger faces are seen grainy.
    """
    view = View(*(part.to(faces) for part in view))
    count, fine = len(view.homography), 2 * PIXELS  # twice as fine as the result: edges without steps
    points = F.pad(grid(fine).to(faces).view(-1, 2), (0, 1), value=1.0)
    where = points @ view.homography.mT
    where = (where[..., :2] / where[..., 2:]).view(count, fine, fine, 2)
    seen = F.grid_sample(faces.expand(count, -1, -1, -1), where, padding_mode="border", align_corners=False)
    opacity, pole = seen[:, 3:] * _inside(where), _pole(where)
    sign = F.avg_pool2d(opacity * seen[:, :3], 2)
    sign = torch.lerp(sign, sign.mean(1, keepdim=True), view.fading)
    beside = 1 - opacity
    scene = sign + F.avg_pool2d(beside * pole, 2) * 0.45 + F.avg_pool2d(beside * (1 - pole), 2) * view.background
    scene = _blurred(scene * view.light * (1 - view.haze) + 0.5 * view.haze, view.blur)
    return (scene + view.noise).clamp(0, 1)


def any_photograph(faces: Tensor, *, generator: Generator | None = None) -> Tensor:
    """t(x) of a random t: each of the faces (N, 4, S, S) in a view of its own, (N, 3, 32, 32).

    A transform for `attacks.expectation`: what is painted on a sign is then optimised for all views at once.
    """
    return photograph(faces, views(len(faces), generator))


def _homographies(between: Draw, given: Callable[[str, Tensor], Tensor]) -> Tensor:
    """From a photograph's points to the sign's: a pinhole camera looks at the sign's plane, inverted."""
    yaw, pitch = given("yaw", between(-40, 40)).deg2rad(), given("pitch", between(-20, 20)).deg2rad()
    roll = given("roll", between(-12, 12)).deg2rad()
    distance, size = given("distance", between(3.0, 10.0)), given("size", between(0.6, 0.95))
    shift = between(-0.1, 0.1, 2)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def rows(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).view(-1, 3, 3)

    turned = (
        rows(roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one)
        @ rows(one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos())
        @ rows(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    )
    centre = torch.stack([zero, zero, distance], dim=-1)
    plane = torch.cat([turned[:, :, :2], centre[:, :, None]], dim=2)  # (u, v, 1) -> a point before the camera
    lens = rows(size * distance, zero, shift[:, 0], zero, size * distance, shift[:, 1], zero, zero, one)
    return torch.linalg.inv(lens @ plane)


def _backgrounds(count: int, between: Draw, generator: Generator | None) -> Tensor:
    """What stands behind a sign: two colours above one another, patches of other brightness and colour on them."""
    far = torch.tensor([[0.55, 0.70, 0.90], [0.80, 0.84, 0.88], [0.92, 0.92, 0.90], [0.35, 0.45, 0.28]])
    near = torch.tensor([[0.25, 0.36, 0.16], [0.40, 0.40, 0.40], [0.50, 0.40, 0.30], [0.60, 0.56, 0.50]])

    def pick(palette: Tensor) -> Tensor:
        return palette[torch.randint(len(palette), (count,), generator=generator)].view(count, 3, 1, 1)

    def patches(channels: int, cells: int) -> Tensor:
        values = torch.randn(count, channels, cells, cells, generator=generator)
        return F.interpolate(values, PIXELS, mode="bicubic")

    down = grid(PIXELS)[..., 1]
    rough = 0.3 * patches(1, 5) + 0.15 * patches(1, 13)
    ground = torch.sigmoid((down - between(-0.6, 1.2, 1, 1, 1) + rough) * between(3, 20, 1, 1, 1))
    scene = torch.lerp(pick(far), pick(near), ground)
    texture = 0.10 * patches(1, 3) + 0.08 * patches(1, 9) + 0.07 * patches(1, 24)
    tint = 0.04 * patches(3, 4)
    return ((scene + tint) * (1 + (0.3 + ground) * texture)).clamp(0, 1)


def _shadows(between: Draw, given: Callable[[str, Tensor], Tensor]) -> Tensor:
    """The share of light left, (N, 1, PIXELS, PIXELS): a half plane in the shadow, or none of it."""
    angle, offset = between(0, 2 * math.pi, 1, 1), between(-0.4, 0.4, 1, 1)
    right, down = grid(PIXELS).unbind(-1)
    side = torch.sigmoid((angle.cos() * right + angle.sin() * down - offset) * between(4, 40, 1, 1))
    depth = given("shadow", between(0.2, 0.6, 1, 1) * (between(0, 1, 1, 1) < 0.5))
    return (1 - depth * side)[:, None]


def _inside(where: Tensor) -> Tensor:
    """1 where points (N, H, W, 2) fall on the face's square, 0 beside it, where grid_sample repeats its edge."""
    return (where.abs().amax(-1) <= 1).to(where.dtype)[:, None]


def _pole(where: Tensor) -> Tensor:
    """1 on the pole below the sign's middle, (N, 1, H, W), with soft edges."""
    right, down = where.unbind(-1)
    return (((0.06 - right.abs()) * 30 + 0.5).clamp(0, 1) * (down > 0))[:, None]


def _blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Each image of x (N, 3, H, W) blurred by its own sigma (N, 2), across and down."""
    taps = torch.arange(-2, 3, device=x.device, dtype=x.dtype)
    weights = torch.softmax(-(taps**2) / (2 * sigma[..., None] ** 2 + 1e-3), dim=-1)  # (N, 2, 5)
    across, down = weights[..., None, None, None].unbind(1)  # each (N, 5, 1, 1, 1)
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    x = torch.stack([across[:, k] * x[..., k : k + PIXELS] for k in range(5)]).sum(0)
    return torch.stack([down[:, k] * x[..., k : k + PIXELS, :] for k in range(5)]).sum(0)


# --- the data set


@cache
def _pixels(split: str) -> Tensor:
    """The photographs of a split as uint8 (N, 3, 32, 32): rounding hides that processors add in another order."""
    generator = Generator().manual_seed(SEED[split])
    faces = torch.stack([face(name) for name in FACES])
    parts = []
    with torch.inference_mode(False), torch.no_grad():
        for labels in _labels(split).split(240):
            x = photograph(faces[labels], views(len(labels), generator))
            parts.append((x * 255).round().to(torch.uint8))
    return torch.cat(parts)


def _labels(split: str) -> Tensor:
    return torch.arange(SIZE[split]) % len(FACES)


def signs(split: str) -> Dataset:
    """Rendered traffic signs, 32x32: 2,400 to train on, 600 to test on, the same ones everywhere.

    Signs take turns, so any prefix is balanced and `x[:12]` holds one of each; `views` says how they vary.
    """
    return Dataset(_pixels(split).float() / 255, _labels(split), list(FACES))
