"""How far a long grading has come, on stderr: a bar for a person at a terminal, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from typing import Any

LINE_EVERY = 10.0  # seconds


class Progress:
    """Of `total` submissions. A context manager."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._total, self._done = total, 0
        self._started = self._said = time.monotonic()
        # The bar's own estimate is of the last few; ours is of all, which with several at once says more.
        self._bar: Any = tqdm(total=total, unit="submission", file=sys.stderr, disable=None, leave=False, smoothing=0)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def one_more(self) -> None:
        """Another one is finished."""
        self._done += 1
        self._bar.update()
        self.look()

    def look(self) -> None:
        """Called now and then, also while nothing is finished."""
        now = time.monotonic()
        if not self._bar.disable:
            self._bar.refresh()
        elif now - self._said > LINE_EVERY and self._done < self._total:
            self._said = now
            print(f"{self._done} of {self._total} submissions{self._estimate(now)}", file=sys.stderr, flush=True)

    def _estimate(self, now: float) -> str:
        if not self._done:
            return ""
        left = (now - self._started) / self._done * (self._total - self._done)
        return f", about {in_words(left)} left"


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
