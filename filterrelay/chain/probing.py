"""Whether what plugins depend on answers, asked while they serve: before mail finds out."""

import asyncio
import random
from collections.abc import Iterable

import structlog
from prometheus_client import Gauge

from filterrelay.chain.step import Step
from filterrelay.observe.metrics import UNKNOWN, Metrics

PATIENCE = 10.0  # seconds for one answer
EVERY = 60.0  # seconds between two questions
_SPREAD = 0.1  # part of that by which it varies, lest all relays ask at once

log = structlog.get_logger(__name__)


async def watch_plugins(steps: Iterable[Step], metrics: Metrics) -> None:
    """Asks those that have a `probe`, inside their lifespans, until it is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for step in steps:
            if hasattr(step.plugin.instance, "probe"):
                gauge = metrics.plugin_up.labels(step.name)
                tasks.create_task(_watched(step, gauge))


async def _watched(step: Step, gauge: Gauge) -> None:
    """Watches one of them; what is known of it is no longer told after a reload without it."""
    try:
        await _watch(step, gauge)
    finally:
        gauge.set(UNKNOWN)


async def _watch(step: Step, gauge: Gauge) -> None:
    """Asks one of them again and again. The log hears of changes only."""
    was_up = True
    while True:
        task = asyncio.create_task(_probe(step))
        try:
            await asyncio.wait({task}, timeout=PATIENCE)
            reason = _trouble(task)
            gauge.set(not reason)
            if was_up and reason:
                log.warning("plugin_unavailable", plugin=step.name, reason=reason)
            elif not was_up and not reason:
                log.info("plugin_back", plugin=step.name)
            was_up = not reason
        finally:
            task.cancel()
        await asyncio.wait({task})  # of those that can't be stopped there is one at most
        await asyncio.sleep(EVERY * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311  # no secret


async def _probe(step: Step) -> None:
    await step.plugin.instance.probe()


def _trouble(task: asyncio.Task[None]) -> str:
    """What is wrong with what was asked about, empty for nothing; a warning counts as nothing."""
    if not task.done():
        return f"no answer within {PATIENCE:g} s"
    if task.cancelled():
        return "it was cancelled"
    error = task.exception()
    if error is None or isinstance(error, Warning):
        return ""
    return f"{type(error).__name__}: {error}"
