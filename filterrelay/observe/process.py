"""What this process takes of the machine: CPU time, memory, open files; and how late it is."""

import asyncio
import errno
import os
import resource
import time
from pathlib import Path

from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics

USAGE_EVERY = 5.0  # seconds between looks at what it takes
LAG_EVERY = 1.0  # seconds between looks at the loop
HELD_EVERY = 1.0  # seconds between looks at the messages in memory

_STATM, _FILES = Path("/proc/self/statm"), "/proc/self/fd"  # proc(5)
_PAGE = resource.getpagesize()


class Usage:
    """What one process takes. kind: one of PROCESSES."""

    def __init__(self, metrics: Metrics, kind: str) -> None:
        self._cpu = metrics.cpu_seconds.labels(kind)
        self._resident = metrics.resident.labels(kind)
        self._files = metrics.open_files.labels(kind)
        self._limit = metrics.open_files_limit
        self._counted = 0.0  # seconds of CPU; a process that was forked begins with none

    def look(self) -> None:
        """Adds what was taken since the last look, and says what is held now."""
        used = time.process_time()
        self._cpu.inc(used - self._counted)
        self._counted = used
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit.set(most)
        try:
            entries = os.listdir(_FILES)  # noqa: PTH208  # they may be many, and no path is wanted
            self._files.set(len(entries) - 1)  # one is the look's own
            self._resident.set(int(_STATM.read_bytes().split()[1]) * _PAGE)
        except OSError as error:
            if error.errno == errno.EMFILE:  # the look itself needs one
                self._files.set(most)


async def watch_usage(metrics: Metrics, kind: str) -> None:
    """Looks now and then at what the process takes, and once more when cancelled."""
    usage = Usage(metrics, kind)
    try:
        while True:
            usage.look()
            await asyncio.sleep(USAGE_EVERY)
    finally:
        usage.look()


async def watch_loop(metrics: Metrics, clock: Clock) -> None:
    """Measures how late the event loop comes to what is due.

    By the clock and not by the loop's own time, which stands still while a callback runs.
    """
    while True:
        due = clock.monotonic() + LAG_EVERY
        await asyncio.sleep(LAG_EVERY)
        metrics.loop_lag.observe(max(0.0, clock.monotonic() - due))


async def watch_memory(metrics: Metrics, budget: MemoryBudget) -> None:
    """Says now and then what is held of messages: told of each one, it would cost more."""
    metrics.memory_limit.set(budget.total)
    while True:
        metrics.memory.set(budget.used)
        await asyncio.sleep(HELD_EVERY)
