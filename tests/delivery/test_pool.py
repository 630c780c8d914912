"""Connections are kept, used again, and never too many."""

import asyncio
from collections.abc import Collection
from typing import Any

from filterrelay.delivery.pool import Pool, Wear
from filterrelay.delivery.slots import Slots
from filterrelay.observe.metrics import Metrics

from .far_side import Opener, codes, far_side, send, upstream_settings


async def test_a_connection_is_kept_for_the_next_message(open_upstream: Opener) -> None:
    """Ten messages go over one connection, greeted once."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        for _ in range(10):
            await send(upstream)
        assert (side.connections, len(side.received)) == (1, 10)


async def test_no_more_connections_than_allowed(open_upstream: Opener) -> None:
    """The rest wait for their turn, and all get through."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, connections=3))
        results = await asyncio.gather(*(send(upstream) for _ in range(30)))
        assert [codes(sent) for sent in results] == [["250 2.0.0"]] * 30
        assert side.connections == 3


async def test_a_connection_gives_way_after_so_many_messages(open_upstream: Opener) -> None:
    """Some servers refuse the message after the last that they take over one connection."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, connection_messages=4))
        for _ in range(10):
            await send(upstream)
        assert (side.connections, len(side.received)) == (3, 10)


async def test_a_connection_gives_way_after_its_time(open_upstream: Opener) -> None:
    """So that a new host, or a better one, gets its part of a steady stream."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, connection_age="1s"))
        await send(upstream)
        await send(upstream)
        assert side.connections == 1
        await asyncio.sleep(1.01)
        await send(upstream)
        await send(upstream)
        assert side.connections == 2


class Talk:
    """A connection that ends when the test says."""

    def __init__(self) -> None:
        self.usable = True
        self.client: object = None
        self.transactions = 0
        self.opened = asyncio.get_running_loop().time()
        self.on_lost: object = None

    def quit(self) -> None:
        """Ends."""
        self.usable = False


def a_pool(slots: Slots, opened: list[str], name: str, most: int = 20) -> Pool:
    """A pool over connections without a network; its name is noted for each that it opens."""

    async def talk(_: Collection[int]) -> Any:
        opened.append(name)
        return Talk()

    gauge = Metrics().pool
    return Pool(
        Wear(most, 1000, 300.0), talk, lambda _: False, lambda s: gauge.labels(name, s), slots
    )


async def test_pools_that_hang_leave_places_to_the_others() -> None:
    """However many of them there are, each site gets its first connection."""
    opened: list[str] = []
    slots = Slots(100)
    hanging = [a_pool(slots, opened, f"hanging{n}") for n in range(20)]
    held = [
        asyncio.ensure_future(pool.acquire()) for pool in hanging for _ in range(10)
    ]  # never released
    await asyncio.sleep(0)
    healthy = [a_pool(slots, opened, f"healthy{n}") for n in range(60)]
    for pool in healthy:
        pool.release(await asyncio.wait_for(pool.acquire(), 1))
    assert opened[-60:] == [f"healthy{n}" for n in range(60)]
    for task in held:
        task.cancel()


async def test_sites_take_turns_where_there_are_too_few_places() -> None:
    """Who has a connection gives it up in time for who has none; both get on."""
    opened: list[str] = []
    slots = Slots(1)
    first, second = a_pool(slots, opened, "first"), a_pool(slots, opened, "second")
    talk = await first.acquire()
    waiting = [asyncio.ensure_future(pool.acquire()) for pool in (first, first, second)]
    await asyncio.sleep(0)
    first.release(talk)
    assert await waiting[0] is talk  # not yet: it has had it for a moment only
    talk.opened -= 10
    first.release(talk)
    theirs = await asyncio.wait_for(waiting[2], 1)
    assert not waiting[1].done()
    second.release(theirs)
    ours = await asyncio.wait_for(waiting[1], 1)
    assert opened == ["first", "second", "first"]
    first.release(ours)
    assert (first.size, second.size) == (1, 0)


async def test_who_gives_up_waiting_keeps_no_place() -> None:
    """Cancelled before or after its turn has come."""
    opened: list[str] = []
    slots = Slots(1)
    first, second = a_pool(slots, opened, "first"), a_pool(slots, opened, "second")
    talk = await first.acquire()
    early, late = (asyncio.ensure_future(second.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.sleep(0)
    first.release(talk)
    late.cancel()
    await asyncio.wait([late])
    assert (first.size, second.size) == (0, 0)
    await asyncio.wait_for(first.acquire(), 1)


async def test_the_gauges_are_of_all_pools_together() -> None:
    """All sites of direct delivery have one name."""
    metrics = Metrics()

    async def talk(_: Collection[int]) -> Any:
        return Talk()

    def a_site() -> Pool:
        return Pool(
            Wear(5, 10, 300.0), talk, lambda _: False, lambda s: metrics.pool.labels("mx", s)
        )

    def shown() -> list[float]:
        return [metrics.pool.labels("mx", state)._value.get() for state in ("busy", "idle")]

    one, two = a_site(), a_site()
    busy = await one.acquire()
    two.release(await two.acquire())
    for pool in (one, two):
        pool.observe()
    assert shown() == [1, 1]
    two.close()
    one.release(busy)
    one.close()
    assert shown() == [0, 0]
