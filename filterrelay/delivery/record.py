"""What is told of an attempt: to the trace, the log, the metrics and the plugins that look on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog
from prometheus_client import Counter, Histogram

from filterrelay.delivery.attempt import Result
from filterrelay.delivery.report import Action
from filterrelay.delivery.upstream import Sent
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Attempt
from filterrelay.mail.reply import Reply
from filterrelay.observe.metrics import Metrics, reply_class
from filterrelay.spool.store import Event, StoredMessage, StoredRecipient

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass(slots=True)
class Judged:
    """One recipient after an attempt. Not frozen: one is made for every recipient sent to.

    host: empty when the reply is in our own words. action: what is to be reported of it;
    None when the next hop does that.
    """

    stored: StoredRecipient
    result: Result
    reply: Reply
    host: str
    action: Action | None


@dataclass(slots=True)
class Record:
    """One transaction with its results. seconds: of the whole attempt. reason: of the route."""

    message: StoredMessage
    hop: Hop
    sent: Sent
    judged: Sequence[Judged]
    at: datetime
    seconds: float
    reason: str

    def event(self) -> Event:
        """For the trace; what there is nothing to say of is left out."""
        sent, contact = self.sent, self.sent.contact
        data = {
            "upstream": str(self.hop),
            "reason": self.reason,
            "host": sent.host,
            "address": contact.address,
            "tls": sent.tls,
            "cipher": contact.cipher,
            "verified": contact.verified,
            "kept": contact.kept,
            "stage": self.stage,
            "recipients": [_told(each) for each in self.judged],
            "seconds": round(self.seconds, 4),
            "waited": round(contact.waited, 4),
            "took": round(contact.took, 4),
        }
        kept = {name: value for name, value in data.items() if value or name in _ALWAYS}
        return Event(self.message.id, self.at, "attempt", kept)

    @property
    def stage(self) -> str:
        """Where something failed, or empty."""
        failed = self.sent.contact.failed
        return failed.value if failed is not None else ""

    def attempts(self) -> Iterable[Attempt]:
        """For the observers."""
        sent, contact = self.sent, self.sent.contact
        for each in self.judged:
            yield Attempt(
                self.message.id,
                self.at,
                each.stored.recipient,
                str(self.hop),
                sent.host,
                each.result,
                each.reply,
                self.seconds,
                each.stored.attempts,
                contact.address,
                sent.tls,
                contact.cipher,
                contact.verified,
                self.stage,
                each.stored.next_attempt,
                self.reason,
            )


_ALWAYS = frozenset({"upstream", "host", "tls", "recipients", "seconds"})


def _told(each: Judged) -> dict[str, str]:
    told = {
        "address": str(each.stored.recipient.address),
        "result": each.result,
        "reply": each.stored.last_reply,
    }
    if each.stored.next_attempt is not None:
        told["next"] = f"{each.stored.next_attempt.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return told


class Timers(NamedTuple):
    """One upstream's histograms. attempt: of the time one takes; attempts: of how many it takes."""

    attempt: Histogram
    connection: Histogram
    delivery: Histogram
    attempts: Histogram


class Recorder:
    """Counts and logs what was done, and tells the observers. on_attempt: is told of each."""

    def __init__(self, metrics: Metrics, on_attempt: Callable[[Attempt], None] | None) -> None:
        self._metrics = metrics
        self._on_attempt = on_attempt
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._timers: dict[str, Timers] = {}

    def note(self, record: Record) -> None:
        """One transaction."""
        message, sent, contact = record.message, record.sent, record.sent.contact
        notes = self._metrics.notes
        upstream = record.hop.upstream
        delay = (record.at - message.received).total_seconds()
        timers = self._timed(upstream)
        timers.attempt.observe(record.seconds)
        if contact.waited:
            timers.connection.observe(contact.waited)
        if contact.failed is not None:
            self._metrics.attempt_failures.labels(upstream, contact.failed.value).inc()
        groups: dict[tuple[Result, str], list[Judged]] = {}
        for each in record.judged:
            groups.setdefault((each.result, each.stored.last_reply), []).append(each)
        for (result, words), members in groups.items():
            kind = reply_class(members[0].reply.code) if sent.answered else "none"
            self._counted(upstream, result, kind).inc(len(members))
            if result == "delivered":
                for each in members:
                    timers.delivery.observe(delay)
                    timers.attempts.observe(each.stored.attempts)
                notes.delivered.note(upstream, message.id, delay, record.at)
            for each in members:
                notes.recipient(each.stored.recipient.address.domain, result, record.at)
            _log.info(
                result,
                message_id=message.id,
                sender=message.envelope.return_path,
                recipients=[str(each.stored.recipient.address) for each in members],
                upstream=str(record.hop),
                host=sent.host,
                address=contact.address,
                tls=sent.tls,
                reply=words,
                delay=round(delay, 3),
                delays=_delays(record, delay),
                door=message.session.get("door", ""),
            )
        if self._on_attempt is not None:
            for attempt in record.attempts():
                self._on_attempt(attempt)

    def _counted(self, *labels: str) -> Counter:
        upstream, result, kind = labels
        counter = self._counters.get((upstream, result, kind))
        if counter is None:
            counter = self._metrics.deliveries.labels(upstream, result, kind)
            self._counters[upstream, result, kind] = counter
        return counter

    def _timed(self, upstream: str) -> Timers:
        timers = self._timers.get(upstream)
        if timers is None:
            metrics = self._metrics
            timers = Timers(
                metrics.attempt_seconds.labels(upstream),
                metrics.connection_seconds.labels(upstream),
                metrics.delivery_seconds.labels(upstream),
                metrics.delivery_attempts.labels(upstream),
            )
            self._timers[upstream] = timers
        return timers


def _delays(record: Record, delay: float) -> dict[str, float]:
    """Where the time from acceptance went, in seconds."""
    contact = record.sent.contact
    queued = max(0.0, delay - contact.waited - contact.took)
    parts = {"queue": queued, "connection": contact.waited, "transaction": contact.took}
    return {name: round(seconds, 3) for name, seconds in parts.items()}
