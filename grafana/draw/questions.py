"""What a dashboard asks Prometheus, its variables filled in as Grafana fills them."""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]

_PLACE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_LABEL_VALUES = re.compile(r"label_values\((?:(.+),)?\s*(\w+)\s*\)\s*\Z", re.DOTALL)
_SPECIAL = re.compile(r"[\\^$*+?.()|{}\[\]/-]")
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600)  # seconds
_SCREEN = 1600  # pixels, and a point for each of a panel's
_COLUMNS = 24


LabelValues = Callable[[str, str], Sequence[str]]
"""Tells the values of a label in the series of a selector, which may be empty."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is looked at, in Unix time, and how often Prometheus scrapes, in seconds."""

    start: float
    end: float
    scrape: int

    def step(self, columns: int) -> int:
        """Seconds between two points of a panel so wide."""
        points = _SCREEN * columns / _COLUMNS
        wanted = max(self.scrape, (self.end - self.start) / points)
        return next((step for step in _STEPS if step >= wanted), math.ceil(wanted))

    def words(self, step: int) -> dict[str, str]:
        """Grafana's own variables."""
        length = round(self.end - self.start)
        return {
            "__interval": f"{step}s",
            "__interval_ms": f"{step * 1000}",
            "__rate_interval": f"{max(step + self.scrape, 4 * self.scrape)}s",
            "__range": f"{length}s",
            "__range_s": f"{length}",
            "__range_ms": f"{length * 1000}",
        }


@dataclass(frozen=True, slots=True)
class Question:
    """One query of a panel.

    step: seconds between points; instant: the last one alone. exemplars: single observations
    are shown with it.
    """

    panel: int
    title: str
    ref: str
    expr: str
    instant: bool
    step: int
    legend: str
    exemplars: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """A query for moments at which something happened."""

    name: str
    expr: str
    colour: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard with its variables' values. text: what each place in a query becomes."""

    document: Json
    span: Span
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)

    def panels(self) -> Iterator[Json]:
        """Every panel, those in rows that are folded up as well."""
        for panel in self.document["panels"]:
            yield panel
            yield from panel.get("panels") or ()

    def questions(self) -> Iterator[Question]:
        """Every query of every panel."""
        for panel in self.panels():
            step = self.span.step(panel["gridPos"]["w"])
            for target in panel.get("targets") or ():
                yield Question(
                    panel["id"],
                    panel.get("title", ""),
                    target["refId"],
                    filled(target["expr"], {**self.text, **self.span.words(step)}),
                    target.get("instant", False) and not target.get("range", False),
                    step,
                    target.get("legendFormat", ""),
                    target.get("exemplar", False),
                )

    def annotations(self) -> Iterator[Annotation]:
        """What draws lines across all panels."""
        words = {**self.text, **self.span.words(self.span.step(_COLUMNS))}
        for each in self.document.get("annotations", {}).get("list", ()):
            if "expr" in each:
                yield Annotation(each["name"], filled(each["expr"], words), each["iconColor"])


def read(document: Json, span: Span, label_values: LabelValues) -> Dashboard:
    """The dashboard as it opens: everything chosen where there is an `All`, else the first."""
    values: dict[str, Sequence[str]] = {}
    text: dict[str, str] = {}
    for variable in document.get("templating", {}).get("list", ()):
        name = variable["name"]
        values[name] = _values(variable, text, label_values)
        if not variable.get("includeAll"):
            text[name] = values[name][0] if values[name] else ""
        elif variable.get("allValue"):
            text[name] = variable["allValue"]
        else:
            text[name] = f"({'|'.join(_SPECIAL.sub(_escaped, v) for v in values[name])})"
    return Dashboard(document, span, values, text)


def _escaped(found: re.Match[str]) -> str:
    """A regular expression's character inside a string of PromQL."""
    return f"\\\\{found[0]}"


def _values(variable: Json, text: Mapping[str, str], label_values: LabelValues) -> Sequence[str]:
    current = (variable.get("current") or {}).get("value", "")
    if variable["type"] != "query":
        return [str(current or variable.get("query") or "")]
    query = variable["query"]
    found = _LABEL_VALUES.match(query if isinstance(query, str) else query["query"])
    if found is None:
        raise ValueError(f"variable {variable['name']}: {query} is no label_values(...)")
    return label_values(found[2], filled(found[1] or "", text))


def filled(expr: str, text: Mapping[str, str]) -> str:
    """The expression with `$name` and `${name}` replaced; a name that isn't known is an error."""

    def value(place: re.Match[str]) -> str:
        name = place[1] or place[2]
        if name not in text:
            raise ValueError(f"{expr}: there is no variable {name}")
        return text[name]

    return _PLACE.sub(value, expr)


@dataclass(frozen=True, slots=True)
class PrometheusLabels:
    """Asks a Prometheus for a label's values. url: its address."""

    url: str

    def __call__(self, label: str, series: str) -> Sequence[str]:
        """Sorted, as Prometheus gives them."""
        matching = f"?{urllib.parse.urlencode({'match[]': series})}" if series else ""
        url = f"{self.url}/api/v1/label/{label}/values{matching}"
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  # the user's own Prometheus
            values: list[str] = json.load(response)["data"]
        return values
