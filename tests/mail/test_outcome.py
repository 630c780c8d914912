"""Outcomes hold no message body, so that observers can't leak one."""

from dataclasses import fields

from filterrelay.mail.outcome import Attempt, Outcome


def test_observers_never_see_a_body() -> None:
    """Neither an outcome nor an attempt has the message's bytes."""
    for kind in (Outcome, Attempt):
        assert not [f.name for f in fields(kind) if f.type in (bytes, "bytes")]
