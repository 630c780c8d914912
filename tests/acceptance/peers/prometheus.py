"""Debian's Prometheus, scraping the program every moment, with rules that a test gives it."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from .process import LOOPBACK, Process, free_port, wait_until, workplace

_CONFIGURATION = """\
global:
  scrape_interval: {interval}s
  scrape_timeout: {interval}s
  evaluation_interval: {interval}s
  external_labels:
    runbooks: docs/runbook
rule_files:
  - {home}/rules/*
scrape_configs:
  - job_name: filterrelay
    static_configs:
      - targets: ["{target}"]
"""
_GROUP_INTERVAL = re.compile(r"^(\s+interval:).*$", re.MULTILINE)
_OFFSET = re.compile(r"\boffset \d+[mhdw]\b")
_LOOK_BACK = 5  # scrapes


class BadQuery(AssertionError):
    """Prometheus could not answer, or had something to add."""


@dataclass(frozen=True)
class Sample:
    """One series at one moment."""

    labels: dict[str, str]
    value: float


@dataclass
class Prometheus:
    """A running Prometheus. interval: seconds between its scrapes."""

    port: int
    interval: int
    process: Process = field(repr=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        """Whether it answers questions; soon after it listens it does."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as response:
                return bool(response.status == HTTPStatus.OK)
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def ask(self, path: str, parameters: Sequence[tuple[str, str]] = ()) -> Any:
        """What its API answers at this path below /api/v1. Raises BadQuery."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                document = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                document = json.load(error)
        if document["status"] != "success" or document.get("warnings"):
            raise BadQuery(document.get("error") or document["warnings"])
        return document["data"]

    def query(self, expression: str) -> list[Sample]:
        """What it knows now; a number alone is a series without labels. Raises BadQuery."""
        data = self.ask("query", [("query", expression)])
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def value(self, expression: str) -> float:
        """The one number that this comes to; 0 where there is no series."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression}: {found}"
        return found[0].value if found else 0.0

    def wait_for(self, expression: str, seconds: float = 20.0) -> None:
        """Returns once the expression has a series."""
        wait_until(lambda: self.query(expression), expression, seconds)

    def scrapes(self) -> float:
        """Completed scrapes of the program so far."""
        return self.value('count_over_time(up{job="filterrelay"}[1h])')

    def wait_for_scrapes(self, count: int = 2) -> None:
        """Returns once all that has happened so far has been seen for sure."""
        goal = self.scrapes() + count
        wait_until(lambda: self.scrapes() >= goal, f"{count} scrapes", 20 + count * self.interval)


@contextmanager
def run_prometheus(target: str, rules: Iterable[Path], interval: int = 1) -> Iterator[Prometheus]:
    """Prometheus with its data in a directory of its own.

    target: `host:port` of the program's metrics. rules: files, whose groups are evaluated
    as often as is scraped, and which compare with what was some seconds ago where they say
    minutes or days.
    """
    with workplace("prometheus") as home:
        (home / "rules").mkdir()
        for file in rules:
            text = _GROUP_INTERVAL.sub(rf"\1 {interval}s", file.read_text())
            text = _OFFSET.sub(f"offset {_LOOK_BACK * interval}s", text)
            (home / "rules" / file.name).write_text(text)
        configuration = home / "prometheus.yaml"
        configuration.write_text(_CONFIGURATION.format(interval=interval, home=home, target=target))
        port = free_port()
        process = Process(
            [
                *("prometheus", f"--config.file={configuration}"),
                *(f"--storage.tsdb.path={home / 'data'}", "--enable-feature=exemplar-storage"),
                f"--web.listen-address={LOOPBACK}:{port}",
            ],
            home / "prometheus.log",
        )
        try:
            process.wait_for_port(port)
            prometheus = Prometheus(port, interval, process)
            wait_until(prometheus.is_ready, "Prometheus has read its data")
            yield prometheus
        finally:
            process.kill_group()
