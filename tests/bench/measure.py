"""One run: send a work through a relay, and take what it cost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from tests.bench.account import Account, proportional_memory
from tests.bench.errors import RunFailed
from tests.bench.load import Job, LoadProcess, Sent
from tests.bench.sink import Sink
from tests.bench.works import Work

_QUIET_FOR = 60.0  # seconds without a delivery after which a run has failed
_SAMPLE_EVERY = 0.25  # seconds between looks at the memory
_SETTLE_STEP = 0.25  # seconds
_SETTLED_BELOW = 0.02  # share of one CPU
_SETTLE_AT_MOST = 4.0  # seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run measured."""

    relay: str
    work: str
    round: int
    messages: int
    seconds: float  # first connect to last delivery
    cpu_seconds: float  # all of the relay's processes, the clearing up after the run included
    peak_memory: int  # bytes, PSS summed
    deferrals: int
    replies: list[float] = field(repr=False)  # final dot to reply, seconds

    @property
    def rate(self) -> float:
        """Messages delivered a second."""
        return self.messages / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds per 1,000 messages."""
        return self.cpu_seconds * 1000 / self.messages

    def reply_quantile(self, share: float) -> float:
        """The reply time that this share of the replies kept, in seconds."""
        ordered = sorted(self.replies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class MemoryWatch:
    """The highest memory seen while it watches."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.peak = 0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Sample in the background, and once more at the end."""
        task = asyncio.create_task(self._sample_forever())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._sample()

    async def _sample(self) -> None:
        # a thread, since the kernel walks page tables for this and the sink's clock must go on
        seen = await asyncio.to_thread(lambda: proportional_memory(self._account.pids()))
        self.peak = max(self.peak, seen)

    async def _sample_forever(self) -> None:
        while True:
            await self._sample()
            await asyncio.sleep(_SAMPLE_EVERY)


class Measured(Protocol):
    """A relay or a milter. sink: where its mail arrives."""

    name: str
    title: str
    account: Account
    sink: Sink | None

    def door(self, work: Work) -> tuple[int, bool]:
        """The port that a work goes to, and whether clients begin with a PROXY header there."""


async def run(relay: Measured, work: Work, load: LoadProcess, number: int) -> Sample:
    """Send work through relay and wait until the sink has all of it."""
    sink = relay.sink
    if sink is None:
        raise RunFailed(f"{relay.title} has no sink yet")
    await load.prepare(work.size)
    await _settle(relay.account)
    watch = MemoryWatch(relay.account)
    expected = sink.look() + work.messages
    before = relay.account.cpu_seconds()
    async with watch.watching():
        arrival = asyncio.create_task(sink.reach(expected, _QUIET_FOR))
        try:
            sent = await send(relay, work, load, number)
            delivered = await arrival
        finally:
            arrival.cancel()
        await _settle(relay.account)
    return Sample(
        relay=relay.name,
        work=work.name,
        round=number,
        messages=work.messages,
        seconds=delivered - sent.started,
        cpu_seconds=relay.account.cpu_seconds() - before,
        peak_memory=watch.peak,
        deferrals=sent.deferrals,
        replies=sent.replies,
    )


async def send(relay: Measured, work: Work, load: LoadProcess, number: int) -> Sent:
    """Send work through relay, which takes all of it. number: tells its messages from others'."""
    port, proxied = relay.door(work)
    job = Job(
        port=port,
        size=work.size,
        messages=work.messages,
        sessions=work.sessions,
        kept=work.kept,
        submission=work.submission,
        proxied=proxied,
        seed=number,
    )
    sent = await load.send(job)
    if sent.failures:
        raise RunFailed(
            f"{relay.title}, {work.title}: {len(sent.failures)} of {work.messages}"
            f" messages were not taken, such as: {sent.failures[0]}"
        )
    return sent


async def _settle(account: Account) -> None:
    """Wait until the relay is idle, so that each run pays for its own clearing up."""
    deadline = time.monotonic() + _SETTLE_AT_MOST
    used = account.cpu_seconds()
    while time.monotonic() < deadline:
        await asyncio.sleep(_SETTLE_STEP)
        now = account.cpu_seconds()
        if now - used < _SETTLED_BELOW * _SETTLE_STEP:
            return
        used = now
