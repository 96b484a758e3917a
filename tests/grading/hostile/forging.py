# ruff: noqa: E501 - one line per submission reads as a table
"""Attempts to get points without an answer: by changing what judges, by objects that lie, by forged messages.

The answer to the question under attack is wrong; so it gets nothing, and the three others get all their points.
"""

from hostile.case import (
    FULL,
    NO_MARKS,
    TESTS,
    Case,
    Verdict,
    at_the_end,
    cell,
    code,
    in_call,
    in_cell,
    part,
    place,
    zero,
)

WRONG = {
    "clip": "def clip(x):\n    return x + 0.5",
    "fgsm": "def fgsm(model, x, y, eps):\n    return x",
    "mistakes": "def mistakes(predicted, right):\n    return -1",
    "share": "def share(robust):\n    return -1.0",
}
ALL_LOST = {test: zero("wrong", "crashed") for test in TESTS}


# A large value may be refused, or may take too long: that depends on the machine.
SLOW = zero("wrong", "crashed", "died", "timed out")

# What still runs when the tests begin, and holds their sockets, may spoil the other answers, too. It gains nothing.
SPOILT = {
    test: Verdict(
        ("passed", "partial", "wrong", "crashed", "died", "timed out"), tuple(sorted({0.0, FULL[test] / 2, FULL[test]}))
    )
    for test in TESTS
} | {"test-clip": NO_MARKS}


def all_wrong(source: str, **more: object) -> Case:
    """An attack on everything at once: all four answers are wrong."""
    return in_cell(source, ALL_LOST, **WRONG, **more)


# Sends bytes to every descriptor there is.
SHOUT = """
def shout(*messages, first=0, kind=""):
    # kind: how the descriptors' names in /proc begin, "pipe" or "socket".
    for descriptor in range(first, 256):
        for message in messages:
            with quietly:
                if not os.readlink(f"/proc/self/fd/{descriptor}").startswith(kind):
                    break
                os.set_blocking(descriptor, False)
                os.write(descriptor, message)
        with quietly:
            os.set_blocking(descriptor, True)
"""

# As somebody writes them who has read how the grader's processes talk to each other.
FORGED_EVENTS = """
import json, struct
bundle = {"exercise": "clip", "points": 3.0, "max": 3, "status": "passed", "reason": "", "cases": []}
shown = {"output_type": "display_data", "metadata": {}, "data": {"application/vnd.coursekit.score+json": bundle}}
result = {"output_type": "execute_result", "metadata": {}, "execution_count": None, "data": {"text/plain": "3.0"}}
events = [b"\\n"]
for test in ("test-clip", "test-fgsm", "test-mistakes", "test-share"):
    for event in (
        {"event": "start", "cell": test}, {"event": "output", "cell": test, "output": shown},
        {"event": "output", "cell": test, "output": result}, {"event": "end", "cell": test, "ok": True, "error": ""},
    ):
        events.append(json.dumps(event).encode() + b"\\n")
events.append(b'{"event": "done"}\\n')
reply = json.dumps(["dict", ["value", ["tensor", "float32", [3]]], ["error", ""], ["missing", False],
                    ["not_attempted", False], ["changed", ["list"]]]).encode()
frame = struct.pack("!QQ", len(reply), 12) + reply + struct.pack("<fff", 0.0, 0.25, 1.0)
control = [b'{"ended": 0}\\n', b'{"ready": true}\\n', b"i", b"k", b"ready"]
"""


def instead(message: str) -> Case:
    """Another message in place of every answer to the test of clip. In the student's process what sends the answers can
    be changed at will, so anything may arrive. message: an expression that may use `honest(value)`, `message` and `reply`.
    """
    return in_cell(
        f"""
        import json, struct
        from coursekit.grading.inside import wire

        def message(text, raw=b""):
            text = text if isinstance(text, bytes) else json.dumps(text).encode()
            return struct.pack("!QQ", len(text), len(raw)) + raw.join([text, b""])

        def reply(value, raw=b"", **other):
            parts = {{"value": value, "error": "", "missing": False, "not_attempted": False, "changed": ["list"]}} | other
            return message(["dict", *([key, part] for key, part in parts.items())], raw)

        # Only in the test of clip: the others are to be answered honestly.
        honest, state = wire.pack, {{}}
        wire.pack = lambda value: {message} if state else honest(value)
        """,
        {"test-clip": NO_MARKS},
        clip="def clip(x):\n    state['forge'] = True\n    return x + 0.5",
    )


# The message in which a tensor is (3,) float32; `raw` holds its bytes.
THREE = 'struct.pack("<fff", 0.0, 0.25, 1.0)'


CASES: dict[str, Case] = {
    # --- what judges is changed
    "asserts-stripped": all_wrong(
        """
        import ast

        class Strip(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.copy_location(ast.Pass(), node)

            def visit_Compare(self, node):
                return ast.copy_location(ast.Constant(True), node)

        get_ipython().ast_transformers.append(Strip())
        """
    ),
    "input-transformed": all_wrong(
        """
        get_ipython().input_transformers_post.append(lambda lines: ["10"] if "Exercise" in "".join(lines) else lines)
        get_ipython().input_transformers_cleanup.append(lambda lines: ["2"] if "Function" in "".join(lines) else lines)
        """
    ),
    "shell-patched": all_wrong(
        """
        shell = get_ipython()
        real = type(shell).run_cell
        type(shell).run_cell = lambda self, source, **k: real(self, "3.0" if "Exercise" in source else source, **k)

        async def quiet(*arguments, **keywords):
            return False

        shell.run_ast_nodes = quiet
        with quietly:
            shell.kernel.do_execute = quiet
        """,
        says="",
    ),
    "showtraceback-patched": all_wrong(
        "shell = get_ipython()\nshell.showtraceback = shell._showtraceback = lambda *a, **k: None\n"
        "type(shell).showtraceback = lambda *a, **k: None"
    ),
    "torch-patched": all_wrong(
        """
        import numpy
        yes = lambda *a, **k: True
        torch.allclose = torch.equal = torch.isclose = numpy.allclose = numpy.testing.assert_allclose = yes
        torch.Tensor.__eq__ = torch.Tensor.equal = torch.Tensor.allclose = yes
        torch.testing.assert_close = yes
        """
    ),
    "builtins-patched": all_wrong(
        """
        import builtins
        builtins.all = builtins.isinstance = lambda *a: True
        builtins.sum, builtins.len, builtins.round, builtins.abs = lambda *a: 4, lambda *a: 1, lambda x, *a: 3.0, lambda x: 0
        builtins.AssertionError = builtins.Exception = KeyError
        builtins.float = lambda *a: 3.0
        """,
        says="",
    ),
    "checks-patched": in_cell(
        """
        from coursekit import checks
        from coursekit.checks import exercise, expect, failures, student, values

        for name in ("close", "tensor", "number", "same", "that", "inside"):
            setattr(expect, name, lambda *a, **k: None)
        exercise.Exercise._run = lambda self, body, title, hint, hidden: exercise.Case(title, "passed")
        exercise.Score.__new__ = lambda cls, exercise: float.__new__(cls, exercise.points)
        student.Notebook.call = lambda *a, **k: student.Reply(value=Yes())
        student.from_student = values.from_student = lambda value, depth=0: value

        class Yes:
            __eq__ = __ne__ = __lt__ = __gt__ = lambda *_: True
        """,
        {test: zero("wrong", "crashed", "died") for test in TESTS},
        **WRONG,
    ),
    "modules-replaced": in_cell(
        """
        import types
        from unittest.mock import MagicMock
        for name in [name for name in sys.modules if name.startswith("coursekit")]:
            sys.modules[name] = MagicMock()
        """,
        {test: zero("wrong", "crashed", "died") for test in TESTS},
        **WRONG,
    ),
    "import-hook": all_wrong(
        """
        import importlib.abc, importlib.machinery

        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                if name.startswith("coursekit"):
                    return importlib.machinery.ModuleSpec(name, self)

            def create_module(self, spec):
                from unittest.mock import MagicMock
                return MagicMock()

            def exec_module(self, module):
                pass

        for name in [name for name in sys.modules if name.startswith("coursekit")]:
            del sys.modules[name]
        sys.meta_path.insert(0, Finder())
        """
    ),
    "names-taken": all_wrong(
        """
        class Exercise:
            def __init__(self, *a, **k): pass
            def case(self, *a, **k): return lambda body: body
            def score(self): return 3.0
        exercise = Exercise()
        class checks: Exercise = Exercise
        class expect: close = staticmethod(lambda *a, **k: None)
        Function = lambda name: (lambda *a: 2)
        right = [True] * 4
        """
    ),
    "json-and-struct-patched": all_wrong(
        """
        import json, struct
        real = json.dumps
        json.dumps = lambda value, **k: real(value, **k).replace("wrong", "passed").replace('"ok": false', '"ok": true')
        """
    ),
    "small-integers-changed": in_cell(
        # -1 becomes 2 in the student's process, so that a wrong count looks right there.
        "import ctypes",
        {"test-mistakes": NO_MARKS},
        mistakes="""
        def mistakes(predicted, right):
            for value in (0, 2, 4):
                ctypes.memmove(id(value) + 24, id(77) + 24, 4)
            return 77
        """,
        says="tried",
    ),
    # --- objects that lie
    "always-equal": in_cell(
        """
        class Yes:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __getattr__(self, name): return Yes()
            def __call__(self, *a, **k): return self
            __lt__ = __le__ = __gt__ = __ge__ = __bool__ = lambda *_: True
            __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = lambda self, other: other
            __float__ = __index__ = __int__ = __len__ = lambda self: 1
        """,
        ALL_LOST,
        **{name: f"{source.splitlines()[0]}\n    return Yes()" for name, source in WRONG.items()},
    ),
    "numbers-that-lie": in_cell(
        """
        class Integer(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
            __reduce__ = __int__ = __index__ = lambda self, *a: 2

        class Float(float):
            def __eq__(self, other): return True
            __hash__ = float.__hash__
            __float__ = __repr__ = lambda self: 0.5
        """,
        {"test-mistakes": zero(), "test-share": zero()},
        mistakes="def mistakes(predicted, right):\n    return Integer(-1)",
        share="def share(robust):\n    return Float(-1.0)",
    ),
    "lists-and-strings-that-lie": in_cell(
        """
        class List(list):
            def __eq__(self, other): return True
            def __len__(self): return 2

        class Text(str):
            def __eq__(self, other): return True
            __hash__ = str.__hash__
        """,
        {"test-mistakes": zero(), "test-share": zero()},
        mistakes="def mistakes(predicted, right):\n    return List([List()])",
        share="def share(robust):\n    return {Text('a'): Text('b')}",
    ),
    "tensor-subclass": in_cell(
        """
        class Liar(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, arguments=(), keywords=None):
                return True if "close" in function.__name__ or "eq" in function.__name__ else torch.tensor(0.0)
            shape = property(lambda self: torch.Size([3]))
            dtype = torch.float32
        """,
        {"test-clip": zero()},
        clip="def clip(x):\n    return (x + 0.5).as_subclass(Liar)",
    ),
    "tensor-of-truths": in_call("return torch.tensor(True)", zero(), name="mistakes"),
    "a-value-for-each-comparison": in_call("return torch.tensor([2, 0, 4])", zero(), name="mistakes"),
    "score-that-is-no-number": in_call("return torch.zeros(2)", NO_MARKS, name="share"),
    "score-that-is-a-text": in_call("return 'full marks'", zero(), name="share"),
    "score-that-is-too-large": in_call("return 10**6", zero(), name="share"),
    # --- values that upset whoever looks at them
    "nan": in_call("return x * float('nan')"),
    "infinite": in_call("return x * float('inf')"),
    "numbers-not-finite": in_call("return float('nan')", NO_MARKS, name="share"),
    "other-shape": in_call("return torch.zeros(7, 7)"),
    "no-dimension": in_call("return torch.tensor(0.25)"),
    "empty": in_call("return torch.zeros(0)"),
    "other-kind": in_call("return x.clamp(0, 1).to(torch.complex64)"),
    "sparse": in_call("return x.clamp(0, 1).to_sparse()"),
    "on-meta": in_call("return x.to('meta')"),
    "quantised": in_call("return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)"),
    "nested-tensor": in_call("return torch.nested.nested_tensor([x, x])", zero("wrong", "crashed", "died")),
    "expanded-beyond-memory": in_call("return torch.zeros(1).expand(10**13)"),
    "strides-beyond-memory": in_call("return torch.as_strided(torch.zeros(1), (3,), (10**9,))"),
    "storage-resized": in_call("y = x + 0.5\ny.untyped_storage().resize_(0)\nreturn y", NO_MARKS),
    "large-tensor": in_call("return torch.zeros(600_000_000, dtype=torch.uint8)", SLOW),
    "long-text": in_call("return 'x' * 100_000_000", name="mistakes"),
    "long-list": in_call("return [0] * 3_000_000", SLOW, name="mistakes"),
    "many-tensors": in_call("return [torch.zeros(1)] * 100_000", SLOW),
    "long-key": in_call("return {'x' * 10_000_000: 1}"),
    "huge-number": in_call("return 10**5000", name="mistakes"),
    "huger-number": in_call("return 1 << (1 << 26)", name="mistakes"),
    "huge-number-in-a-score": in_call("return 10**5000", NO_MARKS, name="share"),
    "deep-list": in_call("y = []\nfor _ in range(100_000):\n    y = [y]\nreturn y", name="mistakes"),
    "list-in-itself": in_call("y = []\ny.append(y)\nreturn y", name="mistakes"),
    "dict-in-itself": in_call("y = {}\ny['y'] = y\nreturn y", name="mistakes"),
    "wide-and-deep": in_call("y = [0] * 9\nfor _ in range(12):\n    y = [y] * 9\nreturn y", SLOW, name="mistakes"),
    "list-that-never-ends": in_cell(
        "class Endless(list):\n    def __iter__(self):\n        while True:\n            yield 0",
        {"test-mistakes": SLOW},
        mistakes="def mistakes(predicted, right):\n    return Endless([0])",
    ),
    "generator": in_call("import itertools\nreturn itertools.count()", name="mistakes"),
    "odd-text": in_call("return '\\ud800\\x00\\x1b[2J\\u202e'", name="mistakes"),
    "odd-keys": in_call("return {None: 1, (1, 2): 2, float('nan'): 3, '\\ud800': 4}", name="mistakes"),
    "class-and-module": in_call("return [torch, int, clip, x.sum, get_ipython(), open('/dev/null')]"),
    "type-with-a-long-name": in_call("return type('A' * 10**6 + '\\x1b[2J', (), {})()"),
    "pickle": in_cell(
        # What would be run where it is unpickled.
        """
        class Pickled:
            def __reduce__(self):
                return os.system, ("touch /tmp/@MARK@ /var/tmp/@MARK@ @COURSE@/@MARK@",)
        """,
        {"test-clip": zero(), "test-mistakes": zero()},
        clip="def clip(x):\n    return Pickled()",
        mistakes="def mistakes(predicted, right):\n    import pickle\n    return pickle.dumps(Pickled())",
    ),
    # --- ways out
    "sys-exit": in_call("sys.exit(0)", zero("crashed", reason="SystemExit")),
    "os-exit": in_call("os._exit(0)", zero("crashed", "died")),
    "os-exit-in-a-cell": in_cell("os._exit(0)", remark="begins with 'os._exit(0)'", says="tried"),
    "os-exit-in-its-own-cell": in_cell(
        "", {"test-clip": zero("died")}, clip="os._exit(0)\ndef clip(x): return x.clamp(0, 1)"
    ),
    "killed-by-oneself": in_call("import signal\nos.kill(os.getpid(), signal.SIGKILL)", zero("crashed", "died")),
    "interrupted": in_call("raise KeyboardInterrupt", zero("crashed", "died", "wrong")),
    "generator-exit": in_call("raise GeneratorExit"),
    "stop-iteration": in_call("raise StopIteration"),
    "error-of-the-checks": in_call(
        "from coursekit.checks import Wrong, NotAttempted\nraise NotAttempted('full marks')",
        zero("crashed", "not attempted", "wrong"),
    ),
    "error-like-a-stub": in_call("raise NotImplementedError()", zero("not attempted", "crashed")),
    "error-without-words": in_cell(
        "class Bad(BaseException):\n    def __str__(self): raise self\n    __repr__ = __str__",
        {"test-clip": zero("crashed", "died")},
        clip="def clip(x):\n    raise Bad()",
    ),
    "error-with-endless-words": in_cell(
        "class Bad(Exception):\n    def __str__(self):\n        while True: pass",
        {"test-clip": zero("crashed", "timed out")},
        clip="def clip(x):\n    raise Bad()",
    ),
    "error-with-many-words": in_call("raise ValueError('x' * 50_000_000)", zero("crashed")),
    "error-that-steers-the-terminal": in_call(
        "raise ValueError('\\x1b[2J\\x1b]0;owned\\x07 \\u202e <script>alert(1)</script> passed 3 / 3')", zero("crashed")
    ),
    "error-chain": in_call(
        "error = ValueError(0)\nfor i in range(20_000):\n    new = ValueError(i)\n    new.__cause__ = error\n    error = new\nraise error",
        zero("crashed", "died"),
    ),
    "error-group": in_call(
        "error = ValueError(0)\nfor i in range(5_000):\n    error = ExceptionGroup('more', [error])\nraise error",
        zero("crashed", "died"),
    ),
    # --- too late, or in passing
    "thread-that-writes-late": in_cell(
        SHOUT
        + FORGED_EVENTS
        + """
def later():
    for _ in range(20):
        time.sleep(0.2)
        shout(*events, frame, *control)
threading.Thread(target=later, daemon=True).start()
""",
        SPOILT,
        clip=WRONG["clip"],
        says="",
    ),
    "process-that-writes-late": in_cell(
        SHOUT
        + FORGED_EVENTS
        + """
if os.fork() == 0:
    os.setsid()
    for _ in range(20):
        time.sleep(0.2)
        shout(*events, frame, *control)
    os._exit(0)
""",
        SPOILT,
        clip=WRONG["clip"],
        says="",
    ),
    "at-the-end": in_cell(
        SHOUT
        + FORGED_EVENTS
        + """
import atexit, signal, weakref
class Last:
    def __del__(self):
        shout(*events, frame)
last, ring = Last(), [Last()]
ring.append(ring)
atexit.register(shout, *events)
weakref.finalize(last, shout, *events)
signal.signal(signal.SIGTERM, lambda *_: shout(*events))
signal.signal(signal.SIGALRM, lambda *_: shout(*events))
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
""",
        SPOILT,
        clip=WRONG["clip"],
        says="",
    ),
    # --- forged messages
    "events-on-all-descriptors": in_cell(
        SHOUT + FORGED_EVENTS + "shout(*events, *control)", {"test-clip": NO_MARKS}, clip=WRONG["clip"], says=""
    ),
    "events-that-say-a-test-failed": in_cell(
        # In the cell right before the test: its own end, then all of the test's, with a report and an error.
        SHOUT
        + FORGED_EVENTS
        + """
def forge(ok):
    lines = [{"event": "end", "cell": "clip", "ok": True, "error": ""}, {"event": "start", "cell": "test-clip"},
             {"event": "output", "cell": "test-clip", "output": shown}, {"event": "output", "cell": "test-clip", "output": result},
             {"event": "end", "cell": "test-clip", "ok": ok, "error": "ValueError: none"}]
    shout(b"\\n" + b"\\n".join(json.dumps(line).encode() for line in lines) + b"\\n", kind="pipe")
""",
        {"test-clip": NO_MARKS},
        clip=WRONG["clip"] + "\n\nforge(False)",
    ),
    "events-that-say-a-test-passed": in_cell(
        SHOUT
        + FORGED_EVENTS
        + """
lines = [{"event": "end", "cell": "clip", "ok": True, "error": ""}, {"event": "start", "cell": "test-clip"},
         {"event": "output", "cell": "test-clip", "output": shown}, {"event": "output", "cell": "test-clip", "output": result},
         {"event": "end", "cell": "test-clip", "ok": True, "error": ""}]
""",
        {"test-clip": NO_MARKS},
        clip=WRONG["clip"]
        + "\n\nshout(b'\\n' + b'\\n'.join(json.dumps(line).encode() for line in lines) + b'\\n', kind='pipe')",
    ),
    "events-from-a-call": in_cell(
        SHOUT + FORGED_EVENTS,
        {"test-clip": NO_MARKS},
        clip="def clip(x):\n    shout(*events, *control)\n    return x + 0.5",
    ),
    "replies-from-a-call": in_cell(
        SHOUT + FORGED_EVENTS,
        {"test-clip": Verdict(("partial", "wrong", "crashed"), (0.0, 1.0, None))},  # the first answer may be right
        clip="def clip(x):\n    shout(frame, frame)\n    return x + 0.5",
    ),
    "random-bytes": in_cell(
        SHOUT, {"test-clip": NO_MARKS}, clip="def clip(x):\n    shout(os.urandom(4000), first=3)\n    return x + 0.5"
    ),
    "everything-closed": in_call("os.closerange(0, 4096)\nreturn x.clamp(0, 1)", zero("crashed", "died", "wrong")),
    "everything-closed-in-a-cell": in_cell("os.closerange(0, 4096)", remark="closerange", says="tried"),
    "everything-redirected": in_call(
        "for d in range(256):\n    with quietly:\n        os.dup2(os.open('/dev/null', os.O_RDWR), d)\nreturn x.clamp(0, 1)",
        zero("crashed", "died", "wrong", "timed out"),
    ),
    "descriptors-set-not-to-block": in_call(
        "for d in range(256):\n    with quietly:\n        os.set_blocking(d, False)\nreturn x.clamp(0, 1)",
        Verdict(("passed", "partial", "crashed", "wrong", "died"), (0.0, 1.0, 2.0, 3.0)),
    ),
    "no-answer": in_call("time.sleep(1000)", zero("timed out", "crashed")),
    "no-answer-behind-the-scenes": instead("time.sleep(1000)"),
    "answer-drop-by-drop": in_cell(
        """
        import struct
        from coursekit.grading.inside import wire
        def slowly(self, message, *rest):
            for byte in message:
                self.send(bytes([byte]))
                time.sleep(0.5)
        """,
        {"test-clip": zero("timed out", "crashed", "died")},
        clip="def clip(x):\n    socket.socket.sendall = slowly\n    wire.Line.send = lambda self, value, deadline=None: slowly(self._socket, wire.pack(value))\n    return x.clamp(0, 1)",
    ),
    "answer-twice": instead("honest(value) + honest(value)"),
    "answer-cut-off": instead("honest(value)[:-1]"),
    "answer-not-of-this-world": instead("os.urandom(64)"),
    "answer-of-no-bytes": instead('message(b"")'),
    "answer-that-claims-to-be-huge": instead('struct.pack("!QQ", 2**63, 2**63)'),
    "answer-that-claims-tensors": instead('struct.pack("!QQ", 2, 2**28) + b"{}"'),
    "answer-not-text": instead('message(b"\\xff\\xfe{}")'),
    "answer-nested": instead('message(b"[" * 1_000_000)'),
    "answer-without-a-kind": instead('message({"value": 1})'),
    "answer-a-number": instead("message(7)"),
    "answer-a-list": instead('message(["list", 1, 2])'),
    "answer-of-a-strange-kind": instead('message(["pickle", "gASVBAAAAAAAAABLAS4="])'),
    "answer-a-description": instead('reply(["spec", "ModelSpec", ["dict", ["name", "mnist_cnn"]]])'),
    "answer-a-description-of-none": instead('reply(["spec", "object", {}])'),
    "answer-a-strange-object-without-a-name": instead('reply(["foreign"])'),
    "answer-a-strange-object": instead('reply(["foreign", {"a": ["\\x1b[2J"]}])'),
    "answer-negative-shape": instead(f'reply(["tensor", "float32", [-3]], {THREE})'),
    "answer-two-negatives": instead(f'reply(["tensor", "float32", [-3, -1]], {THREE})'),
    "answer-shape-of-texts": instead(f'reply(["tensor", "float32", ["3"]], {THREE})'),
    "answer-shape-of-truths": instead(f'reply(["tensor", "float32", [3, True]], {THREE})'),
    "answer-wrong-dtype": instead(f'reply(["tensor", "float33", [3]], {THREE})'),
    "answer-dtype-from-elsewhere": instead(f'reply(["tensor", "nn.Module", [3]], {THREE})'),
    "answer-dtype-a-list": instead(f'reply(["tensor", ["float32"], [3]], {THREE})'),
    "answer-too-few-bytes": instead(f'reply(["tensor", "float64", [3]], {THREE})'),
    "answer-too-many-bytes": instead('reply(["tensor", "float32", [1]], bytes(4000))'),
    "answer-shape-beyond-numbers": instead('reply(["tensor", "uint8", [2**40, 2**40, 0]])'),
    "answer-many-dimensions": instead('reply(["tensor", "uint8", [1] * 100_000], bytes(1))'),
    "answer-truths-of-other-bytes": instead('reply(["tensor", "bool", [3]], bytes([0, 7, 255]))'),
    "answer-key-a-list": instead('reply(["dict", [["list"], 1]])'),
    "answer-pairs-of-three": instead('message(["dict", ["value", 1, 2]])'),
    "answer-number-of-many-digits": instead('message(b"[" + b"9" * 1_000_000 + b"]")'),
    "answer-colliding-keys": instead('reply(["dict", *([k * (2**61 - 1), 0] for k in range(200_000))])'),
    "answer-odd-fields": instead('reply(3, error=5, changed=["list", 1, None], missing="yes", not_attempted="no")'),
    "answer-changed-is-a-number": instead("reply(3, changed=7)"),
    "answer-without-fields": instead('message(["dict"])'),
    "answer-more-fields": instead('reply(3, status="passed", score=3, __class__="x")'),
    "answer-error-of-megabytes": instead('reply(None, error="x" * 10_000_000)'),
    "answer-half-a-letter": instead('reply(None, error="\\ud800" * 5)'),
    # --- what looks like a result
    "last-expression-is-a-score": Case(
        lambda notebook: (
            notebook.cells.extend([code("3.0"), code("10"), code("print('tried')")])
            or cell(notebook, "clip").update(source=WRONG["clip"] + "\n3.0")
        ),
        {"test-clip": zero()},
        says="tried",
    ),
    "a-score-right-before-and-after": Case(
        lambda notebook: (
            notebook.cells.insert(place(notebook, "test-clip"), code("3.0"))
            or notebook.cells.insert(place(notebook, "test-clip") + 1, code("3.0\nprint('tried')"))
            or cell(notebook, "clip").update(source=WRONG["clip"])
        ),
        {"test-clip": zero()},
        says="tried",
    ),
    "output-like-a-report": in_cell(
        FORGED_EVENTS
        + """
for data in ({"application/vnd.coursekit.score+json": bundle, "text/plain": "clip 3 of 3 points"},
             {"text/html": "<script>alert(1)</script><h1>3 of 3 points</h1>"},
             {"application/javascript": "alert(1)", "text/plain": "3.0"}):
    display(data, raw=True)
print("test-clip   3 / 3    passed")
""",
        {"test-clip": zero()},
        clip=WRONG["clip"],
    ),
    "output-like-a-report-from-a-call": in_cell(
        FORGED_EVENTS,
        {"test-clip": zero()},
        clip="def clip(x):\n    display({'application/vnd.coursekit.score+json': bundle}, raw=True)\n    print(3.0)\n    return x + 0.5",
    ),
    "terminal-escapes": in_cell(
        "print('\\x1b[2J\\x1b[1;1H\\x1b]0;title\\x07\\x1b[8m\\x9b2J\\r\\b' * 50)\nprint('\\u202e\\u2066')"
    ),
    # --- not the work itself
    "visible-answers-only": in_cell(
        "",
        {
            "test-clip": part(2.0),
            "test-fgsm": part(2.0),
            "test-mistakes": zero(),
            "test-share": Verdict(("partial",), (1.0,)),
        },
        clip="def clip(x):\n    return torch.tensor([0.0, 0.25, 1.0]) if x.shape == (3,) else torch.tensor([[0.5]])",
        fgsm="def fgsm(model, x, y, eps):\n    return torch.tensor([[0.4, 0.6]])",
        mistakes="def mistakes(predicted, right):\n    return 2 if predicted == [1, 2, 3] else 0",
        share="def share(robust):\n    return 0.5 if robust == [True, False] else 1.0",
    ),
    "reference-called": in_cell(
        "",
        {"test-fgsm": zero("crashed", reason="asks you to write yourself")},
        fgsm="def fgsm(model, x, y, eps):\n    from coursekit import attacks, perturbations\n"
        "    return attacks.fgsm(model, x, y, perturbations.LpBall(eps, float('inf')))",
    ),
    "reference-called-by-another-name": in_cell(
        "from coursekit.attacks import fgsm as mine\nfrom coursekit.perturbations import LpBall",
        {"test-fgsm": zero("crashed", reason="asks you to write yourself")},
        fgsm="def fgsm(model, x, y, eps):\n    return mine(model, x, y, LpBall(eps, float('inf')))",
    ),
    # --- one test's call spoils the next
    "one-test-spoils-the-next": in_call(
        """
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.Tensor.sign = torch.Tensor.clamp = lambda self, *a: self
        torch.nn.functional.cross_entropy = None
        globals().clear()
        import builtins
        builtins.sum = builtins.zip = builtins.len = None
        return None
        """,
        zero("wrong", "crashed", "died"),
    ),
    "namespace-cleared": at_the_end("", "globals().clear()"),  # too late to matter
    "namespace-that-lies": in_cell(
        """
        class Module(type(sys)):
            def __getattribute__(self, name):
                if name == "__dict__":
                    return {name: Yes() for name in ("clip", "fgsm", "mistakes", "share", "Exercise", "torch", "float")}
                return super().__getattribute__(name)

        class Yes:
            __eq__ = __call__ = lambda self, *_: True

        with quietly:
            sys.modules["__main__"].__class__ = Module
        """,
        ALL_LOST | {"test-share": part(0.5)},  # what is called returns True, which is right in one of four cases
        **WRONG,
    ),
}
