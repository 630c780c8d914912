"""The dashboards, in the order in which the night shift needs them."""

from pathlib import Path

from grafana.board import Board

from .capacity import CAPACITY
from .delivery import DELIVERY
from .filters import FILTERS_BOARD
from .overview import OVERVIEW
from .senders import SENDERS

BOARDS: tuple[Board, ...] = (OVERVIEW, FILTERS_BOARD, DELIVERY, SENDERS, CAPACITY)
FOLDER = Path(__file__).parent.parent / "dashboards"


def write() -> None:
    """Writes each one's JSON."""
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(board.json())
