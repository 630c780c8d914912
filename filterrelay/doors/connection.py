"""One client's byte stream: lines and blocks in, replies out, time-outs and the end.

It stands on aiosmtpd's protocol class and takes the place of its reader and writer: bytes
are searched in one buffer, replies are sent together when no command waits (RFC 2920),
and one timer, armed anew only when it must be, serves the whole session.
"""

import asyncio
from typing import cast

from aiosmtpd.smtp import SMTP

from filterrelay.doors import replies
from filterrelay.mail.reply import Reply

HIGH_WATER = 128 * 1024  # octets read ahead; beyond, the client has to wait
MOST_IN_A_LINE = 12_288  # octets, RFC 4954 section 4.3
LINES_IN_A_ROW = 64  # read before the other sessions have their turn
LINGER = 5.0  # seconds for a client to read the last reply
PARTINGS = (None, replies.BYE, replies.SHUTTING_DOWN, replies.TIMED_OUT)  # said into silence


class HangUp(Exception):
    """The conversation ends, with a last reply or, when nobody would hear it, without."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__(reply)
        self.reply = reply


class LineTooLong(Exception):
    """A line was longer than any command; it has been skipped."""


class Connection(SMTP):
    """The stream under a conversation.

    SMTP.__init__ isn't called: it looks through all methods for each connection
    and makes a reader and a writer, which costs more than a whole small message.
    """

    _stream: asyncio.Transport  # the base's `transport`, typed as what it is

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._buffer = bytearray()
        self._lines = 0
        self._replies: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._ending: HangUp | None = None  # what the next wait will raise
        self._at_eof = False
        self._lost = False
        self._write_paused = False
        self._read_paused = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop hands over a stream, encrypted already if it shall be."""
        self.transport = transport
        self._stream = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The loop hands over octets."""
        self._buffer += data
        if len(self._buffer) > HIGH_WATER and not self._read_paused:
            self._read_paused = True
            self._stream.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The client has said all; over plain TCP it may still listen."""
        self._at_eof = True
        self._wake()
        return self._stream.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        """The stream is gone; a commit under way goes on."""
        self._lost = True
        self._ending = HangUp()
        if self._timer is not None:
            self._timer.cancel()  # or it would hold on to the whole session until it strikes
            self._timer = None
        self._wake()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        self._wake()

    def hang_up(self, reply: Reply | None) -> None:
        """Ends the conversation at its next wait."""
        if self._ending is None:
            self._ending = HangUp(reply)
            self._wake()

    def reply(self, reply: Reply) -> None:
        """Puts a reply into the queue."""
        self._replies.append(reply.encode())

    async def push(self, status: str | bytes) -> None:
        """Puts a line into the queue, as methods written for aiosmtpd do."""
        line = status.encode() if isinstance(status, str) else status
        self._replies.append(line + b"\r\n")

    def flush(self) -> None:
        """Sends all replies queued, in one piece."""
        if self._replies:
            if not self._lost:
                self._stream.write(b"".join(self._replies))
            self._replies.clear()

    def allow(self, seconds: float | None) -> None:
        """How long the client may take from now on; None while it is we who work."""
        if seconds is None:
            self._deadline = None
            return
        self._deadline = deadline = self.loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._tick)
        else:
            self.hang_up(replies.TIMED_OUT)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        """Suspends until something happens to the stream. Raises HangUp."""
        if self._ending is None:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._ending is not None:
            # a new one: raised, it refers to frames, and these to self, which must be no circle
            raise HangUp(self._ending.reply)

    async def _give_way(self) -> None:
        """Lets others have their turn, however much this client has pipelined. Raises HangUp."""
        self.loop.call_soon(self._wake)
        await self._wait()

    async def pause(self, seconds: float) -> None:
        """Lets time pass, but no longer than the conversation. Raises HangUp."""
        until = self.loop.time() + seconds
        while (left := until - self.loop.time()) > 0:
            # set anew each time: uvloop counts whole milliseconds, and may strike early
            alarm = self.loop.call_later(left, self._wake)
            try:
                await self._wait()
            finally:
                alarm.cancel()

    async def _more(self) -> None:
        """Sends what is queued and waits for octets. Raises HangUp."""
        self.flush()
        while self._write_paused:
            await self._wait()
        if self._read_paused:
            self._read_paused = False
            self._stream.resume_reading()
        had = len(self._buffer)
        while len(self._buffer) == had:
            if self._at_eof:
                raise HangUp
            await self._wait()

    async def read_line(self) -> bytes:
        """The next line without its CRLF, which alone ends a line (RFC 5321 section 2.3.8).

        Raises HangUp, and LineTooLong behind such a line.
        """
        self._lines += 1
        if self._lines % LINES_IN_A_ROW == 0:
            await self._give_way()
        buffer = self._buffer
        while (end := buffer.find(b"\r\n")) < 0:
            if len(buffer) > MOST_IN_A_LINE:
                await self._skip_line()
                raise LineTooLong
            await self._more()
            buffer = self._buffer
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        if end > MOST_IN_A_LINE:
            raise LineTooLong
        return line

    async def _skip_line(self) -> None:
        while (end := self._buffer.find(b"\r\n")) < 0:
            del self._buffer[:-1]  # its LF may be yet to come
            await self._more()
        del self._buffer[: end + 2]

    async def read_block(self, most: int | None = None) -> bytearray:
        """Whatever has come, at least one octet and not more than `most`. Raises HangUp."""
        if not self._buffer:
            await self._more()
        if most is not None and len(self._buffer) > most:
            block = self._buffer[:most]
            del self._buffer[:most]
        else:
            block, self._buffer = self._buffer, bytearray()
        return block

    def put_back(self, octets: bytes | bytearray) -> None:
        """Octets that belong to what comes next."""
        self._buffer[:0] = octets

    async def farewell(self, reply: Reply | None) -> None:
        """Sends the last reply and closes; who may still be talking has a moment to read it.

        Closing with octets unread would make the kernel reset the connection, and
        the reply be lost: so what still comes is read and thrown away.
        """
        if self._lost:
            return
        if reply is not None:
            self.reply(reply)
        self.flush()
        self._ending = None
        self.allow(LINGER)
        try:
            if reply not in PARTINGS and self._stream.can_write_eof():
                self._stream.write_eof()
                while not self._at_eof:
                    await self._discard()
            self._stream.close()
            while not self._lost:
                await self._discard()
        except (HangUp, OSError):  # out of time, or the client was gone already
            self._stream.abort()

    async def _discard(self) -> None:
        self._buffer.clear()
        if self._read_paused:
            self._read_paused = False
            self._stream.resume_reading()
        await self._wait()
