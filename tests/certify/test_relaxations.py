import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import models
from coursekit.attacks import pgd, strongest
from coursekit.certify.enumeration import worst_of_model
from coursekit.certify.layers import layers, offset, pull_back, spread
from coursekit.certify.program import Program
from coursekit.certify.relaxations import METHODS, bounds, certified, crown, least, worst_case_logits
from coursekit.certify.relaxations.crown import Walk
from coursekit.certify.relaxations.region import Region
from coursekit.losses import margin
from coursekit.models.architectures import Normalize
from coursekit.perturbations import LpBall

seeds = st.integers(0, 2**32 - 1)


def network(seed, layers=3):
    """A random network with convolutions, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hidden = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(layers - 2)]
        return nn.Sequential(
            Normalize([0.3], [0.5]), nn.Conv2d(1, 2, 2, stride=2), nn.ReLU(), nn.Flatten(), *hidden, nn.Linear(8, 3)
        ).double()


def images(seed, count=4):
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_bounds_of_a_point_are_its_logits_and_of_a_linear_model_exact():
    model, x = network(0), images(0)
    for end in bounds(model, x, LpBall(0.0, math.inf)):
        torch.testing.assert_close(end, model(x))
    linear = nn.Sequential(nn.Linear(5, 3)).double()
    x = torch.rand(4, 5, dtype=torch.float64)
    reach = 0.1 * linear[0].weight.abs().sum(1)
    lower, upper = bounds(linear, x, LpBall(0.1, math.inf, (-math.inf, math.inf)))
    torch.testing.assert_close(lower, linear(x) - reach)
    torch.testing.assert_close(upper, linear(x) + reach)


def test_each_image_may_have_its_own_eps_and_larger_ones_give_wider_bounds():
    model, x = network(1), images(1)
    eps = torch.tensor([0.0, 0.01, 0.1, 0.3])
    lower, upper = bounds(model, x, LpBall(eps, math.inf))
    for i, radius in enumerate(eps.tolist()):
        alone = bounds(model, x[i : i + 1], LpBall(radius, math.inf))
        torch.testing.assert_close(lower[i : i + 1], alone.lower, rtol=1e-6, atol=1e-6)
    widths = [(end[1] - end[0]).min() for end in (bounds(model, x, LpBall(e, math.inf)) for e in (0.0, 0.01, 0.1))]
    assert widths == sorted(widths)
    assert (upper >= lower).all()


def test_bounds_are_differentiable_follow_the_device_and_leave_the_mode():
    model = network(2).train()
    worst_case_logits(model, images(2), torch.zeros(4, dtype=torch.int64), LpBall(0.1, math.inf)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.training
    with torch.device("meta"):
        cnn, x = models.build("mnist_cnn"), torch.empty(3, 1, 28, 28)
    assert bounds(cnn, x, LpBall(0.1, math.inf)).upper.device.type == "meta"


@pytest.mark.parametrize("x", [255 * torch.rand(3, 4), torch.full((3, 4), math.nan), -torch.rand(3, 4)])
@pytest.mark.parametrize("function", [bounds, certified, worst_case_logits])
def test_nothing_is_proven_about_an_image_outside_of_the_range(function, x):
    y = () if function is bounds else (torch.zeros(3, dtype=torch.int64),)
    with pytest.raises(ValueError, match="x must lie in the threat's bounds, 0 to 1; got"):
        function(nn.Sequential(nn.Linear(4, 2)), x, *y, LpBall(0.1, math.inf))


def test_the_lower_end_of_the_box_is_never_above_the_upper_one_even_if_x_is_off_by_rounding():
    x = torch.full((1, 4), 1 + torch.finfo(torch.float32).eps)
    lower, upper = bounds(nn.Sequential(nn.Linear(4, 3)), x, LpBall(0.0, math.inf))
    assert (lower <= upper).all()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_network_that_answers_nan_is_certified_nowhere(broken):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    nn.init.constant_(model[0].bias, broken)
    for y in range(3):
        assert not certified(model, torch.rand(2, 4), torch.full((2,), y), LpBall(0.1, math.inf)).any()


@pytest.mark.parametrize("y", [torch.tensor([3]), torch.tensor([-1]), torch.tensor([0.0]), torch.tensor([[0]])])
def test_labels_are_checked(y):
    with pytest.raises((ValueError, TypeError), match="y must"):
        certified(nn.Sequential(nn.Linear(4, 3)), torch.rand(1, 4), y, LpBall(0.1, math.inf))


@pytest.mark.parametrize("x", [torch.zeros(1, 4, dtype=torch.uint8), [[0.0] * 4]])
def test_images_must_be_floating(x):
    with pytest.raises(TypeError, match=r"x must be a floating tensor; got (torch\.uint8|list)"):
        bounds(nn.Sequential(nn.Linear(4, 3)), x, LpBall(0.1, math.inf))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": nn.Sequential(nn.Linear(4, 2), nn.Tanh())}, "model must consist of Linear, Conv2d.*; got Tanh"),
        ({"model": nn.Linear(4, 2)}, "model must be a torch.nn.Sequential; got Linear"),
        ({"threat": LpBall(0.1, 1)}, "threat must be an LpBall with p = 2 or p = inf; got p = 1"),
        ({"threat": 0.1}, "threat must be an LpBall with p = 2 or p = inf; got float"),
        ({"method": "boxes"}, "method must be one of 'interval'.*; got 'boxes'"),
    ],
)
def test_what_is_not_supported_is_named(change, says):
    arguments = {"model": nn.Sequential(nn.Linear(4, 2)), "x": torch.rand(1, 4), "threat": LpBall(0.1, math.inf)}
    with pytest.raises(ValueError, match=says):
        bounds(**{**arguments, **change})


# --- what is known of each layer ----------------------------------------------------------------------------------

CONVOLUTIONS = {
    "stride": {"kernel_size": 3, "stride": 2},
    "padding": {"kernel_size": (3, 2), "padding": (1, 0)},
    "stride and padding": {"kernel_size": 4, "stride": (2, 3), "padding": 2},
    "groups": {"kernel_size": 2, "groups": 2},
    "dilation": {"kernel_size": 2, "dilation": (2, 1)},
    "same": {"kernel_size": 3, "padding": "same", "dilation": (2, 1)},
    "valid, no bias": {"kernel_size": 2, "padding": "valid", "bias": False},
}


@pytest.fixture(params=[*CONVOLUTIONS, "linear", "flatten", "normalise"])
def affine(request):
    """A layer W h + b, and the shape of h."""
    kinds = {
        "linear": (lambda: nn.Linear(7, 4), (7,)),
        "flatten": (nn.Flatten, (2, 3)),
        "normalise": (lambda: Normalize([0.3, 0.5], [0.5, 0.8]), (2, 3, 2)),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if request.param in CONVOLUTIONS:
            return nn.Conv2d(2, 4, **CONVOLUTIONS[request.param]).double(), (2, 6, 5)
        make, shape = kinds[request.param]
        return make().double(), shape


def test_pull_back_spread_and_offset_are_those_of_the_layers_matrix(affine):
    layer, shape = affine
    h = torch.rand(3, *shape, dtype=torch.float64)
    nothing = layer(torch.zeros(1, *shape, dtype=torch.float64))
    matrix = torch.autograd.functional.jacobian(lambda h: layer(h[None])[0], h[0])
    matrix = matrix.reshape(nothing.numel(), h[0].numel())
    rows = torch.rand(2, *nothing.shape[1:], dtype=torch.float64)
    torch.testing.assert_close(pull_back(layer, rows, h.shape[1:]), (rows.flatten(1) @ matrix).view(2, *shape))
    torch.testing.assert_close(spread(layer, h).flatten(1), h.flatten(1) @ matrix.abs().T)
    torch.testing.assert_close(offset(layer, h), nothing)
    torch.testing.assert_close(layer(h).flatten(1), h.flatten(1) @ matrix.T + nothing.flatten())


# --- every method, both balls -------------------------------------------------------------------------------------

ANYWHERE = (-math.inf, math.inf)


def dense(seed, sizes=(3, 6, 5, 3), scale=1.5):
    """A random network of Linear and ReLU, in float64."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for before, behind in itertools.pairwise(sizes):
        layer = nn.Linear(before, behind).double()
        for values in layer.parameters():
            values.data.copy_(scale * torch.randn(values.shape, generator=generator, dtype=torch.float64) / before**0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional(seed, kind):
    """Convolutions of one kind, another behind it, and dense layers, some of them nested."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        front = nn.Sequential(nn.Conv2d(2, 4, **CONVOLUTIONS[kind]), nn.ReLU(), nn.Conv2d(4, 2, 2, padding=1))
        size = front(torch.zeros(1, 2, 6, 5)).numel()
        head = nn.Sequential(nn.Sequential(nn.Linear(size, 5), nn.ReLU()), nn.Linear(5, 3))
        return nn.Sequential(Normalize([0.3, 0.5], [0.5, 0.8]), front, nn.ReLU(), nn.Flatten(), head).double()


def points_of(ball, model, x, seed):
    """Points of P(x): random ones, corners, and where an attack on each class leads."""
    generator = torch.Generator().manual_seed(seed)
    found = [ball.sample(x, generator=generator) for _ in range(5)]
    signs = torch.randn(5, *x.shape, generator=generator, dtype=x.dtype).sign()
    found += [ball.project(x + ball.eps * sign, x) for sign in signs]
    for y in range(3):
        found.append(pgd(model, x, torch.full((len(x),), y), ball, steps=5, loss=margin, generator=generator))
    return found


def check_sound(model, x, ball, seed, rounding):
    reached = torch.stack([model(point).detach() for point in points_of(ball, model, x, seed)])
    y = model(x).argmax(1)
    leads = reached - reached[:, torch.arange(len(x)), y, None]
    for method in METHODS:
        lower, upper = bounds(model, x, ball, method)
        assert (lower <= upper).all()
        assert (lower <= reached + rounding).all(), method
        assert (upper >= reached - rounding).all(), method
        worst = worst_case_logits(model, x, y, ball, method)
        assert (worst >= leads - rounding).all(), method
        assert (worst[torch.arange(len(x)), y].abs() <= rounding).all()
        right = (reached.argmax(2) == y).all(0)
        assert right[certified(model, x, y, ball, method)].all(), method


@pytest.mark.parametrize("p", [2, math.inf])
@given(seed=seeds, eps=st.sampled_from([0.0, 0.03, 0.2, 0.7]), hidden=st.lists(st.integers(1, 6), max_size=3))
@settings(max_examples=6, deadline=None)
def test_dense_networks_stay_within_every_methods_bounds(p, seed, eps, hidden):
    model = dense(seed, (3, *hidden, 3))
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    check_sound(model, x, LpBall(eps, p), seed, 1e-9)
    check_sound(model.float(), x.float(), LpBall(eps, p), seed, 1e-4)


@pytest.mark.parametrize("p", [2, math.inf])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_of_every_kind_stay_within_every_methods_bounds(kind, p):
    model = convolutional(1, kind)
    x = torch.rand(1, 2, 6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    check_sound(model, x, LpBall(0.03 if p == math.inf else 0.1, p), 3, 1e-9)


@given(seed=seeds, eps=st.floats(0.01, 0.6), inputs=st.integers(1, 3), neurons=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_no_bound_is_better_than_the_truth_and_each_method_is_as_tight_as_the_one_before(seed, eps, inputs, neurons):
    model, ball = dense(seed, (inputs, neurons, 3)), LpBall(eps, math.inf)
    x = torch.rand(1, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = model(x).argmax(1)
    truth = float(worst_of_model(model, x[0].tolist(), int(y), replace(ball, bounds=ANYWHERE)).lead)
    others = torch.arange(3) != y
    leads = [
        -worst_case_logits(model, x, y, replace(ball, bounds=ANYWHERE), method)[0, others].max() for method in METHODS
    ]
    for better, worse in itertools.pairwise([truth, *reversed(leads)]):
        assert worse <= better + 1e-9


@pytest.mark.parametrize("p", [2, math.inf])
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_each_method_is_within_the_one_before_and_certifies_what_that_does(p, seed):
    model, ball = dense(seed, (4, 6, 6, 3)), LpBall(0.15, p)
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = model(x).argmax(1)
    for coarse, fine in itertools.pairwise(METHODS):
        (below, above), (lower, upper) = (bounds(model, x, ball, method) for method in (coarse, fine))
        assert (below <= lower + 1e-12).all()
        assert (upper <= above + 1e-12).all()
        assert certified(model, x, y, ball, fine)[certified(model, x, y, ball, coarse)].all()
        assert (
            worst_case_logits(model, x, y, ball, fine) <= worst_case_logits(model, x, y, ball, coarse) + 1e-12
        ).all()


@pytest.mark.parametrize("p", [2, math.inf])
def test_each_method_is_clearly_tighter_than_the_one_before_on_most_networks(p):
    widths = []
    for seed in range(8):
        model, ball = dense(seed, (4, 8, 8, 3)), LpBall(0.15, p)
        x = torch.rand(1, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        widths.append([(upper - lower).mean().item() for lower, upper in (bounds(model, x, ball, m) for m in METHODS)])
    interval, crown, lp = torch.tensor(widths).T
    assert (crown < 0.8 * interval).sum() >= 6
    assert (lp < 0.99 * crown).sum() >= 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [2, math.inf])
def test_a_batch_is_its_images_one_at_a_time(method, p):
    model = dense(3)
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    eps, y = torch.tensor([0.0, 0.05, 0.2, 0.6], dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    together = bounds(model, x, LpBall(eps, p), method)
    worst = worst_case_logits(model, x, y, LpBall(eps, p), method)
    for i, radius in enumerate(eps.tolist()):
        one = slice(i, i + 1)
        for end, alone in zip(together, bounds(model, x[one], LpBall(radius, p), method), strict=True):
            torch.testing.assert_close(end[one], alone)
        torch.testing.assert_close(worst[one], worst_case_logits(model, x[one], y[one], LpBall(radius, p), method))
    nobody = bounds(model, x[:0], LpBall(0.1, p), method)
    assert nobody.lower.shape == nobody.upper.shape == (0, 3)
    assert certified(model, x[:0], y[:0], LpBall(0.1, p), method).shape == (0,)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("eps", [0.0, 1e-7])
def test_ends_that_rounding_has_crossed_are_put_in_order(method, eps):
    model, x = dense(0, (5, 40, 40, 4)).float(), torch.rand(20, 5, generator=torch.Generator().manual_seed(1))
    lower, upper = bounds(model, x, LpBall(eps, math.inf), method)
    assert (lower <= upper).all()
    torch.testing.assert_close(lower, model(x).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [2, math.inf])
def test_what_is_linear_is_exact_by_the_dual_norm(method, p):
    """One linear layer for every method; for CROWN and the LP also ReLUs that are always on, or never."""
    ball, x = LpBall(0.1, p, ANYWHERE), torch.rand(3, 4, dtype=torch.float64)
    single, deep = dense(5, (4, 3)), dense(6, (4, 7, 6, 3))
    deep[0].bias.data.copy_(torch.tensor([50.0, 60, 70, 80, 90, -50, -60]))
    deep[2].bias.data.copy_(torch.tensor([900.0, 900, 900, -900, 900, -900]))
    for model in (single, deep) if method != "interval" else (single,):
        matrix = torch.autograd.functional.jacobian(lambda x, model=model: model(x[None])[0], x[0])
        reach = 0.1 * torch.linalg.vector_norm(matrix, ord=1 if p == math.inf else 2, dim=1)
        lower, upper = bounds(model, x, ball, method)
        torch.testing.assert_close(lower, model(x) - reach)
        torch.testing.assert_close(upper, model(x) + reach)
        y = model(x).argmax(1)
        rows = matrix - matrix[y][:, None]
        furthest = 0.1 * torch.linalg.vector_norm(rows, ord=1 if p == math.inf else 2, dim=2)
        leads = model(x) - model(x).gather(1, y[:, None])
        torch.testing.assert_close(worst_case_logits(model, x, y, ball, method), leads + furthest)


@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_is_off_says_the_same_everywhere(method):
    model = dense(7)
    model[0].bias.data.fill_(-100)
    for end in bounds(model, torch.rand(2, 3, dtype=torch.float64), LpBall(0.3, math.inf), method):
        torch.testing.assert_close(end, model(torch.rand(2, 3, dtype=torch.float64)))


# --- CROWN --------------------------------------------------------------------------------------------------------


def plain_crown(model, x, eps, p, slope=lambda low, high: float(high > -low)):
    """Zhang et al. 2018, theorem 3.2 and corollary 3.3, neuron by neuron, for one point x, in its letters.

    slope: the lower line's alpha_L of a neuron that may be on or off. Like ours it keeps the better of CROWN's and the
    interval's bounds, and has CROWN's for those neurons only that may be on or off. Returns the ends of all logits.
    """
    layers = [(layer.weight.detach(), layer.bias.detach()) for layer in model if isinstance(layer, nn.Linear)]
    q = 1 if p == math.inf else 2
    known: list[tuple[torch.Tensor, torch.Tensor]] = []  # l, u of each layer's neurons before their ReLU

    def line(low, high, above):
        """alpha, beta of the line alpha (z + beta) above or below the ReLU."""
        if low >= 0:
            return 1.0, 0.0
        if high <= 0:
            return 0.0, 0.0
        return (high / (high - low), -low) if above else (slope(low, high), 0.0)

    def end(m, j, above):
        row = layers[m][0][j]
        value = layers[m][1][j]
        for k in range(m - 1, -1, -1):
            new = torch.zeros_like(row)
            for i in range(len(row)):
                alpha, beta = line(known[k][0][i].item(), known[k][1][i].item(), (row[i] >= 0) == above)
                new[i] = row[i] * alpha
                value = value + new[i] * beta
            value = value + new @ layers[k][1]
            row = new @ layers[k][0]
        reach = eps * torch.linalg.vector_norm(row, ord=q)
        return value + row @ x + (reach if above else -reach)

    for m, (weight, bias) in enumerate(layers):
        lower, upper = torch.full_like(bias, -math.inf), torch.full_like(bias, math.inf)
        if m:
            low, high = (z.clamp_min(0) for z in known[-1])
            lower = weight.clamp_min(0) @ low + weight.clamp_max(0) @ high + bias
            upper = weight.clamp_min(0) @ high + weight.clamp_max(0) @ low + bias
        for j in range(len(bias)):
            if m == len(layers) - 1 or lower[j] < 0 < upper[j]:
                lower[j], upper[j] = max(lower[j], end(m, j, above=False)), min(upper[j], end(m, j, above=True))
        known.append((lower, upper))
    return known[-1]


@pytest.mark.parametrize("p", [2, math.inf])
@pytest.mark.parametrize("sizes", [(2, 3, 2), (3, 5, 4, 3), (2, 4, 4, 3, 2)])
def test_crown_is_the_papers_theorem(p, sizes):
    for seed in range(3):
        model = dense(seed, sizes)
        x = torch.rand(sizes[0], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        ours = bounds(model, x[None], LpBall(0.3, p, ANYWHERE), "crown")
        for end, by_hand in zip(ours, plain_crown(model, x, 0.3, p), strict=True):
            torch.testing.assert_close(end[0], by_hand)


def test_crown_by_hand():
    """relu(x) - relu(-x) is x; on [-1, 3] the lines are x and 0 below, chords 3/4 (x + 1) and -1/4 (x - 3) above."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    for values, numbers in zip(model.parameters(), [[[1.0], [-1.0]], [0, 0], [[1.0, -1.0]], [0]], strict=True):
        values.data.copy_(torch.tensor(numbers))
    x, ball = torch.tensor([[1.0]], dtype=torch.float64), LpBall(2.0, math.inf, ANYWHERE)
    assert bounds(model, x, ball, "interval") == (-1, 3)
    # below: x + 1/4 (x - 3), at x = -1; above: 3/4 (x + 1) - 0, at x = 3; the interval's lower end is better
    assert bounds(model, x, ball, "crown") == (-1, 3)
    walk = Walk(layers(model), Region.of(x, ball))
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert walk.least(one, 3) == -2
    assert walk.least(-one, 3) == -3


@pytest.mark.parametrize("method", ["interval", "crown"])
@pytest.mark.parametrize("p", [2, math.inf])
def test_gradients_by_the_parameters_are_those_of_finite_differences(method, p):
    model = dense(11)
    x, y = torch.rand(3, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64), torch.tensor([0, 1, 2])

    def total():
        lower, upper = bounds(model, x, LpBall(0.1, p), method)
        return (upper - 0.3 * lower).sum() + worst_case_logits(model, x, y, LpBall(0.1, p), method).sum()

    total().backward()
    for values in model.parameters():
        way = torch.randn(values.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        steps = []
        for h in (1e-6, -1e-6):
            values.data.add_(h * way)
            steps.append(total().item())
            values.data.sub_(h * way)
        assert (values.grad * way).sum().item() == pytest.approx((steps[0] - steps[1]) / 2e-6, rel=1e-4, abs=1e-6)


def test_pieces_of_any_size_give_the_same(monkeypatch):
    model, x, ball = convolutional(0, "padding"), torch.rand(2, 2, 6, 5, dtype=torch.float64), LpBall(0.1, math.inf)
    whole = bounds(model, x, ball, "crown")
    for largest in (1, 1000):
        monkeypatch.setattr(crown, "LARGEST", largest)
        for end, again in zip(whole, bounds(model, x, ball, "crown"), strict=True):
            torch.testing.assert_close(again, end)


@pytest.mark.parametrize("method", ["interval", "crown"])
@pytest.mark.parametrize("p", [2, math.inf])
def test_no_value_is_looked_at_on_the_device(method, p):
    with torch.device("meta"):
        cnn, x, y = models.build("mnist_cnn"), torch.empty(2, 1, 28, 28), torch.empty(2, dtype=torch.int64)
    ball = LpBall(torch.empty(2, device="meta"), p)
    assert bounds(cnn, x, ball, method).upper.device.type == "meta"
    assert certified(cnn, x, y, ball, method).device.type == "meta"


# --- the linear program ---------------------------------------------------------------------------------------------


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_no_choice_of_lower_lines_beats_the_linear_program(seed):
    model, eps = dense(seed, (3, 6, 2)), 0.4
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, generator=generator, dtype=torch.float64)
    lower, upper = bounds(model, x[None], LpBall(eps, math.inf, ANYWHERE), "lp")
    for _ in range(5):
        drawn = plain_crown(model, x, eps, math.inf, slope=lambda low, high: torch.rand(1, generator=generator).item())
        assert (drawn[0] <= lower[0] + 1e-9).all()
        assert (drawn[1] >= upper[0] - 1e-9).all()


class Liar:
    """A solver that gives these multipliers, whatever it has found."""

    def __init__(self, solver, multipliers):
        self.solver, self.multipliers = solver, multipliers

    def __getattr__(self, name):
        return getattr(self.solver, name)

    def getSolution(self):
        found = self.solver.getSolution()
        return SimpleNamespace(
            col_value=found.col_value, value_valid=found.value_valid, row_dual=self.multipliers, dual_valid=True
        )


@given(seed=seeds, ball=st.booleans(), size=st.floats(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_multipliers_give_a_bound(seed, ball, size):
    """What the solver says is never believed: with wrong multipliers the bound is weaker, and still one."""
    draw = np.random.default_rng(seed)
    program = Program()
    point = draw.normal(size=6)
    for value in point:
        program.variable(value - draw.exponential(), value + draw.exponential())
    for _ in range(5):
        weight = draw.normal(size=draw.integers(1, 7))
        value = weight @ point[: len(weight)]
        ends = {"lower": value - draw.exponential(), "upper": value + draw.exponential()}
        program.constrain(weight, **{name: ends[name] for name in draw.permutation(["lower", "upper"])[:1]})
    if ball:
        program.ball = point[:3] + 0.1, 0.1 * 3**0.5 + 1e-12
    cost = draw.normal(size=6)
    solver, there = program._solver, cost @ point + 2  # a value that is reached
    assert program.least(cost, 2.0) <= there + 1e-9
    for multipliers in (size * draw.normal(size=5), np.zeros(5), np.full(5, size), np.full(5, -size)):
        program._solver = Liar(solver, multipliers)
        assert program.least(cost, 2.0) <= there + 1e-9 * (1 + size)


def test_the_program_of_a_triangle_by_hand():
    """max over a of a - z / 2 on the triangle over [-1, 1], whose corners are (-1, 0), (0, 0), (1, 1)."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    numbers = [[[1.0], [1.0]], [0, 10], [[1.0, -0.5], [-1.0, 0.5]], [5, -5]]
    for values, number in zip(model.parameters(), numbers, strict=True):
        values.data.copy_(torch.tensor(number))
    lower, upper = bounds(model, torch.zeros(1, 1, dtype=torch.float64), LpBall(1.0, math.inf, ANYWHERE), "lp")
    torch.testing.assert_close(lower, torch.tensor([[0.0, -0.5]], dtype=torch.float64))
    torch.testing.assert_close(upper, torch.tensor([[0.5, 0.0]], dtype=torch.float64))


def test_planes_cut_the_ball_out_of_its_box():
    """With one neuron off half of the time the linear program beats CROWN in L2, and no plane cuts into the ball."""
    better = 0
    for seed in range(6):
        model, ball = dense(seed, (2, 8, 2)), LpBall(0.4, 2, ANYWHERE)
        x = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        angle = torch.linspace(0, 2 * math.pi, 400, dtype=torch.float64)
        around = torch.stack([angle.cos(), angle.sin()], 1)
        reached = model(torch.cat([x + 0.4 * size * around for size in (0.25, 0.5, 0.75, 1)]))
        lower, upper = bounds(model, x, ball, "lp")
        assert (lower <= reached + 1e-9).all()
        assert (upper >= reached - 1e-9).all()
        wide = bounds(model, x, ball, "crown")
        better += (upper - lower).sum() < 0.98 * (wide.upper - wide.lower).sum()
    assert better >= 3


# --- shipped models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "training", "eps", "method"),
    [
        ("mnist_mlp", "standard", 0.03, "crown"),
        ("mnist_mlp", "pgd", 0.05, "lp"),
        ("mnist_cnn", "ibp", 0.2, "interval"),
        ("mnist_cnn", "pgd", 0.03, "crown"),
    ],
)
def test_what_is_certified_of_a_shipped_model_the_strongest_attack_does_not_break(name, training, eps, method, digits):
    model, ball = models.load(name, training), LpBall(eps, math.inf)
    count = {"interval": 100, "crown": 50, "lp": 5}[method] if name == "mnist_mlp" or method == "interval" else 2
    x, y = digits[0][:count], digits[1][:count]
    proven = certified(model, x, y, ball, method)
    assert proven.any()
    x_adv = strongest(model, x, y, ball, steps=10, restarts=1, generator=torch.Generator().manual_seed(0))
    assert (model(x_adv).argmax(1) == y)[proven].all()


# --- linear functions of the logits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [2, math.inf])
def test_linear_functions_of_the_logits_have_the_bounds_that_hold_for_leads(method, p):
    model, ball = dense(8), LpBall(0.2, p)
    x = torch.rand(3, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    y, eye = torch.tensor([2, 0, 1]), torch.eye(3, dtype=torch.float64)
    worst = worst_case_logits(model, x, y, ball, method)
    for i, own in enumerate(y.tolist()):
        found = least(model, x[i : i + 1], eye[own] - eye, ball, method)
        # The planes that cut a ball out stay for the next question: its bound depends a little on the ones before.
        slack = 1e-2 if (method, p) == ("lp", 2) else 1e-9
        torch.testing.assert_close(found, -worst[i : i + 1], rtol=slack, atol=slack)
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    found = least(model, x, rows, ball, method)
    for point in points_of(ball, model, x, 1):
        assert (model(point) @ rows.T >= found - 1e-9).all()
    lower = bounds(model, x, ball, method).lower
    assert (least(model, x, eye, ball, method) >= lower - slack).all()


def test_rows_that_do_not_fit_and_networks_without_a_last_layer_are_named():
    x, ball = torch.rand(1, 4), LpBall(0.1, math.inf)
    with pytest.raises(ValueError, match=r"rows must be \(m, 3\); got \(2, 4\)"):
        least(nn.Sequential(nn.Linear(4, 3)), x, torch.zeros(2, 4), ball)
    with pytest.raises(ValueError, match="model must end with a Linear layer; got ReLU"):
        least(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), x, torch.zeros(2, 3), ball)
