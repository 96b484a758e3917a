"""The figures of physical attacks: their words give the numbers they were given, their labels stay readable."""

import pytest
import torch

from coursekit import plots

PANELS = [
    plots.Departure("size", [0.2, 0.6, 1.0], {"naive": [0.0, 0.1, 0.9], "all views": [0.0, 0.8, 0.95]}, (0.5, 0.9)),
    plots.Departure("light", [1.5, 1.0, 0.1], {"naive": [0.2, 0.3, 0.0], "all views": [0.7, 0.8, 0.004]}, (0.4, 1.2)),
]


@pytest.mark.parametrize("channels", [1, 3])
def test_price_says_the_success_at_every_weight(channels):
    figure = plots.price([0, 10, 300], [1.0, 0.85, 0.0], torch.rand(3, channels, 5, 5), ylabel="faces missed")
    said = plots.alt_text(figure)
    assert said.startswith("Faces missed against the weight λ of the constraint")
    assert "100 % at 0, 85 % at 10, 0 % at 300" in said
    assert len(figure.axes) == 4


def test_price_wants_a_picture_and_a_success_for_every_weight():
    with pytest.raises(ValueError, match="must be equally many; got 3, 2 and 3"):
        plots.price([0, 1, 2], [0.5, 0.5], torch.rand(3, 1, 4, 4))


def test_by_view_says_how_each_line_begins_where_it_is_in_the_middle_and_how_it_ends():
    said = plots.alt_text(plots.by_view(PANELS))
    assert "Size from 0.2 to 1: naive 0 % at 0.2, 10 % at 0.6, 90 % at 1; all views 0 % at 0.2" in said
    assert (
        "Light from 0.1 to 1.5: naive 20 % at 1.5, 30 % at 1, 0 % at 0.1; all views 70 % at 1.5, 80 % at 1, < 1 %"
        in said
    )


def test_by_view_writes_the_name_of_each_line_once_and_no_label_onto_another():
    figure = plots.by_view(PANELS)
    figure.draw_without_rendering()
    *others, last = figure.axes
    labels = [text for text in last.texts if text.get_text() in ("naive", "all views")]
    assert len(labels) == 2
    assert not any(text.get_text() in ("naive", "all views") for axes in others for text in axes.texts)
    boxes = [text.get_window_extent() for text in last.texts]
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_by_view_takes_one_panel_and_five_lines():
    lines = {f"line {k}": [k / 5, k / 6] for k in range(5)}
    assert "line 4" in plots.alt_text(plots.by_view([plots.Departure("angle", [-40, 40], lines, (-10, 10))]))
    with pytest.raises(ValueError, match="panels must hold at least one"):
        plots.by_view([])
