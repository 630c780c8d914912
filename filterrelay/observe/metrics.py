"""Every metric series, in one place, with the closed lists of their labels.

A label's value is a name from the configuration file or a word from a list
that stands here; never an address, a domain or a client. The top lists alone
name logins and destinations: those few that count most, and the rest as `other`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from filterrelay.observe.exemplars import Exemplars
from filterrelay.observe.notes import Notes
from filterrelay.observe.top import ROOM, Top

VERDICTS = ("pass", "reject", "defer", "quarantine", "discard")
FAILURES = ("error", "timeout", "skipped")
STEP_RESULTS = (*VERDICTS, *FAILURES)
MODES = ("enforce", "shadow")
LOGIN_RESULTS = ("ok", "bad", "locked", "frozen", "unavailable")
COMMANDS = (
    *("ehlo", "helo", "mail", "rcpt", "data", "bdat", "rset", "noop", "quit", "vrfy", "expn"),
    *("help", "auth", "starttls", "xclient", "xforward", "other"),
)
REFUSAL_HOOKS = ("on_connect", "on_helo", "on_sender", "on_recipient")
REFUSED_BY = ("policy", "plugin", "next-hop")
CONNECTION_RESULTS = ("accepted", "refused", "too_many", "broken")
ATTEMPT_RESULTS = ("delivered", "deferred", "bounced")
REPLY_CLASSES = ("2xx", "4xx", "5xx", "none")
STAGES = (
    *("connect", "greeting", "tls", "login", "offer"),
    *("mail", "rcpt", "data", "body", "after-dot"),
)
TLS_VERSIONS = ("TLSv1.2", "TLSv1.3", "none")
TLS_RESULTS = ("dane", "verified", "unverified", "plain", "failed")
BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}
REPORT_KINDS = ("delay", "failure", "success", "tls")
PROCESSES = ("worker", "control")
RELOAD_RESULTS = ("done", "refused")
STANDINGS = ("ready", "ailing", "silent", "absent")
LOGIN_OUTCOMES = ("accepted", "refused")
OTHER = "other"  # all names that a top list doesn't tell
UNKNOWN = math.nan  # of a gauge that isn't told at all for now

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)
_TRIES = (1, 2, 3, 5, 8, 13, 21, 34)


@dataclass(frozen=True, slots=True)
class Series:
    """What is to be known of a metric.

    name: as Prometheus sees it, with `_total`. kind: counter, gauge or histogram.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    documentation: str


READY = Series(
    "filterrelay_ready", "gauge", (), "Whether mail can be taken, as /readyz says: 1 or 0."
)
WORKERS = Series("filterrelay_workers", "gauge", ("standing",), "Workers by how they fare.")
TIME = Series(
    "filterrelay_time_seconds", "gauge", (), "The relay's clock at the scrape, in Unix time."
)
TOP_LOGINS = Series(
    "filterrelay_top_login_messages",
    "gauge",
    ("login", "outcome"),
    "Messages in the last hour of the logins that sent most, and of all others.",
)
TOP_DESTINATIONS = Series(
    "filterrelay_top_destination_recipients",
    "gauge",
    ("destination", "result"),
    "Recipients attempted in the last hour at the domains with most, and at all others.",
)
TOP_WAITING = Series(
    "filterrelay_top_destination_waiting",
    "gauge",
    ("destination",),
    "Messages that wait for direct delivery, by the destination's best mail server.",
)
SCRAPED = (READY, WORKERS, TIME, TOP_LOGINS, TOP_DESTINATIONS, TOP_WAITING)


class Metrics:
    """The series of one process.

    registry: where they are registered; tests pass a fresh one. notes: what is kept beside.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, notes: Notes | None = None
    ) -> None:
        """Registers every series."""
        self.notes = notes or no_notes()
        where = registry if registry is not None else CollectorRegistry()
        self.registry = where
        self.connections = Counter(
            "filterrelay_connections_total",
            "Connections by listener and result.",
            ["listener", "result"],
            registry=where,
        )
        self.sessions = Gauge(
            "filterrelay_sessions",
            "Connections open now.",
            ["listener"],
            registry=where,
            multiprocess_mode="livesum",
        )
        self.commands = Counter(
            "filterrelay_commands_total",
            "Commands by listener and verb.",
            ["listener", "command"],
            registry=where,
        )
        self.logins = Counter(
            "filterrelay_logins_total",
            "Login attempts by listener and result.",
            ["listener", "result"],
            registry=where,
        )
        self.refusals = Counter(
            "filterrelay_refusals_total",
            "Clients, senders and recipients refused before a message, by hook and by whom.",
            ["listener", "hook", "by"],
            registry=where,
        )
        self.messages = Counter(
            "filterrelay_messages_total",
            "Messages whose end was received, by listener and the verdict that the client heard.",
            ["listener", "verdict"],
            registry=where,
        )
        self.recipients = Counter(
            "filterrelay_recipients_total",
            "Recipients of mail to be delivered, and of what a proxy's next hop refused for good.",
            ["listener"],
            registry=where,
        )
        self.message_bytes = Counter(
            "filterrelay_message_bytes_total",
            "Octets of those messages.",
            ["listener", "verdict"],
            registry=where,
        )
        self.accept_seconds = Histogram(
            "filterrelay_accept_seconds",
            "From the final dot to the reply.",
            ["listener"],
            registry=where,
            buckets=_QUICK,
        )
        self.memory = Gauge(
            "filterrelay_in_flight_bytes",
            "Message octets held in memory now.",
            registry=where,
            multiprocess_mode="livesum",
        )
        self.memory_limit = Gauge(
            "filterrelay_in_flight_limit_bytes",
            "Message octets that may be held in memory.",
            registry=where,
            multiprocess_mode="livesum",
        )
        self.plugin_seconds = Histogram(
            "filterrelay_plugin_seconds",
            "A plugin's time for one call of a hook.",
            ["plugin", "hook"],
            registry=where,
            buckets=_QUICK,
        )
        self.plugin_verdicts = Counter(
            "filterrelay_plugin_verdicts_total",
            "Plugins' verdicts by mode.",
            ["plugin", "mode", "verdict"],
            registry=where,
        )
        self.plugin_failures = Counter(
            "filterrelay_plugin_failures_total",
            "Verdicts that a plugin failed to give: how, and which one on_error made of it.",
            ["plugin", "mode", "failure", "verdict"],
            registry=where,
        )
        self.breaker = Gauge(
            "filterrelay_plugin_breaker_state",
            "A plugin's circuit breakers, the worst of its hooks: 0 closed, 1 half-open, 2 open.",
            ["plugin"],
            registry=where,
            multiprocess_mode="livemax",
        )
        self.plugin_up = Gauge(
            "filterrelay_plugin_up",
            "Whether what a plugin depends on answers, asked every minute: 1 or 0.",
            ["plugin"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.spool_messages = Gauge(
            "filterrelay_spool_messages",
            "Messages in the spool by state.",
            ["state"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.spool_oldest = Gauge(
            "filterrelay_spool_oldest_seconds",
            "Age of the oldest message in the spool by state.",
            ["state"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.queue_messages = Gauge(
            "filterrelay_queue_messages",
            "Messages that wait for an upstream, by state; `none` for those never tried.",
            ["upstream", "state"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.queue_oldest = Gauge(
            "filterrelay_queue_oldest_seconds",
            "Age of the oldest message that waits for an upstream, by state.",
            ["upstream", "state"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.spool_free = Gauge(
            "filterrelay_spool_free_bytes",
            "Space left on the disk of the spool.",
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.spool_reserve = Gauge(
            "filterrelay_spool_reserve_bytes",
            "Space left below which no mail is taken: spool.free_space.",
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.spool_disk = Gauge(
            "filterrelay_spool_disk_bytes",
            "Size of the disk of the spool.",
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.commit_seconds = Histogram(
            "filterrelay_spool_commit_seconds",
            "One commit to disk, with everything that waited for it.",
            registry=where,
            buckets=_QUICK,
        )
        self.commit_batch = Histogram(
            "filterrelay_spool_commit_changes",
            "Changes that shared one commit.",
            registry=where,
            buckets=_BATCH,
        )
        self.deliveries = Counter(
            "filterrelay_deliveries_total",
            "Recipients attempted, by upstream, result and class of the reply.",
            ["upstream", "result", "reply"],
            registry=where,
        )
        self.attempt_seconds = Histogram(
            "filterrelay_attempt_seconds",
            "One delivery attempt, from taking a connection to the last reply.",
            ["upstream"],
            registry=where,
            buckets=_SLOW,
        )
        self.attempt_failures = Counter(
            "filterrelay_attempt_failures_total",
            "Transactions of which not everything was accepted, by how far they came.",
            ["upstream", "stage"],
            registry=where,
        )
        self.connection_seconds = Histogram(
            "filterrelay_connection_seconds",
            "An attempt's wait for its connection: for a kept one's turn, or TCP, TLS and login.",
            ["upstream"],
            registry=where,
            buckets=_SLOW,
        )
        self.delivery_seconds = Histogram(
            "filterrelay_delivery_seconds",
            "From acceptance to delivery.",
            ["upstream"],
            registry=where,
            buckets=_SLOW,
        )
        self.delivery_attempts = Histogram(
            "filterrelay_delivery_attempts",
            "Attempts that a recipient took until it was delivered.",
            ["upstream"],
            registry=where,
            buckets=_TRIES,
        )
        self.reports = Counter(
            "filterrelay_reports_total",
            "Reports that the relay wrote: delay notices, bounces, receipts, TLS reports.",
            ["kind"],
            registry=where,
        )
        self.hosts_down = Gauge(
            "filterrelay_upstream_hosts_down",
            "Hosts of the next hop that failed when they were last tried.",
            ["upstream"],
            registry=where,
            multiprocess_mode="livemax",
        )
        self.pool = Gauge(
            "filterrelay_upstream_connections",
            "Connections to the next hop, by what they do now.",
            ["upstream", "state"],
            registry=where,
            multiprocess_mode="livesum",
        )
        self.tls_sessions = Counter(
            "filterrelay_tls_sessions_total",
            "Connections to the next hop, by TLS version and by what proved its name.",
            ["upstream", "version", "result"],
            registry=where,
        )
        self.certificate_expiry = Gauge(
            "filterrelay_certificate_expiry_timestamp_seconds",
            "When tls.certificate ends, in Unix time.",
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.dkim_key_published = Gauge(
            "filterrelay_dkim_key_published",
            "Whether DNS has the key that a domain's mail is signed with: 1 or 0.",
            ["domain", "selector"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.cpu_seconds = Counter(
            "filterrelay_cpu_seconds_total",
            "CPU time of the processes, by what they are.",
            ["process"],
            registry=where,
        )
        self.resident = Gauge(
            "filterrelay_resident_bytes",
            "Memory of the processes; pages that several share count in each.",
            ["process"],
            registry=where,
            multiprocess_mode="livesum",
        )
        self.open_files = Gauge(
            "filterrelay_open_files",
            "Open files and sockets of the process that has most.",
            ["process"],
            registry=where,
            multiprocess_mode="livemax",
        )
        self.open_files_limit = Gauge(
            "filterrelay_open_files_limit",
            "Open files and sockets that a process may have.",
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.loop_lag = Histogram(
            "filterrelay_loop_lag_seconds",
            "How late a worker's event loop came to what was due, looked at every second.",
            registry=where,
            buckets=_QUICK,
        )
        self.reloads = Counter(
            "filterrelay_reloads_total",
            "Reloads of the configuration.",
            ["result"],
            registry=where,
        )
        self.configured = Gauge(
            "filterrelay_configured_timestamp_seconds",
            "When the configuration that is served was loaded, in Unix time.",
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.build_info = Gauge(
            "filterrelay_build_info",
            "Always 1; the label is the program's version.",
            ["version"],
            registry=where,
            multiprocess_mode="livemostrecent",
        )
        self.worker_restarts = Counter(
            "filterrelay_worker_restarts_total",
            "Workers that ended unasked and were started again.",
            registry=where,
        )

    def series(self) -> Iterator[Series]:
        """Every series there is, those that are made at the scrape included."""
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                yield described(metric)
        yield from SCRAPED


def no_notes(room: int = ROOM) -> Notes:
    """Notes without anything in them. room: how many names a top list keeps; 0 for none."""
    return Notes(
        logins=Top(LOGIN_OUTCOMES, room),
        destinations=Top(ATTEMPT_RESULTS, room),
        accepted=Exemplars(_QUICK),
        delivered=Exemplars(_SLOW),
    )


def described(metric: MetricWrapperBase) -> Series:
    """What is to be known of a metric."""
    (family,) = metric.describe()
    name = family.name + ("_total" if family.type == "counter" else "")
    return Series(name, family.type, tuple(metric._labelnames), family.documentation)  # noqa: SLF001  # nothing public tells the labels


def reply_class(code: int) -> str:
    """A reply code's label: `2xx`, `4xx`, `5xx`, or `none` when nothing was said."""
    text = f"{code // 100}xx"
    return text if text in REPLY_CLASSES else "none"
