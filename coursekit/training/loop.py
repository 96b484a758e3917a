"""The training loop: sample a batch, attack it, update the parameters."""

import math
import time
from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from coursekit.losses import check_labels, cross_entropy
from coursekit.training.processes import ALONE, Processes
from coursekit.training.progress import Attack, Average, Epoch, Progress, fingerprint, one_source_of_randomness
from coursekit.training.schedules import Schedule, falling

Augment = Callable[[Tensor, Generator | None], Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]  # (model, x_adv, x, y) -> one value per image
Step = Callable[[nn.Module, Optimizer, Tensor, Tensor, float], Tensor]  # (model, optimizer, x, y, t) -> mean loss


def fit(
    model: nn.Module, x: Tensor, y: Tensor, *, epochs: int = 10, batch_size: int = 100, lr: float = 2e-3,
    attack: Attack | None = None, augment: Augment | None = None, generator: Generator | None = None,
    progress: bool = True, lr_schedule: Schedule = falling, weight_decay: float = 0.0, average: float = 0.0,
    validation: tuple[Tensor, Tensor] | None = None, validation_attack: Attack | None = None,
    patience: int | None = None, history: list[Epoch] | None = None, checkpoint: str | PathLike | None = None,
    processes: Processes = ALONE, step: Step | None = None, eps: Schedule | None = None,
    identity: dict[str, Any] | None = None,
) -> nn.Module:  # fmt: skip
    """Trains the model in place on x (N, ...), y int64 (N,) with Adam and returns it in eval mode.

    Minimises the mean cross-entropy. attack: (model, x, y) -> x_adv, applied to every batch before its step; None
    trains on x itself. augment: (x, generator) -> x, before the attack. generator: on the CPU, the source of all
    random numbers (order, augment, dropout); the global random state is then left alone. lr_schedule: t -> factor
    of lr, as t goes from 0 to 1 (`schedules`). weight_decay: as in AdamW. average: if above 0, the weights that count
    are not the last ones but a running mean, in which older ones fade by this factor every step (0.998, say).

    validation: images and labels, not trained on, which decide the epoch whose weights are returned: the one most
    accurate under validation_attack, or on the images themselves if there is none. So catastrophic overfitting shows
    in the history, and is survived. patience: end after so many epochs without a better accuracy. history: a list
    that gets an `Epoch` for each. checkpoint: a file, written after every epoch; if it is there, training goes on
    from it, to the same weights, bit for bit, as without the interruption. It knows its training by the data, the
    seed of the generator, all numbers and schedules; attack, augment and validation are for the caller to keep.

    processes: `processes.accelerated()` splits every batch over the processes of Hugging Face accelerate. step, eps:
    for methods that are more than an attack (see `adversarial_fit`): what to do with a batch, and t -> its radius;
    identity: what the checkpoint shall know about them, in words and numbers.
    Raises ValueError or TypeError for what it cannot take, and for a checkpoint of another training;
    FloatingPointError at the end of an epoch whose loss is not finite, with history and checkpoint as before it.
    Source: lecture, slide "Adversarial Training: Algorithm".
    """
    check_data("x", "y", x, y)
    _check_settings(epochs, batch_size, lr, average, generator, processes)
    _check_validation(validation, validation_attack, patience)
    step = step or partial(_attacked, attack=attack, processes=processes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    settings: dict[str, Any] = {}
    if checkpoint is not None:
        settings = {
            "epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay, "average": average,
            "lr_schedule": _values(lr_schedule), "eps": None if eps is None else _values(eps),
            "x": fingerprint(x), "y": fingerprint(y), "seed": None if generator is None else generator.initial_seed(),
            **(identity or {}),
        }  # fmt: skip
    batches = -(-len(x) // batch_size)
    quiet = not (progress and processes.first)

    with one_source_of_randomness(generator, x.device):
        processes.agree(model)
        averaged = Average(model, average)  # of weights that are those of all
        state = Progress(
            model, optimizer, averaged, generator, validation, validation_attack, history, checkpoint, settings,
            processes,
        )  # fmt: skip
        state.resume()
        bar = tqdm(total=epochs, initial=state.epoch, desc="training", unit="epoch", disable=quiet, leave=False)
        while state.epoch < epochs and not state.waited(patience):
            started, loss = time.perf_counter(), x.new_zeros(())
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for i, batch in enumerate(order.split(batch_size)):
                t = (state.epoch + i / batches) / epochs
                for group in optimizer.param_groups:
                    group["lr"] = lr * lr_schedule(t)
                x_b, y_b = x[batch], y[batch]
                if augment is not None:
                    x_b = augment(x_b, generator)
                loss += step(model, optimizer, x_b, y_b, t) * len(batch) / len(x)
                averaged.update()
            clean, robust = state.accuracy()
            radius = None if eps is None else eps(t)
            seconds = time.perf_counter() - started
            row = Epoch(state.epoch + 1, loss.item(), clean, robust, lr * lr_schedule(t), radius, seconds)
            # Processes that measure differently, with BatchNorm say, would not end at the same epoch.
            row = processes.from_first(row)
            if not math.isfinite(row.loss):
                raise FloatingPointError(f"lr must be smaller, or the model another: {lr!r} made the loss {row.loss}")
            state.add(row)
            state.save()
            bar.set_postfix(state.numbers(), refresh=False)
            bar.update()
        bar.close()
    state.finish()
    return model.eval()


def training_step(
    model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, attack: Attack | None = None,
    *, loss: Loss | None = None, processes: Processes = ALONE,
) -> Tensor:  # fmt: skip
    """One step of SGD on the loss at x, or at the attacked x: Danskin's theorem lets x~ count as fixed.

    The attacks of this package run in eval mode, whatever mode the model is in, so that they meet the classifier that
    will be tested; the update runs in train mode. loss: (model, x_adv, x, y) -> (B,); None is the cross-entropy at
    x_adv. Of several processes each attacks its part of the batch, and the gradients are added up.
    Returns the mean loss before the step, a detached scalar on the device of x.
    """
    images = len(x)
    x, y = processes.share(x), processes.share(y)
    x_adv = x if attack is None else attack(model, x, y)
    model.train()
    optimizer.zero_grad()
    each = cross_entropy(model(x_adv), y) if loss is None else loss(model, x_adv, x, y)
    mean = each.sum() / images
    mean.backward()
    processes.add_gradients(model)
    optimizer.step()
    return processes.sum(mean.detach())


def _attacked(
    model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, t: float, *, attack: Attack | None,
    processes: Processes,
) -> Tensor:  # fmt: skip
    """The step that stays the same all the time."""
    return training_step(model, optimizer, x, y, attack, processes=processes)


def _values(schedule: Schedule) -> list[float]:
    """A schedule as numbers, which can be written and compared."""
    return [schedule(i / 8) for i in range(9)]


def check_data(x_name: str, y_name: str, x: Tensor, y: Tensor) -> None:
    """Raises unless x holds images (N, ...), at least one, and y their labels."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2:
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{x_name} must be a floating tensor (N, ...); got {got}")
    if not len(x):
        raise ValueError(f"{x_name} must hold at least one image; got none")
    check_labels(y_name, y, batch=len(x))


def _check_settings(
    epochs: int, batch_size: int, lr: float, average: float, generator: Generator | None, processes: Processes
) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int; got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    if not lr > 0:
        raise ValueError(f"lr must be above 0; got {lr!r}")
    if not 0 <= average < 1:
        raise ValueError(f"average must be at least 0 and below 1; got {average!r}")
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"generator must be a torch.Generator or None; got {type(generator).__name__}")
    if generator is None and processes.count > 1:
        raise ValueError("generator must be given, seeded alike in every process; got None")


def _check_validation(validation: tuple[Tensor, Tensor] | None, attack: Attack | None, patience: int | None) -> None:
    if validation is not None:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError(f"validation must be a pair (x, y); got {type(validation).__name__}")
        check_data("validation[0]", "validation[1]", *validation)
    elif attack is not None or patience is not None:
        name = "validation_attack" if attack is not None else "patience"
        raise ValueError(f"{name} needs validation=(x, y), images that are not trained on; got None")
    if patience is not None and (not isinstance(patience, int) or patience < 1):
        raise ValueError(f"patience must be an int of at least 1, or None; got {patience!r}")
