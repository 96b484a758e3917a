"""What surrounds the training loop: averaged weights, the best epoch, the checkpoint."""

import copy
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from coursekit.evaluation import robust_accuracy
from coursekit.training.processes import ALONE, Processes

Attack = Callable[..., Tensor]  # (model, x, y) -> x_adv like x


class Epoch(NamedTuple):
    """One epoch in the history: numbers, not tensors.

    loss: mean over the epoch's batches of what was minimised. clean, robust: accuracy on the validation images as
    they are and under the validation attack; None without. lr, eps: at the epoch's end; eps is None without a set.
    """

    epoch: int
    loss: float
    clean: float | None
    robust: float | None
    lr: float
    eps: float | None
    seconds: float


class Average:
    """The weights that count: those of the model, or, with decay > 0, a running mean in which older ones fade."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.source, self.decay, self.steps = model, decay, 0
        self.model = copy.deepcopy(model) if decay else model

    def update(self) -> None:
        """After every step: w <- d w + (1 - d) w_new. At first d is smaller, so that the random weights are gone."""
        if not self.decay:
            return
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        with torch.no_grad():
            new = self.source.state_dict()
            for name, mean in self.model.state_dict().items():
                if mean.is_floating_point():
                    mean.lerp_(new[name], 1 - decay)
                else:
                    mean.copy_(new[name])


class Progress:
    """How far training has come, and the weights to return: the best so far where there is validation."""

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, average: Average, generator: Generator | None,
        validation: tuple[Tensor, Tensor] | None, attack: Attack | None, history: list[Epoch] | None,
        path: str | os.PathLike | None, settings: dict[str, Any], processes: Processes = ALONE,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.average, self.generator = model, optimizer, average, generator
        self.validation, self.attack, self.settings = validation, attack, settings
        self.path = None if path is None else Path(path)
        self.processes = processes
        self.history = [] if history is None else history
        self.epoch = self.best_epoch = 0
        self.best_score = -1.0
        self.best: dict[str, Tensor] | None = None

    def accuracy(self) -> tuple[float | None, float | None]:
        """Of the weights that count, on the validation images: clean, and robust if there is an attack."""
        if self.validation is None:
            return None, None
        found = robust_accuracy(self.average.model, *self.validation, self.attack or (lambda model, x, y: x))
        return found.clean, None if self.attack is None else found.robust

    def add(self, row: Epoch) -> None:
        """Notes an epoch. As good as the best so far, its weights are taken; only a better one is waited for anew."""
        self.epoch = row.epoch
        self.history.append(row)
        score = row.clean if row.robust is None else row.robust
        if score is None or score < self.best_score:
            return
        if score > self.best_score:
            self.best_score, self.best_epoch = score, row.epoch
        self.best = {name: value.clone() for name, value in self.average.model.state_dict().items()}

    def waited(self, patience: int | None) -> bool:
        """Whether the best score was first reached `patience` epochs ago."""
        return patience is not None and self.epoch - self.best_epoch >= patience

    def finish(self) -> None:
        """Gives the model the weights to return."""
        if self.best is not None or self.average.model is not self.model:
            self.model.load_state_dict(self.best or self.average.model.state_dict())

    def save(self) -> None:
        """The first process writes the checkpoint, under another name first: interrupted, the old one stays whole."""
        if self.path is None or not self.processes.first:
            return
        state = {
            "settings": self.settings, "epoch": self.epoch, "history": [tuple(row) for row in self.history],
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "average": self.average.model.state_dict(), "average_steps": self.average.steps,
            "best": self.best, "best_epoch": self.best_epoch, "best_score": self.best_score,
            "generator": None if self.generator is None else self.generator.get_state(),
            "random": random_state(self._device()),
        }  # fmt: skip
        partly = self.path.with_name(self.path.name + ".part")
        torch.save(state, partly)
        os.replace(partly, self.path)

    def resume(self) -> None:
        """Takes up the checkpoint, if there is one. Raises ValueError if it is of a training with other settings."""
        if self.path is None:
            return
        # The others may have no such file. All compare the settings, so that all of them end, or none.
        state = self.processes.from_first(self._read() if self.processes.first else None)
        if state is None:
            return
        theirs, ours = state["settings"], self.settings
        if other := [name for name in theirs | ours if theirs.get(name) != ours.get(name)]:
            was, got = ({name: settings.get(name) for name in other} for settings in (theirs, ours))
            raise ValueError(
                f"checkpoint {self.path} is of a training with {was}; got {got}: delete it, or name another file"
            )
        self.epoch, self.best_epoch, self.best_score = state["epoch"], state["best_epoch"], state["best_score"]
        self.best = state["best"]
        self.history[:] = [Epoch(*row) for row in state["history"]]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.model.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        if self.generator is not None:
            self.generator.set_state(state["generator"])
        set_random_state(state["random"], self._device())

    def numbers(self) -> dict[str, str]:
        """The latest epoch, for the progress bar."""
        row = self.history[-1]._asdict()
        return {name: f"{row[name]:.3g}" for name in ("loss", "clean", "robust", "eps") if row[name] is not None}

    def _read(self) -> dict[str, Any] | None:
        """The checkpoint, on the CPU, where it can be sent from; None if there is none."""
        if self.path is None or not self.path.exists():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def fingerprint(tensor: Tensor) -> str:
    """Shape, dtype and a hash of the values: tells data apart without keeping them."""
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return f"{tuple(tensor.shape)} {tensor.dtype} {hashlib.sha256(values).hexdigest()[:16]}"


@contextmanager
def one_source_of_randomness(generator: Generator | None, device: torch.device) -> Iterator[None]:
    """With a generator, dropout and the like follow its seed, and the global random state is as before afterwards."""
    if generator is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(generator.initial_seed())
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(generator.initial_seed())
        yield


def random_state(device: torch.device) -> list[Tensor]:
    """The state of the global random numbers: the CPU's, and the device's if it has its own."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """The opposite of `random_state`."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
