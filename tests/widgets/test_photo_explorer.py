"""A photo, a perturbation and a slider: the picture, the words and the model agree at every size; and an upload."""

import datetime as dt
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from coursekit import widgets
from coursekit.widgets.photo import CRAFTED, NOISE, OWN, Subject

CLASSES = ["night", "dusk", "day"]


class Brightness(nn.Module):
    """Night below a mean of 0.5015, dusk up to 0.5055, day above; dropout shows whether it is used in eval mode."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        mean = self.dropout(x).mean(dim=(1, 2, 3))
        return 2000 * torch.stack([0.5015 - mean, torch.minimum(mean - 0.5015, 0.5055 - mean), mean - 0.5055], dim=1)


def make(count=2, craft=None, model=None, **settings):
    x = torch.full((count, 3, 16, 16), 0.5)
    names = [f"photo {number}" for number in range(count)]
    model = model or Brightness().eval()
    return widgets.photo_explorer(
        model, x, torch.ones_like(x), names=names, classes=CLASSES, craft=craft, **settings
    )  # fmt: skip


def png(colour=(128, 128, 128), size=(300, 260)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "png")
    return file.getvalue()


def upload(box, content, name="mine.png"):
    """As a browser sends a file."""
    when = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    box.button.value = [
        {"name": name, "type": "image/png", "size": len(content), "last_modified": when, "content": memoryview(content)}
    ]


# --- what is added -----------------------------------------------------------------------------------------------


@pytest.fixture
def subject():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(1, 3, 20, 20, generator=generator)
    delta = 2 * torch.rand(x.shape, generator=generator) - 1
    return Subject(Brightness().eval(), x, delta, "noise", largest=0.4, seed=0)


def test_noise_changes_every_pixel_as_far_as_delta_does_up_or_down_at_random(subject):
    crafted, noise = (subject.directions[kind] for kind in (CRAFTED, NOISE))
    assert torch.equal(noise.abs(), crafted.abs())
    kept = (noise == crafted).double().mean().item()
    assert 0.4 < kept < 0.6


@pytest.mark.parametrize("kind", [CRAFTED, NOISE])
def test_every_picture_is_an_image_and_size_zero_is_the_photo(subject, kind):
    assert torch.equal(subject.image(kind, 0.0), subject.x)
    x_tilde = subject.image(kind, 0.4)
    assert x_tilde.min() >= 0
    assert x_tilde.max() <= 1
    assert (x_tilde - subject.x).abs().max() <= 0.4 + 1e-6


@pytest.mark.parametrize("kind", [CRAFTED, NOISE])
@pytest.mark.parametrize("size", [0.0, 0.04, 0.05, 0.0471, 0.4])
def test_the_shares_are_the_models_own_whether_tried_beforehand_or_not(subject, kind, size):
    expected = subject.model(subject.image(kind, size))[0].softmax(dim=0).double().numpy()
    assert np.allclose(subject.at(kind, size), expected, atol=1e-6)


# --- the explorer ------------------------------------------------------------------------------------------------


def test_every_control_changes_picture_and_words():
    explorer = make()
    pictures, words = {explorer.png}, {explorer.alt}
    for change in ({"size": 0.003}, {"size": 0.0085}, {"kind": NOISE}, {"photo": 1}, {"size": 0.0}):
        explorer.set(**change)
        assert explorer.png not in pictures, change
        assert explorer.alt not in words, change
        pictures.add(explorer.png)
        words.add(explorer.alt)


@pytest.mark.parametrize(
    ("size", "said"),
    [(0.0, "night"), (0.001, "night"), (0.003, "dusk"), (0.0035, "dusk"), (0.006, "day"), (0.01, "day")],
)
def test_the_words_say_what_the_model_says_at_this_size(size, said):
    explorer = make()
    explorer.set(size=size)
    assert f"the model says “{said}” with" in explorer.alt
    assert "for the photo itself “night”" in explorer.alt


def test_the_words_say_at_which_sizes_the_answer_changes():
    said = "“night” up to 0.001, “dusk” from 0.002, “day” from 0.006 (sizes tried in steps of 0.001)"
    assert said in make().alt


def test_noise_that_changes_nothing_is_called_that():
    explorer = make()
    explorer.set(kind=NOISE)
    assert "“night” at every size tried, up to 0.010" in explorer.alt


def test_the_model_is_used_in_eval_mode_and_left_as_it_was():
    model = Brightness().train()
    assert make(model=model).alt == make().alt
    assert model.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["one"]}, "one entry for each of the photos"),
        ({"delta": torch.zeros(2, 3, 8, 9)}, "photos \\(N, C, H, W\\) alike"),
        ({"x": torch.zeros(0, 3, 8, 8), "delta": torch.zeros(0, 3, 8, 8), "names": []}, "at least one; got 0 for 0"),
        ({"size": 0.02}, "size must lie in 0 to largest; got 0.02 and 0.01"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    x = torch.zeros(2, 3, 8, 8)
    settings = {"x": x, "delta": x, "names": ["a", "b"], "classes": CLASSES} | change
    with pytest.raises(ValueError, match=message):
        widgets.photo_explorer(Brightness(), settings.pop("x"), settings.pop("delta"), **settings)


# --- a photo of one's own ----------------------------------------------------------------------------------------


def ones(photo):
    return torch.ones_like(photo)


def test_without_craft_there_is_no_upload():
    assert set(make().inputs) == {"photo", "kind", "size"}


def test_ones_own_photo_is_shown_as_soon_as_it_is_there():
    explorer = make(craft=ones)
    explorer.set(photo=OWN)
    assert "No photo of your own yet" in explorer.alt
    explorer.set(photo=0)
    upload(explorer.inputs["own"], png())
    assert explorer.values["photo"] == OWN
    assert explorer.alt.startswith("your own photo, and 0.0050 times delta added: the model says “")
    assert "alert" not in explorer.inputs["own"].message.value
    first = explorer.png
    upload(explorer.inputs["own"], png(colour=(40, 60, 90)))
    assert explorer.png != first


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no image at all", "must be an image that Pillow reads"),
        (b"", "must be an image that Pillow reads"),
        (png()[:200], "is damaged"),
    ],
)
def test_a_broken_file_is_told_in_words_and_nothing_changes(content, said):
    explorer = make(craft=ones)
    before = explorer.png
    upload(explorer.inputs["own"], content, name="holiday<b>.jpg")
    assert re.search(f"holiday&lt;b&gt;.jpg: it .*{said}", explorer.inputs["own"].message.value)
    assert explorer.png == before
    assert explorer.values["photo"] == 0
    upload(explorer.inputs["own"], png())
    assert "alert" not in explorer.inputs["own"].message.value
    assert "your own photo" in explorer.alt


def test_a_broken_file_leaves_the_photo_that_was_uploaded_before():
    explorer = make(craft=ones)
    upload(explorer.inputs["own"], png())
    before = explorer.png
    upload(explorer.inputs["own"], b"broken")
    assert explorer.png == before


def test_the_same_file_may_be_chosen_twice_and_is_not_kept_by_the_button():
    read = []
    box, _ = widgets.Upload("file", lambda content: read.append(content) or len(read)).build()
    for _ in range(2):
        upload(box, b"abc")
        assert box.button.value == ()
    assert read == [b"abc", b"abc"]
    assert box.value == 2


def test_while_a_file_is_read_the_button_says_so():
    said = []
    box, _ = widgets.Upload("file", lambda content: said.append(box.message.value), "One moment ...").build()
    upload(box, b"abc")
    assert said == ['<span role="alert">One moment ...</span>']
    assert box.message.value == "<small>a file of at most 10 MB</small>"


def test_an_upload_has_a_label_like_every_control():
    explorer = make(craft=ones)
    assert explorer.inputs["own"].description == explorer.inputs["own"].button.description == "Your own photo"
