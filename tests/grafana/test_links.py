"""Links lead to what there is."""

import pytest

from grafana import links


def test_an_alert_leads_to_the_page_of_its_name() -> None:
    """One page an alert."""
    assert links.alert("queue-growing") == "FilterrelayQueueGrowing"
    mapped = links.alert_names().to_json()["options"]
    assert isinstance(mapped, dict)
    assert mapped["FilterrelayDkimKeyUnpublished"].text == "dkim-key-unpublished"
    assert len(mapped) == len(links.PAGES)


def test_a_page_that_is_not_there_is_an_error() -> None:
    """When the dashboards are written, not when somebody needs it."""
    with pytest.raises(links.WrongLink, match="no page queue-growng"):
        links.runbook("queue-growng")


def test_a_cell_leads_to_a_dashboard_narrowed_to_it() -> None:
    """The time stays."""
    url = links.to_board("filters", "plugin").build().url
    assert url == "/d/filterrelay-filters?var-plugin=${__value.raw}&${__url_time_range}"
    tile = links.from_tile("delivery", "upstream").build().url
    assert "var-upstream=${__field.labels.upstream}&" in (tile or "")
