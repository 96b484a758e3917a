"""Questions asked by a bisection, and the lead along FGSM's step: what they say is so."""

import numpy as np
import pytest
import torch

from coursekit import plots


def test_the_staircase_is_the_number_of_halvings():
    figure = plots.questions_asked([0.5, 1.0, 3.0, 1000.0], [1, 2, 3, 12], ["a", "a", "b", "b"])
    (axes,) = figure.axes
    ratio, halvings = axes.lines[0].get_data()
    for r, k in zip(ratio[::50], halvings[::50], strict=True):
        assert r / 2**k < 1
        assert k == 0 or r / 2 ** (k - 1) >= 1
    assert "1 to 2 above the number of halvings, from 1 to 12 questions" in plots.alt_text(figure)


def test_numbers_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="got 2, 1, 2"):
        plots.questions_asked([1.0, 2.0], [1], ["a", "b"])


def bump(x):
    """One pixel; class 1 between 0.55 and 0.75, and a slope that leads there from the left."""
    u = x.flatten(1)[:, :1]
    return torch.cat([torch.zeros_like(u), 10 * (0.1 - (u - 0.65).abs()) + 0.01 * u], dim=1)


def test_a_crossing_on_the_way_is_counted():
    x, y = torch.tensor([[0.4], [0.5]]), torch.tensor([0, 0])
    figure = plots.along_the_step(bump, {0.1: (x[:1], y[:1]), 0.5: (x, y)})
    near, far = figure.axes
    assert near.get_title(loc="left") == "ε = 0.1: 1 missed, 0 crossed on the way"
    assert far.get_title(loc="left") == "ε = 0.5: 2 missed, 2 crossed on the way"
    share, lead = far.lines[0].get_data()
    logits = bump(x[:1] + torch.tensor(share)[:, None] * 0.5)
    np.testing.assert_allclose(lead, logits[:, 0] - logits[:, 1], atol=1e-5)
    assert "2 images that FGSM leaves right; 2 of them are misclassified on the way" in plots.alt_text(figure)
