"""The mail transactions with a next hop, each in as few writes as the server allows."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import repeat

from filterrelay.delivery.capabilities import Capabilities, capabilities_of, extensions_in
from filterrelay.delivery.channel import Channel, ConversationLost
from filterrelay.delivery.contact import Stage
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.wire.data import dot_stuffed, stuffed_chunks

_WHOLE = 128 * 1024  # octets that are handed to the transport at once
_CHUNK = 64 * 1024
_BDAT = 256 * 1024  # octets of a chunk when a message takes several
_UNANSWERED = 8  # chunks under way at once, where PIPELINING allows more than one
_SLOWEST = 16 * 1024  # octets a second that a body may take at least, for the final reply's time


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a conversation is held with, as the trace shows it.

    rank: the host's place in the order of failover. tls: the protocol's version,
    or `none`. verified: whether the certificate proved the name. lmtp: whether each
    recipient gets a reply of its own at the end.
    """

    host: str
    rank: int = 0
    tls: str = "none"
    verified: bool = False
    lmtp: bool = False
    capabilities: Capabilities = field(default_factory=Capabilities)


class CutOff(asyncio.CancelledError):
    """A transaction was cancelled after its end had been answered, for some recipients at least.

    replies: for each recipient, None for those without one.
    """

    def __init__(self, replies: Sequence[Reply | None]) -> None:
        super().__init__()
        self.replies = replies


class Conversation(Channel):
    """An established connection; one transaction at a time.

    timeout: seconds a reply may take; the one after the final dot may take
    twice that, and longer for big messages (RFC 5321 section 4.5.3.2). refused: where the
    last transaction wasn't accepted as a whole. client: whom the server takes us for since
    XCLIENT; None for ourselves.
    """

    def __init__(self, transport: asyncio.Transport, peer: Peer, timeout: float) -> None:
        super().__init__(transport, timeout)
        self.peer = peer
        self.transactions = 0
        self.refused: Stage | None = None
        self.client: Session | None = None
        self._needs_reset = False

    async def transaction(
        self, mail: bytes, recipients: Sequence[bytes], body: bytes
    ) -> list[Reply]:
        """One message; returns the final reply for each recipient.

        mail, recipients: whole commands. Raises ConversationLost, CutOff.
        """
        self.transactions += 1
        self._heard = self._after_dot = False
        answers: Sequence[Reply] = ()
        try:
            sender_reply, answers, go = await self._envelope(mail, recipients)
            if sender_reply.code // 100 != 2:
                answers = [sender_reply] * len(answers)
            accepted = sum(answer.code // 100 == 2 for answer in answers)
            self._needs_reset = sender_reply.code // 100 == 2
            self.refused = _refused(sender_reply, answers, go)
            if go is None:
                finals = iter(await self._chunks(body, accepted) if accepted else ())
            elif go.code != 354:
                if go.code // 100 not in (4, 5):
                    raise self._broken(f"answered DATA with {go.code}", Stage.DATA)
                finals = repeat(go)
            elif accepted:
                finals = iter(await self._data(body, accepted))
            else:
                await self._nothing()
                return answers
        except asyncio.CancelledError:
            known = self._known(answers)
            self.abort("given up in the middle of a transaction")
            if known:
                raise CutOff(known) from None
            raise
        return [next(finals) if answer.code // 100 == 2 else answer for answer in answers]

    async def ask(self, commands: Sequence[bytes], *, begins: bool) -> list[Reply]:
        """The replies to commands of a transaction that goes on step by step.

        begins: MAIL is among them. Raises ConversationLost.
        """
        wanted = len(commands)
        if begins:
            self.transactions += 1
            self.refused = None
            self._heard = self._after_dot = False
            if self._needs_reset:
                commands = [b"RSET\r\n", *commands]
            self._needs_reset = True
        with self._giving_up():
            return (await self._answers_to(commands))[len(commands) - wanted :]

    async def deliver(self, body: bytes) -> Reply:
        """The reply to the message, whose envelope has been accepted. Raises ConversationLost."""
        with self._giving_up():
            if self.peer.capabilities.chunking:
                return (await self._chunks(body, 1))[0]
            (go,) = await self._exchange(b"DATA\r\n", 1)
            if go.code == 354:
                return (await self._data(body, 1))[0]
            if go.code // 100 not in (4, 5):
                raise self._broken(f"answered DATA with {go.code}", Stage.DATA)
            self.refused = Stage.DATA
            return go

    async def pose(
        self, client: Session, commands: Sequence[bytes], hello: str, ignored: Collection[str]
    ) -> Reply | None:
        """Has the server take us for that client from now on; its words when it won't.

        commands: XCLIENT's. hello: the name for the EHLO that must follow. ignored: extensions
        that aren't used. Raises ConversationLost.
        """
        self._heard = self._after_dot = False
        reset = [b"RSET\r\n"] if self._needs_reset else []
        with self._giving_up():
            for command in (*reset, *commands):
                (reply,) = await self._exchange(command, 1)
                if reply.code // 100 != 2:
                    return reply
            (reply,) = await self._exchange(f"EHLO {hello}\r\n".encode(), 1)
        if reply.code // 100 != 2:
            return reply
        offered = extensions_in(reply)
        kept = {keyword: offered[keyword] for keyword in offered if keyword not in ignored}
        self.peer = replace(self.peer, capabilities=capabilities_of(kept))
        self.client, self._needs_reset = client, False
        return None

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Nobody can tell afterwards which answers are still to come: the connection ends, too."""
        try:
            yield
        except asyncio.CancelledError:
            self.abort("given up in the middle of a transaction")
            raise

    async def _answers_to(self, commands: Sequence[bytes]) -> list[Reply]:
        """The replies to all of them, sent at once where the server allows it."""
        if self.peer.capabilities.pipelining:
            return await self._exchange(b"".join(commands), len(commands))
        return [(await self._exchange(command, 1))[0] for command in commands]

    async def _envelope(
        self, mail: bytes, recipients: Sequence[bytes]
    ) -> tuple[Reply, list[Reply], Reply | None]:
        """The replies to MAIL, to each RCPT, and to DATA; the last refusal where it wasn't sent.

        None for that where the message goes in chunks. They aren't sent along with the
        envelope: that would save no write, a server that doesn't skip the chunks of a
        refused envelope would read them as commands, and when a kept connection breaks
        nobody would know whether the message was taken.
        """
        reset, self._needs_reset = self._needs_reset, False
        offered = self.peer.capabilities
        end = [] if offered.chunking else [b"DATA\r\n"]
        commands = [b"RSET\r\n", mail] if reset else [mail]
        if offered.pipelining:
            commands += [*recipients, *end]
            replies = await self._exchange(b"".join(commands), len(commands))
            if reset:
                del replies[0]
            return replies[0], replies[1 : len(recipients) + 1], replies[-1] if end else None
        for command in commands:
            (sender_reply,) = await self._exchange(command, 1)
        if sender_reply.code // 100 != 2:
            return sender_reply, [sender_reply] * len(recipients), sender_reply
        answers = [(await self._exchange(command, 1))[0] for command in recipients]
        if all(answer.code // 100 != 2 for answer in answers):
            return sender_reply, answers, answers[-1]
        go = (await self._exchange(b"DATA\r\n", 1))[0] if end else None
        return sender_reply, answers, go

    async def _nothing(self) -> None:
        """A 354 without recipients is answered with the dot alone (RFC 2920 section 3.1).

        LMTP has no reply to that: it mustn't come to it (RFC 2033 section 4.2).
        """
        if self.peer.lmtp:
            self._spoil("wanted a message for nobody")
        else:
            self._needs_reset = False
            await self._exchange(dot_stuffed(b""), 1)

    async def _data(self, body: bytes, count: int) -> list[Reply]:
        """The replies to the final dot for so many recipients, or a refusal that came before it."""
        self._asked = b""
        replies = count if self.peer.lmtp else 1
        patience = self._patience(body)
        if len(body) <= _WHOLE:
            self._after_dot = True
            self._expect(replies, patience)
            self._write(dot_stuffed(body))
        else:
            self._expect(replies, self._timeout)
            await self._in_pieces(body)
            self._allow(patience)
        finals = await self._finals(count)
        if not self._after_dot and any(reply.code // 100 == 2 for reply in finals):
            raise self._broken("accepted a message before its end", Stage.BODY)
        self._needs_reset = False
        return finals

    async def _chunks(self, body: bytes, count: int) -> list[Reply]:
        """The replies to the last chunk for so many recipients, or the refusal of one before it.

        The last one goes out when all others are accepted, so that no refused message
        can be complete. After a refusal the server wants RSET (RFC 3030 section 2).
        """
        self._asked = b""
        start = (len(body) - 1) // _BDAT * _BDAT if len(body) > _WHOLE else 0
        if start:
            refused = next((r for r in await self._sent(body, start) if r.code // 100 != 2), None)
            if refused is not None and refused.code // 100 not in (4, 5):
                raise self._broken(f"answered BDAT with {refused.code}", Stage.BODY)
            if refused is not None:
                self.refused = Stage.BODY
                return [refused] * count
        self._after_dot = True
        self._expect(count if self.peer.lmtp else 1, self._patience(body))
        self._write(b"BDAT %d LAST\r\n%b" % (len(body) - start, body[start:]))
        finals = await self._finals(count)
        self._needs_reset = any(reply.code // 100 != 2 for reply in finals)
        return finals

    async def _sent(self, body: bytes, end: int) -> list[Reply]:
        """The replies to the chunks up to there, or up to a refusal, after which none is sent."""
        most = _UNANSWERED if self.peer.capabilities.pipelining else 1
        self._expect(end // _BDAT, self._timeout)
        for number in range(end // _BDAT):
            while not self._ended and (self._room or number - len(self._replies) >= most):
                self._room = self._room or self._loop.create_future()
                await self._room
            if self._ended:
                self._fail(self._ended)
                break
            if any(reply.code // 100 != 2 for reply in self._replies):
                self._want(number)
                break
            self._allow(self._timeout)
            start = number * _BDAT
            self._write(b"BDAT %d\r\n%b" % (_BDAT, body[start : start + _BDAT]))
        return await self._answers()

    async def _finals(self, count: int) -> list[Reply]:
        """The reply at the end for each of so many recipients: theirs, or the one for all.

        With LMTP, those whose replies didn't come are deferred; the others keep theirs.
        """
        try:
            replies = await self._answers()
            rest = replies[-1]
        except ConversationLost as lost:
            replies = self._replies
            if not replies:
                raise
            rest = lost.deferral(self.peer.host) if self._after_dot else replies[-1]
        finals = [*replies, *repeat(rest, count - len(replies))]
        if any(reply.code // 100 != 2 for reply in finals):
            self.refused = self._stage(0)
        return finals

    def _known(self, answers: Sequence[Reply]) -> list[Reply | None]:
        """The last words so far, by recipient; empty when none has come for the message.

        answers: to the recipients.
        """
        if not (self._after_dot and self._replies):
            return []
        finals = iter(self._replies if self.peer.lmtp else self._replies * len(answers))
        return [next(finals, None) if each.code // 100 == 2 else each for each in answers]

    async def _in_pieces(self, body: bytes) -> None:
        """Writes a big body at the pace at which it is taken."""
        last = -(-len(body) // _CHUNK)
        for number, piece in enumerate(stuffed_chunks(body, _CHUNK)):
            if self._room is not None:
                await self._room
            if self._replies or self._ended:
                # A refusal before the end counts, but the dot must not follow on half a message.
                self.abort("answered in the middle of a message")
                return
            self._allow(self._timeout)
            self._after_dot = number == last
            self._write(piece)

    def _patience(self, body: bytes) -> float:
        """Seconds for the reply to the whole message."""
        return 2 * self._timeout + len(body) / _SLOWEST


def _refused(sender: Reply, answers: Sequence[Reply], go: Reply | None) -> Stage | None:
    """Which part of the envelope was the first not to be accepted."""
    if sender.code // 100 != 2:
        return Stage.MAIL
    if any(answer.code // 100 != 2 for answer in answers):
        return Stage.RCPT
    return None if go is None or go.code == 354 else Stage.DATA
