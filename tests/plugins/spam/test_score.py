"""A score explains itself."""

from filterrelay_plugins.spam.classifier import Opinion
from filterrelay_plugins.spam.rule import Rule
from filterrelay_plugins.spam.score import score_of

SMALL = Rule("CLICK", 0.5, "Asks to click", lambda _: True)
BIG = Rule("PHISHING", 2.5, "Asks to verify an account", lambda _: True)
OPINION = Opinion(3.25, 40, (("pills", 4.1), ("plans", -2.0)))


def test_points_add_up_and_the_strongest_rule_comes_first() -> None:
    """Rules and classifier together."""
    score = score_of([SMALL, BIG], OPINION)
    assert score.points == 6.25
    assert score.text == "6.2 points (PHISHING, CLICK, classifier +3.2)"


def test_the_trace_names_rules_and_tokens() -> None:
    """A postmaster sees why."""
    details = dict(score_of([SMALL], OPINION).details)
    assert details["CLICK"] == "+0.5 Asks to click"
    assert details["classifier"] == "+3.25 pills +4.1, plans -2.0"


def test_a_tagged_message_carries_its_report() -> None:
    """Mail programs sort by the flag, people read the report."""
    fields = {field.name: field.value for field in score_of([BIG], None).fields()}
    assert fields["X-Spam-Flag"] == "YES"
    assert fields["X-Spam-Score"] == "2.5"
    assert "PHISHING: Asks to verify an account" in fields["X-Spam-Report"]


def test_nothing_found_is_said() -> None:
    """No rule, no opinion."""
    assert score_of([], None).text == "0.0 points (nothing found)"
