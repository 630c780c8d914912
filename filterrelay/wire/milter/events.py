"""What the MTA tells, as values; texts are octets as they came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from filterrelay.wire.milter.codes import Action, Family, Step

Macros = Mapping[bytes, bytes]
"""The MTA's symbols that hold at an event, such as `i`, `auth_authen`; names have no braces."""


class Header(NamedTuple):
    """A field of the message's header (SMFIC_HEADER).

    value: all that follows the colon, the blank at its beginning included, lines parted by
    LF. The blank is what the MTA's message has if Step.LEADING_SPACE was granted; else the
    MTA took one away, if there was one, and it has been put back here.
    """

    name: bytes
    value: bytes

    @property
    def field(self) -> bytes:
        """The field as the message has it, CRLF line ends and all.

        Nothing is folded, unfolded or trimmed: DKIM's simple form (RFC 6376 section 3.4.1)
        signs each octet of it.
        """
        return b"%b:%b\r\n" % (self.name, self.value.replace(b"\n", b"\r\n"))


class Body(NamedTuple):
    """A piece of the message's body (SMFIC_BODY), CRLF line ends; it may be cut anywhere."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What was agreed on (SMFIC_OPTNEG); only the MTA's offer is ever used.

    answer: the reply to send now. version: the lower one of both sides.
    """

    version: int
    actions: Action
    steps: Step
    answer: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """A client has connected to the MTA (SMFIC_CONNECT).

    name: the host's name, or its address in brackets. address: an IP address as text,
    without scope or `IPv6:`; the path of a unix socket; or empty. port: 0 if unknown.
    """

    name: bytes
    family: Family
    address: bytes
    port: int
    macros: Macros


@dataclass(frozen=True, slots=True)
class Helo:
    """How the client calls itself (SMFIC_HELO); again after STARTTLS, or at any time."""

    name: bytes
    macros: Macros


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM (SMFIC_MAIL). address: without angle brackets, empty for a bounce."""

    address: bytes
    parameters: tuple[bytes, ...]
    macros: Macros


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO (SMFIC_RCPT). address: without angle brackets."""

    address: bytes
    parameters: tuple[bytes, ...]
    macros: Macros


@dataclass(frozen=True, slots=True)
class Data:
    """The DATA command (SMFIC_DATA)."""

    macros: Macros


@dataclass(frozen=True, slots=True)
class Unknown:
    """A command that the MTA doesn't know (SMFIC_UNKNOWN).

    line: all of it with Sendmail, its first word with Postfix.
    """

    line: bytes
    macros: Macros


@dataclass(frozen=True, slots=True)
class EndOfHeader:
    """The header section is complete (SMFIC_EOH)."""

    macros: Macros


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The message is complete (SMFIC_BODYEOB): now edits may be sent, then the verdict.

    octets: the last piece of the body; with Postfix and Sendmail it's always empty.
    """

    octets: bytes
    macros: Macros


@dataclass(frozen=True, slots=True)
class Abort:
    """The message under way is void (SMFIC_ABORT, or MAIL or HELO in the middle of it).

    It is told once, only while there is a message, and gets no reply.
    """


@dataclass(frozen=True, slots=True)
class Quit:
    """The MTA ends the connection (SMFIC_QUIT); nothing follows, and there is no reply."""


@dataclass(frozen=True, slots=True)
class QuitNewConnection:
    """The client is gone (SMFIC_QUIT_NC): Connect follows on this connection. No reply."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The MTA's bytes are no milter protocol: the connection is to be closed at once.

    Nothing follows. The MTA takes that as a filter that is out of order.
    """

    reason: str


Event = (
    Negotiated
    | Connect
    | Helo
    | Mail
    | Rcpt
    | Data
    | Unknown
    | Header
    | EndOfHeader
    | Body
    | EndOfMessage
    | Abort
    | Quit
    | QuitNewConnection
    | Broken
)
