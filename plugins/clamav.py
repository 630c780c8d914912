"""Virus scanning by clamd."""

import asyncio
import socket
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, assert_never

from pydantic import BeforeValidator, Field

from filterrelay.plugin import (
    AddHeader,
    Defer,
    Discard,
    Duration,
    Endpoint,
    Finding,
    Message,
    Options,
    Pass,
    Quarantine,
    Reject,
    Reply,
    Services,
    Size,
    Verdict,
    hook,
    parse_endpoint,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # clamd asks setuptools for its own version
    import clamd

T = TypeVar("T")

PORT = 3310  # clamd's usual one
SOCKETS = (  # where Debian, Fedora and clamd's own sample configuration put it
    "/run/clamav/clamd.ctl",
    "/run/clamd.scan/clamd.sock",
    "/var/run/clamav/clamd.sock",
    "/tmp/clamd.socket",  # noqa: S108  # only looked for, never written
)

_CHUNK = 1024 * 1024  # octets; one chunk may be as long as clamd's StreamMaxLength
_INSTREAM = b"nINSTREAM\n"
_ANSWER = 4096  # octets of an answer that are read
_VECTORS = 512  # buffers handed to the kernel at once; it takes 1024
_PROBE_TIMEOUT = 2.0  # seconds, when looking for a clamd on this machine
_REFUSAL_TIME = 0.1  # seconds; clamd refuses a stream that is announced as too long at once
_MIB = 1024 * 1024
_MOST_MIB = 4095  # the longest chunk that INSTREAM can announce

INFECTED = "Virus found: {signature}"
TOO_BIG = Reply(552, "5.3.4", "Message too big to be scanned for viruses")  # RFC 3463 3.4
TOO_BIG_NOW = Reply(452, "4.3.4", "Message too big to be scanned for viruses")


def _endpoint(value: Any) -> Any:
    return parse_endpoint(value, PORT) if isinstance(value, str) else value


class ClamAvOptions(Options):
    """What `clamav` can be told."""

    socket: Annotated[Endpoint, BeforeValidator(_endpoint)] = Endpoint(path=SOCKETS[0])
    """clamd's address: `unix:/run/clamav/clamd.ctl` or `host:port`."""
    action: Literal["reject", "quarantine", "discard", "tag"] = "reject"
    """What becomes of an infected message; `tag` adds the header `X-Virus-Found`."""
    max_size: Size | None = None
    """Larger messages aren't sent to clamd; unset leaves it to clamd's StreamMaxLength."""
    on_too_big: Literal["accept", "quarantine", "defer", "reject"] = "quarantine"
    """What becomes of a message that is too big to be scanned; `accept` lets viruses through
    that are padded to that size."""
    connect_timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0))
    """How long clamd may take to accept a connection."""
    read_timeout: Duration = Field(timedelta(seconds=60), gt=timedelta(0))
    """How long clamd may be silent; the filter's own `timeout` ends the whole scan."""


class ClamAv:
    """Has clamd scan each message for viruses, and refuses what is infected.

    A clamd that doesn't answer is an error: the filter's `on_error` decides. Its
    findings are `clean`, `infected` and `too-big`.
    """

    options_type = ClamAvOptions

    def __init__(self, options: ClamAvOptions) -> None:
        """Connects to nothing yet."""
        self._options = options
        self._takes: int | None = None  # MiB; clamd is asked once, since its log tells of it
        self.edits = options.action == "tag"

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Keeps what scans need; each scan has a connection of its own."""
        self._services = services
        yield

    @hook
    async def on_message(self, message: Message) -> Verdict:
        """Clean, infected, or too big for clamd."""
        limit = self._options.max_size
        if limit is not None and len(message) > limit:
            return self._too_big()
        scanner = Scanner(self._options)
        try:
            signature = await self._asked(scanner, scanner.scan_bytes, message.raw)
        except clamd.BufferTooLongError:
            return self._too_big()
        if not signature:
            return Pass(Finding("clean"))
        return self._infected(signature)

    async def probe(self) -> str:
        """clamd's version, and up to what size it scans."""
        scanner = Scanner(self._options)
        version = (await self._asked(scanner, scanner.version)).partition("/")[0]
        if self._takes is None:
            scanner = Scanner(self._options)
            self._takes = await self._asked(scanner, scanner.longest_stream)
        takes = self._takes * _MIB
        limit = min(takes, self._options.max_size or takes)
        return f"{version} scans up to {limit / _MIB:g} MiB; beyond: {self._options.on_too_big}"

    async def _asked(self, scanner: "Scanner", question: Callable[..., T], *about: bytes) -> T:
        """The scanner's answer, had in a thread that is freed when nobody waits any longer."""
        try:
            return await self._services.in_thread(question, *about)
        except asyncio.CancelledError:
            scanner.abort()
            raise

    @classmethod
    def found_here(cls) -> dict[str, Any] | None:
        """The socket of a clamd that answers on this machine."""
        for path in SOCKETS:
            timeout = timedelta(seconds=_PROBE_TIMEOUT)
            options = ClamAvOptions(
                socket=Endpoint(path=path), connect_timeout=timeout, read_timeout=timeout
            )
            with suppress(clamd.ClamdError, OSError):
                if Path(path).is_socket() and Scanner(options).ping() == "PONG":
                    return {"socket": f"unix:{path}"}
        return None

    def _infected(self, signature: str) -> Verdict:
        finding = Finding("infected", signature, details=(("signature", signature),))
        text = INFECTED.format(signature=signature)
        match self._options.action:
            case "reject":
                return Reject(Reply(550, "5.7.1", text), finding)
            case "quarantine":
                return Quarantine(text, finding)
            case "discard":
                return Discard(text, finding)
            case "tag":
                return Pass(finding, (AddHeader("X-Virus-Found", signature),))
            case _:
                assert_never(self._options.action)

    def _too_big(self) -> Verdict:
        finding = Finding("too-big", "too big to be scanned")
        match self._options.on_too_big:
            case "accept":
                return Pass(finding)
            case "quarantine":
                return Quarantine(TOO_BIG.text, finding)
            case "defer":
                return Defer(TOO_BIG_NOW, finding)
            case "reject":
                return Reject(TOO_BIG, finding)
            case _:
                assert_never(self._options.on_too_big)


class Scanner(clamd.ClamdNetworkSocket):  # type: ignore[misc]  # clamd ships no types
    """clamd's own client without its gaps, for both kinds of socket; one conversation each.

    It would connect before it sets its timeout, by IPv4 only, might send half of
    a chunk, make chunks of 1 KiB, and fail at an answer that isn't UTF-8.
    """

    clamd_socket: socket.socket | None = None

    def __init__(self, options: ClamAvOptions) -> None:
        """Connects when something is to be said."""
        self.timeout = options.read_timeout.total_seconds()
        self._connect_timeout = options.connect_timeout.total_seconds()
        self._address = options.socket

    def _init_socket(self) -> None:
        try:
            self.clamd_socket = self._connect()
            self.clamd_socket.settimeout(self.timeout)
        except OSError as error:
            raise clamd.ConnectionError(f"{self._address}: {error}") from error

    def _connect(self) -> socket.socket:
        address = self._address
        if not address.is_unix:
            return socket.create_connection((address.host, address.port), self._connect_timeout)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._connect_timeout)
        try:
            connection.connect(address.path)
        except OSError:
            connection.close()
            raise
        return connection

    def scan_bytes(self, content: bytes) -> str:
        """The signature that clamd found, or nothing. Raises clamd.ClamdError."""
        self._init_socket()
        assert self.clamd_socket is not None
        try:
            # clamd stops reading when its limit is passed, and says so in its answer
            with suppress(BrokenPipeError, ConnectionResetError):
                _send(self.clamd_socket, list(_instream(content)))
            return self._signature(self._recv_response())
        except OSError as error:
            raise clamd.ConnectionError(f"{self._address}: {error}") from error
        finally:
            self.clamd_socket.close()

    def longest_stream(self) -> int:
        """Its StreamMaxLength in whole MiB, found by asking. Raises clamd.ClamdError."""
        taken, refused = 0, _MOST_MIB + 1
        while refused - taken > 1:
            middle = (taken + refused) // 2
            if self._refuses(middle * _MIB):
                refused = middle
            else:
                taken = middle
        return taken

    def _refuses(self, octets: int) -> bool:
        """Whether clamd turns down a chunk of that length when it is announced."""
        self._init_socket()
        assert self.clamd_socket is not None
        try:
            self.clamd_socket.sendall(_INSTREAM + struct.pack("!L", octets))
            self.clamd_socket.settimeout(_REFUSAL_TIME)
            return self.clamd_socket.recv(1) != b""
        except TimeoutError:
            return False
        except OSError as error:
            raise clamd.ConnectionError(f"{self._address}: {error}") from error
        finally:
            self.clamd_socket.close()

    def _recv_response(self) -> str:
        """A line of clamd's, whatever a signature's author or a file's name put into it."""
        assert self.clamd_socket is not None
        try:
            with self.clamd_socket.makefile("rb") as answers:
                return answers.readline(_ANSWER).decode("ascii", "backslashreplace").strip()
        except OSError as error:
            raise clamd.ConnectionError(f"{self._address}: {error}") from error

    def _signature(self, answer: str) -> str:
        if answer.startswith("INSTREAM size limit exceeded"):
            raise clamd.BufferTooLongError(answer)
        if not answer:
            raise clamd.ConnectionError(f"{self._address}: hung up without an answer")
        _, signature, status = self._parse_response(answer)
        match status:
            case "OK":
                return ""
            case "FOUND":
                return str(signature)
            case _:
                raise clamd.ResponseError(answer)

    def abort(self) -> None:
        """Ends a scan that another thread waits for."""
        if self.clamd_socket is not None:
            with suppress(OSError):
                self.clamd_socket.shutdown(socket.SHUT_RDWR)


def _instream(content: bytes) -> Iterator[bytes | memoryview]:
    """clamd's INSTREAM command: chunks with their length before each, an empty one last."""
    yield _INSTREAM
    view = memoryview(content)
    for start in range(0, len(content), _CHUNK):
        chunk = view[start : start + _CHUNK]
        yield struct.pack("!L", len(chunk))
        yield chunk
    yield struct.pack("!L", 0)


def _send(connection: socket.socket, buffers: Sequence[bytes | memoryview]) -> None:
    """Sends all buffers, without joining them first."""
    views = [memoryview(buffer) for buffer in buffers]
    first = 0
    while first < len(views):
        sent = connection.sendmsg(views[first : first + _VECTORS])
        while first < len(views) and sent >= len(views[first]):
            sent -= len(views[first])
            first += 1
        if sent:
            views[first] = views[first][sent:]
