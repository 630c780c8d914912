"""All dashboards: current, importable, and about series that there are."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from filterrelay.cli.main import app
from grafana.board import Board
from grafana.boards import BOARDS, FOLDER
from grafana.links import PAGES
from grafana.series import EXEMPLARS, PROMETHEUS, RECORDED, TARGET, M, of, words

from .written import SUFFIXES, expressions, groupings, joined, panels, parsed, selectors, written

ROOT = Path(__file__).parent.parent.parent.parent
RUNBOOK = ROOT / "docs" / "runbook"
ALERTS = ROOT / "grafana" / "alerts"
SERIES = {one.name: one for one in (*M.series(), *PROMETHEUS, *RECORDED)}
EACH = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def series_of(metric: str) -> str:
    """The series that a sample belongs to: a histogram has several kinds."""
    return metric if metric in SERIES else SUFFIXES.sub("", metric)


@EACH
def test_what_is_committed_is_what_the_code_writes(board: Board) -> None:
    """`python -m grafana` writes them anew."""
    assert (FOLDER / f"{board.name}.json").read_text() == board.json()


def test_no_file_is_left_of_a_dashboard_that_is_gone() -> None:
    """Grafana would go on showing it."""
    assert {file.stem for file in FOLDER.iterdir()} == {board.name for board in BOARDS}


@EACH
def test_it_can_be_imported_and_provisioned_as_it_is(board: Board) -> None:
    """No number of another Grafana's, nothing to fill in, and its data source chosen at the top."""
    all_of_it = written(board)
    assert all_of_it["uid"] == f"filterrelay-{board.name}"
    assert "__inputs" not in all_of_it
    assert all_of_it.get("id") is None
    assert set(re.findall(r'"uid": "(\$[^"]+)"', board.json())) == {"${datasource}"}


@EACH
def test_every_expression_parses_and_asks_for_series_labels_and_words_that_exist(
    board: Board,
) -> None:
    """A panel on another would be empty for ever, and look well."""
    metrics = {of(metric).name: metric for metric in vars(M).values() if hasattr(metric, "labels")}
    for where, expression in expressions(board):
        for selector in selectors(parsed(expression)):
            name = series_of(selector.name or "")
            assert name in SERIES, f"{where}: {selector.name}"
            known = {*SERIES[name].labels, *TARGET, "le"}
            for matcher in selector.matchers.matchers:
                assert matcher.name in known, f"{where}: {name} has no label {matcher.name}"
                if name in metrics and "*" not in matcher.value:
                    listed = words(metrics[name], matcher.name)
                    assert not listed or set(matcher.value.split("|")) <= set(listed), where


@EACH
def test_lines_are_told_apart_by_labels_that_the_series_have(board: Board) -> None:
    """A `by` with another label adds up what should stand apart."""
    for where, expression in expressions(board):
        made = {*TARGET, "le", *joined(parsed(expression))}
        for labels, grouped in groupings(parsed(expression)):
            known = {
                label
                for selector in grouped
                for label in SERIES[series_of(selector.name or "")].labels
            }
            assert set(labels) <= known | made, where


def test_every_series_is_on_a_dashboard_or_in_an_alert() -> None:
    """What nobody looks at isn't worth its counting."""
    used = {
        series_of(selector.name or "")
        for board in BOARDS
        for _, expression in expressions(board)
        for selector in selectors(parsed(expression))
    }
    for file in ALERTS.glob("*.yaml"):
        used |= {series_of(name) for name in re.findall(r"\bfilterrelay_\w+", file.read_text())}
    assert {one.name for one in M.series()} - used == set()


@EACH
def test_every_panel_says_what_it_is_and_what_a_bad_value_means(board: Board) -> None:
    """And in what it measures."""
    for panel in panels(board):
        assert panel["title"]
        assert panel["title"][0].isupper()
        assert panel["description"].endswith("."), panel["title"]
        assert 20 < len(panel["description"]) < 400, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@EACH
def test_every_line_has_a_name(board: Board) -> None:
    """Without one Grafana shows the expression."""
    for panel in panels(board):
        if panel["type"] in ("timeseries", "state-timeline"):
            for target in panel["targets"]:
                assert target["legendFormat"] != "__auto", panel["title"]


@EACH
def test_panels_have_numbers_and_names_of_their_own(board: Board) -> None:
    """A link to a panel holds its number, which depends on its title alone."""
    everything = written(board)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places on the grid have a cell in common."""
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    return across and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]


@EACH
def test_no_panel_lies_on_another_or_beyond_the_edge(board: Board) -> None:
    """The grid is 24 columns wide."""
    places = [panel["gridPos"] for panel in written(board)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


@EACH
def test_every_row_is_filled_to_its_end(board: Board) -> None:
    """A hole looks like a panel that failed."""
    lines: dict[int, int] = {}
    for panel in written(board)["panels"]:
        place = panel["gridPos"]
        lines[place["y"]] = lines.get(place["y"], 0) + place["w"]
    assert {y: width for y, width in lines.items() if width != 24} == {}


@EACH
def test_panels_side_by_side_are_equally_high(board: Board) -> None:
    """Or one leaves a hole below it."""
    heights: dict[int, set[int]] = {}
    for panel in written(board)["panels"]:
        place = panel["gridPos"]
        heights.setdefault(place["y"], set()).add(place["h"])
    assert {y: high for y, high in heights.items() if len(high) > 1} == {}


@EACH
def test_the_first_row_is_seen_without_scrolling(board: Board) -> None:
    """It answers the dashboard's question, and the first charts follow on a screen of 1080 lines.

    Of those Grafana's own bars take about 130; a unit of the grid is 38.
    """
    charts = [
        panel["gridPos"]
        for panel in panels(board)
        if panel["type"] in ("timeseries", "table", "state-timeline")
    ]
    assert charts[0]["y"] + charts[0]["h"] <= (1080 - 130) // 38


@EACH
def test_it_asks_for_what_it_uses_and_uses_what_it_asks_for(board: Board) -> None:
    """A choice without effect misleads; one that isn't offered leaves panels empty."""
    all_of_it = written(board)
    offered = {variable["name"] for variable in all_of_it["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\}?", json.dumps(all_of_it["panels"])))
    assert used == offered
    assert {"datasource", "instance", "runbook"} <= offered


@EACH
def test_every_series_is_narrowed_to_the_chosen_instances(board: Board) -> None:
    """But for alerts and objectives, which are about several."""
    for where, expression in expressions(board):
        for selector in selectors(parsed(expression)):
            if not (selector.name or "").startswith(("ALERTS", "job:")):
                matched = {matcher.name for matcher in selector.matchers.matchers}
                chosen = {"instance", "listener", "plugin", "upstream"}
                asked = chosen & set(SERIES[series_of(selector.name or "")].labels)
                assert {"job", "instance", *asked} <= matched, where


@EACH
def test_links_lead_to_pages_of_the_runbook(board: Board) -> None:
    """By the address that the reader can change."""
    links = [link for panel in panels(board) for link in panel.get("links", [])]
    assert links
    for link in links:
        page = re.fullmatch(r"\$\{runbook\}/([a-z0-9-]+)\.md", link["url"])
        assert page is not None, link["url"]
        assert page[1] in PAGES
        if RUNBOOK.exists():
            assert (RUNBOOK / f"{page[1]}.md").exists()


def test_the_runbooks_pages_are_known() -> None:
    """An alert's name on Overview leads to its page."""
    if RUNBOOK.exists():
        assert {file.stem for file in RUNBOOK.glob("*.md")} - {"README"} == set(PAGES)


@EACH
def test_dashboards_lead_to_each_other(board: Board) -> None:
    """With what is chosen, and the time."""
    all_of_it = written(board)
    (menu,) = all_of_it["links"]
    assert menu["tags"] == all_of_it["tags"] == ["filterrelay"]
    assert (menu["includeVars"], menu["keepTime"], menu["asDropdown"]) == (True, True, True)


def target_of(panel: dict[str, Any]) -> list[str]:
    """The expressions of a panel's queries that show single messages."""
    return [target["expr"] for target in panel["targets"] if target["exemplar"]]


@EACH
def test_single_messages_are_shown_where_their_ids_are_known(board: Board) -> None:
    """And the panel says how to follow one; two queries of a panel would show each twice."""
    names = [of(metric).name for metric in EXEMPLARS]
    for panel in panels(board):
        shown = target_of(panel)
        is_about = any(name in target["expr"] for target in panel["targets"] for name in names)
        if shown:
            assert is_about, panel["title"]
            assert len(shown) == 1, panel["title"]
            assert "filterrelay trace" in panel["description"], panel["title"]


@EACH
def test_the_same_word_has_the_same_colour_everywhere(board: Board) -> None:
    """Refused is red, whoever refuses."""
    del board
    seen: dict[str, set[str]] = {}
    for each in BOARDS:
        for panel in panels(each):
            for override in panel["fieldConfig"]["overrides"]:
                for found in override["properties"]:
                    if found["id"] == "color" and "fixedColor" in found["value"]:
                        matcher = override["matcher"]["options"]
                        word = re.sub(r"^/\(\^\| \)|\$/$", "", matcher)
                        seen.setdefault(word, set()).add(found["value"]["fixedColor"])
    assert seen["reject"] == seen["bounced"] == {"red"}
    assert seen["deferred"] == {"orange"}
    assert seen["delivered"] == seen["accepted"] == {"green"}
    assert {word: colours for word, colours in seen.items() if len(colours) > 1} == {}


def test_what_checks_expressions_can_fail() -> None:
    """A slip of the pen is noticed, and so is a label in a `by` that its series hasn't."""
    with pytest.raises(ValueError, match="parenthesis"):
        parsed("sum by (verdict (rate(filterrelay_messages_total[5m]))")
    query = parsed('sum by (plugin) (rate(filterrelay_messages_total{instance=~"$instance"}[5m]))')
    ((labels, grouped),) = groupings(query)
    assert joined(query) == set()
    assert labels == ["plugin"]
    assert [selector.name for selector in grouped] == ["filterrelay_messages_total"]


@EACH
@pytest.mark.usefixtures("logs_as_before")
def test_commands_that_panels_name_are_there(board: Board) -> None:
    """With the options that they name."""
    for panel in panels(board):
        for said in re.findall(r"`filterrelay ([a-z -]+)`", panel["description"]):
            command, *options = re.split(r" (?=--)", said)
            asked = CliRunner().invoke(app, [*command.split(), "--help"])
            assert asked.exit_code == 0, f"{panel['title']}: {said}"
            assert all(option in asked.output for option in options), f"{panel['title']}: {said}"
