"""Attacks: search P(x) for a point that the model gets wrong."""

from coursekit.attacks.carlini_wagner import PenaltyStep, carlini_wagner, penalty
from coursekit.attacks.common import input_gradient
from coursekit.attacks.ddn import ddn
from coursekit.attacks.exhaustive import Landscape, exhaustive, landscape
from coursekit.attacks.fgsm import fgsm
from coursekit.attacks.pgd import Iterate, cosine, pgd
from coursekit.attacks.physical import RandomView, expectation, success_over_views, views
from coursekit.attacks.random_search import random_search
from coursekit.attacks.strongest import strongest

__all__ = [
    "Iterate", "Landscape", "PenaltyStep", "RandomView", "carlini_wagner", "cosine", "ddn", "exhaustive",
    "expectation", "fgsm", "input_gradient", "landscape", "penalty", "pgd", "random_search", "strongest",
    "success_over_views", "views",
]  # fmt: skip
