"""Dashboards drawn by the page, as PNG files and a report on each panel."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .browser import Browser, run_browser
from .questions import Dashboard
from .server import serve

WIDTH, HEIGHT = 1600, 1000  # pixels; as high as it needs once it is drawn
_DONE = """
(document.readyState === "complete"
  ? Promise.resolve()
  : new Promise((go) => addEventListener("load", go))
).then(() => drawn)
"""


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
    plans = {name: plan(board, prometheus) for name, board in boards.items()}
    with serve(plans, library) as address, run_browser() as browser:
        return {name: _draw(browser, f"{address}/{name}/") for name in plans}


def plan(board: Dashboard, prometheus: str) -> dict[str, Any]:
    """What the page wants to know."""
    return {
        "prometheus": prometheus,
        "dashboard": board.document,
        "span": asdict(board.span),
        "values": board.values,
        "questions": [asdict(question) for question in board.questions()],
        "annotations": [asdict(annotation) for annotation in board.annotations()],
    }


def opened(browser: Browser, url: str) -> list[dict[str, Any]]:
    """Shows a page, and returns what it tells of its panels once it is done."""
    browser.errors.clear()
    browser.open(url, WIDTH, HEIGHT)
    panels: list[dict[str, Any]] = browser.evaluate(_DONE)
    return panels


def _draw(browser: Browser, url: str) -> Drawn:
    panels = opened(browser, url)
    browser.resize(WIDTH, browser.evaluate("document.documentElement.scrollHeight"))
    return Drawn(browser.picture(), panels, tuple(browser.errors))
