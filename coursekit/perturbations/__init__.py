"""The lecture's perturbation set P(x): what an attacker may turn x into.

Attacks search it, training hardens against it, certificates cover it; all of them take it as an argument
and know nothing of norms.
"""

from coursekit.perturbations.common import PerturbationSet, per_image, round_towards, widen
from coursekit.perturbations.lp_ball import LpBall
from coursekit.perturbations.masked import Masked
from coursekit.perturbations.rotation import Rotation

__all__ = ["LpBall", "Masked", "PerturbationSet", "Rotation", "per_image", "round_towards", "widen"]
