"""What was said before there was a message counts when there is one."""

from dataclasses import replace

import pytest

from filterrelay.intake.early import MOST, Earlier, EarlyVerdicts
from filterrelay.mail.finding import Finding
from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.verdict import Discard, Quarantine

RECORD = StepRecord("greeter", "on_connect", 0.001, "quarantine")
HELD = (Quarantine("odd client"), "greeter")


def known(early: EarlyVerdicts) -> Earlier:
    """What is known of the session `S`."""
    earlier = early.of("S")
    assert earlier is not None
    return earlier


def test_a_clients_verdict_holds_for_each_of_its_messages() -> None:
    """A new transaction doesn't wash a client clean."""
    early = EarlyVerdicts()
    early.note("S", "on_connect", (RECORD,), HELD)
    early.end_transaction("S")
    early.note("S", "on_sender", (), None)
    assert known(early).decided() == HELD
    assert known(early).records() == (RECORD,)


@pytest.mark.parametrize("hook", ["on_sender", "on_recipient"])
def test_a_verdict_on_sender_or_recipient_holds_for_its_own_transaction_only(hook: str) -> None:
    """The next message is another one: its verdict, its trace and its findings begin anew."""
    early = EarlyVerdicts()
    early.note("S", hook, (RECORD,), (Discard("odd"), "x"))
    early.note("S", "on_recipient", (RECORD,), None)
    assert known(early).decided() == (Discard("odd"), "x")
    assert len(known(early).records()) == 2
    early.end_transaction("S")
    assert known(early).decided() is None
    assert known(early).records() == ()
    assert known(early).findings() == {}


def test_a_new_helo_takes_the_old_ones_place() -> None:
    """After STARTTLS a client says EHLO again; what was said of the first is over."""
    early = EarlyVerdicts()
    for _ in range(3):
        early.note("S", "on_helo", (RECORD,), HELD)
    assert len(known(early).records()) == 1
    early.note("S", "on_helo", (), None)
    assert known(early).decided() is None


def test_the_latest_finding_of_a_plugin_counts() -> None:
    """One that knows more after MAIL replaces what it said of the client."""
    early = EarlyVerdicts()
    early.note("S", "on_connect", (replace(RECORD, finding=Finding("unknown")),), None)
    early.note("S", "on_sender", (replace(RECORD, finding=Finding("pass")),), None)
    assert known(early).findings() == {"greeter": Finding("pass")}


def test_a_refused_recipients_finding_is_none_of_the_messages() -> None:
    """It stays in the trace, and so does what a plugin on trial found."""
    early = EarlyVerdicts()
    found = replace(RECORD, finding=Finding("blocked"))
    early.note_refusal("S", (found,))
    early.note("S", "on_recipient", (replace(found, shadow=True),), None)
    assert known(early).findings() == {}
    assert len(known(early).records()) == 2


def test_sessions_that_ended_are_forgotten_and_their_number_is_bounded() -> None:
    """Clients can't make it grow."""
    early = EarlyVerdicts()
    for number in range(MOST + 10):
        early.note(str(number), "on_connect", (), HELD)
    assert early.of("0") is None
    early.forget(str(MOST))
    assert early.of(str(MOST)) is None
