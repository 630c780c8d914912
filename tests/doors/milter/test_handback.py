"""What is passed on by milter is what the intake says, and nothing else."""

import pytest

from filterrelay.chain.run import Judgement
from filterrelay.doors.milter.changes import Told
from filterrelay.doors.milter.handback import HandBack, refusal
from filterrelay.mail.edits import AddHeader
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.message import Message
from filterrelay.mail.reply import TRY_LATER, Reply
from filterrelay.mail.verdict import Pass, Quarantine, Verdict
from filterrelay.wire.milter import DISCARD, TEMPFAIL, Action, Edits, Step
from tests.wire.milter.mta import packets

ALL = Edits(Action(sum(Action)), Step(sum(Step)))
RAW = b"A: 1\r\n\r\n"


def passage(edits: Edits = ALL) -> HandBack:
    """A passage of a message to nobody."""
    return HandBack(Told(RAW, Envelope(None), ()), edits, holds=True)


def judged(verdict: Verdict) -> Judgement:
    """A judgement with one edit."""
    edits = (AddHeader("X-Checked", "yes"),)
    return Judgement(verdict, "", Envelope(None), Message("ID", RAW), {}, edits, ())


async def test_a_message_passed_on_is_continued_for_other_milters() -> None:
    """Its reply has the ID that the trace goes by."""
    way = passage()
    reply = await way.pass_on(judged(Pass()))
    assert str(reply) == "250 2.0.0 OK, passed on as ID"
    head, body = way.answer(reply)
    assert [letter for letter, _ in packets(head)] == ["i", "c"]
    assert not body


def test_accepted_and_not_passed_on_it_is_not_delivered() -> None:
    """It is in our own quarantine, or was discarded."""
    assert passage().answer(Reply(250, "2.0.0", "OK")) == (DISCARD, ())


async def test_a_failure_after_it_was_passed_on_counts() -> None:
    """No edit is sent with a refusal."""
    way = passage()
    await way.pass_on(judged(Pass()))
    head, _ = way.answer(TRY_LATER)
    assert [letter for letter, _ in packets(head)] == ["y"]


async def test_a_hold_queue_that_is_not_offered_is_a_temporary_failure() -> None:
    """Delivered it may not be."""
    way = passage(Edits(Action.ADD_HEADERS, Step(0)))
    assert await way.pass_on(judged(Quarantine("bad"))) is TRY_LATER


def test_several_lines_are_one_reply() -> None:
    """Each with its code."""
    told = refusal(Reply(550, "5.7.1", "a\r\nb"))
    assert packets(told) == [("y", b"550-5.7.1 a\r\n550 5.7.1 b\0")]


@pytest.mark.parametrize("code", [250, 354])
def test_what_is_no_refusal_becomes_a_temporary_one(code: int) -> None:
    """Rather than mail passing that should not."""
    assert refusal(Reply(code, "", "Go on")) == TEMPFAIL
