"""What waits for one next hop."""

import asyncio

from filterrelay.delivery.lane import SETTLING, Flight, Lane, Part
from filterrelay.delivery.memory import Commons
from filterrelay.delivery.nowhere import Nowhere
from filterrelay.mail.hop import Hop
from filterrelay.observe.budget import MemoryBudget
from filterrelay.plugin.testing import SOME_TIME, an_envelope
from filterrelay.spool.store import StoredMessage

from .hop import FakeHop


def a_part() -> Part:
    """A part of a message without recipients."""
    message = StoredMessage("ID", SOME_TIME, an_envelope(), {}, 0, ())
    flight = Flight(message, SOME_TIME, True, MemoryBudget(1).reservation())
    return Part(flight, Lane(Nowhere(), 50, Commons(1000)), Hop("provider"), (), 0.0)


async def test_a_sleeping_sender_is_woken_before_another_is_wanted() -> None:
    """Senders are few: one that sleeps takes the next part."""
    lane = Lane(Nowhere(), 50, Commons(1000))
    sleeping = asyncio.ensure_future(lane.sleep())
    await asyncio.sleep(0)
    assert not lane.put(a_part())
    await sleeping
    assert lane.put(a_part())


async def test_senders_are_limited() -> None:
    """As many as there are connections, and some whose result is being written."""
    lane = Lane(Nowhere(), 50, Commons(1000))
    lane.senders = 1 + SETTLING
    assert not lane.put(a_part())
    assert len(lane.waiting) == 1


async def test_all_sleepers_wake_at_the_end() -> None:
    """So that they notice that it is the end."""
    lane = Lane(Nowhere(), 50, Commons(1000))
    sleeping = [asyncio.ensure_future(lane.sleep()) for _ in range(3)]
    await asyncio.sleep(0)
    lane.wake_all()
    await asyncio.gather(*sleeping)


def test_a_long_queue_stays_on_disk() -> None:
    """Of its mail in the spool a next hop has so much in hand, and once as many as connections."""
    lane = Lane(Nowhere(), 50, Commons(1000))
    lane.spooled = 48
    assert lane.room == 2
    lane.spooled = 60
    assert lane.room == 0
    assert Lane(Nowhere(), 0, Commons(1000)).room == Nowhere.connections


def test_the_lease_ends_with_the_last_part() -> None:
    """A message for two next hops stays ours until both results are written."""
    flight = a_part().flight
    flight.unsettled = 2
    assert [flight.settles(), flight.settles()] == [False, True]


async def test_no_more_is_taken_from_disk_than_may_go_soon() -> None:
    """What a rate or an outage would send back isn't leased at all; what waits counts."""
    hop = FakeHop()
    lane = Lane(hop, 50, Commons(1000))
    assert lane.room == 50
    for may, room in ((7, 7), (0, 0)):
        hop.may = may
        assert lane.room == room
    hop.may = 7
    lane.put(a_part())
    assert lane.room == 6
