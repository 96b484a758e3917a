"""Lipschitz certificates are sound: against brute force, dense matrices and attacks, for random networks."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import attacks, models
from coursekit.certify import lipschitz
from coursekit.losses import margin
from coursekit.models.architectures import MaxMin, Normalize
from coursekit.perturbations import LpBall

seeds = st.integers(0, 2**32 - 1)
NORMS = (1, 2, math.inf)
norms = st.sampled_from(NORMS)
ALL = (-math.inf, math.inf)


def seeded(seed, build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def network(seed, inputs=2, classes=3, wide=8, activation=nn.ReLU):
    """A random network in float64 whose boundaries lie near the origin."""
    return seeded(
        seed,
        lambda: nn.Sequential(
            nn.Linear(inputs, wide), activation(), nn.Linear(wide, wide), nn.Tanh(), nn.Linear(wide, classes)
        ).double(),
    )


def convolutional(seed):
    return seeded(
        seed,
        lambda: nn.Sequential(
            Normalize([0.3], [0.5]), nn.Conv2d(1, 4, 3, stride=2, padding=1), MaxMin(), nn.Conv2d(4, 4, 2), nn.ReLU(),
            nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3),
        ).double(),
    )  # fmt: skip


def images(seed, count=10):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- operator norms ---------------------------------------------------------------------------------------------


def convolution(seed, kernel, stride, padding, dilation, groups):
    return seeded(
        seed, lambda: nn.Conv2d(4, 6, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups).double()
    )


@given(
    seed=seeds, kernel=st.tuples(*[st.integers(1, 4)] * 2), stride=st.tuples(*[st.integers(1, 4)] * 2),
    padding=st.tuples(*[st.integers(0, 4)] * 2), dilation=st.tuples(*[st.integers(1, 2)] * 2),
    groups=st.sampled_from([1, 2]), size=st.tuples(*[st.integers(2, 9)] * 2),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_convolution_is_bounded_by_the_norm_of_its_matrix(seed, kernel, stride, padding, dilation, groups, size):
    assume(all(n + 2 * pad >= d * (k - 1) + 1 for n, pad, d, k in zip(size, padding, dilation, kernel, strict=True)))
    layer, shape = convolution(seed, kernel, stride, padding, dilation, groups), (4, *size)
    matrix = lipschitz.as_matrix(layer, shape)
    for p in (1, math.inf):
        truth = torch.linalg.matrix_norm(matrix, ord=p)
        assert truth <= lipschitz.operator_norm(layer, shape, p) <= truth * (1 + 1e-8)
    assert torch.linalg.matrix_norm(matrix, ord=2) <= lipschitz.operator_norm(layer, shape)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 4])
def test_in_a_larger_image_the_bound_of_a_convolution_is_close(kernel, stride):
    layer = convolution(0, kernel, stride, 1, 1, 1)
    truth = torch.linalg.matrix_norm(lipschitz.as_matrix(layer, (4, 14, 14)), ord=2)
    assert lipschitz.operator_norm(layer, (4, 14, 14)) <= 1.05 * truth


@given(seed=seeds, p=norms)
@settings(max_examples=40, deadline=None)
def test_no_two_points_get_further_apart_than_the_norm_of_a_layer_allows(seed, p):
    generator = torch.Generator().manual_seed(seed)
    layers = [*convolutional(seed)[:3], nn.Tanh(), nn.ReLU(), nn.Flatten()]
    for layer in layers:
        channels = 1 if isinstance(layer, (Normalize, nn.Conv2d)) else 4
        a, b = torch.randn(2, 50, channels, 8, 8, generator=generator, dtype=torch.float64)
        apart = torch.linalg.vector_norm((layer(a) - layer(b)).flatten(1), ord=p, dim=1)
        before = torch.linalg.vector_norm((a - b).flatten(1), ord=p, dim=1)
        norm = lipschitz.operator_norm(layer, (channels, 8, 8), p)
        assert (apart <= norm * before * (1 + 1e-12)).all()


@given(seed=seeds, steps=st.integers(1, 20))
@settings(max_examples=12, deadline=None)
def test_power_iteration_is_never_above_the_norm_and_rises_to_it(seed, steps):
    layer = seeded(seed, lambda: nn.Linear(7, 5).double())
    truth = torch.linalg.matrix_norm(layer.weight, ord=2)

    def estimate(count):
        return lipschitz.power_iteration(layer, (7,), steps=count, generator=torch.Generator().manual_seed(seed))

    assert estimate(steps) <= estimate(steps + 1) + 1e-12 <= truth + 2e-12
    assert estimate(200) >= 0.95 * truth


def test_power_iteration_of_a_convolution_needs_no_matrix():
    layer = convolution(1, 3, 2, 1, 1, 1)
    truth = torch.linalg.matrix_norm(lipschitz.as_matrix(layer, (4, 9, 9)), ord=2)
    found = lipschitz.power_iteration(layer, (4, 9, 9), steps=200, generator=torch.Generator().manual_seed(0))
    assert found == pytest.approx(float(truth), rel=1e-2)
    assert found <= truth * (1 + 1e-12)


def test_the_matrix_of_a_layer_does_what_the_layer_does():
    layer, v = convolution(2, 3, 2, 1, 1, 2), torch.randn(5, 4, 6, 7, dtype=torch.float64)
    matrix = lipschitz.as_matrix(layer, (4, 6, 7))
    without_bias = layer(v) - layer(torch.zeros_like(v))
    torch.testing.assert_close(v.flatten(1) @ matrix.T, without_bias.flatten(1))


# --- constants of a network -------------------------------------------------------------------------------------


@given(seed=seeds, p=norms)
@settings(max_examples=40, deadline=None)
def test_no_difference_of_logits_changes_faster_than_its_constant(seed, p):
    for model, x in ((network(seed), torch.randn(60, 2, dtype=torch.float64)), (convolutional(seed), images(seed, 40))):
        shape = x.shape[1:]
        pairs, whole = lipschitz.pair_constants(model, shape, p), lipschitz.constant(model, shape, p)
        assert torch.equal(pairs, pairs.T)
        a, b = x.chunk(2)
        with torch.no_grad():
            change = model(a) - model(b)
        apart = torch.linalg.vector_norm((a - b).flatten(1), ord=p, dim=1)
        assert (torch.linalg.vector_norm(change, ord=p, dim=1) <= whole * apart * (1 + 1e-12)).all()
        for y in range(3):
            assert ((change - change[:, y : y + 1]).abs() <= pairs[y] * apart[:, None] * (1 + 1e-12)).all()


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_a_pair_is_never_worse_than_the_square_root_of_two_times_the_whole(seed):
    model = network(seed, inputs=5)
    assert (lipschitz.pair_constants(model, (5,)) <= math.sqrt(2) * lipschitz.constant(model, (5,)) * (1 + 1e-8)).all()


@given(seed=seeds, p=norms)
@settings(max_examples=20, deadline=None)
def test_the_slopes_that_are_seen_are_not_steeper_than_the_constants_and_more_points_see_no_less(seed, p):
    model, x = convolutional(seed), images(seed, 4)
    y = torch.tensor([0, 1, 2, 1])
    few, many = (
        lipschitz.local_slopes(model, x, y, LpBall(0.3, p), points=n, generator=torch.Generator().manual_seed(seed))
        for n in (1, 6)
    )
    assert (few <= many).all()
    assert (many <= lipschitz.pair_constants(model, (1, 8, 8), p)[y]).all()
    assert (many.gather(1, y[:, None]) == 0).all()


# --- the certificate --------------------------------------------------------------------------------------------


@given(seed=seeds, p=norms, activation=st.sampled_from([nn.ReLU, MaxMin]))
@settings(max_examples=40, deadline=None)
def test_no_point_of_the_plane_nearer_than_the_radius_has_another_class(seed, p, activation):
    model = network(seed, activation=activation)
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        y = model(x).argmax(1)
        radius = lipschitz.radius(model, x, y, p)
        assert (radius > 0).all()
        angle = torch.linspace(0, 2 * math.pi, 181, dtype=torch.float64)
        circle = torch.stack([angle.cos(), angle.sin()], 1)
        circle = circle / torch.linalg.vector_norm(circle, ord=p, dim=1, keepdim=True)
        for share in (0.5, 0.9, 0.9999):
            around = x[:, None] + share * radius[:, None, None] * circle
            assert (model(around.flatten(0, 1)).argmax(1).view(12, -1) == y[:, None]).all()


@given(seed=seeds, p=norms)
@settings(max_examples=6, deadline=None)
def test_no_attack_gets_through_the_radius(seed, p):
    model, x = convolutional(seed), images(seed)
    y = model(x).argmax(1)
    radius = lipschitz.radius(model, x, y, p)
    ball = LpBall(0.999 * radius, p, ALL)
    x_adv = attacks.pgd(
        model, x, y, ball, steps=20, loss=margin, restarts=2, generator=torch.Generator().manual_seed(0)
    )
    assert (model(x_adv).argmax(1) == y).all()


@pytest.mark.parametrize("p", NORMS)
def test_for_a_linear_classifier_it_is_the_distance_to_the_boundary_but_never_more(p, digits):
    model, (x, y) = models.load("mnist_linear").double(), digits
    x = x.double()
    radius, truth = lipschitz.radius(model, x, y, p), attacks.boundary_distance(model, x, y, p)
    torch.testing.assert_close(radius, truth, rtol=1e-5, atol=1e-6)
    assert (radius <= truth).all()


def test_the_digits_are_certified_below_what_an_attack_needs(digits, cnn):
    x, y = digits[0][:40], digits[1][:40]
    radius = lipschitz.radius(cnn, x, y)
    x_adv = attacks.ddn(cnn, x, y, steps=30)
    fooled = cnn(x_adv).argmax(1) != y
    assert fooled.float().mean() > 0.9
    assert ((x_adv - x).flatten(1).norm(dim=1) >= radius)[fooled].all()
    assert radius.median() > 0.02


def test_what_is_wrong_tied_or_no_number_has_radius_zero_and_what_never_changes_an_infinite_one():
    model = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
    x = torch.tensor([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    radius = lipschitz.radius(model, x, torch.tensor([0, 0, 0]))
    torch.testing.assert_close(radius, torch.tensor([2 / math.sqrt(2), 0.0, 0.0]), rtol=1e-5, atol=0)
    two = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        two[0].weight.fill_(1.0)
        two[0].bias.copy_(torch.tensor([1.0, 0.0]))
    assert lipschitz.radius(two, x, torch.tensor([0, 0, 1])).tolist() == [math.inf, math.inf, 0.0]
    with torch.no_grad():
        two[0].bias.fill_(math.nan)
    assert lipschitz.radius(two, x, torch.tensor([0, 1, 0])).tolist() == [0.0, 0.0, 0.0]
    with torch.no_grad():
        two[0].bias.copy_(torch.tensor([math.inf, 0.0]))
    assert lipschitz.radius(two, x, torch.tensor([0, 1, 0])).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("dtype", "returned"), [(torch.float64,) * 2, (torch.bfloat16, torch.float32)])
def test_dtypes_the_empty_batch_and_the_models_mode(dtype, returned):
    model = convolutional(0).to(dtype).train()
    x = images(0).to(dtype)
    assert lipschitz.radius(model, x, torch.zeros(10, dtype=torch.int64)).dtype == returned
    assert lipschitz.radius(model, x[:0], torch.zeros(0, dtype=torch.int64)).shape == (0,)
    assert model.training
    assert not lipschitz.constant(model, (1, 8, 8)).requires_grad


def test_everything_stays_on_the_device_of_its_inputs():
    with torch.device("meta"):
        model, x, y = models.build("mnist_cnn"), torch.empty(3, 1, 28, 28), torch.empty(3, dtype=torch.int64)
    for p in NORMS:
        assert lipschitz.radius(model, x, y, p).device.type == "meta"
        assert lipschitz.constant(model, (1, 28, 28), p).device.type == "meta"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": nn.Sequential(nn.Sigmoid(), nn.Linear(4, 2))}, "model must consist of Linear, .*; got Sigmoid"),
        ({"model": nn.Linear(4, 2)}, "model must be a torch.nn.Sequential; got Linear"),
        ({"model": nn.Sequential(nn.Linear(4, 2), nn.ReLU())}, "model must end with a Linear layer; got ReLU"),
        ({"p": 3}, "p must be 1, 2 or math.inf; got 3"),
        ({"y": torch.tensor([2])}, "y must hold classes 0 to 1"),
        ({"y": torch.tensor([0, 1])}, "y must have one label per image"),
    ],
)
def test_what_it_cannot_take_is_named(change, says):
    arguments = {"model": nn.Sequential(nn.Linear(4, 2)), "x": torch.rand(1, 4), "y": torch.tensor([0])} | change
    with pytest.raises(ValueError, match=says):
        lipschitz.radius(**arguments)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.Conv2d(1, 1, 3, padding="same")]
)
def test_paddings_that_are_not_known_are_named(layer):
    with pytest.raises(ValueError, match="Conv2d's padding must be numbers, its padding_mode 'zeros'; got '"):
        lipschitz.operator_norm(layer, (1, 5, 5))
    with pytest.raises(ValueError, match=r"model must consist of .*; got BatchNorm2d"):
        lipschitz.operator_norm(nn.BatchNorm2d(1), (1, 5, 5))


def test_arguments_of_the_estimates_are_checked(digits, cnn):
    with pytest.raises(TypeError, match=r"threat must be an LpBall; got float"):
        lipschitz.local_slopes(cnn, *digits, 0.1)
    with pytest.raises(ValueError, match="points must be at least 1; got 0"):
        lipschitz.local_slopes(cnn, *digits, LpBall(0.1, 2), points=0)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        lipschitz.power_iteration(cnn[1], (1, 28, 28), steps=0)
    for function in (lipschitz.power_iteration, lipschitz.as_matrix):
        with pytest.raises(ValueError, match="layer must be a Linear or a Conv2d; got ReLU"):
            function(cnn[2], (16, 14, 14))


# --- layers that stretch nothing --------------------------------------------------------------------------------


@given(seed=seeds, p=norms)
@settings(max_examples=20, deadline=None)
def test_maxmin_sorts_pairs_and_keeps_the_length_of_gradients(seed, p):
    x = torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    out = MaxMin()(x)
    pairs = out.unflatten(1, (4, 2))
    assert (pairs[:, :, 0] >= pairs[:, :, 1]).all()
    assert torch.equal(pairs.sort(dim=2).values, x.unflatten(1, (4, 2)).sort(dim=2).values)
    back = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed + 1))
    (gradient,) = torch.autograd.grad(out, x, back)
    torch.testing.assert_close(torch.linalg.vector_norm(gradient, ord=p), torch.linalg.vector_norm(back, ord=p))
