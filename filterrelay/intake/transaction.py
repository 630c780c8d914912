"""The one way in: a message goes through policy and filters, is signed, and made safe.

Every door calls the same methods, so a message gets the same verdict through each.
"""

from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, assert_never

import structlog
from prometheus_client import Counter
from structlog.contextvars import bind_contextvars, bound_contextvars, reset_contextvars

from filterrelay.chain.chain import Chain, NotAnswered
from filterrelay.chain.run import Judgement
from filterrelay.intake.early import NOTHING_SAID
from filterrelay.intake.finish import Finish, LacksEightBit
from filterrelay.intake.record import (
    LOGGED_ID,
    deposit_of,
    logged,
    received_event,
    steps_facts,
)
from filterrelay.intake.relaying import IntakeRules
from filterrelay.intake.stages import Stages
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.identifier import new_id
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Outcome
from filterrelay.mail.reply import NO_SPACE, TRY_LATER, Reply
from filterrelay.mail.session import Session
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
)

LOOP = Reply(554, "5.4.6", "The message has passed too many relays; it seems to go in circles")
OURSELVES = "none"  # the label of what came through no listener
FIRST_LEASE = timedelta(seconds=60)  # how soon another process takes over after a crash

log = structlog.get_logger(__name__)


class Onward(Protocol):
    """How a door passes a message on itself, so that the spool need not keep it.

    holds: what shall be set aside can be held where it goes, and is passed on, too.
    """

    holds: bool

    async def pass_on(self, judged: Judgement) -> Reply:
        """Passes it on as it shall leave; what is answered is what its client is told."""
        ...


class Intake(Stages):
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
        lacks_eight_bit: LacksEightBit | None = None,
    ) -> None:
        """Takes the parts. background: owns a coroutine that nobody waits for."""
        super().__init__(rules, chain, metrics)
        self._spool = spool
        self._owner = owner
        self._deliver = deliver
        self._clock = clock
        self._background = background
        self._finish = Finish(rules, chain, clock, lacks_eight_bit)
        self._counters = lru_cache(maxsize=None)(self._look_up_counters)
        self._events: list[Event] = []  # for the trace
        self._recording = False

    async def receive(
        self,
        session: Session,
        envelope: Envelope,
        raw: bytes,
        reservation: Reservation,
        onward: Onward | None = None,
    ) -> Reply:
        """Takes a message whose bytes are complete: the reply says what became of it.

        raw: CRLF line ends throughout. A 250 is given when the message is durable, or
        when `onward` gives it, and then whatever else may fail.
        """
        begun = self._clock.monotonic()
        message = Message(new_id(self._clock.now()), raw)
        named = bind_contextvars(message_id=message.id)
        handed_over = False
        try:
            outcome, deposit = await self._accept(session, envelope, message, onward)
            if deposit is not None and deposit.message.state is State.QUEUED:
                handed_over = self._hand_over(deposit, reservation)
            self._report(outcome, message, durable=deposit is not None)
            took = self._clock.monotonic() - begun
            self._metrics.notes.accepted.note(session.listener, message.id, took, outcome.at)
        finally:
            self._early.end_transaction(session.id)
            if not handed_over:
                reservation.release()
            reset_contextvars(**named)
        return outcome.reply

    async def _accept(
        self, session: Session, envelope: Envelope, message: Message, onward: Onward | None
    ) -> tuple[Outcome, Deposit | None]:
        """What becomes of the message, and what lies in the spool now if anything does."""
        judged = Judgement(Pass(), "", envelope, message, {}, (), ())
        try:
            judged = await self._judge(session, envelope, message)
            leaves = isinstance(judged.verdict, Pass)
            held = onward is not None and onward.holds and isinstance(judged.verdict, Quarantine)
            if leaves or held:
                judged = await self._finish(session, judged, by_milter=session.door == "milter")
                if onward is not None:
                    at = self._clock.now()  # the trace has it before what pass_on does
                    reply = await onward.pass_on(judged)
                    return self._outcome(session, message, judged, reply, at), None
            outcome, deposit = self._settle(session, message, judged)
            if deposit is not None:
                await self._spool.commit(deposit)
        except SpoolFull as error:
            log.error("spool_full", free=error.free)
            return self._deferred(session, message, judged, NO_SPACE), None
        except SpoolUnavailable as error:
            log.error("not_accepted", reason=str(error))
            return self._deferred(session, message, judged, TRY_LATER), None
        except NotAnswered as error:
            log.error("not_accepted", reason=str(error))
            judged = replace(judged, steps=(*judged.steps, *error.steps))
            return self._deferred(session, message, judged, TRY_LATER, by=error.plugin), None
        except Exception:  # the seam: our fault is never the client's, nor told to it
            log.exception("intake_failed", client=session.client_ip)
            return self._deferred(session, message, judged, TRY_LATER), None
        return outcome, deposit

    def _hand_over(self, deposit: Deposit, reservation: Reservation) -> bool:
        """Gives a durable message to delivery; whether delivery has it."""
        try:
            # What delivery starts outlives this message: its log lines must not name it.
            Context().run(self._deliver, deposit, reservation)
        except Exception:  # the seam: it is safe, and delivery finds it when its lease has ended
            log.exception("not_handed_over")
            return False
        return True

    async def _judge(self, session: Session, envelope: Envelope, message: Message) -> Judgement:
        """What the filters, and the plugins that spoke earlier, make of the message."""
        earlier = self._early.of(session.id) or NOTHING_SAID
        records, decided = earlier.records(), earlier.decided()
        if len(message.all("received")) > self._rules.received_headers:
            return Judgement(Reject(LOOP), "", envelope, message, {}, (), records)
        refused = self._rules.listeners[session.listener].author(session, message)
        if refused is not None:
            return Judgement(Reject(refused), "", envelope, message, {}, (), records)
        if decided is not None:
            return Judgement(*decided, envelope, message, {}, (), records)
        judged = await self._chain.judge(session, envelope, message, findings=earlier.findings())
        if records:
            judged = replace(judged, steps=(*records, *judged.steps))
        return _for_somebody(judged)

    def _settle(
        self, session: Session, message: Message, judged: Judgement
    ) -> tuple[Outcome, Deposit | None]:
        """The reply, and what goes into the spool if anything does. message: as it came."""
        queued = Reply(250, "2.0.0", f"OK, queued as {message.id}")
        match judged.verdict:
            case Reject(reply) | Defer(reply):
                return self._outcome(session, message, judged, _naming(message, reply)), None
            case Discard():
                return self._outcome(session, message, judged, queued), None
            case Quarantine(reason):
                outcome = self._outcome(session, message, judged, queued)
                listener = self._rules.listeners[session.listener].listener
                return outcome, deposit_of(
                    outcome, message, reason=reason, redirect=listener.upstream
                )
            case Pass():
                outcome = self._outcome(session, message, judged, queued)
                lease = Lease(self._owner, outcome.at + FIRST_LEASE)
                return outcome, deposit_of(outcome, judged.message, lease)
            case _:
                assert_never(judged.verdict)

    def _deferred(
        self, session: Session, message: Message, judged: Judgement, reply: Reply, by: str = ""
    ) -> Outcome:
        """The outcome when we can't keep the message, with what was done until then."""
        reply = _naming(message, reply)
        judged = replace(judged, verdict=Defer(reply), by=by)
        return self._outcome(session, message, judged, reply)

    async def release(self, stored: StoredMessage, raw: bytes) -> Verdict:
        """Sends on what was set aside, signed, unless another filter has something against it.

        The plugin that caught it, and those overruled before, are not asked again. The
        verdict says whether it is on its way (Pass) or stays where it is.
        """
        session, now = Session.from_facts(stored.session), self._clock.now()
        overruled = (*stored.passed, stored.by)
        message = Message(stored.id, raw)
        with bound_contextvars(message_id=stored.id):
            judged = _for_somebody(
                await self._chain.judge(session, stored.envelope, message, without=overruled)
            )
            if isinstance(judged.verdict, Pass):
                judged = await self._finish(session, judged)
                await self._spool.release_as(
                    stored.id,
                    judged.envelope,
                    judged.message.raw,
                    now,
                    passed=stored.by,
                    redirect=next((each.redirect for each in stored.recipients), ""),
                )
        data = {
            "verdict": name_of(judged.verdict),
            "by": judged.by,
            "overruled": list(overruled),
            "steps": steps_facts(judged.steps),
        }
        await self._spool.record([Event(stored.id, now, "judged-again", data)])
        return judged.verdict

    async def submit(
        self, envelope: Envelope, raw: bytes, *, about: str = "", id_: str = ""
    ) -> str:
        """Signs and spools a message of the relay's own, such as a bounce; returns its ID.

        about: the message that it reports on, for the trace. id_: a new one when not said.
        """
        session = Session(new_id(self._clock.now()), "", "report", "", trusted=True)
        message = Message(id_ or new_id(self._clock.now()), raw)
        with bound_contextvars(message_id=message.id):
            message, _, steps = await self._chain.sign(session, envelope, message)
            judged = Judgement(Pass(), "", envelope, message, {}, (), steps)
            queued = Reply(250, "2.0.0", f"OK, queued as {message.id}")
            outcome = self._outcome(session, message, judged, queued)
            deposit = replace(deposit_of(outcome, message, about=about), own=True)
            await self._spool.commit(deposit)
            self._metrics.recipients.labels(OURSELVES).inc(len(envelope.recipients))
            log.info(
                "report_queued",
                message_id=message.id,
                about=about,
                sender=envelope.return_path,
                recipient_count=len(envelope.recipients),
                header_message_id=message.get("message-id")[:LOGGED_ID],
                size=len(message),
            )
        return message.id

    def _outcome(
        self,
        session: Session,
        message: Message,
        judged: Judgement,
        reply: Reply,
        at: datetime | None = None,
    ) -> Outcome:
        return Outcome(
            id=message.id,
            at=at or self._clock.now(),
            session=session,
            envelope=judged.envelope,
            verdict=judged.verdict,
            by=judged.by,
            reply=reply,
            size=len(message),
            steps=judged.steps,
        )

    def _report(self, outcome: Outcome, message: Message, *, durable: bool) -> None:
        """Counts, logs and tells; what went into no spool gets its trace here."""
        try:
            self._count(outcome, message)
            if not durable:
                self._events.append(received_event(outcome))
                if not self._recording:
                    self._background(self._record())
                    self._recording = True
            if self._chain.observed("on_outcome"):
                self._background(self._chain.tell_outcome(outcome))
        except Exception:  # the seam: the outcome stands, and the client must hear of it
            log.exception("outcome_not_told")

    def _count(self, outcome: Outcome, message: Message) -> None:
        session, verdict = outcome.session, _verdict_heard(outcome)
        messages, octets, recipients = self._counters(session.listener, verdict)
        messages.inc()
        octets.inc(outcome.size)
        if _is_for_delivery(outcome):
            recipients.inc(len(outcome.envelope.recipients))
        self._metrics.notes.message(session.login, verdict, outcome.at)
        log.info("message", **logged(outcome, message))

    def _look_up_counters(self, listener: str, verdict: str) -> tuple[Counter, Counter, Counter]:
        """Of messages, their octets, and recipients: finding them takes longer than counting."""
        metrics = self._metrics
        return (
            metrics.messages.labels(listener, verdict),
            metrics.message_bytes.labels(listener, verdict),
            metrics.recipients.labels(listener),
        )

    async def _record(self) -> None:
        """Brings events into the trace; those that come meanwhile go there together."""
        try:
            while self._events:
                events, self._events = self._events, []
                try:
                    await self._spool.record(events)
                except (SpoolFull, SpoolUnavailable) as error:
                    log.warning("trace_not_kept", reason=str(error))
        finally:
            self._recording = False

    def refuse_content(
        self, session: Session, envelope: Envelope, reply: Reply, size: int
    ) -> Reply:
        """Notes a message that the door can't take as it came; returns what the client is told.

        size: octets that came; none of them is kept.
        """
        earlier = self._early.of(session.id) or NOTHING_SAID
        verdict = Defer(reply) if reply.is_temporary else Reject(reply)
        message = Message(new_id(self._clock.now()), b"")
        judged = Judgement(verdict, "", envelope, message, {}, (), earlier.records())
        told = _naming(message, reply)
        outcome = replace(self._outcome(session, message, judged, told), size=size)
        self._report(outcome, message, durable=False)
        return told


def _naming(message: Message, reply: Reply) -> Reply:
    """The reply with the message's ID, for the sender to quote."""
    return replace(reply, text=f"{reply.text} [{message.id}]")


def _verdict_heard(outcome: Outcome) -> str:
    """What its client was told: of what a proxy listener passes on, its next hop's word."""
    if not isinstance(outcome.verdict, Pass):
        return name_of(outcome.verdict)
    return {4: "defer", 5: "reject"}.get(outcome.reply.code // 100, "pass")


def _is_for_delivery(outcome: Outcome) -> bool:
    """Whether its recipients' deliveries come to an end; a milter's are its mail server's.

    What a proxy listener's next hop refuses for good has had its delivery, and it counts
    among the bounced; what it puts off is still its client's.
    """
    passed = isinstance(outcome.verdict, Pass) and outcome.session.door != "milter"
    return passed and outcome.reply.code // 100 != 4


def _for_somebody(judged: Judgement) -> Judgement:
    """A message whose last recipient was taken away is discarded."""
    if isinstance(judged.verdict, Pass) and not judged.envelope.recipients:
        return replace(judged, verdict=Discard("no recipient is left"))
    return judged
