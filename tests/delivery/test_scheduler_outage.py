"""A next hop that can't be reached, and what happens once it can."""

import asyncio
from datetime import timedelta

import pytest

from filterrelay.delivery.scheduler import Pace
from filterrelay.spool.store import SpoolUnavailable, StoredMessage, StoredRecipient

from .hop import (
    LATER,
    QUARTER,
    REFUSED,
    TAKEN,
    FakeHop,
    Site,
    a_rest,
    a_while,
    an_outage,
    delivering,
    get,
    gone,
)

BACK = Pace(poll=3600, batch=8)


async def recipient(site: Site, id_: str = "ID") -> StoredRecipient:
    """The message's only one."""
    (only,) = (await get(site, id_)).recipients
    return only


async def settled(site: Site, count: int) -> None:
    """Returns when so many results are recorded."""
    while len(site.spool.settlements) < count:
        await site.result()


async def test_fresh_mail_in_an_outage_is_deferred_by_the_schedule() -> None:
    """Its notices and its end come in time, though no host is troubled for it."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop) as site:
        await site.submitted()
        waiting = await recipient(site)
        assert (waiting.attempts, waiting.unreached) == (1, True)
        assert waiting.last_reply == str(REFUSED)
        assert waiting.next_attempt is not None
        assert timedelta(minutes=13) < waiting.next_attempt - site.clock.now() < QUARTER
        assert hop.asked == []


async def test_mail_goes_at_once_when_the_next_hop_is_back() -> None:
    """A probe finds out; one message is tried first, then all follow, with none left to wait."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop, pace=BACK) as site:
        for number in range(50):
            await site.submit(f"ID{number:02}", f"r{number:02}@p.example")
        await settled(site, 50)
        hop.outages, hop.there = [], True
        hop.gate.clear()
        site.scheduler.nudge()
        await a_while()
        assert hop.asked == [["r00@p.example"]]
        hop.gate.set()
        while len(hop.asked) < 50:
            await site.result()
        assert hop.asked == [[f"r{number:02}@p.example"] for number in range(50)]


async def test_nothing_goes_early_while_the_next_hop_is_down() -> None:
    """It is probed once its pause is over, and all else keeps to the schedule."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop) as site:
        await site.submitted()
        site.scheduler.nudge()
        await a_while()
        assert hop.probes == 0
        hop.outages = []
        for _ in range(3):
            site.scheduler.nudge()
            await a_while()
        assert hop.probes == 3
        assert hop.asked == []


async def test_an_answer_about_the_mail_keeps_its_schedule() -> None:
    """Who is greylisted isn't sent early, whatever else the next hop takes."""
    hop = FakeHop(lambda *_: LATER)
    async with delivering(hop) as site:
        await site.submitted("GREY", "grey@p.example")
        hop.outages = [an_outage()]
        await site.submitted("DOWN", "down@p.example")
        hop.outages, hop.there = [], True
        hop.answer = lambda *_: TAKEN
        site.scheduler.nudge()
        while not await gone(site, "DOWN"):
            await site.result()
        site.scheduler.nudge()
        await a_while()
        assert hop.asked == [["grey@p.example"], ["down@p.example"]]


async def test_a_next_hop_that_is_back_but_takes_nothing_sees_one_message_at_a_time() -> None:
    """That a connection can be made doesn't make it hear of the whole queue."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop) as site:
        for number in range(20):
            await site.submit(f"ID{number:02}")
        await settled(site, 20)
        hop.outages, hop.there, hop.answered = [], True, False
        hop.answer = lambda *_: LATER
        for _ in range(3):
            site.scheduler.nudge()
            await a_while()
        assert len(hop.asked) == 3


async def test_at_the_start_one_message_finds_out_whether_the_next_hop_is_back() -> None:
    """Then the rest of what waits follows."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop) as before:
        for number in range(20):
            await before.submit(f"ID{number:02}")
        await settled(before, 20)
    hop.outages = []
    async with delivering(hop, spool=before.spool, pace=BACK) as site:
        while len(hop.asked) < 20:
            await asyncio.wait_for(site.result(), 1)


async def test_mail_of_a_hop_that_asks_for_patience_goes_when_the_time_is_over() -> None:
    """Though direct delivery, say, probes none: one message first, then all others."""
    hop = FakeHop()
    hop.outages = [a_rest()]
    async with delivering(hop, pace=BACK) as site:
        for number in range(20):
            await site.submit(f"ID{number:02}")
        await settled(site, 20)
        hop.outages = []
        hop.gate.clear()
        site.scheduler.nudge()
        await a_while()
        assert (len(hop.asked), hop.probes) == (1, 0)
        hop.gate.set()
        while len(hop.asked) < 20:
            await asyncio.wait_for(site.result(), 1)


async def test_a_hop_that_asks_for_patience_for_hours_stops_no_report_of_a_long_queue() -> None:
    """All of its mail is told of the rest when it is due, not as much as could be sent."""
    hop = FakeHop()
    hop.outages = [a_rest()]
    async with delivering(hop, pace=BACK) as site:
        for number in range(100):
            await site.submit(f"ID{number:02}")
        await settled(site, 100)
        hop.may = 0
        for _ in range(20):
            site.clock.advance(timedelta(minutes=30))
            site.scheduler.nudge()
            await asyncio.sleep(0.01)
        assert len(site.reports) == 100
        assert all(b"Action: delayed" in raw for _, raw in site.reports)
        assert hop.asked == []


async def test_the_look_at_the_start_is_made_again_when_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The spool may be busy when the relay starts."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop) as before:
        await before.submitted()
    hop.outages = []
    lease_unreached = before.spool.lease_unreached

    async def fails(*_: object) -> list[StoredMessage]:
        monkeypatch.setattr(before.spool, "lease_unreached", lease_unreached)
        raise SpoolUnavailable("busy")

    monkeypatch.setattr(before.spool, "lease_unreached", fails)
    async with delivering(hop, spool=before.spool) as site:
        await a_while()
        site.scheduler.nudge()
        await a_while()
        assert await gone(site)


async def test_a_long_outage_is_told_once_in_the_trace() -> None:
    """The queue shows that it goes on; a line a try and a message would outgrow the mail."""
    hop = FakeHop()
    hop.outages = [an_outage()]
    async with delivering(hop) as site:
        await site.submitted()
        for _ in range(3):
            await site.later(timedelta(hours=5))
        assert (await recipient(site)).attempts == 4
        kinds = [event.kind for event in await site.spool.events("ID")]
        assert kinds.count("attempt") == 1
