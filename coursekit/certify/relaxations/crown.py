"""CROWN: a linear function below each output and one above it, pulled back through the network layer by layer.

Interval bounds forget how the neurons hang together: each is at its worst for itself. CROWN keeps, for what is asked,
one linear function of the neurons, and carries it backwards. A linear layer takes it as it is. A ReLU that may be on
or off, l < 0 < u, is replaced by a line: from above by the chord u (z - l) / (u - l), from below by z or by 0,
whichever leaves the smaller triangle. What arrives at the image is a linear function of x~, whose worst point in P(x)
is known.
Source: Zhang et al. 2018, "Efficient neural network robustness certification with general activation functions",
theorem 3.2 and corollary 3.3; the choice of the lower line: section 3.3.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.certify.layers import offset, pull_back
from coursekit.certify.relaxations import interval
from coursekit.certify.relaxations.region import Interval, Region

LARGEST = 2**24  # numbers of linear functions that are held at a time


class Walk:
    """A network over P(x), with the bounds of its neurons, front to back: what is asked is carried back to x~."""

    def __init__(self, layers: Sequence[nn.Module], region: Region) -> None:
        self.layers, self.region = layers, region
        self.before: list[Interval] = []  # the box in front of each layer
        box = region.box
        boxes = interval.boxes(layers, region)
        linear = True  # so far: then the intervals are exact, or as good as it gets
        for i, layer in enumerate(layers):
            if isinstance(layer, nn.ReLU):
                if not linear:
                    box = self._tightened(i, box)
                linear = False
            self.before.append(box)
            box = interval.through(layer, box)
            if linear:
                box = boxes[i]
        self.after = box

    def differences(self, y: Tensor) -> Tensor:
        """Upper bounds of z_i - z_y over P(x), (B, K), of a network that ends with a Linear layer."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        eye = torch.eye(last.out_features, dtype=self.after.lower.dtype, device=self.after.lower.device)
        worst = -self.least(eye[y][:, None] - eye, len(self.layers))
        return torch.minimum(worst, interval.differences(last, self.before[-1], y))

    def outputs(self, depth: int, like: Interval) -> Interval:
        """The box of everything behind the first `depth` layers; like: intervals of it."""
        size = like.lower.shape[1:].numel()
        eye = torch.eye(size, dtype=like.lower.dtype, device=like.lower.device).view(1, size, *like.lower.shape[1:])
        lower, upper = self.least(eye, depth), -self.least(-eye, depth)
        return Interval(lower.view_as(like.lower), upper.view_as(like.upper))

    def least(self, rows: Tensor, depth: int) -> Tensor:
        """Lower bounds (B, m) over P(x) of rows h, where h is behind the first `depth` layers.

        rows: (B or 1, m, *shape of h). In pieces, so that what is held at a time is bounded.
        """
        batch = len(self.region.x)
        pieces = rows.split(max(1, self._room(depth) // max(1, batch)), dim=1)
        return torch.cat([self._least(piece.expand(batch, *piece.shape[1:]), depth) for piece in pieces], dim=1)

    def _tightened(self, depth: int, box: Interval) -> Interval:
        """The box of everything behind the first `depth` layers: for a ReLU, to which only those neurons matter that
        can be on and off, so that only these are asked for, each in those images where it can."""
        undecided = ((box.lower < 0) & (box.upper > 0)).flatten(1)
        if undecided.is_meta:  # where nothing can be looked at: all of them
            undecided = torch.ones(undecided.shape, dtype=torch.bool)
        image, neuron = (index.to(box.lower.device) for index in undecided.nonzero(as_tuple=True))
        lower, upper = (end.flatten(1) for end in box)
        found = [(lower[image, neuron][:0], upper[image, neuron][:0])]
        for some, which in zip(image.split(self._room(depth)), neuron.split(self._room(depth)), strict=True):
            rows = F.one_hot(which, lower.shape[1]).to(lower.dtype).view(len(which), 1, *box.lower.shape[1:])
            found.append((self._least(rows, depth, some)[:, 0], -self._least(-rows, depth, some)[:, 0]))
        lows, highs = (torch.cat(ends) for ends in zip(*found, strict=True))
        tighter = Interval(lower.index_put((image, neuron), lows), upper.index_put((image, neuron), highs))
        return box.intersect(Interval(*(end.view_as(box.lower) for end in tighter)))

    def _room(self, depth: int) -> int:
        """How many linear functions behind the first `depth` layers fit into memory, somewhere on their way back."""
        widest = max(h.shape[1:].numel() for h in (self.region.x, *(box.lower for box in self.before[:depth])))
        return max(1, LARGEST // widest)

    def _least(self, rows: Tensor, depth: int, images: Tensor | None = None) -> Tensor:
        """(N, m) for rows (N, m, *shape of h) of the images with these indices (N,), by default of all in order."""
        region = self.region if images is None else self.region.select(images)
        constant = rows.new_zeros(rows.shape[:2])
        for layer, box in reversed(list(zip(self.layers[:depth], self.before[:depth], strict=True))):
            if isinstance(layer, nn.ReLU):
                rows, extra = _through_relu(rows, box if images is None else box.select(images))
            else:
                extra = (rows * offset(layer, box.lower)[:, None]).flatten(2).sum(2)
                shape = box.lower.shape[1:]
                rows = pull_back(layer, rows.flatten(0, 1), shape).view(*rows.shape[:2], *shape)
            constant = constant + extra
        return constant + region.least(rows)


def _through_relu(rows: Tensor, box: Interval) -> tuple[Tensor, Tensor]:
    """a relu(z) >= a' z + constant for every z in the box: where a > 0 by the line below, where a < 0 by the chord."""
    lower, upper = box.lower[:, None], box.upper[:, None]
    on, off = lower >= 0, upper <= 0
    open_ = ~on & ~off
    chord = torch.where(open_, upper / torch.where(open_, upper - lower, 1), on.to(rows.dtype))
    below = torch.where(open_, upper > -lower, on).to(rows.dtype)
    up, down = rows.clamp(max=0), rows.clamp(min=0)
    constant = (up * torch.where(open_, -chord * lower, 0)).flatten(2).sum(2)
    return down * below + up * chord, constant
