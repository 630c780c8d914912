"""The contents of the MTA's commands, each a function from octets to a value."""

import socket
import struct

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
_FAMILY_AND_PORT = struct.Struct(">cH")
_SYSTEM_FAMILIES = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}
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
    """Name, family, port and address; the last two are missing if unknown. Raises Malformed.

    Postfix says `unknown` as the IPv4 address of a client that it knows nothing of.
    """
    name, nul, rest = payload.partition(b"\0")
    family = _FAMILIES.get(rest[:1], Family.UNKNOWN)
    if not nul or not rest:
        raise Malformed("connection without a family")
    if family is Family.UNKNOWN:
        return Connect(name, family, b"", 0, known)
    if len(rest) < _FAMILY_AND_PORT.size:
        raise Malformed("connection without a port")
    _, port = _FAMILY_AND_PORT.unpack_from(rest)
    (address,) = _texts(rest[_FAMILY_AND_PORT.size :], 1)
    if family is not Family.UNIX:
        address = _ip_address(family, address)
    if not address:
        return Connect(name, Family.UNKNOWN, b"", 0, known)
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


def _ip_address(family: Family, address: bytes) -> bytes:
    """The address alone, or nothing if it is none of that family."""
    if address[:5].lower() == b"ipv6:":  # as in a HELO (RFC 5321 section 4.1.3)
        address = address[5:]
    address = address.partition(b"%")[0]  # the scope
    try:
        socket.inet_pton(_SYSTEM_FAMILIES[family], address.decode("ascii"))
    except (OSError, ValueError):
        return b""
    return address
