"""One connection to a next hop, from which transactions go out in two writes each.

aiosmtplib has greeted, encrypted and logged in (delivery/connect.py); from then
on its place as the transport's protocol is taken here, because it awaits each
reply before the next command may go (no PIPELINING, RFC 2920), and knows neither
CHUNKING (RFC 3030) nor LMTP (RFC 2033).
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from filterrelay.delivery.capabilities import Capabilities
from filterrelay.delivery.contact import Stage
from filterrelay.errors import FilterRelayError
from filterrelay.mail.reply import Reply
from filterrelay.wire.data import dot_stuffed, stuffed_chunks
from filterrelay.wire.replies import BadReply, ReplyReader

_WHOLE = 128 * 1024  # octets that are handed to the transport at once
_CHUNK = 64 * 1024
_BDAT = 256 * 1024  # octets of a chunk when a message takes several
_UNANSWERED = 8  # chunks under way at once, where PIPELINING allows more than one
_SLOWEST = 16 * 1024  # octets a second that a body may take at least, for the final reply's time
_FAREWELL = 2.0  # seconds for the answer to QUIT
_CLOSING = 421  # RFC 5321 section 3.8: the server closes, whatever was asked
_STAGES = {b"RCPT": Stage.RCPT, b"DATA": Stage.DATA}


@dataclass
class ConversationLost(FilterRelayError):
    """The connection to the next hop ended before its answer.

    reply: a 421, when the server said one. heard: whether it had answered
    anything in this transaction. after_dot: whether it may have taken the message.
    status: what RFC 3463 calls the trouble. stage: what was not answered.
    """

    reason: str
    reply: Reply | None = None
    heard: bool = False
    after_dot: bool = False
    status: str = "4.4.2"
    stage: Stage = Stage.MAIL

    def deferral(self, host: str) -> Reply:
        """What that means for a recipient that has no answer."""
        if self.reply is not None:
            return self.reply
        when = " after the end of the message" if self.after_dot else ""
        return Reply(451, self.status, f"{host}: {self.reason}{when}")


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


class Conversation(asyncio.Protocol):
    """An established connection; one transaction at a time.

    timeout: seconds a reply may take; the one after the final dot may take
    twice that, and longer for big messages (RFC 5321 section 4.5.3.2). address: the far
    side's `IP:port`. cipher: TLS's, or empty. refused: where the last transaction wasn't
    accepted as a whole.
    """

    def __init__(self, transport: asyncio.Transport, peer: Peer, timeout: float) -> None:
        self.peer = peer
        self.transactions = 0
        self.opened = 0.0
        self.refused: Stage | None = None
        self.on_lost: Callable[[Conversation], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeout = timeout
        self._reader = ReplyReader()
        self._replies: list[Reply] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = math.inf
        self._pause = timeout
        self._needs_reset = False
        self._asked = b""
        self._heard = False
        self._after_dot = False
        self._ended = ""
        self._gone = asyncio.Event()
        self.opened = self._loop.time()
        self.address = _address(transport)
        self.cipher = (transport.get_extra_info("cipher") or ("",))[0]
        transport.set_protocol(self)
        if transport.is_closing():
            self._ended = "closed right after the greeting"

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried."""
        return not self._ended and not self._transport.is_closing()

    async def transaction(
        self, mail: bytes, recipients: Sequence[bytes], body: bytes
    ) -> list[Reply]:
        """One message; returns the final reply for each recipient.

        mail, recipients: whole commands. Raises ConversationLost.
        """
        self.transactions += 1
        self._heard = self._after_dot = False
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
            self.abort("given up in the middle of a transaction")
            raise
        return [next(finals) if answer.code // 100 == 2 else answer for answer in answers]

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
            if self._ended or any(reply.code // 100 != 2 for reply in self._replies):
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

    async def _exchange(self, commands: bytes, count: int) -> list[Reply]:
        self._asked = commands
        self._expect(count, self._timeout)
        self._write(commands)
        return await self._answers()

    def _write(self, octets: bytes) -> None:
        if self.usable:
            self._transport.write(octets)
        else:
            self._fail(self._ended or "closed")

    def _allow(self, seconds: float) -> None:
        """Sets the time for the next reply, and for each that follows it."""
        self._pause = seconds
        self._deadline = self._loop.time() + seconds

    def _expect(self, count: int, seconds: float) -> None:
        self._replies = []
        self._wanted = count
        self._waiter = self._loop.create_future()
        self._allow(seconds)
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._watch)
        elif self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._watch)

    async def _answers(self) -> list[Reply]:
        assert self._waiter is not None
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._deadline = math.inf
        replies = self._replies
        if replies[-1].code == _CLOSING:
            self._spoil("closed by the server (421)")
            if not self._after_dot:
                heard, stage = self._heard or len(replies) > 1, self._stage(len(replies) - 1)
                raise ConversationLost(self._ended, replies[-1], heard=heard, stage=stage)
        self._heard = True
        return replies

    def data_received(self, data: bytes) -> None:
        """Takes what the server says; it may speak only when asked."""
        if self._ended:
            return
        try:
            replies = self._reader.feed(data)
        except BadReply as bad:
            self.abort(f"answered what is no SMTP: {bad.excerpt}")
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            said = f": {replies[0]}" if replies else ""
            self.abort(f"spoke without being asked{said}")
            return
        if not replies:
            return
        self._replies += replies
        missing = self._wanted - len(self._replies)
        if missing <= 0 or self._replies[-1].code == _CLOSING:
            if missing < 0:
                del self._replies[self._wanted :]
                self._spoil("answered more often than asked")
            waiter.set_result(None)
        else:
            self._allow(self._pause)
        self.resume_writing()

    def _want(self, count: int) -> None:
        """Waits for so many replies only."""
        self._wanted = count
        waiter = self._waiter
        if waiter is not None and not waiter.done() and len(self._replies) >= count:
            waiter.set_result(None)

    def pause_writing(self) -> None:
        """The transport has more than it likes; the body waits."""
        self._room = self._room or self._loop.create_future()

    def resume_writing(self) -> None:
        """The transport takes more, or the server has answered, which the body may wait for."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def eof_received(self) -> bool:
        """The server has nothing more to say; half-open connections are of no use."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if not self._ended:
            self._ended = f"connection lost: {exc}" if exc else "closed by the server"
        self._fail(self._ended)
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.on_lost is not None:
            self.on_lost(self)
        self._gone.set()

    def _fail(self, reason: str) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            heard, stage = self._heard or bool(self._replies), self._stage(len(self._replies))
            waiter.set_exception(
                ConversationLost(reason, None, heard, self._after_dot, stage=stage)
            )
            waiter.exception()  # seen, even if a cancelled transaction no longer awaits it

    def _watch(self) -> None:
        """Ends the conversation when its deadline has passed; else comes again then."""
        self._timer = None
        if self._loop.time() >= self._deadline:
            self.abort("no answer in time")
        elif self._deadline < math.inf:
            self._timer = self._loop.call_at(self._deadline, self._watch)

    def _spoil(self, reason: str) -> None:
        """Closes without waiting, and keeps what has been answered."""
        self._ended = self._ended or reason
        self._transport.close()

    def abort(self, reason: str) -> None:
        """Ends the connection at once; who waits for an answer learns the reason."""
        self._ended = self._ended or reason
        self._fail(reason)
        self._transport.abort()

    def _broken(self, reason: str, stage: Stage) -> ConversationLost:
        """Ends the conversation with a server whose answers can't be believed."""
        self.abort(reason)
        status = "4.5.0"  # RFC 3463 section 3.6
        return ConversationLost(reason, heard=True, status=status, stage=stage)

    def _stage(self, answered: int) -> Stage:
        """What the reply is to that comes after so many."""
        if self._after_dot:
            return Stage.END
        if not self._asked:
            return Stage.BODY
        return _STAGES.get(self._asked.split(b"\r\n")[answered][:4], Stage.MAIL)

    def quit(self) -> None:
        """Says QUIT and closes, whatever is answered."""
        if not self.usable:
            self._transport.abort()
            return
        self._ended = "closed by us"
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write(b"QUIT\r\n")
        self._loop.call_later(_FAREWELL, self._transport.abort)

    async def leave(self) -> None:
        """The same, returning when the connection is gone; for who ends the event loop then."""
        self.quit()
        await self._gone.wait()


def _refused(sender: Reply, answers: Sequence[Reply], go: Reply | None) -> Stage | None:
    """Which part of the envelope was the first not to be accepted."""
    if sender.code // 100 != 2:
        return Stage.MAIL
    if any(answer.code // 100 != 2 for answer in answers):
        return Stage.RCPT
    return None if go is None or go.code == 354 else Stage.DATA


def _address(transport: asyncio.Transport) -> str:
    """The far side's `IP:port`; empty for a Unix socket."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
