"""What the tests of delivery share."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from filterrelay.delivery.upstream import Upstream
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Upstream as UpstreamSettings


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
