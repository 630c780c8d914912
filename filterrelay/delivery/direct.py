"""Direct delivery: the mail servers that DNS names for a domain (RFC 5321 section 5.1)."""

import asyncio
import hashlib
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby

from filterrelay.delivery.addresses import Address, Found, HostLookup
from filterrelay.delivery.protection import Groups, Protections
from filterrelay.delivery.site import NoWay, Site
from filterrelay.mail.address import ascii_domain
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.reply import Reply
from filterrelay.plugin.services import DnsError, SecureResolver

MOST_HOSTS = 20  # of one domain; those of worse preference are left out

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_NULL = [(0, ".")]  # RFC 7505 section 3


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Who we are, so that no mail goes in a circle.

    hostname: the relay's name. listening: where it takes mail over SMTP.
    """

    hostname: str
    listening: Sequence[Endpoint] = ()

    def are(self, host: str, addresses: Sequence[Address], port: int) -> bool:
        """Whether a server of that name, or at one of these addresses, is this relay."""
        return host == self.hostname.lower() or any(
            _covers(endpoint, address)
            for endpoint in self.listening
            for address in addresses
            if endpoint.port == port
        )


def _covers(endpoint: Endpoint, address: Address) -> bool:
    """Whether who connects to the address comes to this endpoint."""
    try:
        own = ip_address(endpoint.host)
    except ValueError:
        return False
    if own.is_unspecified:
        return own.version >= address.version and _is_of_this_machine(address)
    return own == address


def _is_of_this_machine(address: Address) -> bool:
    """Whether an interface has the address: then a way there begins at it. Nothing is sent.

    Being bound to it proves nothing where addresses move between machines
    (`net.ipv4.ip_nonlocal_bind`), but IPv4 has no way from one that isn't here. IPv6 has,
    and begins at the address itself unasked, where IPv4 prefers the interface's first.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if address.version == 4:
                probe.bind((str(address), 0))
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False


class DirectSites:
    """The mail servers of every domain.

    hosts: their addresses. port: what they listen on. protections: what domains demand.
    """

    def __init__(
        self,
        resolver: SecureResolver,
        hosts: HostLookup,
        ourselves: Ourselves,
        port: int = 25,
        *,
        protections: Protections | None = None,
    ) -> None:
        self._protections = protections
        self._resolver = resolver
        self._hosts = hosts
        self._ourselves = ourselves
        self._port = port

    async def site(self, domain: str, tls: str = "") -> Site:
        """The servers that may be connected to. tls: the route's policy. Raises NoWay."""
        if domain.startswith("["):
            literal = domain.strip("[]").lower().removeprefix("ipv6:")
            groups = await self._within_reach(domain, ((str(ip_address(literal)),),))
            return Site(_name(groups), groups)
        name = _ascii(domain)
        named, secure = await self._named(domain, name)
        groups = await self._within_reach(domain, named)
        if self._protections is not None:
            protected = await self._protections.of(name, groups, secure=secure, tls=tls)
            groups, tls = protected.groups, protected.tls
        return Site(_name(groups), groups, tls, secure)

    async def _named(self, domain: str, name: str) -> tuple[Groups, bool]:
        """The servers that the domain names, and whether DNSSEC proves it."""
        try:
            answer = await self._resolver.lookup_secure(name, "MX")
        except DnsError as error:
            raise NoWay(_no_answer(domain, str(error))) from error
        servers = [record for record in answer.records if isinstance(record, tuple)]
        if servers == _NULL:
            raise NoWay(Reply(556, "5.1.10", f"{domain} takes no mail"))  # RFC 7505 section 4.1
        if servers:
            return _groups(servers), answer.secure
        return ((name,),), answer.secure

    async def _within_reach(self, domain: str, groups: Groups) -> Groups:
        """The servers that are better than we ourselves are, and may have an address."""
        hosts = [host for group in groups for host in group]
        found = dict(zip(hosts, await asyncio.gather(*map(self._hosts.find, hosts)), strict=True))
        kept: list[tuple[str, ...]] = []
        looping = False
        for group in groups:
            looping = any(self._is_us(host, found[host]) for host in group)
            if looping:
                break
            usable = tuple(host for host in group if found[host].usable or found[host].failure)
            if usable:
                kept.append(usable)
        if any(found[host].usable for group in kept for host in group):
            return tuple(kept)
        failures = [found[host].failure for group in kept for host in group]
        if failures:
            raise NoWay(_no_answer(domain, failures[0]))
        if looping:
            raise NoWay(Reply(550, "5.4.6", f"Mail for {domain} would come back to this relay"))
        if any(each.refused for each in found.values()):
            why = "has only mail servers at addresses that no mail is delivered to"
            raise NoWay(Reply(550, "5.4.4", f"{domain} {why}"))
        raise NoWay(Reply(550, "5.1.2", f"{domain} does not exist, or has no mail server"))

    def _is_us(self, host: str, found: Found) -> bool:
        return self._ourselves.are(host, (*found.usable, *found.refused), self._port)


def _no_answer(domain: str, failure: str) -> Reply:
    return Reply(451, "4.4.3", f"The mail servers of {domain} can't be found now: {failure}")


def _ascii(domain: str) -> str:
    """The domain in lower case as DNS has it, U-labels as A-labels (RFC 5891). Raises NoWay."""
    name = ascii_domain(domain)
    if not _HOST.match(name):
        raise NoWay(Reply(550, "5.1.2", f"{domain!r} is no domain that could take mail"))
    return name


def _groups(servers: Sequence[tuple[int, str]]) -> Groups:
    """Host names by preference, each once; what is no host's name is left out."""
    best: dict[str, int] = {}
    for preference, server in sorted(servers):
        host = server.lower()
        if _HOST.match(host) and not host.rpartition(".")[2].isdigit():
            best.setdefault(host, preference)
    ranked = sorted(best.items(), key=lambda item: (item[1], item[0]))[:MOST_HOSTS]
    return tuple(
        tuple(host for host, _ in group) for _, group in groupby(ranked, key=lambda item: item[1])
    )


def _name(groups: Groups) -> str:
    """The same for the same servers, and never for others."""
    (best, *_), *_ = groups
    more = sum(map(len, groups)) - 1
    if not more:
        return best
    return f"{best}+{more}.{hashlib.sha256(repr(groups).encode()).hexdigest()[:16]}"
