"""What a process that runs cells says: events on one descriptor, what is printed below Python on another.

Both are read by threads, which works on every system and never blocks the process for long. Everything that arrives
was written by a process that runs students' code: it is bounded, and what cannot be read is left out.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import select
import sys
import threading
import time
from typing import IO, Any

from coursekit.grading.limits import RICH_LIMIT, TEXT_LIMIT

LINE_LIMIT = 2 * RICH_LIMIT + (1 << 20)  # bytes
EVENTS_LIMIT = 64 * 1024**2  # bytes of events that wait to be looked at
RAW_LIMIT = 4 * 1024**2  # bytes kept of what is printed below Python, over all cells

_MARK = re.compile(rb"\0cell (\d{1,6})\0")


class Pipes:
    """The reading ends of both descriptors. `gone` is put among the events when the first one ends."""

    def __init__(self, events: IO[bytes], raw: IO[bytes]) -> None:
        self._events_pipe, self._raw_pipe = events, raw
        self._events: queue.Queue[tuple[dict, int]] = queue.Queue(maxsize=1000)
        self._waiting = 0  # bytes of the events in the queue
        self._raw: dict[int, bytearray] = {}
        self._raw_left = RAW_LIMIT
        self._reading = threading.Lock()
        self._at_end = threading.Event()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read_events, self._read_raw)]
        for thread in self._threads:
            thread.start()

    def next_event(self, timeout: float) -> dict | None:
        """The next event; None if there is none in so many seconds."""
        try:
            event, size = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        self._waiting -= size
        return event

    def gone(self, patience: float = 5.0) -> None:
        """Put the end among the events, after all that was said before. patience: seconds for somebody who has been
        started meanwhile, and goes on talking."""
        until = time.monotonic() + patience
        while time.monotonic() < until and not self._stopped.is_set():
            if self._at_end.is_set():
                return  # and said so itself
            with self._reading:
                if not self._events_pipe.closed and not select.select([self._events_pipe], [], [], 0)[0]:
                    break
            time.sleep(0.005)
        self._put({"event": "gone"}, 0)

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
        while True:
            _await(self._events_pipe)
            with self._reading:
                chunk = _read(self._events_pipe)
                if not chunk:
                    self._at_end.set()
                    break
                if len(rest) + len(chunk) > LINE_LIMIT:  # no line of ours is that long
                    rest = b""
                    continue
                *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else [rest + chunk]
                for line in lines:
                    self._take(line)
        self._put({"event": "gone"}, 0)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return  # not ours: something wrote to our descriptor
        if isinstance(event, dict):
            self._put(event, len(line))

    def _put(self, event: dict, size: int) -> None:
        while not self._stopped.is_set():
            if self._waiting + size > EVENTS_LIMIT and not self._events.empty():
                time.sleep(0.01)  # whoever talks has to wait
                continue
            try:
                self._events.put((event, size), timeout=0.5)
            except queue.Full:
                continue
            self._waiting += size
            return

    def _read_raw(self) -> None:
        number, rest = -1, b""
        while chunk := _read(self._raw_pipe):
            rest += chunk
            start = 0
            for mark in _MARK.finditer(rest):
                self._keep(number, rest[start : mark.start()])
                number, start = int(mark[1]), mark.end()
            cut = rest.rfind(b"\0", max(start, len(rest) - 16))  # a mark may be cut in two
            cut = len(rest) if cut < 0 else cut
            self._keep(number, rest[start:cut])
            rest = rest[cut:]
        self._keep(number, rest)

    def _keep(self, number: int, text: bytes) -> None:
        kept = self._raw.get(number, bytearray())
        text = text[: min(TEXT_LIMIT - len(kept), self._raw_left)]
        if text:
            self._raw_left -= len(text)
            kept += text
            self._raw[number] = kept


def _await(pipe: Any) -> None:
    """Wait until there is something to read, where the system can tell for a pipe."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            select.select([pipe], [], [])


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
