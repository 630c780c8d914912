"""How much is left on the spool's disk, and whether that is enough for new mail."""

import os
from pathlib import Path

from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool.store import SpoolFull

_INTERVAL = 1.0  # seconds between looks


def octets_free(directory: Path) -> int:
    """What an unprivileged process may still write there."""
    return disk_space(directory)[0]


def disk_space(directory: Path) -> tuple[int, int]:
    """What an unprivileged process may still write there, and how large the disk is, in octets."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize


class FreeSpace:
    """The floor below which the spool takes no new mail.

    Bounces, retries and settlements go on above nothing at all: they give space back.
    """

    def __init__(self, directory: Path, floor: int, clock: Clock, metrics: Metrics | None) -> None:
        self._directory = directory
        self._floor = floor
        self._clock = clock
        self._metrics = metrics
        self._looked = float("-inf")
        self._free = 0

    def require(self) -> None:
        """Raises SpoolFull when less than the floor is free; looks at most once a second."""
        now = self._clock.monotonic()
        if now - self._looked >= _INTERVAL:
            self._looked = now
            self._free, size = disk_space(self._directory)
            if self._metrics is not None:
                self._metrics.spool_free.set(self._free)
                self._metrics.spool_disk.set(size)
                self._metrics.spool_reserve.set(self._floor)
        if self._free < self._floor:
            raise SpoolFull(self._free)
