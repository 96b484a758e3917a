"""Attacks: search P(x) for a point that the model gets wrong."""

from coursekit.attacks.bisection import narrow, opposite_ends, smallest_eps
from coursekit.attacks.carlini_wagner import PenaltyStep, carlini_wagner, penalty, penalty_path
from coursekit.attacks.common import input_gradient
from coursekit.attacks.ddn import ddn
from coursekit.attacks.exhaustive import Landscape, exhaustive, landscape
from coursekit.attacks.fgsm import fgsm
from coursekit.attacks.linearised import best_corner, boundary_distance, deepfool, nearest_boundary
from coursekit.attacks.minimum_norm import closest
from coursekit.attacks.pgd import Iterate, cosine, pgd
from coursekit.attacks.physical import RandomView, Worn, expectation, success_over_views, views
from coursekit.attacks.random_search import random_search
from coursekit.attacks.strongest import strongest

__all__ = [
    "Iterate", "Landscape", "PenaltyStep", "RandomView", "Worn", "best_corner", "boundary_distance",
    "carlini_wagner", "closest", "cosine", "ddn", "deepfool", "exhaustive", "expectation", "fgsm",
    "input_gradient", "landscape", "narrow", "nearest_boundary", "opposite_ends", "penalty", "penalty_path",
    "pgd", "random_search", "smallest_eps", "strongest", "success_over_views", "views",
]  # fmt: skip
