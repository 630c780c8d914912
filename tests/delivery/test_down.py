"""The gauge of hosts that are down."""

import asyncio

import pytest

from filterrelay.delivery import down
from filterrelay.delivery.down import DownHosts
from filterrelay.observe.metrics import Metrics


def told(metrics: Metrics) -> float | None:
    """What the gauge says."""
    labels = {"upstream": "mx"}
    return metrics.registry.get_sample_value("filterrelay_upstream_hosts_down", labels)


async def test_a_host_counts_once_however_often_it_fails() -> None:
    """And several next hops of direct delivery count together."""
    metrics = Metrics()
    one, other = (DownHosts(metrics.hosts_down.labels("mx")) for _ in range(2))
    for _ in range(3):
        one.failed(0, 60)
    other.failed(0, 60)
    assert told(metrics) == 2
    for rank in (0, 0, 1):
        one.back(rank)
    assert told(metrics) == 1
    other.close()
    assert told(metrics) == 0


async def test_an_old_failure_of_which_nothing_is_heard_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no mail goes any more; one that fails again and again stays down."""
    monkeypatch.setattr(down, "_HEARSAY", 0.15)
    metrics = Metrics()
    hosts = DownHosts(metrics.hosts_down.labels("mx"))
    hosts.failed(0, 0)
    hosts.failed(1, 0)
    await asyncio.sleep(0.1)
    hosts.failed(1, 0)
    await asyncio.sleep(0.1)
    assert told(metrics) == 1
    await asyncio.sleep(0.1)
    assert told(metrics) == 0
