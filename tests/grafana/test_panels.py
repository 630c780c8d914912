"""Panels share the looks of their kind, and take their unit from their queries."""

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from grafana import look
from grafana.panels import LIMIT, listing, shape, states, tiles, trend
from grafana.query import Query, WrongQuery, buckets, quantiles, rate, total
from grafana.series import M


def written(panel: Builder[dashboard.Panel]) -> dict[str, Any]:
    """The panel as JSON."""
    return dict(json.loads(json.dumps(panel.build(), cls=JSONEncoder)))


def test_lines_begin_at_0_and_have_a_table_for_a_legend() -> None:
    """So a small change doesn't look great, and the last and the highest value can be read."""
    panel = written(trend("Mail", "Much is much.", rate(M.messages, "verdict")))
    assert panel["fieldConfig"]["defaults"]["min"] == 0
    assert panel["options"]["legend"]["calcs"] == ["lastNotNull", "max"]
    assert panel["options"]["legend"]["sortBy"] == "Last *"
    assert panel["options"]["legend"]["sortDesc"] is True
    assert panel["options"]["tooltip"]["mode"] == "multi"


def test_what_is_counted_stands_beside_the_axis() -> None:
    """Not at each number, as a unit that scales does."""
    counted = written(trend("Mail", "Much is much.", rate(M.messages)))
    assert counted["fieldConfig"]["defaults"]["unit"] == "short"
    assert counted["fieldConfig"]["defaults"]["custom"]["axisLabel"] == "messages/min"
    scaled = written(trend("Traffic", "Much is much.", rate(M.message_bytes)))
    assert scaled["fieldConfig"]["defaults"]["unit"] == "Bps"
    assert "axisLabel" not in scaled["fieldConfig"]["defaults"]["custom"]


def test_a_line_that_is_always_0_is_hidden() -> None:
    """With its name in the legend: what didn't happen is most of what could."""
    panel = written(trend("Mail", "Much is much.", rate(M.messages, "verdict")))
    hides = panel["fieldConfig"]["overrides"][-1]
    assert hides["matcher"]["options"]["reducer"] == "allIsZero"
    assert set(hides["properties"][0]["value"].values()) == {True}


def test_lines_have_the_colours_of_their_words() -> None:
    """Also after a name."""
    panel = written(trend("Mail", "Much is much.", rate(M.messages, "listener", "verdict")))
    colours = {
        override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byRegexp"
    }
    assert colours["/(^| )reject$/"] == look.RED
    assert colours["/(^| )quarantine$/"] == look.PURPLE


def test_a_limit_is_a_dashed_line_that_is_not_added_up() -> None:
    """Whatever the others are."""
    held, most = total(M.memory).named("in memory"), total(M.memory_limit).named(LIMIT)
    panel = written(trend("Memory", "Much is much.", held, most, stacked=True))
    override, _ = panel["fieldConfig"]["overrides"]
    properties = {each["id"]: each["value"] for each in override["properties"]}
    assert properties["custom.lineStyle"]["fill"] == "dash"
    assert properties["custom.stacking"] == {"mode": "none"}


def test_one_axis_has_one_unit() -> None:
    """Seconds and messages don't share one."""
    with pytest.raises(WrongQuery, match="can't have messages/min and s"):
        trend("Both", "Much is much.", rate(M.messages), *quantiles(M.accept_seconds))


def test_a_tables_columns_have_units_of_their_own() -> None:
    """And the names of their queries."""
    columns = {
        "messages": rate(M.messages, "listener"),
        "octets": rate(M.message_bytes, "listener"),
    }
    panel = written(listing("Both", "Much is much.", columns))
    organize = panel["transformations"][1]["options"]
    assert organize["renameByName"] == {"Value #A": "messages", "Value #B": "octets"}
    units = [override["properties"][0]["value"] for override in panel["fieldConfig"]["overrides"]]
    assert units == ["locale", "Bps"]


def test_a_tables_words_come_first_in_order_and_have_colours() -> None:
    """Then the greatest number."""
    words = {"listener": {"open": look.RED}}
    panel = written(
        listing("Open", "Much is much.", {"open": total(M.sessions, "listener")}, words=words)
    )
    order = [(each["displayName"], each["desc"]) for each in panel["options"]["sortBy"]]
    assert order == [("listener", False), ("open", True)]
    (override,) = (
        each
        for each in panel["fieldConfig"]["overrides"]
        if each["matcher"]["options"] == "listener"
    )
    properties = {each["id"]: each["value"] for each in override["properties"]}
    assert properties["mappings"][0]["options"]["open"]["color"] == look.RED
    assert properties["custom.cellOptions"] == {"type": "color-text"}


def test_columns_are_as_wide_as_they_are_told() -> None:
    """The others share the rest."""
    one = {"open": total(M.sessions, "listener")}
    panel = written(listing("Open", "Much is much.", one, widths={"open": 90}))
    assert {"id": "custom.width", "value": 90} in panel["fieldConfig"]["overrides"][-1][
        "properties"
    ]


def test_a_single_column_is_named_too() -> None:
    """Grafana calls it otherwise than one of several."""
    panel = written(listing("One", "Much is much.", {"open": total(M.sessions, "listener")}))
    assert panel["transformations"][1]["options"]["renameByName"]["Value"] == "open"


def test_a_tile_tells_a_word() -> None:
    """And the label, when there are several tiles."""
    one = written(tiles("Ready", "No is bad.", total(M.memory), look.value(1, "YES", look.GREEN)))
    assert one["options"]["textMode"] == "value"
    assert one["fieldConfig"]["defaults"]["mappings"][0]["options"]["1"]["text"] == "YES"
    each = written(tiles("Open", "Many is bad.", total(M.sessions, "listener")))
    assert each["options"]["textMode"] == "value_and_name"


def test_one_more_tile_says_how_many_are_well() -> None:
    """In green, whatever the words and levels of those that aren't."""
    troubled = total(M.sessions, "listener")
    panel = written(
        tiles("Open", "Many is bad.", troubled, sound=Query("count(up)", "OK", (), "doors"))
    )
    assert [target["legendFormat"] for target in panel["targets"]] == ["{{listener}}", "doors"]
    (override,) = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": "B"}
    properties = {each["id"]: each["value"] for each in override["properties"]}
    assert (properties["unit"], properties["mappings"]) == ("OK", [])
    assert properties["links"] == []
    assert properties["color"]["fixedColor"] == look.GREEN


def test_bands_and_heatmaps_know_what_they_show() -> None:
    """A heatmap's axis has the unit of the observations."""
    assert written(states("Open", "Many is bad.", total(M.sessions, "listener")))["type"] == (
        "state-timeline"
    )
    heatmap = written(shape("Times", "Long is bad.", buckets(M.accept_seconds)))
    assert heatmap["options"]["yAxis"]["unit"] == "s"
    assert heatmap["targets"][0]["format"] == "heatmap"
    assert heatmap["targets"][0]["exemplar"] is True
