"""A destination's limits in front of an upstream that it shares."""

import asyncio

import pytest

from filterrelay.delivery.rate import Rates
from filterrelay.delivery.shaped import Shaped
from filterrelay.settings import Destination

from .far_side import codes, send
from .hop import FakeHop, an_outage


class Shared(FakeHop):
    """The upstream; counts what is admitted."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 20
        self.under_way = 0

    async def admit(self, recipients: int) -> None:
        """At once."""
        self.under_way += 1

    def leave(self) -> None:
        """One less."""
        self.under_way -= 1


def shaped(upstream: FakeHop, rates: Rates | None = None, **limits: object) -> Shaped:
    """The destination with these limits, over the upstream."""
    destination = Destination.model_validate(
        {"name": "slow", "domains": ["slow.example"], **limits}
    )
    return Shaped(destination, upstream, rates or Rates())


async def test_the_smaller_limits_hold() -> None:
    """The destination's own, and the upstream's where those say less."""
    upstream = Shared()
    assert shaped(upstream, connections=3, recipients=10).connections == 3
    assert shaped(upstream, connections=3, recipients=10).recipients == 10
    assert shaped(upstream, connections=50).connections == 20
    assert shaped(upstream).recipients == 100


async def test_who_waits_for_the_destination_takes_nothing_of_the_upstream() -> None:
    """Other mail over the same upstream has its connections."""
    upstream = Shared()
    slow = shaped(upstream, connections=2)
    for _ in range(2):
        assert await slow.admit(1) is None
    third = asyncio.ensure_future(slow.admit(1))
    await asyncio.sleep(0)
    assert (upstream.under_way, third.done()) == (2, False)
    slow.leave()
    await third
    assert upstream.under_way == 2


async def test_the_destinations_rate_is_an_outage_for_its_mail_alone() -> None:
    """And its room is what the rate leaves."""
    upstream = Shared()
    slow = shaped(upstream, Rates.of("1/m", "", 1))
    assert slow.room() == 1
    assert await slow.admit(1) is None
    slow.leave()
    outage = await slow.admit(1)
    assert outage is not None
    assert (slow.room(), upstream.room(), upstream.under_way) == (0, None, 0)


async def test_an_outage_of_the_upstream_is_the_destinations() -> None:
    """Whether it was there before, or comes while a place is waited for; no place is kept."""
    upstream = FakeHop()
    slow = shaped(upstream, connections=1)
    upstream.outages = [an_outage()]
    assert await slow.admit(1) == an_outage()
    upstream.outages = [None, None, an_outage(), None]
    assert await slow.admit(1) == an_outage()
    assert await asyncio.wait_for(slow.admit(1), 1) is None


async def test_what_the_upstream_refuses_costs_the_destination_nothing() -> None:
    """Its rate is for the mail that goes: after an outage the next message goes at once."""
    upstream = FakeHop()
    slow = shaped(upstream, Rates.of("1/m", "1/m", 1))
    upstream.outages = [None, None, an_outage(), None]
    assert await slow.admit(3) == an_outage()
    assert slow.room() == 1
    assert await slow.admit(1) is None
    assert slow.room() == 0


async def test_who_gives_up_leaves_its_place() -> None:
    """Cancelled while the upstream keeps it waiting."""
    upstream = FakeHop()
    never = asyncio.Event()

    async def admit(recipients: int) -> None:
        await never.wait()

    slow = shaped(upstream, Rates.of("1/m", "", 1), connections=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream, "admit", admit)
        waiting = asyncio.ensure_future(slow.admit(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await asyncio.wait_for(slow.admit(1), 1) is None


async def test_its_mail_goes_through_the_upstream_which_stays_open() -> None:
    """When the destination's lane is forgotten, others still use the connections."""
    upstream = FakeHop()
    slow = shaped(upstream)
    assert codes(await send(slow)) == ["250 2.0.0"]
    slow.close()
    assert not upstream.closed
