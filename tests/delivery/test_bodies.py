"""The bytes in memory, and which of them are given up."""

import asyncio

import pytest

from filterrelay.delivery.bodies import Bodies
from filterrelay.delivery.lane import Flight, Lane, Part
from filterrelay.delivery.memory import Commons
from filterrelay.observe.budget import MemoryBudget
from filterrelay.plugin.testing import FakeClock
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Deposit

from .hop import BODY, LEASE, TO_PROVIDER, FakeHop, a_stored_message


@pytest.fixture
def memory() -> MemoryBudget:
    """Room for three bodies."""
    return MemoryBudget(3 * len(BODY))


@pytest.fixture
def spool() -> MemorySpool:
    """An empty one."""
    return MemorySpool(FakeClock())


@pytest.fixture
def bodies(spool: MemorySpool, memory: MemoryBudget) -> Bodies:
    """Those of the spool, which wait for no memory."""
    return Bodies(spool, memory, 0)


@pytest.fixture
def lane() -> Lane:
    """One that may hold two bodies, and one beyond."""
    return a_lane()


def a_lane(commons: Commons | None = None) -> Lane:
    """One of those that share this, 18 bodies if nothing else is said."""
    return Lane(FakeHop(), 10, commons or Commons(18 * len(BODY)))


def a_part(flight: Flight, lane: Lane) -> Part:
    """All of the message, in the lane."""
    return Part(flight, lane, TO_PROVIDER, (), 0.0)


async def a_flight(spool: MemorySpool, memory: MemoryBudget, id_: str) -> Flight:
    """A fresh message, durable, with its body in memory."""
    message = a_stored_message(id_)
    await spool.commit(Deposit(message, BODY))
    reservation = memory.reservation()
    await reservation.grow(len(BODY), 0)
    return Flight(message, FakeClock().now() + LEASE, True, reservation, BODY)


async def test_what_waits_last_is_given_up_first_and_read_again(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """Whose turn is next keeps its body; the other's comes from the disk."""
    first, last = [await a_flight(spool, memory, id_) for id_ in ("FIRST", "LAST")]
    bodies.keep(first, lane)
    bodies.keep(last, lane)
    bodies.relieve(1)
    assert (first.body, last.body) == (BODY, None)
    assert memory.used == len(BODY)
    assert await bodies.of(a_part(last, lane)) == BODY
    assert memory.used == 2 * len(BODY)


async def test_what_is_being_sent_is_kept(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """A sender needs the bytes in its hand until the end."""
    flight = await a_flight(spool, memory, "ID")
    bodies.keep(flight, lane)
    part = a_part(flight, lane)
    await bodies.of(part)
    bodies.relieve(10_000)
    assert flight.body == BODY
    bodies.let_go(part)
    bodies.relieve(10_000)
    assert (memory.used, lane.memory.used) == (0, 0)


async def test_a_message_that_must_wait_for_memory_asks_for_what_others_can_spare(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """The budget's relief is the bodies that wait their turn."""
    for number in range(3):
        bodies.keep(await a_flight(spool, memory, f"ID{number}"), lane)
    newcomer = memory.reservation()
    await memory.reservation().grow(2 * len(BODY), 0)
    await newcomer.grow(2 * len(BODY), 0)
    assert memory.used <= 5 * len(BODY)


async def test_one_next_hop_holds_no_more_than_its_share(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """Whatever hangs there, most of the memory stays for the doors and for other next hops."""
    flights = [await a_flight(spool, memory, f"ID{number}") for number in range(4)]
    for flight in flights:
        bodies.keep(flight, lane)
    assert [flight.body for flight in flights] == [BODY, BODY, BODY, None]
    assert await bodies.of(a_part(flights[3], lane)) is None
    bodies.drop(flights[0])
    assert await bodies.of(a_part(flights[3], lane)) == BODY


async def test_without_memory_there_is_no_body(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """And nothing is held by asking in vain."""
    flight = await a_flight(spool, memory, "ID")
    bodies.drop(flight)
    for _ in range(2):
        await memory.reservation().grow(memory.total, 0)
    assert await bodies.of(a_part(flight, lane)) is None
    assert memory.used == 2 * memory.total


async def test_what_is_made_of_a_body_counts_until_that_is_dropped(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """And has to find room like any message."""
    flight, other = await a_flight(spool, memory, "ID"), await a_flight(spool, memory, "ID2")
    bodies.keep(flight, lane)
    assert await bodies.more_of(flight, 2 * len(BODY))
    assert memory.used == 4 * len(BODY)
    assert await bodies.more_of(other, 10 * memory.total)  # one message doesn't count
    assert not await bodies.more_of(flight, 10 * memory.total)
    bodies.drop(other)
    bodies.drop(flight)
    assert memory.used == 0


async def test_a_next_hop_that_hangs_holds_up_no_other_part_of_the_message(
    spool: MemorySpool, lane: Lane
) -> None:
    """Its part waits for its own lane's memory; the other one reads the body and goes."""
    bodies = Bodies(spool, MemoryBudget(100 * len(BODY)), wait=60)
    hanging = lane
    for number in range(3):
        flight = await a_flight(spool, MemoryBudget(1000), f"HUNG{number}")
        assert await bodies.of(a_part(flight, hanging)) == BODY
    flight = await a_flight(spool, MemoryBudget(1000), "BOTH")
    flight.body = None
    slow = asyncio.ensure_future(bodies.of(a_part(flight, hanging)))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(bodies.of(a_part(flight, a_lane())), 1) == BODY
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])
    assert flight.in_hand == 1


async def test_fresh_mail_is_counted_once(
    bodies: Bodies, spool: MemorySpool, memory: MemoryBudget, lane: Lane
) -> None:
    """What its lane gave while it waited is what its sender has."""
    flight = await a_flight(spool, memory, "ID")
    bodies.keep(flight, lane)
    part = a_part(flight, lane)
    await bodies.of(part)
    assert lane.memory.used == len(BODY)
    bodies.let_go(part)
    bodies.drop(flight)
    assert (lane.memory.used, memory.used) == (0, 0)
