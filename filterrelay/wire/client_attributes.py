"""XCLIENT's and XFORWARD's attributes: what a mail server says of its client, read and written.

Postfix's XCLIENT_README and XFORWARD_README define them; no RFC does.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from filterrelay.errors import FilterRelayError
from filterrelay.mail.session import Session

XCLIENT = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
XFORWARD = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
MAX_VALUE = 255  # characters
MAX_COMMAND = 512  # octets with CRLF, RFC 5321 section 4.5.3.1.4
MAX_XCLIENT = 2048  # Postfix's line_length_limit

_UNAVAILABLE = "[UNAVAILABLE]"
_UNKNOWN = frozenset((_UNAVAILABLE, "[TEMPUNAVAIL]"))
_IPV6 = "IPV6:"
_ENCODED = re.compile(rb"\+([0-9A-Fa-f]{2})")
_NOT_XTEXT = re.compile(rb"[^!-*,-<>-~]")  # RFC 3461 section 4
_SPECIAL = re.compile(r"[\x00-\x20\x7f-\U0010ffff\"(),;<>@\\]")  # in a header or beyond ASCII


@dataclass
class BadAttribute(FilterRelayError):
    """What is said of the client is not an attribute with a value that can be taken."""

    text: str


def parse_attributes(argument: str, known: Collection[str]) -> dict[str, str]:
    """What a command says, by the name in capitals; empty for what isn't known of the client.

    known: the names that were offered. An address comes without `IPV6:`, and as IPv4 where
    it is only mapped into IPv6; a name with `?` for what a header could misread, as Postfix
    has it. Raises BadAttribute.
    """
    said = [word.partition("=") for word in argument.split()]
    if not said:
        raise BadAttribute("attribute=value expected")
    attributes: dict[str, str] = {}
    for name, equals, value in said:
        name = name.upper()
        if name not in known:
            raise BadAttribute("An attribute that is not offered here")
        if not equals:
            raise BadAttribute(f"{name}: a value is missing")
        attributes[name] = _value(name, value)
    return attributes


def _value(name: str, encoded: str) -> str:
    try:
        value = _ENCODED.sub(lambda m: bytes.fromhex(m[1].decode()), encoded.encode()).decode()
        if value.upper() in _UNKNOWN:
            return ""
        if value:
            return _READERS.get(name, _word)(value)
    except ValueError:
        pass
    raise BadAttribute(f"{name}: not a valid value")


def _word(value: str) -> str:
    """One word of ASCII: clients call themselves anything, which is no reason to refuse mail."""
    return _SPECIAL.sub("?", value[:MAX_VALUE])


def _address(value: str) -> str:
    if value[: len(_IPV6)].upper() == _IPV6:
        value = value[len(_IPV6) :]
    if "%" in value:
        raise ValueError("a scope means nothing elsewhere")
    address = ip_address(value)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _port(value: str) -> str:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 0xFFFF):
        raise ValueError("not a port")
    return str(int(value))


def _source(value: str) -> str:
    if value.upper() not in ("LOCAL", "REMOTE"):
        raise ValueError("neither of both")
    return value.upper()


def _login(value: str) -> str:
    if len(value) > MAX_VALUE or not value.isprintable():
        raise ValueError("not a name")
    return value


_READERS: Mapping[str, Callable[[str], str]] = {
    "ADDR": _address,
    "DESTADDR": _address,
    "PORT": _port,
    "DESTPORT": _port,
    "SOURCE": _source,
    "LOGIN": _login,
    "PROTO": lambda value: _word(value[:64]).upper(),
}


def xforward_commands(offered: Collection[str], client: Session, *, local: bool) -> list[bytes]:
    """XFORWARD with all that the next hop asks for, in as many commands as it takes.

    offered: the names in its answer to EHLO. local: the mail comes from that machine itself.
    """
    values = _values(client) | {
        "IDENT": client.queue_id,
        "SOURCE": "LOCAL" if local else "REMOTE",
    }
    return list(_commands("XFORWARD", XFORWARD, offered, values, MAX_COMMAND))


def xclient_commands(offered: Collection[str], client: Session) -> list[bytes]:
    """XCLIENT with all that the next hop takes of it.

    In one command even where that is long: after it Postfix takes no other from this client,
    nor keeps what that one doesn't say (smtpd.c, xclient_cmd).
    """
    values = _values(client) | {
        "LOGIN": client.login,
        "DESTADDR": _written(client.server_ip),
        "DESTPORT": str(client.server_port or ""),
    }
    return list(_commands("XCLIENT", XCLIENT, offered, values, MAX_XCLIENT))


def _values(client: Session) -> dict[str, str]:
    return {
        "NAME": client.client_name,
        "ADDR": _written(client.client_ip),
        "PORT": str(client.client_port or ""),
        "PROTO": "ESMTP" if client.esmtp else "SMTP",
        "HELO": client.helo,
    }


def _written(address: str) -> str:
    return f"{_IPV6}{address}" if ":" in address else address


def _commands(
    verb: str,
    names: Sequence[str],
    offered: Collection[str],
    values: Mapping[str, str],
    most: int,
) -> Iterator[bytes]:
    """The commands. most: octets of each."""
    line = verb.encode()
    for name in names:
        if name not in offered:
            continue
        word = b" %b=%b" % (name.encode(), _encoded(values[name] or _UNAVAILABLE))
        if len(line) + len(word) + 2 > most:
            yield line + b"\r\n"
            line = verb.encode()
        line += word
    if line != verb.encode():
        yield line + b"\r\n"


def _encoded(value: str) -> bytes:
    return _NOT_XTEXT.sub(lambda m: b"+%02X" % m[0][0], value.encode())
