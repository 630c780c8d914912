"""A strict smart host that writes down all that reaches it, and what it had to frown at."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .process import LOOPBACK, free_port, wait_until

_PATH = re.compile(rb"(?:FROM|TO):<(.*)>(?: .*)?\Z", re.IGNORECASE | re.DOTALL)
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_EHLO = (
    b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
    b"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 SIZE 104857600\r\n"
)


@dataclass(frozen=True)
class Arrival:
    """A message that the sink acknowledged. message: dots removed, line ends as they came."""

    sender: str
    recipients: tuple[str, ...]
    message: bytes = field(repr=False)

    def mentions(self, tag: str) -> bool:
        """Whether the tag stands in the envelope or anywhere in the message."""
        return tag in f"{self.sender} {self.recipients}" or tag.encode() in self.message


class _Closed(Exception):
    """The client has gone."""


class _Input:
    """The octets of one client, by line or by message."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = bytearray()

    async def until(self, end: bytes) -> bytes:
        """All up to the mark, which is taken away."""
        start = 0
        while (at := self._buffer.find(end, start)) < 0:
            start = max(0, len(self._buffer) - len(end) + 1)
            chunk = await self._reader.read(65536)
            if not chunk:
                raise _Closed
            self._buffer += chunk
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    async def message(self) -> bytes:
        """A message up to CRLF.CRLF, and to nothing that only looks like it."""
        self._buffer[:0] = b"\r\n"  # an empty message is only `.`
        stuffed = await self.until(b"\r\n.\r\n")
        return (stuffed + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]


@dataclass
class Sink:
    """What arrived, and how it answers.

    frowns: what a strict server would complain of, such as a bare line feed.
    answers: replies that replace `250` by command, as {b"RCPT": b"450 4.2.0 Later"};
    b"." is the reply to a message's end, and an address the one to its RCPT. pause:
    seconds before each reply to a message's end. begun: messages of which it has seen
    the recipients.
    """

    port: int
    arrivals: list[Arrival] = field(default_factory=list)
    frowns: list[str] = field(default_factory=list)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    pause: float = 0.0
    begun: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def about(self, tag: str) -> list[Arrival]:
        """The messages in which the tag stands."""
        return [arrival for arrival in list(self.arrivals) if arrival.mentions(tag)]

    def wait_for(self, tag: str, count: int = 1, seconds: float = 20.0) -> list[Arrival]:
        """The messages with that tag once so many are there."""
        wait_until(lambda: len(self.about(tag)) >= count, f"{count} of {tag!r} upstream", seconds)
        return self.about(tag)

    def down(self) -> None:
        """Refuses connections and cuts those that are open."""
        self._call(self._close())

    def up(self) -> None:
        """Takes connections again, on the same port."""
        self._call(self._open())

    def _call(self, work: Coroutine[None, None, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(
            self._converse, LOOPBACK, self.port, backlog=1000, reuse_address=True
        )

    async def _close(self) -> None:
        if self._server is not None:
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening)
            await asyncio.sleep(0.01)  # a closed server leaves half made who was just accepted
            self._server.close()
            await self._server.wait_closed()
            self._server = None
            async with asyncio.timeout(5):
                while self._writers:  # until every handler has seen its end
                    for writer in self._writers:
                        writer.transport.abort()  # also who was accepted just before the close
                    await asyncio.sleep(0.005)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._session(_Input(reader), writer)
        except (_Closed, ConnectionError, TimeoutError):
            pass  # a client may go at any time
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()
            self._writers.discard(writer)

    async def _session(self, received: _Input, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.example ESMTP\r\n")
        sender, recipients = "", list[str]()
        while True:
            line = await received.until(b"\r\n")
            if any(octet < 32 or octet == 127 for octet in line):
                self.frowns.append(f"control character in the command {line[:80]!r}")
            verb = line[:4].upper()
            reply = self.answers.get(verb, b"250 2.0.0 OK")
            if verb == b"EHLO":
                writer.write(_EHLO)
                continue
            if verb in {b"MAIL", b"RCPT"}:
                path = _PATH.search(line)
                if path is None:
                    self.frowns.append(f"no path in {line[:80]!r}")
                address = path[1].decode("utf-8", "replace") if path else ""
                if verb == b"MAIL":
                    sender, recipients = address, []
                else:
                    reply = self.answers.get(address.encode(), reply)
                    if reply.startswith(b"2"):
                        recipients.append(address)
            elif verb == b"DATA":
                reply = await self._receive(received, writer, sender, recipients)
                sender, recipients = "", []
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                await writer.drain()
                return
            elif verb not in {b"RSET", b"NOOP", b"HELO"}:
                self.frowns.append(f"unknown command {line[:80]!r}")
                reply = b"500 5.5.2 Unknown command"
            writer.write(reply + b"\r\n")
            await writer.drain()

    async def _receive(
        self,
        received: _Input,
        writer: asyncio.StreamWriter,
        sender: str,
        recipients: list[str],
    ) -> bytes:
        if not recipients:
            return b"503 5.5.1 No recipient"
        self.begun += 1
        writer.write(b"354 Go on\r\n")
        await writer.drain()
        message = await received.message()
        if bare := _BARE.search(message):
            self.frowns.append(f"{message[bare.start() - 20 : bare.end() + 20]!r} in a message")
        await asyncio.sleep(self.pause)
        reply = self.answers.get(b".", b"250 2.0.0 OK")
        if reply.startswith(b"2"):
            self.arrivals.append(Arrival(sender, tuple(recipients), message))
        return reply


@contextmanager
def run_sink() -> Iterator[Sink]:
    """A sink that takes mail until the end, in a thread of its own."""
    sink = Sink(free_port())
    sink._loop = asyncio.new_event_loop()
    thread = threading.Thread(target=sink._loop.run_forever, name="sink")
    thread.start()
    try:
        sink.up()
        yield sink
    finally:
        sink.down()
        wait_until(lambda: not sink._writers, "the end of the sink's sessions")
        sink._loop.call_soon_threadsafe(sink._loop.stop)
        thread.join()
        sink._loop.close()
