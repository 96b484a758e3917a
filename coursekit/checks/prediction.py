"""Small helpers around a student's own work: guesses before a reveal, and figures that use the student's function."""

import sys
from collections.abc import Callable
from typing import Any


def reveal(guess: Any, answer: str, explanation: str = "") -> None:
    """Shows `answer` once the student has committed to a guess (anything but None and `...`)."""
    if guess is None or guess is Ellipsis:
        print("Commit to a guess first: write it into the cell above and run both cells again.")
        return
    print(f"Your guess:  {guess}\nMeasured:    {answer}")
    if explanation:
        print(explanation)


def yours(name: str, otherwise: Callable) -> Callable:
    """The student's function `name` where it is written and runs, else `otherwise` (the reference): for figures.

    It says which one is shown, so that a figure is never taken for the student's own work.
    """
    function = vars(sys.modules["__main__"]).get(name)
    told = False

    def call(*arguments: Any, **keywords: Any) -> Any:
        nonlocal told
        try:
            if not callable(function):
                raise NotImplementedError
            return function(*arguments, **keywords)
        except Exception as error:
            if not told:
                why = (
                    "is not written yet" if isinstance(error, NotImplementedError) else f"raised {type(error).__name__}"
                )
                print(f"Your `{name}` {why}: this figure uses the reference instead.")
                told = True
            return otherwise(*arguments, **keywords)

    return call
