"""HTTP for those that look on: short answers, and a bound on all that a client can take.

It may be reached from beside loopback, by an address of the operator's choice. So the
head of a request is limited, a client has so long for everything, and where there are
too many the one that has been there longest is dropped: a scraper asks at once.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

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
        self._there: dict[asyncio.Task[None], None] = {}

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; it is good for one request (RFC 9112 section 9.6)."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._there) >= CONNECTIONS:
            longest = next(iter(self._there))
            del self._there[longest]
            longest.cancel()
        self._there[task] = None
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(await self._answer(reader))
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or too slow: there is nobody to tell
        finally:
            writer.transport.abort()
            self._there.pop(task, None)

    async def leave(self) -> None:
        """Returns when all have had their answers; drops those who take long."""
        if self._there:
            _, slow = await asyncio.wait(self._there, timeout=FAREWELL)
            for task in slow:
                task.cancel()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """The octets to send. Raises IncompleteReadError when nobody asks."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            return _octets(said(status, f"at most {HEAD} octets"))
        method, target, fields = _parsed(head)
        if method not in ("GET", "HEAD"):
            return _octets(said(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD"), "Allow: GET, HEAD")
        request = Request(target.partition("?")[0], fields)
        try:
            answer = await self._ask(request)
        except Exception:  # the seam: whatever it was, the next one may be answered
            log.exception("http_failed", path=request.path)
            answer = said(HTTPStatus.INTERNAL_SERVER_ERROR, "the log says why")
        return _octets(answer, bodiless=method == "HEAD")


def _parsed(head: bytes) -> tuple[str, str, str]:
    """Method, target and Accept of a request (RFC 9112 section 3); empty what isn't there."""
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, *_ = [*line.split(" "), "", ""]
    split = (field.partition(":") for field in fields)
    accept = [value.strip() for name, _, value in split if name.lower() == "accept"]
    return method, target, ",".join(accept)


def _octets(answer: Answer, *more: str, bodiless: bool = False) -> bytes:
    """The response (RFC 9112 section 4). more: fields. bodiless: its head alone."""
    fields = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(answer.content)}",
        "Connection: close",
        *more,
    ]
    head = "".join(f"{field}\r\n" for field in fields).encode("latin-1")
    return head + b"\r\n" + (b"" if bodiless else answer.content)
