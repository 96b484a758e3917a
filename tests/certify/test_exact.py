import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import data, models
from coursekit.attacks import pgd, smallest_eps
from coursekit.certify import relaxations
from coursekit.certify.enumeration import TinyNetwork, corners
from coursekit.certify.exact import Distances, Verdicts, minimum_distance, verify
from coursekit.losses import margin
from coursekit.models.architectures import Normalize
from coursekit.perturbations import LpBall

seeds = st.integers(0, 2**32 - 1)
CLEAR = 1e-4  # nearer to 0 than that rounding may decide
PLANE = (-math.inf, math.inf)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed, sizes=(2, 6, 3)):
    """A random network of Linear layers and ReLUs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pairs = itertools.pairwise(sizes)
        layers = [part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())][:-1]
        for layer in layers[::2]:
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.7)
        return nn.Sequential(*layers)


def convolutional(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            Normalize([0.3], [0.5]), nn.Conv2d(1, 2, 2, stride=2), nn.ReLU(), nn.Flatten(),
            nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3),
        )  # fmt: skip


def points(seed, count, *shape):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def predicted(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


def lead(model, x, y):
    with torch.no_grad():
        return -margin(model(x), y)


def true_lead(model, x, y, threat):
    """The smallest lead over P(x) of a network with one hidden layer, in exact fractions."""
    tiny = TinyNetwork.of_model(model)
    low, high, box = Fraction(0), Fraction(1), []
    for value in map(Fraction, x.tolist()):
        ends = value - Fraction(threat.eps), value + Fraction(threat.eps)
        box.append(tuple(max(low, min(high, end)) for end in ends) if threat.bounds == (0.0, 1.0) else ends)
    return float(min(tiny.lead(point, int(y)) for point in corners(tiny, box)))


def grid(x, threat, count=41):
    """Points of P(x) for x with two coordinates: a grid, corners and sides included."""
    low, high = (x - threat.eps).clamp(*threat.bounds), (x + threat.eps).clamp(*threat.bounds)
    ticks = [torch.linspace(float(a), float(b), count) for a, b in zip(low, high, strict=True)]
    return torch.cartesian_prod(*ticks)


def check_counterexamples(verdicts, model, x, y, threat):
    """They lie in P(x), are misclassified by the model itself, and nothing else is handed out as one."""
    found = torch.tensor([status == "counterexample" for status in verdicts.status])
    assert threat.contains(verdicts.x_adv, x).all()
    assert ((predicted(model, verdicts.x_adv) != y) == found)[found].all()
    assert torch.equal(verdicts.x_adv[~found], x[~found])
    assert (verdicts.lead[found] <= 0).all()
    assert verdicts.x_adv.shape == x.shape
    assert verdicts.x_adv.dtype == x.dtype


# -- against the truth


@given(seed=seeds, d=st.integers(1, 3), eps=st.sampled_from([0.05, 0.2, 0.6]), plane=st.booleans())
@settings(max_examples=10, deadline=None)
def test_it_says_what_exact_fractions_say(seed, d, eps, plane):
    model, x = network(seed, (d, 5, 3)), points(seed, 2, d)
    y, threat = predicted(model, x), LpBall(eps, math.inf, PLANE if plane else (0.0, 1.0))
    for attack in (True, False):
        verdicts = verify(model, x, y, threat, attack=attack)
        check_counterexamples(verdicts, model, x, y, threat)
        for i, status in enumerate(verdicts.status):
            truth = true_lead(model, x[i], y[i], threat)
            if abs(truth) > CLEAR:
                assert status == ("robust" if truth > 0 else "counterexample")
            assert status != "robust" or truth > 0
            if status == "robust":
                assert verdicts.lead[i] <= truth + 1e-6


@given(seed=seeds, eps=st.sampled_from([0.1, 0.3]))
@settings(max_examples=10, deadline=None)
def test_two_hidden_layers_against_every_point_of_a_grid(seed, eps):
    model, x, threat = network(seed, (2, 5, 5, 3)), points(seed, 3, 2), LpBall(eps, math.inf)
    y = predicted(model, x)
    verdicts = verify(model, x, y, threat, attack=False)
    check_counterexamples(verdicts, model, x, y, threat)
    for i, status in enumerate(verdicts.status):
        leads = lead(model, tried := grid(x[i], threat), y[i].expand(len(tried)))
        if leads.min() < -CLEAR:
            assert status == "counterexample"
        if status == "robust":
            assert verdicts.lead[i] <= leads.min() + 1e-5


@given(seed=seeds)
@settings(max_examples=4, deadline=None)
def test_convolutions_withstand_a_strong_attack_where_they_are_said_to_be_robust(seed):
    model, x, threat = convolutional(seed), points(seed, 4, 1, 4, 4), LpBall(0.15, math.inf)
    y = predicted(model, x)
    verdicts = verify(model, x, y, threat)
    check_counterexamples(verdicts, model, x, y, threat)
    assert "undecided" not in verdicts.status
    generator = torch.Generator().manual_seed(seed)
    x_adv = pgd(model, x, y, threat, steps=40, restarts=4, loss=margin, generator=generator)
    robust = torch.tensor([status == "robust" for status in verdicts.status])
    assert (lead(model, x_adv, y)[robust] > 0).all()
    assert (verdicts.lead[robust] <= lead(model, x_adv, y)[robust] + 1e-5).all()


@given(seed=seeds, eps=st.sampled_from([0.05, 0.2]))
@settings(max_examples=10, deadline=None)
def test_it_knows_at_least_what_every_relaxation_knows_and_no_more_than_an_attack(seed, eps):
    model, x, threat = network(seed, (4, 6, 6, 3)).double(), points(seed, 3, 4).double(), LpBall(eps, math.inf)
    y = predicted(model, x)
    verdicts = verify(model, x, y, threat)
    knows = {m: -relaxations.worst_case_logits(model, x, y, threat, m) for m in relaxations.METHODS}
    others = torch.nn.functional.one_hot(y, 3).bool()
    least = {method: value.masked_fill(others, math.inf).min(1).values for method, value in knows.items()}
    attacked = lead(model, pgd(model, x, y, threat, loss=margin, early_stop=False), y)
    for i, status in enumerate(verdicts.status):
        if status == "robust":
            assert verdicts.lead[i] > 0
            assert verdicts.lead[i] <= attacked[i] + 1e-6
        if least["lp"][i] > CLEAR:
            assert status == "robust"
            assert verdicts.lead[i] >= least["crown"][i] - 1e-9
        if status == "counterexample":
            assert all(least[method][i] <= 1e-6 for method in relaxations.METHODS)


def test_a_counterexample_that_no_gradient_leads_to():
    """A needle: z_1 is above z_0 on a stretch of 0.02, and flat everywhere else."""
    hat = torch.tensor([[100.0], [100.0], [100.0]])
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(hat)
        model[0].bias.copy_(-100 * torch.tensor([0.70, 0.71, 0.72]))
        model[2].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0]]))
        model[2].bias.copy_(torch.tensor([0.5, 0.0]))
    x, y, threat = torch.tensor([[0.4]]), torch.tensor([0]), LpBall(0.35, math.inf)
    assert predicted(model, pgd(model, x, y, threat, random_start=False)) == y
    verdicts = verify(model, x, y, threat, attack=False)
    assert verdicts.status == ["counterexample"]
    assert 0.70 < verdicts.x_adv.item() < 0.72
    assert verify(model, x, y, LpBall(0.29, math.inf)).status == ["robust"]


# -- what it may not say


@pytest.mark.parametrize("limit", [0, 1e-6, 1e-3, 0.01])
def test_a_search_that_is_stopped_never_says_robust_without_proof(limit):
    digits = data.load("mnist", "test")
    model, x, y, threat = models.load("mnist_mlp"), digits.x[:4], digits.y[:4], LpBall(0.2, math.inf)
    verdicts = verify(model, x, y, threat, time_limit=limit, attack=False)
    assert set(verdicts.status) <= {"undecided", "counterexample"}  # at 0.2 there is one for each
    assert verdicts.status.count("undecided") >= (4 if limit == 0 else 0)
    assert (verdicts.seconds < 20).all()
    check_counterexamples(verdicts, model, x, y, threat)


def test_without_any_time_attack_and_crown_still_decide_what_they_can():
    digits = data.load("mnist", "test")
    model, x, y, threat = models.load("mnist_mlp"), digits.x[:30], digits.y[:30], LpBall(0.02, math.inf)
    quick = verify(model, x, y, threat, time_limit=0.0)
    crown = relaxations.certified(model, x, y, threat, "crown")
    assert 0 < quick.share() == crown.double().mean()
    assert 0 < quick.share("counterexample") < 1 - quick.share()


def test_a_tie_is_neither_robust_nor_a_counterexample_unless_the_model_says_so():
    """Two logits that are the same: argmax takes the first, and nothing is proven for either."""
    model = nn.Sequential(nn.Linear(2, 2))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    verdicts = verify(model, torch.rand(2, 2), torch.tensor([0, 1]), LpBall(0.1, math.inf))
    assert verdicts.status == ["undecided", "counterexample"]
    assert verdicts.lead.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("distance", [0.25, 0.3])
def test_at_the_very_radius_where_it_turns_nothing_false_is_said(distance):
    """The lead is x_1 + distance - 1/2, smallest at x_1 - eps: 0 for eps = distance at x_1 = 1/2."""
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([4.5 + distance, 5.0]))
    x, y = torch.full((1, 2), 0.5), torch.tensor([0])
    for attack in (True, False):

        def status(eps, attack=attack):
            return verify(model, x, y, LpBall(eps, math.inf), attack=attack).status[0]

        assert status(distance - 1e-3) == "robust"
        assert status(distance) in ("undecided", "counterexample")
        assert status(distance + 1e-3) == "counterexample"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_weights_that_are_no_numbers_prove_nothing(broken):
    for place in range(3):
        model = network(0)
        with torch.no_grad():
            model[2].weight[place, 0] = broken
        x = points(0, 2, 2)
        for y in (0, 1, 2):
            verdicts = verify(model, x, torch.tensor([y, y]), LpBall(0.1, math.inf))
            assert "robust" not in verdicts.status


def test_an_image_that_is_misclassified_is_its_own_counterexample():
    model, x = network(1), points(1, 5, 2)
    y = (predicted(model, x) + 1) % 3
    for attack in (True, False):
        for limit in (0.0, 5.0):
            verdicts = verify(model, x, y, LpBall(1e-4, math.inf), attack=attack, time_limit=limit)
            assert set(verdicts.status) == {"counterexample"}
            check_counterexamples(verdicts, model, x, y, LpBall(1e-4, math.inf))


def test_a_ball_of_radius_zero_is_the_image_itself():
    model, x = network(2), points(2, 6, 2)
    y = predicted(model, x)
    y[0] = (y[0] + 1) % 3
    verdicts = verify(model, x, y, LpBall(0.0, math.inf))
    assert verdicts.status == ["counterexample"] + ["robust"] * 5
    torch.testing.assert_close(verdicts.lead, lead(model, x, y).double(), atol=1e-5, rtol=1e-5)


# -- the contract


def test_each_image_has_its_own_radius_and_its_neighbours_do_not_matter():
    model, x = network(6), points(6, 1, 2).expand(6, 2)
    y, eps = predicted(model, x), torch.tensor([0.0, 0.02, 0.05, 0.1, 0.3, 1.0])
    together = verify(model, x, y, LpBall(eps, math.inf))
    check_counterexamples(together, model, x, y, LpBall(eps, math.inf))
    alone = [verify(model, x[i : i + 1], y[i : i + 1], LpBall(float(e), math.inf)).status[0] for i, e in enumerate(eps)]
    assert together.status == alone
    assert len(set(alone)) == 2


def test_an_empty_batch_has_no_verdicts():
    verdicts = verify(network(0), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), LpBall(0.1, math.inf))
    assert verdicts.status == []
    assert verdicts.x_adv.shape == (0, 2)
    assert verdicts.share() == 0
    nothing = minimum_distance(network(0), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert nothing.lower.shape == nothing.upper.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_answered_for_the_model_as_it_is(dtype):
    model, x = network(4).to(dtype), points(4, 4, 2).to(dtype)
    y, threat = predicted(model, x), LpBall(0.2, math.inf)
    verdicts = verify(model, x, y, threat)
    check_counterexamples(verdicts, model, x, y, threat)
    assert verdicts.lead.dtype == verdicts.seconds.dtype == torch.float64


def test_it_leaves_model_images_and_random_numbers_as_they_were():
    model, x = convolutional(5).train(), points(5, 3, 1, 4, 4)
    x = x.transpose(2, 3).requires_grad_()  # not contiguous, and part of somebody's graph
    y = predicted(model, x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image, state = x.detach().clone(), torch.get_rng_state()
    with torch.inference_mode():
        verify(model, x, y, LpBall(0.3, math.inf))
    verdicts = verify(model, x, y, LpBall(0.3, math.inf))
    minimum_distance(model, x, y, tolerance=0.05)
    assert model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(x, image)
    assert x.grad is None
    assert not verdicts.x_adv.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_it_says_the_same_each_time():
    model, x = convolutional(6), points(6, 4, 1, 4, 4)
    y, threat = predicted(model, x), LpBall(0.2, math.inf)
    first, second = (verify(model, x, y, threat) for _ in range(2))
    assert first.status == second.status
    assert torch.equal(first.x_adv, second.x_adv)
    assert torch.equal(first.lead, second.lead)


def test_the_same_on_several_linear_layers_in_a_row_and_on_one():
    model, x = network(7, (3, 4)), points(7, 4, 3)
    folded = nn.Sequential(nn.Linear(3, 3), model[0])
    with torch.no_grad():
        folded[0].weight.copy_(torch.eye(3))
        folded[0].bias.zero_()
    y, threat = predicted(model, x), LpBall(0.3, math.inf)
    one, two = (verify(each, x, y, threat, attack=False) for each in (model, folded))
    assert one.status == two.status
    truth = _linear_lead(model[0], x, y, threat)
    for i, status in enumerate(one.status):
        assert status == ("robust" if truth[i] > 0 else "counterexample")


def _linear_lead(layer, x, y, threat):
    """The smallest lead of a linear classifier over a box: each pixel goes to the end that its weight likes least."""
    low, high = (x - threat.eps).clamp(*threat.bounds), (x + threat.eps).clamp(*threat.bounds)
    rows = layer.weight[y][:, None] - layer.weight
    least = torch.minimum(rows * low[:, None], rows * high[:, None]).sum(2) + layer.bias[y][:, None] - layer.bias
    return least.scatter(1, y[:, None], math.inf).min(1).values


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))}, "Linear, Conv2d, ReLU.*got Tanh"),
        ({"model": nn.Sequential(nn.Linear(2, 3), nn.ReLU())}, "must end with a Linear layer; got ReLU"),
        ({"model": nn.Sequential()}, "must end with a Linear layer"),
        ({"model": nn.Linear(2, 2)}, "Sequential; got Linear"),
        ({"model": nn.Sequential(nn.Linear(2, 1))}, "at least two classes; got 1"),
        ({"threat": LpBall(0.1, 2)}, "p = inf; got p = 2"),
        ({"threat": 0.1}, "LpBall with p = inf; got float"),
        ({"x": torch.full((2, 2), 1.5)}, "x must"),
        ({"x": torch.zeros(2, 2, dtype=torch.int64)}, "x must"),
        ({"y": torch.tensor([0])}, "y must"),
        ({"y": torch.tensor([0, 3])}, "y must"),
        ({"time_limit": -1.0}, "time_limit must be seconds, at least 0; got -1.0"),
        ({"time_limit": math.nan}, "time_limit must"),
        ({"time_limit": True}, "time_limit must"),
        ({"time_limit": None}, "time_limit must"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_named(change, says):
    given_ = {"model": network(0), "x": points(0, 2, 2), "y": torch.tensor([0, 1]), "threat": LpBall(0.1, math.inf)}
    with pytest.raises((ValueError, TypeError), match=says):
        verify(**(given_ | change))


@pytest.mark.parametrize("name", ["eps_max", "tolerance"])
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, None, True])
def test_distances_ask_for_numbers_above_zero(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a number above 0"):
        minimum_distance(network(0), points(0, 1, 2), torch.tensor([0]), **{name: value})


# -- the distance


@given(seed=seeds)
@settings(max_examples=4, deadline=None)
def test_the_distance_is_where_the_verdict_turns(seed):
    model, x = network(seed, (2, 5, 3)), points(seed, 2, 2)
    y = predicted(model, x)
    found = minimum_distance(model, x, y, tolerance=1e-3, eps_max=0.4)
    assert (found.lower <= found.upper).all()
    for i in range(2):
        lower, upper = float(found.lower[i]), float(found.upper[i])
        if math.isinf(upper):
            assert lower == 0.4
            assert true_lead(model, x[i], y[i], LpBall(0.4, math.inf)) > 0
            assert torch.equal(found.x_adv[i], x[i])
            continue
        assert upper - lower <= 1e-3
        assert predicted(model, found.x_adv[i : i + 1]) != y[i]
        assert (found.x_adv[i] - x[i]).abs().max().item() == pytest.approx(upper, abs=1e-6)
        assert true_lead(model, x[i], y[i], LpBall(lower, math.inf)) > 0 or lower == 0
        assert true_lead(model, x[i], y[i], LpBall(upper * (1 + 1e-5), math.inf)) < CLEAR


def test_no_attack_comes_closer_than_the_distance_and_what_is_misclassified_has_none():
    digits = data.load("mnist", "test")
    model, x, y = models.load("mnist_mlp"), digits.x[[4, 8, 2]], digits.y[[4, 8, 2]].clone()
    y[2] = (y[2] + 1) % 10
    found = minimum_distance(model, x, y, tolerance=2e-3)
    attacked = smallest_eps(model, x, y, math.inf, eps_max=0.5, loss=margin)
    assert (found.lower <= attacked + 1e-6).all()
    assert (found.upper[:2] - found.lower[:2] <= 2e-3).all()
    assert (found.lower[2], found.upper[2]) == (0, 0)


def test_a_distance_for_which_there_was_no_time_has_ends_that_hold():
    model, x = network(8), points(8, 3, 2)
    y = predicted(model, x)
    rough, fine = (minimum_distance(model, x, y, time_limit=limit) for limit in (0.0, 20.0))
    assert (rough.lower <= fine.upper).all()
    assert (fine.lower <= rough.upper).all()


def test_what_they_hold_has_names():
    assert Verdicts(["robust", "undecided"], torch.zeros(2), torch.zeros(2), torch.zeros(2)).share("undecided") == 0.5
    assert {"lower", "upper", "x_adv"} <= set(Distances.__annotations__)
