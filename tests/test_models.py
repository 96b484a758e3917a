import pytest
import torch
from torch import nn

from coursekit import data, models
from coursekit.models.state import differentiating, evaluating
from coursekit.training import measure
from coursekit.training.recipes import certified_accuracy, noisy_accuracy

SHIPPED = sorted(path.name.removesuffix(".safetensors").split("-") for path in models.WEIGHTS.glob("*.safetensors"))
SHIPPED = [(name, training, float(*eps) if eps else None) for name, training, *eps in SHIPPED]


def test_something_is_shipped():
    assert {("mnist_cnn", "standard", None), ("moons_mlp", "standard", None)} <= {*SHIPPED}
    assert {("mnist_cnn", "pgd", eps) for eps in (0.1, 0.2, 0.3)} <= {*SHIPPED}
    assert {("mnist_cnn", "ibp", eps) for eps in (0.1, 0.3)} <= {*SHIPPED}
    assert {("mnist_cnn", method, 0.2) for method in ("fgsm", "fast", "trades")} <= {*SHIPPED}


QUICK = [("mnist_cnn", "pgd", 0.1), ("mnist_linear", "standard", None), ("moons_mlp", "standard", None)]


@pytest.mark.parametrize(
    "arguments", [some if some in QUICK else pytest.param(some, marks=pytest.mark.slow) for some in SHIPPED]
)
def test_shipped_weights_are_as_good_as_recorded(arguments):
    name, training, eps = arguments
    recorded = models.recipe(*arguments)
    found = measure(models.load(*arguments), name, None if training == "noise" else eps)
    # Another processor may round another way: a few images of a thousand, one of the forty faces.
    one = 0.026 if name == "faces_cnn" else 0
    assert found.clean == pytest.approx(float(recorded["clean"]), abs=0.003 + one)
    assert found.robust == pytest.approx(float(recorded["robust"]), abs=0.01 + one)


@pytest.mark.parametrize("eps", [0.1, 0.3])
def test_bounds_prove_as_much_as_recorded(eps):
    recorded = float(models.recipe("mnist_cnn", "ibp", eps)["certified"])
    assert certified_accuracy(models.load("mnist_cnn", "ibp", eps), "mnist_cnn", eps) == pytest.approx(
        recorded, abs=0.005
    )
    assert recorded <= float(models.recipe("mnist_cnn", "ibp", eps)["robust"])


@pytest.mark.parametrize(("name", "sigma"), [(name, sigma) for name, training, sigma in SHIPPED if training == "noise"])
def test_networks_trained_with_noise_see_through_it_as_recorded(name, sigma):
    recorded = float(models.recipe(name, "noise", sigma)["noisy"])
    assert noisy_accuracy(models.load(name, "noise", sigma), name, sigma) == pytest.approx(recorded, abs=0.003)
    assert recorded > noisy_accuracy(models.load(name), name, sigma)


@pytest.mark.parametrize("arguments", SHIPPED)
def test_recipes_name_the_command_that_makes_them(arguments):
    name, training, eps = arguments
    command = models.recipe(*arguments)["command"].split()
    assert command[:6] == ["python", "-m", "coursekit.training", name, "--training", training]
    assert command[6:] == ([] if eps is None else ["--eps", f"{eps:g}"])


def test_the_standard_cnn_is_accurate_and_the_robust_one_robust():
    standard, robust = models.recipe("mnist_cnn"), models.recipe("mnist_cnn", "pgd", 0.1)
    assert float(standard["clean"]) >= 0.97
    assert float(robust["clean"]) >= 0.95
    assert float(robust["robust"]) >= float(standard["robust"]) + 0.3


def test_loaded_models_are_ready_to_use_and_ones_own(digits):
    x, y = digits
    first, second = models.load("mnist_cnn"), models.load("mnist_cnn")
    assert not any(module.training for module in first.modules())
    assert first(x).shape == (100, 10)
    assert first(x).dtype == torch.float32
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in first.parameters())
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert (second(x).argmax(1) == y).float().mean() > 0.9
    assert (models.load("mnist_cnn")(x).argmax(1) == y).float().mean() > 0.9


def test_loading_leaves_the_global_random_state_alone():
    state = torch.random.get_rng_state()
    models.load("mnist_cnn")
    assert torch.equal(state, torch.random.get_rng_state())


def test_no_eps_takes_the_largest():
    largest = max(eps for name, training, eps in SHIPPED if (name, training) == ("mnist_cnn", "pgd"))
    assert models.recipe("mnist_cnn", "pgd") == models.recipe("mnist_cnn", "pgd", largest)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mnist_cn",), "name must be one of 'mnist_cnn'.*got 'mnist_cn'"),
        (("mnist_cnn", "fgsmm"), "training of 'mnist_cnn' must be one of 'standard', 'fast', 'fgsm', .*got 'fgsmm'"),
        (("mnist_cnn", "pgd", 0.25), "eps of 'mnist_cnn' with training 'pgd' must be one of 0.1.*got 0.25"),
        (("mnist_cnn", "standard", 0.1), "eps of 'mnist_cnn' with training 'standard' must be None; got 0.1"),
    ],
)
def test_what_is_not_shipped_is_answered_with_what_is(arguments, says):
    with pytest.raises(ValueError, match=says):
        models.load(*arguments)
    with pytest.raises(ValueError, match=says):
        models.recipe(*arguments)


INPUTS = {"moons_mlp": ((2,), 2), "signs_cnn": ((3, 32, 32), 12), "faces_cnn": ((1, 25, 25), 2)}
INPUTS["imagenet"] = ((3, 224, 224), 1000)


@pytest.mark.parametrize("name", models.ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_architecture_runs_in_every_dtype_on_any_batch(name, dtype):
    shape, classes = INPUTS.get(name, ((1, 28, 28), 10))
    model = models.build(name).to(dtype).eval()
    for images in (2, 0):
        logits = model(torch.rand(images, *shape, dtype=dtype))
        assert logits.dtype == dtype
        assert logits.shape == (images, classes)


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_every_architecture_makes_no_tensor_on_a_device_of_its_own(name):
    shape, classes = INPUTS.get(name, ((1, 28, 28), 10))
    with torch.device("meta"):
        model = models.build(name)
    assert model(torch.empty(2, *shape, device="meta")).shape == (2, classes)


def test_all_weights_together_are_small():
    assert sum(path.stat().st_size for path in models.WEIGHTS.iterdir()) < 20e6


@pytest.mark.parametrize(
    ("name", "data_set", "at_least"),
    [("signs_cnn", "signs", 0.97), ("faces_cnn", "faces", 0.95), ("mnist_mlp", "mnist", 0.92)],
)
def test_the_other_classifiers_are_accurate(name, data_set, at_least):
    x, y, classes = data.load(data_set, "test")
    with torch.no_grad():
        logits = models.load(name)(x)
    assert logits.shape == (len(x), len(classes))
    assert (logits.argmax(1) == y).float().mean() >= at_least


def test_the_small_network_trained_to_be_robust_is():
    standard, robust = models.recipe("mnist_mlp"), models.recipe("mnist_mlp", "pgd", 0.1)
    assert float(robust["clean"]) >= 0.92
    assert float(robust["robust"]) >= float(standard["robust"])  # although at twice the radius


def test_evaluating_restores_every_module_by_itself():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)), nn.Dropout())
    model.train()
    model[1].eval()
    model[1][0].train()
    modes = [module.training for module in model.modules()]

    def fail_inside():
        with evaluating(model):
            assert not any(module.training for module in model.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_differentiating_switches_gradients_on(switched_off):
    with switched_off(), differentiating():
        assert torch.ones(1).requires_grad_().exp().requires_grad
