"""The floor of free space."""

import os
from pathlib import Path

import pytest

from filterrelay.observe.metrics import Metrics
from filterrelay.spool import free_space
from filterrelay.spool.free_space import FreeSpace, octets_free
from filterrelay.spool.store import SpoolFull

from .deposits import StandingClock


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is free on the disk now; a test changes it."""
    octets = [1000]
    monkeypatch.setattr(free_space, "disk_space", lambda directory: (octets[0], 9000))
    return octets


def test_what_root_keeps_for_itself_is_not_free(tmp_path: Path) -> None:
    """Blocks that only root may fill don't count: the relay doesn't run as root."""
    disk = os.statvfs(tmp_path)
    assert octets_free(tmp_path) <= disk.f_bfree * disk.f_frsize


def test_at_the_floor_mail_is_taken(free: list[int], tmp_path: Path, metrics: Metrics) -> None:
    """Exactly the floor is enough, and the metrics show what is left, of what, and the floor."""
    FreeSpace(tmp_path, 1000, StandingClock(), metrics).require()
    value = metrics.registry.get_sample_value
    names = ("free", "disk", "reserve")
    assert [value(f"filterrelay_spool_{name}_bytes") for name in names] == [1000, 9000, 1000]


def test_below_the_floor_mail_is_refused(free: list[int], tmp_path: Path) -> None:
    """One octet less is too little."""
    with pytest.raises(SpoolFull) as refused:
        FreeSpace(tmp_path, 1001, StandingClock(), None).require()
    assert refused.value.free == 1000


def test_the_disk_is_looked_at_once_a_second(
    free: list[int], tmp_path: Path, clock: StandingClock
) -> None:
    """A thousand messages a second don't ask a thousand times; freed space is soon noticed."""
    space = FreeSpace(tmp_path, 500, clock, None)
    space.require()
    free[0] = 10
    clock.seconds += 0.9
    space.require()
    clock.seconds += 0.1
    with pytest.raises(SpoolFull):
        space.require()
    free[0] = 1000
    clock.seconds += 1
    space.require()
