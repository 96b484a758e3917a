"""Attacks: search P(x) for a point that the model gets wrong."""

from coursekit.attacks.common import input_gradient
from coursekit.attacks.fgsm import fgsm
from coursekit.attacks.pgd import Iterate, cosine, pgd

__all__ = ["Iterate", "cosine", "fgsm", "input_gradient", "pgd"]
