"""How many of a next hop's hosts are down, for the metrics."""

import asyncio

from prometheus_client import Gauge

_HEARSAY = 600.0  # seconds after its pause for which a host that nobody tries is still down


class DownHosts:
    """Counts on a gauge, beside others', the hosts that failed when they were last tried.

    An old failure counts no more where no mail has come since: nobody knows whether it lasts.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._timers: dict[int, asyncio.TimerHandle] = {}  # by the host's rank

    def failed(self, rank: int, pause: float) -> None:
        """The host of that rank is down, and is left alone for so many seconds."""
        known = self._timers.get(rank)
        if known is None:
            self._gauge.inc()
        else:
            known.cancel()
        loop = asyncio.get_running_loop()
        self._timers[rank] = loop.call_later(pause + _HEARSAY, self.back, rank)

    def back(self, rank: int) -> None:
        """It isn't down, as far as is known."""
        timer = self._timers.pop(rank, None)
        if timer is not None:
            timer.cancel()
            self._gauge.dec()

    def close(self) -> None:
        """None of them counts any more."""
        for rank in [*self._timers]:
            self.back(rank)
