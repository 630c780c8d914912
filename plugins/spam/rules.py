"""All rules in one table, and what a message gets from them."""

from filterrelay_plugins.spam.header_rules import HEADER_RULES
from filterrelay_plugins.spam.reading import Reading
from filterrelay_plugins.spam.rule import Rule
from filterrelay_plugins.spam.structure_rules import STRUCTURE_RULES
from filterrelay_plugins.spam.text_rules import TEXT_RULES

RULES: tuple[Rule, ...] = (*HEADER_RULES, *STRUCTURE_RULES, *TEXT_RULES)


def hits(reading: Reading) -> list[Rule]:
    """The rules that hold, in the table's order."""
    return [rule for rule in RULES if rule.holds(reading)]
