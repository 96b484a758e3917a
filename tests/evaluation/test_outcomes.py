"""Success rates, averages and worst cases against their definitions, image by image."""

import math

import pytest
import torch

from coursekit.evaluation import average_and_worst, smallest_flip, success_rate


def test_only_what_was_right_can_be_attacked():
    y = torch.tensor([0, 0, 1, 1])
    assert success_rate(torch.tensor([0, 0, 1, 0]), torch.tensor([1, 0, 1, 2]), y) == pytest.approx(1 / 3)
    assert success_rate(y, y, y) == 0
    assert success_rate(1 - y, y, y) == 0


def test_the_worst_case_is_never_above_the_average():
    right = torch.rand(7, 40, generator=torch.Generator().manual_seed(0)) < 0.9
    average, worst = average_and_worst(right)
    assert worst == sum(all(column) for column in right.T.tolist()) / 40
    assert average == pytest.approx(right.float().mean().item())
    assert worst < average
    assert average_and_worst(right[:1])[0] == pytest.approx(average_and_worst(right[:1])[1])


@pytest.mark.parametrize("shape", [(5,), (0, 5), (3, 0)])
def test_a_table_without_entries_is_refused(shape):
    with pytest.raises(ValueError, match=r"right must be \(R, B\)"):
        average_and_worst(torch.ones(shape, dtype=torch.bool))


def test_the_smallest_flip_counts_even_if_larger_sizes_flip_back():
    def band(x):  # class 1 where the pixel lies between 0.6 and 0.7
        return torch.cat([torch.zeros_like(x), 0.05 - (x - 0.65).abs()], 1)

    x, delta = torch.tensor([[0.5], [0.5], [0.9]]), torch.tensor([[1.0], [-1.0], [1.0]])
    flip = smallest_flip(band, x, delta, [0.4, 0.18, 0.05, 0.12])
    assert torch.allclose(flip, torch.tensor([0.12, math.inf, math.inf]))
    assert torch.equal(x, torch.tensor([[0.5], [0.5], [0.9]]))
