"""Spools to test with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filterrelay.observe.metrics import Metrics
from filterrelay.spool.sqlite import SqliteSpool

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
