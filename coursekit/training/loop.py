"""The training loop: sample a batch, attack it, update the parameters."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from coursekit.losses import cross_entropy

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
