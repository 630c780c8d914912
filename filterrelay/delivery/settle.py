"""What follows an attempt: reports, the spool, the trace, metrics, the log."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, repeat
from typing import Any

import structlog

from filterrelay.delivery.attempt import Result, Tried, result_of
from filterrelay.delivery.record import Judged, Record, Recorder
from filterrelay.delivery.report import Action, Reports, Told, wants
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.upstream import Sent
from filterrelay.errors import FilterRelayError
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Attempt
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
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

_EVENTS = {
    Action.FAILED: "bounce",
    Action.DELAYED: "delay-notice",
    Action.RELAYED: "relayed-report",
    Action.DELIVERED: "delivered-report",
}

_KINDS = {  # of reports, for the metrics
    Action.FAILED: "failure",
    Action.DELAYED: "delay",
    Action.RELAYED: "success",
    Action.DELIVERED: "success",
}

_log: Any = structlog.get_logger("filterrelay.delivery")


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
        self._written = {action: metrics.reports.labels(kind) for action, kind in _KINDS.items()}
        self._recorder = Recorder(metrics, on_attempt)

    async def settle(
        self,
        message: StoredMessage,
        hop: Hop,
        tried: Sequence[Tried],
        seconds: float,
        *,
        body: bytes | None,
        release: bool,
        reason: str = "",
    ) -> int:
        """Tells the sender what it must know, then records the results for good.

        body: the message's bytes, None when they aren't in memory. release:
        whether the lease ends with this. reason: why it went this way. Returns
        how many recipients are done with.
        """
        now = self._clock.now()
        recipients: list[StoredRecipient] = []
        events: list[Event] = []
        judged: list[Judged] = []
        for each in tried:
            seen = self._judge(message, hop, each, now)
            judged += seen
            recipients += [j.stored for j in seen]
            result = Record(message, hop, each.sent, seen, now, seconds, reason)
            if _is_news(each):
                events.append(result.event())
            self._recorder.note(result)
        if any(j.result != "delivered" or j.stored.recipient.notify for j in judged):
            recipients, more = await self._report(message, judged, now, body)
            events += more
        await self.record(
            Settlement(message.id, tuple(recipients), tuple(events), release, message.owner)
        )
        return sum(each.state is not RecipientState.QUEUED for each in recipients)

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
            judged.append(Judged(after, result, reply, host, _action(result, tried.sent)))
        return judged

    async def _report(
        self,
        message: StoredMessage,
        judged: Sequence[Judged],
        now: datetime,
        body: bytes | None,
    ) -> tuple[list[StoredRecipient], list[Event]]:
        """Sends the reports that are due; what can't be reported now stays queued or unwarned."""
        due = self._due(message, judged, now)
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
            if report:
                self._written[action].inc()
            events.append(_report_event(message, action, concerned, now, report))
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
        self, message: StoredMessage, judged: Sequence[Judged], now: datetime
    ) -> dict[Action, list[Judged]]:
        """Whom somebody must hear of, by what happened; of what has no sender, of failures only."""
        if message.envelope.sender is None:
            return {Action.FAILED: [each for each in judged if each.action is Action.FAILED]}
        late = self._schedule.warns(now, message.queued_at)
        due: dict[Action, list[Judged]] = {action: [] for action in Action}
        for each in judged:
            action = each.action
            if action is None or (action is Action.DELAYED and (each.stored.warned or not late)):
                continue
            if wants(each.stored.recipient, action):
                due[action].append(each)
        return due

    def _kept(self, concerned: Sequence[Judged], now: datetime) -> dict[int, StoredRecipient]:
        """Recipients whose bounce couldn't be made durable: they are tried once more later."""
        following = now + self._schedule.first
        return {
            j.stored.index: replace(j.stored, state=RecipientState.QUEUED, next_attempt=following)
            for j in concerned
        }


def _action(result: Result, sent: Sent) -> Action | None:
    """What is to be reported, None when the next hop does that."""
    match result:
        case "bounced":
            return Action.FAILED
        case "deferred":
            return Action.DELAYED
        case "delivered":
            if sent.dsn:
                return None
            return Action.DELIVERED if sent.final else Action.RELAYED


def _is_news(tried: Tried) -> bool:
    """Whether the trace is to tell of it: a long outage, told each time, would outgrow the mail."""
    return tried.sent.attempted or any(
        stored.last_reply != str(reply)
        for stored, reply in zip(tried.recipients, tried.sent.replies, strict=True)
    )


def _report_event(
    message: StoredMessage,
    action: Action,
    concerned: Sequence[Judged],
    now: datetime,
    report: str,
) -> Event:
    """The event of a report, or that there is none since nobody may hear of what has no sender."""
    addresses = [str(each.stored.recipient.address) for each in concerned]
    if not report:
        _log.warning("nobody_told", message_id=message.id, recipients=addresses)
        return Event(message.id, now, "nobody-told", {"recipients": addresses})
    kind = _EVENTS[action] if message.envelope.sender is not None else "double-bounce"
    return Event(message.id, now, kind, {"recipients": addresses, "report": report})
