"""Certificates: what no attack within P(x) can achieve."""

from coursekit.certify import enumeration, exact, lipschitz, milp, relaxations, smoothing

__all__ = ["enumeration", "exact", "lipschitz", "milp", "relaxations", "smoothing"]
