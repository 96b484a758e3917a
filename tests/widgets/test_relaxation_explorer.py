"""The polygon round the leads: changed controls change picture and words, and the verdict is true."""

import math
import re

import pytest
import torch
from torch import nn

from coursekit import widgets
from coursekit.certify.relaxations import METHODS, certified
from coursekit.perturbations import LpBall


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.fixture
def networks():
    """Scaled so that what is far from a boundary for one is near to it for the other."""
    steep = network(1)
    steep[0].weight.data.mul_(4)
    return {"flat": network(1), "steep": steep}


@pytest.fixture
def points():
    return torch.rand(12, 2, generator=torch.Generator().manual_seed(0))


def test_every_control_changes_picture_and_words(networks, points):
    explorer = widgets.relaxation_explorer(networks, points, networks["flat"](points).argmax(1), eps=0.05)
    for change in ({"method": "crown"}, {"method": "lp"}, {"eps": 0.1}, {"network": "steep"}, {"point": 5}):
        before = explorer.png, explorer.alt
        explorer.set(**change)
        assert explorer.png != before[0]
        assert explorer.alt != before[1]
    assert "point 5" in explorer.alt
    assert "Network steep" in explorer.alt
    assert "eps = 0.1" in explorer.alt


def test_the_verdict_is_true(networks, points):
    name = "steep"
    y = networks[name](points).argmax(1)
    explorer = widgets.relaxation_explorer(networks, points, y, eps=0.05)
    explorer.set(network=name)
    seen = set()
    for point in range(3):
        for eps in (0.02, 0.1):
            for method in METHODS:
                explorer.set(point=point, eps=eps, method=method)
                threat, one = LpBall(eps, math.inf), slice(point, point + 1)
                proven = [bool(certified(networks[name], points[one], y[one], threat, m)) for m in METHODS]
                assert explorer.alt.startswith("Certified:") == proven[METHODS.index(method)]
                if explorer.alt.startswith("Not certified, though"):
                    assert ("can prove it." in explorer.alt and "none of" not in explorer.alt) == any(proven)
                if explorer.alt.startswith("Not certified, and"):
                    drawn = threat.sample(points[one].expand(2000, 2), generator=torch.Generator().manual_seed(0))
                    assert (networks[name](drawn).argmax(1) != y[point]).any()
                seen.add(explorer.alt.split(":")[0])
    assert len(seen) >= 2


def test_a_misclassified_point_has_nothing_to_certify(networks, points):
    wrong = (networks["flat"](points).argmax(1) + 1) % 3
    assert widgets.relaxation_explorer(networks, points, wrong).alt.startswith("Nothing to certify: x itself")


def test_numbers_in_the_words_are_bounds(networks, points):
    y = networks["flat"](points).argmax(1)
    explorer = widgets.relaxation_explorer(networks, points, y, eps=0.1, method="crown", point=3)
    first, second, smallest = map(
        float, re.search(r"at least (\S+) and (\S+); the smallest seen is (\S+)\.", explorer.alt).groups()
    )
    assert min(first, second) <= smallest + 1e-2


def test_at_least_one_network_is_needed(points):
    with pytest.raises(ValueError, match="networks must hold at least one"):
        widgets.relaxation_explorer({}, points, torch.zeros(12, dtype=torch.int64))
