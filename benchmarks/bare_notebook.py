"""A notebook's own computation: its cells in a warm process, and nothing around them.

python -m benchmarks.bare_notebook NOTEBOOK

Runs the notebook for every line on stdin, each time in an empty namespace, and answers with a line: how many seconds
its cells took. Left out, as in grading, are the cells tagged `demo`. On one thread, as in grading.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


def sources(path: Path) -> list[str]:
    """The code that grading runs."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code" and "demo" not in cell.metadata.get("tags", [])]


def seconds(shell: InteractiveShell, code: list[str]) -> float:
    """How long the cells take, by the clock. Raises what one of them raises: then there is nothing to compare with."""
    shell.reset()
    torch.manual_seed(0)
    start = time.perf_counter()
    for source in code:
        shell.run_cell(source).raise_error()
    return time.perf_counter() - start


def main(path: Path) -> None:
    """Time the notebook as often as it is asked for."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what cells print, for as long as the process lives
    torch.set_num_threads(1)
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    code = sources(path)
    for _ in sys.stdin:
        print(seconds(shell, code), file=answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
