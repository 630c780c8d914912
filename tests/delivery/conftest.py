"""What the tests of delivery share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from filterrelay.delivery.hops import Hops
from filterrelay.delivery.route import Way
from filterrelay.delivery.upstream import UpstreamLike
from filterrelay.mail.hop import Hop
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Upstream as UpstreamSettings


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the program runs on: its transports are not asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_upstream() -> AsyncIterator[Callable[[UpstreamSettings], UpstreamLike]]:
    """Makes upstreams of their settings, and closes them in the end."""
    made: list[UpstreamLike] = []

    def make(settings: UpstreamSettings, **_: Any) -> UpstreamLike:
        hops = Hops([settings], [], "relay.office.example", Metrics())
        upstream = hops.open(Way(Hop(settings.name)))
        made.append(upstream)
        return upstream

    yield make
    for upstream in made:
        upstream.close()
