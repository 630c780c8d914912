"""A dashboard is written the same each time, and keeps what links hold."""

import json
from typing import Any

from grafana.board import RUNBOOK, Board, Row
from grafana.panels import trend
from grafana.query import rate
from grafana.series import M


def board(*titles: str) -> Board:
    """A dashboard with panels of these titles."""
    panels = tuple(trend(title, "Much is much.", rate(M.messages)) for title in titles)
    return Board("test", "Test", "Does it?", (Row("Row", panels),))


def panels(of: Board) -> dict[str, Any]:
    """Its panels by title."""
    return {panel["title"]: panel for panel in json.loads(of.json())["panels"]}


def test_it_is_written_the_same_each_time() -> None:
    """Else every change would touch every file."""
    one = board("Mail in", "Mail out")
    assert one.json() == one.json() == board("Mail in", "Mail out").json()


def test_a_panel_keeps_its_number_when_another_comes() -> None:
    """Links to it hold the number."""
    before, after = panels(board("Mail out")), panels(board("Mail in", "Mail out"))
    assert before["Mail out"]["id"] == after["Mail out"]["id"]
    assert before["Mail out"]["gridPos"] != after["Mail out"]["gridPos"]


def test_it_asks_only_for_what_its_queries_use() -> None:
    """A choice of plugins has no use here."""
    variables = json.loads(board("Mail in").json())["templating"]["list"]
    names = [variable["name"] for variable in variables]
    assert names == ["datasource", "instance", "listener", "runbook"]
    assert variables[-1]["query"] == RUNBOOK


def test_events_stand_across_all_panels() -> None:
    """What explains a change, with words to it."""
    events = json.loads(board("Mail in").json())["annotations"]["list"]
    assert [event["name"] for event in events] == [
        "Reloaded",
        "Reload refused",
        "Worker restarted",
        "New version",
    ]
    assert all("{{instance}}" in event["textFormat"] for event in events)
