"""A mail client as the load generator needs it: one command at a time, as most clients do."""

import asyncio
import base64
import ssl
import time
from dataclasses import dataclass
from typing import Self

from tests.bench import site

_PIECE = 256 * 1024  # bytes written between looks at the flow control


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply, its lines joined."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Refused(Exception):
    """A reply that ends the conversation or the transaction."""

    def __init__(self, reply: Reply, command: str) -> None:
        super().__init__(f"{command}: {reply}")
        self.reply = reply

    @property
    def temporary(self) -> bool:
        """Whether the client should come again."""
        return 400 <= self.reply.code < 500


class Client(asyncio.Protocol):
    """One SMTP connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._lines: list[str] = []
        self._waiter: asyncio.Future[Reply] | None = None
        self._replies: list[Reply] = []
        self._lost: Exception | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def connect(cls, port: int, tls: ssl.SSLContext | None, *, proxied: bool) -> Self:
        """Connect, greet, and with tls start it and log in. proxied: as a stranger from outside."""
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(cls, "127.0.0.1", port)
        client._transport = transport
        if proxied:
            transport.write(f"PROXY TCP4 {site.STRANGER} 127.0.0.1 40000 25\r\n".encode())
        await client._expect(220, "connect")
        await client._command(b"EHLO client.bench.example", 250)
        if tls is not None:
            await client._start_tls(tls)
            await client._log_in()
        return client

    async def send(self, recipient: str, header: bytes, content: bytes) -> float:
        """Send one message. Returns the seconds from the final dot to its reply."""
        await self._command(f"MAIL FROM:<{site.SENDER}>".encode(), 250)
        await self._command(f"RCPT TO:<{recipient}>".encode(), 250)
        await self._command(b"DATA", 354)
        if len(content) <= _PIECE:
            self._write(header + content + b".\r\n")
        else:
            self._write(header)
            view = memoryview(content)
            for start in range(0, len(view), _PIECE):
                await self._writable.wait()
                self._write(view[start : start + _PIECE])
            await self._writable.wait()
            self._write(b".\r\n")
        sent = time.monotonic()
        await self._expect(250, "final dot")
        return time.monotonic() - sent

    async def reset(self) -> None:
        """Give up a transaction that was refused halfway."""
        await self._command(b"RSET", 250)

    async def quit(self) -> None:
        """Say goodbye and close."""
        await self._command(b"QUIT", 221)
        self.close()

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Collect lines; a line with a space after its code ends the reply."""
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            self._lines.append(line[4:].decode("utf-8", "replace"))
            if line[3:4] != b"-":
                reply = Reply(int(line[:3]), " / ".join(self._lines))
                self._lines = []
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(reply)
                else:
                    self._replies.append(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        self._lost = exc or ConnectionResetError("the relay closed the connection")
        self._writable.set()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._lost)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._writable.set()

    # the conversation

    def _write(self, data: bytes | memoryview) -> None:
        if self._replies:  # unasked for: it says why the relay is about to hang up
            raise Refused(self._replies.pop(0), "unasked")
        if self._lost is not None or self._transport is None:
            raise self._lost or ConnectionError("not connected")
        self._transport.write(data)

    async def _reply(self) -> Reply:
        if self._replies:
            return self._replies.pop(0)
        if self._lost is not None:
            raise self._lost
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._waiter

    async def _expect(self, code: int, command: str) -> Reply:
        reply = await self._reply()
        if reply.code != code:
            raise Refused(reply, command)
        return reply

    async def _command(self, line: bytes, code: int) -> Reply:
        self._write(line + b"\r\n")
        return await self._expect(code, line[:4].decode())

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        await self._command(b"STARTTLS", 220)
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(
            self._transport, self, context, server_hostname=site.HOSTNAME
        )
        await self._command(b"EHLO client.bench.example", 250)

    async def _log_in(self) -> None:
        secret = base64.b64encode(f"\0{site.LOGIN}\0{site.PASSWORD}".encode())
        await self._command(b"AUTH PLAIN " + secret, 235)
