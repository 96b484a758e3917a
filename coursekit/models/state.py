"""Handing a model over without changing it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Classifier = Callable[[Tensor], Tensor]


@contextmanager
def evaluating(model: Classifier) -> Iterator[None]:
    """The model in eval mode inside the block (no dropout, no BatchNorm update), each module as it was after it.

    Also after an exception, and for modules whose modes differ. A classifier that is no nn.Module is left alone.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        if isinstance(model, nn.Module) and any(modes):
            model.eval()
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode  # train() would set the children too


@contextmanager
def differentiating() -> Iterator[None]:
    """Gradients inside the block, also where the caller has switched them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
