"""Mail addresses as the envelope has them, parsed strictly."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import idna

from filterrelay.errors import FilterRelayError

MAX_LOCAL = 64  # octets, RFC 5321 section 4.5.3.1.1
MAX_DOMAIN = 255  # octets, RFC 5321 section 4.5.3.1.2
MAX_PATH = 256  # octets with the angle brackets, RFC 5321 section 4.5.3.1.3

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_UTF8 = r"[^\x00-\x9f\u2028\u2029\ufeff\ufffd]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_DOT_STRING_UTF8 = re.compile(rf"(?:{_ATEXT}|{_UTF8})+(?:\.(?:{_ATEXT}|{_UTF8})+)*\Z")
_QUOTED = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"\Z')
_QUOTED_UTF8 = re.compile(rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|{_UTF8}|\\[\x20-\x7e])*"\Z')
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_LABEL_UTF8 = rf"(?:[A-Za-z0-9_-]|{_UTF8}){{1,63}}"
_DOMAIN_UTF8 = re.compile(rf"{_LABEL_UTF8}(?:\.{_LABEL_UTF8})*\Z")


@dataclass
class BadAddress(FilterRelayError):
    """The address is not one that RFC 5321 allows."""

    text: str
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: local part and domain, both as they came (RFC 5321 section 4.1.2).

    local: without angle brackets, quotes kept. domain: a name or an address
    literal; empty only for the bare `postmaster`.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def key(self) -> str:
        """The form to compare by: all in lower case, quotes that change nothing removed."""
        local = self.local
        if local.startswith('"'):
            bare = re.sub(r"\\(.)", r"\1", local[1:-1])
            if _DOT_STRING.match(bare):
                local = bare
        return f"{local}@{self.domain}".lower()

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it (RFC 6531)."""
        return not (self.local.isascii() and self.domain.isascii())


def parse_mailbox(text: str, *, utf8: bool = False) -> Address:
    """The mailbox written as `local@domain`; `postmaster` alone is allowed.

    utf8: whether letters beyond ASCII may stand in it (RFC 6531 section 3.3).
    Raises BadAddress with a text for the client.
    """
    if not utf8 and not text.isascii():
        raise BadAddress(text, "the address has letters beyond ASCII; say SMTPUTF8 with MAIL")
    local, at, domain = text.rpartition("@")
    if not at:
        if text.lower() == "postmaster":
            return Address(text, "")
        raise BadAddress(text, "the address has no @")
    _check_local(local, text, utf8=utf8)
    _check_domain(domain, text, utf8=utf8)
    if len(text.encode()) + 2 > MAX_PATH:
        raise BadAddress(text, "the address is longer than 254 octets")
    return Address(local, domain)


def _check_local(local: str, text: str, *, utf8: bool) -> None:
    if not local:
        raise BadAddress(text, "the address has nothing before the @")
    if len(local.encode()) > MAX_LOCAL:
        raise BadAddress(text, "the part before the @ is longer than 64 octets")
    dot_string, quoted = (_DOT_STRING_UTF8, _QUOTED_UTF8) if utf8 else (_DOT_STRING, _QUOTED)
    if not (dot_string.match(local) or quoted.match(local)):
        raise BadAddress(text, "the part before the @ has a character that must be quoted")


def _check_domain(domain: str, text: str, *, utf8: bool) -> None:
    if not domain:
        raise BadAddress(text, "the address has nothing after the @")
    if len(domain.encode()) > MAX_DOMAIN:
        raise BadAddress(text, "the domain is longer than 255 octets")
    if domain.startswith("["):
        _check_literal(domain, text)
    elif not (_DOMAIN_UTF8 if utf8 else _DOMAIN).match(domain):
        raise BadAddress(text, "the domain is not a valid name")


def _check_literal(domain: str, text: str) -> None:
    """Refuses all but IPv4 and IPv6 literals (RFC 5321 section 4.1.3)."""
    inner = domain[1:-1] if domain.endswith("]") else ""
    is_v6 = inner[:5].lower() == "ipv6:"
    try:
        ipaddress.IPv6Address(inner[5:]) if is_v6 else ipaddress.IPv4Address(inner)
        valid = "%" not in inner  # Python takes any text for the scope behind it
    except ValueError:
        valid = False
    if not valid:
        raise BadAddress(text, "the address literal is not an IPv4 or IPv6 address")


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """What a configuration file says of addresses.

    `user@office.example` is that address, `*@office.example` everyone there,
    `*.office.example` everyone in its subdomains, `office.example` short for
    `*@office.example`, and `*` or `*@*` everyone. Letter case doesn't matter, and a
    domain's letters beyond ASCII are the same as their ASCII form.
    Any other text is a ValueError.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuses what could match nobody."""
        if self.means_everybody:
            return
        local, at, domain = self.text.rpartition("@")
        if not at:
            domain = domain.removeprefix("*.")
        if "*" in domain or ("*" in local and local != "*"):
            raise ValueError(
                f"{self.text!r} is no address pattern: a * stands for all before the @, "
                "or for all subdomains as in *.office.example"
            )
        try:
            parse_mailbox(f"{local if at and local != '*' else 'anybody'}@{domain}", utf8=True)
        except BadAddress as error:
            raise ValueError(
                f"{self.text!r} is no address pattern, such as *@office.example: {error}"
            ) from None

    @property
    def means_everybody(self) -> bool:
        """Whether every address is meant."""
        return self.text in ("*", "*@*")

    def covers(self, other: "AddressPattern") -> bool:
        """Whether every address that the other means is meant here, too."""
        if other.means_everybody or self.means_everybody:
            return self.means_everybody
        local, at, domain = other.text.rpartition("@")
        if at and local != "*":
            return self.matches(Address(local, domain))
        one_address = "@" in self.text and not self.text.startswith("*@")
        if one_address or (domain.startswith("*.") and not self.text.startswith("*.")):
            return False
        return self.matches(Address("anybody", domain))

    def matches(self, address: Address) -> bool:
        """Whether the address is one of those meant."""
        if self.means_everybody:
            return True
        local, at, meant = self.text.rpartition("@")
        domain = ascii_domain(address.domain)
        if not at and meant.startswith("*."):
            return domain.endswith(f".{ascii_domain(meant[2:])}")
        if domain != ascii_domain(meant):
            return False
        return not at or local == "*" or Address(address.local, "").key == Address(local, "").key


def ascii_domain(domain: str) -> str:
    """The domain to compare by, in lower case and as DNS has it (IDNA 2008, RFC 5891).

    What has no such form stays as it is.
    """
    return domain.lower() if domain.isascii() else _encoded(domain)


@lru_cache(maxsize=1024)
def _encoded(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain.lower()


def any_matches(patterns: Iterable[AddressPattern], address: Address) -> bool:
    """Whether one of the patterns means the address."""
    return any(pattern.matches(address) for pattern in patterns)
