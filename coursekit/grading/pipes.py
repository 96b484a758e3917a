"""What a process that runs cells says: events on one descriptor, what is printed below Python on another.

Both are read by threads, which works on every system and never blocks the process for long. Everything that arrives
was written by a process that runs students' code: it is bounded, and what cannot be read is left out.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from typing import IO, Any

from coursekit.grading.limits import RICH_LIMIT, TEXT_LIMIT

_MARK = re.compile(rb"\0cell (\d{1,6})\0")


class Pipes:
    """The reading ends of both descriptors. `gone` is put among the events when the first one ends."""

    def __init__(self, events: IO[bytes], raw: IO[bytes]) -> None:
        self._events_pipe, self._raw_pipe = events, raw
        self._events: queue.Queue[dict] = queue.Queue(maxsize=1000)
        self._raw: dict[int, bytearray] = {}
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read_events, self._read_raw)]
        for thread in self._threads:
            thread.start()

    def next_event(self, timeout: float) -> dict | None:
        """The next event; None if there is none in so many seconds."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def gone(self) -> None:
        """Put the end among the events, after all that came before."""
        self._put({"event": "gone"})

    def raw_output(self) -> dict[int, str]:
        """What was printed below Python, by the place of the cell in the job."""
        return {number: text.decode("utf-8", "replace") for number, text in list(self._raw.items())}

    def stop(self) -> None:
        """Take no more events; the reading goes on, so that nobody is blocked."""
        self._stopped.set()

    def close(self, patience: float) -> None:
        """Read what is left, for so many seconds at most, and close."""
        for thread in self._threads:
            thread.join(timeout=patience)
        for pipe, thread in zip((self._events_pipe, self._raw_pipe), self._threads, strict=True):
            if not thread.is_alive():
                pipe.close()

    def _read_events(self) -> None:
        rest = b""
        while chunk := _read(self._events_pipe):
            if len(rest) + len(chunk) > 2 * RICH_LIMIT + (1 << 20):  # no line of ours is that long
                rest = b""
                continue
            *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else [rest + chunk]
            for line in lines:
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # not ours: something wrote to our descriptor
                if isinstance(event, dict):
                    self._put(event)
        self.gone()

    def _put(self, event: dict) -> None:
        while not self._stopped.is_set():
            try:
                return self._events.put(event, timeout=0.5)
            except queue.Full:
                continue
        return None

    def _read_raw(self) -> None:
        number, rest = -1, b""
        while chunk := _read(self._raw_pipe):
            rest += chunk
            while mark := _MARK.search(rest):
                self._keep(number, rest[: mark.start()])
                number, rest = int(mark[1]), rest[mark.end() :]
            cut = rest.rfind(b"\0", max(0, len(rest) - 16))  # a mark may be cut in two
            cut = len(rest) if cut < 0 else cut
            self._keep(number, rest[:cut])
            rest = rest[cut:]
        self._keep(number, rest)

    def _keep(self, number: int, text: bytes) -> None:
        if number in self._raw or len(self._raw) < 10_000:
            kept = self._raw.setdefault(number, bytearray())
            kept += text[: TEXT_LIMIT - len(kept)]


def _read(pipe: Any) -> bytes:
    try:
        return pipe.read(1 << 16)
    except (OSError, ValueError):
        return b""


def in_words(code: int) -> str:
    """Why a process is gone. code: its exit code, negative or above 128 for a signal."""
    import signal

    number = -code if code < 0 else code - 128
    if number > 0 and number in {s.value for s in signal.Signals}:
        name = signal.Signals(number).name
        what = {"SIGSEGV": "a crash below Python", "SIGKILL": "killed, often for lack of memory"}.get(name)
        return f"the process was ended by signal {name}" + (f" ({what})" if what else "")
    return f"the process ended itself with exit code {code}"
