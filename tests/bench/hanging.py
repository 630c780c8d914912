"""One destination in ten hangs: what is left of the others' throughput."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from rich.console import Console

from tests.bench.client import Client
from tests.bench.destinations import Destinations, address
from tests.bench.messages import Sending, build_pool
from tests.bench.relays import FilterRelay
from tests.bench.site import Site, build_site
from tests.bench.stubdns import StubDns
from tests.bench.targets import Target
from tests.bench.works import KIB

NAME = "hanging"
SIZE = 2 * KIB
KEPT_RATE = 0.95  # of the rate without any that hang
_DESTINATIONS = 100
_HANGING = 10
_MESSAGES = 3000  # in one run, to all destinations alike
_WARM_UP = 500
_SESSIONS = 20
_QUIET_FOR = 30.0  # seconds without a delivery after which a run has failed

_DESTINATION = """
[[upstream]]
name = "d{number}"
hosts = ["{address}:{port}"]
tls = "none"
[[route]]
recipients = ["*@d{number}.example"]
upstream = "d{number}"
"""


@dataclass(slots=True)
class Rates:
    """Messages a second to the destinations that don't hang, a figure a run."""

    all_well: list[float] = field(default_factory=list)
    some_hang: list[float] = field(default_factory=list)

    def target(self) -> Target:
        """What is promised."""
        text, wanted = "rate while 1 destination in 10 hangs", f"≥ {KEPT_RATE:.2f}"
        if not self.some_hang:
            return Target(text, wanted, "not measured", None)
        kept = median(hang / well for hang, well in zip(self.some_hang, self.all_well, strict=True))
        return Target(text, wanted, f"{kept:.2f}", kept >= KEPT_RATE)


class _Relay(FilterRelay):
    """filterrelay with an upstream a destination."""

    name = "filterrelay-hanging"
    title = "filterrelay, many destinations"

    def configure(self) -> None:
        """The same, with the destinations before the sink, which gets nothing."""
        super().configure()
        file = self.directory / "filterrelay.toml"
        destinations = [
            _DESTINATION.format(number=n, address=address(n), port=self.sink_port)
            for n in range(_DESTINATIONS + _HANGING)
        ]
        file.write_text(file.read_text() + "".join(destinations))


class _Load:
    """Clients in this process; their messages go to one destination after the other."""

    def __init__(self, port: int, pool: list[Sending]) -> None:
        self._port = port
        self._pool = pool
        self._ids = count()

    async def send(self, numbers: list[int]) -> None:
        """A message to the destination of each number, over so many sessions."""
        waiting = iter(numbers)
        async with asyncio.TaskGroup() as sessions:
            for _ in range(_SESSIONS):
                sessions.create_task(self._session(waiting))

    async def _session(self, waiting: Iterator[int]) -> None:
        client = await Client.connect(self._port, None, proxied=False)
        for number in waiting:
            id_ = next(self._ids)
            sending = self._pool[id_ % len(self._pool)]
            header = sending.with_id(f"hanging.{id_}.{time.monotonic_ns()}")
            await client.send(f"someone@d{number}.example", header, sending.content)
        await client.quit()


async def run(directory: Path, rounds: int, scale: float, console: Console) -> Rates:
    """Both kinds of run in each round, with a relay of its own."""
    rates = Rates()
    for number in range(rounds):
        below = directory / f"{NAME}{number}"
        below.mkdir(mode=0o755)
        office = build_site(below)
        names = StubDns.start(office)
        try:
            await _round(office, rates, round(_MESSAGES * scale))
        finally:
            names.stop()
        console.print(
            f"{NAME}: {rates.all_well[-1]:.0f}/s, {rates.some_hang[-1]:.0f}/s while some hang",
            highlight=False,
        )
    return rates


async def _round(office: Site, rates: Rates, messages: int) -> None:
    relay = _Relay(office)
    sinks = Destinations.start(relay.directory, relay.sink_port, _DESTINATIONS + _HANGING, _HANGING)
    pool = build_pool(SIZE, 40, SIZE, office.app_dkim.path.read_bytes())
    load = _Load(relay.plain_port, pool)
    well = range(_DESTINATIONS)
    hanging = [*well[:-_HANGING], *range(_DESTINATIONS, _DESTINATIONS + _HANGING)]
    try:
        await asyncio.to_thread(relay.start)
        await _measured(load, sinks, [*well] * (_WARM_UP // _DESTINATIONS))
        rates.all_well.append(await _measured(load, sinks, [*well] * (messages // _DESTINATIONS)))
        rates.some_hang.append(await _measured(load, sinks, hanging * (messages // _DESTINATIONS)))
    finally:
        await asyncio.to_thread(relay.stop)
        sinks.stop()


async def _measured(load: _Load, sinks: Destinations, numbers: list[int]) -> float:
    """Messages a second to the first nine tenths of the destinations, which never hang."""
    alive = sum(number < _DESTINATIONS for number in numbers)
    before, began = sinks.look(), time.monotonic()
    arrival = asyncio.create_task(sinks.reach(before + alive, _QUIET_FOR))
    await load.send(numbers)
    steady = sum(number < _DESTINATIONS - _HANGING for number in numbers)
    return steady / (await arrival - began)
