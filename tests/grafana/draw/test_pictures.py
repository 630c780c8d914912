"""What stands in the pictures, drawn from a Prometheus that answers what the test says."""

import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from grafana.draw.browser import Browser, run_browser
from grafana.draw.pictures import HEIGHT, WIDTH, draw, opened, plan
from grafana.draw.questions import Dashboard, Span
from grafana.draw.server import serve
from tests.acceptance.peers.presence import node_modules

pytestmark = pytest.mark.peer("chromium")

LIBRARY = node_modules() / "uplot" / "dist"
TIMES = range(1000, 1060, 10)
SPAN = Span(TIMES[0], TIMES[-1], 10)
Series = tuple[Mapping[str, str], float]
ANSWERS: Mapping[str, list[Series]] = {
    "mail": [({"verdict": "pass"}, 12.5), ({"verdict": "reject"}, 0.25)],
    "ready": [({}, 1)],
    "age": [({"upstream": "provider"}, 5400), ({"upstream": "partner"}, 0)],
    "refused": [({"login": "ann"}, 3), ({"login": "bob"}, 12)],
    "sent": [({"login": "ann"}, 1500)],
    "state": [({"plugin": "clamav"}, 2)],
    "spread": [({"le": "0.1"}, 4), ({"le": "1.0"}, 7), ({"le": "+Inf"}, 7)],
    "alerts": [
        ({"name": "short", "state": "pending"}, 5),
        ({"name": "long", "state": "pending"}, 500),
        ({"name": "new", "state": "firing"}, 1),
    ],
    "nothing": [],
}
WORDS = [{"type": "value", "options": {"1": {"text": "YES", "color": "green"}}}]
OPEN = [{"type": "value", "options": {"2": {"text": "LEFT ALONE", "color": "red"}}}]
ABSENT = [{"type": "special", "options": {"match": "null+nan", "result": {"text": "NO MAIL"}}}]


class _Prometheus(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        expr = urllib.parse.parse_qs(address.query)["query"][0]
        answer: dict[str, Any] = {"status": "success"}
        if expr not in ANSWERS:
            answer = {"status": "error", "error": f"unknown series {expr}"}
        elif address.path.endswith("query_exemplars"):
            answer["data"] = [{"exemplars": [{"timestamp": TIMES[2], "value": "0.3"}]}]
        elif address.path.endswith("query_range"):
            answer["data"] = {
                "resultType": "matrix",
                "result": [
                    {"metric": labels, "values": [[at, str(value)] for at in TIMES]}
                    for labels, value in ANSWERS[expr]
                ],
            }
        else:
            answer["data"] = {
                "resultType": "vector",
                "result": [
                    {"metric": labels, "value": [TIMES[-1], str(value)]}
                    for labels, value in ANSWERS[expr]
                ],
            }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    """The address of one that knows ANSWERS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def panel(kind: str, *exprs: str, **more: Any) -> dict[str, Any]:
    """One of that kind, with a query for each expression."""
    instant = kind in {"stat", "table"}
    targets = [
        {"refId": ref, "expr": expr, "instant": instant, "exemplar": expr == "spread"}
        for ref, expr in zip("AB", exprs, strict=False)
    ]
    given: dict[str, Any] = {"fieldConfig": {"defaults": {}, "overrides": []}, "options": {}}
    return {"type": kind, "title": kind, "targets": targets, **given, **more}


def board(*panels: dict[str, Any]) -> Dashboard:
    """A dashboard of these, one below the other."""
    placed = [
        {**each, "id": number, "gridPos": {"x": 0, "y": number * 8, "w": 12, "h": 8}}
        for number, each in enumerate(panels)
    ]
    document = {"title": "Test", "panels": placed, "templating": {"list": []}}
    return Dashboard(document, SPAN)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests here."""
    with run_browser() as running:
        yield running


@contextmanager
def shown(
    browser: Browser, prometheus: str, *panels: dict[str, Any], state: str = "drawn"
) -> Iterator[str]:
    """What is to be read in the panels' page."""
    with serve({"test": plan(board(*panels), prometheus)}, LIBRARY) as address:
        states = [told["state"] for told in opened(browser, f"{address}/test/")]
        assert (states, browser.errors) == ([state] * len(panels), [])
        yield browser.evaluate("document.querySelector('main').innerText")


def test_tiles_have_words_and_units(browser: Browser, prometheus: str) -> None:
    """A word for the value that has one, a number with its unit for any other."""
    ready = panel("stat", "ready", fieldConfig={"defaults": {"mappings": WORDS}, "overrides": []})
    age = panel("stat", "age", fieldConfig={"defaults": {"unit": "s"}, "overrides": []})
    with shown(browser, prometheus, ready, age) as text:
        for words in ("YES", "provider", "1.50 hour", "partner", "0 s"):
            assert words in text


def test_lines_have_a_legend(browser: Browser, prometheus: str) -> None:
    """With what is asked for, in the unit of the panel or of the line."""
    override = {
        "matcher": {"id": "byRegexp", "options": "/reject$/"},
        "properties": [{"id": "unit", "value": "percentunit"}],
    }
    lines = panel(
        "timeseries",
        "mail",
        options={"legend": {"displayMode": "table", "calcs": ["lastNotNull", "max"]}},
        fieldConfig={"defaults": {"unit": "messages/s"}, "overrides": [override]},
    )
    with shown(browser, prometheus, lines) as text:
        assert "pass\t12.5 messages/s\t12.5 messages/s" in text
        assert "reject\t25%\t25%" in text


def test_a_line_that_is_always_0_can_be_hidden(browser: Browser, prometheus: str) -> None:
    """From the legend beside the chart, too; a line's colour is the one it has with all shown."""
    override = {
        "matcher": {"id": "byValue", "options": {"reducer": "allIsZero", "op": "gte", "value": 0}},
        "properties": [{"id": "custom.hideFrom", "value": {"viz": True, "legend": True}}],
    }
    lines = panel(
        "timeseries",
        "age",
        options={"legend": {"displayMode": "table", "placement": "right", "calcs": ["max"]}},
        fieldConfig={"defaults": {"unit": "s"}, "overrides": [override]},
    )
    with shown(browser, prometheus, lines) as text:
        assert "provider\t1.50 hour" in text
        assert "partner" not in text


def test_a_table_merges_its_queries(browser: Browser, prometheus: str) -> None:
    """A row for each login, in the order of the column that it says, without what it hides."""
    names = {"Value #A": "refused", "Value #B": "accepted"}
    organize = {"renameByName": names, "excludeByName": {"Time": True}, "indexByName": {}}
    rows = panel(
        "table",
        "refused",
        "sent",
        transformations=[{"id": "merge"}, {"id": "organize", "options": organize}],
        options={"sortBy": [{"displayName": "refused", "desc": True}]},
        fieldConfig={"defaults": {"unit": "short"}, "overrides": []},
    )
    with shown(browser, prometheus, rows) as text:
        assert "login\trefused\taccepted\nbob\t12\t\nann\t3\t1.50 K" in text


def test_a_table_can_be_sorted_by_words_before_numbers(browser: Browser, prometheus: str) -> None:
    """As many columns as are named, and each the way that it says."""
    rows = panel(
        "table",
        "alerts",
        transformations=[{"id": "organize", "options": {"renameByName": {"Value": "for"}}}],
        options={
            "sortBy": [
                {"displayName": "state", "desc": False},
                {"displayName": "for", "desc": True},
            ]
        },
    )
    with shown(browser, prometheus, rows) as text:
        lines = text[text.index("name") :].splitlines()[1:4]
    assert [line.split("\t")[0] for line in lines] == ["new", "long", "short"]


def test_states_are_named_bands(browser: Browser, prometheus: str) -> None:
    """As long as they last."""
    config = {"defaults": {"mappings": OPEN}, "overrides": []}
    with shown(browser, prometheus, panel("state-timeline", "state", fieldConfig=config)) as text:
        assert "clamav" in text
        assert "LEFT ALONE" in text


def test_a_heatmap_has_the_buckets_own_counts(browser: Browser, prometheus: str) -> None:
    """Its scale ends at the most that one has, not at the sum of those below."""
    spread = panel("heatmap", "spread", options={"yAxis": {"unit": "s"}})
    with shown(browser, prometheus, spread) as text:
        assert text.split()[-2:] == ["0", "4"]


def test_a_panel_may_have_a_word_for_no_data(browser: Browser, prometheus: str) -> None:
    """And for a cell without any."""
    config = {"defaults": {"noValue": "None"}, "overrides": []}
    empty = panel("table", "nothing", fieldConfig=config)
    with shown(browser, prometheus, empty, state="empty") as text:
        assert "None" in text
    rows = panel("table", "refused", "sent", fieldConfig=config)
    with shown(browser, prometheus, rows) as text:
        assert "bob\t12\tNone" in text


def test_a_panel_without_data_says_so(prometheus: str) -> None:
    """Or what its mapping has for that; an error is told, and so is a kind that nobody draws."""
    mapped = panel(
        "stat", "nothing", fieldConfig={"defaults": {"mappings": ABSENT}, "overrides": []}
    )
    panels = (
        panel("timeseries", "nothing"),
        mapped,
        panel("stat", "unheard"),
        panel("news", "mail"),
    )
    (drawn,) = draw({"test": board(*panels)}, prometheus, LIBRARY).values()
    assert [told["state"] for told in drawn.panels] == ["empty", "empty", "failed", "failed"]
    assert [told["reason"] for told in drawn.panels[2:]] == [
        "unknown series unheard",
        "a news can't be drawn yet",
    ]
    assert drawn.errors == ()
    assert int.from_bytes(drawn.png[16:20]) == WIDTH


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        ("0", "s", "0 s"),
        ("0.0123", "s", "12.3 ms"),
        ("0.0000005", "s", "0.500 µs"),
        ("90", "s", "1.50 min"),
        ("200000", "s", "2.31 days"),
        ("1536", "bytes", "1.50 KiB"),
        ("2500000", "Bps", "2.50 MB/s"),
        ("0.256", "percentunit", "25.6%"),
        ("12345", "short", "12.3 K"),
        ("12345", "none", "12345"),
        ("1234567", "locale", "1,234,567"),
        ("0.3333", "recipients/s", "0.333 recipients/s"),
        ("NaN", "s", "-"),
    ],
)
def test_numbers_read_as_grafana_writes_them(
    browser: Browser, value: str, unit: str, text: str
) -> None:
    """Three digits, and the unit that makes the number small."""
    with serve({"test": {}}, LIBRARY) as address:
        browser.open(f"{address}/test/", WIDTH, HEIGHT)
        module = f"import('{address}/test/format.js')"
        script = f"{module}.then(({{ format }}) => format({value}, {{ unit: '{unit}' }}))"
        assert browser.evaluate(script) == text
