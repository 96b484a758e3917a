"""Certificates: what no attack within P(x) can achieve."""

from coursekit.certify import enumeration, relaxations, smoothing

__all__ = ["enumeration", "relaxations", "smoothing"]
