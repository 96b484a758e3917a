"""The checkers of the two questions: right constructions pass, and each kind of wrong proof is named."""

import math

import pytest
import torch

from coursekit import attacks, checks
from coursekit.checks import proofs
from coursekit.perturbations import LpBall

HALF = checks.classifier("linear", torch.tensor([1.0, 0.0]), 0.0, d=2)  # 1 to the right of 0


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def refused(call, *arguments):
    with pytest.raises(checks.Wrong) as wrong:
        call(*arguments)
    return " | ".join((wrong.value.got, wrong.value.expected, wrong.value.hint))


# ------------------------------------------------------------------ the first question


def test_a_pair_of_different_labels_less_than_eps_apart_is_a_proof():
    for p in (1, 2, math.inf):
        proofs.pair((point(-0.1, 0), point(0.1, 0)), HALF, 0.21, p)
        proofs.pair(torch.stack([point(0.1, 0), point(-0.1, 0)]), HALF, 0.21, p)


def test_equal_labels_are_no_proof():
    assert "f(x) = 1 and f(x~) = 1" in refused(proofs.pair, (point(0.1, 0), point(0.2, 0)), HALF, 1.0, 2)
    assert "x~ is x itself" in refused(proofs.pair, (point(0.1, 0), point(0.1, 0)), HALF, 1.0, 2)


def test_a_constant_classifier_has_no_pair():
    constant = checks.classifier("constant", 0, d=2)
    assert "two different labels" in refused(proofs.pair, (point(-0.1, 0), point(0.1, 0)), constant, 1.0, 2)


def test_points_too_far_apart_are_no_proof_in_the_norm_that_counts():
    pair = point(-0.25, 0.0), point(0.25, 0.5)
    assert proofs.pair(pair, HALF, 0.6, math.inf)
    assert "0.7071 apart" in refused(proofs.pair, pair, HALF, 0.6, 2)
    assert "1 apart" in refused(proofs.pair, pair, HALF, 0.6, 1)


def test_the_ball_is_open():
    said = refused(proofs.pair, (point(-0.25, 0), point(0.25, 0)), HALF, 0.5, 2)
    assert "The slide's ball is open" in said
    proofs.pair((point(-0.25, 0), point(0.25, 0)), HALF, math.nextafter(0.5, 1), 2)


def test_what_is_no_pair_is_named():
    assert "forget a return" in refused(proofs.pair, None, HALF, 1.0, 2)
    assert "Return the two points" in refused(proofs.pair, point(0, 1), HALF, 1.0, 2)
    assert "shape (3,)" in refused(proofs.pair, [point(0, 1, 2), point(0, 1)], HALF, 1.0, 2)
    assert "dtype float32" in refused(proofs.pair, [point(-1, 1).float(), point(0, 1)], HALF, 1.0, 2)
    assert "NaN" in refused(proofs.pair, [point(-1, math.nan), point(0, 1)], HALF, 1.0, 2)


# ------------------------------------------------------------------ the second question


def made(hat=(0.25, 0.5, 0.75), height=8.0, slope=-0.25, offset=-0.5, x=0.0, y=0):
    """One input; the other logit is offset + slope (u + 2) plus a hat."""
    first = [[1.0]] * 4, [-place for place in hat] + [2.0]
    second = [[0.0] * 4, [height, -2 * height, height, slope]], [0.0, offset]
    return proofs.construction({"layers": [first, second], "x": [x], "y": y})


def test_a_counterexample_passes_every_look():
    right = made()
    proofs.classified(right)
    proofs.has_a_step(right)
    proofs.step_fails(right, 1.0)
    proofs.has_an_adversarial_example(right, 1.0)


def test_the_step_is_that_of_the_attack():
    for slope in (-0.25, 0.25):
        example = made(slope=slope)
        second = torch.tensor([[0.0] * 4, [8.0, -16.0, 8.0, slope]]).double(), torch.tensor([0.0, -0.5]).double()
        first = torch.ones(4, 1).double(), torch.tensor([-0.25, -0.5, -0.75, 2.0]).double()
        network = checks.network(("linear", *first), ("relu",), ("linear", *second)).build()
        ball = LpBall(0.3, math.inf, bounds=(-math.inf, math.inf))
        landing = attacks.fgsm(network, torch.zeros(1, 1).double(), torch.tensor([0]), ball)
        assert float(example.step(0.3)[0]) == pytest.approx(landing.item())


def test_a_network_on_which_fgsm_succeeds_is_no_counterexample():
    assert "FGSM succeeds here" in refused(proofs.step_fails, made(hat=(0.75, 1.0, 1.25), slope=0.05), 1.0)


def test_no_adversarial_example_at_all_is_no_counterexample():
    assert "No attack can succeed" in refused(proofs.has_an_adversarial_example, made(height=0.0), 1.0)
    assert "No attack can succeed" in refused(proofs.has_an_adversarial_example, made(hat=(1.25, 1.5, 1.75)), 1.0)


def test_a_point_of_another_label_is_no_beginning():
    assert "needs f(x) = y" in refused(proofs.classified, made(y=1))


def test_a_kink_and_a_zero_gradient_are_refused():
    assert "kink of neuron 0" in refused(proofs.has_a_step, made(hat=(0.0, 0.5, 1.0)))
    assert "stands still" in refused(proofs.has_a_step, made(slope=0.0))


def test_a_step_that_floating_point_would_not_take_is_refused():
    assert "next to zero" in refused(proofs.has_a_step, made(slope=-1e-300))
    assert "round to zero" in refused(proofs.has_a_step, made(height=4000.0, offset=-200.0))


def test_the_layers_may_be_scaled_against_each_other():
    first = [[1e-10]] * 4, [-0.25e-10, -0.5e-10, -0.75e-10, 2e-10]
    second = [[0.0] * 4, [8e10, -16e10, 8e10, -0.25e10]], [0.0, -0.5]
    scaled = proofs.construction({"layers": [first, second], "x": [0.0], "y": 0})
    proofs.has_a_step(scaled)
    proofs.step_fails(scaled, 1.0)
    proofs.has_an_adversarial_example(scaled, 1.0)


def test_ties_and_hairlines_prove_nothing():
    narrow = made(offset=-2 + 0.625 + 0.0001)  # at the top of the hat the other logit leads by 0.0001
    assert "Too narrow a lead" in refused(proofs.has_an_adversarial_example, narrow, 1.0)
    assert "Too narrow a lead" in refused(proofs.classified, made(offset=0.5 - 1e-9))
    none = made(offset=-2 + 0.625 - 0.005)  # there it is behind by 0.005: larger weights would be of no help
    assert "No attack can succeed" in refused(proofs.has_an_adversarial_example, none, 1.0)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (None, "forget a return"),
        ([1, 2], "a dict with"),
        ({"layers": []}, "the keys 'layers'"),
        ({"layers": [1], "x": [0], "y": 0}, "1 layers"),
        ({"layers": [1, 2], "x": [0], "y": 0}, "each layer as"),
        ({"layers": [([[1]], [0]), ([[1, 2], [1, 2]], [0, 0])], "x": [0], "y": 0}, "do not fit together"),
        ({"layers": [([[1]], [0]), ([[1], [1], [1]], [0, 0, 0])], "x": [0], "y": 0}, "two classes"),
        ({"layers": [([[1]] * 9, [0] * 9), ([[1] * 9] * 2, [0, 0])], "x": [0], "y": 0}, "3 inputs and 8 neurons"),
        ({"layers": [([[1]] * 10**6, [0]), ([[1], [1]], [0, 0])], "x": [0], "y": 0}, "1000000 numbers in a row"),
        ({"layers": [([[10**8000]], [0]), ([[1], [1]], [0, 0])], "x": [0], "y": 0}, "finite numbers"),
        ({"layers": [([[math.inf]], [0]), ([[1], [1]], [0, 0])], "x": [0], "y": 0}, "finite numbers"),
        ({"layers": [([[1]], [0]), ([[1], [1]], [0, 0])], "x": [0, 1], "y": 0}, "2 numbers in x"),
        ({"layers": [([[1]], [0]), ([[1], [1]], [0, 0])], "x": 0.0, "y": 0}, "list of finite numbers"),
        ({"layers": [([[1]], [0]), ([[1], [1]], [0, 0])], "x": ["1e9"], "y": 0}, "list of finite numbers"),
        ({"layers": [([["1"]], [0]), ([[1], [1]], [0, 0])], "x": [1], "y": 0}, "finite numbers"),
        ({"layers": [([[1]], [0]), ([[1], [1]], [0, 0])], "x": [math.nan], "y": 0}, "list of finite numbers"),
        ({"layers": [([[1]], [0]), ([[1], [1]], [0, 0])], "x": [0], "y": 2}, "y as 0 or 1"),
        ({"layers": [([[1]], [0]), ([[1], [1]], [0, 0])], "x": [0], "y": "0"}, "y as 0 or 1"),
    ],
)  # fmt: skip
def test_what_is_no_construction_is_named(got, said):
    assert said in refused(proofs.construction, got)


def test_tensors_are_read_like_lists():
    layers = [(torch.ones(1, 1), torch.ones(1)), (torch.tensor([[0.0], [1.0]]), torch.zeros(2))]
    example = proofs.construction({"layers": layers, "x": torch.zeros(1), "y": torch.tensor(1)})
    assert example.y == 1
    proofs.classified(example)


def test_numbers_beyond_all_floats_are_spoken_of():
    huge = [([[1e308]], [1e308]), ([[1e308], [0.0]], [0.0, 0.0])]
    example = proofs.construction({"layers": huge, "x": [1.0], "y": 1})
    assert "leads by about -10^616" in refused(proofs.classified, example)
    example = proofs.construction({"layers": huge, "x": [1.0], "y": 0})
    proofs.classified(example)
    assert "No attack can succeed" in refused(proofs.has_an_adversarial_example, example, 1e-3)


# ------------------------------------------------------------------ masks, searches for a pair, best corners


def asked_of(function, call, *arguments, **keywords):
    """What a check says of a student's function, or "" where it passes."""
    with checks.student.use(checks.student.Notebook({"f": function})):
        try:
            call(checks.student.Function("f"), *arguments, **keywords)
        except checks.Failure as failure:
            return " | ".join((failure.got, failure.expected, failure.hint))
    return ""


def test_a_mask_is_one_boolean_for_each_point():
    right = torch.tensor([True, False])
    assert proofs.mask(right, 2, over="jumps") is right
    assert "not indices" in refused(lambda: proofs.mask(torch.tensor([0]), 2, over="jumps"))
    assert "reduce over the jumps" in refused(lambda: proofs.mask(torch.tensor(True), 2, over="jumps"))
    assert "dtype float32" in refused(lambda: proofs.mask(torch.ones(2), 2, over="jumps"))
    assert "forget a return" in refused(lambda: proofs.mask(None, 2, over="jumps"))


def test_neighbours_of_another_label_in_a_finite_domain():
    points, labels = torch.tensor([[0.0, 0.0], [0.3, 0.4], [5.0, 5.0]]), torch.tensor([0, 1, 1])
    assert proofs.among(points, labels, 0.51, 2).tolist() == [True, True, False]
    assert proofs.among(points, labels, 0.39, math.inf).tolist() == [False, False, False]


def test_a_search_may_ask_for_both_ends_and_once_for_each_halving():
    problem = {"a": [-1.0, 0.0], "b": [2.0, 0.0], "eps": 0.01, "p": 2}
    w = torch.tensor([1.0, 0.0])

    def bisect(f, a, b, eps, p):
        return attacks.opposite_ends(f, a, b, eps=eps, p=p)[-1]

    def twice(f, a, b, eps, p):
        return bisect(lambda x: f(x) and f(x), a, b, eps, p)

    assert asked_of(bisect, proofs.found_pair, "linear", w, 0.0, **problem) == ""
    assert "Is a label asked for twice" in asked_of(twice, proofs.found_pair, "linear", w, 0.0, **problem)
    crash = asked_of(lambda f, a, b, eps, p: a.reshape(7), proofs.found_pair, "linear", w, 0.0, **problem)
    assert "shape '[7]'" in crash
    assert "twice" not in crash
    with pytest.raises(ValueError, match="different labels"):
        proofs.found_pair(bisect, "constant", 0, **problem)


def test_the_lowest_lead_of_a_ball_is_that_of_its_best_corner():
    torch.manual_seed(1)
    weight, bias, x, y = torch.randn(5, 3), torch.randn(5), torch.randn(8, 3), torch.randint(0, 5, (8,))
    ball = LpBall(0.4, math.inf, bounds=(-math.inf, math.inf))
    corner = attacks.best_corner(checks.network(("linear", weight, bias)).build(), x, y, ball)
    logits = corner @ weight.T + bias
    others = logits.masked_fill(torch.nn.functional.one_hot(y, 5).bool(), -math.inf).amax(1)
    lead = logits[torch.arange(8), y] - others
    torch.testing.assert_close(proofs.lowest_of_ball(weight, bias, x, y, 0.4), lead)
    assert asked_of(lambda *_: corner, proofs.best_of_ball, weight, bias, x, y, 0.4) == ""
    assert "Nothing was added" in asked_of(lambda *_: x, proofs.best_of_ball, weight, bias, x, y, 0.4)
    assert "no image range" in asked_of(lambda *_: corner.clamp(0, 1), proofs.best_of_ball, weight, bias, x, y, 0.4)
    assert "moved by" in asked_of(lambda *_: corner + 1, proofs.best_of_ball, weight, bias, x, y, 0.4)


def test_the_form_of_a_network_is_spoken_of_as_form():
    flat = {"layers": [([1.0], [0.0]), ([[1], [1]], [0, 0])], "x": [0], "y": 0}
    assert "W1 as a flat list" in refused(proofs.construction, flat)
    nine = {"layers": [([[1]] * 9, [0] * 9), ([[1] * 9] * 2, [0, 0])], "x": [0], "y": 0}
    assert "1 input, 9 neurons" in refused(proofs.construction, nine)
