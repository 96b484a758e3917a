"""What certificates prove of the shipped networks, and what exact verification of the small ones costs.

python -m benchmarks.certified [--quick] [--tasks exact bounds euclidean] [--images 100] [--votes 10000] [--write]

In exact verification each image is verified alone, on one thread. Its cost is the time that the processor spent on it,
so that other programs on the machine do not count; the limit itself goes by the clock.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.allocator import pin_allocator
from benchmarks.timing import hardware, in_batches, median, options, publish, table
from coursekit import data, models
from coursekit.attacks import pgd
from coursekit.certify import exact, lipschitz, relaxations, smoothing
from coursekit.losses import margin
from coursekit.perturbations import LpBall

QUESTIONS = (("standard", None, 0.02), ("standard", None, 0.05), ("pgd", 0.1, 0.05), ("pgd", 0.1, 0.1))
TASKS = ("bounds", "euclidean", "exact")
COLUMNS = (
    "mnist_mlp, L-inf",
    "robust",
    "counterexample",
    "undecided",
    "decided",
    "median s",
    "95 % within s",
    "longest s",
)


class Answers(NamedTuple):
    """What was said of each image, and the processor's seconds for it."""

    statuses: list[str]
    seconds: list[float]

    def row(self, title: str) -> list[str]:
        """A line of the table."""
        count, order = len(self.statuses), sorted(self.seconds)
        shares = [self.statuses.count(status) / count for status in ("robust", "counterexample", "undecided")]
        late = order[math.ceil(0.95 * count) - 1]
        times = [median(order), late, order[-1]]
        return [title, *(f"{share:.1%}" for share in (*shares, 1 - shares[2])), *(f"{value:.2f}" for value in times)]


def answers(model: nn.Module, x: Tensor, y: Tensor, eps: float, limit: float) -> Answers:
    """Exact verification of each image, attack included."""
    statuses, seconds = [], []
    for i in range(len(x)):
        start = time.process_time()
        verdict = exact.verify(model, x[i : i + 1], y[i : i + 1], LpBall(eps, math.inf), time_limit=limit)
        seconds.append(time.process_time() - start)
        statuses += verdict.status
    return Answers(statuses, seconds)


def verified(x: Tensor, y: Tensor, count: int, limit: float, questions: Sequence[tuple]) -> str:
    """Exact verification of the shipped mnist_mlp, image by image."""
    rows = []
    for training, trained, eps in questions:
        model = models.load("mnist_mlp", training, trained)
        answers(model, x[:1], y[:1], eps, limit)  # warms up
        name = training if trained is None else f"{training} {trained:g}"
        rows.append(answers(model, x[:count], y[:count], eps, limit).row(f"{name}, eps {eps:g}"))
        print("  ".join(rows[-1]), flush=True)
    return f"{table(COLUMNS, rows)}\n\n{count} digits, at most {limit:g} s each, one thread, {hardware()}"


def bounded(x: Tensor, y: Tensor) -> str:
    """What intervals and CROWN prove of the networks trained on interval bounds, and what an attack leaves of them."""
    rows = []
    for eps in (0.1, 0.3):
        model, threat = models.load("mnist_cnn", "ibp", eps), LpBall(eps, math.inf)
        x_adv = pgd(model, x, y, threat, steps=40, loss=margin, generator=torch.Generator().manual_seed(0))
        proven = [in_batches(partial(certified, model, threat, method), x, y, 20) for method in ("interval", "crown")]
        with torch.no_grad():
            shares = [model(x).argmax(1) == y, model(x_adv).argmax(1) == y, *proven]
        rows.append([f"ibp {eps:g}, eps {eps:g}", *(f"{share.double().mean():.1%}" for share in shares)])
    columns = ("mnist_cnn, L-inf", "clean", "PGD-40, margin", "intervals", "CROWN")
    return f"{table(columns, rows)}\n\n{len(x)} digits"


def certified(model: nn.Module, threat: LpBall, method: str, x: Tensor, y: Tensor) -> Tensor:
    """Which images the method proves robust, bool (B,)."""
    return relaxations.certified(model, x, y, threat, method)


def euclidean(x: Tensor, y: Tensor, votes: int) -> str:
    """What is certified in L2: by a network that stretches nothing, and by one that is asked about noise."""
    radii = (0.25, 0.5, 0.75, 1.0)
    reach = lipschitz.radius(models.load("mnist_lipschitz"), x, y)
    smoothed = smoothing.SmoothedClassifier(models.load("mnist_cnn", "noise", 0.25), 0.25)
    voted = smoothed.certify(x, n=votes, generator=torch.Generator().manual_seed(0))
    found = {
        "mnist_lipschitz": [(reach > radius).double().mean() for radius in radii],
        "mnist_cnn, smoothed, sigma 0.25": smoothing.certified_accuracy(voted, y, radii),
    }
    rows = [[name, *(f"{share:.1%}" for share in shares)] for name, shares in found.items()]
    columns = ("certified in L2, radius", *(f"{radius:g}" for radius in radii))
    return f"{table(columns, rows)}\n\n{len(x)} digits, {votes:,} votes each, alpha 0.001"


def main(argv: Sequence[str] | None = None) -> None:
    """What certificates prove of the shipped networks."""
    chosen = options(
        main.__doc__, argv,
        ("--tasks", {"nargs": "+", "choices": TASKS, "default": TASKS}),
        ("--images", {"type": int, "default": 100, "help": "how many of the digits are verified exactly"}),
        ("--limit", {"type": float, "default": 10.0, "help": "seconds for an image"}),
        ("--votes", {"type": int, "default": 10_000, "help": "noisy copies of a digit"}),
    )  # fmt: skip
    x, y, _ = data.load("mnist", "test")
    x, y = x[: chosen.digits], y[: chosen.digits]
    votes, questions = (100, QUESTIONS[:2]) if chosen.quick else (chosen.votes, QUESTIONS)
    count = min(chosen.images, chosen.digits, 3 if chosen.quick else chosen.images)
    tasks: dict[str, Callable[[], str]] = {
        "bounds": lambda: bounded(x, y),
        "euclidean": lambda: euclidean(x, y, votes),
        "exact": lambda: verified(x, y, count, chosen.limit, questions),
    }
    for name in chosen.tasks:
        if name == "exact":
            torch.set_num_threads(1)
        publish(f"certified: {name}", tasks[name](), chosen.write)


if __name__ == "__main__":
    pin_allocator()
    main()
