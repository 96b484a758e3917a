"""A ReLU network over P(x) as a linear or mixed-integer program, solved by HiGHS (https://highs.dev).

Variables are the pixels and, for each ReLU that may be on or off in P(x), its output a and a switch s. All other
neurons are linear functions of these and need neither variable nor constraint; that is what keeps the programs small.
With l <= z <= u in front of the ReLU, a = max(z, 0) says

    a >= z,   a >= 0,   a <= u s,   a <= z - l (1 - s),   s in {0, 1}.

Without the demand that s be whole the constraints leave the triangle over [l, u]: the convex relaxation.
Source: Tjeng et al. 2019, "Evaluating robustness of neural networks with mixed integer programming", eq. 6;
the triangle: Ehlers 2017; Wong and Kolter 2018, section 2.
"""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coursekit.certify.relaxations.region import Interval

Vector = NDArray[np.float64]
FEASIBLE = 1e-9  # how far the solver may be from satisfying a constraint


class Program:
    """Variables within bounds, linear constraints, and a solver that keeps its last basis from one question to the
    next. What `least` says does not rest on the solver's word, see there. ball: (centre, radius), which the first
    variables may lie in besides; the solver does not know of it, `least` makes use of it."""

    def __init__(self) -> None:
        import highspy

        self.lower: list[float] = []
        self.upper: list[float] = []
        self.switches: list[int] = []
        self.ball: tuple[Vector, float] | None = None
        self._rows: list[tuple[Vector, float, float]] = []
        self._highs = highspy
        # Highs() would print a banner before one can say that it should not.
        self._solver = highspy._Highs()  # type: ignore[attr-defined]
        options = {
            "output_flag": False, "threads": 1, "presolve": "off", "mip_heuristic_effort": 0.0,
            "mip_allow_restart": False, "mip_feasibility_tolerance": FEASIBLE, "primal_feasibility_tolerance": FEASIBLE,
        }  # fmt: skip
        for name, value in options.items():
            self._solver.setOptionValue(name, value)

    def variable(self, lower: float, upper: float) -> int:
        """A new variable's index."""
        self._solver.addVar(lower, upper)
        self.lower.append(lower)
        self.upper.append(upper)
        return len(self.lower) - 1

    def switch(self) -> int:
        """A new variable that is 0 or 1; in a linear program anything between."""
        self.switches.append(self.variable(0.0, 1.0))
        return self.switches[-1]

    def constrain(self, weight: Vector, lower: float = -math.inf, upper: float = math.inf) -> None:
        """lower <= weight . v <= upper; weight: one number for each of the first variables, 0 for the others."""
        (where,) = weight.nonzero()
        self._solver.addRow(lower, upper, len(where), where.astype(np.int32), weight[where])
        self._rows.append((weight, lower, upper))

    def least(self, weight: Vector, constant: float = 0.0) -> float:
        """A lower bound of weight . v + constant over all that satisfies the constraints, switches anything in [0, 1].

        The smallest value, up to rounding, if the solver did its work; a lower bound in any case: it is computed from
        the multipliers that it returns, of which any are good for a bound.
        """
        return self.relaxed(weight, constant)[0]

    def relaxed(self, weight: Vector, constant: float = 0.0) -> tuple[float, Vector]:
        """The bound as from `least`, and the point where the solver found it."""
        self._ask(weight, whole=False)
        self._solver.setOptionValue("time_limit", math.inf)
        self._solver.run()
        solution = self._solver.getSolution()
        point = np.array(solution.col_value) if solution.value_valid else np.array(self.lower)
        multipliers = np.array(solution.row_dual) if solution.dual_valid else np.zeros(len(self._rows))
        return self._dual_bound(self._padded(weight), multipliers) + constant, point

    def search(self, weight: Vector, constant: float, enough: float, seconds: float) -> tuple[float, Vector | None]:
        """Minimise weight . v + constant with whole switches, until it is below `enough` or the time is up.

        Returns a lower bound of the smallest value, and the best point found, None if there is none.
        """
        self._ask(weight, whole=True)
        self._solver.setOptionValue("objective_target", enough - constant)
        self._solver.setOptionValue("time_limit", self._solver.getRunTime() + max(seconds, 1e-3))
        self._solver.run()
        self._solver.setOptionValue("objective_target", -math.inf)
        if self._solver.getModelStatus() == self._highs.HighsModelStatus.kInfeasible:
            return math.inf, None
        solution, info = self._solver.getSolution(), self._solver.getInfo()
        point = np.array(solution.col_value) if solution.value_valid else None
        bound = info.mip_dual_bound + constant
        return (bound if math.isfinite(bound) else -math.inf), point

    def _ask(self, weight: Vector, whole: bool) -> None:
        cost = self._padded(weight)
        self._solver.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        kind = self._highs.HighsVarType.kInteger if whole else self._highs.HighsVarType.kContinuous
        for switch in self.switches:
            self._solver.changeColIntegrality(switch, kind)

    def _padded(self, weight: Vector) -> Vector:
        return np.pad(weight, (0, len(self.lower) - len(weight)))

    def _dual_bound(self, cost: Vector, multipliers: Vector) -> float:
        """min cost . v >= sum_i y_i (row i's end) + sum_j min over [l_j, u_j] of (cost - A^T y)_j v_j, for any y.

        Row i's end is the lower one for y_i > 0 and the upper one for y_i < 0; where that is infinite, y_i is set to 0.
        Source: Neumaier and Shcherbina 2004, "Safe bounds in linear and mixed-integer linear programming", eq. 3.
        """
        reduced, bound = cost.copy(), 0.0
        for (weight, low, high), y in zip(self._rows, multipliers, strict=True):
            end = low if y > 0 else high
            if y and math.isfinite(end):
                reduced[: len(weight)] -= y * weight
                bound += y * end
        ends = np.minimum(reduced * self.lower, reduced * self.upper)
        if self.ball is None:
            return bound + float(ends.sum())
        centre, radius = self.ball
        pixels = reduced[: len(centre)]
        over_ball = float(pixels @ centre - radius * np.linalg.norm(pixels))
        return bound + float(ends[len(centre) :].sum()) + max(over_ball, float(ends[: len(centre)].sum()))


class Encoded(NamedTuple):
    """A network's outputs over P(x): weight . v + constant for every v of the program. weight: (K, variables)."""

    program: Program
    weight: Vector
    constant: Vector


def encode(layers: Sequence[nn.Module], box: Interval, neurons: Sequence[Interval], *, tighten: float = 0.0) -> Encoded:
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


def _relu(program: Program, weight: Tensor, constant: Tensor, bounds: Interval, until: float) -> tuple[Tensor, Tensor]:
    """max(z, 0) of z = weight . v + constant: the same where z is never below 0, 0 where never above, else a new a."""
    before, shape = len(program.lower), constant.shape
    z, b = weight.flatten(1).T.contiguous().numpy(), constant.flatten().numpy()
    lower, upper = bounds.lower.flatten().tolist(), bounds.upper.flatten().tolist()
    for i in range(len(b)):
        if lower[i] < 0 < upper[i] and time.monotonic() < until:
            upper[i] = min(upper[i], -program.least(-z[i], -b[i]))
            lower[i] = max(lower[i], program.least(z[i], b[i])) if upper[i] > 0 else lower[i]
    opens = [i for i in range(len(b)) if lower[i] < 0 < upper[i]]
    outputs = [_open(program, z[i], b[i], lower[i], upper[i]) for i in opens]
    always = torch.tensor([low >= 0 for low in lower], dtype=torch.float64)
    new = torch.zeros(len(program.lower), len(b), dtype=torch.float64)
    new[:before] = torch.from_numpy(z).T * always
    for i, output in zip(opens, outputs, strict=True):
        new[output, i] = 1.0
    return new.view(-1, *shape[1:]), (constant.flatten() * always).view(shape)


def _open(program: Program, z: Vector, b: float, lower: float, upper: float) -> int:
    """The output a of a ReLU on z . v + b in [lower, upper], which can be on and off; its index."""
    output, switch = program.variable(0.0, upper), program.switch()
    row = np.zeros(switch + 1)
    row[: len(z)], row[output] = -z, 1.0
    program.constrain(row.copy(), lower=b)  # a >= z
    row[switch] = -lower
    program.constrain(row, upper=b - lower)  # a <= z - l (1 - s)
    on = np.zeros(switch + 1)
    on[output], on[switch] = 1.0, -upper
    program.constrain(on, upper=0.0)  # a <= u s
    return output
