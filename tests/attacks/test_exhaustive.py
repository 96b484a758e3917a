import math

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursekit import data, models
from coursekit.attacks import pgd
from coursekit.attacks.exhaustive import exhaustive, landscape
from coursekit.losses import cross_entropy, margin
from coursekit.perturbations import LpBall, Masked, Rotation

NORMS = [1, 2, math.inf]
TURN, SMALL = Rotation(20.0, 2.0), Rotation(20.0, 1.0)
WHOLE_PLANE = (-math.inf, math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def evaluated(model, x, y, loss=cross_entropy):
    with torch.no_grad():
        logits = model(x)
    return loss(logits, y), logits.argmax(1) != y


@pytest.fixture(scope="module")
def mlp():
    return models.load("moons_mlp")


@pytest.fixture(scope="module")
def moons():
    x, y, _ = data.load("moons", "test")
    return x[:60], y[:60]


@pytest.fixture
def few(digits):
    return digits[0][:12], digits[1][:12]


# -- the truth, as far as the grid goes


@pytest.mark.parametrize("p", NORMS)
def test_pgd_never_beats_it_by_more_than_the_grid_is_wide(p, mlp, moons):
    """Any point of the set is so near to one of the grid that the loss there differs by slope times distance."""
    x, y, threat, points = *moons, LpBall(0.15, p), 41
    truth = exhaustive(mlp, x, y, threat, points=points)
    found = pgd(mlp, x, y, threat, steps=20, restarts=4, early_stop=False, generator=seeded())
    assert threat.contains(truth, x).all()
    spacing = 2 * 0.15 / (points - 1)
    slope = 60  # more than any gradient of the loss of this network
    (true_loss, is_fooled), (loss, was_fooled) = evaluated(mlp, truth, y), evaluated(mlp, found, y)
    assert (true_loss >= loss - slope * spacing).all()
    assert is_fooled.sum() >= was_fooled.sum()
    # And pgd with restarts finds what there is, for the steps of p = 1 and 2 need not be exact in the plane.
    assert was_fooled.sum() >= is_fooled.sum() - 1
    assert 5 < is_fooled.sum() < 60


def test_it_finds_rotations_that_gradients_miss(cnn, digits):
    """The loss has many summits over the angle: from one start pgd ends on a low one, with restarts it comes close."""
    x, y, threat = digits[0][:25], digits[1][:25], Rotation(30.0)
    truth = exhaustive(cnn, x, y, threat, points=61)
    loss, fooled = evaluated(cnn, truth, y)
    once, often = (
        evaluated(cnn, pgd(cnn, x, y, threat, steps=10, restarts=n, early_stop=False, generator=seeded()), y)
        for n in (1, 6)
    )
    assert (loss >= often[0] - 0.2).all()
    assert fooled.sum() >= often[1].sum() >= once[1].sum()
    assert fooled.sum() >= once[1].sum() + 2
    assert often[1].sum() >= 0.9 * fooled.sum()


@pytest.mark.parametrize("p", NORMS)
def test_the_optimum_of_a_linear_classifier(p):
    """Known for the ball in the plane: along a corner for p = 1, the gradient for 2, the signs for infinity."""
    w = torch.tensor([3.0, -4.0], dtype=torch.float64)
    x = torch.randn(20, 2, generator=seeded(), dtype=torch.float64)
    y = (x @ w > 0).long()

    def model(x):
        return torch.stack([-x @ w, x @ w], dim=1)

    dual = {1: 4.0, 2: 5.0, math.inf: 7.0}[p]
    x_adv = exhaustive(model, x, y, LpBall(0.5, p, WHOLE_PLANE), points=101)
    gained = (x @ w - x_adv @ w) * (2 * y - 1)
    assert (gained <= 0.5 * dual + 1e-9).all()
    assert (gained >= 0.5 * dual * (1 if p != 2 else 0.999) - 1e-9).all()


@pytest.mark.parametrize("p", NORMS)
@given(seed=st.integers(0, 1000), eps=st.sampled_from([0.05, 0.3, 2.0]), size=st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_every_point_of_the_set_has_one_of_the_grid_beside_it(p, seed, eps, size):
    """In ball and range, up to their edges: that is what makes the grid a search of the set."""
    x = torch.rand(2, size, generator=seeded(seed), dtype=torch.float64).round(decimals=1)
    threat, points = LpBall(eps, p), 9
    z = landscape(lambda x: torch.zeros(len(x), 2), x, torch.zeros(2, dtype=torch.int64), threat, points=points).z
    assert z.shape == (2, *(points,) * size, size)
    z = z.flatten(1, -2)
    for i in range(2):
        one = x[i : i + 1]
        assert threat.contains(z[i], one.expand_as(z[i])).all()
        anywhere = threat.sample(one.expand(100, -1), generator=seeded(seed))
        far = 10 * torch.randn(100, size, generator=seeded(seed), dtype=torch.float64)
        edge = threat.project(one + far, one.expand(100, -1))
        nearest = torch.cdist(torch.cat([anywhere, edge]), z[i]).amin(1)
        assert nearest.max() <= 2 * eps / (points - 1) * math.sqrt(size)


def test_nothing_on_the_grid_is_worse(cnn, few):
    x, y = few
    x_adv = exhaustive(cnn, x, y, TURN, points=(7, 3, 3))
    table = landscape(cnn, x, y, TURN, points=(7, 3, 3))
    loss, fooled = evaluated(cnn, x_adv, y)
    assert torch.equal(fooled, table.fooled.flatten(1).any(1) | evaluated(cnn, x, y)[1])
    assert fooled.any()
    among = table.loss.flatten(1).where(table.fooled.flatten(1) | ~fooled[:, None], -math.inf).amax(1)
    assert (loss >= among - 1e-5).all()
    assert TURN.contains(x_adv, x).all()


def test_x_itself_competes_and_wins_ties():
    x, y = torch.rand(4, 2, generator=seeded()), torch.tensor([0, 0, 1, 1])
    for points in (2, 4, 5):
        for model in (lambda x: torch.zeros(len(x), 2), lambda x: torch.zeros(len(x), 2) * math.nan):
            assert torch.equal(exhaustive(model, x, y, LpBall(0.2, 2), points=points), x)


def test_of_equally_bad_points_the_nearest_is_taken():
    """Wrong everywhere to the right of 0.6, and just as wrong everywhere."""
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])

    def model(x):
        right = (x[:, 0] > 0.6).float()
        return torch.stack([1 - right, right], dim=1)

    x_adv = exhaustive(model, x, y, LpBall(0.4, math.inf), points=9)
    torch.testing.assert_close(x_adv, torch.tensor([[0.7, 0.5]]))


def test_a_fooling_point_counts_before_a_high_loss():
    """The margin of cross-entropy and argmax: here the loss is one's own, and highest where nothing is fooled."""
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])

    def model(x):
        fooled = ((x[:, 0] - 0.3).abs() < 0.01).float()
        return torch.stack([0.5 - fooled, x[:, 0] / 10], dim=1)

    x_adv = exhaustive(model, x, y, LpBall(0.4, math.inf), points=9, loss=lambda logits, y: logits[:, 1])
    assert x_adv[0, 0] == pytest.approx(0.3)


def test_towards_a_target(cnn, few):
    x, y = few
    target = (y + 1) % 10
    x_adv = exhaustive(cnn, x, y, TURN, points=(9, 3, 3), target=target, loss=margin)
    table = landscape(cnn, x, y, TURN, points=(9, 3, 3), target=target, loss=margin)
    before, after = (evaluated(cnn, image, target, margin)[0] for image in (x, x_adv))
    assert (after <= before + 1e-5).all()
    torch.testing.assert_close(torch.minimum(before, table.loss.flatten(1).amin(1)), after, rtol=1e-4, atol=1e-4)
    by_number, by_class = (exhaustive(cnn, x, y, TURN, points=2, target=t) for t in (3, torch.full_like(y, 3)))
    assert torch.equal(by_number, by_class)


def test_a_few_pixels_are_a_small_set_too():
    """Three pixels of a mask, whatever the size of the image; a linear model knows the answer."""
    w = torch.randn(2, 2, 5, 5, generator=seeded())
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 0] = mask[3, 2] = True
    threat = Masked(LpBall(1.0, math.inf), mask[None] & torch.tensor([True, False]).view(2, 1, 1))
    x, y = torch.rand(6, 2, 5, 5, generator=seeded(1)), torch.zeros(6, dtype=torch.int64)
    x_adv = exhaustive(lambda x: torch.einsum("bchw,kchw->bk", x, w), x, y, threat, points=3)
    slope = (w[1] - w[0]).where(threat.mask, torch.tensor(0.0))
    expected = torch.where(slope > 0, 1.0, torch.where(slope < 0, 0.0, x))
    torch.testing.assert_close(x_adv, expected)


# -- the landscape


def test_the_landscape_is_the_loss_at_each_angle_and_shift(cnn, few):
    x, y = few
    table = landscape(cnn, x, y, TURN, points=(5, 3, 2))
    assert table.z.shape == (12, 5, 3, 2, 3)
    assert table.loss.shape == table.fooled.shape == (12, 5, 3, 2)
    for i, j, k in ((0, 0, 0), (2, 1, 0), (4, 2, 1)):
        z = torch.tensor([[i / 2 - 1, j - 1, 2 * k - 1]]).float().expand(12, 3)
        torch.testing.assert_close(table.z[:, i, j, k], z)
        loss, fooled = evaluated(cnn, TURN.render(z, x), y)
        torch.testing.assert_close(table.loss[:, i, j, k], loss, rtol=1e-4, atol=1e-4)
        assert torch.equal(table.fooled[:, i, j, k], fooled)


def test_only_what_can_move_has_an_axis(cnn, few):
    assert landscape(cnn, *few, Rotation(30.0), points=7).loss.shape == (12, 7)
    assert landscape(cnn, *few, Rotation(0.0, 2.0), points=3).loss.shape == (12, 3, 3)
    assert torch.equal(exhaustive(cnn, *few, Rotation(0.0)), few[0])


# -- agreement with Foolbox


def test_it_fools_the_digits_that_the_grid_search_of_foolbox_fools(cnn, digits):
    """Apart, because Foolbox shifts before it turns; and its pixels are 27/28 of one."""
    x, y = digits
    wrapped = foolbox.PyTorchModel(cnn, bounds=(0, 1), device="cpu")
    for threat, points, grid in (
        (Rotation(30.0), 21, (0, 30, 1, 21)),  # Foolbox: largest shift, largest angle, shifts, angles
        (Rotation(0.0, 3.0), 7, (3 * 28 / 27, 0, 7, 1)),
    ):
        expected = foolbox.attacks.SpatialAttack(*grid)(wrapped, x, y)[2]
        fooled = evaluated(cnn, exhaustive(cnn, x, y, threat, points=points), y)[1]
        assert (fooled != expected).sum() <= 1  # one may lie on the edge, within rounding
        assert 10 < fooled.sum() < 90


# -- what every attack promises


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_result_is_a_new_detached_image_inside_the_set(model, right, dtype):
    x, y = right[0].to(dtype).requires_grad_(), right[1]
    x_adv = exhaustive(model.to(dtype), x, y, SMALL, points=3)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert not x_adv.requires_grad
    assert x_adv.data_ptr() != x.data_ptr()
    assert SMALL.contains(x_adv, x.detach()).all()
    model.eval()
    assert evaluated(model, x_adv, y)[0].mean() > evaluated(model, x, y)[0].mean()


def test_batches_of_any_kind(model, right):
    model.double()
    x, y = right[0].double(), right[1]
    together, table = (function(model, x, y, SMALL, points=3) for function in (exhaustive, landscape))
    for size in (1, 7, 10_000):
        torch.testing.assert_close(exhaustive(model, x, y, SMALL, points=3, batch_size=size), together)
    strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(exhaustive(model, strided, y, SMALL, points=3), together)
    for i in range(3):
        torch.testing.assert_close(exhaustive(model, x[i], y[i], SMALL, points=3), together[i])
        for part, whole in zip(landscape(model, x[i], y[i], SMALL, points=3), table, strict=True):
            torch.testing.assert_close(part, whole[i])
    assert exhaustive(model, x[:0], y[:0], SMALL, points=3).shape == (0, 2, 5, 5)
    assert landscape(model, x[:0], y[:0], SMALL, points=3).loss.shape == (0, 3, 3, 3)


def test_each_point_may_have_its_own_eps(mlp, moons):
    x, y = moons
    eps = torch.linspace(0, 0.2, len(x))
    for p in NORMS:
        x_adv = exhaustive(mlp, x, y, LpBall(eps, p), points=7)
        assert LpBall(eps, p).contains(x_adv, x).all()
        assert torch.equal(x_adv[0], x[0])
        torch.testing.assert_close(x_adv[9:10], exhaustive(mlp, x[9:10], y[9:10], LpBall(eps[9].item(), p), points=7))


def test_everything_is_left_as_it_was(model, batch):
    x, y = batch[0].clone(), batch[1].clone()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    modes, state = [m.training for m in model.modules()], {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.random.get_rng_state()
    exhaustive(model, x, y, SMALL, points=2)
    landscape(model, x, y, SMALL, points=2)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    assert torch.equal(x, batch[0])
    assert torch.equal(random, torch.random.get_rng_state())


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(model, right, switched_off):
    expected = exhaustive(model, *right, SMALL, points=2)
    with switched_off():
        assert torch.equal(exhaustive(model, right[0].clone(), right[1].clone(), SMALL, points=2), expected)


def test_nothing_leaves_the_device(mlp):
    x, y = torch.empty(3, 2, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    model = nn.Linear(2, 3, device="meta")
    for threat in (LpBall(0.1, 2), LpBall(torch.ones(3), 1)):
        for target in (None, 2):
            assert exhaustive(model, x, y, threat, points=3, target=target).device == x.device
            assert all(part.device == x.device for part in landscape(model, x, y, threat, points=3, target=target))
    images = torch.empty(3, 1, 4, 4, device="meta")
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).to("meta")
    assert exhaustive(model, images, y, Rotation(10.0), points=2).device == x.device


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": torch.full((2, 5), 0.5)}, ValueError, r"threat must have at most 4 coordinates, .* got 5"),
        ({"points": 1}, ValueError, "points must be at least 2 along each of the 2 coordinates; got 1"),
        ({"points": (3, 3, 3)}, ValueError, r"points must be .* each of the 2 coordinates; got \(3, 3, 3\)"),
        ({"points": 2.5}, TypeError, "points must be an int, or one for each coordinate; got float"),
        ({"points": (3, "3")}, TypeError, "points must be an int, .* got str"),
        ({"batch_size": 0}, ValueError, "batch_size must be an int of at least 1; got 0"),
        ({"y": torch.tensor([0, 3])}, ValueError, "y must hold classes 0 to 1"),
        ({"x": torch.full((2, 2), 1.5)}, ValueError, "x must lie in the threat's bounds"),
        ({"threat": 0.1}, TypeError, "threat must be a perturbation set"),
        ({"model": lambda x: None}, ValueError, "model must return logits"),
        ({"target": "cat"}, TypeError, "target must be a class"),
    ],
)
def test_wrong_arguments_are_named(change, error, says):
    arguments = {
        "model": lambda x: x[:, :2], "x": torch.full((2, 2), 0.5), "y": torch.tensor([0, 1]),
        "threat": LpBall(0.1, 2), **change,
    }  # fmt: skip
    for function in (exhaustive, landscape):
        with pytest.raises(error, match=says):
            function(**arguments)
