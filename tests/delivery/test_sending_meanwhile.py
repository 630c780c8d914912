"""What an operator does to mail that a worker has in hand already."""

import asyncio
from datetime import timedelta

import pytest

from filterrelay.spool.store import Deposit, State

from .hop import (
    BODY,
    LATER,
    QUARTER,
    FakeHop,
    a_stored_message,
    a_while,
    an_outage,
    delivering,
    due,
    get,
    gone,
)


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


@pytest.mark.parametrize("fresh", [True, False])
async def test_mail_that_is_redirected_meanwhile_is_not_sent_the_old_way(*, fresh: bool) -> None:
    """What waited in the old hop's lane goes to the new one, fresh or not, and is tried once."""
    slow, backup = FakeHop(), FakeHop(name="backup")
    slow.connections = -15  # one sender in all
    slow.gate.clear()
    async with delivering(slow, backup) as site:
        await site.submit("FIRST", "first@p.example")
        await slow.reached.wait()
        if fresh:
            await site.submit()
        else:
            await site.spool.commit(Deposit(due(a_stored_message()), BODY))
            site.scheduler.nudge()
            await a_while()
        site.clock.advance(timedelta(seconds=5))
        assert await site.spool.redirect(["ID"], "backup", site.clock.now()) == 1
        slow.gate.set()
        await a_while()
        assert (slow.asked, backup.asked) == ([["first@p.example"]], [["bob@partner.example"]])
        assert await gone(site)
        assert [each.number for each in site.attempts] == [1, 1]


@pytest.mark.parametrize("verb", ["redirect", "hold", "delete"])
async def test_what_waits_for_a_next_hop_that_hangs_is_taken_back_at_once(verb: str) -> None:
    """It goes its new way, or stays, without waiting for its turn; and holds no memory."""
    hanging, backup = FakeHop(), FakeHop(name="backup")
    hanging.connections = -15  # one sender in all
    hanging.gate.clear()
    async with delivering(hanging, backup) as site:
        await site.submit("FIRST", "first@p.example")
        await hanging.reached.wait()
        held = site.memory.used
        for number in range(9):
            await site.submit(f"ID{number}")
        ids = [f"ID{number}" for number in range(9)]
        more = ["backup"] if verb == "redirect" else ["why"] if verb == "hold" else []
        await getattr(site.spool, verb)(ids, *more, site.clock.now())
        site.scheduler.nudge()
        await a_while()
        assert len(backup.asked) == (9 if verb == "redirect" else 0)
        assert site.memory.used == held
        assert (await site.spool.depth()).messages[State.HELD] == (9 if verb == "hold" else 0)
        assert hanging.asked == [["first@p.example"]]
        hanging.gate.set()
        await a_while()
        assert hanging.asked == [["first@p.example"]]


async def test_an_outage_is_no_attempt_at_mail_that_was_redirected() -> None:
    """Nobody gets back, at the end of its time, what was to leave by another hop."""
    hop, backup = FakeHop(lambda *_: LATER), FakeHop(name="backup")
    async with delivering(hop, backup) as site:
        await site.submitted()
        hop.outages = [an_outage(left=0)]
        site.clock.advance(timedelta(days=6))
        site.scheduler.nudge()
        await asyncio.sleep(0)
        await site.spool.redirect(["ID"], "backup", site.clock.now())
        await a_while()
        assert await gone(site)
        assert (len(backup.asked), site.reports) == (1, [])


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
