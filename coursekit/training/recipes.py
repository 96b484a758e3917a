"""The recipes of the shipped weights, and the command that follows them."""

import argparse
import math
from functools import partial

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from coursekit import data, models
from coursekit.attacks import pgd
from coursekit.evaluation import RobustAccuracy, robust_accuracy
from coursekit.perturbations import LpBall
from coursekit.training.loop import fit
from coursekit.training.methods import adversarial_fit


def random_shift(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Each image (B, C, H, W) moved by up to two pixels each way; what comes in from outside is 0."""
    padded = F.pad(x, (2, 2, 2, 2))
    moves = torch.randint(0, 5, (len(x), 2), generator=generator).to(x.device)
    rows = moves[:, :1] + torch.arange(x.shape[2], device=x.device)
    columns = moves[:, 1:] + torch.arange(x.shape[3], device=x.device)
    images = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


# Per architecture: the data set, how to train on it, and the L-inf radius its robust accuracy is recorded at.
RECIPES: dict[str, dict] = {
    "mnist_cnn": {"data": "mnist", "eps": 0.1, "epochs": 20, "fit": {"augment": random_shift}},
    "mnist_linear": {"data": "mnist", "eps": 0.1, "epochs": 20, "fit": {}},
    "moons_mlp": {"data": "moons", "eps": 0.05, "epochs": 100, "fit": {}},
}
HEAD_START = 3  # epochs on x itself: from random weights, adversarial training often ends in a constant classifier


def train(name: str, training: str = "standard", eps: float | None = None, *, progress: bool = True) -> nn.Module:
    """The classifier that `coursekit.models.load(name, training, eps)` ships, made anew: same seed, same weights.

    training: "standard", or a method of `adversarial_fit` with the L-inf radius eps. On one thread, since the order
    in which threads add is not fixed. The global random state is left alone.
    """
    recipe = RECIPES[name]
    dataset = data.load(recipe["data"], "train")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = models.build(name)
        settings = {**recipe["fit"], "generator": Generator().manual_seed(0), "progress": progress}
        if training == "standard":
            return fit(model, dataset.x, dataset.y, epochs=recipe["epochs"], **settings)
        threat = LpBall(recipe["eps"] if eps is None else eps, math.inf)
        fit(model, dataset.x, dataset.y, epochs=HEAD_START, **settings)
        return adversarial_fit(
            model, dataset.x, dataset.y, threat, method=training, epochs=recipe["epochs"] - HEAD_START, **settings
        )
    finally:
        torch.set_num_threads(threads)


def measure(model: nn.Module, name: str, eps: float | None = None) -> RobustAccuracy:
    """What is recorded beside the weights: accuracy on the test split, clean and under PGD-20 (L-inf, seed 0)."""
    test = data.load(RECIPES[name]["data"], "test")
    threat = LpBall(RECIPES[name]["eps"] if eps is None else eps, math.inf)
    attack = partial(pgd, threat=threat, steps=20, generator=Generator().manual_seed(0))
    return robust_accuracy(model, test.x, test.y, attack)


def main(argv: list[str] | None = None) -> None:
    """Trains a classifier of the course and writes its weights with their recipe."""
    parser = argparse.ArgumentParser(prog="python -m coursekit.training", description=main.__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--training", choices=("standard", "pgd", "fgsm"), default="standard")
    parser.add_argument("--eps", type=float, help="L-inf radius to train for (not for standard training)")
    parser.add_argument("--out", help="file to write; default: where coursekit.models.load looks")
    options = parser.parse_args(argv)
    if (options.training == "standard") != (options.eps is None):
        parser.error("--eps goes with adversarial training, and only with it")
    model = train(options.name, options.training, options.eps)
    result = measure(model, options.name, options.eps)
    command = f"python -m coursekit.training {options.name} --training {options.training}"
    command += f" --eps {options.eps:g}" if options.eps else ""
    radius = options.eps or RECIPES[options.name]["eps"]
    recipe = {
        "command": command, "clean": f"{result.clean:.4f}", "robust": f"{result.robust:.4f}",
        "attack": f"PGD-20, L-inf, eps {radius:g}",
    }  # fmt: skip
    path = options.out or models.WEIGHTS / models.file_name(options.name, options.training, options.eps)
    save_file(model.state_dict(), path, metadata=recipe)
    print(f"{path}: {result}")
