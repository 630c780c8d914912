"""What Prometheus is asked when a dashboard is opened."""

from collections.abc import Sequence
from typing import Any

import pytest

from grafana.draw.questions import Dashboard, Span, filled, read

HOUR = Span(1_000_000.0, 1_003_600.0, 15)
LISTENERS = ("open", "smtps (old)")


def label_values(label: str, series: str) -> Sequence[str]:
    """What a Prometheus with two listeners would say."""
    assert (label, series) == ("listener", 'up{job="filterrelay"}')
    return LISTENERS


def board(*targets: dict[str, Any], **variable: Any) -> Dashboard:
    """A dashboard with a panel of half the width, and with one variable if any."""
    panel = {"id": 1, "title": "Mail", "gridPos": {"w": 12}, "targets": list(targets)}
    choices = [{"name": "listener", "type": "query", **variable}] if variable else []
    document = {"panels": [panel], "templating": {"list": choices}}
    return read(document, HOUR, label_values)


def asked(expr: str, **variable: Any) -> str:
    """What becomes of an expression."""
    (question,) = board({"refId": "A", "expr": expr}, **variable).questions()
    return question.expr


QUERY = {"query": 'label_values(up{job="filterrelay"}, listener)'}


def test_all_is_what_the_dashboard_says_it_is() -> None:
    """Such as any value at all."""
    expr = asked('x{listener=~"$listener"}', **QUERY, includeAll=True, allValue=".*")
    assert expr == 'x{listener=~".*"}'


def test_all_is_otherwise_every_value_that_there_is() -> None:
    """None of its characters means anything."""
    expr = asked('x{listener=~"${listener}"}', query=QUERY, includeAll=True)
    assert expr == r'x{listener=~"(open|smtps \\(old\\))"}'


def test_one_is_chosen_where_there_is_no_all() -> None:
    """The first."""
    assert asked('x{listener="$listener"}', **QUERY) == 'x{listener="open"}'


def test_a_text_is_what_stands_in_it() -> None:
    """The default of a text box."""
    expr = asked("x > $listener", type="textbox", query="5", current={"value": "7"})
    assert expr == "x > 7"


def test_a_variable_that_is_no_list_of_labels_is_an_error() -> None:
    """Nothing here would fill it."""
    with pytest.raises(ValueError, match="no label_values"):
        board(query="query_result(up)")


def test_an_unknown_name_is_an_error() -> None:
    """Grafana would send it as it is, and Prometheus would wonder."""
    with pytest.raises(ValueError, match="no variable nobody"):
        filled("x{a=~'$nobody'}", {})


def test_rates_span_four_scrapes_and_their_own_step() -> None:
    """As Grafana's data source does it."""
    assert asked("rate(x[$__rate_interval])") == "rate(x[60s])"
    assert Span(0, 86_400, 15).words(120)["__rate_interval"] == "135s"
    assert asked("increase(x[$__range])") == "increase(x[3600s])"


@pytest.mark.parametrize(
    ("hours", "columns", "step"), [(1, 24, 15), (6, 12, 30), (24, 8, 300), (2400, 24, 5400)]
)
def test_a_panel_has_a_point_for_each_of_its_pixels(hours: int, columns: int, step: int) -> None:
    """At most, and none between two scrapes."""
    assert Span(0, hours * 3600, 15).step(columns) == step


def test_questions_know_how_they_are_asked() -> None:
    """At once or over time, with what name, with single messages or without."""
    now, then = board(
        {"refId": "A", "expr": "x", "instant": True},
        {"refId": "B", "expr": "y", "range": True, "exemplar": True, "legendFormat": "{{a}}"},
    ).questions()
    assert (now.ref, now.instant, now.exemplars, now.legend) == ("A", True, False, "")
    assert (then.ref, then.instant, then.exemplars, then.legend) == ("B", False, True, "{{a}}")


def test_what_is_folded_up_is_asked_too() -> None:
    """A reader will open the row."""
    inner = {"id": 2, "title": "In", "gridPos": {"w": 24}, "targets": [{"refId": "A", "expr": "x"}]}
    row = {"id": 1, "title": "Row", "gridPos": {"w": 24}, "type": "row", "panels": [inner]}
    (question,) = read({"panels": [row]}, HOUR, label_values).questions()
    assert (question.panel, question.title) == (2, "In")


def test_annotations_are_questions_too() -> None:
    """But for those that Grafana answers itself."""
    events = [
        {"name": "Alerts", "builtIn": 1},
        {"name": "Reloaded", "expr": "changes(x[$__range])", "iconColor": "blue"},
    ]
    (found,) = read(
        {"panels": [], "annotations": {"list": events}}, HOUR, label_values
    ).annotations()
    assert (found.name, found.expr, found.colour) == ("Reloaded", "changes(x[3600s])", "blue")
