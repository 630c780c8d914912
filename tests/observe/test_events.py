"""The catalogue of events against what the sources log."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filterrelay.observe.events import COMMON, FIELDS, SESSION, Event, events

ROOT = Path(__file__).parents[2]
CATALOGUE = {event.name: event for event in events()}
LEVELS = ("debug", "info", "warning", "error", "exception")

BOUND = {"self.log": SESSION, "session.log": SESSION}  # what a logger has with every line
CHOSEN = {"delivery/record.py": ("delivered", "deferred", "bounced")}  # events by a variable
# What stands in the dictionary behind two asterisks; tests/intake/test_record.py holds it to that.
SPREAD = {
    "logged(outcome, message)": CATALOGUE["message"].fields,
    "told": CATALOGUE["dkim_key_published"].fields,
}


@dataclass(frozen=True)
class Call:
    """One place where an event is logged."""

    where: str
    event: str
    level: str
    fields: frozenset[str]


def calls(root: Path) -> Iterator[Call]:
    """All such places in the core and the plugins."""
    for folder in ("filterrelay", "plugins"):
        for file in sorted((root / folder).rglob("*.py")):
            place = file.relative_to(root / folder).as_posix()
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Call(ast.Attribute(logger, level), [event, *_]) if (
                        level in LEVELS and is_logger(logger)
                    ):
                        given: tuple[str, ...] = BOUND.get(ast.unparse(logger), ())
                        if folder == "plugins":
                            given = ("plugin",)
                        yield from called(place, node, event, level, given)


def is_logger(node: ast.expr) -> bool:
    """Whether it is called as the house calls a logger, or is made on the spot."""
    match node:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name in ("log", "_log")
        case ast.Call(function):
            return ast.unparse(function) == "structlog.get_logger"
    return False


def called(
    place: str, node: ast.Call, event: ast.expr, level: str, given: tuple[str, ...]
) -> Iterator[Call]:
    """The events of one call: several where a variable has the name."""
    fields = {*given}
    for keyword in node.keywords:
        if keyword.arg is None:
            fields.update(SPREAD[ast.unparse(keyword.value)])
        elif keyword.arg != "exc_info":
            fields.add(keyword.arg)
    names = (event.value,) if isinstance(event, ast.Constant) else CHOSEN[place]
    for name in names:
        assert isinstance(name, str)
        level = "error" if level == "exception" else level
        yield Call(f"{place}:{node.lineno}", name, level, frozenset(fields))


def wrong(all_calls: list[Call]) -> Iterator[str]:
    """Where the sources and the catalogue differ."""
    used: dict[str, set[str]] = {}
    for call in all_calls:
        event = CATALOGUE.get(call.event)
        if event is None:
            yield f"{call.where} logs {call.event}, which observe/events.py doesn't list"
            continue
        if call.level != event.level:
            yield f"{call.where} logs {call.event} as {call.level}; {event.level} is listed"
        if unlisted := call.fields - set(event.fields):
            yield f"{call.where} gives {call.event} fields that aren't listed: {sorted(unlisted)}"
        used.setdefault(call.event, set()).update(call.fields)
    for event in CATALOGUE.values():
        if event.name not in used:
            yield f"{event.name} is listed, and logged nowhere"
        elif unused := set(event.fields) - used[event.name]:
            yield f"{event.name} never has the fields {sorted(unused)}"


def test_every_event_and_field_is_in_the_catalogue_and_none_there_is_unused() -> None:
    """Who adds a line to the log tells what it means; who takes one away takes it from there."""
    found = list(calls(ROOT))
    assert len(found) > 100
    assert list(wrong(found)) == []


def test_what_is_missing_anywhere_is_noticed() -> None:
    """The catalogue's guard isn't blind."""
    found = list(calls(ROOT))
    assert list(wrong([*found, Call("x.py:1", "novel", "info", frozenset())]))
    assert list(wrong([*found, Call("x.py:1", "stopped", "error", frozenset())]))
    assert list(wrong([*found, Call("x.py:1", "stopped", "info", frozenset({"why"}))]))
    assert list(wrong([call for call in found if call.event != "stopped"]))
    assert list(wrong([call for call in found if call.event != "stopped" or call.fields]))


def test_a_logger_is_called_log_everywhere() -> None:
    """Or its calls wouldn't be found."""
    for folder in ("filterrelay", "plugins"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Assign([target], ast.Call(made)) | ast.AnnAssign(
                        target, value=ast.Call(made)
                    ) if ast.unparse(made) == "structlog.get_logger":
                        assert is_logger(target), file


def test_each_field_has_one_meaning_and_is_some_events() -> None:
    """One name for one thing."""
    named = {field for event in CATALOGUE.values() for field in event.fields}
    assert named == set(FIELDS)
    assert not FIELDS.keys() & COMMON.keys()
    assert list(FIELDS) == sorted(FIELDS)


def test_each_event_is_listed_once_and_told_in_a_sentence() -> None:
    """The page shows them as they stand."""
    listed: list[Event] = list(events())
    assert len(listed) == len(CATALOGUE)
    for event in listed:
        assert event.meaning.endswith("."), event
        assert event.name == event.name.lower().replace(" ", "_")
