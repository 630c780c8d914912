"""Filters: what each plugin says, how long it takes, and whether it can."""

from filterrelay.observe.metrics import STEP_RESULTS
from grafana.boards.filters import FILTERS_BOARD

from .written import panels


def test_everything_is_about_the_chosen_filters() -> None:
    """No panel shows others beside them."""
    for panel in panels(FILTERS_BOARD):
        assert all("$plugin" in target["expr"] for target in panel["targets"]), panel["title"]


def test_the_table_has_a_column_for_each_thing_that_a_filter_says_or_fails_to() -> None:
    """Shadow filters have rows of their own."""
    (table,) = [panel for panel in panels(FILTERS_BOARD) if panel["type"] == "table"]
    names = table["transformations"][1]["options"]["renameByName"].values()
    assert tuple(names) == STEP_RESULTS
    assert all("by (plugin, mode)" in target["expr"] for target in table["targets"])
