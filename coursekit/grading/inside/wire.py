"""Values over a socket, between an examiner and a student's process. Nothing is ever unpickled.

A message is a header of two lengths, a text in JSON, and the raw bytes of the tensors one after the other. What comes
from a student's process is looked at for kind and size before anything is made of it; whatever is wrong with it raises
`Garbled`, and an end of the line `Gone`.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from dataclasses import fields
from typing import Any

import torch

from coursekit.checks import ClassifierSpec, DefendedSpec, DetectorSpec, ModelSpec, ViewsSpec
from coursekit.checks.values import DTYPES, Foreign

HEADER = struct.Struct("!QQ")
TEXT_LIMIT = 16 * 1024**2  # bytes
TENSORS_LIMIT = 256 * 1024**2  # bytes of all tensors of one message together
DEPTH_LIMIT = 40
DIMENSIONS_LIMIT = 32
INTEGER_LIMIT = 10_000  # bits; Python does not read a number of more than 4,300 digits

_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
_SPECS = {kind.__name__: kind for kind in (ModelSpec, ViewsSpec, ClassifierSpec, DefendedSpec, DetectorSpec)}


class Gone(Exception):
    """The other end is closed."""


class Late(Exception):
    """Nothing, or not all of it, came in time."""


class Garbled(Exception):
    """What came is no message of ours, or a larger one than is allowed."""


class Line:
    """One end of a connected stream socket, for whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, value: Any, deadline: float | None = None) -> None:
        """Send a value. Raises Garbled if it is too large, TypeError if it is no value; Gone, Late."""
        message = pack(value)
        try:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(message)
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Gone from None

    def receive(self, deadline: float | None = None, specs: bool = False) -> Any:
        """The next value. deadline: by time.monotonic(). specs: descriptions of models are allowed in it, which are
        built where they arrive: only from an examiner. Raises Gone, Late, Garbled."""
        text_length, tensors_length = HEADER.unpack(self._read(HEADER.size, deadline))
        if text_length > TEXT_LIMIT or tensors_length > TENSORS_LIMIT:
            raise Garbled(f"a message of {(text_length + tensors_length) / 1e6:,.0f} MB")
        text = self._read(text_length, deadline)
        return unpack(text, self._read(tensors_length, deadline), specs)

    def _read(self, count: int, deadline: float | None) -> bytearray:
        data = bytearray(count)
        view, done = memoryview(data), 0
        while done < count:
            try:
                self._socket.settimeout(_left(deadline))
                received = self._socket.recv_into(view[done:])
            except TimeoutError:
                raise Late from None
            except OSError:
                raise Gone from None
            if not received:
                raise Gone
            done += received
        return data

    def close(self) -> None:
        self._socket.close()


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    return left


def pack(value: Any) -> bytes:
    """The bytes of a message. Raises Garbled if it is too large, TypeError if it is no value."""
    tensors: list[bytes] = []
    text = json.dumps(_plain(value, tensors)).encode()
    length = sum(map(len, tensors))
    if len(text) > TEXT_LIMIT or length > TENSORS_LIMIT:
        raise Garbled(f"a message of {(len(text) + length) / 1e6:,.0f} MB")
    return b"".join([HEADER.pack(len(text), length), text, *tensors])


def unpack(text: bytes | bytearray, tensors: bytes | bytearray, specs: bool = False) -> Any:
    """The value of a message. Raises Garbled."""
    try:
        return _Reader(memoryview(tensors), specs).value(json.loads(text))
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError, RuntimeError, MemoryError) as error:
        # Not in the error's own words, which may quote the message: it can hold what a test has asked.
        raise Garbled(type(error).__name__) from None


def _plain(value: Any, tensors: list[bytes]) -> Any:
    """A value as JSON has it: scalars as they are, all else as a list that begins with its kind."""
    if isinstance(value, int) and value.bit_length() > INTEGER_LIMIT:
        return ["foreign", f"a whole number of {value.bit_length()} bits"]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if value is Ellipsis:
        return ["ellipsis"]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        row = value.as_strided((value.numel(),), (1,))  # a single element keeps the strides of what it was cut from
        tensors.append(row.view(torch.uint8).numpy().tobytes())
        return ["tensor", str(value.dtype).removeprefix("torch."), list(value.shape)]
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, *(_plain(item, tensors) for item in value)]
    if isinstance(value, dict):
        return ["dict", *([_plain(key, tensors), _plain(item, tensors)] for key, item in value.items())]
    if isinstance(value, Foreign):
        return ["foreign", value.kind]
    if type(value) in _SPECS.values():
        settings = {field.name: _plain(getattr(value, field.name), tensors) for field in fields(value)}
        return ["spec", type(value).__name__, settings]
    raise TypeError(f"only values can be sent; got {type(value).__name__}")


class _Reader:
    """Makes values of what `_plain` made, taking the bytes of the tensors in their order."""

    def __init__(self, tensors: memoryview, specs: bool) -> None:
        self._tensors, self._specs, self._at = tensors, specs, 0

    def value(self, plain: Any, depth: int = 0) -> Any:
        if depth > DEPTH_LIMIT:
            raise ValueError("nested too deep")
        if not isinstance(plain, list):
            if isinstance(plain, dict):
                raise ValueError("no kind")
            return plain
        kind, *parts = plain
        if kind in ("list", "tuple"):
            items = [self.value(part, depth + 1) for part in parts]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            # A student's answer has keys of text only: of numbers one can choose many with the same hash.
            if not self._specs and not all(isinstance(key, str) for key, _ in parts):
                raise ValueError("no key")
            return {self.value(key, depth + 1): self.value(item, depth + 1) for key, item in parts}
        if kind == "tensor":
            return self._tensor(*parts)
        if kind == "ellipsis":
            return Ellipsis
        if kind == "foreign":
            return Foreign(str(parts[0])[:200])
        if kind == "spec" and self._specs:
            name, settings = parts
            return _SPECS[name](**{key: self.value(setting, depth + 1) for key, setting in settings.items()})
        raise ValueError("no kind")

    def _tensor(self, name: str, shape: list[int]) -> torch.Tensor:
        dtype = _DTYPES[name]
        if len(shape) > DIMENSIONS_LIMIT or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
            raise ValueError("no shape")
        length = math.prod(shape) * dtype.itemsize
        data = self._tensors[self._at : self._at + length]
        if len(data) != length or math.prod(size for size in shape if size) >= 2**40:
            raise ValueError("no tensor of this shape")
        self._at += length
        if not length:
            return torch.empty(shape, dtype=dtype)
        raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if dtype == torch.bool:  # a byte other than 0 and 1 in there would upset torch
            return (raw != 0).reshape(shape)
        return raw.view(dtype).reshape(shape)
