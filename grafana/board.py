"""A dashboard: rows of panels with what all dashboards share."""

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from . import links, look
from .panels import SOURCE
from .query import Query, choices, formula, select
from .series import UP, M, Metric

RUNBOOK = "/public/filterrelay/runbook"  # where compose.yaml has Grafana serve docs/runbook
_ASKED: dict[str, Metric] = {  # which series knows all values of a variable
    "instance": UP,
    "listener": M.connections,
    "plugin": M.breaker,
    "upstream": M.queue_messages,
}


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a heading; from left to right, 24 columns wide, then the next line."""

    title: str
    panels: tuple[Builder[model.Panel], ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    name: of its file, and after `filterrelay-` its uid. question: what it answers.
    """

    name: str
    title: str
    question: str
    rows: tuple[Row, ...]

    @property
    def uid(self) -> str:
        """What Grafana knows it by."""
        return f"filterrelay-{self.name}"

    def json(self) -> str:
        """As Grafana imports it."""
        built = self._built()
        return json.dumps(built, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"

    def _built(self) -> model.Dashboard:
        board = (
            build.Dashboard(f"filterrelay: {self.title}")
            .uid(self.uid)
            .description(self.question)
            .tags([links.TAG])
            .editable()
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .refresh("30s")
            .time("now-6h", "now")
            .timezone("browser")
            .link(links.dashboards())
        )
        for row in self.rows:
            board.with_row(build.Row(row.title))
            for panel in row.panels:
                board.with_panel(panel)
        board.variables(list(_variables(self._chosen())))
        board.annotations(list(_annotations()))
        built = board.build()
        for placed in built.panels or ():
            placed.id_val = _lasting_id(placed)
        for variable in (built.templating and built.templating.list_val) or ():
            # These are of a kind of variable that isn't used here.
            variable.auto = variable.auto_min = variable.auto_count = None
        return built

    def _chosen(self) -> set[str]:
        """The variables that its queries use."""
        panels = [panel.build() for row in self.rows for panel in row.panels]
        return set(re.findall(r"\$([a-z]+)", json.dumps(panels, cls=JSONEncoder)))


def _lasting_id(panel: model.Panel | model.RowPanel) -> int:
    """A number that stays the panel's own when others come and go: links hold it."""
    return zlib.crc32(f"{panel.type_val} {panel.title}".encode()) % 1_000_000


def _variables(chosen: set[str]) -> Iterator[Builder[model.VariableModel]]:
    yield build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    for name, metric in _ASKED.items():
        if name in chosen:
            yield (
                build.QueryVariable(name)
                .label(name.capitalize())
                .datasource(SOURCE)
                .query(choices(metric, name))
                .multi(True)
                .include_all(True)
                .all_value(".*")
                .current(model.VariableOption(True, "All", "$__all"))
                .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(model.VariableSort.ALPHABETICAL_ASC)
            )
    yield (
        build.TextBoxVariable("runbook")
        .label("Runbook")
        .description("Where the pages of docs/runbook are served.")
        .default_value(RUNBOOK)
        .current(model.VariableOption(True, RUNBOOK, RUNBOOK))
    )


class _Event(build.AnnotationQuery):
    """A line across all panels where something happened, with words to it."""

    def __init__(self, name: str, text: str, colour: str, query: Query) -> None:
        """text: what the line says, with labels in braces."""
        super().__init__()
        self._internal = _EventModel(name, SOURCE, icon_color=colour, expr=query.expr)
        self._internal.text = text


class _EventModel(model.AnnotationQuery):
    """With the fields that Prometheus' annotations have, and the SDK doesn't know."""

    text = ""

    def to_json(self) -> dict[str, object]:
        """As Grafana's data source reads it."""
        return super().to_json() | {
            "step": "60s",
            "titleFormat": self.name,
            "textFormat": self.text,
        }


def _annotations() -> Iterator[Builder[model.AnnotationQuery]]:
    """What explains a change: looked at every minute, so each is seen once or twice."""
    yield _Event(
        "Reloaded",
        "{{instance}} serves another configuration since then.",
        look.BLUE,
        formula("", "changes({loaded}[2m]) > 0", "instance", loaded=select(M.configured)),
    )
    yield _Event(
        "Reload refused",
        "{{instance}} goes on with the old configuration: the new one is bad, the log says why.",
        look.AMBER,
        formula(
            "",
            "increase({reloads}[2m]) > 0",
            "instance",
            reloads=select(M.reloads, result="refused"),
        ),
    )
    yield _Event(
        "Worker restarted",
        "A worker of {{instance}} ended unasked: the log says how.",
        look.RED,
        formula("", "increase({restarts}[2m]) > 0", "instance", restarts=select(M.worker_restarts)),
    )
    yield _Event(
        "New version",
        "{{instance}} is {{version}} now.",
        look.PURPLE,
        formula("", "{build} unless {build} offset 5m", build=select(M.build_info)),
    )
