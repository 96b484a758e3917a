"""Data sets as tensors in [0, 1]: `load(name, split)`."""

from coursekit.data import downloads
from coursekit.data.dataset import Dataset
from coursekit.data.mnist import mnist
from coursekit.data.moons import moons

__all__ = ["Dataset", "load"]

SHIPPED = {"mnist": mnist, "moons": moons}
SPLITS = ("train", "test")


def load(name: str, split: str = "train") -> Dataset:
    """The data set called `name`, as fresh tensors: x float32 in [0, 1], y int64, classes.

    name: "mnist" (4,000 + 1,000 real digits, (N, 1, 28, 28)) and "moons" (800 + 200 points, (N, 2)) need no
    network; "mnist_full", "fashion_mnist", "cifar10" and "gtsrb" are downloaded when first asked for.
    split: "train" or "test". Raises ValueError for another name or split, ConnectionError if a download fails.
    """
    known = (*SHIPPED, *downloads.NAMES)
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(map(repr, known))}; got {name!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}; got {split!r}")
    return SHIPPED[name](split) if name in SHIPPED else downloads.download(name, split)
