"""One part: whether it may go now, and what becomes of it when it may not."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from filterrelay.delivery.scheduler import Pace
from filterrelay.delivery.sending import SignAgain
from filterrelay.delivery.upstream import Sent, SevenBitsOnly
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply
from filterrelay.spool.store import SpoolFull, SpoolUnavailable, StoredMessage

from .hop import (
    BODY,
    LATER,
    LEASE,
    QUARTER,
    REFUSED,
    TAKEN,
    UNKNOWN,
    FakeHop,
    a_wait,
    a_while,
    an_outage,
    delivering,
    get,
    gone,
)


async def test_fresh_mail_waits_on_disk_for_its_turn() -> None:
    """It goes when the rate lets it, not a quarter of an hour later."""
    hop = FakeHop()
    hop.outages = [a_wait(left=30)]
    async with delivering(hop) as site:
        reservation = await site.submit()
        await site.result()
        (waiting,) = (await get(site)).recipients
        assert (waiting.attempts, waiting.last_reply) == (0, str(REFUSED))
        assert reservation.octets == 0
        assert hop.asked == []
        hop.outages = []
        await site.later(timedelta(seconds=30))
        assert await gone(site)


async def test_an_outage_counts_as_the_attempt_of_all_that_is_due() -> None:
    """A next hop that is down is not tried for each message; each is told the reason."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.outages = [an_outage()]
        await site.later(QUARTER)
        (waiting,) = (await get(site)).recipients
        assert (waiting.attempts, waiting.last_reply) == (2, str(REFUSED))
        assert len(hop.asked) == 1


async def test_a_due_message_whose_attempt_cant_be_recorded_isnt_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a full disk it waits a minute, and that counts as no attempt."""

    async def begin_attempt(*_: object) -> None:
        raise SpoolFull(0)

    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        with monkeypatch.context() as full:
            full.setattr(site.spool, "begin_attempt", begin_attempt)
            await site.later(QUARTER)
        (waiting,) = (await get(site)).recipients
        assert (waiting.attempts, len(hop.asked)) == (1, 1)
        await site.later(timedelta(minutes=1))
        assert len(hop.asked) == 2


async def test_due_mail_waits_on_disk_for_its_turn() -> None:
    """It holds neither memory nor a lease, and no attempt is counted."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.outages = [a_wait(left=30)]
        await site.later(QUARTER)
        (waiting,) = (await get(site)).recipients
        assert (waiting.attempts, waiting.next_attempt) == (
            1,
            site.clock.now() + timedelta(seconds=30),
        )
        hop.outages = []
        hop.answer = lambda *_: TAKEN
        await site.later(timedelta(seconds=30))
        assert await gone(site)


async def test_a_rate_that_lets_nothing_go_for_days_stops_no_report() -> None:
    """The sender hears of the delay, once, and gets the mail back in the end."""
    hop = FakeHop()
    hop.outages = [a_wait(left=300)]
    async with delivering(hop) as site:
        await site.submitted()
        await site.later(timedelta(hours=4))
        await site.later(timedelta(hours=1))
        assert [b"Action: delayed" in raw for _, raw in site.reports] == [True]
        await site.later(timedelta(days=5))
        assert await gone(site)
        assert b"Action: failed" in site.reports[-1][1]
        assert hop.asked == []


async def test_mail_whose_lease_ends_while_it_waits_for_its_turn_is_not_sent() -> None:
    """Another process may have it by then; and its place at the next hop is given back."""
    hop = FakeHop()
    turn, left = asyncio.Event(), list[bool]()

    async def admit(recipients: int) -> None:
        await turn.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hop, "admit", admit)
        patch.setattr(hop, "leave", lambda: left.append(True))
        async with delivering(hop) as site:
            await site.submit()
            await a_while()
            site.clock.advance(LEASE)
            turn.set()
            await a_while()
            assert (hop.asked, left) == ([], [True])


async def test_a_due_message_without_memory_comes_a_minute_later() -> None:
    """Bodies from the spool count against the same budget."""
    hop = FakeHop(lambda *_: LATER)
    pace = Pace(poll=3600, memory_wait=0)
    async with delivering(hop, pace=pace, octets=len(BODY)) as site:
        await site.submitted()
        await asyncio.sleep(0)
        hog = await site.spend()
        await site.later(QUARTER)
        assert len(hop.asked) == 1
        (waiting,) = (await get(site)).recipients
        assert waiting.attempts == 1
        hog.release()
        hop.answer = lambda *_: TAKEN
        await site.later(timedelta(minutes=1))
        assert len(hop.asked) == 2


async def test_a_message_that_breaks_delivery_comes_to_an_end() -> None:
    """A fault of ours is a deferral like any: it is counted, notice is given, and it bounces."""

    def answer(*_: object) -> Reply:
        raise RuntimeError("a bug")

    async with delivering(FakeHop(answer)) as site:
        await site.submitted()
        (waiting,) = (await get(site)).recipients
        assert waiting.attempts == 1
        assert waiting.last_reply == "451 4.3.0 The relay failed: RuntimeError"
        while not await gone(site):
            following = (await get(site)).recipients[0].next_attempt
            assert following is not None
            await site.later(following - site.clock.now())
        assert [b"Action: delayed" in raw for _, raw in site.reports] == [True, False]


async def test_a_fault_amid_several_transactions_brings_nobody_the_message_again() -> None:
    """Who was served before it has the message, and has it once."""
    asked = 0

    def answer(*_: object) -> Reply:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("a bug")
        return TAKEN

    hop = FakeHop(answer)
    hop.recipients = 1
    async with delivering(hop) as site:
        await site.submitted("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        states = [(str(r.recipient), r.state.value) for r in (await get(site)).pending()]
        assert states == [("bob@p.example", "queued"), ("eve@p.example", "queued")]
        await site.later(QUARTER)
        assert await gone(site)
        assert hop.asked.count(["ann@p.example"]) == 1


async def test_each_transaction_is_written_down_before_the_next_one() -> None:
    """A crash amid a hundred of them brings only the last one's recipients the message again."""
    pending: list[list[str]] = []

    class Noting(FakeHop):
        async def send(self, *arguments: Any) -> Sent:
            pending.append([str(each.recipient) for each in (await get(site)).pending()])
            return await super().send(*arguments)

    hop = Noting()
    hop.recipients = 1
    async with delivering(hop) as site:
        await site.submit("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        await a_while()
        assert [len(names) for names in pending] == [3, 2, 1]
        assert await gone(site)


async def test_what_is_refused_amid_several_transactions_makes_one_bounce() -> None:
    """At the end of the attempt, of all."""
    hop = FakeHop(lambda _, to: TAKEN if str(to).startswith("bob") else UNKNOWN)
    hop.recipients = 1
    async with delivering(hop) as site:
        await site.submitted("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        assert await gone(site)
        ((_, raw),) = site.reports
        assert (raw.count(b"Final-Recipient:"), b"bob@p.example" in raw) == (2, False)


async def test_a_body_that_cant_be_read_ends_in_a_bounce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender hears of it in the end, without the header that is lost, too."""
    async with delivering(FakeHop(lambda *_: LATER)) as site:
        await site.submitted()

        async def lost(message_id: str) -> bytes:
            raise SpoolUnavailable("No such file or directory")

        monkeypatch.setattr(site.spool, "body", lost)
        await site.later(QUARTER)
        (waiting,) = (await get(site)).recipients
        assert (waiting.attempts, waiting.last_reply[:9]) == (2, "451 4.3.0")
        await site.later(timedelta(days=5))
        assert await gone(site)
        assert b"Action: failed" in site.reports[-1][1]


@pytest.mark.parametrize("connections", [-15, 20])
async def test_mail_for_a_hanging_next_hop_leaves_memory_to_others(connections: int) -> None:
    """It is on disk already: new mail needn't be refused for it, and it goes out at its turn.

    Whether it waits behind the connections, or hangs in one of them.
    """
    hop = FakeHop()
    hop.connections = connections
    hop.gate.clear()
    async with delivering(hop, octets=10 * len(BODY)) as site:
        for number in range(40):
            await asyncio.wait_for(site.submit(f"ID{number:02}"), 1)
        await a_while()
        assert site.memory.used <= 6 * len(BODY)
        newcomer = site.memory.reservation()
        assert newcomer.try_grow(4 * len(BODY))
        newcomer.release()
        hop.gate.set()
        while not all([await gone(site, f"ID{number:02}") for number in range(40)]):
            await site.result()
        assert hop.bodies == [BODY] * 40


class SevenBitHop(FakeHop):
    """A next hop without 8BITMIME."""

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """Takes no 8 bits."""
        if envelope.body == "8BITMIME":
            raise SevenBitsOnly("old.example")
        return await super().send(envelope, recipients, body)


async def _signed(message: StoredMessage, raw: bytes) -> bytes:
    return f"X-Signed: {message.id}\r\n".encode() + raw


async def _unsigned(message: StoredMessage, raw: bytes) -> bytes:
    raise SpoolUnavailable("no key")


@pytest.mark.parametrize(("sign", "state"), [(_signed, None), (_unsigned, "451 4.3.0")])
async def test_what_is_converted_on_its_way_is_signed_again(
    monkeypatch: pytest.MonkeyPatch, sign: SignAgain, state: str | None
) -> None:
    """Or waits until that can be done."""
    hop = SevenBitHop()
    async with delivering(hop) as site:
        monkeypatch.setattr(site.scheduler._sending, "_sign", sign)
        deposit = replace(site.deposit(), body="Subject: x\r\n\r\nGrüße\r\n".encode())
        await site.spool.commit(deposit)
        site.scheduler.submit(deposit, site.memory.reservation())
        await site.result()
        if state is None:
            assert await gone(site)
            assert hop.bodies[0].startswith(b"X-Signed: ID\r\nSubject: x\r\n")
            assert hop.bodies[0].isascii()
        else:
            (waiting,) = (await get(site)).recipients
            assert waiting.last_reply.startswith(state)
            assert hop.bodies == []


async def test_the_end_of_a_message_is_logged_once_it_has_come() -> None:
    """When the last recipient is done with, in whatever attempt that was."""

    def removed() -> int:
        return [line["event"] for line in logs].count("removed")

    hop = FakeHop(lambda place, _: TAKEN if place == 0 else LATER)
    with capture_logs() as logs:
        async with delivering(hop) as site:
            await site.submitted("ID", "bob@partner.example", "carl@partner.example")
            assert removed() == 0
            await site.later(QUARTER)
            assert await gone(site)
    assert removed() == 1
