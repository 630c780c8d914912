"""One part: whether it may go now, and what becomes of it when it may not."""

import asyncio
from datetime import timedelta

import pytest

from filterrelay.delivery.scheduler import Pace
from filterrelay.mail.reply import Reply
from filterrelay.spool.store import SpoolUnavailable, State

from .hop import (
    BODY,
    LATER,
    QUARTER,
    REFUSED,
    TAKEN,
    FakeHop,
    a_rest,
    a_while,
    an_outage,
    delivering,
    get,
    gone,
)


async def test_fresh_mail_sits_out_a_rest_on_disk() -> None:
    """It goes when the next hop may be tried again, not a quarter of an hour later."""
    hop = FakeHop()
    hop.outages = [a_rest(left=30)]
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


async def test_due_mail_waits_for_the_end_of_a_rest() -> None:
    """It goes a moment later."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.answer = lambda *_: TAKEN
        hop.outages = [a_rest(left=0.01)]
        await site.spool.retry(["ID"], site.clock.now())
        site.scheduler.nudge()
        await site.result()
        assert await gone(site)


async def test_an_outage_counts_as_the_attempt_of_all_that_is_due() -> None:
    """A next hop that is down is not tried for each message; each is told the reason."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.outages = [an_outage(age=3, left=30)]
        await site.later(QUARTER)
        (waiting,) = (await get(site)).recipients
        assert (waiting.attempts, waiting.last_reply) == (2, str(REFUSED))
        assert len(hop.asked) == 1


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


async def test_a_message_deleted_meanwhile_is_not_sent() -> None:
    """An operator's `queue delete` counts until the attempt begins."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        await asyncio.sleep(0)
        hog = await site.spend()
        site.clock.advance(QUARTER)
        site.scheduler.nudge()
        await a_while()
        await site.spool.delete(["ID"], site.clock.now())
        hog.release()
        await a_while()
        assert len(hop.asked) == 1


async def test_fresh_mail_behind_a_slow_next_hop_can_be_stopped() -> None:
    """`queue delete` and `queue hold` say that they did it; it isn't sent from memory then."""
    hop = FakeHop()
    hop.connections = -15  # one sender in all
    hop.gate.clear()
    async with delivering(hop) as site:
        await site.submit("FIRST", "first@p.example")
        await hop.reached.wait()
        for id_ in ("DELETED", "HELD", "SENT"):
            await site.submit(id_, f"{id_.lower()}@p.example")
        site.clock.advance(timedelta(seconds=5))
        await site.spool.delete(["DELETED"], site.clock.now())
        await site.spool.hold(["HELD"], "look at it", site.clock.now())
        hop.gate.set()
        await a_while()
        assert hop.asked == [["first@p.example"], ["sent@p.example"]]
        site.scheduler.nudge()
        await a_while()
        held = await get(site, "HELD")
        assert (held.state, held.lease, held.recipients[0].attempts) == (State.HELD, None, 0)


async def test_due_mail_that_is_held_meanwhile_is_not_sent() -> None:
    """Held between lease and attempt, it keeps its state, and nobody's lease delays its release."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        await asyncio.sleep(0)
        hog = await site.spend()
        site.clock.advance(QUARTER)
        site.scheduler.nudge()
        await a_while()
        await site.spool.hold(["ID"], "look at it", site.clock.now())
        hog.release()
        await a_while()
        site.scheduler.nudge()
        await a_while()
        assert len(hop.asked) == 1
        held = await get(site)
        assert (held.lease, held.recipients[0].attempts) == (None, 1)


async def test_an_outage_is_no_attempt_at_held_mail() -> None:
    """What failed for all that waited doesn't count for what has been set aside."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted()
        hop.outages = [an_outage(left=0)]
        site.clock.advance(QUARTER)
        site.scheduler.nudge()
        await asyncio.sleep(0)
        await site.spool.hold(["ID"], "look at it", site.clock.now())
        await a_while()
        assert (await get(site)).recipients[0].attempts == 1


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
