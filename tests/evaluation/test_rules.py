"""The rules of a sane attack: a model with a plain gradient breaks none, a defence that hides its gradient some."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit.evaluation import broken_rules

SANE = {"pgd": 0.5, "one step": 0.6, "random": 0.9, "transfer": 0.8, "twice eps": 0.1, "no limit": 0.0}
share = st.floats(0, 1)


def test_a_sane_attack_breaks_no_rule():
    assert broken_rules(SANE) == []
    assert broken_rules({**SANE, "pgd": 0.0, "twice eps": 0.0}) == [], "nothing is left that could fall"


@pytest.mark.parametrize(
    ("name", "value"), [("one step", 0.4), ("random", 0.4), ("transfer", 0.4), ("twice eps", 0.55), ("no limit", 0.1)]
)
def test_each_rule_by_itself(name, value):
    assert broken_rules({**SANE, name: value}) == [name]
    assert broken_rules({**SANE, name: value}, slack=1.0) == []


@given(st.fixed_dictionaries(dict.fromkeys(SANE, share)), st.floats(0, 0.5), st.floats(0, 0.5))
def test_more_slack_excuses_comparisons_and_the_order_stays(measured, little, more):
    few, many = (broken_rules(measured, slack) for slack in (max(little, more), min(little, more)))
    assert set(few) - {"twice eps"} <= set(many)
    assert few == [name for name in list(SANE)[1:] if name in few]


def test_a_missing_measurement_is_named():
    with pytest.raises(ValueError, match="'transfer' is missing"):
        broken_rules({name: value for name, value in SANE.items() if name != "transfer"})
