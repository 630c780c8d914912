"""The trace of messages that are not kept is written beside the mail, many at a time."""

import asyncio
from collections.abc import Sequence

import pytest

from filterrelay.observe.clock import Clock
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Event, SpoolUnavailable
from tests.intake.bench import REJECTS, Bench


class SlowTrace(MemorySpool):
    """A spool that takes its time over the trace, and can't write the first part of it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.goes_on = asyncio.Event()
        self.batches: list[int] = []  # events that came at once

    async def record(self, events: Sequence[Event]) -> None:
        self.batches.append(len(events))
        await self.goes_on.wait()
        if len(self.batches) == 1:
            raise SpoolUnavailable("disk I/O error")
        await super().record(events)


async def test_what_comes_while_the_trace_is_written_goes_there_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part that can't be written doesn't keep the others out."""
    bench = Bench(REJECTS)
    bench.intake._spool = bench.spool = spool = SlowTrace(bench.clock)
    replies = []
    async with asyncio.TaskGroup() as group:
        monkeypatch.setattr(bench.intake, "_background", group.create_task)
        for _ in range(4):
            replies.append(await bench.send())
            await asyncio.sleep(0)
        spool.goes_on.set()
    assert spool.batches == [1, 3]
    ids = [reply.text.partition("[")[2].rstrip("]") for reply in replies]
    assert [len(await spool.events(id_)) for id_ in ids] == [0, 1, 1, 1]


async def test_the_next_message_is_traced_as_well() -> None:
    """Once all is written, the writing begins anew."""
    bench = Bench(REJECTS)
    for reply in [await bench.send(), await bench.send()]:
        assert await bench.spool.events(reply.text.partition("[")[2].rstrip("]"))
