"""Words for states: what they stand for in the queries."""

from grafana.boards import states

from .written import parsed


def test_each_state_has_one_expression() -> None:
    """Which parses, and has no unit beside its words."""
    for query in (states.READINESS, states.FILTERS, states.unwell("15m")):
        parsed(query.expr)
        assert query.unit == "none"


def test_a_relay_that_does_not_answer_is_worse_than_one_that_is_not_ready() -> None:
    """Its own word is missing then; Prometheus' is not."""
    words = {
        key: result.text
        for mapping in states.READINESS_WORDS[:3]
        for key, result in mapping.options.items()  # type: ignore[union-attr]  # values all three
    }
    assert words == {"1": "YES", "0": "NO", "-1": "NO ANSWER"}
    assert '{job="filterrelay",instance=~"$instance"} - 1)' in states.READINESS.expr


def test_a_host_that_is_down_shows_before_what_was_tried() -> None:
    """Nothing is tried then, and nothing would be told."""
    down, _, share = states.unwell("15m").expr.partition(" or ")
    assert "filterrelay_upstream_hosts_down" in down
    assert "filterrelay_deliveries_total" in share
