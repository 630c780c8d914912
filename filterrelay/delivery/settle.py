"""What follows an attempt: reports, the spool, the trace, metrics, the log."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, repeat
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from filterrelay.delivery.attempt import Result, Tried, result_of
from filterrelay.delivery.report import Action, Reports, Told, wants
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.errors import FilterRelayError
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Attempt
from filterrelay.mail.reply import Reply
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics, reply_class
from filterrelay.spool.store import (
    Event,
    RecipientState,
    Settlement,
    Spool,
    SpoolBroken,
    SpoolFull,
    SpoolUnavailable,
    StoredMessage,
    StoredRecipient,
)

_PAUSES = (0.5, 2.0, 5.0)  # seconds between tries to write a result down; the last one stays

_STATES = {
    "delivered": RecipientState.DELIVERED,
    "deferred": RecipientState.QUEUED,
    "bounced": RecipientState.BOUNCED,
}

_ACTIONS = {
    "delivered": Action.RELAYED,
    "deferred": Action.DELAYED,
    "bounced": Action.FAILED,
}
_EVENTS = {
    Action.FAILED: "bounce",
    Action.DELAYED: "delay-notice",
    Action.RELAYED: "relayed-report",
}

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass(slots=True)
class Judged:
    """One recipient after an attempt. Not frozen: one is made for every recipient sent to."""

    stored: StoredRecipient
    result: Result
    reply: Reply
    host: str  # empty when the reply is in our own words


class Settler:
    """Writes an attempt's results down.

    body: gives a message's bytes for the reports. on_attempt: is told of each
    recipient's attempt.
    """

    def __init__(
        self,
        spool: Spool,
        schedule: RetrySchedule,
        reports: Reports,
        clock: Clock,
        metrics: Metrics,
        *,
        on_attempt: Callable[[Attempt], None] | None = None,
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._reports = reports
        self._clock = clock
        self._on_attempt = on_attempt
        self._metrics = metrics
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._timers: dict[str, tuple[Histogram, Histogram]] = {}

    async def settle(
        self,
        message: StoredMessage,
        hop: Hop,
        tried: Sequence[Tried],
        seconds: float,
        *,
        body: bytes | None,
        release: bool,
    ) -> None:
        """Tells the sender what it must know, then records the results for good.

        body: the message's bytes, None when they aren't in memory. release:
        whether the lease ends with this.
        """
        now = self._clock.now()
        recipients: list[StoredRecipient] = []
        events: list[Event] = []
        judged: list[Judged] = []
        for each in tried:
            seen = self._judge(message, hop, each, now)
            judged += seen
            recipients += [j.stored for j in seen]
            if _is_news(each):
                events.append(_event(message.id, hop, each, seen, now, seconds))
            self._note(message, hop, each, seen, now, seconds)
        if any(j.result != "delivered" or j.stored.recipient.notify for j in judged):
            recipients, more = await self._report(message, tried, judged, now, body)
            events += more
        await self.record(Settlement(message.id, tuple(recipients), tuple(events), release))

    async def record(self, settlement: Settlement) -> None:
        """Has the spool keep the settlement, however long it takes; lost, it would be sent again.

        The lease is renewed meanwhile, and who waits here sends nothing more whose result
        couldn't be kept either. Raises SpoolBroken: another process is to take over.
        """
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            try:
                await self._spool.settle(settlement)
            except SpoolBroken:
                raise
            except (SpoolUnavailable, SpoolFull) as trouble:
                _log.error(
                    "result_not_recorded", message_id=settlement.message_id, reason=str(trouble)
                )
                await asyncio.sleep(pause)
            else:
                return

    def _judge(self, message: StoredMessage, hop: Hop, tried: Tried, now: datetime) -> list[Judged]:
        host = tried.sent.host if tried.sent.answered else ""
        judged, waits_for = [], str(hop)
        for stored, reply in zip(tried.recipients, tried.sent.replies, strict=True):
            result = result_of(reply)
            attempts = stored.attempts + 1
            following = None
            if result == "deferred":
                following = self._schedule.next_attempt(now, attempts, message.queued_at)
                if following is None:
                    result = "bounced"
            after = StoredRecipient(
                stored.index,
                stored.recipient,
                _STATES[result],
                attempts,
                following,
                str(reply),
                waits_for,
                stored.warned,
                stored.redirect,
                tried.sent.unreached and following is not None,
            )
            judged.append(Judged(after, result, reply, host))
        return judged

    async def _report(
        self,
        message: StoredMessage,
        tried: Sequence[Tried],
        judged: Sequence[Judged],
        now: datetime,
        body: bytes | None,
    ) -> tuple[list[StoredRecipient], list[Event]]:
        """Sends the reports that are due; what can't be reported now stays queued or unwarned."""
        due = self._due(message, tried, judged, now)
        if body is None and any(due.values()):
            body = await self._body_of(message)
        states = {j.stored.index: j.stored for j in judged}
        events = []
        for action, concerned in due.items():
            if not concerned:
                continue
            told = [Told(j.stored.recipient, j.reply, j.host) for j in concerned]
            until = message.queued_at + self._schedule.give_up_after
            try:
                report = await self._reports.send(
                    action,
                    message,
                    told,
                    body or b"",
                    until=until if action is Action.DELAYED else None,
                )
            except Exception as failed:  # noqa: BLE001  # a seam: the result counts without it
                _log.error(
                    "report_not_sent",
                    message_id=message.id,
                    kind=action.value,
                    reason=str(failed),
                    exc_info=not isinstance(failed, FilterRelayError),
                )
                if action is Action.FAILED:
                    states.update(self._kept(concerned, now))
                continue
            events.append(_report_event(message.id, action, concerned, now, report))
            if action is Action.DELAYED:
                states.update({j.stored.index: replace(j.stored, warned=True) for j in concerned})
        return list(states.values()), events

    async def _body_of(self, message: StoredMessage) -> bytes:
        """The bytes as far as they can be had: a report is due without them, too."""
        try:
            return await self._spool.body(message.id)
        except FilterRelayError as unreadable:
            _log.error("body_unreadable", message_id=message.id, reason=str(unreadable))
            return b""

    def _due(
        self,
        message: StoredMessage,
        tried: Sequence[Tried],
        judged: Sequence[Judged],
        now: datetime,
    ) -> dict[Action, list[Judged]]:
        """Whom the sender must hear of, by what happened."""
        if message.envelope.sender is None:
            return {}
        late = self._schedule.warns(now, message.queued_at)
        handed_on = {s.index for t in tried if t.sent.dsn for s in t.recipients}
        due: dict[Action, list[Judged]] = {action: [] for action in Action}
        for each in judged:
            action = _ACTIONS[each.result]
            settled = {
                Action.FAILED: False,
                Action.DELAYED: each.stored.warned or not late,
                Action.RELAYED: each.stored.index in handed_on,
            }[action]
            if not settled and wants(each.stored.recipient, action):
                due[action].append(each)
        return due

    def _kept(self, concerned: Sequence[Judged], now: datetime) -> dict[int, StoredRecipient]:
        """Recipients whose bounce couldn't be made durable: they are tried once more later."""
        following = now + self._schedule.first
        return {
            j.stored.index: replace(j.stored, state=RecipientState.QUEUED, next_attempt=following)
            for j in concerned
        }

    def _note(
        self,
        message: StoredMessage,
        hop: Hop,
        tried: Tried,
        judged: Sequence[Judged],
        now: datetime,
        seconds: float,
    ) -> None:
        """Counts and logs one transaction, and tells the observers."""
        sent = tried.sent
        delay = (now - message.received).total_seconds()
        upstream = str(hop)
        attempt_seconds, delivery_seconds = self._timed(hop.upstream)
        attempt_seconds.observe(seconds)
        groups: dict[tuple[Result, str], list[Judged]] = {}
        for each in judged:
            groups.setdefault((each.result, each.stored.last_reply), []).append(each)
        for (result, words), members in groups.items():
            kind = reply_class(members[0].reply.code) if sent.answered else "none"
            self._counted(hop.upstream, result, kind).inc(len(members))
            if result == "delivered":
                delivery_seconds.observe(delay)
            _log.info(
                result,
                message_id=message.id,
                recipients=[str(each.stored.recipient.address) for each in members],
                upstream=upstream,
                host=sent.host,
                reply=words,
                delay=round(delay, 3),
            )
        if self._on_attempt is not None:
            for each in judged:
                self._on_attempt(
                    Attempt(
                        message.id,
                        now,
                        each.stored.recipient,
                        upstream,
                        sent.host,
                        each.result,
                        each.reply,
                        seconds,
                        each.stored.attempts,
                    )
                )

    def _counted(self, *labels: str) -> Counter:
        upstream, result, kind = labels
        counter = self._counters.get((upstream, result, kind))
        if counter is None:
            counter = self._metrics.deliveries.labels(upstream, result, kind)
            self._counters[upstream, result, kind] = counter
        return counter

    def _timed(self, upstream: str) -> tuple[Histogram, Histogram]:
        timers = self._timers.get(upstream)
        if timers is None:
            timers = (
                self._metrics.attempt_seconds.labels(upstream),
                self._metrics.delivery_seconds.labels(upstream),
            )
            self._timers[upstream] = timers
        return timers


def _is_news(tried: Tried) -> bool:
    """Whether the trace is to tell of it: a long outage, told each time, would outgrow the mail."""
    return tried.sent.attempted or any(
        stored.last_reply != str(reply)
        for stored, reply in zip(tried.recipients, tried.sent.replies, strict=True)
    )


def _event(
    message_id: str,
    hop: Hop,
    tried: Tried,
    judged: Sequence[Judged],
    now: datetime,
    seconds: float,
) -> Event:
    data = {
        "upstream": str(hop),
        "host": tried.sent.host,
        "tls": tried.sent.tls,
        "recipients": [
            {
                "address": str(each.stored.recipient.address),
                "result": each.result,
                "reply": each.stored.last_reply,
            }
            for each in judged
        ],
        "seconds": round(seconds, 4),
    }
    return Event(message_id, now, "attempt", data)


def _report_event(
    message_id: str, action: Action, concerned: Sequence[Judged], now: datetime, report: str
) -> Event:
    addresses = [str(each.stored.recipient.address) for each in concerned]
    return Event(message_id, now, _EVENTS[action], {"recipients": addresses, "report": report})
