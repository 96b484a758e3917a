"""Bounds on what all processes of one submission use together."""

from __future__ import annotations


class Bounds:
    """For the processes below `pid`."""

    def __init__(self, pid: int, memory: int, processes: int) -> None:
        self._pid = pid

    def exceeded(self) -> str:
        """What is over its bound, in words; empty if nothing is."""
        return ""

    def release(self) -> None:
        """Called when all of them have ended."""
