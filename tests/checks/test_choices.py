"""Questions with options: forgiving in form, strict in meaning, and silent about the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit import checks
from coursekit.checks import Wrong, expect

ALLOWED = ("evasion", "poisoning")
SEALED = checks.seal("evasion", "question 1")


def ask(got):
    return expect.choice(got, ALLOWED, sealed=SEALED, salt="question 1", hint="When does the attacker act?")


@pytest.mark.parametrize("got", ["evasion", "Evasion", "  EVASION \n"])
def test_the_right_word_passes_however_it_is_written(got):
    assert ask(got) == "evasion"


@pytest.mark.parametrize(
    ("got", "said", "hint"),
    [
        ("poisoning", "'poisoning'", "When does the attacker act?"),
        ("Poisoning ", "'poisoning'", "When does the attacker act?"),
        ("evading", "'evading'", "spelled as in the list"),
        ("", "''", "spelled as in the list"),
        (None, "no answer", "a guess costs nothing"),
        (..., "no answer", "a guess costs nothing"),
        (1, "1", "in quotation marks"),
        (["evasion"], "['evasion']", "in quotation marks"),
    ],
)
def test_anything_else_is_told_what_is_the_matter(got, said, hint):
    with pytest.raises(Wrong) as failure:
        ask(got)
    assert said in failure.value.got
    assert hint in failure.value.hint


def test_a_wrong_choice_is_not_told_the_right_one():
    with pytest.raises(Wrong) as failure:
        ask("poisoning")
    assert "evasion" not in f"{failure.value.got} {failure.value.expected} {failure.value.hint}"


@given(st.text(min_size=1), st.text(), st.text())
def test_a_seal_depends_on_answer_and_question_and_does_not_show_the_answer(answer, salt, other):
    sealed = checks.seal(answer, salt)
    assert sealed == checks.seal(f" {answer}\n", salt)
    assert (checks.seal(answer, other) == sealed) == (salt == other)
    assert len(sealed) == 12
