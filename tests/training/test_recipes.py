import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from coursekit import data, models, training
from coursekit.training import measure, train


def test_the_recipe_makes_the_shipped_weights_again():
    shipped, again = models.load("moons_mlp"), train("moons_mlp", progress=False)
    recorded = models.recipe("moons_mlp")
    assert measure(again, "moons_mlp").clean == pytest.approx(float(recorded["clean"]), abs=0.01)
    points = data.load("moons", "test").x
    torch.testing.assert_close(again(points).softmax(1), shipped(points).softmax(1), rtol=0, atol=0.02)


@pytest.mark.slow
def test_training_on_one_step_breaks_down_and_the_best_epoch_is_shipped():
    """Catastrophic overfitting: FGSM at 0.2 learns to fit its own step and forgets every other attack."""
    history = []
    again, shipped = (
        train("mnist_cnn", "fgsm", 0.2, history=history, progress=False),
        models.load("mnist_cnn", "fgsm", 0.2),
    )
    robust = [row.robust for row in history]
    assert max(robust) > 0.35
    assert robust[-1] < max(robust) - 0.1
    assert history[-1].loss < history[robust.index(max(robust))].loss + 0.05
    found = measure(again, "mnist_cnn", 0.2)
    assert found.robust > robust[-1] + 0.05
    assert found.robust == pytest.approx(measure(shipped, "mnist_cnn", 0.2).robust, abs=0.05)


def test_the_command_writes_weights_with_their_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(training.RECIPES["moons_mlp"], "epochs", 4)
    out, half = tmp_path / "weights.safetensors", tmp_path / "half"
    arguments = ["moons_mlp", "--training", "pgd", "--eps", "0.02", "--out", str(out)]
    training.main(arguments)
    with safe_open(out, framework="pt") as file:
        recipe = dict(file.metadata())
        assert set(file.keys()) == set(models.build("moons_mlp").state_dict())
    assert recipe["command"] == "python -m coursekit.training moons_mlp --training pgd --eps 0.02"
    assert set(recipe) == {"command", "clean", "robust", "attack"}
    assert "clean" in capsys.readouterr().out
    first = load_file(out)
    training.main([*arguments, "--checkpoint", str(half)])
    assert all(torch.equal(value, first[name]) for name, value in load_file(out).items())
    assert half.exists()


@pytest.mark.parametrize("arguments", [["moons_mlp", "--training", "pgd"], ["moons_mlp", "--eps", "0.1"], ["moon"]])
def test_impossible_commands_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        training.main(arguments)
    assert caught.value.code == 2
    assert "error" in capsys.readouterr().err


def test_the_noise_of_a_recipe_is_recorded_as_sigma(tmp_path, monkeypatch):
    monkeypatch.setitem(training.RECIPES["mnist_mlp"]["noise"], "epochs", 2)
    out = tmp_path / "weights.safetensors"
    training.main(["mnist_mlp", "--training", "noise", "--eps", "0.5", "--out", str(out)])
    with safe_open(out, framework="pt") as file:
        recipe = dict(file.metadata())
    assert recipe["command"] == "python -m coursekit.training mnist_mlp --training noise --eps 0.5"
    assert recipe["attack"] == "PGD-20, L-inf, eps 0.05"
    assert 0.3 < float(recipe["noisy"]) <= float(recipe["clean"])
    with pytest.raises(ValueError, match="eps must be given, the standard deviation of the noise"):
        train("mnist_mlp", "noise", progress=False)
