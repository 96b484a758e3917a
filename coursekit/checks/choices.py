"""Answers to questions with a few options, kept out of sight in the students' release."""

import hashlib


def normalised(answer: str) -> str:
    """Without blanks around it and in small letters: neither should cost points."""
    return " ".join(answer.split()).casefold()


def seal(answer: str, salt: str) -> str:
    """A digest of the right answer, to stand in a visible test in its place.

    answer: one of the options; blanks around it and capital letters do not matter. salt: names the question, so that
    the same answer looks different in each ("attack_variants/1/when"). It keeps the answer from being read in passing;
    whoever tries all the options has it, as with any check that answers at once.
    """
    return hashlib.sha256(f"{salt}: {normalised(answer)}".encode()).hexdigest()[:12]
