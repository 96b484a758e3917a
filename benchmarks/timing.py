"""What every benchmark needs: paired and interleaved runs, the yardstick, the command line, a table."""

import argparse
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.models.state import Classifier

README = Path(__file__).parent / "README.md"
SLOW = 10  # who takes more than so many times the yardstick is timed once


def bare_gradients(model: Classifier, x: Tensor, y: Tensor, count: int) -> None:
    """The yardstick: `count` times forward and back to the input, which no attack with as many gradients can beat."""
    for _ in range(count):
        point = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)


def in_batches(run: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, size: int) -> Tensor:
    """run(x, y), on at most `size` images at a time."""
    return torch.cat([run(x_b, y_b) for x_b, y_b in zip(x.split(size), y.split(size), strict=True)])


def paired_ratios(
    runs: dict[str, Callable[[], object]], yardstick: Callable[[], object], repeats: int
) -> dict[str, list[float]]:
    """How many times as long as the yardstick each run took: {name: one ratio per repeat}.

    Before and after every run stands a run of the yardstick, and the ratio is to their mean: what the machine does
    meanwhile, and how warm it is, meets both. Each repeat goes through all, starting with another one.
    """
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    yardstick()  # warms up
    before = seconds(yardstick)
    for repeat in range(repeats):
        names = list(runs)
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            if ratios[name] and ratios[name][0] > SLOW:
                continue
            taken = seconds(runs[name])
            after = seconds(yardstick)
            ratios[name].append(2 * taken / (before + after))
            before = after
    return ratios


def seconds(run: Callable[[], object]) -> float:
    """How long it takes, by the clock."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median(values: Iterable[float]) -> float:
    """The median, as a float."""
    return float(statistics.median(values))


def options(description: str | None, argv: Sequence[str] | None, *more: tuple[str, dict]) -> argparse.Namespace:
    """The command line that the benchmarks share, and `more` options of one of them; sets the number of threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--digits", type=int, default=1000, help="how many of the 1,000 test digits")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few digits and steps, to see that it runs")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md, too")
    for name, settings in more:
        parser.add_argument(name, **settings)
    chosen = parser.parse_args(argv)
    if chosen.quick:
        chosen.digits = min(chosen.digits, 20)
    torch.set_num_threads(chosen.threads)
    return chosen


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's markdown, its first column to the left, the others to the right, padded to be read as is."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    line = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = [[row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
             for row in cells]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in (lines[0], line, *lines[1:]))


def machine() -> str:
    """One line on what the figures were measured with."""
    return f"{torch.get_num_threads()} threads, {hardware()}"


def hardware() -> str:
    """The processor, and PyTorch's version."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    processor = found[1].strip() if found else platform.machine()
    return f"{processor}, PyTorch {torch.__version__.split('+')[0]}"


def publish(name: str, text: str, write: bool) -> None:
    """Prints the text; with `write` also puts it into the README, between the comments with this name."""
    print(f"{text}\n", flush=True)
    if write:
        README.write_text(between(README.read_text(), name, text))


def between(page: str, name: str, text: str) -> str:
    """The page with the text between its comments `<!-- name -->` and `<!-- end of name -->`."""
    start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if start not in page or end not in page:
        raise ValueError(f"no place called {name!r} in the page: it needs the lines {start.strip()} and {end.strip()}")
    return page[: page.index(start) + len(start)] + text + page[page.index(end) :]
