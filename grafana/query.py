"""PromQL, built from the metrics themselves, with the unit of what comes out.

    rate(M.messages, "verdict", verdict=("reject", "defer"))

is how many messages come a minute by verdict, of these two. A series or label that isn't
there is an error when the dashboards are written, and so is a word that a label never has.
What the reader chooses at the top of the dashboard (instance, listener, plugin, upstream) narrows
every series that has the label.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from prometheus_client import Counter, Gauge, Histogram

from filterrelay.observe.metrics import Series

from .series import (
    ALERTS,
    ALERTS_SINCE,
    BYTES,
    EXEMPLARS,
    JOB,
    RATIO,
    RECORDED,
    SECONDS,
    TARGET,
    VARIABLES,
    Metric,
    of,
    unit,
    words,
)

STEP = "$__rate_interval"  # four scrapes at least, and no gap between two points
SHOWN = "$__range"  # what the reader looks at

Wanted = Mapping[str, str | Iterable[str]]  # words by label
Level = Gauge | Series  # what goes up and down; a counter is never shown as it is


class WrongQuery(ValueError):
    """It asks for what no series has."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression whose values all have one unit.

    unit: as Grafana writes it. by: the labels that tell its lines apart. legend:
    the name of a line. endings: the words that such names end in, as far as they
    are known. exemplars: whether single messages can be shown with it.
    """

    expr: str
    unit: str
    by: tuple[str, ...] = ()
    legend: str = ""
    endings: tuple[str, ...] = ()
    exemplars: bool = False

    def named(self, ending: str) -> "Query":
        """The same, its lines called so after what their labels say."""
        legend = " ".join(filter(None, (legend_of(self.by), ending)))
        return replace(self, legend=legend, endings=(ending,))

    def in_unit(self, unit: str) -> "Query":
        """The same, with a unit that the reader knows better."""
        return replace(self, unit=unit)

    def share_of(self, whole: "Query") -> "Query":
        """How much of the whole this is, 0 to 1; nothing where the whole is nothing.

        A part that never came is 0, though Prometheus has no series of it.
        """
        self._same(whole)
        some = whole.where("> 0").expr
        return replace(self, expr=f"(({self.expr} or {whole.expr} * 0) / {some})", unit=RATIO)

    def where(self, condition: str) -> "Query":
        """Only the lines, and of them the moments, for which a comparison as `> 0` holds."""
        return replace(self, expr=f"({self.expr} {condition})")

    def only_with(self, other: "Query") -> "Query":
        """Only the lines that the other has, too."""
        labels = ", ".join(self.by)
        return replace(self, expr=f"({self.expr} and on ({labels}) {other.expr})")

    def over(self, other: "Query", unit: str) -> "Query":
        """This divided by what is measured otherwise, as octets by messages."""
        return replace(self, expr=f"({self.expr} / {other.expr})", unit=unit)

    def _same(self, other: "Query") -> None:
        if (self.unit, self.by) != (other.unit, other.by):
            raise WrongQuery(f"{self.unit} by {self.by} and {other.unit} by {other.by} don't fit")


def select(metric: Metric, part: str = "", /, **wanted: str | Iterable[str]) -> str:
    """The samples of a metric whose labels have one of the words.

    part: `_bucket`, `_sum` or `_count` of a histogram.
    """
    series = of(metric)
    if metric in (ALERTS, ALERTS_SINCE):
        matchers = ['alertname=~"Filterrelay.*"']
    elif metric in RECORDED:
        matchers = [f'job="{JOB}"']
    else:
        matchers = [f'job="{JOB}"', f'instance=~"{VARIABLES["instance"]}"']
        for label in series.labels:
            if label in VARIABLES and label not in wanted:
                matchers.append(f'{label}=~"{VARIABLES[label]}"')
    for label, value in wanted.items():
        values = [value] if isinstance(value, str) else list(value)
        _check(metric, label, values)
        matchers.append(f'{label}{"=" if len(values) == 1 else "=~"}"{"|".join(values)}"')
    return f"{series.name}{part}{{{','.join(matchers)}}}"


def _check(metric: Metric, label: str, values: Iterable[str]) -> None:
    series, known = of(metric), words(metric, label)
    if label == "le" and isinstance(metric, Histogram):
        return
    if label not in series.labels:
        raise WrongQuery(f"{series.name} has no label {label}, only {', '.join(series.labels)}")
    for value in values:
        if known and value not in known:
            raise WrongQuery(f"{label} of {series.name} is never {value}, but {', '.join(known)}")


def _aggregated(how: str, what: str, metric: Metric, by: tuple[str, ...]) -> str:
    for label in by:
        if label not in TARGET:
            _check(metric, label, ())
    grouped = f" by ({', '.join(by)}) " if by else ""
    return f"{how}{grouped}({what})"


def legend_of(by: Iterable[str]) -> str:
    """A line's name: the values of the labels that tell it from the others."""
    return " ".join(f"{{{{{label}}}}}" for label in by)


def _lines(expr: str, measure: str, metric: Metric, by: tuple[str, ...], wanted: Wanted) -> Query:
    """A query whose lines are named by their labels."""
    endings: tuple[str, ...] = ()
    if by:
        chosen = wanted.get(by[-1], words(metric, by[-1]))
        endings = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    return Query(expr, measure, by, legend_of(by), endings)


def rate(metric: Counter, /, *by: str, window: str = STEP, **wanted: str | Iterable[str]) -> Query:
    """How much a counter grows in a minute; in a second if it counts octets or seconds."""
    measure = {BYTES: "Bps", SECONDS: "CPUs"}.get(unit(metric))
    what = f"rate({select(metric, **wanted)}[{window}])"
    if measure is None:
        measure, what = f"{unit(metric)}/min", f"60 * {what}"
    return _lines(_aggregated("sum", what, metric, by), measure, metric, by, wanted)


def increase(
    metric: Counter, /, *by: str, window: str = SHOWN, **wanted: str | Iterable[str]
) -> Query:
    """How much a counter has grown in a time."""
    what = f"increase({select(metric, **wanted)}[{window}])"
    return _lines(_aggregated("sum", what, metric, by), unit(metric), metric, by, wanted)


def _gauge(how: str, metric: Level, by: tuple[str, ...], wanted: Wanted) -> Query:
    expr = _aggregated(how, select(metric, **wanted), metric, by)
    return _lines(expr, unit(metric), metric, by, wanted)


def total(metric: Level, /, *by: str, **wanted: str | Iterable[str]) -> Query:
    """A gauge, added up."""
    return _gauge("sum", metric, by, wanted)


def highest(metric: Level, /, *by: str, **wanted: str | Iterable[str]) -> Query:
    """The highest of a gauge's values."""
    return _gauge("max", metric, by, wanted)


def lowest(metric: Level, /, *by: str, **wanted: str | Iterable[str]) -> Query:
    """The lowest of a gauge's values."""
    return _gauge("min", metric, by, wanted)


def quantile(share: float, metric: Histogram, /, *by: str, window: str = STEP) -> Query:
    """The value that so large a share of the observations stays below, if there are any."""
    what = f"rate({select(metric, '_bucket')}[{window}])"
    inner = _aggregated("sum", what, metric, (*by, "le"))
    query = _lines(f"histogram_quantile({share:g}, {inner})", unit(metric), metric, by, {})
    return replace(query.where(">= 0"), exemplars=metric in EXEMPLARS)


def quantiles(metric: Histogram, /) -> tuple[Query, ...]:
    """The usual, the slow and the slowest, named p50, p95 and p99; the last has the exemplars."""
    found = [quantile(share, metric).named(f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]
    return (*(replace(query, exemplars=False) for query in found[:-1]), found[-1])


def mean(metric: Histogram, /, *by: str, window: str = STEP) -> Query:
    """The mean of the observations."""
    parts = [
        _aggregated("sum", f"rate({select(metric, part)}[{window}])", metric, by)
        for part in ("_sum", "_count")
    ]
    return _lines(_ratio(*parts), unit(metric), metric, by, {})


def _ratio(part: str, whole: str) -> str:
    """One by the other; nothing where the other is nothing."""
    return f"({part} / ({whole} > 0))"


def buckets(metric: Histogram, /) -> Query:
    """How many observations fell into each bucket, for a heatmap."""
    what = f"increase({select(metric, '_bucket')}[{STEP}])"
    expr = _aggregated("sum", what, metric, ("le",))
    return Query(expr, unit(metric), ("le",), legend_of(("le",)), exemplars=metric in EXEMPLARS)


def within(bound: float, metric: Histogram, /, *by: str, window: str = STEP) -> Query:
    """The share of observations up to a bound, which must be one of the histogram's buckets."""
    bounds = metric._upper_bounds  # noqa: SLF001  # nothing public tells the buckets
    if bound not in bounds:
        raise WrongQuery(f"{of(metric).name} has no bucket {bound:g}, only {bounds}")
    below = select(metric, "_bucket", le=str(float(bound)))
    parts = [
        _aggregated("sum", f"rate({samples}[{window}])", metric, by)
        for samples in (below, select(metric, "_count"))
    ]
    return _lines(_ratio(*parts), RATIO, metric, by, {})


def formula(measure: str, template: str, /, *by: str, **parts: str) -> Query:
    """What the others can't say: a template whose places are filled with `select`ed samples."""
    return Query(template.format(**parts), measure, by, legend_of(by))


def choices(metric: Metric, label: str) -> str:
    """What Grafana asks for to offer a label's values: those of the chosen instances."""
    matchers = [f'job="{JOB}"']
    if label != "instance":
        matchers.append(f'instance=~"{VARIABLES["instance"]}"')
    return f"label_values({of(metric).name}{{{','.join(matchers)}}}, {label})"
