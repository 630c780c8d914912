"""What a scrape is told: the sum of what several processes have counted and noted."""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from filterrelay.observe.clock import Clock
from filterrelay.observe.exemplars import Exemplars
from filterrelay.observe.metrics import OTHER, TOP_DESTINATIONS, TOP_LOGINS, Series, no_notes
from filterrelay.observe.multiprocess import turn
from filterrelay.observe.notes import Notes, notes_files
from filterrelay.observe.sums import Sums
from filterrelay.observe.top import Top

_OPENMETRICS = "application/openmetrics-text"
_PLAIN = ("text/plain", "text/*", "*/*")

Encode = Callable[[CollectorRegistry], bytes]


class Summed(Collector):
    """Adds up what all processes below directory have counted and noted.

    top: how many names a top list tells.
    """

    def __init__(self, directory: Path, clock: Clock, top: int) -> None:
        self._directory = directory
        self._clock = clock
        self._top = top
        self._sums = Sums()

    def collect(self) -> Iterator[Metric]:
        """The sums. Nothing is read while it is folded into another file, and so counted twice."""
        notes = no_notes()
        with turn(self._directory, fcntl.LOCK_SH):
            families = self._sums.of(self._directory.glob("*.db"))
            for file in notes_files(self._directory):
                notes.learn_from(file)
        for family in families:
            _attach(family, notes)
            yield family
        yield self._listed(TOP_LOGINS, notes.logins)
        yield self._listed(TOP_DESTINATIONS, notes.destinations)

    def _listed(self, series: Series, top: Top) -> Metric:
        told = top.told(self._top, OTHER, self._clock.now())
        return listed(
            series,
            {
                (name, outcome): count
                for name, counts in told.items()
                for outcome, count in zip(top.outcomes, counts, strict=True)
            },
        )


def _attach(family: Metric, notes: Notes) -> None:
    """Gives a histogram's buckets their exemplars."""
    match family.name:
        case "filterrelay_accept_seconds":
            family.samples = [_shown(each, "listener", notes.accepted) for each in family.samples]
        case "filterrelay_delivery_seconds":
            family.samples = [_shown(each, "upstream", notes.delivered) for each in family.samples]


def _shown(sample: Sample, label: str, exemplars: Exemplars) -> Sample:
    """The sample, with its exemplar if it is a bucket that has one."""
    if "le" not in sample.labels:
        return sample
    example = exemplars.of(sample.labels[label], float(sample.labels["le"]))
    if example is None:
        return sample
    attached = Exemplar({"message_id": example.message_id}, example.seconds, example.at)
    return sample._replace(exemplar=attached)


def listed(series: Series, values: Mapping[tuple[str, ...], float]) -> Metric:
    """A gauge with its values by the labels'."""
    family = GaugeMetricFamily(series.name, series.documentation, labels=series.labels)
    for labels, value in values.items():
        family.add_metric([label.encode(errors="replace").decode() for label in labels], value)
    return family


def encoder(accept: str) -> tuple[Encode, str]:
    """How the scraper wants it, and that format's name: OpenMetrics 1.0 or Prometheus' plain text.

    accept: its Accept field (RFC 9110 section 12.5.1).
    """
    wanted = [_media_range(each) for each in accept.split(",")]
    modern = (quality for kind, quality in wanted if kind == _OPENMETRICS)
    plain = (quality for kind, quality in wanted if kind in _PLAIN)
    if max(modern, default=0.0) > max(plain, default=0.0):
        encode = partial(openmetrics.generate_latest, version="1.0.0")
        return encode, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def _media_range(text: str) -> tuple[str, float]:
    """A type and its quality; 0 where another version is asked for, or it makes no sense."""
    kind, *rest = (part.strip().lower() for part in text.split(";"))
    parameters = {name: value for name, _, value in (part.partition("=") for part in rest)}
    if kind == _OPENMETRICS and not parameters.get("version", "1.").startswith("1."):
        return kind, 0.0
    try:
        return kind, float(parameters.get("q", "1"))
    except ValueError:
        return kind, 0.0
