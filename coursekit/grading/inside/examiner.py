"""The examiner's process: runs the test cells, to which the student's functions are proxies.

A call goes by value over a socket to the student's snapshot of this test; what comes back is a value, or the reason why
there is none. Nothing else of the student's is ever here, so there is nothing to read and nothing to patch.
"""

from __future__ import annotations

import ast
import builtins
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from coursekit.checks.student import Reply, use
from coursekit.grading.inside import ENDED
from coursekit.grading.inside.cells import Events, Outputs, run_cell, start_shell
from coursekit.grading.inside.wire import Garbled, Gone, Late, Line

TEXT_LIMIT = 500  # characters of an error that the student's side reports


class Ended(BaseException):
    """There is no use in going on with this test: the student's process is late, gone, or sends no values."""


def main(job: dict, descriptors: list[int]) -> None:
    """descriptors: for events, for what is printed below Python, and one for each test in order."""
    descriptor, raw, *channels = descriptors
    os.dup2(raw, 1)
    os.dup2(raw, 2)
    events = Events(descriptor)
    outputs = Outputs(events)
    shell = start_shell(outputs, job["threads"])
    events.send("ready")
    namespace = shell.user_ns
    for statement in job["imports"]:
        outputs.start("")
        shell.run_cell(statement, silent=True)
    for cell in job["setup"]:
        error = run_cell(shell, cell, outputs, events)
        # One that uses what the student wrote cannot run here, and need not.
        events.send("end", cell=cell["id"], ok=not error or error.startswith("NameError"), error=error)
    own = set(namespace) | set(vars(builtins))
    for cell, channel in zip(job["tests"], channels, strict=True):
        examination = Examination(cell, Line(socket.socket(fileno=channel)), job["cell_limit"])
        with use(examination.student):
            examination.introduce(namespace, own | imported(cell["source"]))
            error = run_cell(shell, cell, outputs, events, job["threads"])
        for name in examination.introduced:
            namespace.pop(name, None)
        examination.student.line.close()
        fate, reason = examination.student.fate
        events.send("end", cell=cell["id"], ok=not error, error=error, fate=fate, reason=reason)
    events.send("done")


class Examination:
    """One test cell and the student it asks."""

    def __init__(self, cell: dict, line: Line, limit: float) -> None:
        self.cell, self.student = cell, Remote(line, limit)
        self.introduced: list[str] = []

    def introduce(self, namespace: dict[str, Any], own: set[str]) -> None:
        """Put proxies for the student's functions, and the values that the test names, where the test looks.

        own: names that are the course's, whatever the student has under them.
        """
        wanted = free_names(self.cell["source"])
        try:
            for name, kind in self.student.names().items():
                if name in own:
                    continue
                if kind == "function":
                    namespace[name] = proxy(self.student, name)
                elif name in wanted:
                    namespace[name] = self.student.value(name).value
                else:
                    continue
                self.introduced.append(name)
        except Ended:
            pass  # the test will find out, and its outcome says so


class Remote:
    """A student in another process: the `Student` of `coursekit.checks`.

    limit: seconds that the student's process may take for all questions together. fate: how it ended before its
    time, as an outcome and a reason; empty while it goes well.
    """

    def __init__(self, line: Line, limit: float) -> None:
        self.line, self._limit, self._left = line, limit, limit
        self.fate = ("", "")

    def names(self) -> dict[str, str]:
        """What the student's notebook defines: {name: "function" or "value"}."""
        answer = self._ask({"ask": "names"})
        found = answer.get("names")
        found = found if isinstance(found, dict) else {}
        return {name: kind for name, kind in found.items() if isinstance(name, str) and name.isidentifier()}

    def call(self, name: str, arguments: tuple, keywords: dict[str, Any], by_hand: Sequence[str] = ()) -> Reply:
        """See `coursekit.checks.student.Student`."""
        question = {"ask": "call", "name": name, "arguments": arguments, "keywords": keywords, "by_hand": by_hand}
        return _reply(self._ask(question))

    def value(self, name: str) -> Reply:
        """See `coursekit.checks.student.Student`."""
        return _reply(self._ask({"ask": "value", "name": name}))

    def _ask(self, question: dict) -> dict:
        if self.fate[0]:
            raise Ended
        started = time.monotonic()
        try:
            self._send(question, started + self._left)
            answer = self.line.receive(started + self._left)
        except Late:
            self._end("timed out", f"stopped after {self._limit:g} s without an end")
        except Gone:
            self._end("died", ENDED)
        except Garbled as problem:
            self._end("died", f"the notebook's process sent no answer that can be read ({problem})")
        self._left -= time.monotonic() - started
        if not isinstance(answer, dict):
            self._end("died", "the notebook's process sent no answer that can be read")
        return answer

    def _send(self, question: dict, deadline: float) -> None:
        try:
            self.line.send(question, deadline)
        except (TypeError, Garbled) as problem:
            self._end("failed", f"the test hands over what cannot be handed over: {problem}")

    def _end(self, outcome: str, reason: str) -> NoReturn:
        self.fate = (outcome, reason[:TEXT_LIMIT])
        raise Ended


def _reply(answer: dict) -> Reply:
    """What came back, by what it should be: nothing that a student's process says is taken as it is."""
    changed = answer.get("changed")
    changed = changed if isinstance(changed, list) else []
    error = answer.get("error")
    return Reply(
        value=answer.get("value"),
        error=error[:TEXT_LIMIT] if isinstance(error, str) else "",
        missing=answer.get("missing") is True,
        not_attempted=answer.get("not_attempted") is True,
        changed=[text[:100] for text in changed[:10] if isinstance(text, str)],
    )


def proxy(student: Remote, name: str) -> Callable:
    """The student's function of this name, for tests that call it directly: same values, same kind of error."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        reply = student.call(name, arguments, keywords)
        if reply.not_attempted:
            raise NotImplementedError
        if reply.missing or reply.error:
            raise _error(reply.error)
        return reply.value

    call.__name__ = call.__qualname__ = name
    return call


def _error(text: str) -> Exception:
    """An error like the one of the student's: of the same type where that is one of Python's own."""
    kind, _, message = text.partition(": ")
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(message)
        except TypeError:  # one that wants to know more
            pass
    return RuntimeError(text)


def free_names(source: str) -> set[str]:
    """The names that a cell reads."""
    try:
        return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    except SyntaxError:
        return set()


def imported(source: str) -> set[str]:
    """The names that a cell imports, which are its own whatever the student calls so."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return set()
    names = [alias for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
    return {(alias.asname or alias.name).partition(".")[0] for alias in names}


__all__ = ["Ended", "Examination", "Remote", "main"]
