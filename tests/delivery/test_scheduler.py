"""Delivery as a whole: fresh mail, retries, leases, and the end."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from filterrelay.delivery.scheduler import Pace
from filterrelay.mail.address import AddressPattern
from filterrelay.mail.outcome import Route
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import SOME_TIME
from filterrelay.settings import RouteRule
from filterrelay.spool.store import (
    Deposit,
    NoSuchMessage,
    RecipientState,
    SpoolBroken,
    SpoolUnavailable,
    StoredMessage,
)

from .hop import BODY, LATER, LEASE, TAKEN, Hop, Site, an_outage, delivering

QUARTER = timedelta(minutes=17)  # the first interval with its jitter


async def get(site: Site, id_: str = "ID") -> StoredMessage:
    """What the spool has of the message."""
    return await site.spool.get(id_)


def due(message: StoredMessage) -> StoredMessage:
    """The message as a process left it that is no more."""
    recipients = tuple(replace(each, next_attempt=message.received) for each in message.recipients)
    return replace(message, recipients=recipients, lease=None)


async def gone(site: Site, id_: str = "ID") -> bool:
    """Whether the spool has forgotten the message, but for its trace."""
    try:
        await site.spool.get(id_)
    except NoSuchMessage:
        return True
    return False


async def test_a_fresh_message_goes_out_from_memory() -> None:
    """Delivered, it leaves the spool, and its memory is free again."""
    hop = Hop()
    async with delivering(hop) as site:
        await site.submitted()
        assert hop.asked == [["bob@partner.example"]]
        assert await gone(site)
        await asyncio.sleep(0)
        assert site.memory.used == 0


async def test_a_deferred_message_comes_again_after_15_minutes() -> None:
    """From the spool, with the bytes it had."""
    answers = iter([LATER, TAKEN])
    hop = Hop(lambda *_: next(answers))
    async with delivering(hop) as site:
        await site.submitted()
        (waiting,) = (await get(site)).recipients
        assert waiting.state is RecipientState.QUEUED
        assert waiting.attempts == 1
        assert waiting.last_reply == "450 4.2.0 Greylisted"
        assert waiting.next_attempt is not None
        assert abs(waiting.next_attempt - SOME_TIME - timedelta(minutes=15)) < timedelta(minutes=2)
        await site.later(QUARTER)
        assert hop.bodies == [BODY, BODY]
        assert await gone(site)


async def test_only_the_deferred_recipients_come_again() -> None:
    """Who has the message doesn't get it twice."""
    hop = Hop(lambda place, _: TAKEN if place == 0 else LATER)
    async with delivering(hop) as site:
        await site.submitted("ID", "a@p.example", "b@p.example")
        hop.answer = lambda *_: TAKEN
        await site.later(QUARTER)
        assert hop.asked == [["a@p.example", "b@p.example"], ["b@p.example"]]


async def test_the_next_attempt_is_recorded_before_connecting() -> None:
    """A crash in the middle of an attempt can't have a peer hammered."""
    hop = Hop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.gate.clear()
        hop.reached.clear()
        site.clock.advance(QUARTER)
        site.scheduler.nudge()
        await hop.reached.wait()
        (under_way,) = (await get(site)).recipients
        assert under_way.attempts == 2
        assert under_way.next_attempt is not None
        assert under_way.next_attempt > site.clock.now() + timedelta(minutes=20)
        hop.gate.set()
        await site.result()
        assert (await get(site)).recipients[0].attempts == 2


async def test_recipients_go_where_the_routes_lead() -> None:
    """Each next hop gets its own, and the lease ends after the last."""
    provider, partner = Hop(), Hop(lambda *_: LATER, name="partner")
    rules = [RouteRule(recipients=(AddressPattern("partner.example"),), upstream="partner")]
    async with delivering(provider, partner, rules=rules) as site:
        await site.submit("ID", "bob@partner.example", "eve@elsewhere.example")
        await site.result()
        while len(site.spool.settlements) < 2:
            await site.result()
        assert (provider.asked, partner.asked) == (
            [["eve@elsewhere.example"]],
            [["bob@partner.example"]],
        )
        assert [s.release for s in site.spool.settlements] == [False, True]
        assert (await get(site)).lease is None


async def test_the_end_of_delivery_ends_the_wait_too() -> None:
    """Mail that waits for an outage to pass is another process's at once."""
    hop = Hop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.outages = [an_outage(age=3, left=3600)]
        await site.spool.retry(["ID"], site.clock.now())
        site.scheduler.nudge()
        for _ in range(10):
            await asyncio.sleep(0)
        await site.scheduler.drain(5)
        now = site.clock.now()
        assert len(await site.spool.lease("worker-2", now, now + LEASE, 10)) == 1


async def test_one_messages_trouble_stops_no_other() -> None:
    """A fault of ours ends one delivery; the next message goes out."""

    def answer(_: int, recipient: object) -> Reply:
        if str(recipient) == "trouble@p.example":
            raise RuntimeError("a bug")
        return TAKEN

    async with delivering(Hop(answer)) as site:
        await site.submit("BAD", "trouble@p.example")
        await site.submitted("GOOD")
        assert await gone(site, "GOOD")
        assert not await gone(site, "BAD")


async def test_mail_beyond_the_backlog_waits_on_disk() -> None:
    """Behind a slow next hop, memory holds so many messages and no more; none is lost."""
    hop = Hop()
    hop.gate.clear()
    hop.connections = 0
    pace = Pace(poll=3600, backlog=2, batch=4)
    async with delivering(hop, pace=pace) as site:
        for number in range(30):
            await site.submit(f"ID{number:02}")
        assert len(hop.asked) < 30
        assert site.memory.used < 30 * len(BODY)
        hop.gate.set()
        while not all([await gone(site, f"ID{number:02}") for number in range(30)]):
            site.clock.advance(timedelta(minutes=2))
            site.scheduler.nudge()
            await site.result()
        assert len(hop.asked) == 30


async def test_a_long_delivery_keeps_its_lease() -> None:
    """Nobody else takes a message that is still under way."""
    hop = Hop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        for _ in range(5):
            site.clock.advance(LEASE * 0.6)
            site.scheduler.nudge()
            for _ in range(10):
                await asyncio.sleep(0)
        lease = (await get(site)).lease
        assert lease is not None
        assert lease.until > site.clock.now()
        assert await site.spool.lease("worker-2", site.clock.now(), site.clock.now(), 10) == []
        hop.gate.set()
        await site.result()


async def test_a_message_whose_lease_ran_out_is_left_to_others() -> None:
    """After a long stall of this process it isn't sent a second time."""
    hop = Hop()
    hop.connections = -15  # one sender in all
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit("FIRST")
        await hop.reached.wait()
        await site.submit("SECOND")
        site.clock.advance(LEASE * 2)
        hop.gate.set()
        await site.result()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(hop.asked) == 1


async def test_at_the_end_attempts_under_way_finish() -> None:
    """What is being sent is sent to its end."""
    hop = Hop()
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
    hop = Hop()
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
    hop = Hop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        await site.scheduler.drain(0.2)
        (cut,) = (await get(site)).recipients
        assert cut.next_attempt is not None
        assert cut.next_attempt > site.clock.now() + timedelta(minutes=10)
        assert (await get(site)).lease is None


@pytest.mark.parametrize("kind", ["attempt", "bounce"])
async def test_the_trace_tells_of_attempts_and_bounces(kind: str) -> None:
    """Also when the message is gone."""
    hop = Hop(lambda *_: Reply(550, "5.1.1", "Unknown"))
    async with delivering(hop) as site:
        await site.submitted()
        assert kind in {event.kind for event in await site.spool.events("ID")}


async def test_a_hanging_next_hop_keeps_no_other_mail_waiting() -> None:
    """However much is due for it, and was due first, the others' due mail goes out."""
    hanging, healthy = Hop(name="hanging"), Hop(name="healthy")
    rules = [RouteRule(recipients=(AddressPattern("slow.example"),), upstream="hanging")]
    pace = Pace(poll=3600, batch=8)
    async with delivering(healthy, hanging, rules=rules, pace=pace) as site:
        hanging.gate.clear()
        for number in range(100):
            deposit = site.deposit(f"SLOW{number}", "bob@slow.example")
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
        site.clock.advance(timedelta(seconds=1))
        for number in range(20):
            deposit = site.deposit(f"GOOD{number}")
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
        while len(healthy.asked) < 20:
            site.clock.advance(timedelta(minutes=1))
            site.scheduler.nudge()
            for _ in range(10):
                await asyncio.sleep(0)
        assert len(hanging.asked) <= 2 + 16


async def test_a_long_queue_for_a_dead_next_hop_is_left_alone() -> None:
    """Once it is known whom mail waits for, what a full lane can't take isn't leased at all."""
    hop = Hop()
    hop.gate.clear()
    async with delivering(hop, pace=Pace(poll=3600, batch=8)) as site:
        for number in range(50):
            deposit = site.deposit(f"ID{number}")
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
        site.scheduler.nudge()
        while len(site.spool.settlements) < 48:
            await site.result()
        returned = len(site.spool.settlements)
        for _ in range(5):
            site.clock.advance(timedelta(minutes=1))
            site.scheduler.nudge()
            for _ in range(10):
                await asyncio.sleep(0)
        assert len(site.spool.settlements) == returned


async def test_the_next_messages_follow_without_waiting_for_a_look() -> None:
    """A long queue for a next hop that takes mail is sent as fast as it takes it."""
    hop = Hop()
    async with delivering(hop, pace=Pace(poll=3600, batch=8)) as site:
        for number in range(50):
            message = due(site.deposit(f"ID{number}").message)
            waiting = replace(message.recipients[0], upstream="provider")
            await site.spool.commit(Deposit(replace(message, recipients=(waiting,)), BODY))
        site.scheduler.nudge()
        while len(hop.asked) < 50:
            await site.result()


async def test_leases_are_kept_until_delivery_has_ended() -> None:
    """Asked to stop, the relay still sends what it holds: nobody else may send it, too."""
    hop = Hop()
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
            for _ in range(10):
                await asyncio.sleep(0)
            assert await site.spool.lease("worker-2", site.clock.now(), site.clock.now(), 1) == []
        hop.gate.set()
        assert draining is not None
        await draining
        assert await gone(site)


async def test_once_stopped_no_due_mail_is_taken() -> None:
    """It is the next process's."""
    hop = Hop()
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
    hop = Hop()
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
    hop = Hop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        await asyncio.sleep(0)
        await site.spend()
        site.clock.advance(QUARTER)
        site.scheduler.nudge()
        for _ in range(10):
            await asyncio.sleep(0)
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

    async with delivering(Hop(), hook=hang) as site:
        await site.submit()
        await asked.wait()
        await site.scheduler.drain(0.2)
        assert (await get(site)).lease is None


async def test_draining_keeps_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs, a next hop or the spool, the process ends when it was told to."""
    hop = Hop()
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
        async with delivering(Hop()) as site:
            monkeypatch.setattr(site.spool, "lease", lease)
            while troubles:
                site.scheduler.nudge()
                await asyncio.sleep(0)

    with pytest.raises(SpoolBroken):
        await deliver()
