"""Words for states: what Prometheus makes of their expressions, and what they are then called."""

import json
import subprocess
from pathlib import Path

import pytest

from grafana import look
from grafana.boards import states
from grafana.boards.overview import OVERVIEW
from grafana.query import quantile, rate
from grafana.series import M
from tests.acceptance.peers.process import find_program

from .written import filled, panels

BREAKERS: dict[str, float | str] = {
    'filterrelay_plugin_breaker_state{A,plugin="spf"}': 0,
    'filterrelay_plugin_breaker_state{A,plugin="dkim"}': 0,
    'filterrelay_plugin_breaker_state{A,plugin="clamav"}': 2,
}
WAITS: dict[str, float | str] = {
    f'filterrelay_queue_oldest_seconds{{A,upstream="{name}",state="queued"}}': seconds
    for name, seconds in zip("abcde", (7200, 900, 60, 59, 0), strict=True)
}


def expression(title: str, number: int = 0) -> str:
    """One of those of a panel on Overview."""
    (panel,) = (panel for panel in panels(OVERVIEW) if panel["title"] == title)
    return str(panel["targets"][number]["expr"])


TESTED: dict[str, tuple[str, dict[str, float | str], dict[str, float]]] = {
    "every relay takes mail": (
        states.READINESS.expr,
        {"filterrelay_ready{A}": 1, "up{A}": 1, "filterrelay_ready{B}": 1, "up{B}": 1},
        {"{}": 1},
    ),
    "one does not": (
        states.READINESS.expr,
        {"filterrelay_ready{A}": 1, "up{A}": 1, "filterrelay_ready{B}": 0, "up{B}": 1},
        {"{}": 0},
    ),
    "one gives no answer, and another takes mail": (
        states.READINESS.expr,
        {"filterrelay_ready{A}": 1, "up{A}": 1, "up{B}": 0},
        {"{}": -1},
    ),
    "filters by the worst of breaker and daemon": (
        states.FILTERS.expr,
        {
            'filterrelay_plugin_breaker_state{A,plugin="spf"}': 0,
            'filterrelay_plugin_breaker_state{A,plugin="clamav"}': 2,
            'filterrelay_plugin_breaker_state{A,plugin="rspamd"}': 1,
            'filterrelay_plugin_up{A,plugin="clamav"}': 0,
            'filterrelay_plugin_up{A,plugin="rspamd"}': 1,
        },
        {'{plugin="spf"}': 0, '{plugin="clamav"}': 3, '{plugin="rspamd"}': 1},
    ),
    "upstreams by what was put off, or a host that is down": (
        states.UPSTREAMS.expr,
        {
            'filterrelay_deliveries_total{A,upstream="well",result="delivered"}': "0+1x30",
            'filterrelay_deliveries_total{A,upstream="half",result="delivered"}': "0+1x30",
            'filterrelay_deliveries_total{A,upstream="half",result="deferred"}': "0+1x30",
            'filterrelay_deliveries_total{A,upstream="down",result="deferred"}': "0+1x30",
            'filterrelay_upstream_hosts_down{A,upstream="down"}': 1,
            'filterrelay_upstream_hosts_down{A,upstream="well"}': 0,
        },
        {'{upstream="well"}': 0, '{upstream="half"}': 0.5, '{upstream="down"}': 2},
    ),
    "upstreams that take connections and end nothing": (
        states.UPSTREAMS.expr,
        {
            'filterrelay_upstream_connections{A,upstream="hangs",state="busy"}': 4,
            'filterrelay_deliveries_total{A,upstream="hangs",result="delivered"}': "9x30",
            'filterrelay_upstream_connections{A,upstream="busy",state="busy"}': 4,
            'filterrelay_deliveries_total{A,upstream="busy",result="delivered"}': "0+1x30",
            'filterrelay_upstream_connections{A,upstream="idle",state="busy"}': 0,
            'filterrelay_upstream_hosts_down{A,upstream="idle"}': 1,
        },
        {'{upstream="hangs"}': 3, '{upstream="busy"}': 0, '{upstream="idle"}': 2},
    ),
    "filters in trouble alone": (
        states.FILTERS_IN_TROUBLE.expr,
        BREAKERS,
        {'{plugin="clamav"}': 2},
    ),
    "how many filters aren't": (states.FILTERS_OK.expr, BREAKERS, {"{}": 2}),
    "upstreams where mail has waited for long, and no others": (
        states.LONGEST_WAITS.expr,
        WAITS,
        {'{upstream="a"}': 7200, '{upstream="b"}': 900, '{upstream="c"}': 60},
    ),
    "no word on the rest, if there are such": (states.NO_LONG_WAIT.expr, WAITS, {}),
    "the longest wait, if all are short": (
        states.NO_LONG_WAIT.expr,
        {'filterrelay_queue_oldest_seconds{A,upstream="a",state="queued"}': 3},
        {"{}": 3},
    ),
    "nothing instead of a quantile of nothing": (
        quantile(0.5, M.accept_seconds, "listener").expr,
        {
            'filterrelay_accept_seconds_bucket{A,listener="used",le="1.0"}': "0+1x30",
            'filterrelay_accept_seconds_bucket{A,listener="used",le="+Inf"}': "0+1x30",
            'filterrelay_accept_seconds_bucket{A,listener="idle",le="1.0"}': 5,
            'filterrelay_accept_seconds_bucket{A,listener="idle",le="+Inf"}': 5,
        },
        {'{listener="used"}': 0.5},
    ),
    "messages in a minute": (
        rate(M.messages, "verdict").expr,
        {'filterrelay_messages_total{A,listener="smtp",verdict="pass"}': "0+3x30"},
        {'{verdict="pass"}': 3},
    ),
    "logins with refused mail alone": (
        expression("Senders whose mail was refused", 1),
        {
            'filterrelay_top_login_messages{A,login="ann",outcome="refused"}': 2,
            'filterrelay_top_login_messages{A,login="ann",outcome="accepted"}': 5,
            'filterrelay_top_login_messages{A,login="other",outcome="refused"}': 0,
            'filterrelay_top_login_messages{A,login="other",outcome="accepted"}': 9,
        },
        {'{login="ann"}': 5},
    ),
    "alerts by how long they are active, and what they are about": (
        expression("Firing and pending alerts"),
        {
            'ALERTS{alertname="FilterrelayScannerDown",alertstate="firing",severity="page",'
            'plugin="clamav",A}': 1,
            'ALERTS_FOR_STATE{alertname="FilterrelayScannerDown",severity="page",'
            'plugin="clamav",A}': 600,
            'ALERTS{alertname="Another",alertstate="firing",severity="page",A}': 1,
        },
        {
            '{alertname="FilterrelayScannerDown",alertstate="firing",severity="page",'
            'subject="clamav    "}': 600
        },
    ),
}


def target(text: str) -> str:
    """The labels that Prometheus gives to the series of one relay."""
    for name in ("A", "B"):
        labels = f'job="filterrelay",instance="{name}"'
        text = text.replace(f"{{{name}", f"{{{labels}").replace(f",{name}}}", f",{labels}}}")
    return text


@pytest.mark.peer("promtool")
@pytest.mark.parametrize("name", TESTED)
def test_prometheus_makes_of_it(name: str, tmp_path: Path) -> None:
    """After 20 minutes, by promtool."""
    expression, given, wanted = TESTED[name]
    series = [
        {
            "series": target(selector),
            "values": value if isinstance(value, str) else f"{value}+0x30",
        }
        for selector, value in given.items()
    ]
    asked = {
        "expr": filled(expression),
        "eval_time": "20m",
        "exp_samples": [
            {"labels": target(labels), "value": value} for labels, value in wanted.items()
        ],
    }
    group = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    (tmp_path / "test.yaml").write_text(json.dumps({"tests": [group]}))
    promtool = str(find_program("promtool"))
    command = [promtool, "test", "rules", "test.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_words_say_how_bad_a_state_is() -> None:
    """No answer is as red as no, and none at all is no comfort."""
    found = {
        key: (result.text, result.color)
        for mapping in states.READINESS_WORDS[:3]
        for key, result in mapping.options.items()  # type: ignore[union-attr]  # values all three
    }
    assert found == {
        "1": ("YES", look.GREEN),
        "0": ("NO", look.RED),
        "-1": ("NO ANSWER", look.RED),
    }
