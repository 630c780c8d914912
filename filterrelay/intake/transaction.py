"""The one way in: a transaction goes through policy and filters, is signed, and made safe.

Every door calls the same methods, so a message gets the same verdict through
each. A reply of None means: go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, assert_never

import structlog

from filterrelay.chain.chain import Chain, Judgement, NotAnswered
from filterrelay.errors import FilterRelayError
from filterrelay.intake.early import EarlyVerdicts
from filterrelay.intake.record import received_event, steps_facts
from filterrelay.intake.relaying import RelayRules
from filterrelay.intake.submission import completed
from filterrelay.intake.trace import authentication_results, received, without_forged_results
from filterrelay.mail.edits import Edit, edit_message
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import new_id
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Outcome
from filterrelay.mail.reply import NO_SPACE, TRY_LATER, Reply
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.mail.verdict import Defer, Discard, Pass, Quarantine, Reject, Verdict, name_of
from filterrelay.observe.budget import Reservation
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool.store import (
    Deposit,
    Event,
    Lease,
    Spool,
    SpoolFull,
    SpoolUnavailable,
    State,
    StoredMessage,
    StoredRecipient,
)

LOOP = Reply(554, "5.4.6", "The message has passed too many relays; it seems to go in circles")
FIRST_LEASE = timedelta(seconds=60)  # how soon another process takes over after a crash

log = structlog.get_logger(__name__)


@dataclass
class AuthUnavailable(FilterRelayError):
    """Nobody can say now whether the password is right."""

    plugin: str
    reason: str


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What the intake keeps to. listeners: each one's rules by its name."""

    hostname: str
    listeners: dict[str, RelayRules]
    received_headers: int


class Intake:
    """Where all doors meet.

    owner: the name that fresh mail is leased to. deliver: takes a durable
    message, and its part of the memory budget, to delivery.
    """

    def __init__(
        self,
        rules: IntakeRules,
        chain: Chain,
        spool: Spool,
        owner: str,
        deliver: Callable[[Deposit, Reservation], None],
        clock: Clock,
        metrics: Metrics,
        background: Callable[[Any], None],
    ) -> None:
        """Takes the parts. background: owns a coroutine that nobody waits for."""
        self._rules = rules
        self._chain = chain
        self._spool = spool
        self._owner = owner
        self._deliver = deliver
        self._clock = clock
        self._metrics = metrics
        self._background = background
        self._early = EarlyVerdicts()

    async def on_connect(self, session: Session) -> Reply | None:
        """Judges a client before the greeting."""
        return await self._ask_early("on_connect", session)

    async def on_helo(self, session: Session) -> Reply | None:
        """Judges the name that the client gives itself."""
        return await self._ask_early("on_helo", session)

    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """Who that is, or None when the password is wrong. Raises AuthUnavailable."""
        try:
            return await self._chain.authenticate(session, credentials)
        except NotAnswered as error:
            raise AuthUnavailable(error.plugin, error.reason) from error

    async def on_sender(self, session: Session, envelope: Envelope) -> Reply | None:
        """Judges the sender by the relay's own rules, then by the plugins."""
        refused = self._rules.listeners[session.listener].sender(session, envelope)
        return refused or await self._ask_early("on_sender", session, envelope=envelope)

    async def on_recipient(
        self, session: Session, envelope: Envelope, recipient: Recipient
    ) -> Reply | None:
        """Judges one recipient by the relay's own rules, then by the plugins."""
        refused = self._rules.listeners[session.listener].recipient(session, recipient)
        return refused or await self._ask_early(
            "on_recipient", session, envelope=envelope, recipient=recipient
        )

    def on_close(self, session: Session) -> None:
        """The session has ended."""
        self._early.forget(session.id)

    async def _ask_early(self, hook: str, session: Session, **arguments: Any) -> Reply | None:
        if not self._chain.has_early(hook, session.listener):
            return None
        verdict, by, records = await self._chain.early(hook, session, **arguments)
        match verdict:
            case Reject(reply) | Defer(reply):
                self._early.note(session.id, hook, records, None)
                log.info(
                    "refused",
                    hook=hook,
                    by=by,
                    reply=str(reply),
                    session=session.id,
                    client=session.client_ip,
                )
                return reply
            case Quarantine() | Discard():
                self._early.note(session.id, hook, records, (verdict, by))
                return None
            case Pass():
                self._early.note(session.id, hook, records, None)
                return None
            case _:
                assert_never(verdict)

    async def receive(
        self, session: Session, envelope: Envelope, raw: bytes, reservation: Reservation
    ) -> Reply:
        """Takes a message whose bytes are complete: the reply says what became of it.

        raw: CRLF line ends throughout. A 250 is given when the message is durable.
        """
        message = Message(new_id(self._clock.now()), raw)
        handed_over = False
        try:
            judged = await self._judge(session, envelope, message)
            outcome, deposit = await self._settle(session, message, judged)
            if deposit is not None:
                await self._spool.commit(deposit)
                if deposit.message.state is State.QUEUED:
                    self._deliver(deposit, reservation)
                    handed_over = True
        except SpoolFull as error:
            log.error("spool_full", message_id=message.id, free=error.free)
            outcome, deposit = self._refused(session, envelope, message, NO_SPACE), None
        except (SpoolUnavailable, NotAnswered) as error:
            log.error("not_accepted", message_id=message.id, reason=str(error))
            outcome, deposit = self._refused(session, envelope, message, TRY_LATER), None
        finally:
            if not handed_over:
                reservation.release()
        self._report(outcome, durable=deposit is not None)
        return outcome.reply

    async def _judge(self, session: Session, envelope: Envelope, message: Message) -> Judgement:
        """What the filters, and the plugins that spoke earlier, make of the message."""
        earlier = self._early.of(session.id)
        records = earlier.records() if earlier else ()
        decided = earlier.decided() if earlier else None
        if len(message.all("received")) > self._rules.received_headers:
            verdict: Verdict = Reject(LOOP)
            return Judgement(verdict, "", envelope, message, {}, (), records)
        if decided is not None:
            return Judgement(*decided, envelope, message, {}, (), records)
        judged = await self._chain.judge(session, envelope, message)
        return replace(judged, steps=(*records, *judged.steps)) if records else judged

    async def _settle(
        self, session: Session, message: Message, judged: Judgement
    ) -> tuple[Outcome, Deposit | None]:
        """The reply, and what goes into the spool if anything does."""
        verdict, steps = judged.verdict, judged.steps
        queued = Reply(250, "2.0.0", f"OK, queued as {message.id}")
        if isinstance(verdict, Pass) and not judged.envelope.recipients:
            verdict = Discard("no recipient is left")
        match verdict:
            case Reject(reply) | Defer(reply):
                told = replace(reply, text=f"{reply.text} [{message.id}]")
                return self._outcome(session, message, judged, verdict, told), None
            case Discard():
                return self._outcome(session, message, judged, verdict, queued), None
            case Quarantine(reason):
                outcome = self._outcome(session, message, judged, verdict, queued)
                return outcome, self._deposit(outcome, message, reason)
            case Pass():
                signed, signatures = await self.finish(session, judged)
                judged = replace(judged, steps=(*steps, *signatures))
                outcome = self._outcome(session, signed, judged, verdict, queued, len(message))
                return outcome, self._deposit(outcome, signed)
            case _:
                assert_never(verdict)

    async def finish(self, session: Session, judged: Judgement) -> tuple[Message, tuple[Any, ...]]:
        """The message as it leaves: completed, with its trace fields, signed last of all.

        Returns it with the signers' records. Raises NotAnswered.
        """
        now, hostname = self._clock.now(), self._rules.hostname
        message, rules = judged.message, self._rules.listeners.get(session.listener)
        edits: list[Edit] = list(without_forged_results(hostname, message))
        if session.may_relay:
            edits.extend(completed(message, hostname, now))
        edits.extend(authentication_results(hostname, judged.findings.values()))
        client = not session.may_relay or (rules is not None and rules.listener.client_in_received)
        edits.append(received(session, judged.envelope, hostname, message.id, now, client=client))
        message, _, records = await self._chain.sign(
            session, judged.envelope, edit_message(message, edits)
        )
        return message, records

    async def release(self, stored: StoredMessage, raw: bytes) -> Verdict:
        """Sends on what was set aside, signed, unless another filter has something against it.

        The plugin that caught it, and those overruled before, are not asked again. The
        verdict says whether it is on its way (Pass) or stays where it is.
        """
        session, now = Session.from_facts(stored.session), self._clock.now()
        overruled = (*stored.passed, stored.by)
        message = Message(stored.id, raw)
        judged = await self._chain.judge(session, stored.envelope, message, overruled)
        if isinstance(judged.verdict, Pass):
            signed, signatures = await self.finish(session, judged)
            judged = replace(judged, steps=(*judged.steps, *signatures))
            await self._spool.replace_body(stored.id, signed.raw)
            await self._spool.release([stored.id], now, passed=stored.by)
        data = {
            "verdict": name_of(judged.verdict),
            "by": judged.by,
            "overruled": list(overruled),
            "steps": steps_facts(judged.steps),
        }
        await self._spool.record([Event(stored.id, now, "judged-again", data)])
        return judged.verdict

    async def submit(self, envelope: Envelope, raw: bytes) -> str:
        """Signs and spools a message of the relay's own, such as a bounce; returns its ID."""
        session = Session(new_id(self._clock.now()), "", "report", "", trusted=True)
        message, _, steps = await self._chain.sign(
            session, envelope, Message(new_id(self._clock.now()), raw)
        )
        queued = Reply(250, "2.0.0", f"OK, queued as {message.id}")
        judged = Judgement(Pass(), "", envelope, message, {}, (), steps)
        outcome = self._outcome(session, message, judged, Pass(), queued)
        await self._spool.commit(self._deposit(outcome, message, leased=False))
        log.info("report_queued", message_id=message.id, recipients=len(envelope.recipients))
        return message.id

    def _outcome(
        self,
        session: Session,
        message: Message,
        judged: Judgement,
        verdict: Verdict,
        reply: Reply,
        size: int | None = None,
    ) -> Outcome:
        return Outcome(
            id=message.id,
            at=self._clock.now(),
            session=session,
            envelope=judged.envelope,
            verdict=verdict,
            by=judged.by,
            reply=reply,
            size=len(message) if size is None else size,
            steps=judged.steps,
        )

    def _refused(
        self, session: Session, envelope: Envelope, message: Message, reply: Reply
    ) -> Outcome:
        judged = Judgement(Defer(reply), "", envelope, message, {}, (), ())
        return self._outcome(session, message, judged, judged.verdict, reply)

    def _deposit(
        self, outcome: Outcome, message: Message, reason: str = "", *, leased: bool = True
    ) -> Deposit:
        """The message for the spool: queued under our lease, or set aside for a reason."""
        quarantined = isinstance(outcome.verdict, Quarantine)
        leased = leased and not quarantined
        until = outcome.at + FIRST_LEASE if leased else outcome.at
        stored = StoredMessage(
            id=message.id,
            received=outcome.at,
            envelope=outcome.envelope,
            session=outcome.session.facts(),
            size=len(message),
            recipients=tuple(
                [
                    StoredRecipient(index, recipient, next_attempt=until)
                    for index, recipient in enumerate(outcome.envelope.recipients)
                ]
            ),
            state=State.QUARANTINED if quarantined else State.QUEUED,
            reason=reason,
            by=outcome.by,
            lease=Lease(self._owner, until) if leased else None,
        )
        return Deposit(stored, message.raw, (received_event(outcome),))

    def _report(self, outcome: Outcome, *, durable: bool) -> None:
        """Counts, logs and tells; what went into no spool gets its trace here."""
        session, verdict = outcome.session, name_of(outcome.verdict)
        self._metrics.messages.labels(session.listener, verdict).inc()
        self._metrics.message_bytes.labels(session.listener, verdict).inc(outcome.size)
        log.info(
            "message",
            message_id=outcome.id,
            verdict=verdict,
            by=outcome.by,
            sender=outcome.envelope.return_path,
            recipients=len(outcome.envelope.recipients),
            size=outcome.size,
            session=session.id,
            client=session.client_ip,
            login=session.login,
            listener=session.listener,
            reply=str(outcome.reply),
        )
        if not durable:
            self._background(self._record([received_event(outcome)]))
        if self._chain.observed("on_outcome"):
            self._background(self._chain.tell_outcome(outcome))

    async def _record(self, events: Sequence[Event]) -> None:
        try:
            await self._spool.record(events)
        except (SpoolFull, SpoolUnavailable) as error:
            log.warning("trace_not_kept", reason=str(error))

    def refuse_content(
        self, session: Session, envelope: Envelope, reply: Reply, size: int
    ) -> Reply:
        """Notes a message that the door can't take as it came; returns what the client is told.

        size: octets that came; none of them is kept.
        """
        earlier = self._early.of(session.id)
        verdict = Defer(reply) if reply.is_temporary else Reject(reply)
        message = Message(new_id(self._clock.now()), b"")
        records = earlier.records() if earlier else ()
        judged = Judgement(verdict, "", envelope, message, {}, (), records)
        told = replace(reply, text=f"{reply.text} [{message.id}]")
        outcome = self._outcome(session, message, judged, verdict, told, size)
        self._report(outcome, durable=False)
        return told
