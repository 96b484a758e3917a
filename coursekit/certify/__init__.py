"""Certificates: what no attack within P(x) can achieve."""

from coursekit.certify import enumeration, lipschitz, relaxations, smoothing

__all__ = ["enumeration", "lipschitz", "relaxations", "smoothing"]
