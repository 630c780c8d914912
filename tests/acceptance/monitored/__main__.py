"""Makes the pictures of the dashboards: some minutes of mail, watched, and drawn."""

import argparse
import asyncio
import time
from pathlib import Path

from grafana.draw.command import complaints, draw_ours, write
from grafana.draw.questions import Span

from ..peers.presence import node_modules
from .office import run_monitored
from .traffic import Traffic

_ROOT = Path(__file__).parents[3]
_SCRAPE = 2  # seconds


def main() -> int:
    """Writes docs/pictures/*.png; 1 when a panel could not be drawn."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.monitored")
    parser.add_argument("--minutes", type=float, default=3, help="how long mail flows")
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "pictures")
    options = parser.parse_args()
    with run_monitored(sorted(_ROOT.glob("grafana/alerts/*.yaml")), _SCRAPE) as office:
        traffic = Traffic(office)
        office.prometheus.wait_for_scrapes()
        began = time.time()
        asyncio.run(_flow(traffic, options.minutes * 60))
        span = Span(began, time.time(), _SCRAPE)
        library = node_modules() / "uplot" / "dist"
        drawn = draw_ours(span, office.prometheus.url, library)
    write(drawn, options.out)
    return int(any(complaints(each) for each in drawn.values()))


async def _flow(traffic: Traffic, seconds: float) -> None:
    """Mail of all kinds; on the way a worker dies, and the configuration is loaded anew."""
    traffic.prepare()
    await traffic.mixed(seconds * 0.4)
    await traffic.kill_a_worker()
    await traffic.mixed(seconds * 0.2)
    traffic.let_in()
    await traffic.reload_twice()
    await traffic.mixed(seconds * 0.4)


raise SystemExit(main())
