"""Certificates: what no attack within P(x) can achieve."""

from coursekit.certify import enumeration, relaxations

__all__ = ["enumeration", "relaxations"]
