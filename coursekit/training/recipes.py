"""The recipes of the shipped weights, and the command that follows them."""

import argparse
import math
from functools import partial
from os import PathLike

import torch
from safetensors.torch import save_file
from torch import Generator, nn

from coursekit import data, models
from coursekit.attacks import pgd
from coursekit.certify.relaxations import certified
from coursekit.evaluation import RobustAccuracy, robust_accuracy
from coursekit.perturbations import LpBall
from coursekit.training.augment import gaussian_noise, mirrored_shift, random_affine, random_shift
from coursekit.training.certified import certified_fit
from coursekit.training.lipschitz import lipschitz_fit
from coursekit.training.loop import fit
from coursekit.training.methods import METHODS, adversarial_fit
from coursekit.training.progress import Epoch
from coursekit.training.schedules import one_cycle, plateau, ramp

# Per architecture: the data set, how to train on it, and the L-inf radius its robust accuracy is recorded at. What
# adversarial training does otherwise stands under "adversarial", and under the name of a method if only that does.
# held_out: how many of the training images decide which epoch's weights are taken (see `fit`, validation).
RECIPES: dict[str, dict] = {
    "mnist_cnn": {
        "data": "mnist", "eps": 0.1, "epochs": 20, "fit": {"augment": random_shift},
        "adversarial": {
            "epochs": 50, "steps": 5, "augment": random_affine, "lr": 3e-3, "lr_schedule": one_cycle(),
            "eps_schedule": ramp(0.4), "average": 0.998,
        },
        "fgsm": {"epochs": 30, "held_out": 400},  # may break down any time: the best epoch is taken
        "trades": {"epochs": 25},
        # Bounds hold a little beyond the radius that counts, so that they still hold on other images.
        "ibp": {
            "epochs": 100, "reach": 1.2, "augment": random_shift, "lr": 2e-3, "lr_schedule": plateau(),
            "eps_schedule": ramp(0.6), "average": 0.998,
        },
        "noise": {
            "epochs": 60, "augment": random_affine, "lr": 3e-3, "lr_schedule": one_cycle(), "average": 0.998,
        },
    },
    "mnist_linear": {"data": "mnist", "eps": 0.1, "epochs": 20, "fit": {}},
    # Small weights: fewer ReLUs that may switch within the radius, so that an exact verifier has less to try.
    "mnist_mlp": {
        "data": "mnist", "eps": 0.05, "epochs": 30, "fit": {"weight_decay": 1.0},
        "noise": {
            "epochs": 100, "augment": random_affine, "lr": 3e-3, "lr_schedule": one_cycle(), "weight_decay": 0.01,
        },
    },
    # Its ordinary training is the constrained one: `fit_by`.
    "mnist_lipschitz": {
        "data": "mnist", "eps": 0.05, "epochs": 40, "fit_by": lipschitz_fit,
        "fit": {"radius": 1.0, "scale": 10.0, "augment": random_shift, "lr": 1e-2, "lr_schedule": one_cycle()},
    },
    "moons_mlp": {"data": "moons", "eps": 0.05, "epochs": 100, "fit": {}},
    "signs_cnn": {"data": "signs", "eps": 0.02, "epochs": 20, "fit": {}},
    "faces_cnn": {"data": "faces", "eps": 0.02, "epochs": 80, "fit": {"augment": mirrored_shift, "batch_size": 20}},
}  # fmt: skip


def train(
    name: str, training: str = "standard", eps: float | None = None, *, progress: bool = True,
    checkpoint: str | PathLike | None = None, history: list[Epoch] | None = None,
) -> nn.Module:  # fmt: skip
    """The classifier that `coursekit.models.load(name, training, eps)` ships, made anew: same seed, same weights.

    training: "standard", a method of `adversarial_fit`, or "ibp" (`certified_fit`), with the L-inf radius eps; or
    "noise", on images with `gaussian_noise`, whose standard deviation eps then is. On one thread, since the order in
    which threads add is not fixed. The global random state is left alone. checkpoint, history: as for `fit`.
    """
    recipe = RECIPES[name]
    dataset = data.load(recipe["data"], "train")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = models.build(name)
        settings = {"epochs": recipe["epochs"], "generator": Generator().manual_seed(0), "progress": progress}
        settings |= {"checkpoint": checkpoint, "history": history}
        settings |= recipe["fit"]
        x, y = dataset.x, dataset.y
        if training == "standard":
            return recipe.get("fit_by", fit)(model, x, y, **settings)
        if training == "noise":
            if eps is None:
                raise ValueError("eps must be given, the standard deviation of the noise; got None")
            settings |= recipe.get("noise", {})
            settings["augment"] = gaussian_noise(eps, after=settings.get("augment"))
            return fit(model, x, y, **settings)
        threat = LpBall(recipe["eps"] if eps is None else eps, math.inf)
        if training == "ibp":
            settings |= recipe.get("ibp", {})
            threat = LpBall(settings.pop("reach", 1.0) * threat.eps, math.inf)
            return certified_fit(model, x, y, threat, **settings)
        settings |= {"eps_schedule": ramp(0.3)} | recipe.get("adversarial", {}) | recipe.get(training, {})
        if held_out := settings.pop("held_out", 0):
            x, y, settings["validation"] = x[:-held_out], y[:-held_out], (x[-held_out:], y[-held_out:])
        return adversarial_fit(model, x, y, threat, method=training, **settings)
    finally:
        torch.set_num_threads(threads)


def measure(model: nn.Module, name: str, eps: float | None = None) -> RobustAccuracy:
    """What is recorded beside the weights: accuracy on the test split, clean and under PGD-20 (L-inf, seed 0)."""
    test = data.load(RECIPES[name]["data"], "test")
    threat = LpBall(RECIPES[name]["eps"] if eps is None else eps, math.inf)
    attack = partial(pgd, threat=threat, steps=20, generator=Generator().manual_seed(0))
    return robust_accuracy(model, test.x, test.y, attack)


def certified_accuracy(model: nn.Module, name: str, eps: float) -> float:
    """The share of the test split that interval bounds prove robust at the L-inf radius eps."""
    test = data.load(RECIPES[name]["data"], "test")
    return certified(model, test.x, test.y, LpBall(eps, math.inf)).double().mean().item()


def noisy_accuracy(model: nn.Module, name: str, sigma: float) -> float:
    """The share of the test split that is recognised under normal noise of sigma, one copy of each image, seed 0."""
    test = data.load(RECIPES[name]["data"], "test")
    noisy = gaussian_noise(sigma)(test.x, Generator().manual_seed(0))
    return robust_accuracy(model, noisy, test.y, lambda model, x, y: x).clean


def main(argv: list[str] | None = None) -> None:
    """Trains a classifier of the course and writes its weights with their recipe."""
    parser = argparse.ArgumentParser(prog="python -m coursekit.training", description=main.__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--training", choices=("standard", *METHODS, "ibp", "noise"), default="standard")
    parser.add_argument(
        "--eps", type=float, help="L-inf radius to train for, or the noise's sigma (not for standard training)"
    )
    parser.add_argument("--checkpoint", help="file to go on from after an interruption; the result is the same")
    parser.add_argument("--out", help="file to write; default: where coursekit.models.load looks")
    options = parser.parse_args(argv)
    if (options.training == "standard") != (options.eps is None):
        parser.error("--eps goes with every training but the standard one, and only with those")
    model = train(options.name, options.training, options.eps, checkpoint=options.checkpoint)
    attacked = None if options.training == "noise" else options.eps
    result = measure(model, options.name, attacked)
    command = f"python -m coursekit.training {options.name} --training {options.training}"
    command += f" --eps {options.eps:g}" if options.eps else ""
    radius = attacked or RECIPES[options.name]["eps"]
    recipe = {
        "command": command, "clean": f"{result.clean:.4f}", "robust": f"{result.robust:.4f}",
        "attack": f"PGD-20, L-inf, eps {radius:g}",
    }  # fmt: skip
    if options.training == "ibp":
        recipe["certified"] = f"{certified_accuracy(model, options.name, radius):.4f}"
    if options.training == "noise":
        recipe["noisy"] = f"{noisy_accuracy(model, options.name, options.eps):.4f}"
    path = options.out or models.WEIGHTS / models.file_name(options.name, options.training, options.eps)
    save_file(model.state_dict(), path, metadata=recipe)
    print(f"{path}: {result}")
