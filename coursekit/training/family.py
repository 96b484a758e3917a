"""One network, trained for several radii at once: what adversarial training does, as a function of eps."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from tqdm.auto import tqdm

from coursekit.training.loop import check_data


def family_fit(
    build: Callable[[], nn.Module], x: Tensor, y: Tensor, radii: Sequence[float], *, updates: int = 250,
    batch_size: int = 200, lr: float = 2e-2, steps: int = 4, generator: Generator | None = None, progress: bool = True,
) -> list[nn.Module]:  # fmt: skip
    """Adversarial training of the same network for each L-inf radius, in eval mode when returned, in order of `radii`.

    All start from the weights of one build(), see the same batches and the same random starts, and take `updates` steps
    of Adam on the points that PGD with `steps` steps finds within [0, 1]; the radius grows to its full size during the
    first third. A radius of 0 is standard training. Stacked into one, small networks take hardly longer than a single
    one. x: (N, ...) in [0, 1], y: int64 (N,). build: makes a network without dropout and BatchNorm statistics.
    Source: Madry et al. 2018, section 4; torch's tutorial on model ensembling.
    """
    check_data("x", "y", x, y)
    if not len(radii) or min(radii) < 0:
        raise ValueError(f"radii must hold at least one number, each at least 0; got {list(radii)}")
    template = build()
    params, buffers = stack_module_state([template] * len(radii))
    weights = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
    logits = vmap(lambda w, fixed, batch: functional_call(template, (w, fixed), (batch,)))
    full = torch.tensor(radii, dtype=x.dtype, device=x.device).view(-1, *[1] * x.ndim)
    optimizer = torch.optim.Adam(weights.values(), lr=lr)

    for i in tqdm(range(updates), desc=f"training {len(radii)} networks", disable=not progress, leave=False):
        optimizer.param_groups[0]["lr"] = lr * (1 - i / updates)
        picked = torch.randint(len(x), (batch_size,), generator=generator)
        labels = y[picked].repeat(len(radii))
        noise = 2 * torch.rand((1, batch_size, *x.shape[1:]), generator=generator, dtype=x.dtype) - 1
        fixed = {name: value.detach() for name, value in weights.items()}

        def loss(points: Tensor, w: dict[str, Tensor] = fixed, labels: Tensor = labels) -> Tensor:
            # The sum over the networks gives each the gradient of its own mean loss.
            return F.cross_entropy(logits(w, buffers, points).flatten(0, 1), labels, reduction="sum") / batch_size

        now = full * min(1.0, 3 * (i + 1) / updates)
        points = _climb(loss, x[picked], now, noise.to(x.device), steps)
        optimizer.zero_grad()
        loss(points, weights).backward()
        optimizer.step()
    return [_taken(build(), weights, buffers, number) for number in range(len(radii))]


def _climb(loss: Callable[[Tensor], Tensor], x: Tensor, eps: Tensor, noise: Tensor, steps: int) -> Tensor:
    """PGD for all networks at once: x (B, ...), eps (M, 1, ...), noise in [-1, 1] -> points (M, B, ...), detached."""
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    z = (x + eps * noise).clamp(low, high)
    for _ in range(steps):
        z = z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(z), z)
        z = (z.detach() + 2.5 * eps / steps * slope.sign()).clamp(low, high)
    return z.detach()


def _taken(model: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], number: int) -> nn.Module:
    """Network `number` of the stack, as a module of its own."""
    model.load_state_dict({name: value[number].detach() for name, value in (weights | buffers).items()})
    return model.eval()
