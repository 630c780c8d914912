"""One attempt: recipients in transactions, and what the replies mean."""

from collections.abc import Sequence

import pytest

from filterrelay.delivery.attempt import attempt, result_of
from filterrelay.delivery.upstream import Sent, SevenBitsOnly
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import NO_MEMORY, Reply
from filterrelay.plugin.testing import an_envelope
from filterrelay.spool.store import StoredRecipient

from .hop import TAKEN, FakeHop

TOO_MANY = Reply(452, "4.5.3", "Too many recipients")
FULL = Reply(552, "5.2.2", "Mailbox full")


async def _not_asked() -> bytes:
    raise AssertionError("nothing is to be converted")


async def results(hop: FakeHop, count: int) -> dict[str, str]:
    """An attempt for so many recipients: each one's result."""
    envelope = an_envelope("a@office.example", *(f"r{i}@p.example" for i in range(count)))
    stored = [StoredRecipient(i, r) for i, r in enumerate(envelope.recipients)]
    return {
        str(stored.recipient): result_of(reply)
        async for each in attempt(hop, envelope, stored, b"", _not_asked)
        for stored, reply in zip(each.recipients, each.sent.replies, strict=True)
    }


async def test_many_recipients_go_in_transactions_of_a_hundred() -> None:
    """No server must take more at once (RFC 5321 section 4.5.3.1.8)."""
    hop = FakeHop(lambda *_: TAKEN)
    assert set((await results(hop, 250)).values()) == {"delivered"}
    assert [len(names) for names in hop.asked] == [100, 100, 50]


@pytest.mark.parametrize(
    "too_many", [TOO_MANY, Reply(552, "5.5.3", "Too many"), Reply(552, "", "Too many")]
)
async def test_recipients_beyond_the_far_sides_limit_follow_at_once(too_many: Reply) -> None:
    """452 4.5.3 is no deferral but the next transaction; nor is an older server's 552 a bounce."""
    hop = FakeHop(lambda place, _: TAKEN if place < 2 else too_many)
    assert set((await results(hop, 5)).values()) == {"delivered"}
    assert [len(names) for names in hop.asked] == [5, 3, 1]


async def test_452_for_everybody_is_a_deferral() -> None:
    """It ends, rather than go round in a circle."""
    hop = FakeHop(lambda *_: TOO_MANY)
    assert set((await results(hop, 3)).values()) == {"deferred"}
    assert len(hop.asked) == 1


@pytest.mark.parametrize("answers", [[TAKEN, FULL], [Reply(552, "", "No")]])
async def test_552_for_other_reasons_is_a_bounce(answers: list[Reply]) -> None:
    """A full mailbox beside one that takes mail, and a refusal of everybody."""
    replies = iter(answers)
    assert "bounced" in (await results(FakeHop(lambda *_: next(replies)), len(answers))).values()


async def test_recipients_keep_their_own_replies_beside_a_surplus() -> None:
    """One taken, one unknown, one too many: the last goes again, the others are settled."""
    answers = iter([TAKEN, Reply(550, "5.1.1", "Unknown"), TOO_MANY, TAKEN])
    hop = FakeHop(lambda *_: next(answers))
    assert await results(hop, 3) == {
        "r0@p.example": "delivered",
        "r1@p.example": "bounced",
        "r2@p.example": "delivered",
    }


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (250, "delivered"),
        (251, "delivered"),
        (450, "deferred"),
        (550, "bounced"),
        (354, "deferred"),
    ],
)
def test_the_first_digit_decides(code: int, result: str) -> None:
    """RFC 5321 section 4.2.1."""
    assert result_of(Reply(code, "", "")) == result


@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_a_login_or_tls_that_we_lack_bounces_nothing(code: int) -> None:
    """A configuration of ours is repaired, and the mail goes then."""
    assert result_of(Reply(code, "5.7.0", "Must issue STARTTLS first")) == "deferred"


class OldHop(FakeHop):
    """A next hop whose second transaction goes to a host without 8BITMIME."""

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """Takes no 8 bits from the second time on."""
        if self.asked and envelope.body == "8BITMIME":
            raise SevenBitsOnly("old.example")
        return await super().send(envelope, recipients, body)


async def test_what_only_takes_7_bits_gets_the_message_converted_and_nobody_gets_it_twice() -> None:
    """Once for the attempt, whatever the client called the content."""
    envelope = an_envelope("a@office.example", *(f"r{i}@p.example" for i in range(250)))
    stored = [StoredRecipient(i, r) for i, r in enumerate(envelope.recipients)]
    hop, conversions = OldHop(lambda *_: TAKEN), []

    async def convert() -> bytes:
        conversions.append(1)
        return b"Gr=C3=BC=C3=9Fe"

    async for _ in attempt(hop, envelope, stored, "Grüße".encode(), convert):
        pass
    assert [len(names) for names in hop.asked] == [100, 100, 50]
    assert hop.bodies == ["Grüße".encode(), b"Gr=C3=BC=C3=9Fe", b"Gr=C3=BC=C3=9Fe"]
    assert len(conversions) == 1


async def test_what_cannot_be_converted_now_is_deferred_and_nobody_gets_it_twice() -> None:
    """Who has had the message before the other host took over has it."""
    envelope = an_envelope("a@office.example", *(f"r{i}@p.example" for i in range(150)))
    stored = [StoredRecipient(i, r) for i, r in enumerate(envelope.recipients)]

    async def convert() -> Reply:
        return NO_MEMORY

    old = OldHop(lambda *_: TAKEN)
    first, second = [each async for each in attempt(old, envelope, stored, b"\xfc", convert)]
    assert (len(first.recipients), {*first.sent.replies}) == (100, {TAKEN})
    assert (len(second.recipients), {*second.sent.replies}) == (50, {NO_MEMORY})
    assert not second.sent.answered
