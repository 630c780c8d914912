"""Finding out whether a next hop is back."""

import asyncio

from structlog.testing import capture_logs

from filterrelay.delivery.lane import Lane
from filterrelay.delivery.memory import Commons
from filterrelay.delivery.probes import Probes

from .hop import FakeHop, a_while


class SlowHop(FakeHop):
    """A next hop whose connection takes until the gate is open."""

    async def probe(self) -> bool:
        """As it was told, in time."""
        await super().probe()
        await self.gate.wait()
        return self.there


def a_lane(hop: FakeHop) -> Lane:
    """Of a next hop that couldn't be reached."""
    lane = Lane(hop, 50, Commons(8000))
    lane.reached = False
    return lane


async def test_a_next_hop_that_is_back_is_told_of() -> None:
    """One that isn't stays as it was."""
    told: list[str] = []
    probes = Probes(lambda: told.append("back"))
    there, away = FakeHop(), FakeHop()
    there.there = True
    lanes = [a_lane(there), a_lane(away)]
    probes.begin(lanes)
    await a_while()
    assert told == ["back"]
    assert [lane.reached for lane in lanes] == [None, False]


async def test_a_next_hop_is_probed_once_at_a_time() -> None:
    """However often the spool is looked at meanwhile."""
    hop = SlowHop()
    hop.gate.clear()
    probes, lane = Probes(lambda: None), a_lane(hop)
    for _ in range(3):
        probes.begin([lane])
        await a_while()
    assert hop.probes == 1
    hop.gate.set()
    await a_while()
    probes.begin([lane])
    await a_while()
    assert hop.probes == 2


class BrokenHop(FakeHop):
    """A next hop that nobody can be probed with."""

    async def probe(self) -> bool:
        """Fails, by a fault of ours."""
        await super().probe()
        raise ValueError("ours")


async def test_a_probe_that_fails_is_made_again() -> None:
    """The log has the reason, and nothing else ends with it."""
    hop = BrokenHop()
    lane, probes = a_lane(hop), Probes(lambda: None)
    for _ in range(2):
        with capture_logs() as logs:
            probes.begin([lane])
            await a_while()
        assert [line["event"] for line in logs] == ["probe_failed"]
    assert (hop.probes, lane.reached) == (2, False)


async def test_mail_may_be_faster_than_the_probe() -> None:
    """What has been sent meanwhile says more than that a connection can be made."""
    hop = SlowHop()
    hop.there = True
    hop.gate.clear()
    lane, probes = a_lane(hop), Probes(lambda: None)
    probes.begin([lane])
    await a_while()
    lane.reached = True
    hop.gate.set()
    await a_while()
    assert lane.reached


async def test_no_probe_outlives_delivery() -> None:
    """One that hangs is given up."""
    hop = SlowHop()
    hop.gate.clear()
    probes = Probes(lambda: None)
    probes.begin([a_lane(hop)])
    await a_while()
    probes.cancel()
    await a_while()
    assert asyncio.all_tasks() == {asyncio.current_task()}
