import math

import pytest
import torch
from safetensors import safe_open
from torch import nn

from coursekit import data, models, training
from coursekit.attacks import fgsm, pgd
from coursekit.perturbations import LpBall
from coursekit.training import adversarial_fit, fit, measure, random_shift, train, training_step


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fresh(name="moons_mlp"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.build(name)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_fitting_learns_and_says_nothing(capfd):
    x, y, _ = data.load("moons")
    model = fresh()
    assert fit(model, x, y, epochs=30, generator=seeded(), progress=False) is model
    assert not model.training
    test = data.load("moons", "test")
    assert (model(test.x).argmax(1) == test.y).float().mean() > 0.95
    assert capfd.readouterr() == ("", "")


def test_the_generator_decides_the_result_and_the_global_random_state_stays():
    x, y, _ = data.load("moons")
    state = torch.random.get_rng_state()
    first, second, other = (
        weights(adversarial_fit(
            fresh(), x, y, LpBall(0.05, math.inf), steps=2, epochs=1, generator=seeded(seed), progress=False,
        )) for seed in (0, 0, 1)
    )  # fmt: skip
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("method", ["pgd", "fgsm"])
def test_adversarial_training_makes_it_more_robust(method):
    x, y, _ = data.load("moons")
    threat, settings = LpBall(0.08, math.inf), {"epochs": 10, "progress": False}
    test = data.load("moons", "test")
    standard = fit(fresh(), x, y, generator=seeded(), **settings)
    robust = adversarial_fit(fresh(), x, y, threat, method=method, generator=seeded(), **settings)
    kept = [
        (model(pgd(model, test.x, test.y, threat, generator=seeded())).argmax(1) == test.y).float().mean()
        for model in (standard, robust)
    ]
    assert kept[1] > kept[0] + 0.01


def test_a_step_descends_on_the_attacked_images_in_train_mode_and_treats_them_as_fixed():
    """Danskin: the gradient at the worst point, without one through the attack that found it."""
    x, y, _ = data.load("moons")
    threat = LpBall(0.1, math.inf)
    model, twin = fresh().double().eval(), fresh().double()
    x = x.double()
    modes = []

    def attack(model, x, y):
        modes.append(model.training)
        return fgsm(model, x, y, threat)

    loss = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y, attack)
    assert model.training
    assert not loss.requires_grad
    by_hand = nn.functional.cross_entropy(twin(fgsm(twin, x, y, threat)), y)
    by_hand.backward()
    torch.testing.assert_close(loss, by_hand.detach())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(weights(model), weights(twin))


@pytest.mark.parametrize("attack", [None, lambda *batch: pgd(*batch, LpBall(0.1, 2), steps=3, early_stop=False)])
def test_nothing_of_a_step_leaves_the_device(attack):
    with torch.device("meta"):
        model = models.build("mnist_cnn")
        x, y = torch.empty(4, 1, 28, 28), torch.empty(4, dtype=torch.int64)
    loss = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y, attack)
    assert loss.device == x.device
    assert random_shift(x).device == x.device


def test_random_shifts_move_images_and_nothing_else():
    x = torch.zeros(200, 1, 9, 9)
    x[:, :, 4, 4] = torch.arange(1, 201).view(-1, 1)
    moved = random_shift(x, seeded())
    assert torch.equal(moved.flatten(1).sum(1), x.flatten(1).sum(1))
    rows, columns = moved[:, 0].nonzero()[:, 1], moved[:, 0].nonzero()[:, 2]
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4, 5, 6}
    edge = torch.ones(50, 2, 5, 5)
    assert set(random_shift(edge, seeded()).unique().tolist()) == {0.0, 1.0}


def test_the_recipe_makes_the_shipped_weights_again():
    shipped, again = models.load("moons_mlp"), train("moons_mlp", progress=False)
    recorded = models.recipe("moons_mlp")
    assert measure(again, "moons_mlp").clean == pytest.approx(float(recorded["clean"]), abs=0.01)
    points = data.load("moons", "test").x
    torch.testing.assert_close(again(points).softmax(1), shipped(points).softmax(1), rtol=0, atol=0.02)


def test_the_command_writes_weights_with_their_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(training.RECIPES["moons_mlp"], "epochs", 4)
    out = tmp_path / "weights.safetensors"
    training.main(["moons_mlp", "--training", "pgd", "--eps", "0.02", "--out", str(out)])
    with safe_open(out, framework="pt") as file:
        recipe = dict(file.metadata())
        assert set(file.keys()) == set(models.build("moons_mlp").state_dict())
    assert recipe["command"] == "python -m coursekit.training moons_mlp --training pgd --eps 0.02"
    assert set(recipe) == {"command", "clean", "robust", "attack"}
    assert "clean" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["moons_mlp", "--training", "pgd"], ["moons_mlp", "--eps", "0.1"], ["moon"]])
def test_impossible_commands_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        training.main(arguments)
    assert caught.value.code == 2
    assert "error" in capsys.readouterr().err


def test_unknown_methods_list_the_known_ones():
    with pytest.raises(ValueError, match="method must be one of 'pgd', 'fgsm'; got 'pdg'"):
        adversarial_fit(fresh(), torch.rand(2, 2), torch.tensor([0, 1]), LpBall(0.1, 2), method="pdg")
