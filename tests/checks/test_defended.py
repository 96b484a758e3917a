"""Defended models and detectors as values that a test passes: described here, built on the student's side."""

import pytest
import torch

from coursekit import checks, data
from coursekit.checks import student
from coursekit.defenses import Mahalanobis, Quantized, RandomNoise, RandomResize, Saturated

CNN = checks.model("mnist_cnn")
DIGITS = data.load("mnist", "test")


def answered(function, *arguments):
    with student.use(student.Notebook({"f": function})):
        return student.Function("f")(*arguments)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (checks.defended("quantized", CNN, levels=4), Quantized),
        (checks.defended("noise", CNN, sigma=0.3), RandomNoise),
        (checks.defended("resize", CNN, smallest=0.7), RandomResize),
        (checks.defended("saturated", CNN, temperature=0.1), Saturated),
    ],
)
def test_a_students_function_gets_the_defended_model_itself(spec, kind):
    x = DIGITS.x[:3]
    torch.manual_seed(0)
    expected = spec.build()(x)
    assert isinstance(spec.build(), kind)
    seen = answered(lambda model, x: torch.manual_seed(0) and model(x), spec, x)
    torch.testing.assert_close(seen, expected)


def test_any_described_model_can_be_defended():
    weight = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    spec = checks.defended("quantized", checks.network(("linear", weight, None)), levels=2)
    x = torch.tensor([[0.4, 0.6]])
    assert torch.equal(answered(lambda model, x: model(x), spec, x), torch.tensor([[-1.0, 2.0]]))


def test_a_detector_is_the_one_fitted_to_training_digits_and_the_students_own_copy():
    spec, train = checks.detector(CNN, count=200), data.load("mnist", "train")
    expected = Mahalanobis(CNN.build(), train.x[:200], train.y[:200]).score(DIGITS.x[:5])

    def spoil(detector, x):
        score = detector.score(x)
        detector.means.zero_()
        return score

    for _ in range(2):
        torch.testing.assert_close(answered(spoil, spec, DIGITS.x[:5]), expected)


def test_its_features_come_from_the_layer_asked_for():
    early = checks.detector(CNN, layer=5, count=100).build()
    assert early.means.shape == (10, 32 * 7 * 7)


def test_a_model_changed_by_the_student_is_noticed():
    def f(defended, x):
        defended.train()
        return x

    with student.use(student.Notebook({"f": f})):
        function = student.Function("f")
        function(checks.defended("quantized", CNN, levels=4), DIGITS.x[:1])
    assert function.changed == ["defended was left in train mode"]


def test_a_failed_call_says_what_it_was_given():
    def f(*_):
        raise ValueError("no")

    with student.use(student.Notebook({"f": f})):
        exercise = checks.Exercise("f", points=1)
        exercise.case("calls it")(lambda f: f(checks.defended("quantized", CNN, levels=4), checks.detector(CNN)))
    expected = "a result from f(Quantized(mnist_cnn, levels=4), a detector for mnist_cnn)"
    assert exercise.cases[0].expected == expected


@pytest.mark.parametrize(
    ("describe", "says"),
    [
        (lambda: checks.defended("moat", CNN), "kind: got 'moat', allowed are 'quantized', 'noise'"),
        (lambda: checks.defended("quantized", CNN, levels=1), "levels must be at least 2; got 1"),
        (lambda: checks.detector(checks.model("mnist_cnn"), layer=5, count=0), "x must hold images"),
    ],
)
def test_a_description_that_cannot_be_built_fails_where_it_is_written(describe, says):
    with pytest.raises(ValueError, match=says):
        describe()


def test_a_whole_one_answers_alike_and_has_no_parts_to_attack_instead():
    parts, whole = (checks.defended("saturated", CNN, temperature=0.1, whole=whole) for whole in (False, True))
    x = DIGITS.x[:2]
    assert torch.equal(whole.build()(x), parts.build()(x))
    assert not whole.build().training
    for name in ("model", "transform", "temperature"):
        with pytest.raises(AttributeError, match="attack it as it is"):
            getattr(whole.build(), name)
