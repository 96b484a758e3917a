"""Inequalities and mixed-integer programs as values: what they allow, what is wrong with them, problems to solve."""

import math
from typing import Any

import torch
from torch import Tensor

from coursekit.certify import milp
from coursekit.checks.failures import Wrong
from coursekit.checks.values import describe

Rows = tuple[Tensor, Tensor, Tensor]
ROUNDING = 1e-7


def rows(got: Any, variables: int) -> Rows:
    """A (R, variables), lower (R,), upper (R,): the form of lower <= A v <= upper, float64, ends perhaps infinite."""
    if got is None:
        raise Wrong("None", "A, lower, upper", "Did you forget a return?")
    if not isinstance(got, list) or len(got) != 3 or not all(isinstance(part, Tensor) for part in got):
        raise Wrong(describe(got), "three tensors: A, lower, upper", "Return the matrix and both of its ends.")
    matrix, lower, upper = got
    for name, part, shape in (
        ("A", matrix, f"(R, {variables})"), ("lower", lower, "(R,)"), ("upper", upper, "(R,)"),
    ):  # fmt: skip
        fits = part.ndim == 2 and part.shape[1] == variables if name == "A" else part.shape == matrix.shape[:1]
        if not fits:
            raise Wrong(f"{name} of shape {tuple(part.shape)}", f"shape {shape}",
                        "One row for each inequality, one column for each variable, two ends each.")  # fmt: skip
        if part.dtype != torch.float64:
            raise Wrong(f"{name} of dtype {str(part.dtype).removeprefix('torch.')}", "dtype float64")
        if part.isnan().any() or (name == "A" and not part.isfinite().all()):
            raise Wrong(f"{name} holds NaN or infinite numbers", "numbers; only ends may be infinite",
                        "Is infinity multiplied by 0, or subtracted from itself?")  # fmt: skip
    return matrix, lower, upper


def allows(got: Rows, v: list[float]) -> bool:
    """Whether the point v satisfies all rows."""
    matrix, lower, upper = got
    values = matrix @ torch.tensor(v, dtype=torch.float64)
    return bool(((values >= lower - ROUNDING) & (values <= upper + ROUNDING)).all())


def some_switch(got: Rows, z: float, a: float) -> bool:
    """Whether rows on (z, a, s) allow z and a for some s in [0, 1], whole or not."""
    low, high = 0.0, 1.0
    for (of_z, of_a, of_s), start, end in zip(*(part.tolist() for part in got), strict=True):
        rest = of_z * z + of_a * a
        if of_s == 0:
            if not start - ROUNDING <= rest <= end + ROUNDING:
                return False
            continue
        least, most = ((side - rest) / of_s for side in ((start, end) if of_s > 0 else (end, start)))
        low, high = max(low, least), min(high, most)
    return low <= high + ROUNDING


def on_hint(got: Rows, z: float, u: float) -> str:
    """Why (z, z, 1) may be forbidden."""
    if allows(got, [z, z, 0]):
        return "The switch is the other way round: s = 1 means on."
    if not allows(got, [u, u, 1]) and allows(got, [0, 0, 1]):
        return (
            "On, a may go up to u. Which of your rows holds it lower? Is a >= 0 written with its lower end, and does "
            "the row of u say a <= u for s = 1?"
        )
    return "Which of your rows forbids it? Put in the numbers; watch the signs of l and u, and which end is infinite."


def off_hint(got: Rows, z: float) -> str:
    """Why (z, 0, 0) may be forbidden."""
    if allows(got, [z, 0, 1]):
        return "The switch is the other way round: s = 0 means off."
    return (
        "Off, z may go down to l with a = 0: a <= z holds only for s = 1, and for s = 0 it has to be a <= z - l. Is "
        "the sign of l right?"
    )


def layer_hint(got: Rows, v: Tensor, weight: Tensor, bias: Tensor) -> str:
    """Why an input with its own outputs and switches may be forbidden."""
    n, m = weight.shape
    h = v[:m]

    def of(z: Tensor) -> list[float]:
        return torch.cat([h, z.relu(), (z > 0).double()]).tolist()

    z = weight @ h + bias
    if allows(got, of(weight @ h)):
        return "The bias is missing: z = w h + b, and p b moves into the ends."
    if allows(got, of(weight @ h - bias)):
        return "The bias has the wrong sign: what stands without a variable moves to the other side, lower - p b."
    swapped = torch.cat([h, (z > 0).double(), z.relu()])
    if allows(got, swapped.tolist()):
        return "Outputs and switches are swapped: first the n outputs, then the n switches."
    mixed = torch.cat([h, torch.stack([z.relu(), (z > 0).double()], dim=1).flatten()])
    if n > 1 and allows(got, mixed.tolist()):
        return (
            "You order the variables neuron by neuron, a and s in turn. Asked for are all outputs, then all switches."
        )
    return "Which row forbids it? Is -w at the columns of h, 1 at m + i, the switch at m + n + i, and p b in both ends?"


# --- problems to solve


def of_network(*, inputs: int, neurons: int, seed: int) -> dict[str, Any]:
    """The lead of class 0 over class 1 of a random network with one hidden layer, on the box [0, 1] of its inputs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight, row = draw(neurons, inputs), draw(neurons)
    bias = -weight.sum(1) / 2 + 0.1 * draw(neurons)
    radius = weight.abs().sum(1) / 2
    middle = weight.sum(1) / 2 + bias
    ends = torch.zeros(inputs).double(), torch.ones(inputs).double()
    return milp.network([(weight, bias)], *ends, [(middle - radius, middle + radius)], row, 0.5)


def random(*, switches: int, seed: int, others: int = 2, count: int = 4) -> dict[str, Any]:
    """A random problem with some point that satisfies it; its switches come first."""
    generator = torch.Generator().manual_seed(seed)
    total = switches + others
    matrix = torch.randn(count, total, generator=generator, dtype=torch.float64)
    inside = torch.cat([torch.randint(0, 2, (switches,), generator=generator), torch.rand(others, generator=generator)])
    return {
        "cost": torch.randn(total, generator=generator, dtype=torch.float64), "constant": 0.25, "rows": matrix,
        "lower": matrix @ inside.double() - 0.1, "upper": torch.full((count,), math.inf, dtype=torch.float64),
        "low": torch.zeros(total, dtype=torch.float64), "high": torch.ones(total, dtype=torch.float64),
        "switches": list(range(switches)),
    }  # fmt: skip


def one_switch() -> dict[str, Any]:
    """One switch, which a linear program would set to 0.3; the smallest value with a whole one is 1."""
    return {
        "cost": torch.tensor([1.0, 0.2], dtype=torch.float64), "constant": 0.0, "rows": torch.ones(1, 2).double(),
        "lower": torch.tensor([0.4], dtype=torch.float64), "upper": torch.full((1,), math.inf).double(),
        "low": torch.zeros(2, dtype=torch.float64), "high": torch.tensor([1.0, 0.1], dtype=torch.float64),
        "switches": [0],
    }  # fmt: skip


def with_empty_half() -> dict[str, Any]:
    """Two switches of which one has to be 1, and costs: with fractions it would be 0.4."""
    matrix = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    return {
        "cost": torch.tensor([2.0, 1.0, 1.5], dtype=torch.float64), "constant": -1.0, "rows": matrix,
        "lower": torch.tensor([0.4, 1.6], dtype=torch.float64), "upper": torch.full((2,), math.inf).double(),
        "low": torch.zeros(3, dtype=torch.float64), "high": torch.tensor([1.0, 1.0, 0.3], dtype=torch.float64),
        "switches": [0, 1],
    }  # fmt: skip
