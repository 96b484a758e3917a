import math
from functools import partial

import pytest
import torch
from torch import nn

from coursekit.attacks import fgsm, pgd
from coursekit.attacks.common import goal
from coursekit.evaluation import accuracy_curve, robust_accuracy, wilson_interval
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall, Rotation


class Threshold(nn.Module):
    """Class 1 where the single pixel is above one half: what an attack did is plain to see."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, x):
        return self.dropout(torch.cat([0.5 - x, x - 0.5], dim=1))


def test_an_image_counts_only_if_it_is_right_before_and_after():
    x = torch.tensor([[0.1], [0.4], [0.6], [0.9], [0.2], [0.8]])
    y = torch.tensor([0, 0, 1, 1, 1, 0])  # the last two are wrong to begin with

    def flip_the_unsure(model, x, y):
        return torch.where((x - 0.5).abs() < 0.2, 1 - x, x)

    result = robust_accuracy(Threshold(), x, y, flip_the_unsure)
    assert result.correct.tolist() == [True, True, True, True, False, False]
    assert result.survived.tolist() == [True, False, False, True, False, False]
    assert (result.clean, result.robust) == (4 / 6, 2 / 6)
    assert result.interval[0] < result.robust < result.interval[1]
    assert str(result) == "clean 66.7%, robust 33.3% (95 % interval 9.7% to 70.0%)"


def test_an_attack_that_repairs_mistakes_gains_the_model_nothing():
    x, y = torch.tensor([[0.1], [0.9]]), torch.tensor([1, 0])
    assert robust_accuracy(Threshold(), x, y, lambda model, x, y: 1 - x).robust == 0


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_the_batch_size_does_not_show(cnn, digits, batch_size):
    x, y = (part[:40] for part in digits)
    attack = partial(pgd, threat=LpBall(0.1, math.inf), steps=5, random_start=False)
    sizes = []

    def counted(model, x, y):
        sizes.append(len(x))
        return attack(model, x, y)

    expected, result = robust_accuracy(cnn, x, y, attack), robust_accuracy(cnn, x, y, counted, batch_size=batch_size)
    assert abs(result.survived.int() - expected.survived.int()).sum() <= 1
    assert max(sizes) <= batch_size
    assert sum(sizes) == result.correct.sum()


def test_the_model_is_used_in_eval_mode_and_left_as_it_was():
    model = Threshold().train()
    x, y = torch.rand(50, 1), torch.randint(0, 2, (50,))
    modes = []
    robust_accuracy(model, x, y, lambda model, x, y: (modes.append(model.training), x)[1])
    assert modes == [False]
    assert model.training
    with pytest.raises(KeyError):
        robust_accuracy(model, (y[:, None] * 0.5 + 0.2), y, lambda model, x, y: {}["gone"])
    assert model.training


def test_a_model_that_answers_nan_has_not_survived():
    def model(x):
        return torch.where(x > 0.5, math.nan, torch.tensor([[1.0, 0.0]]))

    x, y = torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)
    result = robust_accuracy(model, x, y, lambda model, x, y: x + 1)
    assert (result.clean, result.robust) == (1, 0)


def test_a_curve_has_a_point_for_each_threat(cnn, digits):
    x, y = digits
    threats = [LpBall(eps, math.inf) for eps in (0.0, 0.05, 0.1, 0.2)]
    for attack in (fgsm, partial(pgd, steps=10)):
        curve = accuracy_curve(cnn, x, y, attack, threats, batch_size=50)
        assert [point.clean for point in curve] == [curve[0].clean] * 4
        assert curve[0].robust == curve[0].clean
        assert curve[0].robust > curve[1].robust > curve[2].robust > curve[3].robust


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_each_image_may_have_its_own_eps(batch_size):
    x = torch.full((6, 1), 0.4)
    y = torch.tensor([0, 1, 0, 0, 1, 0])  # two are wrong to begin with: the attack gets no image and no eps of theirs
    eps = torch.tensor([0.2, 0.0, 0.05, 0.2, 0.0, 0.05])
    threat = LpBall(eps, math.inf)
    result = robust_accuracy(Threshold(), x, y, fgsm, threat=threat, batch_size=batch_size)
    assert result.survived.tolist() == [False, False, True, False, False, True]
    (point,) = accuracy_curve(Threshold(), x, y, fgsm, [threat], batch_size=batch_size)
    assert torch.equal(point.survived, result.survived)


def test_a_curve_takes_any_perturbation_set(cnn, digits):
    x, y = (part[:20] for part in digits)
    attack = partial(pgd, steps=3, generator=torch.Generator().manual_seed(0))
    still, turned = accuracy_curve(cnn, x, y, attack, [Rotation(0.0), Rotation(90.0)])
    assert still.robust == still.clean
    assert turned.robust < turned.clean


def test_a_model_that_looks_several_times_is_right_unless_it_is_wrong_each_time():
    def model(x):  # two looks: at the image as it is, and a little darker
        return torch.stack([torch.cat([0.5 - seen, seen - 0.5], dim=1) for seen in (x, x - 0.2)], dim=1)

    x, y = torch.tensor([[0.1], [0.6], [0.6], [0.9]]), torch.tensor([0, 0, 1, 0])
    result = robust_accuracy(model, x, y, lambda model, x, y: x + 0.2)
    assert result.correct.tolist() == [True, True, True, False]
    assert result.survived.tolist() == [True, False, True, False]
    x_adv = pgd(model, x[:3], y[:3], LpBall(0.2, math.inf))
    fooled = goal(y[:3], None, cross_entropy).reached(model(x_adv), y[:3])
    assert torch.equal(robust_accuracy(model, x[:3], y[:3], lambda *_: x_adv).survived, ~fooled)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 10), (920, 1000), (1, 1)])
def test_the_interval_holds_the_shares_that_the_count_does_not_contradict(successes, trials):
    """Wilson's ends are the p with |p^ - p| = 1.96 sqrt(p (1 - p) / n); the other root is p^ itself at 0 and 1."""
    share, (low, high) = successes / trials, wilson_interval(successes, trials)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if end not in (0, 1):
            assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / trials))
    assert (low == 0) == (successes == 0)
    assert (high == 1) == (successes == trials)


def test_the_interval_covers_the_truth_about_95_times_of_100():
    generator = torch.Generator().manual_seed(0)
    counts = (torch.rand(2000, 200, generator=generator) < 0.9).sum(1).tolist()
    covered = sum(low <= 0.9 <= high for low, high in (wilson_interval(count, 200) for count in counts))
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": torch.rand(0, 1), "y": torch.zeros(0, dtype=torch.int64)}, "x must hold at least one image; got none"),
        ({"x": torch.zeros(2, 1, dtype=torch.uint8)}, "x must be a floating tensor .* got torch.uint8"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, r"y must have one label per image, .* got \(3,\)"),
        ({"y": torch.zeros(2)}, "y must be an int64 tensor .* got torch.float32"),
        ({"y": [0, 1]}, "y must be an int64 tensor .* got list"),
        ({"y": torch.tensor([0, 2])}, "y must hold classes 0 to 1"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"batch_size": 2.5}, "batch_size must be an int; got float"),
        ({"threat": 0.1}, "threat must be a perturbation set"),
        ({"threat": LpBall(torch.ones(3), 2)}, r"eps must be one number or one per image, \(2,\)|got shape \(3,\)"),
        ({"model": lambda x: x[0]}, r"model must return logits \(2, K\) or \(2, S, K\); got \(1,\)"),
        ({"attack": "pgd"}, "attack must be a function .* got str"),
        ({"attack": lambda model, x, y: x[:, :0]}, r"attack must return the shape of x, \(2, 1\); got \(2, 0\)"),
        ({"attack": lambda model, x, y: None}, "attack must return .* did it forget to return"),
        ({"attack": lambda model, x, y: x / y[:, None]}, "attack must return images without NaN; got NaN in 2 of 2"),
    ],
)
def test_wrong_arguments_are_named(change, says):
    arguments = {"model": Threshold(), "x": torch.zeros(2, 1), "y": torch.zeros(2, dtype=torch.int64)}
    arguments |= {"attack": lambda model, x, y: x} | change
    with pytest.raises((ValueError, TypeError), match=says):
        robust_accuracy(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 0), "trials must be at least 1; got 0"),
        ((-1, 5), "successes must be at least 0; got -1"),
        ((6, 5), "successes must be at most trials, 5; got 6"),
        ((0.5, 1), "successes must be an int; got float"),
    ],
)
def test_an_interval_of_nothing_is_refused(arguments, says):
    with pytest.raises((ValueError, TypeError), match=says):
        wilson_interval(*arguments)
