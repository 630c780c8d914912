"""The gauges of what waits for each upstream."""

from collections.abc import Iterable
from datetime import datetime

from filterrelay.mail.hop import Hop
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.settings.routes import DIRECT
from filterrelay.spool.store import Backlog, Spool, State

UNTRIED = "none"  # the label of what was never tried, and of upstreams no longer in the file
_REST = 50.0  # times as long as a look took, until the next one: a long queue is long to count
_STATES = (State.QUEUED, State.HELD)


class QueueGauges:
    """Counts the queue by upstream now and then; direct delivery's destinations are one sum.

    upstreams: the names in the file.
    """

    def __init__(
        self, upstreams: Iterable[str], spool: Spool, metrics: Metrics, clock: Clock
    ) -> None:
        self._names = {*upstreams, DIRECT, UNTRIED}
        self._spool = spool
        self._metrics = metrics
        self._clock = clock
        self._next = float("-inf")  # monotonic seconds

    async def look(self) -> None:
        """Sets the gauges, if it is time again. Raises SpoolUnavailable."""
        began = self._clock.monotonic()
        if began < self._next:
            return
        depths = await self._spool.backlogs()
        ended = self._clock.monotonic()
        self._next = ended + _REST * (ended - began)
        self._set(depths, self._clock.now())

    def _set(self, depths: Iterable[Backlog], now: datetime) -> None:
        messages = {(name, state): 0 for name in self._names for state in _STATES}
        ages = dict.fromkeys(messages, 0.0)
        for depth in depths:
            name = Hop.parse(depth.hop).upstream
            key = (name if name in self._names else UNTRIED, depth.state)
            messages[key] += depth.messages
            ages[key] = max(ages[key], (now - depth.oldest).total_seconds())
        for (name, state), count in messages.items():
            self._metrics.queue_messages.labels(name, state.value).set(count)
            self._metrics.queue_oldest.labels(name, state.value).set(ages[name, state])
