"""HTTP for those that look on: short answers, and a bound on all that a client can take.

It may be reached from beside loopback, by an address of the operator's choice. So the
head of a request is limited, a client has so long for everything, and where there are
too many the one that has been there longest is dropped: a scraper asks at once. What they say is
read by h11, which refuses whatever two readers might understand in two ways.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11
import structlog

CONNECTIONS = 64  # at once
PATIENCE = 10.0  # seconds for one, from its start to its end
FAREWELL = 1.0  # seconds that those who are there at the end still have
HEAD = 8192  # octets of a request's head
PLAIN = "text/plain; charset=utf-8"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. path: without a query. accept: the field's value, or empty."""

    path: str
    accept: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: HTTPStatus
    content: bytes
    kind: str = PLAIN


Ask = Callable[[Request], Awaitable[Answer]]


def said(status: HTTPStatus, text: str) -> Answer:
    """A line or some, for people."""
    return Answer(status, f"{text}\n".encode())


@contextlib.asynccontextmanager
async def serving(sock: socket.socket, ask: Ask) -> AsyncIterator[None]:
    """Answers on that listening socket within; what was asked then is still answered."""
    clients = _Clients(ask)
    server = await asyncio.start_server(clients.meet, sock=sock, limit=HEAD)
    try:
        yield
    finally:
        server.close()
        await clients.leave()


class _Clients:
    """Those that are connected, in the order in which they came."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._there: dict[asyncio.Task[None], asyncio.Timeout] = {}

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; it is good for one request (RFC 9112 section 9.6)."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._there) >= CONNECTIONS:
            self._drop(next(iter(self._there)))
        try:
            async with asyncio.timeout(PATIENCE) as patience:
                self._there[task] = patience
                writer.write(await self._answer(reader))
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or too slow: there is nobody to tell
        finally:
            writer.transport.abort()
            self._there.pop(task, None)

    def _drop(self, task: asyncio.Task[None]) -> None:
        """Ends one's time; cancelled, its stream would tell the log of a fault."""
        patience = self._there.pop(task, None)
        if patience is not None and not patience.expired():
            patience.reschedule(asyncio.get_running_loop().time())

    async def leave(self) -> None:
        """Returns when all have had their answers; drops those who take long."""
        if self._there:
            _, slow = await asyncio.wait(self._there, timeout=FAREWELL)
            for task in slow:
                self._drop(task)
            if slow:
                await asyncio.wait(slow)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """The octets to send. Raises EOFError when nobody asks."""
        protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
        try:
            asked = await _asked(protocol, reader)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            return _octets(protocol, said(status, status.phrase))
        if asked.method not in (b"GET", b"HEAD"):
            refused = said(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD")
            return _octets(protocol, refused, ("Allow", "GET, HEAD"))
        accept = b",".join(value for name, value in asked.headers if name == b"accept")
        request = Request(asked.target.partition(b"?")[0].decode(), accept.decode("latin-1"))
        try:
            answer = await self._ask(request)
        except Exception:  # the seam: whatever it was, the next one may be answered
            log.exception("http_failed", path=request.path)
            answer = said(HTTPStatus.INTERNAL_SERVER_ERROR, "the log says why")
        return _octets(protocol, answer, bodiless=asked.method == b"HEAD")


async def _asked(protocol: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    """The head of a request. Raises h11.RemoteProtocolError, EOFError."""
    while (event := protocol.next_event()) is h11.NEED_DATA:
        block = await reader.read(HEAD)
        if not block:
            raise EOFError
        protocol.receive_data(block)
    assert isinstance(event, h11.Request)  # which is what a client begins with
    return event


def _octets(
    protocol: h11.Connection, answer: Answer, *more: tuple[str, str], bodiless: bool = False
) -> bytes:
    """The whole response. more: fields. bodiless: its head alone."""
    fields = [
        ("Content-Type", answer.kind),
        ("Content-Length", str(len(answer.content))),
        ("Connection", "close"),
        *more,
    ]
    status = answer.status
    head = h11.Response(status_code=status, headers=fields, reason=status.phrase.encode())
    begin = protocol.send(head) or b""
    return begin if bodiless else begin + (protocol.send(h11.Data(answer.content)) or b"")
