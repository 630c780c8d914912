"""Verdicts and their names."""

import pytest

from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import (
    Defer,
    Discard,
    Pass,
    Quarantine,
    Reject,
    Verdict,
    name_of,
)
from filterrelay.observe.metrics import VERDICTS


@pytest.mark.parametrize(
    "verdict",
    [
        Pass(),
        Reject(Reply(550, "5.7.1", "x")),
        Defer(Reply(450, "4.7.1", "x")),
        Quarantine("x"),
        Discard("x"),
    ],
)
def test_each_verdict_has_a_label_in_the_metrics(verdict: Verdict) -> None:
    """The closed list of labels knows every verdict."""
    assert name_of(verdict) in VERDICTS
