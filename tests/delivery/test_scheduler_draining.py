"""The end of delivery: what is finished, what is given back, and in what time."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from filterrelay.delivery.upstream import Interrupted, Outage, Sent
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.outcome import Route
from filterrelay.mail.reply import Reply
from filterrelay.spool.store import (
    SpoolBroken,
    SpoolUnavailable,
    StoredMessage,
)

from .hop import (
    LATER,
    LEASE,
    QUARTER,
    TAKEN,
    UNKNOWN,
    FakeHop,
    a_while,
    an_outage,
    delivering,
    due,
    get,
    gone,
)


async def test_who_retires_leaves_all_mail_to_the_successor() -> None:
    """What waits and what still comes in, at once; what is under way is finished."""
    hop = FakeHop()
    hop.gate.clear()
    hop.connections = -15  # one sender in all
    async with delivering(hop) as site:
        await site.submit("FIRST")
        await hop.reached.wait()
        await site.submit("SECOND")
        site.scheduler.retire()
        await site.submit("THIRD")
        hop.gate.set()
        await a_while()
        now = site.clock.now()
        taken = await site.spool.lease("worker-2", now, now + LEASE, 10)
        assert sorted(message.id for message in taken) == ["SECOND", "THIRD"]
        assert await gone(site, "FIRST")
        assert len(hop.asked) == 1


async def test_an_outage_is_no_attempt_when_delivery_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The successor may know of another next hop, so the mail is for it at once."""
    hop = FakeHop()
    turn = asyncio.Event()

    async def admit(_: int) -> Outage:
        await turn.wait()
        return an_outage()

    monkeypatch.setattr(hop, "admit", admit)
    async with delivering(hop) as site:
        await site.submit()
        await a_while()
        site.scheduler.retire()
        turn.set()
        await a_while()
        now = site.clock.now()
        (message,) = await site.spool.lease("worker-2", now, now + LEASE, 10)
        assert message.recipients[0].attempts == 0


async def test_at_the_end_attempts_under_way_finish() -> None:
    """What is being sent is sent to its end."""
    hop = FakeHop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        draining = asyncio.ensure_future(site.scheduler.drain(5))
        await asyncio.sleep(0)
        hop.gate.set()
        await draining
        assert await gone(site)
        assert hop.closed


async def test_at_the_end_waiting_mail_is_given_back_at_once() -> None:
    """Another process takes it over without waiting for a lease to run out."""
    hop = FakeHop()
    hop.gate.clear()
    hop.connections = -15  # one sender in all
    async with delivering(hop) as site:
        await site.submit("FIRST")
        await hop.reached.wait()
        reservation = await site.submit("SECOND")
        await site.scheduler.drain(0.2)
        now = site.clock.now()
        taken = await site.spool.lease("worker-2", now, now + LEASE, 10)
        assert [message.id for message in taken] == ["SECOND"]
        assert reservation.octets == 0


async def test_an_attempt_cut_off_at_the_end_waits_for_the_schedule() -> None:
    """The far side may have it already: it is not repeated at once."""
    hop = FakeHop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        await site.scheduler.drain(0.2)
        (cut,) = (await get(site)).recipients
        assert cut.next_attempt is not None
        assert cut.next_attempt > site.clock.now() + timedelta(minutes=10)
        assert (await get(site)).lease is None


@pytest.mark.parametrize("fresh", [True, False])
async def test_what_a_cut_off_attempt_has_delivered_is_not_sent_again(*, fresh: bool) -> None:
    """Of three transactions one is through, and the second hangs: two recipients remain."""
    hop = FakeHop()
    hop.recipients = 1

    def answer(_place: int, recipient: Recipient) -> Reply:
        hop.gate.clear()
        return TAKEN

    hop.answer = answer
    async with delivering(hop) as site:
        deposit = site.deposit("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        if fresh:
            await site.submit("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        else:
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
            site.scheduler.nudge()
        await a_while()
        assert hop.asked == [["ann@p.example"], ["bob@p.example"]]
        await site.scheduler.drain(0.2)
        cut = await get(site)
        assert [str(r.recipient) for r in cut.pending()] == ["bob@p.example", "eve@p.example"]
        assert [r.attempts for r in cut.pending()] == [1, 1]
        assert cut.lease is None


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("last", [TAKEN, UNKNOWN])
async def test_who_is_served_when_a_transaction_is_cut_off_isnt_served_again(
    *, fresh: bool, last: Reply
) -> None:
    """LMTP answers for each recipient; who is refused makes a bounce, and the third remains."""

    class Cut(FakeHop):
        async def send(self, *arguments: Any) -> Sent:
            try:
                return await super().send(*arguments)
            except asyncio.CancelledError:
                raise Interrupted([0, 1], Sent([TAKEN, last], "unix:/lmtp")) from None

    hop = Cut()
    hop.gate.clear()
    async with delivering(hop) as site:
        deposit = site.deposit("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        if fresh:
            await site.submit("ID", "ann@p.example", "bob@p.example", "eve@p.example")
        else:
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
            site.scheduler.nudge()
        await hop.reached.wait()
        await site.scheduler.drain(0.2)
        cut = await get(site)
        (waiting,) = cut.pending()
        assert (str(waiting.recipient), waiting.attempts) == ("eve@p.example", 1)
        assert waiting.next_attempt is not None
        assert waiting.next_attempt > site.clock.now() + timedelta(minutes=10)
        assert (cut.lease, len(site.reports)) == (None, int(last is UNKNOWN))


async def test_leases_are_kept_until_delivery_has_ended() -> None:
    """Asked to stop, the relay still sends what it holds: nobody else may send it, too."""
    hop = FakeHop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        site.scheduler.stop()
        draining = None
        for step in range(6):
            if step == 3:
                draining = asyncio.ensure_future(site.scheduler.drain(5))
            site.clock.advance(LEASE * 0.6)
            site.scheduler.nudge()
            await a_while()
            assert await site.spool.lease("worker-2", site.clock.now(), site.clock.now(), 1) == []
        hop.gate.set()
        assert draining is not None
        await draining
        assert await gone(site)


async def test_once_stopped_no_due_mail_is_taken() -> None:
    """It is the next process's."""
    hop = FakeHop()
    async with delivering(hop) as site:
        site.scheduler.stop()
        deposit = site.deposit()
        await site.spool.commit(replace(deposit, message=due(deposit.message)))
        for _ in range(10):
            site.scheduler.nudge()
            await asyncio.sleep(0)
        assert hop.asked == []


async def test_mail_leased_at_the_very_end_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end came while the spool was being asked: two hundred messages belong to nobody else."""
    hop = FakeHop()
    async with delivering(hop) as site:
        asked, lease = asyncio.Event(), site.spool.lease

        async def slow_lease(*arguments: Any) -> list[StoredMessage]:
            asked.set()
            found = await lease(*arguments)
            await asyncio.sleep(0.01)
            return found

        deposit = site.deposit()
        await site.spool.commit(replace(deposit, message=due(deposit.message)))
        with monkeypatch.context() as slow:
            slow.setattr(site.spool, "lease", slow_lease)
            site.scheduler.nudge()
            await asked.wait()
            await site.scheduler.drain(1)
        assert hop.asked == []
        assert (await get(site)).lease is None


async def test_what_waits_for_memory_at_the_end_was_not_tried() -> None:
    """Another process, with memory, takes it at once."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        await asyncio.sleep(0)
        await site.spend()
        site.clock.advance(QUARTER)
        site.scheduler.nudge()
        await a_while()
        await site.scheduler.drain(0.2)
        now = site.clock.now()
        (taken,) = await site.spool.lease("worker-2", now, now + LEASE, 10)
        assert taken.recipients[0].attempts == 1


async def test_mail_whose_route_is_asked_for_at_the_end_is_given_back() -> None:
    """A routing plugin that hangs keeps no lease beyond the process."""
    asked = asyncio.Event()

    async def hang(*_: object) -> Route | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    async with delivering(FakeHop(), hook=hang) as site:
        await site.submit()
        await asked.wait()
        await site.scheduler.drain(0.2)
        assert (await get(site)).lease is None


async def test_draining_keeps_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs, a next hop or the spool, the process ends when it was told to."""
    hop = FakeHop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()

        async def hang(_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(site.spool, "settle", hang)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await site.scheduler.drain(0.4)
        assert loop.time() - began < 0.6


async def test_a_spool_that_is_broken_for_good_ends_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process ends then, and a new one starts; a passing trouble is waited out."""
    troubles: list[Exception] = [SpoolUnavailable("disk"), SpoolBroken("its writer has ended")]

    async def lease(*_: object) -> list[StoredMessage]:
        raise troubles.pop(0)

    async def deliver() -> None:
        async with delivering(FakeHop()) as site:
            monkeypatch.setattr(site.spool, "lease", lease)
            while troubles:
                site.scheduler.nudge()
                await asyncio.sleep(0)

    with pytest.raises(SpoolBroken):
        await deliver()
