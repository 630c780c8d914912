"""One message on its way through: asked step by step while its client waits for each answer."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from filterrelay.delivery.attempt import OUR_FAULT
from filterrelay.delivery.capabilities import Capabilities, mail_command, rcpt_command, refusal
from filterrelay.delivery.channel import ConversationLost
from filterrelay.delivery.contact import Stage
from filterrelay.delivery.conversation import Conversation, Peer
from filterrelay.delivery.failover import Unreachable
from filterrelay.delivery.pool import Suits, speaks_for_us
from filterrelay.delivery.upstream import Sent, Upstream
from filterrelay.delivery.watch import Watch
from filterrelay.errors import FilterRelayError
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.wire.client_attributes import xclient_commands, xforward_commands

PATIENCE = 60.0  # seconds for a connection to the next hop; Postfix's client waits for 100

_CLOSING = 421  # RFC 5321 section 3.8

_log: Any = structlog.get_logger("filterrelay.delivery")

Step = Envelope | Recipient  # MAIL, or one RCPT


@dataclass(frozen=True, slots=True)
class Introduction:
    """How the next hop hears of the client.

    hostname: our name for EHLO. local: the client is the machine in front of us itself.
    xforward, xclient: whether it is told so. ignored: extensions that aren't used.
    """

    client: Session
    local: bool
    hostname: str
    xforward: bool = False
    xclient: bool = False
    ignored: Collection[str] = ()

    @property
    def suits(self) -> Suits:
        """Which kept connections will do: with XCLIENT, those of nobody or of this client."""
        if not self.xclient:
            return speaks_for_us
        return lambda kept: kept.client in (None, self.client)


@dataclass
class NotPassed(FilterRelayError):
    """There is no way through now. reply: what the client is told. answered: by the next hop."""

    reply: Reply
    stage: Stage
    answered: bool = False


class Passage:
    """One transaction with a next hop, in step with that of a client of ours.

    name: the next hop's. What it accepts counts as accepted for the client, too. A connection
    that is lost before the message's end is replaced once, and the transaction begun anew on
    it: the client doesn't notice, if all of it is accepted again.
    """

    def __init__(self, upstream: Upstream, name: str, about: Introduction) -> None:
        self._upstream = upstream
        self._name = name
        self._about = about
        self._steps: list[Step] = []
        self._envelope: Envelope | None = None  # what was accepted, or shall be
        self._recipients: list[Recipient] = []
        self._conversation: Conversation | None = None
        self._stands = False  # the accepted part is what the connection's other side has
        self._over: NotPassed | None = None
        self._watch = Watch()

    def ask(self, step: Step) -> None:
        """Has a step wait for `answers`, which sends all that wait together."""
        self._steps.append(step)

    async def answers(self) -> list[Reply]:
        """The next hop's words on each step that waits, in their order; never a 421."""
        steps, self._steps = self._steps, []
        try:
            replies = await self._asked(steps)
        except NotPassed as trouble:
            return [trouble.reply] * len(steps)
        for step, reply in zip(steps, replies, strict=True):
            if reply.code // 100 == 2 and isinstance(step, Envelope):
                self._envelope, self._stands = step, True
            elif reply.code // 100 == 2 and isinstance(step, Recipient):
                self._recipients.append(step)
        return replies

    async def finish(self, envelope: Envelope, body: bytes) -> Sent:
        """Hands the message over; the replies are the same for all recipients.

        envelope: as it is now. When it isn't the one that was accepted, the transaction is
        begun anew, and refused as a whole if any part of it is: for good only if no recipient
        is accepted, since what a filter adds is not the client's fault.
        """
        began, count = asyncio.get_running_loop().time(), len(envelope.recipients)
        accepted = self._envelope
        assert accepted is not None, "there is a message only after MAIL and RCPT"
        same = envelope.sender == accepted.sender
        if not same or envelope.recipients != tuple(self._recipients):
            self._stands = False
        self._envelope = replace(envelope, size=len(body))
        self._recipients = list(envelope.recipients)
        try:
            sent = await self._handed_over(envelope, body)
        except NotPassed as trouble:
            peer = self._conversation.peer if self._conversation is not None else None
            contact = self._watch.seen(self._conversation, trouble.stage)
            sent = Sent(
                [trouble.reply] * count,
                peer.host if peer else "",
                peer.tls if peer else "none",
                answered=trouble.answered,
                contact=contact,
            )
        took = asyncio.get_running_loop().time() - began
        return replace(sent, contact=replace(sent.contact, took=took))

    def abandon(self) -> None:
        """Lets go of the connection; what was begun on it is forgotten there."""
        if self._conversation is not None:
            self._upstream.release(self._conversation)
            self._conversation = None

    async def _asked(self, steps: Sequence[Step]) -> list[Reply]:
        """As `answers`. Raises NotPassed."""
        if self._over is not None:
            raise self._over
        if isinstance(steps[0], Envelope) and (outage := await self._upstream.turn()) is not None:
            raise NotPassed(outage.reply, Stage.CONNECT)
        fresh = False
        while True:
            try:
                return await self._said(await self._ready(fresh=fresh), steps)
            except ConversationLost as lost:
                self._drop(lost)
                if fresh or (lost.heard and lost.reply is not None):
                    raise self._gone(lost) from lost
                fresh = True

    async def _handed_over(self, envelope: Envelope, body: bytes) -> Sent:
        """As `finish`. Raises NotPassed."""
        if self._over is not None:
            raise self._over
        fresh = False
        while True:
            try:
                conversation = await self._ready(fresh=fresh)
                peer, offered = conversation.peer, conversation.peer.capabilities
                recipients = envelope.recipients
                refused = refusal(offered, envelope, recipients, body, verified=peer.verified)
                if refused is not None:
                    raise NotPassed(refused, Stage.OFFER)
                reply = _spoken(await conversation.deliver(body))
                contact = self._watch.seen(conversation, conversation.refused)
                return Sent(
                    [reply] * len(recipients), peer.host, peer.tls, dsn=offered.dsn, contact=contact
                )
            except ConversationLost as lost:
                if fresh or lost.after_dot:
                    raise self._gone(lost) from lost
                self._drop(lost)
                fresh = True

    async def _ready(self, *, fresh: bool) -> Conversation:
        """A connection on which what was accepted stands. Raises NotPassed, ConversationLost."""
        conversation = self._conversation
        if conversation is None or not conversation.usable:
            fresh = fresh or conversation is not None
            self.abandon()
            conversation = self._conversation = await self._connected(fresh=fresh)
            self._stands = False
            await self._pose(conversation)
            self._watch.connected(conversation)
        if self._envelope is not None and not self._stands:
            await self._begin_anew(conversation, self._envelope)
        return conversation

    async def _connected(self, *, fresh: bool) -> Conversation:
        """Raises NotPassed."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._upstream.acquire(fresh=fresh, suits=self._about.suits)
        except TimeoutError:
            busy = f"All connections to the mail server behind this filter ({self._name}) are busy"
            reply = Reply(451, "4.4.5", f"{busy}, please try again later")  # RFC 3463 section 3.5
            raise NotPassed(reply, Stage.CONNECT) from None
        except Unreachable as unreachable:
            last = unreachable.last
            _log.warning("not_passed_on", upstream=self._name, reason=str(last.reply))
            if last.answered:
                raise NotPassed(_spoken(last.reply), last.stage, answered=True) from last
            down = f"The mail server behind this filter ({self._name}) can't be reached now"
            reply = Reply(451, last.reply.enhanced, f"{down}, please try again later")
            raise NotPassed(reply, last.stage) from last

    async def _pose(self, conversation: Conversation) -> None:
        """XCLIENT, if it is wanted and not said yet. Raises NotPassed, ConversationLost."""
        about = self._about
        if not about.xclient or conversation.client == about.client:
            return
        commands = xclient_commands(conversation.peer.capabilities.xclient, about.client)
        refused: Reply | None = Reply(550, "5.7.0", "XCLIENT is not offered")
        if commands:
            hello = about.client.helo or about.hostname
            refused = await conversation.pose(about.client, commands, hello, about.ignored)
        if refused is not None:
            conversation.abort("takes no XCLIENT from us")
            text = f"The mail server behind this filter ({self._name}) said to XCLIENT: {refused}"
            raise NotPassed(Reply(451, "4.7.0", text), Stage.GREETING, answered=bool(commands))

    async def _begin_anew(self, conversation: Conversation, envelope: Envelope) -> None:
        """The transaction once more, all at once. Raises NotPassed, ConversationLost."""
        replies = await self._said(conversation, [envelope, *self._recipients])
        refused = [reply for reply in replies if reply.code // 100 != 2]
        if refused:
            worst = next((reply for reply in refused if reply.is_temporary), refused[0])
            if len(refused) < len(replies) - 1 or replies[0] is refused[0]:
                worst = _put_off(worst)  # others' mail, or the client's own sender, was welcome
            stage = Stage.MAIL if replies[0] is refused[0] else Stage.RCPT
            self._over = NotPassed(worst, stage, answered=True)
            raise self._over
        self._stands = True

    async def _said(self, conversation: Conversation, steps: Sequence[Step]) -> list[Reply]:
        """What the next hop says to each; what it can't do it isn't asked."""
        about, peer = self._about, conversation.peer
        begins = isinstance(steps[0], Envelope)
        refused = [_why_not(peer, step) for step in steps]
        if begins and refused[0] is not None:
            return [refused[0]] * len(steps)
        told = []
        if begins and about.xforward:
            told = xforward_commands(peer.capabilities.xforward, about.client, local=about.local)
        commands = [
            _command(peer.capabilities, step)
            for step, why in zip(steps, refused, strict=True)
            if why is None
        ]
        replies: list[Reply] = []
        if commands:
            replies = await conversation.ask([*told, *commands], begins=begins)
        said = map(_spoken, replies[len(told) :])
        return [why or next(said) for why in refused]

    def _drop(self, lost: ConversationLost) -> None:
        """A connection is gone."""
        if self._conversation is not None:
            self._upstream.note_lost(self._conversation, lost)
        self.abandon()

    def _gone(self, lost: ConversationLost) -> NotPassed:
        reply = _spoken(lost.deferral(self._name))
        return NotPassed(reply, lost.stage, answered=lost.reply is not None)


def _why_not(peer: Peer, step: Step) -> Reply | None:
    """Why that step can't be taken whatever the next hop says, or None."""
    envelope = step if isinstance(step, Envelope) else Envelope(None)
    recipients = [step] if isinstance(step, Recipient) else []
    return refusal(peer.capabilities, envelope, recipients, b"", verified=peer.verified)


def _command(offered: Capabilities, step: Step) -> bytes:
    if isinstance(step, Envelope):
        return mail_command(offered, step, step.size)
    return rcpt_command(offered, step)


def _spoken(reply: Reply) -> Reply:
    """The next hop's words as our client may hear them.

    421 would mean that we close. What it wants of us, and what is no answer, is no fault of
    the client's.
    """
    if reply.code == _CLOSING:
        return replace(reply, code=451)
    if reply.code in OUR_FAULT or reply.code // 100 not in (2, 4, 5):
        return _put_off(reply)
    return reply


def _put_off(reply: Reply) -> Reply:
    """A refusal for now, with those words."""
    if reply.is_temporary:
        return reply
    return Reply(451, "4.3.5", f"The mail server behind this filter said: {reply}")
