"""Spools to test with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filterrelay.observe.metrics import Metrics
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import Spool

from .deposits import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    """Noon, until a test moves it."""
    return StandingClock()


@pytest.fixture
def metrics() -> Metrics:
    """Series of its own for each test."""
    return Metrics()


@pytest.fixture
async def sqlite_spool(
    tmp_path: Path, clock: StandingClock, metrics: Metrics
) -> AsyncIterator[SqliteSpool]:
    """An open spool whose bodies become files from 1 KiB."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock, metrics=metrics, large=1024)
    await spool.open()
    yield spool
    await spool.close()


@pytest.fixture(params=["sqlite", "memory"])
async def spool(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock
) -> AsyncIterator[Spool]:
    """Each store in turn, open: what every one of them must do."""
    store: Spool
    if request.param == "sqlite":
        store = SqliteSpool(tmp_path / "spool.sqlite", clock, large=1024)
    else:
        store = MemorySpool(clock)
    await store.open()
    yield store
    await store.close()
