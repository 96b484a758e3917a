"""What random search alone has to say; what it promises as an attack is tested with `strongest`."""

import math

import pytest
import torch

from coursekit.attacks import random_search
from coursekit.perturbations import LpBall


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"queries": 0}, ValueError, "queries must be at least 1; got 0"),
        ({"queries": 2.5}, TypeError, "queries must be an int; got float"),
        ({"generator": "a"}, TypeError, "generator must be a torch.Generator or None; got str"),
    ],
)
@pytest.mark.parametrize("count", [0, 2])
def test_wrong_settings_are_named_for_an_empty_batch_too(settings, error, says, count):
    x, y = torch.full((count, 3), 0.5), torch.zeros(count, dtype=torch.int64)
    with pytest.raises(error, match=says):
        random_search(lambda x: x, x, y, LpBall(0.1, math.inf), **settings)
