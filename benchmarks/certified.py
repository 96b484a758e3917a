"""What a certificate knows, and what it costs: exact verification of the shipped networks that are small enough for it.

python -m benchmarks.certified [--quick] [--images 100] [--limit 10] [--write]

Each image is verified alone, on one thread. Its cost is the time that the processor spent on it, so that other programs
on the machine do not count; the limit itself goes by the clock.
"""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.allocator import pin_allocator
from benchmarks.timing import hardware, median, options, publish, table
from coursekit import data, models
from coursekit.certify import exact
from coursekit.perturbations import LpBall

QUESTIONS = (("standard", None, 0.02), ("standard", None, 0.05), ("pgd", 0.1, 0.05), ("pgd", 0.1, 0.1))
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


def main(argv: Sequence[str] | None = None) -> None:
    """Exact verification of the shipped mnist_mlp, image by image."""
    chosen = options(
        main.__doc__, argv,
        ("--images", {"type": int, "default": 100, "help": "how many of the test digits"}),
        ("--limit", {"type": float, "default": 10.0, "help": "seconds for an image"}),
    )  # fmt: skip
    torch.set_num_threads(1)
    count = min(chosen.images, chosen.digits, 3 if chosen.quick else chosen.images)
    x, y, _ = data.load("mnist", "test")
    rows = []
    for training, trained, eps in QUESTIONS[: 2 if chosen.quick else None]:
        model = models.load("mnist_mlp", training, trained)
        answers(model, x[:1], y[:1], eps, chosen.limit)  # warms up
        name = training if trained is None else f"{training} {trained:g}"
        rows.append(answers(model, x[:count], y[:count], eps, chosen.limit).row(f"{name}, eps {eps:g}"))
        print("  ".join(rows[-1]), flush=True)
    text = f"{table(COLUMNS, rows)}\n\n{count} digits, at most {chosen.limit:g} s each, one thread, {hardware()}"
    publish("certified: exact", text, chosen.write)


if __name__ == "__main__":
    pin_allocator()
    main()
