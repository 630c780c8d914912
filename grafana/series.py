"""What the dashboards know of each series: its labels, their words, its unit.

All of it comes from `filterrelay.observe.metrics`; what stands here is only what
that file leaves to its readers.
"""

from collections.abc import Mapping

from prometheus_client.metrics import MetricWrapperBase

from filterrelay.observe import metrics
from filterrelay.observe.metrics import Metrics, Series, described

Metric = MetricWrapperBase | Series

M = Metrics()
UP = Series("up", "gauge", (), "Whether Prometheus could scrape the relay: 1 or 0.")
ALERTS = Series(
    "ALERTS", "gauge", ("alertname", "alertstate", "severity"), "Alerts, as Prometheus keeps them."
)
ALERTS_SINCE = Series(
    "ALERTS_FOR_STATE", "gauge", ("alertname", "severity"), "Since when each alert is active."
)
PROMETHEUS = (UP, ALERTS, ALERTS_SINCE)  # series that it makes itself


def _recorded(objective: str, what: str, documentation: str) -> Series:
    return Series(f"job:filterrelay_slo_{objective}_{what}", "gauge", (), documentation)


OBJECTIVES = ("acceptance", "delivery")
BURN_WINDOWS = ("1h", "6h", "3d")
BUDGETS = {
    each: _recorded(each, "budget:ratio30d", "What is left of the objective's budget of 30 days.")
    for each in OBJECTIVES
}
MISSED = {
    (each, window): _recorded(
        each, f"errors:ratio_rate{window}", "The part that missed the objective."
    )
    for each in OBJECTIVES
    for window in BURN_WINDOWS
}
RULES = _recorded("acceptance", "errors:rate5m", "Slow answers; there as soon as the rules are.")
RECORDED = (RULES, *BUDGETS.values(), *MISSED.values())  # by alerts/slo.yaml, over all machines

JOB = "filterrelay"
TARGET = ("job", "instance")  # labels that Prometheus gives to every series
VARIABLES = {label: f"${label}" for label in ("instance", "listener", "plugin", "upstream")}
EXEMPLARS: tuple[Metric, ...] = (M.accept_seconds, M.delivery_seconds)  # by message ID

SPOOL_STATES = ("queued", "held", "quarantined")
QUEUE_STATES = ("queued", "held")
POOL_STATES = ("busy", "idle")

_EVERYWHERE: Mapping[str, tuple[str, ...]] = {
    "by": metrics.REFUSED_BY,
    "command": metrics.COMMANDS,
    "failure": metrics.FAILURES,
    "kind": metrics.REPORT_KINDS,
    "mode": metrics.MODES,
    "outcome": metrics.LOGIN_OUTCOMES,
    "process": metrics.PROCESSES,
    "reply": metrics.REPLY_CLASSES,
    "stage": metrics.STAGES,
    "standing": metrics.STANDINGS,
    "verdict": metrics.VERDICTS,
    "version": metrics.TLS_VERSIONS,
    "alertstate": ("pending", "firing"),
}
_HERE: Mapping[tuple[Metric, str], tuple[str, ...]] = {
    (M.connections, "result"): metrics.CONNECTION_RESULTS,
    (M.logins, "result"): metrics.LOGIN_RESULTS,
    (M.deliveries, "result"): metrics.ATTEMPT_RESULTS,
    (metrics.TOP_DESTINATIONS, "result"): metrics.ATTEMPT_RESULTS,
    (M.tls_sessions, "result"): metrics.TLS_RESULTS,
    (M.reloads, "result"): metrics.RELOAD_RESULTS,
    (M.refusals, "hook"): metrics.REFUSAL_HOOKS,
    (M.plugin_verdicts, "verdict"): metrics.STEP_RESULTS,
    (M.spool_messages, "state"): SPOOL_STATES,
    (M.spool_oldest, "state"): SPOOL_STATES,
    (M.queue_messages, "state"): QUEUE_STATES,
    (M.queue_oldest, "state"): QUEUE_STATES,
    (M.pool, "state"): POOL_STATES,
}

SECONDS, BYTES, RATIO, WORD = "s", "bytes", "percentunit", "none"  # Grafana's names
_UNITS: Mapping[Metric, str] = {
    M.hosts_down: "hosts",
    M.pool: "connections",
    M.open_files_limit: "files",
    M.commit_batch: "changes",
    M.worker_restarts: "restarts",
    M.attempt_failures: "transactions",
    M.deliveries: "recipients",
    metrics.TOP_WAITING: "messages",
    **dict.fromkeys(RECORDED, RATIO),
}


def of(metric: Metric) -> Series:
    """What is to be known of a metric, whether the program holds it or makes it at the scrape."""
    return metric if isinstance(metric, Series) else described(metric)


def words(metric: Metric, label: str) -> tuple[str, ...]:
    """The closed list of a label's values; empty when they are names that the user gave."""
    return _HERE.get((metric, label)) or _EVERYWHERE.get(label, ())


def unit(metric: Metric) -> str:
    """What a value of the series is measured in, as Grafana writes it.

    Of a counter or gauge without a base unit in its name it is what it counts: `messages`.
    """
    if metric in _UNITS:
        return _UNITS[metric]
    name = of(metric).name.removesuffix("_total")
    for ending, measure in (("_seconds", SECONDS), ("_bytes", BYTES)):
        if name.endswith(ending):
            return measure
    return name.rpartition("_")[2]
