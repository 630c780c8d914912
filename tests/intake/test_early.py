"""What was said before there was a message counts when there is one."""

from filterrelay.intake.early import MOST, EarlyVerdicts
from filterrelay.mail.outcome import StepRecord
from filterrelay.mail.verdict import Discard, Quarantine

RECORD = StepRecord("greeter", "on_connect", 0.001, "quarantine")
HELD = (Quarantine("odd client"), "greeter")


def test_a_clients_verdict_holds_for_each_of_its_messages() -> None:
    """A new transaction doesn't wash a client clean."""
    early = EarlyVerdicts()
    early.note("S", "on_connect", (RECORD,), HELD)
    early.note("S", "on_sender", (), None)
    known = early.of("S")
    assert known is not None
    assert known.decided() == HELD
    assert known.records() == (RECORD,)


def test_a_senders_verdict_holds_for_its_own_transaction_only() -> None:
    """The next MAIL begins anew."""
    early = EarlyVerdicts()
    early.note("S", "on_sender", (RECORD,), (Discard("odd"), "x"))
    early.note("S", "on_recipient", (RECORD,), None)
    known = early.of("S")
    assert known is not None
    assert known.decided() == (Discard("odd"), "x")
    assert len(known.records()) == 2
    early.note("S", "on_sender", (), None)
    assert known.decided() is None


def test_sessions_that_ended_are_forgotten_and_their_number_is_bounded() -> None:
    """Clients can't make it grow."""
    early = EarlyVerdicts()
    for number in range(MOST + 10):
        early.note(str(number), "on_connect", (), HELD)
    assert early.of("0") is None
    early.forget(str(MOST))
    assert early.of(str(MOST)) is None
