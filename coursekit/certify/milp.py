"""Small linear and mixed-integer programs, written out as arrays: minimise cost . v + constant subject to

    lower <= rows v <= upper,     low <= v <= high,     v_i whole for i in switches.

For about a thousand variables and for reading; `exact.verify` builds its own, smaller ones in `program`. A problem is a
dict of these: "cost" (V,), "rows" (R, V), "lower", "upper" (R,), "low", "high" (V,), all float64 tensors, "constant" a
number, "switches" a list of indices. Ends may be infinite. Solved by HiGHS (https://highs.dev), through SciPy.
Source of the encoding: Tjeng et al. 2019, eq. 6.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Problem = Mapping[str, Any]
KEYS = ("cost", "constant", "rows", "lower", "upper", "low", "high", "switches")
WHOLE, GAP = 1e-6, 1e-9  # how far from whole a switch may be; how much better is no better


class Answer(NamedTuple):
    """What a solver says: the value of the best point that it found (inf: none), a bound that nothing is below, and the
    point (V,) float64, or None. value = bound if it got to the end. Nothing satisfies the constraints: both inf."""

    value: float
    bound: float
    point: Tensor | None


def relaxed(problem: Problem, fixed: Mapping[int, float] | None = None) -> Answer:
    """The problem without the demand that switches be whole: a linear program. fixed: variable -> value held there."""
    return _solved(problem, fixed or {}, whole=False, seconds=math.inf)


def minimise(problem: Problem, *, seconds: float = 10.0) -> Answer:
    """The problem with whole switches, as far as the solver gets in these seconds."""
    return _solved(problem, {}, whole=True, seconds=seconds)


def search(problem: Problem, *, most: int) -> tuple[float, float]:
    """Branch and bound with at most so many linear programs: (lower, upper), see `Answer`'s bound and value.

    The copy with the lowest bound is halved at the switch that is furthest from whole. Source: Land and Doig 1960.
    """
    root = relaxed(problem)
    best, done, order = _value_if_whole(root, problem), 1, itertools.count()
    heap: list[tuple[float, int, Answer, dict[int, float]]] = [(root.value, next(order), root, {})]
    while heap and heap[0][0] < best - GAP and done + 2 <= most:
        _, _, node, held = heapq.heappop(heap)
        place = max(problem["switches"], key=lambda k: _from_whole(node, k))
        for end in (0.0, 1.0):
            part = relaxed(problem, {**held, place: end})
            done += 1
            best = min(best, _value_if_whole(part, problem))
            if part.value < math.inf:
                heapq.heappush(heap, (part.value, next(order), part, {**held, place: end}))
    return min(heap[0][0] if heap else best, best), best


def _from_whole(answer: Answer, place: int) -> float:
    assert answer.point is not None
    return abs(float(answer.point[place] - answer.point[place].round()))


def _value_if_whole(answer: Answer, problem: Problem) -> float:
    whole = answer.point is not None and all(_from_whole(answer, k) < WHOLE for k in problem["switches"])
    return answer.value if whole else math.inf


class Rows(NamedTuple):
    """Constraints lower <= matrix v <= upper: matrix (R, V), lower and upper (R,), float64."""

    matrix: Tensor
    lower: Tensor
    upper: Tensor


def relu(lower: float, upper: float) -> Rows:
    """a = max(z, 0) for lower <= z <= upper, on v = (z, a, s): s whole gives just that, s in [0, 1] its triangle."""
    # a - z >= 0, a >= 0, a - u s <= 0, a - z - l s <= -l
    matrix = [[-1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, -upper], [-1.0, 1.0, -lower]]
    ends = [[0.0, 0.0, -math.inf, -math.inf], [math.inf, math.inf, 0.0, -lower]]
    return Rows(*(torch.tensor(part, dtype=torch.float64) for part in (matrix, *ends)))


def layer(weight: Tensor, bias: Tensor, lower: Tensor, upper: Tensor) -> Rows:
    """a = max(W h + b, 0), on v = (h, a, s): h (m,), a and s (n,), the outputs and a switch for each of them.

    weight: (n, m), bias: (n,); lower, upper: (n,) with lower <= W h + b <= upper wherever h can be.
    """
    count = len(bias)
    eye, none, free = torch.eye(count).double(), torch.zeros(count, count).double(), torch.full((count,), math.inf)
    blocks = [
        torch.cat([-weight, eye, none], dim=1),  # a - z >= 0
        torch.cat([0 * weight, eye, none], dim=1),  # a >= 0
        torch.cat([0 * weight, eye, -upper.diag()], dim=1),  # a - u s <= 0
        torch.cat([-weight, eye, -lower.diag()], dim=1),  # a - z - l s <= -l
    ]
    starts, ends = [bias, 0 * bias, -free, -free], [free, free, 0 * bias, bias - lower]
    return Rows(torch.cat(blocks), torch.cat(starts).double(), torch.cat(ends).double())


def leads(weight: Tensor, bias: Tensor, y: int) -> tuple[Tensor, Tensor]:
    """z_y - z_j of a last layer z = W a + b as linear functions of a, for each j other than y in ascending order.

    weight: (K, n), bias: (K,). Returns their rows (K - 1, n) and constants (K - 1,).
    """
    others = torch.arange(len(bias)) != y
    return (weight[y] - weight)[others], (bias[y] - bias)[others]


def network(
    hidden: Sequence[tuple[Tensor, Tensor]], low: Tensor, high: Tensor, bounds: Sequence[tuple[Tensor, Tensor]],
    row: Tensor, constant: float, *, layer: Callable[..., Any] = layer,
) -> dict[str, Any]:  # fmt: skip
    """The smallest row . a + constant over a box, a the outputs of the last hidden layer, as a mixed-integer program.

    hidden: (W, b) of each hidden layer, all of them with ReLUs. low, high: the box, (d,). bounds: (lower, upper) in
    front of each layer's ReLUs. layer: what makes a layer's rows. Variables: the inputs, then outputs and switches of
    each layer in turn. All float64.
    """
    place, total = 0, len(low) + sum(2 * len(bias) for _, bias in hidden)
    parts: list[Rows] = []
    switches: list[int] = []
    ends = [(low, high)]
    for (weight, bias), (lower, upper) in zip(hidden, bounds, strict=True):
        count, width = len(bias), weight.shape[1]
        matrix, first, last = layer(weight, bias, lower, upper)
        wide = torch.zeros(len(matrix), total, dtype=torch.float64)
        after = len(low) + sum(len(end[0]) for end in ends[1:])
        wide[:, place : place + width] = matrix[:, :width]
        wide[:, after : after + 2 * count] = matrix[:, width:]
        parts.append(Rows(wide, first, last))
        ends += [
            (torch.zeros(count).double(), upper.clamp_min(0)),
            (torch.zeros(count).double(), torch.ones(count).double()),
        ]
        place, switches = after, switches + list(range(after + count, after + 2 * count))
    cost = torch.zeros(total, dtype=torch.float64)
    cost[place : place + len(row)] = row
    rows = [torch.cat(list(same)) for same in zip(*parts, strict=True)]
    limits = [torch.cat(list(same)) for same in zip(*ends, strict=True)]
    names = ("rows", "lower", "upper", "low", "high")
    return {"cost": cost, "constant": float(constant), "switches": switches} | dict(
        zip(names, rows + limits, strict=True)
    )


def _solved(problem: Problem, fixed: Mapping[int, float], *, whole: bool, seconds: float) -> Answer:
    from scipy.optimize import Bounds, LinearConstraint, milp

    cost, rows, lower, upper, low, high = _arrays(problem)
    for place, value in fixed.items():
        if not low[place] <= value <= high[place]:
            return Answer(math.inf, math.inf, None)
        low[place] = high[place] = float(value)
    kind = np.zeros(len(cost))
    if whole:
        kind[list(problem["switches"])] = 1
    options = {"time_limit": max(seconds, 0.0)} if math.isfinite(seconds) else {}
    limits = [LinearConstraint(rows, lower, upper)] if len(rows) else []
    options["mip_rel_gap"] = 0.0  # by default the solver stops a ten-thousandth before the end
    found = milp(cost, integrality=kind, bounds=Bounds(low, high), constraints=limits, options=options)
    if found.status == 2:
        return Answer(math.inf, math.inf, None)
    constant = float(problem["constant"])
    value = math.inf if found.x is None else float(found.fun) + constant
    if found.status == 0:
        return Answer(value, value, torch.from_numpy(found.x))
    proven = getattr(found, "mip_dual_bound", None)
    bound = -math.inf if proven is None or not math.isfinite(proven) else float(proven) + constant
    return Answer(value, bound, None if found.x is None else torch.from_numpy(found.x))


def _arrays(problem: Problem) -> list[np.ndarray]:
    """cost, rows, lower, upper, low, high as arrays of their own. Raises ValueError where they do not fit together."""
    missing = [key for key in KEYS if key not in problem]
    if missing:
        raise ValueError(f"problem must have the keys {', '.join(KEYS)}; there is no {', '.join(missing)}")
    names = ("cost", "rows", "lower", "upper", "low", "high")
    arrays = [torch.as_tensor(problem[name]).detach().double().numpy().copy() for name in names]
    variables, count = len(arrays[0]), len(arrays[1])
    shapes = [(variables,), (count, variables), (count,), (count,), (variables,), (variables,)]
    for name, array, shape in zip(names, arrays, shapes, strict=True):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}; got {array.shape}")
        if np.isnan(array).any():
            raise ValueError(f"{name} must not hold NaN")
    if any(not 0 <= place < variables for place in problem["switches"]):
        raise ValueError(f"switches must be from 0 to {variables - 1}; got {list(problem['switches'])}")
    return arrays
