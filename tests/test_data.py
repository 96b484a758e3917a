import socket
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from coursekit import data
from coursekit.data import downloads, signs
from coursekit.data.packaged import packaged

SHIPPED = ["mnist", "moons", "photos", "faces", "signs"]


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        ("mnist", (4000, 1000), (1, 28, 28)),
        ("moons", (800, 200), (2,)),
        ("photos", (6, 6), (3, 224, 224)),
        ("faces", (160, 40), (1, 25, 25)),
        ("signs", (2400, 600), (3, 32, 32)),
    ],
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
        assert len(set(classes)) == len(classes)
        assert set(y.tolist()) <= set(range(len(classes)))
        if name != "photos":
            assert set(y.tolist()) == set(range(len(classes)))


@pytest.mark.parametrize("name", ["mnist", "moons", "faces", "signs"])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("length", [10, 37, None])
def test_any_prefix_is_balanced(name, split, length):
    _, y, classes = data.load(name, split)
    counts = Counter(y[:length].tolist())
    assert max(counts.values()) - min(counts.get(label, 0) for label in range(len(classes))) <= 1


def test_digits_are_real_and_their_labels_fit():
    """A nearest-mean classifier knows nothing of the order of the file, and still gets four of five right."""
    train, test = data.load("mnist"), data.load("mnist", "test")
    means = torch.stack([train.x[train.y == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(test.x.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == test.y).float().mean() > 0.78


@pytest.mark.parametrize("name", ["mnist", "moons", "faces", "signs"])
def test_train_and_test_share_no_example(name):
    rows = [{image.numpy().tobytes() for image in data.load(name, split).x} for split in ("train", "test")]
    assert not rows[0] & rows[1]


def test_photos_are_the_same_as_either_split():
    assert torch.equal(data.load("photos", "train").x, data.load("photos", "test").x)


@pytest.mark.parametrize("name", SHIPPED)
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
    signs._pixels.cache_clear()
    for name in SHIPPED:
        data.load(name, "test")
    assert torch.equal(state, torch.random.get_rng_state())


def test_loading_does_not_import_the_heavy_packages_that_bring_the_data():
    code = "import sys; from coursekit import data; data.load('mnist'); data.load('faces'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mlxtend", "skimage", "sklearn", "torchvision"} & set(done.stdout.split())


def test_a_package_that_is_missing_is_named_with_its_remedy():
    with pytest.raises(
        ModuleNotFoundError, match=r"cat\.png comes with the package cat-pictures, which is missing: pip"
    ):
        packaged("cat_pictures", "data", "cat.png", install="cat-pictures")
    with pytest.raises(FileNotFoundError, match=r"this version of torch does not carry data/cat\.png"):
        packaged("torch", "data", "cat.png")


@pytest.mark.parametrize("arguments", [("mnst",), ("mnist", "validation"), ("photos", "all"), (["mnist"],)])
def test_unknown_names_and_splits_list_the_known_ones(arguments):
    everything = ".*".join(f"'{name}'" for name in [*SHIPPED, "mnist_full", "fashion_mnist", "cifar10", "gtsrb"])
    with pytest.raises(ValueError, match=f"{everything}|'train', 'test'"):
        data.load(*arguments)


@pytest.mark.parametrize(
    ("name", "instead"),
    [("mnist_full", "mnist"), ("fashion_mnist", "mnist"), ("cifar10", "photos"), ("gtsrb", "signs")],
)
def test_without_a_network_the_error_is_one_line_and_names_the_way_out(name, instead, monkeypatch, tmp_path, capfd):
    """torchvision's own downloader, on a machine that can look up no name."""

    def offline(*_, **__):
        assert socket.getdefaulttimeout()  # a network that answers nothing must not keep anyone waiting
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("COURSEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with pytest.raises(ConnectionError) as caught:
        data.load(name)
    message = str(caught.value)
    assert f'load("{instead}") needs no network' in message
    assert "Name or service not known" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None
    data.load(instead)


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
