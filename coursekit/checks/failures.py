"""The three ways in which a case can fail. They are different things and are shown as such."""


class Failure(Exception):
    """A case failed. `got` and `expected` are short phrases, `hint` says what to think about."""

    status: str

    def __init__(self, got: str, expected: str = "", hint: str = "") -> None:
        super().__init__(got)
        self.got, self.expected, self.hint = got, expected, hint


class NotAttempted(Failure):
    """The stub is still in place."""

    status = "not attempted"


class Crashed(Failure):
    """The student's code raised an error, or is not there to be called."""

    status = "crashed"


class Wrong(Failure):
    """The student's code ran, and what it returned is not what was asked for."""

    status = "wrong"
