"""One's own photograph, however it arrives."""

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from coursekit import data
from coursekit.data import photos

RED = (255, 0, 0)


def encoded(image, kind="PNG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture
def picture():
    """Colourful, 300 x 200, left half brighter."""
    pixels = np.random.default_rng(0).integers(0, 120, (200, 300, 3), dtype=np.uint8)
    pixels[:, :150] += 120
    return Image.fromarray(pixels)


def test_every_way_of_handing_it_over_gives_the_same(picture, tmp_path):
    path = tmp_path / "photo.png"
    picture.save(path)
    content = path.read_bytes()
    x = data.photo(picture)
    assert x.shape == (3, 224, 224)
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    assert x.min() >= 0
    assert x.max() <= 1
    array = np.asarray(picture)
    others = [path, str(path), content, bytearray(content), memoryview(content), array, array.astype(np.uint16) * 257]
    for other in [*others, array / 255, (array / 255).astype(np.float32), array[::-1, ::-1][::-1, ::-1]]:
        assert torch.equal(data.photo(other), x)


def test_the_callers_image_stays_as_it_is(picture):
    before = picture.tobytes()
    data.photo(picture).zero_()
    assert picture.tobytes() == before
    assert picture.size == (300, 200)


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (224, 224), (2000, 1500)])
def test_any_size_is_taken(size):
    assert torch.equal(
        data.photo(Image.new("RGB", size, RED)), torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, 224, 224)
    )


def test_shrinking_averages_instead_of_picking_pixels():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (1792, 896))
    assert (data.photo(stripes) - 0.5).abs().max() < 0.02


def test_the_middle_is_kept():
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = RED
    assert (data.photo(wide)[0] == 1).all()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_kind_of_grey_comes_out_as_grey(mode):
    grey = Image.fromarray(np.full((50, 50), 102, np.uint8))
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.full((50, 50), 102 * 257, np.uint16)).convert(mode)
    elif mode == "F":
        image = Image.fromarray(np.full((50, 50), 0.4, np.float32))
    else:
        image = grey.convert("RGB").convert(mode)
    x = data.photo(image)
    assert (x - 0.4).abs().max() < 0.02


def test_sixteen_bit_files_are_not_clipped():
    ramp = np.linspace(0, 65535, 224).astype(np.uint16)[None].repeat(224, 0)
    x = data.photo(encoded(Image.fromarray(ramp)))
    assert (x[0, 0] - torch.linspace(0, 1, 224)).abs().max() < 0.01


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_laid_on_white(mode):
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 0)).convert(mode)
    assert (data.photo(encoded(image)) == 1).all()
    half = np.zeros((60, 60, 4), np.uint8)
    half[..., 3] = 128
    assert (data.photo(half) - 0.5).abs().max() < 0.01


def test_a_transparent_colour_counts_too():
    image = Image.new("RGB", (60, 60), RED)
    assert (data.photo(encoded(image, transparency=RED)) == 1).all()


def test_it_is_turned_as_the_camera_was_held(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # held so that the picture must be turned clockwise
    turned = data.photo(encoded(picture, "PNG", exif=exif))
    assert torch.equal(turned, data.photo(picture.rotate(-90, expand=True)))


@pytest.mark.parametrize("exif", [b"Exif\x00\x00", b"Exif\x00\x00nonsense", b"Exif\x00\x00II*\x00" + b"\xff" * 9])
def test_nonsense_about_how_it_was_held_is_ignored(picture, exif):
    assert torch.equal(data.photo(encoded(picture, "JPEG", exif=exif)), data.photo(encoded(picture, "JPEG")))


@pytest.mark.parametrize("content", [b"", b"hello", b"<svg></svg>", b"\x89PNG\r\n\x1a\n" + bytes(50), b"GIF89a"])
def test_what_is_no_image_is_said_to_be_none(content, tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"source must be an image .*'notes.jpg' is none"):
        data.photo(path)
    with pytest.raises(ValueError, match=f"{len(content)} bytes is none"):
        data.photo(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_half_a_file_is_an_error_or_an_image_never_a_crash(picture, kind, share):
    content = encoded(picture, kind)
    with contextlib.suppress(ValueError):
        assert data.photo(content[: int(share * len(content))]).shape == (3, 224, 224)


def test_huge_images_are_refused_before_they_are_decoded(monkeypatch, recwarn):
    monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
    with pytest.raises(ValueError, match=r"at most 10,000 pixels; got .* of 101 x 100"):
        data.photo(Image.new("1", (101, 100)))
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    with pytest.raises(ValueError, match="at most 10,000 pixels"):
        data.photo(bomb)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (None, TypeError, "path, bytes, a PIL image or a numpy array; got NoneType"),
        (({"content": b""},), TypeError, r"got tuple \(an upload widget's bytes are in its value\[0\].content"),
        (torch.rand(3, 8, 8), TypeError, "got Tensor"),
        (np.zeros((3, 8, 9), np.uint8), ValueError, r"got shape \(3, 8, 9\); channels come last"),
        (np.zeros((0, 4), np.uint8), ValueError, r"got shape \(0, 4\)"),
        (np.zeros(5, np.uint8), ValueError, r"got shape \(5,\)"),
        (np.full((4, 4), 3.0), ValueError, r"in \[0, 1\] .* got 3 to 3"),
        (np.full((4, 4), np.nan), ValueError, r"in \[0, 1\]"),
        (np.zeros((4, 4), np.int64), TypeError, "got int64"),
        ("/no/such/photo.jpg", FileNotFoundError, "photo.jpg"),
        ("/", ValueError, "got the folder '/'"),
    ],
)
def test_other_sources_are_refused_by_name(source, error, says):
    with pytest.raises(error, match=says):
        data.photo(source)
