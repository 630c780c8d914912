"""What all connections of one listener share, made once."""

import asyncio
import ssl
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from itertools import product
from typing import Protocol

from filterrelay.doors.admission import WorkerAdmission
from filterrelay.intake.transaction import Onward
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Credentials, Identity, Session
from filterrelay.observe.beginnings import begin_listener
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import COMMANDS, CONNECTION_RESULTS, LOGIN_RESULTS, Metrics
from filterrelay.plugin.hooks import Reads
from filterrelay.settings import Limits, Listener
from filterrelay.wire.client_attributes import XCLIENT, XFORWARD
from filterrelay.wire.data import Bounds

LOOPBACK = "127.0.0.1"
_NAMING_CLIENTS = (f"XCLIENT {' '.join(XCLIENT)}", f"XFORWARD {' '.join(XFORWARD)}")


class Intake(Protocol):
    """What the door asks of `filterrelay.intake.transaction.Intake`; None means go on."""

    def judged(self, listener: str) -> frozenset[str]:
        """The stages, by their hooks' names, where a client can be refused there."""
        ...

    def reads(self, listener: str) -> Reads | None:
        """How much of a message there is needed, None for nothing."""
        ...

    async def on_connect(self, session: Session) -> Reply | None:
        """Judges a client before the greeting."""

    async def on_helo(self, session: Session) -> Reply | None:
        """Judges the name that the client gives itself."""

    async def authenticate(self, session: Session, credentials: Credentials) -> Identity | None:
        """Who that is, or None when the password is wrong. Raises AuthUnavailable."""

    async def reconfirm(self, session: Session, envelope: Envelope) -> Identity | None:
        """Who a client is by now. Raises LoginOver and AuthUnavailable."""

    async def on_sender(self, session: Session, envelope: Envelope) -> Reply | None:
        """Judges the sender."""

    async def on_recipient(
        self, session: Session, envelope: Envelope, recipient: Recipient
    ) -> Reply | None:
        """Judges one recipient."""

    async def receive(
        self,
        session: Session,
        envelope: Envelope,
        raw: bytes,
        reservation: Reservation,
        onward: Onward | None = None,
    ) -> Reply:
        """Takes a complete message, and its part of the memory budget.

        onward: how the door passes it on itself.
        """
        ...

    def refuse_content(
        self, session: Session, envelope: Envelope, reply: Reply, size: int
    ) -> Reply:
        """Notes a message that the door can't take as it came; what the client is told."""
        ...

    def on_close(self, session: Session) -> None:
        """The session has ended."""


@dataclass(frozen=True)
class DoorPolicy:
    """One listener's rules.

    tls: what STARTTLS or implicit TLS uses, None without. offer_requiretls:
    the whole way to the next hop can keep it. max_line: octets of a message's
    line; RFC 5321 section 4.5.3.1.6 has 1000, real mail has more. tarpit:
    seconds after a client's first failed login, doubled with each further one.
    """

    listener: Listener
    limits: Limits
    hostname: str
    tls: ssl.SSLContext | None = None
    offer_requiretls: bool = False
    max_line: int = 65_536
    tarpit: float = 0.5

    @property
    def offers_starttls(self) -> bool:
        """Whether a plain connection may become an encrypted one."""
        return self.tls is not None and self.listener.tls == "starttls"

    def offers_requiretls(self, session: Session) -> bool:
        """Whether REQUIRETLS can be kept (RFC 8689 section 2)."""
        return self.offer_requiretls and session.tls is not None

    def trusts(self, client_ip: str) -> bool:
        """Whether the client may relay without a login; a local one counts as loopback."""
        if not self.listener.trusted_networks:
            return False
        address = ip_address(client_ip or LOOPBACK)
        return any(address in network for network in self.listener.trusted_networks)

    def speaks_for_clients(self, peer_ip: str) -> bool:
        """Whether a mail server there may say who its client is; a local one counts as loopback."""
        if not self.listener.xclient_from:
            return False
        address = ip_address(peer_ip or LOOPBACK)
        return any(address in network for network in self.listener.xclient_from)

    def believes(self, proxy_ip: str) -> bool:
        """Whether a PROXY header from there may name the client; a local one counts as loopback."""
        address = ip_address(proxy_ip or LOOPBACK)
        if not self.listener.proxy_from:
            return address.is_loopback
        return any(address in network for network in self.listener.proxy_from)

    @cached_property
    def bounds(self) -> Bounds:
        """How much one message may be."""
        limits = self.limits
        return Bounds(limits.message_size, self.max_line, limits.header_size, limits.header_fields)

    @cached_property
    def _greetings(self) -> dict[tuple[bool, ...], Reply]:
        return {
            case: Reply(250, "", "\n".join([self.hostname, *self._keywords(*case)]))
            for case in product((False, True), repeat=3)
        }

    def ehlo(self, session: Session, *, names_clients: bool = False) -> Reply:
        """EHLO's answer: what is offered now. names_clients: to a mail server that may do so."""
        tls, kept = session.tls is not None, self.offers_requiretls(session)
        return self._greetings[tls, kept, names_clients]

    def _keywords(self, tls: bool, requiretls: bool, names_clients: bool) -> list[str]:
        starttls = ["STARTTLS"] if self.offers_starttls and not tls else []
        auth = ["AUTH PLAIN LOGIN"] if tls and self.listener.auth != "none" else []
        return [
            *("PIPELINING", f"SIZE {self.limits.message_size}", "8BITMIME", "SMTPUTF8"),
            *("ENHANCEDSTATUSCODES", "CHUNKING", "DSN", *starttls, *auth),
            *(["REQUIRETLS"] if requiretls else []),
            *(_NAMING_CLIENTS if names_clients else []),
            "HELP",
        ]


class Counters:
    """The listener's series, looked up once."""

    def __init__(self, metrics: Metrics, listener: str) -> None:
        begin_listener(metrics, listener)
        self.commands = {
            name.upper(): metrics.commands.labels(listener, name)
            for name in COMMANDS
            if name != "other"
        }
        self.other_commands = metrics.commands.labels(listener, "other")
        self.logins = {name: metrics.logins.labels(listener, name) for name in LOGIN_RESULTS}
        self.connections = {
            name: metrics.connections.labels(listener, name) for name in CONNECTION_RESULTS
        }
        self.sessions = metrics.sessions.labels(listener)
        self.accept_seconds = metrics.accept_seconds.labels(listener)


@dataclass(frozen=True)
class Reception:
    """What a session works with, shared by all of a listener's."""

    policy: DoorPolicy
    intake: Intake
    budget: MemoryBudget
    admission: WorkerAdmission
    counters: Counters
    clock: Clock
    loop: asyncio.AbstractEventLoop
