"""Every panel and alert, asked of a real Prometheus that has watched mail of every outcome."""

import asyncio
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from grafana.draw.pictures import draw
from grafana.draw.questions import Dashboard, PrometheusLabels, Question, Span, read

from .monitored.office import Office, run_monitored
from .monitored.traffic import Tally, Traffic
from .peers.presence import node_modules
from .peers.process import wait_until
from .peers.prometheus import Prometheus

GRAFANA = Path(__file__).parents[2] / "grafana"
FILES = {file.stem: json.loads(file.read_text()) for file in GRAFANA.glob("dashboards/*.json")}
RULES = sorted(GRAFANA.glob("alerts/*.yaml"))
SERIES = re.compile(r"\b(?:filterrelay_\w+|up\b|\w+:\w[\w:]*)(?:\{[^}]*\})?")

# What goes wrong here for long enough to be noticed: one scanner isn't there, one worker died.
ALARMING = {"FilterrelayScannerDown", "FilterrelayWorkerRestarts"}

# Panels that rightly show nothing here, by title.
QUIET: dict[str, str] = {}
# Selectors of alerts that rightly find nothing here.
UNSEEN: dict[str, str] = {}

BLANK = 100_000  # octets; pictures are several times as large, empty ones of that size half of it

# The least and the greatest value that is believed, by unit.
PLAUSIBLE = {
    "percentunit": (0.0, 1.0),
    "s": (0.0, 3600.0),
    "bytes": (0.0, 2.0**44),
    "Bps": (0.0, 2.0**30),
    "CPUs": (0.0, 8.0),
}
OTHERWISE = {  # in place of these, by title
    "Certificate ends in": (29 * 86_400.0, 30 * 86_400.0),
    "Budget of acceptance": (-99.0, 1.0),  # one that is overspent is below 0, and 99 times at most
    "Budget of delivery": (-99.0, 1.0),
}

pytestmark = pytest.mark.peer("postfix", "clamd", "prometheus")


@dataclass(frozen=True)
class Watched:
    """The office after its mail. boards: by name, their variables filled in."""

    office: Office
    tally: Tally
    boards: Mapping[str, Dashboard]

    @property
    def prometheus(self) -> Prometheus:
        """The one that has watched."""
        return self.office.prometheus


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """Everything happens twice, so that there are rates; in between a worker dies."""
    began = time.time()
    with run_monitored(RULES) as office:
        traffic = Traffic(office)
        traffic.prepare()
        office.prometheus.wait_for_scrapes()
        asyncio.run(_happen(traffic))
        for mail in ("Action: failed", "Action: delayed", "Action: relayed"):
            office.home.wait_for(mail)
        office.prometheus.wait_for_scrapes()
        span = Span(began, time.time(), office.prometheus.interval)
        labels = PrometheusLabels(office.prometheus.url)
        boards = {name: read(document, span, labels) for name, document in FILES.items()}
        yield Watched(office, traffic.tally, boards)
        assert office.program.stop() == 0
        assert office.home.frowns == office.direct.frowns == office.behind.frowns == []


async def _happen(traffic: Traffic) -> None:
    await traffic.every_outcome()
    await traffic.come_to_rest()
    await traffic.kill_a_worker()
    traffic.let_in()
    await traffic.reload_twice()
    await traffic.every_outcome()


def agree(told: Callable[[], Any], true: Callable[[], Any]) -> None:
    """Fails unless the metrics come to say what is really so; mail may still be under way."""
    try:
        wait_until(lambda: told() == true(), "the same figures", 10)
    except AssertionError:
        assert told() == true()


def by(prometheus: Prometheus, label: str, counter: str) -> Counter[str]:
    """A counter's sums by a label, those that are 0 left out."""
    found = prometheus.query(f"sum by ({label}) (filterrelay_{counter}_total)")
    return Counter({each.labels[label]: round(each.value) for each in found if each.value})


@pytest.mark.parametrize(
    ("counter", "label"), [("messages", "verdict"), ("refusals", "hook"), ("logins", "result")]
)
def test_what_came_in_is_counted_exactly(watched: Watched, counter: str, label: str) -> None:
    """By all workers together, of which one was killed, and by those before the reload."""
    sent = getattr(watched.tally, counter)
    agree(partial(by, watched.prometheus, label, counter), lambda: sent)


def test_what_went_out_is_counted_exactly(watched: Watched) -> None:
    """As the next hops have it: each recipient that they took, and each that they refused."""
    result = partial(by, watched.prometheus, "result", "deliveries")
    agree(lambda: result()["delivered"], partial(_taken, watched.office))
    agree(lambda: result()["bounced"], lambda: watched.tally.bounced)
    accepted = 'sum(filterrelay_recipients_total{listener!="none"})'
    agree(lambda: watched.prometheus.value(accepted), lambda: watched.tally.recipients)


def _taken(office: Office) -> int:
    """How many recipients all next hops together have taken mail for."""
    sinks = (office.home, office.direct, office.behind)
    taken = [arrival.recipients for sink in sinks for arrival in list(sink.arrivals)]
    return sum(map(len, taken)) + sum(len(one.recipients) for one in office.guarded.received)


def test_what_else_happened_is_counted_exactly(watched: Watched) -> None:
    """A dead worker, a reload of each kind, and the reports that came to the sender."""
    assert watched.prometheus.value("sum(filterrelay_worker_restarts_total)") == 1
    assert by(watched.prometheus, "result", "reloads") == {"done": 1, "refused": 1}
    agree(partial(by, watched.prometheus, "kind", "reports"), partial(_reports, watched.office))


def _reports(office: Office) -> Counter[str]:
    """Those that have arrived, by what they say."""
    kinds = {b"failed": "failure", b"delayed": "delay", b"relayed": "success"}
    arrived = office.home.about("Content-Type: message/delivery-status")
    text = b"".join(arrival.message for arrival in arrived)
    return Counter(kinds[action] for action in re.findall(rb"Action: (\w+)", text))


def _panels() -> Iterator[Any]:
    for name, document in FILES.items():
        for panel in Dashboard(document, Span(0, 1, 1)).panels():
            if panel.get("targets"):
                yield pytest.param(name, panel["id"], id=f"{name}: {panel['title']}")


@pytest.mark.parametrize(("board", "panel"), list(_panels()))
def test_each_panel_has_an_answer(watched: Watched, board: str, panel: int) -> None:
    """Without an error or a warning, with data, and with values that its unit can have."""
    dashboard = watched.boards[board]
    (shown,) = (each for each in dashboard.panels() if each["id"] == panel)
    questions = [each for each in dashboard.questions() if each.panel == panel]
    values = {each: _answer(watched.prometheus, dashboard.span, each) for each in questions}
    if shown["title"] in QUIET:
        return
    assert any(values.values()), f"no data: {[each.expr for each in questions]}"
    for question, found in values.items():
        unit = _unit(shown, question.ref)
        if re.search(r"histogram_quantile\(.*_seconds_bucket", question.expr):
            assert unit == "s", question.expr
        believed = PLAUSIBLE.get(unit, (-math.inf, math.inf))
        least, most = OTHERWISE.get(shown["title"], believed)
        wrong = [value for value in found if not least <= value <= most]
        assert wrong == [], f"{unit}: {question.expr}"


def _answer(prometheus: Prometheus, span: Span, question: Question) -> list[float]:
    """All numbers that it comes to."""
    if question.instant:
        return [each.value for each in prometheus.query(question.expr) if each.value == each.value]
    asked = {"query": question.expr, "start": span.start, "end": span.end, "step": question.step}
    data = prometheus.ask("query_range", [(key, str(value)) for key, value in asked.items()])
    pairs = [pair for series in data["result"] for pair in series["values"]]
    return [value for _, text in pairs if not math.isnan(value := float(text))]


def _unit(panel: Mapping[str, Any], ref: str) -> str:
    """The unit of a query's values; a table's columns have their own, by their names.

    Of what is counted it stands beside the axis.
    """
    config = panel["fieldConfig"]
    for change in panel.get("transformations", ()):
        renamed = change["options"].get("renameByName", {})
        column = renamed.get(f"Value #{ref}") or renamed.get("Value")
        for override in config["overrides"]:
            if override["matcher"]["options"] == column:
                units = [p["value"] for p in override["properties"] if p["id"] == "unit"]
                if units:
                    return str(units[0])
    counted = config["defaults"].get("custom", {}).get("axisLabel")
    return str(counted or config["defaults"].get("unit", ""))


@pytest.mark.parametrize("board", FILES)
def test_each_variable_and_event_has_an_answer(watched: Watched, board: str) -> None:
    """A reader can choose, and Prometheus understands what draws lines across the panels."""
    dashboard = watched.boards[board]
    for name, values in dashboard.values.items():
        assert values, f"nothing to choose for {name}"
    for annotation in dashboard.annotations():
        watched.prometheus.query(annotation.expr)


def test_nothing_is_left_out_for_want_of_files() -> None:
    """What is asked here is what is shipped."""
    assert len(FILES) == 5
    assert len(RULES) == 2


def test_each_rule_works_and_finds_its_series(watched: Watched) -> None:
    """It is evaluated without an error, and asks for nothing that is never there."""
    groups = watched.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    for rule in rules:
        assert rule["health"] == "ok", (rule["name"], rule.get("lastError"))
        found = watched.prometheus.query(rule["query"])
        if ":ratio_rate" in rule["name"]:
            assert all(0 <= each.value <= 1 for each in found), (rule["name"], found)
    alerts = {each["labels"]["alertname"] for each in watched.prometheus.ask("alerts")["alerts"]}
    assert alerts >= ALARMING
    asked = {found for rule in rules for found in SERIES.findall(rule["query"])} - set(UNSEEN)
    agree(partial(_missing, watched.prometheus, asked), list)


def _missing(prometheus: Prometheus, selectors: Iterable[str]) -> list[str]:
    """Those that have found nothing yet; a rule on a rule on a rule takes its time."""
    return [s for s in sorted(selectors) if not prometheus.query(f"last_over_time({s}[1h])")]


@pytest.mark.peer("chromium")
def test_each_dashboard_can_be_drawn(watched: Watched) -> None:
    """No error in any panel, data in all, and a picture of more than a background."""
    library = node_modules() / "uplot" / "dist"
    for name, drawn in draw(watched.boards, watched.prometheus.url, library).items():
        assert drawn.errors == ()
        undrawn = [panel for panel in drawn.panels if panel["state"] != "drawn"]
        assert [panel for panel in undrawn if panel["title"] not in QUIET] == [], name
        assert len(drawn.png) > BLANK, name
