"""A next hop that does as it is told: answers, hangs, drops, talks nonsense."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from filterrelay.delivery.upstream import Sent, UpstreamLike
from filterrelay.plugin.testing import an_envelope
from filterrelay.settings import Upstream as UpstreamSettings

LOOPBACK = "127.0.0.1"


class Act(Enum):
    """What else than an answer may come."""

    HANG = "says nothing"
    DROP = "closes the connection"


@dataclass(frozen=True)
class Endless:
    """The same octets again and again, for as long as somebody takes them."""

    octets: bytes


Answer = str | bytes | Act | Endless

_USUAL: Mapping[str, str] = {
    "GREETING": "220 mx.provider.example",
    "HELO": "250 mx.provider.example",
    "STARTTLS": "220 2.0.0 Go ahead",
    "AUTH": "235 2.7.0 Welcome",
    "LAST": "250 2.0.0 Queued as 4711",
    "BDAT": "250 2.0.0 Go on",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 Go on",
    ".": "250 2.0.0 Queued as 4711",
    "RSET": "250 2.0.0 Ok",
    "XFORWARD": "250 2.0.0 Ok",
    "XCLIENT": "220 mx.provider.example",
    "QUIT": "221 2.0.0 Bye",
}


@dataclass
class Received:
    """One message that it took."""

    mail: str
    recipients: list[str]
    data: bytes


@dataclass
class FarSide:
    """A server on loopback.

    answers: by verb, one or a list that is used up, its last one kept; `GREETING`,
    `.` (the final dot) and `LAST` (the last chunk) are verbs too; after a 421 it closes.
    once: what comes the first time in place of that, also in the middle of a `BODY` and of a
    `HANDSHAKE` after STARTTLS. extensions: for EHLO. tls: its context for STARTTLS; implicit:
    TLS at once. lmtp: a reply for each recipient at the end, and LHLO. path: a Unix socket to
    listen on instead. hung, closed: set when it has fallen silent, and when a connection has
    ended.
    """

    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    once: dict[str, Answer] = field(default_factory=dict)
    extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    lmtp: bool = False
    path: str = ""
    port: int = 0
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    hung: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def host(self) -> str:
        """Where it listens, as an upstream's `hosts` have it."""
        return f"unix:{self.path}" if self.path else f"{LOOPBACK}:{self.port}"

    def verbs(self) -> list[str]:
        """The first words of all commands."""
        return [command.partition(" ")[0].upper() for command in self.commands]

    async def start(self) -> None:
        """Begins to listen, on the port it had before if it had one."""
        if self.path:
            self._server = await asyncio.start_unix_server(self._accept, self.path)
            return
        self._server = await asyncio.start_server(
            self._accept,
            LOOPBACK,
            self.port,
            ssl=self.tls if self.implicit else None,
            limit=2**26,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hang_up(self, farewell: bytes = b"") -> None:
        """Closes every connection, as a server does that has waited long enough."""
        for writer in list(self._writers):
            if farewell:
                writer.write(farewell)
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # stop() ends it; nobody else awaits it
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()
            self.closed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = self.implicit
        coming = Received("", [], b"")
        if not await self._answer(writer, "GREETING"):
            await reader.read()
        while line := await reader.readline():
            command = line.decode("utf-8", "replace").rstrip("\r\n")
            self.commands.append(command)
            verb = command.partition(" ")[0].upper()
            if verb == "BDAT":
                await self._chunk(reader, writer, command, coming)
                continue
            reply = await self._answer(writer, verb, secure=secure)
            if not reply:
                await reader.read()
                return
            if verb == "MAIL":
                coming = Received(command, [], b"")
            elif verb == "RCPT" and reply.startswith("2"):
                coming.recipients.append(command)
            elif verb == "DATA" and reply.startswith("354"):
                data = await reader.readexactly(3)
                await self._interrupt(reader, writer, "BODY")
                if data != b".\r\n":
                    data += await reader.readuntil(b"\r\n.\r\n")
                coming.data = data[:-3]
                await self._end(writer, ".", coming)
            elif verb == "STARTTLS" and reply.startswith("220"):
                assert self.tls is not None
                await self._interrupt(reader, writer, "HANDSHAKE")
                await writer.start_tls(self.tls)
                secure = True
            elif verb == "QUIT":
                return

    async def _interrupt(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str
    ) -> None:
        """Ends what the client has begun, if it was told to: in silence, at once, or with words."""
        told = self.once.pop(what, None)
        if told is None:
            return
        if told is Act.HANG:
            self.hung.set()
            cast("asyncio.Transport", writer.transport).pause_reading()
            await asyncio.Event().wait()
        elif told is not Act.DROP:
            await reader.read(65536)  # else the close would be a reset, and the words lost
            await _say(writer, told)
        raise ConnectionError

    async def _chunk(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        command: str,
        coming: Received,
    ) -> None:
        octets, *last = command.split()[1:]
        coming.data += await reader.readexactly(int(octets))
        if last:
            await self._end(writer, "LAST", coming)
        else:
            await self._answer(writer, "BDAT")

    async def _end(self, writer: asyncio.StreamWriter, verb: str, coming: Received) -> None:
        """Answers for the whole message, which it has taken if anybody gets it."""
        times = len(coming.recipients) if self.lmtp else 1
        answers = [await self._answer(writer, verb) for _ in range(times)]
        if any(answer.startswith("2") for answer in answers):
            self.received.append(coming)

    async def _answer(
        self, writer: asyncio.StreamWriter, verb: str, *, secure: bool = False
    ) -> str:
        """Says what it was told to say; empty when that is nothing more."""
        answer = self._told(verb, secure=secure)
        if answer is Act.HANG:
            self.hung.set()
            return ""
        if answer is Act.DROP:
            raise ConnectionError
        octets = await _say(writer, answer)
        if octets.startswith(b"421"):
            raise ConnectionError
        return octets.decode("latin-1")

    def _told(self, verb: str, *, secure: bool) -> Answer:
        if verb in self.once:
            return self.once.pop(verb)
        told = self.answers.get(verb)
        if isinstance(told, list):
            return told.pop(0) if len(told) > 1 else told[0]
        if told is not None:
            return told
        if verb == ("LHLO" if self.lmtp else "EHLO"):
            offered = self.extensions
            if secure:
                offered = [word for word in offered if word != "STARTTLS"]
            lines = ["mx.provider.example", *offered]
            last = len(lines) - 1
            return "\r\n".join(f"250{' ' if i == last else '-'}{x}" for i, x in enumerate(lines))
        return _USUAL.get(verb, "502 5.5.1 What?")


async def _say(writer: asyncio.StreamWriter, answer: str | bytes | Endless) -> bytes:
    """The octets said."""
    while isinstance(answer, Endless):
        writer.write(answer.octets)
        await writer.drain()
    octets = answer if isinstance(answer, bytes) else f"{answer}\r\n".encode()
    writer.write(octets)
    await writer.drain()
    return octets


@asynccontextmanager
async def far_side(**told: Any) -> AsyncIterator[FarSide]:
    """A running one."""
    side = FarSide(**told)
    await side.start()
    try:
        yield side
    finally:
        await side.stop()


def upstream_settings(*sides: FarSide, **changes: Any) -> UpstreamSettings:
    """The upstream that has these sides for hosts; without TLS and with short times."""
    values: dict[str, Any] = {
        "name": "provider",
        "hosts": tuple(side.host for side in sides),
        "tls": "none",
        "connect_timeout": "2s",
        "timeout": "200ms",
    }
    return UpstreamSettings(**(values | changes))


BODY = b"Subject: Lunch\r\n\r\nHello.\r\n"
Opener = Callable[[UpstreamSettings], UpstreamLike]


async def send(upstream: UpstreamLike, *to: str, body: bytes = BODY) -> Sent:
    """One message from alice to these, bob if nobody is named."""
    envelope = an_envelope("alice@office.example", *(to or ("bob@partner.example",)))
    return await upstream.send(envelope, envelope.recipients, body)


def codes(sent: Sent) -> list[str]:
    """The replies' codes, as `250 2.0.0`."""
    return [f"{reply.code} {reply.enhanced}" for reply in sent.replies]
