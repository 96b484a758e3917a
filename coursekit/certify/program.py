"""A ReLU network over P(x) as a mixed-integer program: linear programs by HiGHS (https://highs.dev), and a search.

Variables are the pixels and, for each ReLU that may be on or off in P(x), its output a and a switch s. All other
neurons are linear functions of these and need neither variable nor constraint; that is what keeps the programs small.
With l <= z <= u in front of the ReLU, a = max(z, 0) says

    a >= z,   a >= 0,   a <= u s,   a <= z - l (1 - s),   s in {0, 1}.

Without the demand that s be whole the constraints leave the triangle over [l, u]: the convex relaxation. `search` asks
it, fixes a switch at 0 and at 1, and asks again, until the answer is known. Its bounds are those of the linear
programs, each recomputed from the multipliers, so that a solver's tolerance cannot make it too high.
Source: Tjeng et al. 2019, "Evaluating robustness of neural networks with mixed integer programming", eq. 6;
the triangle: Ehlers 2017; Wong and Kolter 2018, section 2; the search: Bunel et al. 2020, "Branch and bound for
piecewise linear neural network verification", algorithm 1.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from torch import Tensor, nn

if TYPE_CHECKING:  # that package builds its linear programs here
    from coursekit.certify.relaxations.region import Interval

Vector = NDArray[np.float64]
FEASIBLE = 1e-9  # how far the solver may be from satisfying a constraint
TIGHT = 1e-9  # nearer than this the output of a neuron is the ReLU of what comes in
EMPTY = 1e-7  # a proof that there is no point must be clearer than rounding


class Relaxed(NamedTuple):
    """A linear program's answer: a lower bound, the point where the solver found it, one multiplier for each row."""

    bound: float
    point: Vector
    multipliers: Vector


class Found(NamedTuple):
    """What a search knows at its end: a lower bound of the smallest value, the smallest value that it saw, the point
    where it saw it (None: nowhere), and how many linear programs that took."""

    bound: float
    value: float
    point: Vector | None
    programs: int


class Neuron(NamedTuple):
    """A ReLU that can be on and off: the places of its output, its switch, and the first of its three rows."""

    output: int
    switch: int
    row: int


class Row(NamedTuple):
    """lower <= sum of value_k v_{where_k} <= upper."""

    where: NDArray[np.int64]
    values: Vector
    lower: float
    upper: float


class Stacked(NamedTuple):
    """All rows as a matrix, the same turned, and their ends."""

    rows: csr_array
    columns: csc_array
    lower: Vector
    upper: Vector


class Program:
    """Variables within bounds, linear constraints, and a solver that keeps its last basis from one question to the
    next. No bound rests on the solver's word, see `_dual_bound`. ball: (centre, radius), which the first variables may
    lie in besides; the solver does not know of it, the bounds make use of it."""

    def __init__(self) -> None:
        import highspy

        self.lower: list[float] = []
        self.upper: list[float] = []
        self.neurons: list[Neuron] = []
        self.ball: tuple[Vector, float] | None = None
        self._rows: list[Row] = []
        self._stacked: Stacked | None = None
        self._infeasible = highspy.HighsModelStatus.kInfeasible
        # Highs() would print a banner before one can say that it should not.
        self._solver = highspy._Highs()  # type: ignore[attr-defined]
        options = {
            "output_flag": False, "threads": 1, "presolve": "off", "primal_feasibility_tolerance": FEASIBLE,
        }  # fmt: skip
        for name, value in options.items():
            self._solver.setOptionValue(name, value)

    def variable(self, lower: float, upper: float) -> int:
        """A new variable's index."""
        self._solver.addVar(lower, upper)
        self.lower.append(lower)
        self.upper.append(upper)
        self._stacked = None
        return len(self.lower) - 1

    def neuron(self, z: Vector, b: float, lower: float, upper: float) -> int:
        """The output a of a ReLU on z . v + b, which lies in [lower, upper], lower < 0 < upper; its index."""
        output, switch = self.variable(0.0, upper), self.variable(0.0, 1.0)
        self.neurons.append(Neuron(output, switch, len(self._rows)))
        row = np.zeros(switch + 1)
        row[: len(z)], row[output] = -z, 1.0
        self.constrain(row.copy(), lower=b)  # a >= z
        row[switch] = -lower
        self.constrain(row, upper=b - lower)  # a <= z - l (1 - s)
        on = np.zeros(switch + 1)
        on[output], on[switch] = 1.0, -upper
        self.constrain(on, upper=0.0)  # a <= u s
        return output

    def constrain(self, weight: Vector, lower: float = -math.inf, upper: float = math.inf) -> None:
        """lower <= weight . v <= upper; weight: one number for each of the first variables, 0 for the others."""
        (where,) = weight.nonzero()
        self._solver.addRow(lower, upper, len(where), where.astype(np.int32), weight[where])
        self._rows.append(Row(where, weight[where], lower, upper))
        self._stacked = None

    def least(self, weight: Vector, constant: float = 0.0, *, seconds: float = math.inf) -> float:
        """A lower bound of weight . v + constant over all that satisfies the constraints, switches anything in [0, 1].

        The smallest value, up to rounding, if the solver did its work in these seconds; a lower bound in any case.
        """
        return self._solve(weight, constant, {}, seconds).bound

    def relaxed(self, weight: Vector, constant: float = 0.0) -> tuple[float, Vector]:
        """The bound as from `least`, and the point where the solver found it."""
        found = self._solve(weight, constant, {}, math.inf)
        return found.bound, found.point

    def _solve(self, weight: Vector, constant: float, fixed: dict[int, float], seconds: float) -> Relaxed:
        """One linear program. fixed: variables that are held at these values. The bound is inf where nothing satisfies
        the constraints, and the multipliers prove it."""
        cost, columns = self._padded(weight), np.arange(len(self.lower), dtype=np.int32)
        lower, upper = np.array(self.lower), np.array(self.upper)
        for place, value in fixed.items():
            lower[place] = upper[place] = value
        self._solver.changeColsCost(len(cost), columns, cost)
        self._solver.changeColsBounds(len(cost), columns, lower, upper)
        limit = self._solver.getRunTime() + max(seconds, 0.0) if math.isfinite(seconds) else math.inf
        self._solver.setOptionValue("time_limit", limit)
        self._solver.run()
        solution = self._solver.getSolution()
        point = np.array(solution.col_value) if solution.value_valid else lower
        multipliers = np.array(solution.row_dual) if solution.dual_valid else np.zeros(len(self._rows))
        bound = self._dual_bound(cost, multipliers, lower, upper) + constant
        if self._solver.getModelStatus() == self._infeasible and self._nothing(lower, upper):
            bound = math.inf
        return Relaxed(bound, np.clip(point, lower, upper), multipliers)

    def search(
        self, weight: Vector, constant: float, value: Callable[[Vector], float], *, until: float,
        stop: float = -math.inf, close: float = math.inf,
    ) -> Found:  # fmt: skip
        """The smallest weight . v + constant with whole switches, by branch and bound.

        value: point -> what the network really gives for its pixels; so each point of a linear program is a try. until:
        the time (`time.monotonic`) to give up. stop: a value below it ends the search. close: what is above it need not
        be looked into any further. Without these the smallest value is found.
        """
        root = self._solve(weight, constant, {}, until - time.monotonic())
        best, point, programs, tie = value(root.point), root.point, 1, itertools.count()
        # The lowest bound first; the counter keeps nodes from being compared.
        waiting: list[tuple[float, int, Relaxed, dict[int, float]]] = [(root.bound, next(tie), root, {})]
        closed = math.inf
        while waiting and best >= stop and time.monotonic() < until:
            bound, _, node, fixed = heapq.heappop(waiting)
            switch = self._loosest(node, fixed) if bound < min(close, best) else None
            if switch is None:
                closed = min(closed, bound)
                continue
            for position in (0.0, 1.0):
                held = fixed | {switch: position}
                half = self._solve(weight, constant, held, until - time.monotonic())
                programs += 1
                here = value(half.point) if half.bound < math.inf else math.inf
                if here < best:
                    best, point = here, half.point
                heapq.heappush(waiting, (max(half.bound, bound), next(tie), half, held))
        lowest = min([closed, *(node[0] for node in waiting)])
        return Found(lowest, best, point if math.isfinite(best) else None, programs)

    def _loosest(self, node: Relaxed, fixed: dict[int, float]) -> int | None:
        """The switch to fix next: where a is furthest above max(z, 0), weighed by what that is worth to the bound.

        None if a = max(z, 0) for all neurons: then the program's point is the network's own.
        """
        free = [neuron for neuron in self.neurons if neuron.switch not in fixed]
        if not free:
            return None
        rows, _, lower, _ = self._matrix()
        first = np.array([neuron.row for neuron in free])
        output = node.point[[neuron.output for neuron in free]]
        above = np.minimum((rows @ node.point)[first] - lower[first], output)  # a - z and a
        worth = above * np.abs(node.multipliers[first + 1] + node.multipliers[first + 2])
        best = int(worth.argmax()) if worth.max() > TIGHT else int(above.argmax())
        return free[best].switch if above[best] > TIGHT else None

    def _matrix(self) -> "Stacked":
        """All rows as one matrix, and their ends."""
        if self._stacked is None:
            lengths = [0, *(len(row.where) for row in self._rows)]
            where, values = (
                np.concatenate([np.zeros(0, dtype=kind), *(row[part] for row in self._rows)])
                for part, kind in ((0, np.int64), (1, np.float64))
            )
            matrix = csr_array((values, where, np.cumsum(lengths)), shape=(len(self._rows), len(self.lower)))
            ends = (np.array([row[end] for row in self._rows], dtype=np.float64) for end in (2, 3))
            self._stacked = Stacked(matrix, matrix.T, *ends)
        return self._stacked

    def _padded(self, weight: Vector) -> Vector:
        cost = np.zeros(len(self.lower))
        cost[: len(weight)] = weight
        return cost

    def _dual_bound(self, cost: Vector, multipliers: Vector, lower: Vector, upper: Vector) -> float:
        """min cost . v >= sum_i y_i (row i's end) + sum_j min over [l_j, u_j] of (cost - A^T y)_j v_j, for any y.

        Row i's end is the lower one for y_i > 0 and the upper one for y_i < 0; where that is infinite, y_i is set to 0.
        Source: Neumaier and Shcherbina 2004, "Safe bounds in linear and mixed-integer linear programming", eq. 3.
        """
        _, columns, low, high = self._matrix()
        end = np.where(multipliers > 0, low, high)
        y = np.where(np.isfinite(end), multipliers, 0.0)
        reduced = cost - columns @ y
        bound = float(y @ np.where(np.isfinite(end), end, 0.0))
        ends = np.minimum(reduced * lower, reduced * upper)
        if self.ball is None:
            return bound + float(ends.sum())
        centre, radius = self.ball
        pixels = reduced[: len(centre)]
        over_ball = float(pixels @ centre - radius * np.linalg.norm(pixels))
        return bound + float(ends[len(centre) :].sum()) + max(over_ball, float(ends[: len(centre)].sum()))

    def _nothing(self, lower: Vector, upper: Vector) -> bool:
        """Whether the multipliers that the solver gives as proof show that no point satisfies the constraints.

        With cost 0 every bound is at most 0 as long as there is a point: one above 0 says that there is none (Farkas).
        """
        _, there, ray = self._solver.getDualRay()
        if not there:
            return False
        ray = np.array(ray) / max(np.abs(ray).max(), 1e-300)
        nothing = np.zeros(len(lower))
        return max(self._dual_bound(nothing, sign * ray, lower, upper) for sign in (1, -1)) > EMPTY


class Encoded(NamedTuple):
    """A network's outputs over P(x): weight . v + constant for every v of the program. weight: (K, variables)."""

    program: Program
    weight: Vector
    constant: Vector


def encode(
    layers: Sequence[nn.Module], box: "Interval", neurons: "Sequence[Interval]", *, tighten: float = 0.0
) -> Encoded:
    """The network over one image's box. box: of P(x), each end (1, ...), float64. neurons: for each ReLU the box in
    front of it. tighten: seconds to spend on better ones, two linear programs for each neuron that can be on and off.
    """
    until = time.monotonic() + tighten
    program = Program()
    for low, high in zip(box.lower.flatten().tolist(), box.upper.flatten().tolist(), strict=True):
        program.variable(low, high)
    pixels = len(program.lower)
    # Each neuron as a function of the variables: weight (variables, ...), one row a variable, and constant (1, ...).
    weight = torch.eye(pixels, dtype=torch.float64).view(pixels, *box.lower.shape[1:])
    constant = torch.zeros_like(box.lower)
    remaining = iter(neurons)
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            bounds = next(remaining)
            weight, constant = _relu(program, weight, constant, bounds, until)
        else:
            constant, nothing = layer(constant), layer(torch.zeros_like(constant))
            weight = layer(weight) - nothing
    return Encoded(program, weight.flatten(1).T.contiguous().numpy(), constant.flatten().numpy())


def _relu(
    program: Program, weight: Tensor, constant: Tensor, bounds: "Interval", until: float
) -> tuple[Tensor, Tensor]:
    """max(z, 0) of z = weight . v + constant: the same where z is never below 0, 0 where never above, else a new a."""
    before, shape = len(program.lower), constant.shape
    z, b = weight.flatten(1).T.contiguous().numpy(), constant.flatten().numpy()
    lower, upper = bounds.lower.flatten().tolist(), bounds.upper.flatten().tolist()
    for i in range(len(b)):
        if not program.neurons:
            break  # in front of the first ReLUs all is linear, and the boxes are exact
        if lower[i] < 0 < upper[i] and (left := until - time.monotonic()) > 0:
            upper[i] = min(upper[i], -program.least(-z[i], -b[i], seconds=left))
            lower[i] = max(lower[i], program.least(z[i], b[i], seconds=left)) if upper[i] > 0 else lower[i]
    opens = [i for i in range(len(b)) if lower[i] < 0 < upper[i]]
    outputs = [program.neuron(z[i], b[i], lower[i], upper[i]) for i in opens]
    always = torch.tensor([low >= 0 for low in lower], dtype=torch.float64)
    new = torch.zeros(len(program.lower), len(b), dtype=torch.float64)
    new[:before] = torch.from_numpy(z).T * always
    for i, output in zip(opens, outputs, strict=True):
        new[output, i] = 1.0
    return new.view(-1, *shape[1:]), (constant.flatten() * always).view(shape)
