"""Values cross the socket unchanged, and nothing else comes of whatever bytes arrive."""

import contextlib
import math
import socket
import struct
import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit import checks
from coursekit.checks.values import DTYPES, Foreign, from_student
from coursekit.grading.inside import wire

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
shapes = st.lists(st.integers(0, 4), max_size=3)
tensors = st.builds(
    lambda dtype, shape: torch.randint(0, 2, tuple(shape)).to(dtype), st.sampled_from(sorted(DTYPES, key=str)), shapes
)
values = st.recursive(
    scalars | tensors | st.just(...),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def there_and_back(value, specs=False):
    message = wire.pack(value)
    text, rest = struct.unpack_from("!QQ", message)
    assert len(message) == wire.HEADER.size + text + rest
    body = message[wire.HEADER.size :]
    return wire.unpack(body[:text], body[text:], specs)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@settings(deadline=None, max_examples=150)
@given(values)
def test_values_arrive_as_they_were_sent(value):
    assert equal(there_and_back(value, specs=True), value)


@pytest.mark.parametrize(
    "view",
    [
        torch.rand(1, 10)[:, 3], torch.rand(3, 4)[:1, ::2], torch.eye(1).diagonal(), torch.tensor(1.0).expand(1, 1),
        torch.tensor(1.0).expand(3), torch.rand(3, 4).T, torch.rand(4)[2:], torch.rand(4)[3], torch.rand(4, 0)[:, :0],
        torch.rand(2, dtype=torch.cfloat).conj(), torch.rand(2, dtype=torch.cfloat).conj().imag[:1],
    ],
)  # fmt: skip
def test_views_arrive_as_what_they_show(view):
    assert equal(there_and_back(view), view)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_of_other_layouts_are_named():
    for value in (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), torch.eye(2).to_sparse()):
        assert isinstance(there_and_back(from_student(value)), Foreign)


def test_numbers_that_json_has_not():
    got = there_and_back([math.inf, -math.inf, math.nan])
    assert got[:2] == [math.inf, -math.inf]
    assert math.isnan(got[2])
    assert there_and_back("a lone \ud800 surrogate") == "a lone \ud800 surrogate"
    assert isinstance(there_and_back(10**5000), Foreign)  # Python refuses to read a number of so many digits


def test_descriptions_of_models_arrive_only_where_they_are_allowed():
    spec = checks.network(("linear", torch.eye(2), None), ("relu",))
    got = there_and_back(spec, specs=True)
    assert torch.equal(got.build()(torch.ones(1, 2)), torch.ones(1, 2))
    with pytest.raises(wire.Garbled):
        there_and_back(spec)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_a_value_or_garbled(text, tensors):
    with contextlib.suppress(wire.Garbled):
        wire.unpack(text, tensors)


@pytest.mark.parametrize(
    ("text", "tensors"),
    [
        ('["tensor", "float32", [2]]', b"1234"),  # too few bytes
        ('["tensor", "float32", [-1]]', b""),
        ('["tensor", "float32", [0, 1099511627776, 1099511627776]]', b""),
        ('["tensor", "float32", [true]]', b"1234"),
        ('["tensor", "object", [1]]', b"12345678"),
        ('["tensor", "float32", [1], 3]', b"1234"),
        ('["tensor", "float32", ' + "[1," * 40 + "1" + "]" * 40 + "]", b"1234"),
        ("[" * 100_000, b""),
        ('["list", ' * 200 + "1" + "]" * 200, b""),
        ('["dict", [["list"], 1]]', b""),
        ('["dict", [7, 1]]', b""),  # a student's answer has keys of text only
        ('["dict", 5]', b""),
        ('["foreign"]', b""),
        ('{"a": 1}', b""),
        ('["spec", "ModelSpec", {}]', b""),
        ("[]", b""),
        ('["list", [[]]]', b""),
        ("1" * 5000, b""),
    ],
)
def test_what_is_no_value_is_garbled(text, tensors):
    with pytest.raises(wire.Garbled):
        wire.unpack(text.encode(), tensors)


def test_the_reason_does_not_quote_the_message():
    with pytest.raises(wire.Garbled) as refused:
        wire.unpack(b'["tensor", "what a test has asked", [1]]', b"1234")
    assert "asked" not in str(refused.value)


def test_a_boolean_is_true_or_false_whatever_its_byte():
    got = wire.unpack(b'["tensor", "bool", [3]]', b"\x00\x07\xff")
    assert got.tolist() == [False, True, True]
    assert got.sum() == 2


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield wire.Line(ours), theirs


def test_an_announcement_of_too_much_is_refused_before_it_is_read(ends):
    line, other = ends
    other.sendall(wire.HEADER.pack(wire.TEXT_LIMIT + 1, 0))
    with pytest.raises(wire.Garbled, match="MB"):
        line.receive()


def test_too_much_is_not_sent(ends):
    line, _ = ends
    with pytest.raises(wire.Garbled, match="MB"):
        line.send(torch.zeros(wire.TENSORS_LIMIT + 1, dtype=torch.uint8))


def test_an_end_is_told_from_a_delay(ends):
    line, other = ends
    with pytest.raises(wire.Late):
        line.receive(time.monotonic() + 0.05)
    other.sendall(b"half of a hea")
    other.close()
    with pytest.raises(wire.Gone):
        line.receive(time.monotonic() + 5)


def test_dripping_bytes_do_not_put_the_deadline_off(ends):
    line, other = ends
    stop = threading.Event()

    def drip():
        while not stop.wait(0.02):
            other.sendall(b"\0")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(wire.Late):
            line.receive(time.monotonic() + 0.2)
    finally:
        stop.set()
        thread.join()


def test_only_values_are_sent(ends):
    line, _ = ends
    with pytest.raises(TypeError, match="function"):
        line.send(lambda x: x)
