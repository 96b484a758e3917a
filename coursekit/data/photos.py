"""Photographs for the ImageNet classifier: six that arrive with installed packages, and one's own."""

import io
import os
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from coursekit.data.dataset import Dataset
from coursekit.data.packaged import packaged

PIXELS = 224  # what the classifier was trained on
MAX_PIXELS = 100_000_000  # as decoded; the largest phone cameras stay below it


class Photo(NamedTuple):
    """A photograph in an installed package, and the square of it that is shown (left, top, side)."""

    package: str
    install: str
    parts: tuple[str, ...]
    square: tuple[int, int, int]
    label: int  # of ImageNet


# Grey or colour, day or night; what is in the square is one of ImageNet's classes to a person, too.
PHOTOS = {
    "chelsea": Photo("skimage", "scikit-image", ("data", "chelsea.png"), (30, 0, 300), 285),
    "coffee": Photo("skimage", "scikit-image", ("data", "coffee.png"), (40, 0, 400), 967),
    "camera": Photo("skimage", "scikit-image", ("data", "camera.png"), (0, 0, 512), 872),
    "rocket": Photo("skimage", "scikit-image", ("data", "rocket.jpg"), (201, 27, 320), 657),
    "china": Photo("sklearn", "scikit-learn", ("datasets", "images", "china.jpg"), (60, 27, 400), 698),
    "astronaut": Photo("skimage", "scikit-image", ("data", "astronaut.png"), (312, 36, 200), 812),
}


def photos(split: str) -> Dataset:
    """Six photographs, (6, 3, 224, 224), with ImageNet labels and its 1,000 classes; the same six as either split.

    Nothing can be trained on six images, so "train" and "test" hold the same. In order: a cat (Egyptian cat), a cup
    of coffee (espresso), a man with a camera (tripod, grey), a rocket (missile), the Tower of Buddhist Incense in
    Beijing (palace), a model of a shuttle (space shuttle). Chelsea the cat by Stefan van der Walt, the coffee by
    Rachel Michetti and the camera by Lav Varshney are CC0, the rocket (SpaceX) and the shuttle (NASA) in the public
    domain, all from scikit-image; the tower is by danielbuechele, CC BY 2.0, from scikit-learn.
    """
    x = torch.stack([_shipped(name) for name in PHOTOS])
    return Dataset(x, torch.tensor([photo.label for photo in PHOTOS.values()]), list(_imagenet_classes()))


def photo(source: str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray) -> Tensor:
    """One's own photograph as the ImageNet classifier takes it: float32 (3, 224, 224) in [0, 1].

    source: the path of an image file, the bytes of one (an upload widget's `value[0].content`), a PIL image, or an
    array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or floats in [0, 1]. The largest square in the middle is
    taken and resized with antialiasing; it is turned as the camera says it was held, grey becomes RGB, 16 bits
    become 8, and what is transparent is laid on white.
    Raises FileNotFoundError for a path that leads nowhere, ValueError for what cannot be read as an image or has more
    than 100 million pixels, TypeError for any other kind of source.
    """
    image = _decoded(source)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _square(image, (left, top, side))


@cache
def _pixels(name: str) -> Tensor:
    entry = PHOTOS[name]
    with Image.open(packaged(entry.package, *entry.parts, install=entry.install)) as image:
        return _square(image, entry.square)


def _shipped(name: str) -> Tensor:
    return _pixels(name).clone()


@cache
def _imagenet_classes() -> tuple[str, ...]:
    from torchvision.models import get_weight  # takes a second to import

    return tuple(get_weight("EfficientNet_B0_Weights.IMAGENET1K_V1").meta["categories"])


def _square(image: Image.Image, square: tuple[int, int, int]) -> Tensor:
    """The square (left, top, side) of an image as (3, PIXELS, PIXELS)."""
    left, top, side = square
    image = _rgb(image.crop((left, top, left + side, top + side)))
    image = image.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


def _decoded(source) -> Image.Image:
    if isinstance(source, Image.Image):
        return _decoded_image(source, "source")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        if path.is_dir():
            raise ValueError(f"source must be an image file; got the folder {str(path)!r}")
        return _decoded_file(path.read_bytes(), repr(path.name))
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded_file(bytes(source), f"{len(source):,} bytes")
    raise TypeError(
        f"source must be a path, bytes, a PIL image or a numpy array; got {type(source).__name__}"
        + (" (an upload widget's bytes are in its value[0].content)" if isinstance(source, tuple | list | dict) else "")
    )


def _decoded_file(content: bytes, what: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have our own limit, below
        try:
            image = Image.open(io.BytesIO(content))
        except Image.DecompressionBombError:
            raise _too_large(what) from None
        except Exception:  # a decoder fails in any way it likes on a damaged file
            raise ValueError(
                f"source must be an image that Pillow reads (JPEG, PNG, WebP, ...); {what} is none. "
                "A photo from an iPhone may be HEIC: export it as JPEG"
            ) from None
        return _decoded_image(image, what)


def _decoded_image(image: Image.Image, what: str) -> Image.Image:
    if not image.width * image.height:
        raise ValueError(f"source must have pixels; got {what} of {image.width} x {image.height}")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(f"{what} of {image.width:,} x {image.height:,}")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except Exception as error:
        raise ValueError(f"source is damaged: {what} breaks off or cannot be decoded ({error})") from None
    return image


def _too_large(what: str) -> ValueError:
    return ValueError(f"source must have at most {MAX_PIXELS:,} pixels; got {what}. Make it smaller first")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
        hint = "; channels come last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"source must be an array (H, W), (H, W, 3) or (H, W, 4); got shape {array.shape}{hint}")
    array = _eight_bits(array)
    return _decoded_image(Image.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array), "an array")


def _eight_bits(array: np.ndarray) -> np.ndarray:
    """uint8, uint16 or floats in [0, 1] as uint8."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.round(array / 257).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"source must be an array of uint8, uint16 or floats in [0, 1]; got {array.dtype}")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"source must be in [0, 1] if it is of floats; got {array.min():g} to {array.max():g}")
    return np.round(array * 255).astype(np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    """Any kind of image as RGB: what Pillow's own conversion would clip or drop is handled here."""
    if image.mode.startswith("I"):  # 16 bits, which some formats hand over as 32
        image = Image.fromarray(_eight_bits(np.asarray(image).clip(0, 65535).astype(np.uint16)))
    elif image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
