"""What each method of adversarial training costs and brings: time per epoch, clean and robust accuracy.

python -m benchmarks.training [--quick] [--methods fast pgd ...] [--eps 0.2] [--epochs 30] [--write]

The cost is that of one epoch over the 4,000 training digits, in epochs of standard training beside it, both without
augmentation, which would cost all of them the same and so flatter the ratio. The accuracy is that of the mnist_cnn
after a short training with each method, otherwise with the settings of the shipped weights.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor, nn

from benchmarks.allocator import pin_allocator
from benchmarks.timing import machine, median, options, paired_ratios, publish, table
from coursekit import data, models
from coursekit.attacks import fgsm, pgd
from coursekit.evaluation import robust_accuracy
from coursekit.losses import cross_entropy, margin
from coursekit.perturbations import LpBall
from coursekit.training import METHODS, RECIPES, adversarial_fit, fit

STEPS = 7  # of pgd, trades and free, as in Madry et al. 2018 for CIFAR-10


def trainer(method: str, threat: LpBall) -> Callable[..., nn.Module]:
    """(model, x, y, **settings) -> the model, trained."""
    return fit if method == "standard" else partial(adversarial_fit, threat=threat, method=method, steps=STEPS)


def costs(methods: Sequence[str], threat: LpBall, x: Tensor, y: Tensor, repeats: int) -> dict[str, float]:
    """One epoch of each method, in epochs of standard training."""
    start = models.load("mnist_cnn").state_dict()

    def epoch(method: str) -> None:
        model = models.build("mnist_cnn")
        model.load_state_dict(start)
        trainer(method, threat)(model, x, y, epochs=1, generator=Generator().manual_seed(0), progress=False)

    ratios = paired_ratios({name: partial(epoch, name) for name in methods}, partial(epoch, "standard"), repeats)
    return {method: median(ratios[method]) for method in methods}


def trained(method: str, threat: LpBall, x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Module:
    """The mnist_cnn after so many epochs of the method, with the recipe's learning rate, augmentation, averaging."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = models.build("mnist_cnn")
    settings = RECIPES["mnist_cnn"]["adversarial"] | {"epochs": epochs, "progress": False}
    del settings["steps"]
    if method == "standard":
        del settings["eps_schedule"]
    return trainer(method, threat)(model, x, y, generator=Generator().manual_seed(seed), **settings)


def accuracies(model: nn.Module, threat: LpBall, x: Tensor, y: Tensor, quick: bool) -> tuple[float, float, float]:
    """Clean, under FGSM, and under PGD: an image counts if it survives both the cross-entropy and the margin."""
    steps, restarts = (3, 1) if quick else (100, 3)
    attacks = [partial(fgsm, threat=threat)]
    for loss in (cross_entropy, margin):
        generator = Generator().manual_seed(0)
        attacks.append(partial(pgd, threat=threat, loss=loss, steps=steps, restarts=restarts, generator=generator))
    by_fgsm, *by_pgd = (robust_accuracy(model, x, y, attack, batch_size=len(x)) for attack in attacks)
    survived = torch.stack([result.survived for result in by_pgd]).all(0)
    return by_fgsm.clean, by_fgsm.robust, survived.double().mean().item()


def main(argv: Sequence[str] | None = None) -> None:
    """Adversarial training: cost and accuracy of each method."""
    chosen = options(
        main.__doc__, argv,
        ("--methods", {"nargs": "+", "choices": METHODS, "default": METHODS}),
        ("--eps", {"type": float, "default": 0.2, "help": "L-inf radius"}),
        ("--epochs", {"type": int, "default": 30}),
        ("--repeats", {"type": int, "default": 7, "help": "timed epochs of each method"}),
        ("--seed", {"type": int, "default": 0}),
    )  # fmt: skip
    threat = LpBall(chosen.eps, math.inf)
    (x, y, _), (x_test, y_test, _) = data.load("mnist", "train"), data.load("mnist", "test")
    if chosen.quick:
        x, y, chosen.epochs, chosen.repeats = x[:20], y[:20], 1, 1
    x_test, y_test = x_test[: chosen.digits], y_test[: chosen.digits]
    cost = {"standard": 1.0, **costs(chosen.methods, threat, x, y, chosen.repeats)}
    rows = []
    for method, ratio in cost.items():
        # Free training updates the model STEPS times for every batch, and is meant to take as many fewer epochs.
        epochs = math.ceil(chosen.epochs / STEPS) if method == "free" else chosen.epochs
        model = trained(method, threat, x, y, epochs, chosen.seed)
        measured = accuracies(model, threat, x_test, y_test, chosen.quick)
        total = f"{ratio * epochs / chosen.epochs:.2f}"
        rows.append([method, f"{ratio:.2f}", str(epochs), total, *(f"{share:.1%}" for share in measured)])
        print("  ".join(rows[-1]), flush=True)  # the next may take minutes
    columns = ["trained with", "an epoch, x standard", "epochs", "all, x standard", "clean", "FGSM", "PGD-100"]
    title = f"**Adversarial training of the mnist_cnn, L-inf, eps {chosen.eps:g}**"
    conditions = f"Trained on {len(x)} digits, tested on {len(x_test)}, {machine()}"
    publish("training", f"{title}\n\n{table(columns, rows)}\n\n{conditions}", chosen.write)


if __name__ == "__main__":
    pin_allocator()
    main()
