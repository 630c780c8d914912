"""Looks into the spool: how often, and how much is taken for how many next hops."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from filterrelay.delivery.lanes import Lanes
from filterrelay.delivery.scheduler import Pace
from filterrelay.mail.address import AddressPattern
from filterrelay.mail.outcome import Route
from filterrelay.settings import RouteRule
from filterrelay.spool.selection import Selection
from filterrelay.spool.store import State, StoredMessage

from .hop import FakeHop, a_while, delivering, due, gone


async def test_looks_that_had_to_wait_for_routing_follow_at_once() -> None:
    """When DNS is slow, due mail comes as fast as it answers, also what ends without an attempt."""
    asked = 0
    answers = asyncio.Event()

    async def route(*_: object) -> Route:
        nonlocal asked
        asked += 1
        await answers.wait()
        return Route("reject")

    async with delivering(FakeHop(), hook=route, pace=Pace(poll=3600, batch=4)) as site:
        await asyncio.sleep(0)
        for number in range(12):
            deposit = site.deposit(f"ID{number:02}")
            await site.spool.commit(replace(deposit, message=due(deposit.message)))
        site.scheduler.nudge()
        await a_while()
        assert asked == 4
        answers.set()
        for _ in range(10):
            await a_while()
        assert asked == 12


async def test_looks_keep_a_distance_when_there_are_many_next_hops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each costs something for each hop, and mail that goes out may nudge all the time."""
    monkeypatch.setattr(Lanes, "__len__", lambda _: 4_100)
    async with delivering(FakeHop()) as site:
        looks = 0
        lease = site.spool.lease

        async def counted(*arguments: Any) -> list[StoredMessage]:
            nonlocal looks
            looks += 1
            return await lease(*arguments)

        monkeypatch.setattr(site.spool, "lease", counted)
        for _ in range(30):
            site.scheduler.nudge()
            await asyncio.sleep(0.01)
        assert 1 <= looks <= 3


async def test_many_next_hops_that_hang_hold_no_more_than_there_may_be() -> None:
    """What is due for them waits on disk; another's mail still goes."""
    hops = [FakeHop(name=f"hop{number}") for number in range(10)]
    for hop in hops:
        hop.gate.clear()
    rules = [
        RouteRule(recipients=(AddressPattern(f"*@{hop.name}.example"),), upstream=hop.name)
        for hop in hops
    ]
    other = FakeHop(name="other")
    async with delivering(other, *hops, rules=rules, pace=Pace(poll=3600, flights=80)) as site:
        for hop in hops:
            for number in range(30):
                deposit = site.deposit(f"{hop.name}-{number}", f"r@{hop.name}.example")
                message = due(deposit.message)
                waiting = replace(message.recipients[0], upstream=hop.name)
                await site.spool.commit(
                    replace(deposit, message=replace(message, recipients=(waiting,)))
                )
            await site.submit(hop.name, f"first@{hop.name}.example")
        for _ in range(20):
            site.scheduler.nudge()
            await a_while()
        queued = await site.spool.select(Selection(states=(State.QUEUED,)), site.clock.now())
        assert 40 <= sum(message.lease is not None for message in queued) <= 100
        await site.submit("GOES")
        await a_while()
        assert await gone(site, "GOES")
