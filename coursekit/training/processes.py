"""Training in several processes, on one GPU each or on CPUs: every batch is split, the gradients are added up."""

from typing import Any

import torch
from torch import Tensor, nn


class Processes:
    """One process by itself, which has nothing to share; `accelerated` returns one of several."""

    count, index = 1, 0

    @property
    def first(self) -> bool:
        """Whether this is the process that shows progress and writes files."""
        return self.index == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch (B, ...); the parts of all processes make up the batch."""
        return batch if self.count == 1 else batch[self.index :: self.count]

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        return value

    def from_first(self, value: Any) -> Any:
        """What the first process has, in all of them; anything that can be pickled, with tensors on the CPU."""
        return value

    def add_gradients(self, model: nn.Module) -> None:
        """Gives every parameter the sum of its gradients in all processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        total = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def agree(self, model: nn.Module) -> None:
        """Starts every process from the weights of the first."""
        if self.count == 1:
            return
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(self.sum(value if self.first else torch.zeros_like(value)))


class _Accelerated(Processes):
    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self.count, self.index = accelerator.num_processes, accelerator.process_index

    def sum(self, value: Tensor) -> Tensor:
        return self._accelerator.reduce(value.detach().clone(), reduction="sum")

    def from_first(self, value: Any) -> Any:
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]


ALONE = Processes()


def accelerated(accelerator: Any = None) -> Processes:
    """The processes that `accelerate launch` (or torchrun) started, for the argument `processes` of `fit`.

    accelerator: an `accelerate.Accelerator` to use; None makes one. Model and data must be on its device, and the
    generator of every process seeded alike: each draws the random numbers of the whole batch and takes its part, so
    the result is that of one process, up to the order in which gradients are added. BatchNorm sees only the part.
    The first process measures for all (accuracy, when to end), and alone reads and writes the checkpoint.
    Raises ImportError where Hugging Face accelerate is not installed.
    """
    if accelerator is None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise ImportError(
                "training in several processes needs Hugging Face accelerate: pip install 'coursekit[accelerate]'"
            ) from error
        accelerator = Accelerator()
    return _Accelerated(accelerator)
