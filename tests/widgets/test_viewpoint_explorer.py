"""The explorer that walks around a sign: it shows what the camera sees, and what it says is what the model says."""

import re
import time

import pytest
import torch

from coursekit import models, widgets
from coursekit.data import signs
from coursekit.widgets.viewpoint import view_from

STOP, LIMIT = 4, 2
CONTROLS = {"yaw": 0, "roll": 0, "size": 0.85, "light": 1.0, "haze": 0.0, "scene": 0}


def faces():
    """A STOP sign, and one that is a real speed limit to begin with: the perfect sticker."""
    return {"clean": signs.face("stop"), "perfect": signs.face("speed limit 100")}


@pytest.fixture(scope="module")
def model():
    return models.load("signs_cnn")


@pytest.fixture
def explorer(model):
    return widgets.viewpoint_explorer(model, faces(), STOP, LIMIT, samples=50)


def test_each_control_changes_picture_and_words(explorer):
    pictures, words = {explorer.png}, {explorer.alt}
    changes = ({"yaw": 30}, {"roll": -20}, {"size": 0.5}, {"light": 0.5}, {"haze": 0.2}, {"scene": 7})
    for change in changes:
        explorer.set(**change)
        assert explorer.png not in pictures
        assert explorer.alt not in words
        pictures.add(explorer.png)
        words.add(explorer.alt)
    assert "turned by 30 and tilted by -20 degrees, of size 0.5, in light 0.5, haze 0.2, scene 7" in explorer.alt


def test_the_verdicts_are_those_of_the_model_in_that_view(explorer, model):
    classes = list(signs.FACES)
    for change in ({}, {"yaw": -70, "light": 0.2}, {"roll": 90}, {"size": 0.2, "haze": 0.45, "scene": 3}):
        explorer.set(**change)
        view = view_from(**explorer.values)
        for name, face in faces().items():
            with torch.no_grad():
                called = classes[int(model(signs.photograph(face[None], view)).argmax())]
            assert f"{name}: taken for “{called}”" in explorer.alt


def test_the_record_is_the_share_of_random_views(explorer, model):
    view = signs.views(50, torch.Generator().manual_seed(1000))
    with torch.no_grad():
        right = (model(signs.photograph(faces()["clean"][None], view)).argmax(1) == STOP).float().mean().item()
    said = re.search(r"Over random views: clean “stop” in (.*?), “speed limit 100” in 0 %", explorer.alt)[1]
    assert said == f"{100 * right:.0f} %"
    assert "perfect “stop” in 0 %" in explorer.alt


def test_the_view_is_the_one_asked_for_and_the_scene_stays():
    head_on, turned = view_from(**CONTROLS), view_from(**CONTROLS | {"yaw": 50})
    assert torch.equal(head_on.background, turned.background)
    assert not torch.equal(head_on.homography, turned.homography)
    dim = view_from(**CONTROLS | {"light": 0.5})
    torch.testing.assert_close(dim.light, 0.5 * head_on.light)
    assert not torch.equal(head_on.background, view_from(**CONTROLS | {"scene": 1}).background)


def test_one_sticker_or_three_and_extreme_views(model):
    for count in (1, 3):
        stickers = {f"sticker {k}": signs.face("stop", 32) for k in range(count)}
        explorer = widgets.viewpoint_explorer(model, stickers, STOP, LIMIT, samples=2)
        explorer.set(yaw=75, roll=-90, size=1.2, light=1.6)
        explorer.set(yaw=-75, size=0.2, light=0.1)
        assert explorer.png


def test_the_model_is_left_as_it_is():
    model = models.load("signs_cnn").train()
    widgets.viewpoint_explorer(model, faces(), STOP, LIMIT, samples=2).set(yaw=10)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_redraw_is_quick(explorer):
    times = []
    for yaw in range(1, 8):
        start = time.perf_counter()
        explorer.set(yaw=yaw)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3  # about 0.1 s; a busy machine takes longer


@pytest.mark.parametrize(
    ("stickers", "says"),
    [({}, "stickers must hold at least one face"), ({"a": torch.rand(3, 8, 8)}, r"stickers\['a'\] must be a face")],
)
def test_what_is_no_sign_is_named(model, stickers, says):
    with pytest.raises(ValueError, match=says):
        widgets.viewpoint_explorer(model, stickers, STOP, LIMIT)
