"""The gauges of what waits for each upstream, and for the destinations with most."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.registry import Collector

from filterrelay.mail.hop import Hop
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import OTHER, TOP_WAITING, Metrics
from filterrelay.observe.scrape import listed
from filterrelay.settings.routes import DIRECT
from filterrelay.spool.store import Backlog, Spool, State

UNTRIED = "none"  # the label of what was never tried, and of upstreams no longer in the file
_REST = 50.0  # times as long as a look took, until the next one: a long queue is long to count
_STATES = (State.QUEUED, State.HELD)


class QueueGauges(Collector):
    """Counts the queue by upstream now and then; direct delivery's destinations are one sum.

    Those of them with most are told at the scrape. upstreams: the names in the file. top:
    how many destinations are named.
    """

    def __init__(
        self, upstreams: Iterable[str], spool: Spool, metrics: Metrics, clock: Clock, top: int
    ) -> None:
        self._names = {*upstreams, DIRECT, UNTRIED}
        self._spool = spool
        self._metrics = metrics
        self._clock = clock
        self._top = top
        self._waiting: Counter[str] = Counter()  # messages, by the best server of the destination
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
        waiting: Counter[str] = Counter()
        for depth in depths:
            hop = Hop.parse(depth.hop)
            name = hop.upstream
            key = (name if name in self._names else UNTRIED, depth.state)
            messages[key] += depth.messages
            ages[key] = max(ages[key], (now - depth.oldest).total_seconds())
            if name == DIRECT and depth.state is State.QUEUED:
                waiting[hop.site.partition("+")[0] or OTHER] += depth.messages
        self._waiting = waiting
        for (name, state), count in messages.items():
            self._metrics.queue_messages.labels(name, state.value).set(count)
            self._metrics.queue_oldest.labels(name, state.value).set(ages[name, state])

    def collect(self) -> Iterator[Metric]:
        """The destinations with most, and the sum of the others, for a scrape in any thread."""
        waiting = self._waiting
        highest = Counter({name: waiting[name] for name in waiting if name != OTHER})
        told = dict(highest.most_common(self._top))
        rest = waiting.total() - sum(told.values())
        yield listed(TOP_WAITING, {**{(name,): told[name] for name in told}, (OTHER,): rest})
