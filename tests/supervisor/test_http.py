"""Answers over HTTP, and what clients can't do to them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

import pytest

from filterrelay.supervisor import http
from filterrelay.supervisor.http import HEAD, Answer, Request, said, serving

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LARGE = b"x" * 50_000_000  # more than buffers hold


async def answer(request: Request) -> Answer:
    """Tells what was asked, or does what the path says."""
    match request.path:
        case "/fails":
            raise ValueError("of no interest to the client")
        case "/large":
            return Answer(HTTPStatus.OK, LARGE)
        case "/slow":
            await asyncio.sleep(0.2)
    return said(HTTPStatus.OK, f"{request.path} {request.accept}")


@asynccontextmanager
async def running() -> AsyncIterator[tuple[str, int]]:
    """A server; its address."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        async with serving(sock.dup(), answer):
            yield address


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[Connection]:
    """A connection to it."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def asked(address: tuple[str, int], text: str) -> tuple[int, str]:
    """Status and body of the answer to these lines; 0 when there is none."""
    async with connected(address) as (reader, writer):
        writer.write(text.replace("\n", "\r\n").encode("latin-1"))
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        return int((head or "x 0").split(" ")[1]), body


async def received(reader: asyncio.StreamReader) -> int:
    """Octets that came until the end, however it came."""
    octets = 0
    with contextlib.suppress(ConnectionError):
        while block := await reader.read(65536):
            octets += len(block)
    return octets


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ("GET /metrics?debug=1 HTTP/1.1\nHost: x\n\n", 200, "/metrics \n"),
        ("GET / HTTP/1.0\nACCEPT:  a/b \nAccept: c/d\n\n", 200, "/ a/b,c/d\n"),
        ("HEAD / HTTP/1.1\nHost: x\n\n", 200, ""),
        ("POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc", 405, "GET or HEAD\n"),
        ("GET /a HTTP/1.1\nHost: x\n\nGET /b HTTP/1.1\nHost: x\n\n", 200, "/a \n"),
        ("\n\n", 400, "Bad Request\n"),
        ("GET\n\n", 400, "Bad Request\n"),
        ("GET / HTTP/1.1\n\n", 400, "Bad Request\n"),
        ("GET / HTTP/1.1\nHost: x\nA\x00b: c\n\n", 400, "Bad Request\n"),
        ("GET /\xff HTTP/1.1\nHost: x\n\n", 400, "Bad Request\n"),
        ("\x16\x03\x01\x02\x00 a TLS client", 400, "Bad Request\n"),
        (f"GET /{'x' * 2 * HEAD} HTTP/1.1\n\n", 431, "Request Header Fields Too Large\n"),
        ("GET /fails HTTP/1.0\n\n", 500, "the log says why\n"),
    ],
)
async def test_a_request_has_its_answer(text: str, status: int, body: str) -> None:
    """Whatever it is, and the next one is answered, too."""
    async with running() as address:
        assert await asked(address, text) == (status, body)
        assert (await asked(address, "GET / HTTP/1.0\n\n"))[0] == 200


async def test_who_asks_octet_by_octet_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for all of the request, not for each part."""
    monkeypatch.setattr(http, "PATIENCE", 0.3)

    async def dribble(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"G")
            await asyncio.sleep(0.02)

    async with asyncio.timeout(10), running() as address, connected(address) as (reader, writer):
        dribbling = asyncio.create_task(dribble(writer))
        assert await received(reader) == 0
        dribbling.cancel()


async def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was to get is held for so long only."""
    monkeypatch.setattr(http, "PATIENCE", 0.3)
    async with asyncio.timeout(10), running() as address, connected(address) as (reader, writer):
        writer.write(b"GET /large HTTP/1.0\r\n\r\n")
        await asyncio.sleep(0.6)
        assert 0 < await received(reader) < len(LARGE)


async def test_any_number_of_idle_clients_keeps_nobody_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that has waited longest makes room, and the log doesn't fill."""
    monkeypatch.setattr(http, "CONNECTIONS", 8)
    async with asyncio.timeout(10), running() as address, AsyncExitStack() as clients:
        idle = [await clients.enter_async_context(connected(address)) for _ in range(20)]
        assert (await asked(address, "GET / HTTP/1.0\n\n"))[0] == 200
        assert await received(idle[0][0]) == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(received(idle[-1][0]), 0.1)
    assert not caplog.records


async def test_at_the_end_who_has_asked_is_answered_still(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And who hasn't is not waited for."""
    monkeypatch.setattr(http, "FAREWELL", 0.5)
    async with asyncio.timeout(10), AsyncExitStack() as clients:
        async with running() as address:
            await clients.enter_async_context(connected(address))
            asking = asyncio.create_task(asked(address, "GET /slow HTTP/1.0\n\n"))
            await asyncio.sleep(0.1)
        assert (await asking)[0] == 200
    assert not caplog.records
