"""Dashboards drawn by the page, as PNG files and a report on each panel."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .browser import Browser, run_browser
from .questions import Dashboard
from .server import serve

WIDTH = 1600  # pixels


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and what became of each panel.

    panels: id, title, type and state (`drawn`, `empty` or `failed`, then with a reason).
    errors: what went wrong in the page itself.
    """

    png: bytes
    panels: Sequence[Mapping[str, Any]]
    errors: Sequence[str]


def draw(boards: Mapping[str, Dashboard], prometheus: str, library: Path) -> dict[str, Drawn]:
    """Draws the dashboards. prometheus: its address. library: the folder with uPlot's modules."""
    plans = {name: _plan(board, prometheus) for name, board in boards.items()}
    with serve(plans, library) as address, run_browser() as browser:
        return {name: _draw(browser, f"{address}/{name}/") for name in plans}


def _plan(board: Dashboard, prometheus: str) -> dict[str, Any]:
    """What the page wants to know."""
    return {
        "prometheus": prometheus,
        "dashboard": board.document,
        "span": asdict(board.span),
        "values": board.values,
        "questions": [asdict(question) for question in board.questions()],
        "annotations": [asdict(annotation) for annotation in board.annotations()],
    }


def _draw(browser: Browser, url: str) -> Drawn:
    browser.errors.clear()
    browser.open(url, WIDTH, 1000)
    panels = browser.evaluate("new Promise((go) => addEventListener('load', go)).then(() => drawn)")
    browser.resize(WIDTH, browser.evaluate("document.documentElement.scrollHeight"))
    return Drawn(browser.picture(), panels, tuple(browser.errors))
