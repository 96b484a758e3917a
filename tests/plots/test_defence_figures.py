"""Landscapes of the loss, claims beside what was left, and a detector's scores."""

import pytest
import torch
from torch import nn

from coursekit import plots
from coursekit.defenses import Quantized
from coursekit.losses import cross_entropy
from coursekit.plots import alt_text


@pytest.fixture(scope="module")
def plane():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).train()
    x, v, w = torch.rand(1, 1, 2, 2), torch.randn(1, 1, 2, 2), torch.randn(1, 1, 2, 2)
    return model, x, torch.tensor([1]), v, w


def test_the_plane_holds_the_loss_at_every_point(plane):
    model, x, y, v, w = plane
    loss, wrong = plots.loss_plane(*plane, points=5)
    assert model.training, "left in its mode"
    model.eval()
    ticks = torch.linspace(-1, 1, 5)
    for i, a in enumerate(ticks):
        for j, b in enumerate(ticks):
            logits = model(x + a * v + b * w)
            torch.testing.assert_close(loss[i, j], cross_entropy(logits, y)[0])
            assert wrong[i, j] == (logits.argmax(1) != y)[0]
    model.train()


def test_across_is_orthogonal_and_as_long():
    v, r = (torch.randn(1, 2, 3, 3, dtype=torch.float64) for _ in range(2))
    w = plots.across(v, r)
    assert abs(float((v * w).sum())) < 1e-9
    torch.testing.assert_close(w.norm(), v.norm())
    # In the plane of v and r, on the side of r.
    basis = torch.stack([v.flatten(), r.flatten()], dim=1)
    fit = torch.linalg.lstsq(basis, w.flatten()[:, None]).solution
    torch.testing.assert_close((basis @ fit).flatten(), w.flatten())
    assert fit[1] > 0


def test_landscapes_say_what_is_to_be_seen(plane):
    model, x, y, v, w = plane
    loss, wrong = plots.loss_plane(*plane, points=11)
    models = {"bare": model, "quantized": Quantized(model.eval(), 2), "flat": lambda x: torch.zeros(len(x), 3)}
    figure = plots.loss_surfaces(models, x, y, v, w, points=11)
    assert [axes.get_title("center") for axes in figure.axes] == list(models)
    said = alt_text(figure)
    assert f"bare: loss from {plots.short(float(loss.min()))} to {plots.short(float(loss.max()))}" in said
    assert f"the model is wrong at {100 * wrong.float().mean():.0f} % of the points" in said
    assert "flat: loss from 1.1 to 1.1, 100 % of the steps" in said
    saturated = {"sure": lambda x: torch.tensor([[0.0, 1e3, 0.0]]).expand(len(x), 3)}
    sure = plots.loss_surfaces(saturated, x, y, v, w, points=3)
    assert "sure: loss from 0 to 0," in alt_text(sure), "no minus zero"
    figure.draw_without_rendering()


def test_claims_say_both_numbers_of_every_defence():
    figure = plots.claims({"moat": (0.98, 0.06), "wall": (0.5, 0.7)}, reference=("no defence", 0.05))
    said = alt_text(figure)
    assert "moat: as claimed 98 %, as broken 6 %; wall: as claimed 50 %, as broken 70 %" in said
    assert said.endswith("No defence: 5 %.")
    written = [text.get_text() for text in figure.axes[0].texts]
    assert {"98 %", "6 %", "50 %", "70 %", "as claimed", "as broken", "no defence: 5 %"} <= set(written)


def test_numbers_of_a_claim_do_not_cover_its_points():
    figure = plots.claims({"moat": (0.98, 0.06), "wall": (0.5, 0.7)})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text().endswith("%")]
    for share, place in ((0.98, 1), (0.06, 1), (0.5, 0), (0.7, 0)):
        point = axes.transData.transform((share, place))
        assert not any(box.contains(*point) for box in boxes)


def test_histograms_count_the_alarms():
    scores = {"clean": torch.tensor([1.0, 2.0, 3.0, 8.0]), "attacked": torch.tensor([4.0, 9.0, 12.0, 20.0])}
    figure = plots.score_histograms(scores, 5.0)
    said = alt_text(figure)
    assert "clean: half of the scores above 0.5, alarm for 25 %" in said
    assert "attacked: half of the scores above 2.1, alarm for 75 %" in said
    for axes, part in zip(figure.axes, scores.values(), strict=True):
        bars = [(bar.get_x(), bar.get_height()) for bar in axes.patches if hasattr(bar, "get_height")]
        above = sum(height for left, height in bars if left >= 1 - 1e-9 and height >= 1)
        assert above >= int((part > 5).sum()), "no bar lies across the threshold"


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: plots.claims({}), "measured must hold at least one defence"),
        (lambda: plots.claims({"moat": (1.2, 0.1)}), "measured\\['moat'\\] must be two shares"),
        (lambda: plots.score_histograms({}, 1.0), "scores must hold at least one kind"),
        (lambda: plots.score_histograms({"a": torch.tensor([0.0])}, 1.0), "must be above 0"),
        (lambda: plots.across(torch.zeros(2), torch.zeros(3)), "r must have the shape of v"),
        (lambda: plots.loss_surfaces({}, *[torch.zeros(1, 2)] * 4), "models must hold at least one classifier"),
        (
            lambda: plots.loss_plane(abs, torch.zeros(1, 2), torch.tensor([0]), torch.zeros(1, 3), torch.zeros(1, 2)),
            "v must have the shape of x, \\(1, 2\\); got \\(1, 3\\)",
        ),
        (
            lambda: plots.loss_plane(abs, torch.zeros(2, 2), torch.tensor([0, 1]), *[torch.zeros(2, 2)] * 2),
            "x and y must be one image and its label",
        ),
    ],
)
def test_wrong_arguments_are_named(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()
