"""Looks whether next hops that were down are back, so that no mail is needed to find out."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from filterrelay.delivery.lane import Lane

_log: Any = structlog.get_logger("filterrelay.delivery")


class Probes:
    """One probe at a time for each lane. on_back: is told when a next hop is back."""

    def __init__(self, on_back: Callable[[], None]) -> None:
        self._on_back = on_back
        self._under_way: dict[Lane, asyncio.Task[None]] = {}

    def begin(self, lanes: Iterable[Lane]) -> None:
        """Probes these, but for those that are being probed."""
        for lane in lanes:
            if lane not in self._under_way:
                task = asyncio.get_running_loop().create_task(self._probe(lane))
                self._under_way[lane] = task

    async def _probe(self, lane: Lane) -> None:
        try:
            if await lane.upstream.probe() and lane.reached is False:
                lane.reached = None  # one message is to show whether it takes mail, too
                self._on_back()
        except Exception:  # noqa: BLE001  # a seam: the next look probes again
            _log.exception("probe_failed")
        finally:
            del self._under_way[lane]

    def cancel(self) -> None:
        """Ends those under way."""
        for task in self._under_way.values():
            task.cancel()
