"""The upstream of the demonstration: takes everything and shows what arrived."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as the upstream got it."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes = field(repr=False)


class Upstream:
    """Keeps what arrives, in order."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self.arrivals: list[Arrival] = []
        self._arrived = asyncio.Condition()

    async def handle_DATA(  # noqa: N802  # aiosmtpd finds its handlers by name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Takes a message."""
        raw = envelope.original_content or b""
        self.arrivals.append(Arrival(envelope.mail_from or "", tuple(envelope.rcpt_tos), raw))
        async with self._arrived:
            self._arrived.notify_all()
        return "250 2.0.0 Thank you"

    async def wait_for(self, number: int, timeout: float) -> bool:
        """Whether that many messages arrived in time."""
        async with self._arrived:
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait_for(lambda: len(self.arrivals) >= number)
            except TimeoutError:
                return False
        return True


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    """An upstream on a free loopback port, and its `127.0.0.1:port`."""
    handler = Upstream()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="upstream.example", enable_SMTPUTF8=True, loop=loop),
        "127.0.0.1",
        0,
    )
    try:
        host, port = server.sockets[0].getsockname()
        yield handler, f"{host}:{port}"
    finally:
        server.close()
