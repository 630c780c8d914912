"""docs/logs.md says every event and field, as observe/events.py has them.

`FILTERRELAY_WRITE_DOCS=1 pytest tests/test_logs_page.py` writes its tables anew.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from filterrelay.observe.events import COMMON, FIELDS, GROUPS

PAGE = Path(__file__).parent.parent / "docs" / "logs.md"
FIRST = "## Events"
KINDS = {"plain": "", "address": "hidden", "text": "hidden within"}


def tables() -> Iterator[str]:
    """The lines from the events on."""
    yield FIRST
    for group, events in GROUPS.items():
        yield from (
            "",
            f"### {group}",
            "",
            "| event | level | fields | meaning |",
            "|---|---|---|---|",
        )
        for event in events:
            fields = " ".join(f"`{field}`" for field in event.fields)
            yield f"| `{event.name}` | {event.level} | {fields} | {event.meaning} |"
    yield from ("", "## Fields", "", "| field | what it holds | addresses |", "|---|---|---|")
    for name, field in {**COMMON, **FIELDS}.items():
        yield f"| `{name}` | {field.meaning} | {KINDS[field.holds]} |"


def page() -> str:
    """The page with its tables as they should be."""
    return PAGE.read_text().partition(FIRST)[0] + "\n".join(tables()) + "\n"


def test_the_page_is_current() -> None:
    """Whoever adds an event adds its line, too."""
    if os.environ.get("FILTERRELAY_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()
