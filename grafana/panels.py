"""The kinds of panel there are, each with the looks that all of its kind share.

Whoever adds one says its title, its meaning (what a bad value is, and what to do
then) and its queries; the unit comes from these.
"""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import (
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import prometheus as promql

from . import links, look
from .query import Query, WrongQuery
from .series import BYTES, RATIO, SECONDS, WORD

SOURCE = dashboard.DataSourceRef("prometheus", "${datasource}")
LIMIT = "limit"  # the line that another must stay below
SCALED = {SECONDS, BYTES, "Bps", RATIO, WORD}  # what Grafana writes with each value, if anything
_LEGEND = 280  # pixels; the same on all, so that charts end below each other
Properties = list[dashboard.DynamicConfigValue]
_ALWAYS_0 = dashboard.MatcherConfig("byValue", {"reducer": "allIsZero", "op": "gte", "value": 0})
_HIDDEN: Properties = [
    dashboard.DynamicConfigValue("custom.hideFrom", {"viz": True, "legend": True, "tooltip": True})
]
_COLOURED = dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
Panel = TypeVar(
    "Panel", stat.Panel, timeseries.Panel, heatmap.Panel, table.Panel, statetimeline.Panel
)


def trend(
    title: str,
    meaning: str,
    *queries: Query,
    runbook: str | None = None,
    stacked: bool = False,
    levels: look.Steps = (),
) -> timeseries.Panel:
    """Lines over time. levels: dashed across.

    What is counted stands beside the axis, not with each number. The legend has the greatest
    first, and a line that is 0 all the time isn't shown.
    """
    panel = _named(timeseries.Panel(), title, meaning, queries, runbook)
    if queries[0].unit not in SCALED:
        panel.axis_label(queries[0].unit)
    for ref, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_target(query, ref).range())
    if levels:
        dashed = parts.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(dashed).thresholds(look.steps(levels))
    if stacked:
        panel.stacking(parts.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    for name, properties in _properties(queries).items():
        panel.override_by_regexp(f"/(^| ){name}$/", properties)
    return (
        panel.with_override(_ALWAYS_0, _HIDDEN)
        .min(0)
        .line_width(1)
        .fill_opacity(40 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(120_000)  # milliseconds: one scrape that failed is no gap
        .legend(_legend())
        .tooltip(_tooltip())
        .height(7)
        .span(12)
    )


def tiles(
    title: str,
    meaning: str,
    query: Query,
    *mappings: dashboard.ValueMapping,
    runbook: str | None = None,
    levels: look.Steps = (),
    first: str = look.GREEN,
    decimals: float | None = None,
    leads_to: build.DashboardLink | None = None,
    sound: Query | None = None,
) -> stat.Panel:
    """What is so now, big and coloured: one tile for each line of the query.

    mappings: words for values. levels: where a number's colour changes. leads_to: where a
    click on a tile does. sound: what one more tile says of all that is well, in green.
    """
    panel = _named(stat.Panel(), title, meaning, (query,), runbook)
    panel.unit(_plain(query.unit, "locale"))
    panel.with_target(_target(query, "A").instant())
    for name, properties in _properties((query,)).items():
        panel.override_by_name(name, properties)
    if sound is not None:
        panel.with_target(_target(sound, "B").instant())
        panel.override_by_query("B", _sound(sound))
    if decimals is not None:
        panel.decimals(decimals)
    if leads_to is not None:
        panel.data_links([leads_to])
    text = common.BigValueTextMode.VALUE_AND_NAME if query.by else common.BigValueTextMode.VALUE
    return (
        panel.mappings(list(mappings))
        .thresholds(look.steps(levels, first))
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(text)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .orientation(common.VizOrientation.AUTO)
        .percent_change_color_mode(common.PercentChangeColorMode.STANDARD)
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
        .height(4)
        .span(4)
    )


def states(
    title: str,
    meaning: str,
    query: Query,
    *mappings: dashboard.ValueMapping,
    runbook: str | None = None,
) -> statetimeline.Panel:
    """How a state changed over time: one band for each line of the query."""
    panel = _named(statetimeline.Panel(), title, meaning, (query,), runbook)
    return (
        panel.with_target(_target(query, "A").range())
        .mappings(list(mappings))
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(look.steps(()))
        .show_value(common.VisibilityMode.AUTO)
        .align_value(common.TimelineValueAlignment.LEFT)
        .legend(_legend().show_legend(False).calcs([]))
        .tooltip(_tooltip())
        .row_height(0.8)
        .fill_opacity(70)
        .line_width(0)
        .height(7)
        .span(12)
    )


def shape(title: str, meaning: str, query: Query, *, runbook: str | None = None) -> heatmap.Panel:
    """How observations spread over the buckets of a histogram, and single ones as dots."""
    panel = _named(heatmap.Panel(), title, meaning, (query,), runbook)
    colours = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges")
    return (
        panel.with_target(_target(query, "A").range().format(promql.PromQueryFormat.HEATMAP))
        .calculate(False)
        .color(colours.fill("dark-orange").exponent(0.5).steps(64).reverse(False))
        .y_axis(heatmap.YAxisConfig().unit(query.unit).reverse(False))
        .cell_values(heatmap.CellValues().decimals(0))
        .cell_gap(1)
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_value(common.VisibilityMode.NEVER)
        .exemplars_color("rgba(255,0,255,0.7)")
        .show_legend()
        .mode(common.TooltipDisplayMode.SINGLE)
        .show_y_histogram()
        .show_color_scale(True)
        .height(7)
        .span(12)
    )


def listing(
    title: str,
    meaning: str,
    columns: Mapping[str, Query],
    *,
    runbook: str | None = None,
    sort_by: str | None = None,
    links_of: Mapping[str, build.DashboardLink] | None = None,
    mappings: Iterable[dashboard.ValueMapping] = (),
    words: Mapping[str, Mapping[str, str]] | None = None,
    widths: Mapping[str, int] | None = None,
) -> table.Panel:
    """A table: a row for each set of labels, and a column of numbers for each query.

    sort_by: the column whose greatest numbers come first, the first one unless said. links_of:
    where a column's cells lead, and mappings what they are called. words: the colours of a
    column's texts, by which the rows are in order before. widths: in pixels, where one is set.
    """
    queries = tuple(columns.values())
    panel = _named(table.Panel(), title, meaning, queries, runbook, mixed=True)
    renamed = {"Value": next(iter(columns))} if len(columns) == 1 else {}
    for ref, (name, query) in zip(ascii_uppercase, columns.items(), strict=False):
        panel.with_target(_target(query, ref).instant().format(promql.PromQueryFormat.TABLE))
        renamed.setdefault(f"Value #{ref}", name)
        panel.override_by_name(name, _column(name, query))
    for name, link in (links_of or {}).items():
        properties = [dashboard.DynamicConfigValue("links", [link.build()])]
        if mappings:
            properties.append(dashboard.DynamicConfigValue("mappings", list(mappings)))
        panel.override_by_name(name, properties)
    for name, colours in (words or {}).items():
        panel.override_by_name(name, _words(colours))
    for name, width in (widths or {}).items():
        panel.override_by_name(name, [dashboard.DynamicConfigValue("custom.width", width)])
    hidden = dict.fromkeys(("Time", "__name__", "job"), True)
    organize = {"excludeByName": hidden, "indexByName": {}, "renameByName": renamed}
    return (
        panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
        .with_transformation(dashboard.DataTransformerConfig("organize", options=organize))
        .sort_by(_order(words or (), sort_by or next(iter(columns))))
        .show_header(True)
        .cell_height(common.TableCellHeight.SM)
        .footer(parts.TableFooterOptions().show(False).reducer([]).count_rows(False))
        .height(8)
        .span(12)
    )


def _order(words: Iterable[str], numbers: str) -> list[Builder[common.TableSortByFieldState]]:
    """Rows by the texts of some columns, those with the same ones by the numbers of another."""
    state = parts.TableSortByFieldState
    first = [state().display_name(name).desc(False) for name in words]
    return [*first, state().display_name(numbers).desc(True)]


def _words(colours: Mapping[str, str]) -> Properties:
    return [dashboard.DynamicConfigValue("mappings", [look.words(colours)]), _COLOURED]


def _column(name: str, query: Query) -> Properties:
    properties = [dashboard.DynamicConfigValue("unit", _plain(query.unit, "locale"))]
    if query.unit not in SCALED:
        properties.append(dashboard.DynamicConfigValue("decimals", 0))
    if name in look.COLOURS:
        properties += [*look.colour(look.COLOURS[name]), _COLOURED]
    return properties


def _named(
    panel: Panel,
    title: str,
    meaning: str,
    queries: Sequence[Query],
    page: str | None,
    *,
    mixed: bool = False,
) -> Panel:
    """What every panel has. mixed: the columns have units of their own. Raises WrongQuery."""
    units = {query.unit for query in queries}
    if len(units) > 1 and not mixed:
        raise WrongQuery(f"{title}: one axis can't have {' and '.join(sorted(units))}")
    panel.title(title).description(meaning).datasource(SOURCE).unit(_plain(queries[0].unit))
    if page is not None:
        panel.links([links.runbook(page)])
    return panel


def _plain(unit: str, counted: str = "short") -> str:
    """How Grafana shall write a value. counted: how, if it is a number of something."""
    return unit if unit in SCALED else counted


def _sound(query: Query) -> Properties:
    """The looks of the tile for what is well: no word for its value, but its unit.

    It leads nowhere: it has no label by which another dashboard could be narrowed.
    """
    return [
        dashboard.DynamicConfigValue("unit", query.unit),
        dashboard.DynamicConfigValue("mappings", []),
        dashboard.DynamicConfigValue("links", []),
        *look.colour(look.GREEN),
    ]


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .exemplar(query.exemplars)
        .ref_id(ref)
    )


def _properties(queries: Iterable[Query]) -> dict[str, Properties]:
    """The looks of lines whose names end in a word that has one."""
    endings = dict.fromkeys(word for query in queries for word in query.endings)
    found = {word: look.colour(look.COLOURS[word]) for word in endings if word in look.COLOURS}
    if LIMIT in found:
        for name, setting in (
            ("lineStyle", {"fill": "dash", "dash": [10, 10]}),
            ("fillOpacity", 0),
            ("stacking", {"mode": "none"}),
        ):
            found[LIMIT].append(dashboard.DynamicConfigValue(f"custom.{name}", setting))
    return found


def _legend() -> parts.VizLegendOptions:
    return (
        parts.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.RIGHT)
        .width(_LEGEND)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
        .sort_by("Last *")
        .sort_desc(True)
    )


def _tooltip() -> parts.VizTooltipOptions:
    return (
        parts.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
