"""Attacked from above, certified from below: what the report says of each image is so, and fits together."""

import math

import pytest
import torch
from torch import nn

from coursekit import plots
from coursekit.certify import enumeration, exact, relaxations, report
from coursekit.certify.report import certification_report
from coursekit.models.state import evaluating
from coursekit.perturbations import LpBall

EPS = [0.02, 0.1, 0.25]


def network(seed, inputs=2, hidden=8, classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


@pytest.fixture(scope="module")
def sample():
    model = network(3)
    x = torch.rand(24, 2, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 3  # one that is wrong to begin with
    return model, x, y


@pytest.fixture(scope="module")
def found(sample):
    return certification_report(*sample, EPS, time_limit=5.0, methods=report.BOUNDS)


def test_everything_is_nested_and_the_truth_lies_between(sample, found):
    model, x, y = sample
    assert not found.contradictions.any()
    assert not found.unknown.any(), "so small a network is always decided"
    assert not found.standing[:, 0].any()
    assert (found.attacked | ~found.standing).all()
    assert (found.certified["crown"] | ~found.certified["interval"]).all()
    assert (found.certified["lp"] | ~found.certified["crown"]).all()
    for mask in found.certified.values():
        assert (found.robust | ~mask).all()
        assert (mask[0] | ~mask[1]).all(), "what holds in a ball holds in a smaller one"
    tiny = enumeration.TinyNetwork.of_model(model)
    for e, eps in enumerate(EPS):
        for i in range(len(x)):
            if eps <= x[i].min() and x[i].max() <= 1 - eps:  # the ball is within the image range
                lead = float(enumeration.worst(tiny, x[i].tolist(), int(y[i]), eps).lead)
                assert bool(found.robust[e, i]) == (lead > 0) or abs(lead) < 1e-4


def test_without_exact_verification_what_nobody_knows_is_left_open(sample):
    found = certification_report(*sample, [0.05], methods=["interval"])
    assert not found.exact
    assert (found.unknown == found.standing & ~found.certified["interval"]).all()
    assert found.unknown.any()
    assert "exact" not in str(found)


def test_the_euclidean_ball_and_one_radius(sample):
    found = certification_report(*sample, 0.05, p=2)
    assert found.eps == [0.05]
    assert set(found.certified) == {"crown", "interval", "lipschitz"}
    assert not found.contradictions.any()


def test_a_certificate_that_an_attack_contradicts_is_told(sample, monkeypatch):
    monkeypatch.setattr(relaxations, "certified", lambda model, x, y, threat, method: torch.ones(len(x), dtype=bool))
    found = certification_report(*sample, [0.25], methods=["crown"])
    assert found.contradictions[0, 0]
    for said in (str(found), found._repr_html_()):
        assert "Proven robust and broken at once, so one of the two is wrong: images [0" in said


def test_an_attack_of_ones_own_and_what_exact_verification_adds_to_it(sample):
    model, x, y = sample
    found = certification_report(model, x, y, [0.25], attack=lambda model, x, y, threat: x, time_limit=5.0)
    assert (found.attacked == found.clean).all()
    truth = exact.verify(model, x, y, LpBall(0.25, math.inf)).status
    assert found.standing[0].tolist() == [status == exact.ROBUST for status in truth]


def test_the_table_says_what_was_counted(found):
    lines = str(found).splitlines()
    assert lines[0].startswith("24 images, 95.8% correct; radius in L-inf")
    rows = dict(found.rows())
    for line, (name, shares) in zip(lines[1:], rows.items(), strict=True):
        assert line.split("  ")[0].strip() == name
        assert [float(part.rstrip("%")) for part in line.removeprefix(name).split()] == [
            pytest.approx(100 * share, abs=0.06) for share in shares
        ]
    assert "certified, CROWN" in found._repr_html_()


def test_the_model_and_the_random_state_are_left_as_they_were(sample):
    model, x, y = sample
    state = torch.get_rng_state()
    model.train()
    try:
        first, again = (certification_report(model, x, y, 0.1) for _ in range(2))
        assert model.training
    finally:
        model.eval()
    assert (first.standing == again.standing).all()
    assert torch.equal(state, torch.get_rng_state())
    with evaluating(model):
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"eps": []}, "eps must be one radius or several"),
        ({"eps": [-0.1]}, r"eps must be .*at least 0; got \[-0.1\]"),
        ({"p": 1}, "p must be 2 or math.inf; got 1"),
        ({"methods": ["boxes"]}, "methods must be of 'lp', 'crown', 'interval', 'lipschitz'; got 'boxes'"),
        ({"time_limit": -1}, "time_limit must be seconds, at least 0; got -1"),
        ({"time_limit": 1, "p": 2}, "time_limit must be 0 for p = 2"),
        ({"x": torch.full((24, 2), 2.0)}, "x must lie in the threat's bounds"),
    ],
)
def test_bad_input_is_named(sample, change, says):
    model, x, y = sample
    with pytest.raises(ValueError, match=says):
        certification_report(**{"model": model, "x": x, "y": y, "eps": 0.1, **change})


def test_the_figure_says_the_same_as_the_table(found, sample):
    said = plots.alt_text(plots.certificates(found))
    for name, mask in found.certified.items():
        share = plots.percent(mask[1].float().mean().item())
        assert f"{report.NAMES[name]}: " in said
        assert f"{share} at 0.1" in said
    one = plots.certificates(certification_report(*sample, 0.1, time_limit=5.0))
    rows = certification_report(*sample, 0.1, time_limit=5.0).rows()
    widths = [bar.get_width() for bar in one.axes[0].patches]
    assert widths[1:] == pytest.approx([shares[0] for _, shares in rows])
    assert "exact: at least" in plots.alt_text(one)


def test_attacks_stand_to_the_right_of_the_truth_in_the_figure():
    figure = plots.from_above({"FGSM": 0.9, "PGD": 0.85}, (0.8, 0.82))
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert dots == [0.9, 0.85]
    said = plots.alt_text(figure)
    assert "PGD: 85.0 %" in said
    assert "The truth: 80.0 to 82.0 %" in said
    with pytest.raises(ValueError, match="measured must hold an attack, truth 0 <= low <= high <= 1"):
        plots.from_above({"PGD": 0.9}, (0.9, 0.8))
