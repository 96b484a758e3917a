"""What an attack costs: passes through the model, the currency in which attacks are compared fairly."""

from torch import Tensor, nn

from coursekit.models.state import Classifier


class Counted(nn.Module):
    """A classifier that counts what passes through it, and is otherwise the one it wraps.

    forward_passes: images classified so far, gradients: images whose gradient was taken; a batch counts as many as it
    holds. Divided by the number of images attacked, they say what an attack spent on each.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Counts from zero again."""
        self.forward_passes, self.gradients = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the wrapped model."""
        self.forward_passes += len(x)
        logits = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self._passed_back)
        return logits

    def _passed_back(self, gradient: Tensor) -> None:
        self.gradients += len(gradient)


def counting(model: Classifier) -> Counted:
    """The model with counters, to be attacked in its place: `model = counting(model)`, then `model.gradients`.

    model: any callable, x -> logits. Its state, mode and parameters are those of the original.
    """
    return Counted(model)
