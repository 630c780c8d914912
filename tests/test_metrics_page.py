"""docs/metrics.md says every series, as observe/metrics.py has it.

`FILTERRELAY_WRITE_DOCS=1 pytest tests/test_metrics_page.py` writes its tables anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from filterrelay.observe import metrics
from filterrelay.observe.metrics import Metrics, Series

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
FIRST = "| series | kind | labels | meaning |"
LISTS = {
    "verdict": metrics.VERDICTS,
    "failure": metrics.FAILURES,
    "mode": metrics.MODES,
    "result of a connection": metrics.CONNECTION_RESULTS,
    "result of a login": metrics.LOGIN_RESULTS,
    "result of a delivery": metrics.ATTEMPT_RESULTS,
    "reply": metrics.REPLY_CLASSES,
    "stage": metrics.STAGES,
    "command": metrics.COMMANDS,
    "hook of a refusal": metrics.REFUSAL_HOOKS,
    "by": metrics.REFUSED_BY,
    "kind of a report": metrics.REPORT_KINDS,
    "process": metrics.PROCESSES,
    "result of a reload": metrics.RELOAD_RESULTS,
    "standing": metrics.STANDINGS,
    "outcome": metrics.LOGIN_OUTCOMES,
}


def series() -> dict[str, Series]:
    """All of them, by the names that Prometheus sees."""
    return {one.name: one for one in Metrics().series()}


def tables() -> Iterator[str]:
    """The lines of the page's two tables."""
    yield from (FIRST, "|---|---|---|---|")
    for one in series().values():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        yield f"| `{one.name}` | {one.kind} | {labels} | {one.documentation} |"
    yield from ("", "| label | words |", "|---|---|")
    for label, words in LISTS.items():
        yield f"| {label} | {', '.join(f'`{word}`' for word in words)} |"


def page() -> str:
    """The page with its tables as they should be."""
    written = PAGE.read_text().partition(FIRST)[0]
    return written + "\n".join(tables()) + "\n"


def test_the_page_is_current() -> None:
    """Whoever adds a series adds its line, too."""
    if os.environ.get("FILTERRELAY_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_no_expression_on_the_page_names_a_series_that_is_not_there() -> None:
    """An alert on it would never come."""
    named = set(re.findall(r"\bfilterrelay_\w+", PAGE.read_text()))
    known = {f"{name}{end}" for name in series() for end in ("", "_bucket")}
    assert named <= known
