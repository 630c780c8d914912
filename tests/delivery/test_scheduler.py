"""Delivery as a whole: fresh mail, retries, leases, and the end."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from filterrelay.delivery.lane import Lane
from filterrelay.delivery.lanes import Lanes
from filterrelay.delivery.route import NO_ROUTE, Way
from filterrelay.delivery.scheduler import Pace
from filterrelay.mail.address import AddressPattern
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import SOME_TIME
from filterrelay.settings import RouteRule
from filterrelay.spool.store import (
    Deposit,
    RecipientState,
    SpoolUnavailable,
)

from .hop import (
    BODY,
    LATER,
    LEASE,
    QUARTER,
    TAKEN,
    FakeHop,
    a_while,
    delivering,
    due,
    get,
    gone,
)


async def test_a_fresh_message_goes_out_from_memory() -> None:
    """Delivered, it leaves the spool, and its memory is free again."""
    hop = FakeHop()
    async with delivering(hop) as site:
        await site.submitted()
        assert hop.asked == [["bob@partner.example"]]
        assert await gone(site)
        await asyncio.sleep(0)
        assert site.memory.used == 0


async def test_a_deferred_message_comes_again_after_15_minutes() -> None:
    """From the spool, with the bytes it had."""
    answers = iter([LATER, TAKEN])
    hop = FakeHop(lambda *_: next(answers))
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
    hop = FakeHop(lambda place, _: TAKEN if place == 0 else LATER)
    async with delivering(hop) as site:
        await site.submitted("ID", "a@p.example", "b@p.example")
        hop.answer = lambda *_: TAKEN
        await site.later(QUARTER)
        assert hop.asked == [["a@p.example", "b@p.example"], ["b@p.example"]]


async def test_the_next_attempt_is_recorded_before_connecting() -> None:
    """A crash in the middle of an attempt can't have a peer hammered."""
    hop = FakeHop(lambda *_: LATER)
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
    provider, partner = FakeHop(), FakeHop(lambda *_: LATER, name="partner")
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


async def test_one_messages_trouble_stops_no_other() -> None:
    """A fault of ours ends one delivery; the next message goes out."""

    def answer(_: int, recipient: object) -> Reply:
        if str(recipient) == "trouble@p.example":
            raise RuntimeError("a bug")
        return TAKEN

    async with delivering(FakeHop(answer)) as site:
        await site.submit("BAD", "trouble@p.example")
        await site.submitted("GOOD")
        assert await gone(site, "GOOD")
        assert not await gone(site, "BAD")


async def test_mail_beyond_the_backlog_waits_on_disk() -> None:
    """Behind a slow next hop, memory holds so many messages and no more; none is lost."""
    hop = FakeHop()
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
    hop = FakeHop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        for _ in range(5):
            site.clock.advance(LEASE * 0.6)
            site.scheduler.nudge()
            await a_while()
        lease = (await get(site)).lease
        assert lease is not None
        assert lease.until > site.clock.now()
        assert await site.spool.lease("worker-2", site.clock.now(), site.clock.now(), 10) == []
        hop.gate.set()
        await site.result()


async def test_leases_are_kept_while_the_spool_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or others would take what is under way here, and send it a second time."""

    async def unreadable(_: int | None) -> NoReturn:
        raise SpoolUnavailable("it can't be read")

    hop = FakeHop()
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit()
        await hop.reached.wait()
        monkeypatch.setattr(site.spool, "acts", unreadable)
        site.clock.advance(LEASE * 0.6)
        site.scheduler.nudge()
        await a_while()
        lease = (await get(site)).lease
        assert lease is not None
        assert lease.until > site.clock.now() + LEASE * 0.9
        hop.gate.set()
        await site.result()


async def test_a_message_whose_lease_ran_out_is_left_to_others() -> None:
    """After a long stall of this process it isn't sent a second time."""
    hop = FakeHop()
    hop.connections = -15  # one sender in all
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit("FIRST")
        await hop.reached.wait()
        await site.submit("SECOND")
        site.clock.advance(LEASE * 2)
        hop.gate.set()
        await site.result()
        await a_while()
        assert len(hop.asked) == 1


@pytest.mark.parametrize("kind", ["attempt", "bounce"])
async def test_the_trace_tells_of_attempts_and_bounces(kind: str) -> None:
    """Also when the message is gone."""
    hop = FakeHop(lambda *_: Reply(550, "5.1.1", "Unknown"))
    async with delivering(hop) as site:
        await site.submitted()
        assert kind in {event.kind for event in await site.spool.events("ID")}


async def test_a_hanging_next_hop_keeps_no_other_mail_waiting() -> None:
    """However much is due for it, and was due first, the others' due mail goes out."""
    hanging, healthy = FakeHop(name="hanging"), FakeHop(name="healthy")
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
            await a_while()
        assert len(hanging.asked) <= 2 + 16


async def test_a_long_queue_for_a_dead_next_hop_is_left_alone() -> None:
    """Once it is known whom mail waits for, what a full lane can't take isn't leased at all."""
    hop = FakeHop()
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
            await a_while()
        assert len(site.spool.settlements) == returned


async def test_mail_left_by_a_crash_is_sent_without_delay() -> None:
    """Nobody knows whom it waits for: more is leased than the lane takes, and it comes again."""
    hop = FakeHop()
    async with delivering(hop, pace=Pace(poll=3600, batch=8)) as site:
        for number in range(50):
            deposit = site.deposit(f"ID{number}")
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
        site.scheduler.nudge()
        while len(hop.asked) < 50:
            await site.result()


async def test_the_next_messages_follow_without_waiting_for_a_look() -> None:
    """A long queue for a next hop that takes mail is sent as fast as it takes it."""
    hop = FakeHop()
    async with delivering(hop, pace=Pace(poll=3600, batch=8)) as site:
        for number in range(50):
            message = due(site.deposit(f"ID{number}").message)
            waiting = replace(message.recipients[0], upstream="provider")
            await site.spool.commit(Deposit(replace(message, recipients=(waiting,)), BODY))
        site.scheduler.nudge()
        while len(hop.asked) < 50:
            await site.result()


async def test_a_full_lane_holds_up_no_other_recipient_of_its_message() -> None:
    """Its part comes again a minute later, by itself; the other one goes at once."""
    hanging, healthy = FakeHop(name="hanging"), FakeHop(name="healthy")
    hanging.connections = -15  # one sender in all
    rules = [RouteRule(recipients=(AddressPattern("slow.example"),), upstream="hanging")]
    pace = Pace(poll=3600, batch=8, backlog=4)
    async with delivering(healthy, hanging, rules=rules, pace=pace) as site:
        hanging.gate.clear()
        for number in range(20):
            id_, to = f"ID{number:02}", ("bob@slow.example", "bob@quick.example")
            message = due(site.deposit(id_, *to).message)
            waiting = [
                replace(stored, upstream=upstream)
                for stored, upstream in zip(message.recipients, ("hanging", "healthy"), strict=True)
            ]
            await site.spool.commit(Deposit(replace(message, recipients=tuple(waiting)), BODY))
        site.scheduler.nudge()
        while len(healthy.asked) < 20:
            site.clock.advance(timedelta(minutes=1))
            site.scheduler.nudge()
            await a_while()
        assert len(hanging.asked) == 1
        left = [await get(site, f"ID{number:02}") for number in range(20)]
        assert [message.hops() for message in left] == [{"hanging"}] * 20
        assert len([message for message in left if message.lease]) <= 1 + 4


async def test_hanging_destinations_keep_no_other_mail_waiting() -> None:
    """One in ten hangs, with more mail than all others: each other one's mail goes out."""
    hops = [FakeHop(name=f"hop{n}") for n in range(30)]
    rules = [
        RouteRule(recipients=(AddressPattern(f"{hop.name}.example"),), upstream=hop.name)
        for hop in hops
    ]
    async with delivering(*hops, rules=rules, pace=Pace(poll=3600, batch=40)) as site:
        for hop in hops[::10]:
            hop.gate.clear()
            for number in range(200):
                id_ = f"{hop.name}-{number:03}"
                message = due(site.deposit(id_, f"bob@{hop.name}.example").message)
                await site.spool.commit(Deposit(message, BODY))
        healthy = [hop for number, hop in enumerate(hops) if number % 10]
        for number in range(20):
            for hop in healthy:
                id_ = f"GOOD-{hop.name}-{number}"
                deposit = site.deposit(id_, f"bob@{hop.name}.example")
                await site.spool.commit(replace(deposit, message=due(deposit.message)))
        site.scheduler.nudge()
        while not all(len(hop.asked) == 20 for hop in healthy):
            await site.result()
        assert all(len(hop.asked) <= 18 for hop in hops[::10])


async def test_mail_for_a_next_hop_that_cant_be_opened_is_deferred(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate that can't be read any more, say: it is tried again, and nobody's forever."""
    lane_of = Lanes.of

    def of(lanes: Lanes, way: Way) -> Lane:
        if way.answer is None:
            raise OSError("no such file")
        return lane_of(lanes, way)

    monkeypatch.setattr(Lanes, "of", of)
    async with delivering(FakeHop()) as site:
        await site.submitted()
        message = await get(site)
        (waiting,) = message.recipients
        assert (waiting.attempts, waiting.last_reply) == (1, str(NO_ROUTE))
        assert message.lease is None
