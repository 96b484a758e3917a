"""Standard and adversarial training, and the command that made the shipped weights.

python -m coursekit.training mnist_cnn --training pgd --eps 0.1
"""

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from coursekit import data, models
from coursekit.attacks import fgsm, pgd
from coursekit.evaluation import RobustAccuracy, robust_accuracy
from coursekit.losses import cross_entropy
from coursekit.perturbations import LpBall

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def fit(
    model: nn.Module, x: Tensor, y: Tensor, *, epochs: int = 10, batch_size: int = 100, lr: float = 2e-3,
    attack: Attack | None = None, augment: Callable[[Tensor, Generator | None], Tensor] | None = None,
    generator: Generator | None = None, progress: bool = True,
) -> nn.Module:  # fmt: skip
    """Trains the model in place on x (N, ...), y int64 (N,) with Adam and returns it in eval mode.

    Minimises the mean cross-entropy; the learning rate falls linearly to 0. attack: (model, x, y) -> x_adv, applied
    to every batch before its step; None trains on x itself. augment: (x, generator) -> x, before the attack.
    generator: the source of the order of the examples and of augment, on the CPU.
    Source: lecture, slide "Adversarial Training: Algorithm".
    """
    batches = -(-len(x) // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs * batches)
    for _ in tqdm(range(epochs), desc="training", unit="epoch", disable=not progress, leave=False):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for batch in order.split(batch_size):
            x_b, y_b = x[batch], y[batch]
            if augment is not None:
                x_b = augment(x_b, generator)
            training_step(model, optimizer, x_b, y_b, attack)
            schedule.step()
    return model.eval()


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, attack: Attack | None = None
) -> Tensor:
    """One step of SGD on the loss at x, or at the attacked x: Danskin's theorem lets x~ count as fixed.

    Returns the mean loss before the step, a detached scalar on the device of x.
    """
    if attack is not None:
        x = attack(model, x, y)
    model.train()
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def adversarial_fit(
    model: nn.Module, x: Tensor, y: Tensor, threat: LpBall, *, method: str = "pgd", steps: int = 7,
    generator: Generator | None = None, **settings,
) -> nn.Module:  # fmt: skip
    """Adversarial training: `fit` on the worst point of P(x) that an attack finds, instead of on x.

    method: "pgd" (`steps` steps from a random start, Madry et al. 2018, section 4) or "fgsm" (one step from x,
    Goodfellow et al. 2015, section 6). settings: as for `fit`. Raises ValueError for another method.
    Source: lecture, slide "Adversarial Training: Algorithm".
    """
    attacks: dict[str, Attack] = {
        "pgd": partial(pgd, threat=threat, steps=steps, early_stop=False, generator=generator),
        "fgsm": partial(fgsm, threat=threat),
    }
    if method not in attacks:
        raise ValueError(f"method must be one of {', '.join(map(repr, attacks))}; got {method!r}")
    return fit(model, x, y, attack=attacks[method], generator=generator, **settings)


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


if __name__ == "__main__":
    main()
