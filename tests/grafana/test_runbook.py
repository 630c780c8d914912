"""docs/runbook/: a page for each alert, and every command, key, event and series on it is real."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from typer.main import get_command

from filterrelay.observe import summary
from filterrelay.settings import Settings

from .rules import ALERTS, RECORDED, known

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "runbook"
PAGES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
DESCRIPTIONS = [alert.annotations["description"] for alert in ALERTS]
TEXTS = [*(page.read_text() for page in sorted(FOLDER.glob("*.md"))), *DESCRIPTIONS]
HEADINGS = ("**Whose mail:**", "**Lost:**", "## First look", "## Causes", "**Wake", "**Over**")

_IN_WORDS = re.compile(r"`(filterrelay [a-z][^`]*)`")
_ON_A_LINE = re.compile(r"^(filterrelay [a-z].*)$", re.MULTILINE)
_FIRST = re.compile(r"(filterrelay (?:check|queue|trace|dkim)\b.*?)(?: and .*)?$")


def commands() -> Iterator[str]:
    """Every command line of the program that somebody may be told to type."""
    for text in TEXTS:
        yield from _IN_WORDS.findall(text)
        yield from _ON_A_LINE.findall(text)
    for text in DESCRIPTIONS:
        first = re.sub(r"{{.*?}}", "X", text.partition(" First: ")[2])
        yield from _FIRST.findall(first)


def parse(command: Any, arguments: list[str]) -> None:
    """What the command line would do before anything is done. Raises its usage errors."""
    with command.make_context("filterrelay", arguments) as context:
        if hasattr(command, "commands"):
            rest = [*context._protected_args, *context.args]
            _, verb, rest = command.resolve_command(context, rest)
            parse(verb, rest)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_can_be_typed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody types it at 3 in the morning."""
    monkeypatch.chdir(tmp_path)
    for file in ("MESSAGE", "PATH"):
        (tmp_path / file).touch()
    _, name, *arguments = shlex.split(line)
    parse(get_command(import_module(f"filterrelay.cli.{name}").app), arguments)


def keys(section: str) -> set[str]:
    """The keys of a section of the file."""
    annotation = Settings.model_fields[section].annotation
    models = [annotation, *get_args(annotation)]
    return {
        key
        for model in models
        if isinstance(model, type) and issubclass(model, BaseModel)
        for key in model.model_fields
    }


def test_every_key_of_the_file_exists() -> None:
    """They are written as `section.key`."""
    sections = "|".join(Settings.model_fields)
    named = {
        found
        for text in TEXTS
        for found in re.findall(rf"(?<![-\w/])({sections})\.([a-z_]+)\b", text)
    } - {("spool", "sqlite")}
    assert len(named) > 20
    assert {(section, key) for section, key in named if key not in keys(section)} == set()


def test_every_series_exists() -> None:
    """And so does what is recorded of them."""
    names = {found for text in TEXTS for found in re.findall(r"(?:job:)?filterrelay_[\w:]+", text)}
    assert names
    assert names - known().keys() - RECORDED.keys() == set()


def test_every_event_is_logged() -> None:
    """A search for another would find nothing, and look well."""
    sources = "".join(
        file.read_text()
        for name in ("filterrelay", "plugins")
        for file in (ROOT / name).rglob("*.py")
    )
    told = {word for text in TEXTS for word in re.findall(r"-g '?([^'` ]+)", text)}
    words = {word for each in told for word in each.split("|")} - {"oom", "segfault"}
    in_postfix_words = set(summary._SUMMARIES)
    assert words & in_postfix_words == set(), "the journal's text hasn't the event's name"
    words |= {event for text in TEXTS for event in re.findall(r"FILTERRELAY_EVENT=(\w+)", text)}
    assert len(words) > 10
    assert {word for word in words if f'"{word}"' not in sources} == set()


@EACH
def test_no_command_has_a_bar_that_only_a_table_needs(page: Path) -> None:
    """Who reads the file as it is would type the backslash, too."""
    assert "\\|" not in page.read_text()


def test_each_page_belongs_to_an_alert() -> None:
    """One page an alert's name."""
    assert {page.stem for page in PAGES} == {alert.page for alert in ALERTS}


@EACH
def test_each_page_says_the_same_things_in_the_same_order(page: Path) -> None:
    """Its alerts, whose mail, whether any is lost, and what to do; half a page of it."""
    text = page.read_text()
    places = [text.find(heading) for heading in HEADINGS]
    assert places == sorted(places)
    assert min(places) > 0
    mine = [alert for alert in ALERTS if alert.page == page.stem]
    introduction = text[: places[0]].lower()
    assert f"`{mine[0].name}`" in text
    for alert in mine:
        assert alert.severity in introduction
    assert len(text.splitlines()) < 60


def test_the_index_tells_pages_from_tickets() -> None:
    """In its two columns."""
    rows = re.findall(r"^\|(.*)\|(.*)\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)[2:]
    for severity, column in (("page", 0), ("ticket", 1)):
        listed = {name for row in rows for name in re.findall(r"\((\S+)\.md\)", row[column])}
        assert listed == {alert.page for alert in ALERTS if alert.severity == severity}


def test_no_link_leads_nowhere() -> None:
    """Between the pages, and out of them."""
    for page in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (FOLDER / target).exists(), f"{page.name}: {target}"
