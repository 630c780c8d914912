"""What a configuration brings into the labels, and so how many series there can be."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from filterrelay.observe import metrics as declared
from filterrelay.observe.metrics import Metrics, Series, described
from filterrelay.settings.models import MetricsSettings
from filterrelay.spool.store import State


@dataclass(frozen=True)
class Install:
    """A configuration; this is what `filterrelay init` writes, with all filters of the package.

    plugins: of one hook each, as those that come with the package are.
    """

    listeners: int = 1
    plugins: int = 7  # attachments, clamav, dkim, spam and spf; auth-file and dkim-sign
    upstreams: int = 2  # the smart host, and direct delivery
    top: int = MetricsSettings().top

    def words(self, series: str, label: str) -> tuple[str, ...]:
        """All that the label can say there."""
        match label:
            case "result":
                return {
                    "filterrelay_connections_total": declared.CONNECTION_RESULTS,
                    "filterrelay_logins_total": declared.LOGIN_RESULTS,
                    "filterrelay_tls_sessions_total": declared.TLS_RESULTS,
                    "filterrelay_reloads_total": declared.RELOAD_RESULTS,
                }.get(series, declared.ATTEMPT_RESULTS)
            case "state":
                connections = series == "filterrelay_upstream_connections"
                return ("idle", "busy") if connections else tuple(each.value for each in State)
            case "hook":
                refusals = series == "filterrelay_refusals_total"
                return declared.REFUSAL_HOOKS if refusals else ("on_message",)
            case "version":
                return declared.TLS_VERSIONS if "tls" in series else ("1",)
            case "verdict":  # a plugin's on_error is one of them
                if series == "filterrelay_plugin_verdicts_total":
                    return declared.STEP_RESULTS
                return ("defer",) if "failures" in series else declared.VERDICTS
            case "listener":  # the relay's own mail has none
                return _names("listener", self.listeners, "none")
            case "upstream":  # queue bounce, and what was never tried, have words of their own
                return _names("upstream", self.upstreams, "reject", "none")
            case "plugin":
                return _names("plugin", self.plugins)
            case "login" | "destination":
                return _names(label, self.top, declared.OTHER)
        return _LISTS[label]

    def children(self, metric: MetricWrapperBase) -> Iterator[MetricWrapperBase]:
        """One for each combination of its labels."""
        for values in self._combinations(described(metric)):
            yield metric.labels(*values) if values else metric

    def touch(self, metrics: Metrics) -> None:
        """Has every series be there."""
        for metric in vars(metrics).values():
            if isinstance(metric, MetricWrapperBase):
                list(self.children(metric))

    def series(self) -> int:
        """How many there are when everything has happened that can happen."""
        metrics = Metrics(CollectorRegistry())
        self.touch(metrics)
        scraped = sum(len(list(self._combinations(each))) for each in declared.SCRAPED)
        families = metrics.registry.collect()
        samples = [each for family in families for each in family.samples]
        return scraped + len([each for each in samples if not each.name.endswith("_created")])

    def _combinations(self, series: Series) -> Iterator[tuple[str, ...]]:
        return product(*(self.words(series.name, label) for label in series.labels))


_LISTS = {
    "command": declared.COMMANDS,
    "by": declared.REFUSED_BY,
    "mode": ("enforce",),
    "failure": declared.FAILURES,
    "reply": declared.REPLY_CLASSES,
    "stage": declared.STAGES,
    "kind": declared.REPORT_KINDS,
    "process": declared.PROCESSES,
    "standing": declared.STANDINGS,
    "outcome": declared.LOGIN_OUTCOMES,
    "domain": ("office.example",),
    "selector": ("s1",),
}


def _names(kind: str, count: int, *more: str) -> tuple[str, ...]:
    return (*(f"{kind} {number}" for number in range(count)), *more)
