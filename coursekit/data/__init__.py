"""Data sets as tensors in [0, 1]: `load(name, split)`; one's own photograph: `photo(source)`."""

from coursekit.data import downloads, faces, mnist, moons, photos, signs
from coursekit.data.dataset import Dataset
from coursekit.data.photos import photo

__all__ = ["Dataset", "load", "photo", "signs"]

SHIPPED = {
    "mnist": mnist.mnist,
    "moons": moons.moons,
    "photos": photos.photos,
    "faces": faces.faces,
    "signs": signs.signs,
}
SPLITS = ("train", "test")


def load(name: str, split: str = "train") -> Dataset:
    """The data set called `name`, as fresh tensors: x float32 in [0, 1], y int64, classes.

    name: these need no network: "mnist" (4,000 + 1,000 real digits, (N, 1, 28, 28)), "moons" (800 + 200 points,
    (N, 2)), "photos" (6 with ImageNet labels, (6, 3, 224, 224), the same ones as either split), "faces" (160 + 40
    with and without a face, (N, 1, 25, 25)), "signs" (2,400 + 600 rendered traffic signs, (N, 3, 32, 32)).
    "mnist_full", "fashion_mnist", "cifar10" and "gtsrb" are downloaded when first asked for.
    split: "train" or "test". Raises ValueError for another name or split, ConnectionError if a download fails.
    """
    known = (*SHIPPED, *downloads.NAMES)
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(map(repr, known))}; got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}; got {split!r}")
    return SHIPPED[name](split) if name in SHIPPED else downloads.download(name, split)
