"""The linearised model: closed forms against a search that knows none of them, and DeepFool as an attack."""

import math

import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import models
from coursekit.attacks import boundary_distance, deepfool, nearest_boundary

seeds = st.integers(0, 10_000)


def linear(seed, classes=4, pixels=6, images=3):
    """A linear classifier in float64, points, and the labels it gives them."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(pixels, classes, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, pixels, generator=generator, dtype=torch.float64))
        model.bias.copy_(0.2 * torch.randn(classes, generator=generator, dtype=torch.float64))
    x = torch.rand(images, pixels, generator=generator, dtype=torch.float64)
    x[0, :2] = torch.tensor([0.0, 1.0])  # pixels at the ends of their range
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def shortest(model, x, y, p, bounds):
    """The distance by a solver that knows nothing of norms' duals or multipliers, for every image."""
    weight, bias = model.weight.detach().numpy(), model.bias.detach().numpy()
    found = []
    for point, label in zip(x.numpy(), y.tolist(), strict=True):
        lengths = [math.inf]
        for other in range(len(weight)):
            if other == label:
                continue
            w = weight[label] - weight[other]
            lead = w @ point + bias[label] - bias[other]
            low, high = (None, None) if bounds is None else (bounds[0] - point, bounds[1] - point)
            d = len(point)
            if p == 2:
                box = None if bounds is None else list(zip(low, high, strict=True))
                result = scipy.optimize.minimize(
                    lambda delta: delta @ delta, -lead * w / (w @ w), jac=lambda delta: 2 * delta, bounds=box,
                    constraints=scipy.optimize.LinearConstraint(w, -lead, -lead),
                    method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
                )  # fmt: skip
                lengths += [math.sqrt(result.fun)] * result.success
            else:  # a linear programme: delta = up - down
                cost = [1.0] * (2 * d) if p == 1 else [0.0] * (2 * d) + [1.0]
                equal = [[*w, *-w] + [0.0] * (p != 1)]
                ub = None
                if p != 1:
                    ub = [[float(i in (k, d + k)) for i in range(2 * d)] + [-1.0] for k in range(d)]
                result = scipy.optimize.linprog(cost, A_ub=ub, b_ub=ub and [0.0] * d, A_eq=equal, b_eq=[-lead])
                lengths += [result.fun] * result.success
        found.append(min(lengths))
    return torch.tensor(found, dtype=torch.float64)


@given(seeds, st.sampled_from([1, 2, math.inf]))
@settings(max_examples=20, deadline=None)
def test_the_distance_of_a_linear_classifier_is_exact(seed, p):
    model, x, y = linear(seed)
    expected = shortest(model, x, y, p, None)
    torch.testing.assert_close(boundary_distance(model, x, y, p), expected, rtol=1e-4, atol=1e-6)


@given(seeds, st.sampled_from([None, (0.0, 1.0)]))
@settings(max_examples=20, deadline=None)
def test_the_nearest_point_of_a_linear_classifier_is_exact_also_within_a_range(seed, bounds):
    model, x, y = linear(seed)
    point = nearest_boundary(model, x, y, bounds)
    expected = shortest(model, x, y, 2, bounds)
    length = (point - x).norm(dim=1)
    reachable = expected.isfinite()
    torch.testing.assert_close(length[reachable], expected[reachable], rtol=1e-4, atol=1e-6)
    assert (length[~reachable] == 0).all()
    if bounds:
        assert ((point >= 0) & (point <= 1)).all()
    with torch.no_grad():
        top = model(point).topk(2, dim=1).values
    assert ((top[:, 0] - top[:, 1])[reachable] < 1e-6).all()


def test_an_image_that_is_misclassified_lies_at_distance_0():
    model, x, y = linear(1)
    wrong = (y + 1) % 4
    assert (boundary_distance(model, x, wrong) == 0).all()
    assert torch.equal(nearest_boundary(model, x, wrong), x)
    assert torch.equal(deepfool(model, x, wrong), x)


def test_where_no_class_can_overtake_there_is_no_boundary():
    constant = nn.Linear(6, 3)
    with torch.no_grad():
        constant.weight.zero_()
        constant.bias.copy_(torch.tensor([1.0, 0.5, 0.0]))
    x, y = torch.rand(2, 6), torch.tensor([0, 0])
    assert boundary_distance(constant, x, y).isinf().all()
    for point in (nearest_boundary(constant, x, y), nearest_boundary(constant, x, y, (0, 1)), deepfool(constant, x, y)):
        assert torch.equal(point, x)
    without_gradient = nearest_boundary(lambda x: torch.eye(3)[[0, 0]], x, y)
    assert torch.equal(without_gradient, x)


def test_a_class_out_of_reach_in_the_range_is_left_out():
    # Class 1 would need a pixel of 3, class 2 is reached at 0.75.
    model = nn.Linear(2, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.2]]))
        model.bias.copy_(torch.tensor([0.15, -2.85, 0.0]))
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    torch.testing.assert_close(nearest_boundary(model, x, y, (0.0, 1.0)), torch.tensor([[0.5, 0.75]]))


# -- DeepFool as an attack


def predicted(model, x):
    model.eval()
    with torch.no_grad():
        return model(x).argmax(1)


def test_it_fools_within_the_range_and_leaves_the_model_alone(model, right):
    x, y = right
    modes = [module.training for module in model.modules()]
    x_adv = deepfool(model, x, y)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert (x_adv.shape, x_adv.dtype, x_adv.requires_grad) == (x.shape, x.dtype, False)
    assert (predicted(model, x_adv) != y).all()


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_on_a_linear_classifier_it_overshoots_by_2_per_cent_and_no_more(seed):
    model, x, y = linear(seed)
    length = (deepfool(model, x, y, bounds=(-math.inf, math.inf)) - x).norm(dim=1)
    torch.testing.assert_close(length, 1.02 * boundary_distance(model, x, y), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(model, right, dtype):
    x_adv = deepfool(model.to(dtype), right[0].to(dtype), right[1])
    assert x_adv.dtype == dtype
    assert x_adv.isfinite().all()


def test_one_image_an_empty_batch_points_in_the_plane(model, right):
    x, y = right
    torch.testing.assert_close(deepfool(model, x[0], y[0]), deepfool(model, x[:1], y[:1])[0])
    assert deepfool(model, x[:0], y[:0]).shape == (0, 2, 5, 5)
    moons = models.load("moons_mlp")
    points = torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    labels = predicted(moons, points)
    assert (predicted(moons, deepfool(moons, points, labels)) != labels).any()


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(model, right, switched_off):
    expected = deepfool(model, *right)
    with switched_off():
        assert torch.equal(deepfool(model, right[0].clone(), right[1].clone()), expected)


def test_nothing_leaves_the_device(model, batch):
    """The meta device holds no values: a tensor made elsewhere, an .item() or a wait for the device raises there."""
    model, x, y = model.to("meta"), batch[0].to("meta"), batch[1].to("meta")
    assert deepfool(model, x, y, steps=2).device.type == "meta"
    assert boundary_distance(model, x, y, 1).device.type == "meta"
    assert nearest_boundary(model, x, y).device.type == "meta"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: boundary_distance(nn.Linear(3, 2), x, y, p=3), "p must be 1, 2 or math.inf; got 3"),
        (lambda x, y: deepfool(nn.Linear(3, 2), x, y, steps=0), "steps must be at least 1; got 0"),
        (lambda x, y: nearest_boundary(nn.Linear(3, 2), 9 * x, y, (0.0, 1.0)), "x must lie in bounds"),
    ],
)
def test_they_name_what_they_cannot_take(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2, 3), torch.tensor([0, 1]))
