"""A deep queue: mail taken while the upstream is down, kept, sent once it is back, cleaned up."""

import asyncio
import contextlib
import signal
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.bench.account import Account
from tests.bench.errors import RunFailed
from tests.bench.load import Job, LoadProcess, Sent
from tests.bench.measure import MemoryWatch
from tests.bench.relays import FilterRelay
from tests.bench.site import Site, build_site
from tests.bench.stubdns import StubDns
from tests.bench.targets import Target
from tests.bench.works import KIB, MIB

DEPTH = 1_000_000  # messages
SIZE = 2 * KIB
ACCEPT_AT_THE_END = 0.8  # of the rate at the start
MEMORY = 300 * MIB
READY = 5.0  # seconds
DRAIN_OF_FRESH = 0.5
CLEAN_FILE = 64 * MIB  # what was in it, and what stays free for the next messages
CLEANING = 1024 * MIB  # octets a minute
CLEANING_P99 = 3.0  # of the replies' before
SLOWEST_REPLY = 0.3  # seconds, while the file shrinks
FIRST_DELIVERY = 65.0  # seconds; a host that fails is left alone for up to 60
IDLE_CPU = 0.1  # of one CPU, the upstream down and nobody sending

_FRESH = 20_000  # messages, to know the rate with the upstream up
_SLICES = 20  # at least, in which the depth is reached; two of them are a tenth
_LARGEST_SLICE = 20_000  # messages
_SESSIONS = 20
_STANDSTILL = 30.0  # seconds
_DOWN_AFTER_START = 12.0  # seconds, so that it must find out by itself that the upstream is back
_QUIET_FOR = 120.0  # seconds without a delivery after which the drain has failed
_SENT_MEANWHILE = 200  # messages, once a second, while the file shrinks
_CLEANING_FOR = 480.0  # seconds, at most
_CLEANING_STANDS = 60.0  # seconds without a shorter file after which the cleaning has ended
_RETRY = "4h"  # so that no message comes due before the upstream is back


@dataclass(slots=True)
class Depths:
    """What was measured. Rates are messages a second, times seconds, sizes octets."""

    messages: int
    fresh_rate: float = 0.0
    accept_rates: tuple[float, ...] = ()
    memory: int = 0
    idle_cpu: float = 0.0  # of one CPU
    idle_due: int = 0  # messages that could be taken then
    idle_written: float = 0.0  # a second
    ready: float = 0.0
    first_delivery: float = 0.0
    drain_rate: float = 0.0
    full_file: int = 0
    clean_file: int = 0
    cleaned_in: float = 0.0
    reply_p99: float = 0.0  # before the queue, from the final dot
    cleaning_p99: float = 0.0  # while the file shrinks
    cleaning_slowest: float = 0.0

    @property
    def accepted_at_the_end(self) -> float:
        """The last tenth's rate by the first's."""
        tenth = max(1, len(self.accept_rates) // 10)
        return sum(self.accept_rates[-tenth:]) / sum(self.accept_rates[:tenth])

    @property
    def cleaned(self) -> float:
        """Octets given back a minute."""
        return (self.full_file - self.clean_file) / max(self.cleaned_in, 1.0) * 60

    def targets(self) -> list[Target]:
        """What is promised of a deep queue."""
        drained = self.drain_rate / self.fresh_rate
        return [
            _target(
                "accept rate, last tenth by first", self.accepted_at_the_end, ACCEPT_AT_THE_END
            ),
            Target(
                "memory, deep queue",
                f"< {MEMORY // MIB} MiB",
                f"{self.memory / MIB:.0f} MiB",
                self.memory < MEMORY,
            ),
            Target("restart ready", f"< {READY:.0f} s", f"{self.ready:.1f} s", self.ready < READY),
            Target(
                "first delivery once the upstream is back",
                f"< {FIRST_DELIVERY:.0f} s",
                f"{self.first_delivery:.1f} s",
                self.first_delivery < FIRST_DELIVERY,
            ),
            _target("drain by fresh mail's rate", drained, DRAIN_OF_FRESH),
            Target(
                f"CPU while nothing can be sent, {self.idle_due} due",
                f"< {IDLE_CPU:.2f}",
                f"{self.idle_cpu:.2f}",
                self.idle_cpu < IDLE_CPU,
            ),
            *self._cleaning(),
        ]

    def _cleaning(self) -> list[Target]:
        """Space comes back soon, and nobody who sends mail meanwhile notices."""
        bound = self.reply_p99 * CLEANING_P99
        return [
            Target(
                "file after cleaning, or MiB given back a minute",
                f"< {CLEAN_FILE // MIB} MiB, ≥ {CLEANING // MIB}",
                f"{self.clean_file / MIB:.0f} MiB, {self.cleaned / MIB:.0f}",
                self.clean_file < CLEAN_FILE or self.cleaned >= CLEANING,
            ),
            Target(
                "replies' p99 while cleaning",
                f"< {bound * 1000:.0f} ms",
                f"{self.cleaning_p99 * 1000:.0f} ms",
                self.cleaning_p99 < bound,
            ),
            Target(
                "slowest reply while cleaning",
                f"< {SLOWEST_REPLY:.2f} s",
                f"{self.cleaning_slowest:.2f} s",
                self.cleaning_slowest < SLOWEST_REPLY,
            ),
        ]


def _target(text: str, measured: float, bound: float) -> Target:
    return Target(text, f"≥ {bound:.1f}", f"{measured:.2f}", measured >= bound)


class _ForgetfulRelay(FilterRelay):
    """filterrelay that keeps no trace of what is gone, so that the file can be seen to shrink."""

    name = "filterrelay-deep"
    title = "filterrelay, deep queue"

    def configure(self) -> None:
        """The same with two more sections."""
        super().configure()
        file = self.directory / "filterrelay.toml"
        more = f'[spool]\nhistory = "1s"\n\n[delivery]\nretry = "{_RETRY}"\n'
        file.write_text(f"{file.read_text()}\n{more}")

    @property
    def database(self) -> Path:
        """The spool's file."""
        return self.directory / "state" / "spool.sqlite"

    def due(self) -> int:
        """How many queued messages may be taken now."""
        query = (
            "SELECT count(*) FROM message WHERE state = 'queued' AND owner IS NULL"
            " AND wake <= strftime('%s') * 1000000"
        )
        with contextlib.closing(
            sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        ) as spool:
            (count,) = spool.execute(query).fetchone()
        return int(count)

    def restart(self) -> float:
        """SIGTERM and a new start; returns the seconds from that start until it takes mail."""
        process = self._processes.pop()
        process.terminate()
        process.wait(60)
        began = time.monotonic()
        self.launch()
        self.await_greeting(self.plain_port)
        return time.monotonic() - began


class _Measuring:
    """The phases, one after the other."""

    def __init__(
        self, relay: _ForgetfulRelay, load: LoadProcess, messages: int, console: Console
    ) -> None:
        self._relay = relay
        self._load = load
        self._console = console
        self._seed = 0
        self._made = Depths(messages)

    async def run(self) -> Depths:
        """All of them; the relay runs, its sink doesn't."""
        watch = MemoryWatch(self._relay.account)
        await self._load.prepare(SIZE)
        async with watch.watching():
            await self._fresh()
            await self._fill()
            await self._stand_still()
            self._made.ready = await asyncio.to_thread(self._relay.restart)
            self._say(f"ready again in {self._made.ready:.1f} s")
            await asyncio.sleep(_DOWN_AFTER_START)
            await self._drain()
            await self._clean()
        self._made.memory = watch.peak
        return self._made

    async def _fresh(self) -> None:
        messages = min(_FRESH, self._made.messages)
        await self._with_sink(messages // 10)
        sent, ended = await self._with_sink(messages)
        self._made.fresh_rate = messages / (ended - sent.started)
        self._made.reply_p99 = _p99(sent.replies)
        self._say(f"fresh mail {self._made.fresh_rate:.0f}/s")

    async def _with_sink(self, messages: int) -> tuple[Sent, float]:
        self._relay.open_sink()
        assert self._relay.sink is not None
        arrival = asyncio.create_task(self._relay.sink.reach(messages, _QUIET_FOR))
        sent = await self._send(messages)
        ended = await arrival
        self._relay.sink.stop()
        self._relay.sink = None
        return sent, ended

    async def _fill(self) -> None:
        slice_ = min(self._made.messages // _SLICES, _LARGEST_SLICE)
        for number in range(1, self._made.messages // slice_ + 1):
            sent = await self._send(slice_)
            self._made.accept_rates += (slice_ / (sent.ended - sent.started),)
            self._say(f"{number * slice_} taken, {self._made.accept_rates[-1]:.0f}/s")

    async def _stand_still(self) -> None:
        account = self._relay.account
        await asyncio.sleep(5)
        cpu, written = account.cpu_seconds(), _written(account)
        await asyncio.sleep(_STANDSTILL)
        self._made.idle_cpu = (account.cpu_seconds() - cpu) / _STANDSTILL
        self._made.idle_written = (_written(account) - written) / _STANDSTILL
        self._made.idle_due = await asyncio.to_thread(self._relay.due)
        self._say(
            f"standing still: {self._made.idle_cpu:.2f} CPU, {self._made.idle_due} due,"
            f" {self._made.idle_written / KIB:.0f} KiB/s written"
        )

    async def _drain(self) -> None:
        began = time.monotonic()
        self._relay.open_sink()
        assert self._relay.sink is not None
        first = await self._relay.sink.reach(1, _QUIET_FOR)
        while True:
            before, count = time.monotonic(), self._relay.sink.count
            goal = min(self._made.messages, count + max(1, self._made.messages // 10))
            now = await self._relay.sink.reach(goal, _QUIET_FOR)
            self._say(f"{goal} drained, {(goal - count) / (now - before):.0f}/s")
            if goal == self._made.messages:
                break
        self._made.first_delivery = first - began
        self._made.drain_rate = self._made.messages / (now - first)
        self._say(f"first after {first - began:.1f} s, drained at {self._made.drain_rate:.0f}/s")

    async def _clean(self) -> None:
        """Mail goes on while a new start's housekeeping cleans up."""
        await asyncio.sleep(2)  # the last results, and the second that the trace is kept for
        self._made.full_file = self._relay.database.stat().st_size
        await asyncio.to_thread(self._relay.restart)
        replies = list[float]()
        began = shrank = time.monotonic()
        self._made.clean_file = self._made.full_file
        while True:
            replies += (await self._send(_SENT_MEANWHILE)).replies
            size, now = self._relay.database.stat().st_size, time.monotonic()
            if size < self._made.clean_file:
                self._made.clean_file, shrank = size, now
            if (
                self._made.clean_file < CLEAN_FILE
                or now - shrank > _CLEANING_STANDS
                or now - began > _CLEANING_FOR
            ):
                break
            await asyncio.sleep(1)
        self._made.cleaned_in = shrank - began
        self._made.cleaning_p99, self._made.cleaning_slowest = _p99(replies), max(replies)
        self._say(
            f"file {self._made.full_file / MIB:.0f} → {self._made.clean_file / MIB:.0f} MiB in"
            f" {self._made.cleaned_in:.0f} s; replies' p99 {self._made.cleaning_p99 * 1000:.0f} ms,"
            f" {self._made.reply_p99 * 1000:.0f} ms before;"
            f" slowest {self._made.cleaning_slowest:.2f} s"
        )

    async def _send(self, messages: int) -> Sent:
        self._seed += 1
        sent = await self._load.send(
            Job(
                port=self._relay.plain_port,
                size=SIZE,
                messages=messages,
                sessions=_SESSIONS,
                kept=True,
                submission=False,
                proxied=False,
                seed=self._seed,
            )
        )
        if sent.failures:
            raise RunFailed(f"{len(sent.failures)} were not taken, such as: {sent.failures[0]}")
        return sent

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False)


def _p99(replies: list[float]) -> float:
    return sorted(replies)[int(0.99 * len(replies))]


def _written(account: Account) -> int:
    """Octets that the processes living now have had written."""
    total = 0
    for pid in account.pids():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                if line.startswith("write_bytes:"):
                    total += int(line.split()[1])
    return total


async def run(directory: Path, messages: int, console: Console) -> Depths:
    """Measures it, in a directory of its own."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    office: Site = build_site(directory)
    names = StubDns.start(office)
    load = await LoadProcess.start(office.app_dkim.path)
    relay = _ForgetfulRelay(office)
    try:
        relay.start()
        return await _Measuring(relay, load, messages, console).run()
    finally:
        relay.stop()
        await load.stop()
        names.stop()
