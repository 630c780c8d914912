"""Expressions are built from the metrics, and can't ask for what there isn't."""

import pytest

from filterrelay.observe.metrics import READY, TOP_LOGINS
from grafana.query import (
    WrongQuery,
    buckets,
    choices,
    formula,
    highest,
    increase,
    lowest,
    mean,
    quantile,
    quantiles,
    rate,
    select,
    total,
    within,
)
from grafana.series import ALERTS, UP, M

CHOSEN = 'job="filterrelay",instance=~"$instance"'


def test_a_rate_is_by_labels_and_of_words() -> None:
    """And narrowed to what the reader chose."""
    query = rate(M.messages, "verdict", verdict=("reject", "defer"))
    assert query.expr == (
        "sum by (verdict) (60 * rate(filterrelay_messages_total{"
        f'{CHOSEN},listener=~"$listener",verdict=~"reject|defer"}}[$__rate_interval]))'
    )
    assert (query.unit, query.legend) == ("messages/min", "{{verdict}}")
    assert query.endings == ("reject", "defer")


def test_one_word_is_matched_as_it_is() -> None:
    """Without a regular expression."""
    expr = f'filterrelay_reloads_total{{{CHOSEN},result="refused"}}'
    assert select(M.reloads, result="refused") == expr


@pytest.mark.parametrize(
    ("unit", "query"),
    [
        ("Bps", rate(M.message_bytes)),
        ("CPUs", rate(M.cpu_seconds)),
        ("messages", increase(M.messages, window="1h")),
        ("s", quantile(0.5, M.accept_seconds)),
        ("s", mean(M.accept_seconds)),
        ("percentunit", within(5, M.accept_seconds)),
        ("bytes", total(M.memory)),
        ("bytes", increase(M.message_bytes).over(increase(M.messages), "bytes")),
        ("percentunit", total(M.memory).share_of(total(M.memory_limit))),
        ("connections", total(M.sessions).in_unit("connections")),
    ],
)
def test_the_unit_comes_with_the_query(unit: str, query: object) -> None:
    """So a panel's unit can't be another."""
    assert getattr(query, "unit", "") == unit


@pytest.mark.parametrize(
    ("how", "query"),
    [("sum", total(READY)), ("max", highest(READY)), ("min", lowest(READY))],
)
def test_gauges_are_brought_together(how: str, query: object) -> None:
    """Those of several instances, as one number."""
    assert getattr(query, "expr", "") == f"{how}(filterrelay_ready{{{CHOSEN}}})"


def test_a_label_that_the_series_lacks_is_an_error() -> None:
    """Also one that another has."""
    with pytest.raises(WrongQuery, match="no label plugin"):
        rate(M.messages, "plugin")
    with pytest.raises(WrongQuery, match="no label mode"):
        select(M.messages, mode="shadow")


def test_a_word_that_the_label_never_has_is_an_error() -> None:
    """The panel would be empty for ever."""
    with pytest.raises(WrongQuery, match="verdict of filterrelay_messages_total is never rejected"):
        rate(M.messages, verdict="rejected")
    with pytest.raises(WrongQuery, match="never bad"):
        total(TOP_LOGINS, outcome="bad")


def test_names_that_the_user_gave_are_free() -> None:
    """No list knows them; the reader's choice gives way."""
    assert 'upstream="none"' in select(M.queue_messages, upstream="none")
    assert "$upstream" not in select(M.queue_messages, upstream="none")


def test_a_share_is_0_where_the_part_never_came() -> None:
    """Prometheus has no series of what was never counted."""
    part, whole = increase(M.deliveries, result="bounced"), increase(M.deliveries)
    share = f"(({part.expr} or {whole.expr} * 0) / ({whole.expr} > 0))"
    assert part.share_of(whole).expr == share


def test_lines_are_left_out_by_what_they_or_others_are() -> None:
    """Those of the same labels."""
    refused = total(TOP_LOGINS, "login", outcome="refused").where("> 0")
    assert refused.expr.endswith(" > 0)")
    accepted = total(TOP_LOGINS, "login", outcome="accepted")
    assert accepted.only_with(refused).expr == f"({accepted.expr} and on (login) {refused.expr})"


def test_a_share_is_of_the_same_kind() -> None:
    """Unit and labels fit."""
    with pytest.raises(WrongQuery, match="don't fit"):
        rate(M.messages).share_of(rate(M.connections))
    with pytest.raises(WrongQuery, match="don't fit"):
        rate(M.messages, "listener").share_of(rate(M.messages))


def test_a_quantile_keeps_the_buckets_apart() -> None:
    """By `le`, beside what else is asked for."""
    assert "sum by (upstream, le) (" in quantile(0.95, M.attempt_seconds, "upstream").expr
    assert buckets(M.attempt_seconds).expr.startswith("sum by (le) (increase(")


def test_quantiles_have_names_and_show_each_message_once() -> None:
    """Of histograms that have exemplars at all."""
    assert [query.legend for query in quantiles(M.accept_seconds)] == ["p50", "p95", "p99"]
    assert [query.exemplars for query in quantiles(M.accept_seconds)] == [False, False, True]
    assert not any(query.exemplars for query in quantiles(M.commit_seconds))


def test_a_bound_must_be_one_of_the_buckets() -> None:
    """Nothing is known of what lies between."""
    assert 'le="5.0"' in within(5, M.accept_seconds).expr
    with pytest.raises(WrongQuery, match="no bucket 7"):
        within(7, M.accept_seconds)


def test_a_name_stands_after_the_labels() -> None:
    """Two queries of a panel are told apart by it."""
    assert rate(M.messages, "listener").named("all").legend == "{{listener}} all"


def test_what_prometheus_makes_can_be_asked_for() -> None:
    """Alerts aren't narrowed: one may be about all instances."""
    assert select(UP) == f"up{{{CHOSEN}}}"
    assert select(ALERTS, alertstate="firing") == (
        'ALERTS{alertname=~"Filterrelay.*",alertstate="firing"}'
    )


def test_a_formula_has_places_for_series() -> None:
    """So it names none either."""
    query = formula("s", "time() - max by (instance) ({since})", "instance", since=select(UP))
    assert query.expr == f"time() - max by (instance) (up{{{CHOSEN}}})"
    assert query.legend == "{{instance}}"


def test_choices_are_those_of_the_chosen_instances() -> None:
    """But for the instances themselves."""
    assert choices(UP, "instance") == 'label_values(up{job="filterrelay"}, instance)'
    assert choices(M.breaker, "plugin") == (
        f"label_values(filterrelay_plugin_breaker_state{{{CHOSEN}}}, plugin)"
    )
