"""One connection to a next hop: what is written, what is answered, and in what time.

aiosmtplib has greeted, encrypted and logged in (delivery/connect.py); from then
on its place as the transport's protocol is taken here, because it awaits each
reply before the next command may go (no PIPELINING, RFC 2920), and knows neither
CHUNKING (RFC 3030) nor LMTP (RFC 2033).
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from filterrelay.delivery.contact import Stage
from filterrelay.errors import FilterRelayError
from filterrelay.mail.reply import Reply
from filterrelay.wire.replies import BadReply, ReplyReader

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


class Channel(asyncio.Protocol):
    """An established connection, on which one exchange is under way at a time.

    timeout: seconds a reply may take. address: the far side's `IP:port`. cipher: TLS's, or
    empty. opened: when, in the loop's time.
    """

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self.on_lost: Callable[[Self], None] | None = None
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

    async def _exchange(self, commands: bytes, count: int) -> list[Reply]:
        self._asked = commands
        self._expect(count, self._timeout)
        self._write(commands)
        return await self._answers()

    def _write(self, octets: bytes) -> None:
        if self.usable:
            self._transport.write(octets)
        else:
            self._after_dot = False  # the end can't be there if this isn't
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

    def connection_lost(self: Self, exc: Exception | None) -> None:
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


def _address(transport: asyncio.Transport) -> str:
    """The far side's `IP:port`; empty for a Unix socket."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
