"""What a process says of itself."""

import asyncio
import contextlib
import mmap
import resource
import time
from pathlib import Path

import pytest

from filterrelay.observe import process
from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.observe.process import Usage, watch_loop, watch_memory, watch_usage

DEVNULL = Path("/dev/null")


def descriptors() -> list[int]:
    """The open files of this process, that of the look with them."""
    return [int(each.name) for each in Path("/proc/self/fd").iterdir()]


def told(metrics: Metrics, name: str, kind: str = "worker") -> float:
    """What a series of such processes says."""
    labels = {} if name.endswith("limit") else {"process": kind}
    value = metrics.registry.get_sample_value(f"filterrelay_{name}", labels)
    assert value is not None
    return value


def test_open_files_and_memory_are_told_as_they_are() -> None:
    """What is closed is gone at the next look."""
    metrics = Metrics()
    usage = Usage(metrics, "worker")
    usage.look()
    before = told(metrics, "open_files")
    assert told(metrics, "open_files_limit") == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert before == len(descriptors()) - 1
    resident = told(metrics, "resident_bytes")
    assert 10 * 1024**2 < resident < 10 * 1024**3
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(DEVNULL.open())
        held = stack.enter_context(mmap.mmap(-1, 64 * 1024**2))  # new pages, not a heap's free ones
        held.write(b"x" * len(held))
        usage.look()
        assert told(metrics, "open_files") == before + 5
        assert told(metrics, "resident_bytes") - resident > len(held) / 2
    usage.look()
    assert told(metrics, "open_files") == before


def test_cpu_time_is_counted_once_however_often_it_is_looked_at() -> None:
    """From the process's beginning on."""
    metrics = Metrics()
    usage = Usage(metrics, "worker")
    for _ in range(3):
        usage.look()
    used = time.process_time()
    assert told(metrics, "cpu_seconds_total") == pytest.approx(used, abs=0.05)
    while time.process_time() - used < 0.1:
        pass
    usage.look()
    assert told(metrics, "cpu_seconds_total") == pytest.approx(used + 0.1, abs=0.05)


def test_a_process_without_a_file_to_spare_says_so() -> None:
    """Looking takes one itself: just then it must be known."""
    metrics = Metrics()
    usage = Usage(metrics, "control")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(descriptors())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, limits[1]))
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                while True:
                    stack.enter_context(DEVNULL.open())
            usage.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert told(metrics, "open_files", "control") == told(metrics, "open_files_limit")
    assert told(metrics, "open_files", "control") == highest + 20


async def test_the_last_of_the_cpu_time_is_counted_at_the_end() -> None:
    """A worker that is told to stop has its sum right."""
    metrics = Metrics()
    watching = asyncio.create_task(watch_usage(metrics, "worker"))
    await asyncio.sleep(0)
    used = time.process_time()
    while time.process_time() - used < 0.1:
        pass
    watching.cancel()
    await asyncio.wait({watching})
    assert told(metrics, "cpu_seconds_total") >= used + 0.1


async def test_a_loop_that_is_held_up_is_known_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """By as long as something kept it."""
    monkeypatch.setattr(process, "LAG_EVERY", 0.02)
    metrics = Metrics()
    watching = asyncio.create_task(watch_loop(metrics, SystemClock()))
    value = metrics.registry.get_sample_value
    await asyncio.sleep(0.1)
    prompt = value("filterrelay_loop_lag_seconds_sum")
    assert prompt is not None
    time.sleep(0.3)  # noqa: ASYNC251  # that is what is to be noticed
    await asyncio.sleep(0.01)
    watching.cancel()
    late = value("filterrelay_loop_lag_seconds_sum")
    assert late is not None
    assert 0.25 < late - prompt < 0.5
    assert (value("filterrelay_loop_lag_seconds_count") or 0) > 3


async def test_what_is_held_of_messages_is_told_as_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And how much may be."""
    monkeypatch.setattr(process, "HELD_EVERY", 0.01)
    metrics, budget = Metrics(), MemoryBudget(100)
    watching = asyncio.create_task(watch_memory(metrics, budget))
    held = budget.reservation()
    for octets in (70, 0):
        held.try_grow(octets)
        held.shrink(octets)
        async with asyncio.timeout(5):
            while metrics.registry.get_sample_value("filterrelay_in_flight_bytes") != octets:  # noqa: ASYNC110  # a gauge sets no event
                await asyncio.sleep(0.01)
    assert metrics.registry.get_sample_value("filterrelay_in_flight_limit_bytes") == 100
    watching.cancel()
