"""Every metric series, in one place, with the closed lists of their labels.

A label's value is a name from the configuration file or a word from a list
that stands here; never an address, a domain or a client.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The series of one process.

    registry: where they are registered; tests pass a fresh one.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Registers every series."""
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
            "Messages whose end was received, by listener and verdict.",
            ["listener", "verdict"],
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
        self.worker_restarts = Counter(
            "filterrelay_worker_restarts_total",
            "Workers that ended unasked and were started again.",
            registry=where,
        )


def reply_class(code: int) -> str:
    """A reply code's label: `2xx`, `4xx`, `5xx`, or `none` when nothing was said."""
    text = f"{code // 100}xx"
    return text if text in REPLY_CLASSES else "none"
