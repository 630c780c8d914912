"""Overview: is mail flowing, and if not, whose?"""

import re
from pathlib import Path

from grafana.boards.overview import ALLOWED, OVERVIEW

from .written import panels


def test_the_first_line_answers_at_a_glance() -> None:
    """In coloured tiles, as the first thing on the page."""
    first = [panel for panel in panels(OVERVIEW) if panel["gridPos"]["y"] == 1]
    assert {panel["type"] for panel in first} == {"stat"}
    assert {panel["options"]["colorMode"] for panel in first} == {"background"}
    assert [panel["title"] for panel in first] == [
        *("Takes mail", "Mail leaves by", "Filters", "Oldest that waits", "Alerts"),
    ]


def test_a_state_is_told_in_words() -> None:
    """Whether it takes mail, where it leaves, and which filter works: and no data is no comfort."""
    for panel in panels(OVERVIEW)[:3]:
        texts = [
            mapping["options"].get("result", mapping["options"])
            for mapping in panel["fieldConfig"]["defaults"]["mappings"]
        ]
        assert len(texts) >= 4, panel["title"]
        assert panel["fieldConfig"]["defaults"]["mappings"][-1]["options"]["match"] == "null+nan"


def test_whose_mail_comes_next() -> None:
    """Alerts, senders and destinations, without scrolling."""
    second = [panel for panel in panels(OVERVIEW) if 5 < panel["gridPos"]["y"] < 14]
    assert [panel["type"] for panel in second] == ["table"] * 3
    assert {panel["fieldConfig"]["defaults"]["noValue"] for panel in second} == {"None"}


def test_tiles_show_who_is_unwell_and_how_many_are_well() -> None:
    """However many upstreams and filters there are."""
    for panel in panels(OVERVIEW)[1:4]:
        unwell, well = (target["expr"] for target in panel["targets"])
        assert re.search(r"[>=]+ [0-9.]+\)+$", unwell), panel["title"]
        assert well.startswith(("count(", "max(")), panel["title"]


def test_the_budgets_are_spent_as_the_alerts_count() -> None:
    """A burn rate of 1 is what the rules divide by, too."""
    rules = (Path(__file__).parents[3] / "grafana" / "alerts" / "slo.yaml").read_text()
    assert f"> 14.4 * {ALLOWED}" in rules
    assert f"/ {ALLOWED}\n" in rules
