"""Small grey photographs with and without a face, which arrive with scikit-image."""

from functools import cache

import numpy as np
import torch

from coursekit.data.dataset import Dataset
from coursekit.data.packaged import packaged

TEST_EVERY = 5  # of each class every fifth is a test image: 20 of 100


@cache
def _table() -> np.ndarray:
    """float32 (100, 2, 25, 25): the n-th image without a face, the n-th with one."""
    images = np.load(packaged("skimage", "data", "lfw_subset.npy", install="scikit-image"), allow_pickle=False)
    with_face, without = images[:100], images[100:]
    return np.stack([without, with_face], axis=1).astype(np.float32)


def faces(split: str) -> Dataset:
    """25x25 grey photographs, half of them of a face: 160 to train on, 40 to test on, the same ones everywhere.

    The classes take turns. Source: Labeled Faces in the Wild (Huang et al. 2007), the subset of scikit-image.
    """
    table = _table()
    is_test = np.arange(len(table)) % TEST_EVERY == TEST_EVERY - 1
    x = table[is_test if split == "test" else ~is_test].reshape(-1, 1, 25, 25)
    return Dataset(torch.from_numpy(x), torch.arange(len(x)) % 2, ["no face", "face"])
