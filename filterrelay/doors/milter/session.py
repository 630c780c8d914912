"""The milter door's session: an MTA's events in, the intake's replies and edits out.

One connection carries one SMTP session after the other, and each any number of messages.
Events that nobody judges are noted as they arrive, without a reply where the MTA grants
that; only what takes time, the plugins and the end of a message, is awaited.
"""

from collections.abc import Awaitable
from dataclasses import replace
from typing import assert_never

from structlog.contextvars import bind_contextvars

from filterrelay.doors.esmtp import taken_mail, taken_rcpt
from filterrelay.doors.milter.changes import Told
from filterrelay.doors.milter.client import connected, introduced, named, sending, shown, text
from filterrelay.doors.milter.connection import MilterConnection, Work
from filterrelay.doors.milter.content import MilterContent
from filterrelay.doors.milter.handback import Answer, HandBack, refusal
from filterrelay.doors.milter.wishes import wishes
from filterrelay.doors.policy import Reception
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import new_id
from filterrelay.mail.reply import TRY_LATER, Reply
from filterrelay.mail.session import Session
from filterrelay.wire.milter import (
    CONTINUE,
    SKIP,
    Abort,
    Body,
    Broken,
    Connect,
    Data,
    EndOfHeader,
    EndOfMessage,
    Event,
    Header,
    Helo,
    Mail,
    Negotiated,
    Quit,
    QuitNewConnection,
    Rcpt,
    Step,
    Unknown,
)

EARLY_PATIENCE = 8.0  # seconds for a command where the MTA takes no PROGRESS: all but Postfix
MOST_RECIPIENTS = 50_000  # of a message; the MTA's own limit is far below

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients for one message")


class MilterSession(MilterConnection):
    """What is said on one connection."""

    def __init__(self, reception: Reception, about: Session) -> None:
        intake = reception.intake
        self._judged = intake.judged(about.listener)
        self._reads = intake.reads(about.listener)
        super().__init__(reception, about, wishes(self._judged, self._reads))
        self._about = about  # the connection itself
        self._holds = reception.policy.listener.quarantine == "hold"
        self._takes_progress = False  # at every step
        self._skips = False
        self._bound = ""  # the SMTP session that log lines of the task name
        self._content: MilterContent | None = None
        self._forget_message()

    def _forget_message(self) -> None:
        if self._content is not None:
            self._content.release()
            self._content = None
        self._envelope = Envelope(None)
        self._recipients: list[tuple[Recipient, bytes]] = []
        self._refused: Reply | None = None  # MAIL, and so the message

    @property
    def patience(self) -> float:
        """In the middle of a message, which takes memory, the MTA may not tarry for long."""
        if self._content is None and not self.deaf:
            return super().patience
        return self.reception.policy.limits.data_timeout.total_seconds()

    def leave(self) -> None:
        """The SMTP session is over."""
        self._forget_message()
        self.reception.intake.on_close(self.client)

    def failed(self, event: Event) -> None:
        """Answers 451 now or, where no answer is awaited, to the message.

        Whoever isn't known would pass for the mail server itself, so nothing is taken of him.
        """
        if isinstance(event, Connect):
            self.end()
            return
        self._refused = TRY_LATER
        self._answer(event, TRY_LATER)

    def _answer(self, event: Event, refused: Reply | None = None) -> None:
        if type(event) in self.mta.replied:
            self.write(CONTINUE if refused is None else refusal(refused))

    def _count(self, verb: str) -> None:
        self.reception.counters.commands[verb].inc()

    def take(self, event: Event) -> Work | None:
        """Notes an event; what takes time is given back, and answers it when it is done."""
        match event:
            case Header():
                return self._take_header(event)
            case Body():
                return self._take_body(event)
            case Connect():
                return self._take_connect(event)
            case Helo():
                return self._take_helo(event)
            case Mail():
                return self._take_mail(event)
            case Rcpt():
                return self._take_rcpt(event)
            case EndOfMessage():
                return self._finish(event)
            case Data() | Unknown() | EndOfHeader():
                self._answer(event)
            case _:
                self._take_note(event)
        return None

    def _take_note(self, event: Negotiated | Abort | QuitNewConnection | Quit | Broken) -> None:
        """What concerns the connection or needs no answer."""
        match event:
            case Negotiated():
                self._skips = Step.SKIP in event.steps
                self.write(event.answer)
            case Abort():
                self._forget_message()
            case QuitNewConnection():
                self.leave()
                self._about = replace(self._about, id=new_id(self.reception.clock.now()))
                self.client = self._about
                if self.draining:
                    self.end()
            case Quit():
                self._count("QUIT")
                self.end()
            case Broken(reason):
                self.log.warning("milter_broken", reason=reason)
                self.reception.counters.connections["broken"].inc()
                self.end()
            case _:
                assert_never(event)

    def _take_connect(self, event: Connect) -> Work | None:
        self.client = connected(event, self._about, self.reception.policy)
        self._takes_progress = event.macros.get(b"v", b"").startswith(b"Postfix")
        if "on_connect" in self._judged:
            return self._judge(event, self.reception.intake.on_connect(self.client))
        self._answer(event)
        return None

    def _take_helo(self, event: Helo) -> Work | None:
        self._count("HELO")
        self.client = introduced(event, self.client)
        if "on_helo" in self._judged:
            return self._judge(event, self.reception.intake.on_helo(self.client))
        self._answer(event)
        return None

    async def _ask_early(self, question: Awaitable[Reply | None]) -> Reply | None:
        """What the intake says before the end of a message, where few MTAs take PROGRESS."""
        if not self._takes_progress:
            return await self.ask_within(EARLY_PATIENCE, question)
        with self.keeping_waiting:
            return await self.ask(question)

    async def _judge(self, event: Event, question: Awaitable[Reply | None]) -> None:
        self._answer(event, await self._ask_early(question))

    def _take_mail(self, event: Mail) -> Work | None:
        self._count("MAIL")
        self._forget_message()
        self.client = sending(event, self.client)
        self._envelope = taken_mail(shown(event.address), [text(each) for each in event.parameters])
        if "on_sender" in self._judged:
            return self._judge_sender(event)
        self._answer(event)
        return None

    async def _judge_sender(self, event: Mail) -> None:
        question = self.reception.intake.on_sender(self.client, self._envelope)
        self._refused = await self._ask_early(question)
        self._answer(event, self._refused)

    def _take_rcpt(self, event: Rcpt) -> Work | None:
        self._count("RCPT")
        recipient = taken_rcpt(shown(event.address), [text(each) for each in event.parameters])
        if len(self._recipients) >= MOST_RECIPIENTS:
            self._refused = TOO_MANY_RECIPIENTS
            self._answer(event, TOO_MANY_RECIPIENTS)
            return None
        if "on_recipient" in self._judged:
            return self._judge_recipient(event, recipient)
        self._recipients.append((recipient, event.address))
        self._answer(event)
        return None

    async def _judge_recipient(self, event: Rcpt, recipient: Recipient) -> None:
        question = self.reception.intake.on_recipient(self.client, self._whole(), recipient)
        refused = await self._ask_early(question)
        if refused is None:
            self._recipients.append((recipient, event.address))
        self._answer(event, refused)

    def _whole(self) -> Envelope:
        """The envelope with the recipients that were taken so far."""
        return self._envelope.to(each for each, _ in self._recipients)

    def _begun(self) -> MilterContent:
        if self._content is None:
            self._content = MilterContent(self.reception, self._envelope.size)
        return self._content

    def _take_header(self, event: Header) -> Work | None:
        content = self._content or self._begun()
        if not content.add_field(event.field):
            return self._make_room(event)
        if Header in self.mta.replied:
            self.write(CONTINUE)
        return None

    def _take_body(self, event: Body) -> Work | None:
        content = self._begun()
        if not content.add_body(event.octets):
            return self._make_room(event)
        if content.fault is not None and self._skips and Body in self.mta.replied:
            self.write(SKIP)  # the rest would not be kept
        else:
            self._answer(event)
        return None

    async def _make_room(self, event: Event) -> None:
        await self._begun().make_room()
        self._answer(event)

    async def _finish(self, event: EndOfMessage) -> None:
        """The message is complete: the edits that it needs, and what becomes of it."""
        self._count("DATA")
        clock = self.reception.clock
        begun = clock.monotonic()
        client = named(event.macros, self.client)
        if client.id != self._bound:
            bind_contextvars(session=client.id)
            self._bound = client.id
        try:
            with self.keeping_waiting:
                head, body = await self._outcome(event, client)
        finally:
            self._forget_message()
        self.write(head)
        if body:
            for packet in body:
                await self.writable()
                self.write(packet)
            self.write(CONTINUE)
        if self.is_left:  # it keeps the message, and may come with it again
            self.log.warning("milter_not_heard", queue_id=client.queue_id)
        self.reception.counters.accept_seconds.observe(clock.monotonic() - begun)

    async def _outcome(self, event: EndOfMessage, client: Session) -> Answer:
        """client: with the mail server's name for this message."""
        if self._refused is not None:
            return refusal(self._refused), ()
        intake, envelope = self.reception.intake, self._whole()
        reservation, raw = self.reception.budget.reservation(), b""
        if self._content is not None or self._reads is not None:
            content = self._begun()
            await content.complete(event.octets)
            if content.fault is not None:
                told = intake.refuse_content(client, envelope, content.fault, content.came)
                return refusal(told), ()
            reservation, raw = content.reservation, content.take()
        told_as = Told(raw, envelope, self._recipients)
        back = HandBack(told_as, self.mta.edits, holds=self._holds)
        receiving = intake.receive(client, envelope, raw, reservation, back)
        return back.answer(await self.ask(receiving) or TRY_LATER)
