"""Finding out whether a next hop is back."""

import asyncio

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
