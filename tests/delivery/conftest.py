"""What the tests of delivery share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from filterrelay.delivery.upstream import Upstream
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Upstream as UpstreamSettings


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the program runs on: its transports are not asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_upstream() -> AsyncIterator[Callable[[UpstreamSettings], Upstream]]:
    """Makes upstreams of their settings, and closes them in the end."""
    made: list[Upstream] = []

    def make(settings: UpstreamSettings, **_: Any) -> Upstream:
        upstream = Upstream(settings, "relay.office.example", Metrics())
        made.append(upstream)
        return upstream

    yield make
    for upstream in made:
        upstream.close()
