"""Figures say in words what they show, in every front end, and show what is there."""

import itertools
import math

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn

from coursekit import plots
from coursekit.perturbations import LpBall


def digits(count: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def linear(classes: int = 4, channels: int = 1) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
    return model.eval()


def texts(figure: Figure) -> list[str]:
    everything = [
        *figure.texts,
        *itertools.chain(*([*axes.texts, axes.title, axes._left_title] for axes in figure.axes)),
    ]
    return [text.get_text() for text in everything if text.get_text()]


def figures() -> dict[str, Figure]:
    x, model = digits(4), linear()
    y = model(x).argmax(dim=1)
    eps = torch.linspace(0, 0.3, 5)
    return {
        "images": plots.images(x, titles=list("abcd")),
        "gradient": plots.gradient(x, x - 0.5),
        "perturbation": plots.perturbation(x[0], x[1], model),
        "curves": plots.curves({"one": (eps, 1 - eps, 0.9 - eps, 1 - eps / 2), "two": (eps, 1 - 2 * eps)}),
        "loss_along": plots.loss_along(model, x, y, x.flip(0) - x),
        "diagnostics": plots.diagnostics(model, x, y, LpBall(0.1, math.inf), steps=3, restarts=2),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return figures()


# --- alt text and style -----------------------------------------------------------------------------------------


def test_every_figure_has_an_alt_text_that_reaches_the_reader(drawn):
    shell = InteractiveShell()
    plots.install(shell)
    plots.install(shell)
    for name, figure in drawn.items():
        said = plots.alt_text(figure)
        assert len(said.split()) > 5, name
        bundle, _ = shell.display_formatter.format(figure)
        assert bundle["text/html"].startswith("<img ")
        assert f'alt="{said}"'.replace("<", "&lt;").replace(">", "&gt;") in bundle["text/html"]
        assert bundle["text/plain"] == said


def test_a_session_without_ipython_needs_nothing():
    plots.install(None)


def test_alt_text_is_escaped():
    figure = Figure(label='"quoted" <script>')
    figure.subplots()
    assert "&quot;quoted&quot; &lt;script&gt;" in plots.as_html(figure)
    assert "<script>" not in plots.as_html(figure)


def test_a_figure_without_a_label_is_described_by_its_titles_and_axes():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set(xlabel="eps", ylabel="accuracy")
    right.set_title("the other")
    assert plots.alt_text(figure) == "Figure: accuracy against eps; the other"


def test_drawing_leaves_the_settings_of_the_session_alone():
    before = dict(matplotlib.rcParams)
    figures()
    assert dict(matplotlib.rcParams) == before


def test_style_tells_lines_apart_by_colour_and_by_dashes():
    with matplotlib.rc_context():
        plots.style()
        cycle = list(matplotlib.rcParams["axes.prop_cycle"])
        assert to_rgb(matplotlib.rcParams["figure.facecolor"]) == (1, 1, 1)
    for key in ("color", "linestyle"):
        assert len({str(entry[key]) for entry in cycle}) == len(cycle)


@given(st.sampled_from(plots.COLOURS))
def test_ink_can_be_read_on_white(colour):
    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert 1.05 / (luminance(to_rgb(plots.ink(colour))) + 0.05) >= 4.5


def test_ink_leaves_a_dark_colour_alone():
    assert plots.ink("#000080") == "#000080"


@given(st.floats(0, 1))
def test_percent_says_all_or_nothing_only_where_it_is_so(share):
    assert (plots.percent(share) == "100 %") == (share == 1)
    assert (plots.percent(share) == "0 %") == (share == 0)


# --- images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 3, 8, 8), (1, 8, 8), (8, 8)])
def test_images_takes_what_a_digit_may_look_like(shape):
    figure = plots.images(torch.rand(shape))
    assert sum(bool(axes.images) for axes in figure.axes) == (shape[0] if len(shape) == 4 else 1)


def test_images_shows_the_pixels_of_each_image_with_its_caption():
    x = digits(5)
    figure = plots.images(x, titles=list("abcde"), columns=3)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 6
    for image, title, axes in zip(x, "abcde", shown, strict=True):
        assert axes.get_title() == title
        np.testing.assert_allclose(axes.images[0].get_array(), image[0])
        assert axes.images[0].get_clim() == (0, 1)


def test_images_in_rows_with_marks_say_so():
    figure = plots.images(
        digits(4), titles=["1", "2", "7", "2"], rows=["clean", "attacked"], marked=[False, False, True, False]
    )
    assert plots.alt_text(figure) == "4 images in 2 rows. clean: 1, 2. attacked: 7 (marked), 2."
    widths = [axes.spines["top"].get_linewidth() for axes in figure.axes]
    assert widths[2] > max(widths[:2] + widths[3:])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": [1, 2]}, TypeError, "x must be a tensor"),
        ({"x": torch.rand(2, 5, 8, 8)}, ValueError, r"x must be .* C = 1 or 3; got \(2, 5, 8, 8\)"),
        ({"x": digits(3), "titles": ["a"]}, ValueError, "titles must have one entry for each of the 3 images; got 1"),
        ({"x": digits(3), "marked": [True]}, ValueError, "marked must have one entry"),
        ({"x": digits(4), "rows": ["a"], "columns": 2}, ValueError, "rows must name each of the 2 rows; got 1"),
    ],
)
def test_images_names_the_argument_it_cannot_take(arguments, error, message):
    with pytest.raises(error, match=message):
        plots.images(**arguments)


def test_gradient_says_where_there_is_none():
    grad = digits(3) - 0.5
    grad[1] = 0
    assert "zero everywhere for image 2" in plots.alt_text(plots.gradient(digits(3), grad))
    with pytest.raises(ValueError, match="grad must have the shape of x"):
        plots.gradient(digits(3), digits(2))


# --- x + k * delta = x~ -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_perturbation_prints_the_largest_change_and_both_predictions(channels):
    x, model = digits(1, channels), linear(channels=channels)
    x_adv = (x + 0.07 * torch.sign(digits(1, channels) - 0.5)).clamp(0, 1)
    k = (x_adv - x).abs().max().item()
    figure = plots.perturbation(x, x_adv, model, classes=["cat", "dog", "owl", "elk"], top=3)
    assert f"+ {plots.short(k)} ×" in texts(figure)
    before, after = (["cat", "dog", "owl", "elk"][model(image).argmax()] for image in (x, x_adv))
    assert {f"x: “{before}”", f"x̃: “{after}”"} <= set(texts(figure))
    assert f"class {before}" in plots.alt_text(figure)


def test_perturbation_of_nothing_is_zero_and_not_nan():
    x = digits(1)
    figure = plots.perturbation(x, x.clone(), linear())
    assert "+ 0 ×" in texts(figure)
    assert all(np.isfinite(axes.images[0].get_array()).all() for axes in figure.axes if axes.images)


def test_perturbation_shows_delta_on_a_scale_with_zero_in_the_middle():
    x = digits(1)
    figure = plots.perturbation(x, (x + 0.1).clamp(0, 1), linear())
    assert (-1, 1) in [axes.images[0].get_clim() for axes in figure.axes if axes.images]


def test_a_model_is_left_in_the_mode_it_was_in():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4)).train()
    statistics = model[1].running_mean.clone()
    x, y = digits(4), torch.zeros(4, dtype=torch.int64)
    plots.perturbation(x[0], x[1], model)
    plots.loss_along(model, x, y, x.flip(0) - x)
    plots.diagnostics(model, x, y, LpBall(0.1, 2), steps=2, restarts=2)
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_perturbation_takes_one_image_of_each():
    with pytest.raises(ValueError, match="x and x_adv must be one image each"):
        plots.perturbation(digits(2), digits(2), linear())


# --- curves -----------------------------------------------------------------------------------------------------


def fall(steepness: float) -> tuple[torch.Tensor, torch.Tensor]:
    eps = torch.linspace(0, 0.3, 16)
    return eps, 1 / (1 + torch.exp(steepness * (eps - 0.1)))


@pytest.mark.parametrize(
    "lines",
    [
        {"one line": fall(30)},
        {"FGSM": fall(30), "PGD, 40 steps": fall(45), "random noise": fall(3)},
        {"the same": fall(30), "exactly the same": fall(30)},
        {f"attack number {n}": fall(10 + 8 * n) for n in range(6)},
    ],
)
def test_labels_of_curves_lie_on_no_line_and_on_no_other_label(lines):
    figure = plots.curves(lines)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    labels = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(lines) <= set(labels)
    for (_, one), (_, two) in itertools.combinations(labels.items(), 2):
        assert not one.overlaps(two)
    for label in lines:
        for eps, accuracy in lines.values():
            along = np.linspace(0, 0.3, 500)
            points = axes.transData.transform(np.column_stack([along, np.interp(along, eps, accuracy)]))
            assert not any(labels[label].contains(*point) for point in points), label


def test_lines_differ_in_dashes_and_have_a_band_where_one_is_given():
    eps, accuracy = fall(20)
    figure = plots.curves({"a": (eps, accuracy, accuracy - 0.05, accuracy + 0.05), "b": (eps, accuracy / 2)})
    (axes,) = figure.axes
    assert len({str(line.get_linestyle()) for line in axes.lines}) == 3  # two lines and guessing
    assert len(axes.collections) == 1


def test_curves_sorts_by_eps_and_says_where_a_line_starts_and_ends():
    figure = plots.curves({"pgd": ([0.2, 0.0, 0.1], [0.1, 0.9, 0.5])}, chance=0.5)
    assert "pgd: 90 % at 0, 50 % at 0.1, 10 % at 0.2." in plots.alt_text(figure)
    assert "Guessing gives 50 %" in plots.alt_text(figure)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({}, "lines must hold at least one curve"),
        ({"pgd": ([0, 1],)}, "must be .eps, accuracy. or .eps, accuracy, lower, upper.; got 1 parts"),
        ({"pgd": ([0, 1], [1, 0, 0])}, "must hold sequences of one length"),
    ],
)
def test_curves_names_what_it_cannot_draw(lines, message):
    with pytest.raises(ValueError, match=message):
        plots.curves(lines)


# --- losses along a line ----------------------------------------------------------------------------------------


def ramp(x: torch.Tensor) -> torch.Tensor:
    """Class 0 where the sum of the pixels is below 1, class 1 above; slope of the difference: 5."""
    difference = 5 * (x.flatten(1).sum(dim=1) - 1)
    return torch.stack([torch.zeros_like(difference), difference], dim=1)


def test_the_zero_one_loss_is_a_staircase_that_jumps_where_the_class_changes():
    x, direction = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    figure = plots.loss_along(ramp, x, torch.tensor([0]), direction, span=(-0.5, 2.0), points=1001)
    steps = [path.get_segments()[0] for path in figure.axes[0].collections if path.get_linewidth()[0] > 2]
    assert all(start[1] == end[1] for start, end in steps)  # no step has a slope
    assert [step[0][1] for step in steps] == [0, 1]
    assert steps[0][1][0] == pytest.approx(1, abs=0.005)
    assert "jumps once, first at t = 1" in plots.alt_text(figure)


def test_the_slope_of_the_cross_entropy_is_its_derivative_along_the_line():
    x, direction = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    figure = plots.loss_along(ramp, x, torch.tensor([0]), direction)
    slope = 5 / (1 + math.exp(5))  # d/dt log(1 + e^(5 t - 5)) at t = 0
    assert f"slope {slope:.2g} at t = 0" in plots.alt_text(figure)


def test_the_staircase_of_a_batch_has_a_step_for_each_image():
    x = torch.tensor([0.2, 0.4, 0.6, 1.4]).view(4, 1, 1, 1)
    figure = plots.loss_along(ramp, x, torch.tensor([0, 0, 0, 0]), torch.ones_like(x))
    assert "jumps 3 times" in plots.alt_text(figure)


def test_loss_along_takes_a_single_image():
    x = torch.zeros(1, 2, 2)
    assert "through one image" in plots.alt_text(plots.loss_along(ramp, x, torch.tensor(0), torch.ones_like(x)))


def test_loss_along_draws_a_classifier_without_any_slope():
    x = torch.zeros(1, 1, 2, 2)
    figure = plots.loss_along(lambda x: 0 * ramp(x), x, torch.tensor([0]), torch.ones_like(x))
    assert "never jumps" in plots.alt_text(figure)
    plots.as_html(figure)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": torch.ones(1, 1, 3, 3)}, "direction must have the shape of x"),
        ({"span": (0.1, 0.3)}, "span must run from some t <= 0 to some t > 0"),
    ],
)
def test_loss_along_names_the_argument_it_cannot_take(changes, message):
    arguments = {"direction": torch.ones(1, 1, 2, 2)} | changes
    with pytest.raises(ValueError, match=message):
        plots.loss_along(ramp, torch.zeros(1, 1, 2, 2), torch.tensor([0]), **arguments)


# --- diagnostics ------------------------------------------------------------------------------------------------


def run(losses, correct) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, T + 1, B) from per-restart lists of rows."""
    return torch.tensor(losses, dtype=torch.float32), torch.tensor(correct)


def test_a_sound_attack_raises_no_flag():
    x, model = digits(40), linear()
    y = model(x).argmax(dim=1)
    figure = plots.diagnostics(model, x, y, LpBall(0.05, math.inf), steps=10, restarts=3)
    assert "No red flag" in plots.alt_text(figure)
    assert "3 restarts of 10 steps on 40 images" in plots.alt_text(figure)


def test_a_gradient_that_vanishes_raises_a_flag():
    x, model = digits(40), linear()
    y = model(x).argmax(dim=1)
    figure = plots.diagnostics(lambda x: 1e4 * model(x), x, y, LpBall(0.01, math.inf), steps=5, restarts=2)
    assert "never rises: there may be no gradient" in plots.alt_text(figure)


def test_one_step_that_beats_many_raises_a_flag():
    losses, correct = run([[[0, 0], [1, 1], [1, 1]]], [[[True, True]] * 3])
    assert "one step beats many" in plots.alt_text(plots.convergence(losses, correct, one_step=0.0))
    assert "one step beats many" not in plots.alt_text(plots.convergence(losses, correct, one_step=1.0))


def test_a_loss_that_still_rises_raises_a_flag():
    losses, correct = run([[[0.0], [1.0], [2.0]]], [[[True]] * 3])
    assert "more steps" in plots.alt_text(plots.convergence(losses, correct))


def test_an_image_withstands_only_if_it_withstands_every_restart():
    losses, correct = run(
        [[[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]] * 2,
        [[[True] * 4, [True] * 4, [True, True, False, False]], [[True] * 4, [True] * 4, [False, False, True, True]]],
    )
    said = plots.alt_text(plots.convergence(losses, correct))
    assert "50 % after the first restart and 0 % after the last" in said
    assert "more restarts" in said


def test_convergence_takes_a_single_run_and_names_what_it_cannot_take():
    losses, correct = torch.rand(5, 7), torch.ones(5, 7, dtype=torch.bool)
    assert "1 restart of 4 steps on 7 images" in plots.alt_text(plots.convergence(losses, correct))
    with pytest.raises(ValueError, match="losses and correct must both be"):
        plots.convergence(losses, correct[0])
