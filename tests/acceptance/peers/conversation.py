"""An SMTP client that says exactly the octets it is told to, and reads replies strictly."""

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .process import LOOPBACK

_LINE = re.compile(rb"([2-5]\d\d)([ -])([\x20-\x7e]*)\r\n\Z")
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |\Z)")
_LONGEST_LINE = 512  # octets, RFC 5321 section 4.5.3.1.5


@dataclass(frozen=True)
class Answer:
    """One reply of the server. faults: where it breaks RFC 5321's form; empty when it doesn't."""

    code: int
    text: str
    faults: tuple[str, ...] = ()

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463), or empty."""
        found = _ENHANCED.match(self.text)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Closed(Exception):
    """The server has ended the connection."""


class Conversation:
    """One connection to a door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, seconds: float = 15.0) -> Answer:
        """The next reply. Raises Closed when there is none, TimeoutError when none comes."""
        async with asyncio.timeout(seconds):
            return await self._read()

    async def _read(self) -> Answer:
        texts, faults, code = list[str](), list[str](), 0
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ssl.SSLError) as error:
                raise Closed from error
            except ValueError:
                return Answer(0, "", ("a reply line longer than 64 KiB",))
            if not line:
                raise Closed
            found = _LINE.match(line)
            if found is None:
                return Answer(0, repr(line[:200]), (f"no SMTP reply: {line[:80]!r}",))
            if len(line) > _LONGEST_LINE:
                faults.append(f"a reply line of {len(line)} octets")
            if code not in {0, int(found[1])}:
                faults.append("two codes in one reply")
            code = int(found[1])
            texts.append(found[3].decode())
            if found[2] == b" ":
                return Answer(code, "\n".join(texts), tuple(faults))

    async def send(self, octets: bytes) -> None:
        """Says these octets. Raises Closed when the server has gone."""
        try:
            self._writer.write(octets)
            await self._writer.drain()
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed from error

    async def ask(self, line: bytes, seconds: float = 15.0) -> Answer:
        """Says a line, CRLF added, and returns the reply."""
        await self.send(line + b"\r\n")
        return await self.read(seconds)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """The handshake, after STARTTLS was answered 220."""
        try:
            async with asyncio.timeout(15):
                await self._writer.start_tls(context, server_hostname="localhost")
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed from error

    async def log_in(self, login: str, password: str) -> Answer:
        """AUTH PLAIN in one line."""
        secret = base64.b64encode(f"\0{login}\0{password}".encode())
        return await self.ask(b"AUTH PLAIN " + secret)

    async def deliver(self, sender: str, recipients: Iterable[str], message: bytes) -> Answer:
        """One mail transaction; the first reply that refuses, or the one to the message's end.

        message: CRLF line ends, dots not yet doubled.
        """
        answer = await self.ask(f"MAIL FROM:<{sender}>".encode())
        for recipient in recipients:
            if answer.code == 250:
                answer = await self.ask(f"RCPT TO:<{recipient}>".encode())
        if answer.code == 250:
            answer = await self.ask(b"DATA", 60)
        if answer.code == 354:
            stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
            await self.send(stuffed + b".\r\n")
            answer = await self.read(60)
        return answer

    def half_close(self) -> None:
        """Says that nothing more will be said, and goes on listening."""
        self._writer.write_eof()

    async def is_closed(self, seconds: float = 10.0) -> bool:
        """Whether the server closes within that time; replies on the way are passed over."""
        try:
            while True:
                await self.read(seconds)
        except Closed:
            return True
        except TimeoutError:
            return False

    async def close(self) -> None:
        """Hangs up at once."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self._writer.wait_closed()


def trusting_context() -> ssl.SSLContext:
    """TLS for a client that asks for no certificate: the door's is checked elsewhere."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def connect(
    port: int, *, client: str = LOOPBACK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Conversation]:
    """A connection from a loopback address (any in 127.0.0.0/8); the greeting is still unread."""
    try:
        async with asyncio.timeout(15):
            reader, writer = await asyncio.open_connection(
                LOOPBACK,
                port,
                local_addr=(client, 0),
                ssl=tls,
                server_hostname="localhost" if tls else None,
            )
    except (ConnectionResetError, ssl.SSLError) as error:
        raise Closed from error
    conversation = Conversation(reader, writer)
    try:
        yield conversation
    finally:
        await conversation.close()


@asynccontextmanager
async def greeted(
    port: int, *, client: str = LOOPBACK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Conversation]:
    """A connection whose greeting and EHLO are done."""
    async with connect(port, client=client, tls=tls) as conversation:
        greeting = await conversation.read()
        assert greeting.code == 220, greeting
        hello = await conversation.ask(b"EHLO client.office.example")
        assert hello.code == 250, hello
        yield conversation


def submit(port: int, recipients: Iterable[str], message: bytes) -> None:
    """Has a message from ann@office.example accepted, over a connection of its own."""

    async def deliver() -> Answer:
        async with greeted(port) as conversation:
            return await conversation.deliver("ann@office.example", recipients, message)

    answer = asyncio.run(deliver())
    assert answer.code == 250, answer
