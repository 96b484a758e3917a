"""Larger data sets, downloaded through torchvision the first time they are asked for."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from coursekit.data.dataset import Dataset


def _folder() -> Path:
    """Where downloads are kept: $COURSEKIT_CACHE, else the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("COURSEKIT_CACHE") or Path(cache) / "coursekit")


def _gray(dataset) -> tuple[np.ndarray, list[int]]:
    return dataset.data.numpy()[:, None], dataset.targets.tolist()


def _colour(dataset) -> tuple[np.ndarray, list[int]]:
    return dataset.data.transpose(0, 3, 1, 2), dataset.targets


def _signs(dataset) -> tuple[np.ndarray, list[int]]:
    # The photographs differ in size; 32x32 is what the published classifiers of this set use.
    pairs = [(np.asarray(image.convert("RGB").resize((32, 32))), label) for image, label in dataset]
    return np.stack([image for image, _ in pairs]).transpose(0, 3, 1, 2), [label for _, label in pairs]


def _open(name: str, split: str):
    from torchvision import datasets

    root, train = _folder(), split == "train"
    if name == "mnist_full":
        return datasets.MNIST(root, train=train, download=True)
    if name == "fashion_mnist":
        return datasets.FashionMNIST(root, train=train, download=True)
    if name == "cifar10":
        return datasets.CIFAR10(root, train=train, download=True)
    return datasets.GTSRB(root, split=split, download=True)


_PIXELS = {"mnist_full": _gray, "fashion_mnist": _gray, "cifar10": _colour, "gtsrb": _signs}
NAMES = tuple(_PIXELS)
# What comes with the course instead.
EMBEDDED = {
    "mnist_full": ("mnist", "5,000 digits"),
    "fashion_mnist": ("mnist", "5,000 digits"),
    "cifar10": ("photos", "six photographs with ImageNet labels"),
    "gtsrb": ("signs", "3,000 rendered traffic signs"),
}
PATIENCE = 20  # seconds without an answer: some networks drop what they do not allow, and say nothing


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def download(name: str, split: str) -> Dataset:
    """A data set of torchvision as tensors. Raises ConnectionError, one line, if it cannot be had."""
    try:
        with _impatient():
            source = _open(name, split)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        instead, what = EMBEDDED[name]
        raise ConnectionError(
            f"data set {name!r} could not be downloaded to {_folder()} ({reason[-1]}); "
            f'load("{instead}") needs no network: {what} come with the course'
        ) from None
    pixels, labels = _PIXELS[name](source)
    classes = getattr(source, "classes", None) or [str(label) for label in range(max(labels) + 1)]
    x = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
    return Dataset(x, torch.tensor(labels, dtype=torch.int64), list(classes))
