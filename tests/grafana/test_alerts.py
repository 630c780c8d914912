"""The alerts: Prometheus takes them, they fire and are quiet when they should, and lead somewhere.

The unit tests of grafana/alerts/tests look at ALERTS, the series that Prometheus makes of
them; its own way to test alerts wants every annotation repeated.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import promql_parser as promql
import pytest

from grafana.series import TARGET, M, of, words
from tests.acceptance.peers.process import run

from .boards.written import SUFFIXES, parsed, selectors
from .rules import ALERTS, FILES, RECORDED, TESTS, Alert, checks, known, labels_of

DOCS = Path(__file__).parent.parent.parent / "docs"
EACH = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
EXPRESSIONS = pytest.mark.parametrize(
    "expression", [*RECORDED.values(), *(alert.expression for alert in ALERTS)]
)


@pytest.mark.peer("promtool")
def test_prometheus_takes_the_rules() -> None:
    """Debian's, which is older than most."""
    checked = run(["promtool", "check", "rules", *map(str, FILES)])
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.peer("promtool")
def test_each_fires_and_is_quiet_when_it_should() -> None:
    """As the unit tests beside the rules say."""
    with ThreadPoolExecutor(2) as pool:
        for checked in pool.map(lambda file: run(["promtool", "test", "rules", str(file)]), TESTS):
            assert checked.returncode == 0, checked.stdout + checked.stderr


@EACH
def test_each_has_both_kinds_of_test(alert: Alert) -> None:
    """That it fires, with each of its severities, and that it doesn't always."""
    assert (alert.name, alert.severity) in checks("firing")
    assert (alert.name, "") in checks("quiet")


@EACH
def test_each_says_whom_to_call_and_what_to_read(alert: Alert) -> None:
    """A page or a ticket; what it means, what to type first, and a page of the runbook."""
    assert alert.severity in ("page", "ticket")
    said = alert.annotations
    assert set(said) == {"summary", "description", "runbook", "runbook_url"}
    assert len(said["summary"]) < 200
    assert " First: " in said["description"]
    assert said["runbook"] == f"docs/runbook/{alert.page}.md"
    assert (DOCS.parent / said["runbook"]).is_file()
    assert said["runbook_url"] == "{{ $externalLabels.runbooks }}/" + f"{alert.page}.md"


@EACH
def test_what_an_annotation_names_is_there_when_it_fires(alert: Alert) -> None:
    """Else the summary would have a hole where the upstream's name belongs."""
    named = set(re.findall(r"\$labels\.(\w+)", "".join(alert.annotations.values())))
    assert named <= labels_of(promql.parse(alert.expression), known()) | alert.labels


@EXPRESSIONS
def test_every_series_label_and_word_exists(expression: str) -> None:
    """An alert on another would never come."""
    series = known()
    metrics = {of(metric).name: metric for metric in vars(M).values() if hasattr(metric, "labels")}
    for selector in selectors(parsed(expression)):
        if selector.name in RECORDED:
            continue
        metric = SUFFIXES.sub("", selector.name or "")
        name = metric if metric in series else selector.name or ""
        assert name in series, selector.name
        labels = {*series[name].labels, *TARGET, *(("le",) if name != selector.name else ())}
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels, f"{name} has no label {matcher.name}"
            listed = words(metrics[name], matcher.name) if name in metrics else ()
            assert not listed or set(matcher.value.split("|")) <= set(listed), matcher


def test_the_bounds_of_the_objectives_are_buckets() -> None:
    """As they are written when they are scraped."""
    bounds = {"filterrelay_accept_seconds": "5.0", "filterrelay_delivery_seconds": "300.0"}
    M.accept_seconds.labels("any").observe(1)
    M.delivery_seconds.labels("any").observe(1)
    scraped = {
        (sample.name, sample.labels.get("le"))
        for family in M.registry.collect()
        for sample in family.samples
    }
    for name, bound in bounds.items():
        assert (f"{name}_bucket", bound) in scraped
        assert any(f'{name}_bucket{{le="{bound}"}}' in each for each in RECORDED.values())


def test_recorded_series_are_named_by_level_metric_and_operation() -> None:
    """Prometheus' convention, and ours what they are of."""
    for name in RECORDED:
        assert re.fullmatch(r"job:filterrelay_slo_\w+:(ratio_)?(rate|ratio)\d+[mhd]", name), name
