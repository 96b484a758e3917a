"""Inequalities and mixed-integer programs as values: what they allow, what is wrong with them, problems to solve."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.certify import milp
from coursekit.checks import expect
from coursekit.checks.failures import Crashed, Wrong
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
            raise Wrong(f"{name} of dtype {str(part.dtype).removeprefix('torch.')}", "dtype float64",
                        "torch.tensor makes float32 of numbers with a point: dtype=torch.float64.")  # fmt: skip
        if part.isnan().any():
            raise Wrong(f"{name} holds NaN", "numbers",
                        "Is infinity multiplied by 0, or subtracted from itself?")  # fmt: skip
        if name == "A" and not part.isfinite().all():
            raise Wrong("A holds infinite numbers", "finite ones: only lower and upper may be infinite")
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


def is_relu(got: Rows, l: float, u: float) -> bool:
    """Whether rows on (z, a, s) allow, for whole s and l <= z <= u, a = max(z, 0) with its switch and no other."""
    step = 0.02 * (u - l)
    zs = torch.cat([torch.linspace(l, u, 9, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    right = torch.stack([zs, zs.relu(), (zs > 0).double()], dim=1)
    wrong = [(z, a + change, s) for z, a, _ in right.tolist() for change in (step, -step) for s in (0.0, 1.0)]
    return bool(_allowed(got, right).all()) and not bool(_allowed(got, torch.tensor(wrong).double()).any())


def relu_hint(got: Rows, l: float, u: float) -> str:
    """The one slip that keeps rows on (z, a, s) from being the ReLU's, or "" if mending one does not make them so."""
    matrix, lower, upper = got
    if is_relu(got, l, u):
        return ""
    for order in itertools.permutations(range(3)):
        if is_relu((matrix[:, list(order)], lower, upper), l, u):
            return "The columns stand in another order: first z, then a, then s."
    of_s = matrix[:, 2]
    if is_relu(_switch_turned(got, torch.ones(len(matrix), dtype=torch.bool)), l, u):
        return "The switch is the other way round: s = 1 means on, s = 0 means off."
    for i in range(len(matrix)):
        here = torch.arange(len(matrix)) == i
        if of_s[i] != 0:
            if is_relu((torch.where(_s_of(here), -matrix, matrix), lower, upper), l, u):
                return f"Row A[{i}] has its switch with the wrong sign: what does it say of a for s = 0, and for s = 1?"
            if is_relu(_switch_turned(got, here), l, u):
                return f"Row A[{i}] has its switch the other way round: what does it say of a for s = 0, and for s = 1?"
        if is_relu((matrix, torch.where(here, -upper, lower), torch.where(here, -lower, upper)), l, u):
            return f"Row A[{i}] has its ends at the wrong side: is it at least, or at most?"
    return ""


def _s_of(here: Tensor) -> Tensor:
    return here[:, None] & (torch.arange(3) == 2)


def _switch_turned(got: Rows, here: Tensor) -> Rows:
    """1 - s in place of s, in the rows `here`."""
    matrix, lower, upper = got
    shift = torch.where(here, matrix[:, 2], 0.0)
    return torch.where(_s_of(here), -matrix, matrix), lower - shift, upper - shift


def _allowed(got: Rows, points: Tensor) -> Tensor:
    """Which of the points (P, V) satisfy all rows, (P,)."""
    matrix, lower, upper = got
    values = points @ matrix.T
    return ((values >= lower - ROUNDING) & (values <= upper + ROUNDING)).all(dim=1)


def on_hint(got: Rows, u: float) -> str:
    """Why (z, z, 1) may be forbidden, where no single slip explains it."""
    if not allows(got, [u, u, 1]) and allows(got, [0, 0, 1]):
        return (
            "On, a may go up to u. Which of your rows holds it lower? Is a >= 0 written with its lower end, and does "
            "the row of u say a <= u for s = 1?"
        )
    return "Which of your rows forbids it? Put in the numbers; watch the signs of l and u, and which end is infinite."


OFF_HINT = (
    "Off, z may go down to l with a = 0: a <= z holds only for s = 1, and for s = 0 it has to be a <= z - l. Is the "
    "sign of l right?"
)


def layer_hint(got: Rows, h: Tensor, weight: Tensor, bias: Tensor) -> str:
    """Why inputs h (P, m) with their own outputs and switches may be forbidden: what rows allow instead of them."""
    n = len(bias)

    def share(z: Tensor, *, switches_first: bool = False, in_turn: bool = False) -> float:
        """How many of the inputs are allowed if this stands in front of the ReLUs, in this order of the variables."""
        parts = [z.relu(), (z > 0).double()]
        parts = parts[::-1] if switches_first else parts
        rest = torch.stack(parts, dim=2).flatten(1) if in_turn else torch.cat(parts, dim=1)
        return _allowed(got, torch.cat([h, rest], dim=1)).double().mean().item()

    # Not all of them: with another bias some are outside of l and u. What fits most of them is the slip.
    z = h @ weight.T + bias
    slips = {
        "The bias is missing: z = w h + b, and p b moves into the ends.": share(z - bias),
        "The bias has the wrong sign: what stands without a variable moves to the other side, lower - p b.": share(
            z - 2 * bias
        ),
        "Outputs and switches are swapped: first the n outputs, then the n switches.": share(z, switches_first=True),
        "You order the variables neuron by neuron, a and s in turn. Asked for are all outputs, then all switches.": (
            share(z, in_turn=True) if n > 1 else 0.0
        ),
    }
    hint, most = max(slips.items(), key=lambda slip: slip[1])
    if most > share(z):
        return hint
    return "Which row forbids it? Is -w at the columns of h, 1 at m + i, the switch at m + n + i, and p b in both ends?"


# --- branch and bound


def searched(function: Callable[..., Any], problem: Mapping[str, Any], most: int) -> Any:
    """What a student's search returns; the two ways in which it usually crashes, in words."""
    try:
        return function(problem, most)
    except Crashed as failure:
        said = f"{failure.got} {failure}"
        if "not supported between" in said or "Boolean value of Tensor" in said:
            raise Wrong(failure.got, "two numbers, lower and upper",
                        "Are there two copies with the same bound? Then Python compares the next entries of their "
                        "tuples, and tensors and dictionaries have no order: sort with key=, or put a running number "
                        "second.") from failure  # fmt: skip
        if "NoneType" in said:
            raise Wrong(failure.got, "two numbers, lower and upper",
                        "A copy that nothing satisfies has no point: None. Its value is infinity; drop it before you "
                        "look at its switches.") from failure  # fmt: skip
        raise


def two_bounds(got: Any) -> tuple[float, float]:
    """(lower, upper): lower finite, upper a number or infinity."""
    if isinstance(got, Tensor) and got.numel() == 2:
        raise Wrong(
            describe(got),
            "two numbers, lower and upper",
            "That is one tensor: lower and upper are wanted as two numbers.",
        )
    if not isinstance(got, list) or len(got) != 2:
        raise Wrong(describe(got), "two numbers, lower and upper", "Did you forget a return?" if got is None else
                    "Return both numbers: what is proven, and what was seen.")  # fmt: skip
    lower, upper = got
    if lower == math.inf:
        raise Wrong("lower = inf", "a finite number", "lower is infinite: is a copy lost? Some point satisfies the "
                    "problem, so a bound of infinity holds only for a copy that is empty.")  # fmt: skip
    if lower == -math.inf:
        raise Wrong("lower = -inf", "a finite number", "The first linear program proves more than that.")
    return expect.number(lower), math.inf if upper == math.inf else expect.number(upper)


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
    """One switch, which a linear program would set to 0.4; the smallest value with a whole one is 0.8, at 0."""
    return {
        "cost": torch.tensor([1.0, 2.0], dtype=torch.float64), "constant": 0.0, "rows": torch.ones(1, 2).double(),
        "lower": torch.tensor([0.4], dtype=torch.float64), "upper": torch.full((1,), math.inf).double(),
        "low": torch.zeros(2, dtype=torch.float64), "high": torch.tensor([1.0, 0.5], dtype=torch.float64),
        "switches": [0],
    }  # fmt: skip


def even(*, switches: int) -> dict[str, Any]:
    """Each switch costs 0 at one half and 1 at both of its ends: held switches raise the bound by 1 each, in any order.

    So k linear programs, the first without a held switch, prove no more than the d with 2^d <= k - 1 (0 for k = 1).
    """
    eye = torch.eye(switches, dtype=torch.float64)
    count, ones = 2 * switches, torch.ones(switches, dtype=torch.float64)
    return {
        "cost": torch.cat([0 * ones, ones]), "constant": 0.0,
        "rows": torch.cat([torch.cat([-2 * eye, eye], dim=1), torch.cat([2 * eye, eye], dim=1)]),
        "lower": torch.cat([-ones, ones]), "upper": torch.full((count,), math.inf).double(),
        "low": torch.zeros(count, dtype=torch.float64), "high": torch.ones(count, dtype=torch.float64),
        "switches": list(range(switches)),
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
