"""What is made at the scrape."""

from prometheus_client import CollectorRegistry

from filterrelay.observe.metrics import STANDINGS
from filterrelay.plugin.testing import SOME_TIME, FakeClock
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.present import Present


def test_readiness_workers_and_the_time_are_those_of_the_moment() -> None:
    """As /readyz and the board say, and the clock."""
    registry, board, clock = CollectorRegistry(), Board(3), FakeClock()
    troubles = ["no worker is ready"]
    registry.register(Present(lambda: troubles, board, clock))

    def told() -> list[float | None]:
        value = registry.get_sample_value
        workers = [value("filterrelay_workers", {"standing": standing}) for standing in STANDINGS]
        return [value("filterrelay_ready"), *workers, value("filterrelay_time_seconds")]

    assert told() == [0, 0, 0, 0, 3, SOME_TIME.timestamp()]
    troubles.clear()
    board.mark(0, Standing.READY)
    board.mark(2, Standing.AILING)
    assert told()[:5] == [1, 1, 1, 0, 1]
