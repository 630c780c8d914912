"""A door on loopback with an intake that remembers, and a client that speaks raw octets."""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from filterrelay.chain.run import Judgement
from filterrelay.doors.admission import Admission
from filterrelay.doors.policy import DoorPolicy
from filterrelay.doors.server import Door, OpenSession
from filterrelay.doors.smtp import SmtpSession
from filterrelay.intake.transaction import Onward
from filterrelay.mail.edits import Edit, edit_envelope, edit_message
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.mail.verdict import Verdict
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.hooks import Reads
from filterrelay.settings import Limits, Listener


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the program runs on: its transports are not asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


QUEUED = Reply(250, "2.0.0", "OK, queued as TEST")


@dataclass
class Received:
    """One message as the intake got it."""

    session: Session
    envelope: Envelope
    raw: bytes
    reserved: int


@dataclass
class RememberingIntake:
    """Takes everything unless told otherwise, and remembers it.

    answers: a hook's name to the reply, exception or future it shall give. verdict, edits:
    what mail that a door passes on itself is passed on with; without, it is kept here.
    """

    messages: list[Received] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    credentials: list[Credentials] = field(default_factory=list)
    closed: list[Session] = field(default_factory=list)
    refused: list[tuple[Reply, int]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    edits: tuple[Edit, ...] = ()
    stages: frozenset[str] = frozenset()
    wants: Reads | None = "body"

    async def _answer(self, hook: str) -> Any:
        self.asked.append(hook)
        answer = self.answers.get(hook)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Future):
            return await answer
        return answer

    def judged(self, listener: str) -> frozenset[str]:
        return self.stages

    def reads(self, listener: str) -> Reads | None:
        return self.wants

    async def on_connect(self, session: Session) -> Any:
        return await self._answer("on_connect")

    async def on_helo(self, session: Session) -> Any:
        return await self._answer("on_helo")

    async def authenticate(self, session: Session, credentials: Credentials) -> Any:
        self.credentials.append(credentials)
        answer = await self._answer("authenticate")
        if answer is not None:
            return answer
        good = (credentials.login, credentials.password) == ("anna", "sesame")
        return Identity("anna", source="test") if good else None

    async def reconfirm(self, session: Session, envelope: Envelope) -> Any:
        if "reconfirm" not in self.answers:
            return session.identity
        return await self._answer("reconfirm")

    async def on_sender(self, session: Session, envelope: Envelope) -> Any:
        return await self._answer("on_sender")

    async def on_recipient(self, session: Session, envelope: Envelope, recipient: Recipient) -> Any:
        if recipient.address.local == "refused":
            return Reply(550, "5.1.1", "No such user")
        return await self._answer("on_recipient")

    async def receive(
        self,
        session: Session,
        envelope: Envelope,
        raw: bytes,
        reservation: Reservation,
        onward: Onward | None = None,
    ) -> Reply:
        answer = await self._answer("receive")
        self.messages.append(Received(session, envelope, raw, reservation.octets))
        reservation.release()
        if answer is None and onward is not None and self.verdict is not None:
            return await onward.pass_on(self._judgement(envelope, raw))
        return answer or QUEUED

    def _judgement(self, envelope: Envelope, raw: bytes) -> Judgement:
        assert self.verdict is not None
        message, edits = Message("TEST", raw), self.edits
        edited = edit_envelope(envelope, edits), edit_message(message, edits)
        return Judgement(self.verdict, "", *edited, {}, edits, ())

    def refuse_content(
        self, session: Session, envelope: Envelope, reply: Reply, size: int
    ) -> Reply:
        self.refused.append((reply, size))
        return replace(reply, text=f"{reply.text} [TEST]")

    def on_close(self, session: Session) -> None:
        self.closed.append(session)


class RawClient:
    """Sends octets as they are, reads replies whole."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, octets: bytes) -> None:
        """Sends without waiting for an answer."""
        self.writer.write(octets)

    async def answer(self) -> str:
        """The next reply, its lines joined by line feeds; empty at the end."""
        lines = []
        while True:
            async with asyncio.timeout(10):
                line = (await self.reader.readline()).decode()
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, *lines: str) -> str:
        """Sends command lines at once; returns the last one's reply."""
        self.send("".join(f"{line}\r\n" for line in lines).encode())
        for _ in lines:
            reply = await self.answer()
        return reply

    async def begin(self, *parameters: str) -> None:
        """EHLO, MAIL and RCPT, which must succeed."""
        mail = " ".join(["MAIL FROM:<anna@office.example>", *parameters])
        reply = await self.say("EHLO client.example", mail, "RCPT TO:<bert@partner.example>")
        assert reply.startswith("250"), reply

    async def start_tls(self, *, ehlo: bool = True) -> None:
        """STARTTLS, and EHLO again."""
        assert (await self.say("EHLO client.example", "STARTTLS")).startswith("220")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await self.writer.start_tls(context)
        if ehlo:
            assert (await self.say("EHLO client.example")).startswith("250")

    async def ended(self) -> bool:
        """Whether the server has closed, with nothing more to say."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        """Closes our side."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return


@dataclass
class RunningDoor:
    """A door that serves, and what it works with."""

    door: Door
    intake: RememberingIntake
    budget: MemoryBudget
    metrics: Metrics
    address: tuple[str, int]
    logs: list[MutableMapping[str, Any]] = field(default_factory=list)
    clients: list[RawClient] = field(default_factory=list)

    async def connect(self, *, greeted: bool = True, **options: Any) -> RawClient:
        """A new client; greeted: the greeting is read already."""
        client = RawClient(*await asyncio.open_connection(*self.address, **options))
        self.clients.append(client)
        if greeted:
            assert (await client.answer()).startswith("220 ")
        return client

    def sessions(self) -> list[SmtpSession]:
        """The sessions that are open."""
        return [s for s in self.door._sessions.values() if isinstance(s, SmtpSession)]

    def read_ahead(self) -> int:
        """Octets that have come and were not yet looked at."""
        return sum(len(session._buffer) for session in self.sessions())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something to be so."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  # a condition of any kind
                await asyncio.sleep(0)

    async def drain(self, grace: float) -> list[str]:
        """Drains the door; returns the events that were logged so far, and forgets them."""
        await self.door.drain(grace)
        events = [entry["event"] for entry in self.logs]
        self.logs.clear()
        return events

    def count(self, series: str, **labels: str) -> float:
        """A series' value."""
        return self.metrics.registry.get_sample_value(series, labels) or 0.0


OpenDoor = Callable[..., Any]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture(scope="session")
def server_tls(certificate: Path) -> ssl.SSLContext:
    """The door's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def listening_socket() -> socket.socket:
    """A bound, listening socket on loopback."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    return sock


@pytest.fixture
async def open_door(server_tls: ssl.SSLContext) -> AsyncIterator[OpenDoor]:
    """Opens doors: open_door(limits={…}, memory=…, tls="starttls", …).

    session: what speaks with the clients. intake: another one.
    """
    opened: list[RunningDoor] = []

    async def opening(
        *,
        limits: dict[str, Any] | None = None,
        memory: int = 1 << 28,
        policy: dict[str, Any] | None = None,
        sock: socket.socket | None = None,
        session: OpenSession = SmtpSession,
        intake: RememberingIntake | None = None,
        **listener: Any,
    ) -> RunningDoor:
        intake, metrics, budget = intake or RememberingIntake(), Metrics(), MemoryBudget(memory)
        named = {"kind": "smtp", "address": "127.0.0.1:0", "name": "submission"}
        rules = Listener(**named | listener)
        tls = server_tls if rules.tls != "none" else None
        more = {"tarpit": 0.0, **(policy or {})}
        door = Door(
            DoorPolicy(rules, Limits(**limits or {}), "relay.example", tls, **more),
            session,
            intake,
            budget,
            Admission(1).for_worker(0),
            metrics,
            SystemClock(),
        )
        sock = sock or listening_socket()
        running = RunningDoor(door, intake, budget, metrics, sock.getsockname(), logs)
        await door.start(sock)
        opened.append(running)
        return running

    with capture_logs() as logs:
        yield opening
        for running in opened:
            for client in running.clients:
                await client.close()
            await running.door.drain(2)
    events = {entry["event"] for entry in logs}
    assert not events & {"session_failed", "sessions_cut"}, logs


@asynccontextmanager
async def held(intake: RememberingIntake, hook: str) -> AsyncIterator[asyncio.Future[Any]]:
    """A hook that gives no answer until it is told to."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    intake.answers[hook] = answer
    yield answer
    if not answer.done():
        answer.set_result(None)
