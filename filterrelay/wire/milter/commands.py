"""The contents of the MTA's commands, each a function from octets to a value."""

import struct
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from filterrelay.wire.milter.codes import FIRST_ACTIONS, FIRST_STEPS, Action, Family, Step
from filterrelay.wire.milter.events import (
    Connect,
    Data,
    EndOfHeader,
    EndOfMessage,
    Header,
    Helo,
    Macros,
    Mail,
    Rcpt,
    Unknown,
)

MOST_MACROS = 256  # told at one stage; Sendmail has 50 at most
_OFFER = struct.Struct(">III")
_PORT = struct.Struct(">H")
_FAMILIES = {family.value.encode(): family for family in Family}
_ALL_ACTIONS = sum(Action)
_ALL_STEPS = sum(Step)


class Malformed(Exception):  # it never leaves this package: callers get Broken
    """The contents of a command aren't what the protocol says."""


def offer(payload: bytes) -> tuple[int, Action, Step]:
    """The MTA's version, and what it knows of actions and steps. Raises Malformed."""
    if len(payload) < _OFFER.size:
        raise Malformed("negotiation is too short")
    version, actions, steps = _OFFER.unpack_from(payload)
    return (
        version,
        Action(actions & _ALL_ACTIONS) if actions else FIRST_ACTIONS,
        Step(steps & _ALL_STEPS) if steps else FIRST_STEPS,
    )


def macros(payload: bytes) -> dict[bytes, bytes]:
    """The macros that follow the command they belong to. Raises Malformed."""
    if not payload:
        raise Malformed("macros of no command")
    texts = payload[1:].split(b"\0")
    if len(texts) > 2 * MOST_MACROS + 1:
        raise Malformed("too many macros")
    names = (bare(name) for name in texts[:-1:2])
    return dict(zip(names, texts[1::2], strict=False))


def bare(name: bytes) -> bytes:
    """A macro's name without the braces that longer names have."""
    return name[1:-1] if name.startswith(b"{") and name.endswith(b"}") else name


def connect(payload: bytes, known: Macros) -> Connect:
    """Name, family, port and address; the last two are missing if unknown. Raises Malformed."""
    name, nul, rest = payload.partition(b"\0")
    family = _FAMILIES.get(rest[:1], Family.UNKNOWN)
    if not nul or not rest:
        raise Malformed("connection without a family")
    if family is Family.UNKNOWN:
        return Connect(name, family, b"", 0, known)
    if len(rest) < 1 + _PORT.size + 1:
        raise Malformed("connection without an address")
    (port,) = _PORT.unpack_from(rest, 1)
    (address,) = _texts(rest[1 + _PORT.size :], 1)
    if family is Family.INET:
        _check_ip(IPv4Address, address)
    elif family is Family.INET6:
        if address[:5].lower() == b"ipv6:":  # as Sendmail writes it (RFC 5321 section 4.1.3)
            address = address[5:]
        address = address.partition(b"%")[0]
        _check_ip(IPv6Address, address)
    return Connect(name, family, address, port, known)


def helo(payload: bytes, known: Macros) -> Helo:
    """The name. Raises Malformed."""
    return Helo(_texts(payload, 1)[0], known)


def mail(payload: bytes, known: Macros) -> Mail:
    """The sender, then the parameters. Raises Malformed."""
    path, *parameters = _texts(payload)
    return Mail(_address(path), tuple(parameters), known)


def rcpt(payload: bytes, known: Macros) -> Rcpt:
    """The recipient, then the parameters. Raises Malformed."""
    path, *parameters = _texts(payload)
    return Rcpt(_address(path), tuple(parameters), known)


def data(_: bytes, known: Macros) -> Data:
    """Nothing."""
    return Data(known)


def unknown(payload: bytes, known: Macros) -> Unknown:
    """The line. Raises Malformed."""
    return Unknown(_texts(payload, 1)[0], known)


def header(payload: bytes, adds_blank: bool) -> Header:
    """Name and value, which lacks its first blank or doesn't. Raises Malformed."""
    texts = payload.split(b"\0")
    if len(texts) != 3 or texts[2]:
        raise Malformed("field of other than two texts")
    return Header(texts[0], b" " + texts[1] if adds_blank else texts[1])


def end_of_header(_: bytes, known: Macros) -> EndOfHeader:
    """Nothing."""
    return EndOfHeader(known)


def end_of_message(payload: bytes, known: Macros) -> EndOfMessage:
    """The rest of the body."""
    return EndOfMessage(payload, known)


def _texts(payload: bytes, count: int = 0) -> list[bytes]:
    """The texts, each ended by NUL: so many, or any number but none. Raises Malformed."""
    *texts, rest = payload.split(b"\0")
    if rest:
        raise Malformed("text without an end")
    if not texts or (count and len(texts) != count):
        raise Malformed(f"{len(texts)} texts")
    return texts


def _address(path: bytes) -> bytes:
    return path[1:-1] if path.startswith(b"<") and path.endswith(b">") else path


def _check_ip(kind: type[IPv4Address | IPv6Address], address: bytes) -> None:
    try:
        kind(address.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        raise Malformed(f"no {kind.__name__}") from None
