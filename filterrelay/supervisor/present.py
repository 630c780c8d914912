"""The series that are made at the scrape: whether mail can be taken, by how many, and the time."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import READY, STANDINGS, TIME, WORKERS, Series
from filterrelay.supervisor.board import Board, Standing


class Present(Collector):
    """What is so at this moment. troubles: says why no mail can be taken."""

    def __init__(self, troubles: Callable[[], Sequence[str]], board: Board, clock: Clock) -> None:
        self._troubles = troubles
        self._board = board
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        ready, workers, time = map(_family, (READY, WORKERS, TIME))
        ready.add_metric((), not self._troubles())
        for standing in STANDINGS:
            workers.add_metric((standing,), self._board.count(Standing[standing.upper()]))
        time.add_metric((), self._clock.now().timestamp())
        yield from (ready, workers, time)


def _family(series: Series) -> GaugeMetricFamily:
    return GaugeMetricFamily(series.name, series.documentation, labels=series.labels)
