"""Attacks: search P(x) for a point that the model gets wrong."""

from coursekit.attacks.carlini_wagner import PenaltyStep, carlini_wagner, penalty
from coursekit.attacks.common import input_gradient
from coursekit.attacks.ddn import ddn
from coursekit.attacks.fgsm import fgsm
from coursekit.attacks.pgd import Iterate, cosine, pgd
from coursekit.attacks.random_search import random_search
from coursekit.attacks.strongest import strongest

__all__ = [
    "Iterate", "PenaltyStep", "carlini_wagner", "cosine", "ddn", "fgsm", "input_gradient", "penalty", "pgd",
    "random_search", "strongest",
]  # fmt: skip
