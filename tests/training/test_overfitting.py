"""Catastrophic overfitting is told from a training that is merely bad, and from one that never was good."""

import pytest

from coursekit.training import breakdown


@pytest.mark.parametrize(
    ("one_step", "many_steps", "epoch"),
    [
        ([0.5, 0.7, 0.75, 0.9], [0.2, 0.45, 0.4, 0.1], 4),
        ([0.8, 0.8, 0.85, 0.85], [0.6, 0.5, 0.45, 0.35], 4),  # against the best so far, not the epoch before
        ([0.7, 0.8, 0.15], [0.5, 0.6, 0.1], 0),  # both fall
        ([0.9, 0.9], [0.05, 0.06], 0),  # never was high
        ([0.9, 0.95], [0.75, 0.55], 0),  # a dip that is not deep enough
        ([], [], 0),
    ],
)
def test_the_first_epoch_in_which_only_the_one_step_still_looks_good(one_step, many_steps, epoch):
    assert breakdown(one_step, many_steps, 0.2) == epoch


def test_exactly_the_drop_is_not_more_than_the_drop():
    assert breakdown([0.75, 0.75], [0.75, 0.5], 0.25) == 0
    assert breakdown([0.75, 0.875], [0.75, 0.5], 0.25) == 0


def test_histories_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        breakdown([0.5], [], 0.2)
