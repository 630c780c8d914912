"""A bad input as a script of steps, and what must come of it.

In all octets `{tag}` stands for a word of the case's own, by which its mail is
known upstream. Who plays by the rules is `case-{tag}`; a mail from or to
`evil-{tag}` was smuggled.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal

SENDER = b"case-{tag}@office.example"
RECIPIENT = b"user-{tag}@partner.example"
SMUGGLED = (
    b"MAIL FROM:<evil-{tag}@office.example>\r\n"
    b"RCPT TO:<evil-{tag}@partner.example>\r\n"
    b"DATA\r\n"
    b"Subject: smuggled {tag}\r\n\r\nThis must not be a mail of its own.\r\n.\r\n"
)


@dataclass(frozen=True)
class Say:
    """A line, CRLF added, and its reply.

    expects: beginnings of the codes allowed, as `250 5`. After one with an
    exclamation mark (`250 5!`) the rest of the script is left out.
    """

    line: bytes
    expects: str


@dataclass(frozen=True)
class Send:
    """Octets as they are, so many times; no reply is awaited."""

    octets: bytes
    times: int = 1


@dataclass(frozen=True)
class Hear:
    """One reply. expects: as in Say.

    accepts: a 250 here takes charge of a message, which then must arrive.
    """

    expects: str
    accepts: bool = False


@dataclass(frozen=True)
class HearAll:
    """All replies until 221, 421 or the connection's end; at most `most`.

    to_hello: they answer EHLO or HELO, so that they have no enhanced codes (RFC 2034).
    """

    expects: str
    most: int = 1000
    to_hello: bool = False


@dataclass(frozen=True)
class StartTls:
    """The TLS handshake."""


@dataclass(frozen=True)
class HalfClose:
    """The client has nothing more to say, but listens."""


@dataclass(frozen=True)
class Pause:
    """A moment, so that the octets before and after travel in different packets."""

    seconds: float = 0.05


Step = Say | Send | Hear | HearAll | StartTls | HalfClose | Pause
Ending = Literal["quit", "closed", "either", "hang up"]


@dataclass(frozen=True)
class Case:
    """One bad input.

    arrives: how many messages of it may reach the upstream. ending: after the
    steps the session still answers QUIT with 221 (`quit`), or the server has
    closed it or does so now (`closed`), or one of these (`either`), or the
    client goes without a word (`hang up`). door: the listener's name, or `smtps
    in plain text`. hello: whether the greeting is read and EHLO said first.
    """

    name: str
    steps: tuple[Step, ...]
    arrives: Container[int] = (0,)
    ending: Ending = "quit"
    door: str = "open"
    hello: bool = True

    def __str__(self) -> str:
        return self.name


MAIL = Say(b"MAIL FROM:<" + SENDER + b">", "250")
RCPT = Say(b"RCPT TO:<" + RECIPIENT + b">", "250")
DATA = Say(b"DATA", "354")
HELLO = Say(b"EHLO client.office.example", "250")
TO_DATA = (MAIL, RCPT, DATA)
HEADER = b"From: <" + SENDER + b">\r\nTo: <" + RECIPIENT + b">\r\nSubject: {tag}\r\n"
ACCEPTED = Hear("250", accepts=True)
ACCEPTED_OR_REFUSED = Hear("250 5", accepts=True)


def over_tls(*steps: Step) -> tuple[Step, ...]:
    """The steps after STARTTLS and a new EHLO."""
    return (Say(b"STARTTLS", "220"), StartTls(), HELLO, *steps)


def message(body: bytes) -> Send:
    """A whole message with its header and its proper end."""
    return Send(HEADER + b"\r\n" + body + b"\r\n.\r\n")


def chunk(octets: bytes, *, last: bool) -> Send:
    """A BDAT command with its octets (RFC 3030), the tag's true length reckoned in."""
    size = len(octets.replace(b"{tag}", b"t0000z"))
    return Send(b"BDAT %d%s\r\n" % (size, b" LAST" if last else b"") + octets)


def refused(prefix: str, lines: Iterable[tuple[str, bytes]], *before: Step) -> list[Case]:
    """One case a line that must be answered 5xx and leave the session usable."""
    return [Case(f"{prefix}: {name}", (*before, Say(line, "5"))) for name, line in lines]


def nonsense(prefix: str, lines: Iterable[tuple[str, bytes]]) -> list[Case]:
    """One case a line that is no command; the server may bid farewell at once."""
    return [
        Case(f"{prefix}: {name}", (Say(line, "5 221!"),), ending="either") for name, line in lines
    ]


def tolerable(prefix: str, lines: Iterable[tuple[str, bytes]], *before: Step) -> list[Case]:
    """One case a line that may be taken or refused, but not with a 4xx."""
    return [Case(f"{prefix}: {name}", (*before, Say(line, "2 5"))) for name, line in lines]
