"""Binary classifiers as values: what a student's function gets, and how many questions it answers."""

import pytest
import torch

from coursekit import checks
from coursekit.checks import student


def answered(function, *arguments):
    with student.use(student.Notebook({"g": function})):
        return student.Function("g")(*arguments)


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "zero", "one"),
    [
        (checks.classifier("linear", torch.tensor([1.0, -1.0]), 0.5, d=2), point(0, 1), point(0, 0)),
        (checks.classifier("ball", torch.tensor([1.0]), 0.5, d=1), point(1.5), point(1.4)),
        (checks.classifier("checkerboard", 0.5, d=2), point(0.1, 0.1), point(0.1, 0.6)),
        (checks.classifier("nearest", torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), d=1), point(0.5), point(0.6)),
        (checks.classifier("lookup", torch.tensor([[0.25, 0.5]]), d=2), point(0.25, 0.5 + 1e-12), point(0.25, 0.5)),
        (checks.classifier("network", checks.network(("linear", torch.eye(2), None)), d=2), point(1, 0), point(0, 1)),
    ],
)
def test_each_kind_labels_points_as_it_says(spec, zero, one):
    f = spec.build()
    assert (f(zero), f(one)) == (0, 1)
    assert isinstance(f(one), int)


def test_the_wild_one_is_a_function_and_has_both_labels():
    f, again = (checks.classifier("wild", 0.1, 3, d=4).build() for _ in range(2))
    points = torch.rand(200, 4, dtype=torch.float64)
    labels = [f(x) for x in points]
    assert labels == [again(x) for x in points]
    assert 60 < sum(labels) < 140
    assert labels != [checks.classifier("wild", 0.1, 4, d=4).build()(x) for x in points]


def test_a_constant_one_is_constant():
    f = checks.classifier("constant", 1, d=3).build()
    assert {f(x) for x in torch.randn(20, 3, dtype=torch.float64)} == {1}


def test_the_budget_is_counted_anew_for_each_call_and_said_when_used_up():
    spec = checks.classifier("linear", torch.tensor([1.0]), 0.0, d=1, budget=3)

    def ask(count):
        return lambda f: [f(point(float(i))) for i in range(count)]

    assert answered(ask(3), spec) == [0, 1, 1]
    assert answered(ask(3), spec) == [0, 1, 1]
    with student.use(student.Notebook({"g": ask(4)})):
        exercise = checks.Exercise("g", points=1)
        exercise.case("asks too much")(lambda g: g(spec))
    assert exercise.cases[0].status == "crashed"
    assert "f has answered 3 questions, and bisection needs no more" in exercise.cases[0].got
    assert "a linear classifier of R^1" in exercise.cases[0].expected


def test_what_is_no_single_point_is_refused_and_costs_nothing():
    f = checks.classifier("linear", torch.tensor([1.0, 1.0]), 0.0, d=2, budget=1).build()
    with pytest.raises(ValueError, match=r"f takes one point, a tensor of shape \(2,\); got shape \(5, 2\)"):
        f(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="got list"):
        f([0.0, 0.0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        f(point(0, float("nan")))
    assert f(point(1, 1)) == 1


def test_a_description_that_cannot_be_built_fails_where_it_is_written():
    with pytest.raises(ValueError, match="got 'quadratic', allowed are 'linear'"):
        checks.classifier("quadratic", d=1)
    with pytest.raises(RuntimeError):
        checks.classifier("linear", torch.ones(3), 0.0, d=2)
