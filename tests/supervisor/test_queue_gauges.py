"""What the metrics say of what waits for each upstream."""

from datetime import timedelta

import pytest

from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import SOME_TIME, FakeClock
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Backlog, State
from filterrelay.supervisor.queue_gauges import QueueGauges

QUEUED, HELD = State.QUEUED, State.HELD


class CountedSpool(MemorySpool):
    """Says what it was told to, and takes its time."""

    depths: tuple[Backlog, ...] = ()
    looks = 0
    seconds = 0.0

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self._fake = clock

    async def backlogs(self, *, words: bool = False) -> list[Backlog]:
        """What it was told to say."""
        self.looks += 1
        self._fake.advance(timedelta(seconds=self.seconds))
        return list(self.depths)


def gauges(spool: CountedSpool, clock: FakeClock, top: int = 2) -> tuple[QueueGauges, Metrics]:
    """Those of a file with one upstream. top: how many destinations are named."""
    metrics = Metrics()
    return QueueGauges(["provider"], spool, metrics, clock, top), metrics


async def test_the_queue_is_told_by_upstream_and_state() -> None:
    """Direct delivery in sum, whatever its destinations; zero when nothing waits any more."""
    clock = FakeClock()
    spool = CountedSpool(clock)
    kept, metrics = gauges(spool, clock)

    def told(upstream: str, state: State) -> tuple[float | None, float | None]:
        labels = {"upstream": upstream, "state": state.value}
        value = metrics.registry.get_sample_value
        return (
            value("filterrelay_queue_messages", labels),
            value("filterrelay_queue_oldest_seconds", labels),
        )

    now = clock.now()
    spool.depths = (
        Backlog("provider", QUEUED, 5, now - timedelta(minutes=1)),
        Backlog("provider+required#slow", QUEUED, 2, now - timedelta(minutes=2)),
        Backlog("provider", HELD, 1, now),
        Backlog("mx:a.example", QUEUED, 3, now - timedelta(hours=1)),
        Backlog("mx:b.example", QUEUED, 4, now),
        Backlog("", QUEUED, 1, now),
        Backlog("gone-from-the-file", QUEUED, 1, now),
    )
    await kept.look()
    assert told("provider", QUEUED) == (7, 120)
    assert told("provider", HELD) == (1, 0)
    assert told("mx", QUEUED) == (7, 3600)
    assert told("none", QUEUED) == (2, 0)
    spool.depths = ()
    await kept.look()
    assert told("provider", QUEUED) == (0, 0)


@pytest.mark.parametrize(
    ("top", "told"),
    [(2, {"b.example": 6.0, "a.example": 5.0, "other": 10.0}), (0, {"other": 21.0})],
)
async def test_the_destinations_with_most_are_named(top: int, told: dict[str, float]) -> None:
    """By their best mail server; what waits for none yet, and for all others, is one sum."""
    clock = FakeClock()
    spool = CountedSpool(clock)
    kept, _ = gauges(spool, clock, top)
    now = clock.now()
    spool.depths = (
        Backlog("mx:a.example", QUEUED, 3, now),
        Backlog("mx+dane:a.example+2.0123456789abcdef#slow", QUEUED, 2, now),
        Backlog("mx:b.example", QUEUED, 6, now),
        Backlog("mx:c.example", QUEUED, 1, now),
        Backlog("mx:c.example", HELD, 50, now),
        Backlog("mx", QUEUED, 9, now),
        Backlog("provider", QUEUED, 50, now),
    )
    await kept.look()
    (family,) = kept.collect()
    assert {each.labels["destination"]: each.value for each in family.samples} == told


@pytest.mark.parametrize(("seconds", "looks"), [(0.0, 10), (1.0, 1)])
async def test_a_long_queue_is_counted_less_often(seconds: float, looks: int) -> None:
    """Counting takes a fiftieth of the time at most."""
    clock = FakeClock(SOME_TIME)
    spool = CountedSpool(clock)
    spool.seconds = seconds
    kept, _ = gauges(spool, clock)
    for _ in range(10):
        await kept.look()
        clock.advance(timedelta(seconds=5))
    assert spool.looks == looks
