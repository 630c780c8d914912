"""The table of rules."""

from pathlib import Path

import pytest
from filterrelay_plugins.spam.rule import Rule
from filterrelay_plugins.spam.rules import RULES, hits

from .conftest import Reader


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_can_be_named_and_explained(rule: Rule) -> None:
    """A capital name, points of some size, a sentence without full stop."""
    assert rule.name == rule.name.upper()
    assert rule.description
    assert not rule.description.endswith(".")
    assert -2 <= rule.points <= 3 or rule.name == "GTUBE"
    assert rule.points


def test_no_name_stands_twice() -> None:
    """A report names one rule, not two."""
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_plain_mail_between_colleagues_hits_nothing(reading: Reader) -> None:
    """The usual message of an office has no points."""
    text = "Hi Bob,\n\nthe meeting is at ten in room 4. Can you bring the plans?\n\nAlice\n"
    assert hits(reading(text)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_stands_in_the_manual(rule: Rule) -> None:
    """With the points that it really has."""
    manual = (Path(__file__).parents[3] / "docs" / "spam.md").read_text()
    assert f"| `{rule.name}` | {rule.points:g} | {rule.description} |" in manual
