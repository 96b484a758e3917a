"""Certificates: what no attack within P(x) can achieve."""

from coursekit.certify import relaxations

__all__ = ["relaxations"]
