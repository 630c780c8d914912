"""A scrape: how long it takes, and its CPU time, with 8 workers in which all has happened."""

import getpass
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median

from rich.console import Console

from filterrelay.observe.clock import SystemClock
from filterrelay.observe.multiprocess import worker_metrics
from filterrelay.observe.notes import notes_file, save
from filterrelay.observe.top import ROOM, SLOT, SLOTS
from tests.bench.programs import Programs, write
from tests.bench.relays.filterrelay import find_filterrelay
from tests.bench.site import free_port
from tests.bench.targets import Target
from tests.observe.install import Install

NAME = "scrape"
MOST = 0.1  # seconds
_WORKERS = 8
_SCRAPES = 50
_WARM_UP = 5
_FORMAT = {"Accept": "application/openmetrics-text; version=1.0.0"}

_CONFIG = """\
hostname = "relay.office.example"
state_dir = "{directory}/state"
workers = 1
user = "{user}"

[[listener]]
kind = "smtp"
address = "127.0.0.1:{port}"

[[upstream]]
name = "provider"
hosts = ["127.0.0.1:9"]

[metrics]
address = "127.0.0.1:{metrics}"

[console]
address = ""

[log]
format = "json"
"""


@dataclass(slots=True)
class Scrapes:
    """Seconds of each, their CPU seconds together, and how many series the last one told."""

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0
    series: int = 0

    def target(self) -> Target:
        """What is promised."""
        text, wanted = f"the slowest scrape of {_WORKERS} workers", f"< {MOST * 1000:.0f} ms"
        if not self.seconds:
            return Target(text, wanted, "not measured", None)
        slowest = max(self.seconds)
        return Target(text, wanted, f"{slowest * 1000:.0f} ms", slowest < MOST)


def measure(directory: Path, console: Console) -> Scrapes:
    """Scrapes of a relay that finds what such workers have written beside its own."""
    relay = Programs("filterrelay-scrape", "filterrelay, scraped", directory / NAME)
    file, metrics, port = relay.directory / "filterrelay.toml", free_port(), free_port()
    text = _CONFIG.format(
        directory=relay.directory, user=getpass.getuser(), port=port, metrics=metrics
    )
    write(file, text)
    (relay.directory / "state").mkdir()
    try:
        relay.spawn([str(find_filterrelay()), "serve", "-c", str(file)])
        relay.await_greeting(port)
        for number in range(_WORKERS):
            folder = str(relay.directory / "state" / "metrics")
            subprocess.run([sys.executable, "-m", __name__, folder, f"w{number}"], check=True)
        scrapes = _scraped(relay, f"http://127.0.0.1:{metrics}/metrics")
    finally:
        relay.stop()
    console.print(
        f"{NAME}: {scrapes.series} series in {median(scrapes.seconds) * 1000:.0f} ms, at most"
        f" {max(scrapes.seconds) * 1000:.0f} ms, {scrapes.cpu / _SCRAPES * 1000:.0f} ms of CPU",
        highlight=False,
    )
    return scrapes


def _scraped(relay: Programs, url: str) -> Scrapes:
    scrapes, before = Scrapes(), 0.0
    request = urllib.request.Request(url, headers=_FORMAT)
    for number in range(_WARM_UP + _SCRAPES):
        if number == _WARM_UP:
            before = relay.account.cpu_seconds()
            scrapes.seconds.clear()
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=30) as answer:
            lines = answer.read().splitlines()
        scrapes.seconds.append(time.monotonic() - began)
        scrapes.series = sum(not line.startswith(b"#") for line in lines)
    scrapes.cpu = relay.account.cpu_seconds() - before
    return scrapes


def be_a_worker(directory: Path, process: str) -> None:
    """Touches every series, and fills the lists of the last hour with names of its own."""
    metrics, now = worker_metrics(directory, process), SystemClock().now()
    Install().touch(metrics)
    for slot in range(SLOTS):
        for number in range(2 * ROOM):
            at, name = now - timedelta(seconds=slot * SLOT), f"{number}.of-{process}.example"
            metrics.notes.message(f"someone@{name}", "pass", at)
            metrics.notes.recipient(name, "deferred", at)
    for number in range(100):
        metrics.notes.accepted.note("listener 0", "1M8B2NK873577DDVY", number / 50, now)
        metrics.notes.delivered.note("upstream 0", "1M8B2NK873577DDVY", number * 4.0, now)
    save(notes_file(directory, process), metrics.notes.text())


if __name__ == "__main__":
    be_a_worker(Path(sys.argv[1]), sys.argv[2])
