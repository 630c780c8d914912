"""From a host's name to a connected socket: its addresses, which of them may be used, a race."""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import zip_longest
from typing import Any

from filterrelay.errors import FilterRelayError
from filterrelay.plugin.services import DnsError, Resolver
from filterrelay.settings import Network

HEAD_START = 0.25  # seconds that one address has before the next is tried, RFC 8305 section 5
MOST_ADDRESSES = 8  # of one host that are tried for one connection

_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291 section 2.4
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1

Address = IPv4Address | IPv6Address


@dataclass
class Unresolved(FilterRelayError):
    """There is no address to connect to. reason: in words. status: as RFC 3463 has it."""

    reason: str
    status: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where a socket connects to: its family, and the address in that family's form."""

    family: int
    address: tuple[Any, ...]


PlacesOf = Callable[[str, int], Awaitable[Sequence[Place]]]  # of a host and port


@dataclass(frozen=True, slots=True)
class Found:
    """What DNS says of a host's addresses.

    refused: those that no mail may go to. failure: why a look-up failed, or empty.
    """

    usable: tuple[Address, ...] = ()
    refused: tuple[Address, ...] = ()
    failure: str = ""


class HostLookup:
    """The addresses of mail servers that strangers' zones name.

    allowed: networks that mail may go to although they are private or loopback.
    """

    def __init__(self, resolver: Resolver, allowed: Sequence[Network] = ()) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def find(self, host: str) -> Found:
        """The addresses of the host, of both families; it may be an address itself."""
        try:
            return self._sorted([ip_address(host)], "")
        except ValueError:
            pass
        answers = await asyncio.gather(
            *(self._resolver.lookup(host, kind) for kind in ("AAAA", "A")), return_exceptions=True
        )
        addresses, failure = list[Address](), ""
        for answer in answers:
            if isinstance(answer, DnsError):
                failure = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                addresses += [ip_address(str(text)) for text in answer]
        return self._sorted(addresses, failure)

    async def places(self, host: str, port: int) -> Sequence[Place]:
        """Where to connect to, IPv6 first, in a new order each time. Raises Unresolved."""
        found = await self.find(host)
        if found.usable:
            addresses = random.sample(found.usable, len(found.usable))
            return _interleaved(
                [_place(a, port) for a in addresses if a.version == 6]
                + [_place(a, port) for a in addresses if a.version == 4]
            )
        if found.failure:
            raise Unresolved(found.failure, "4.4.3")
        if found.refused:
            raise Unresolved(f"no mail goes to {found.refused[0]}", "4.4.4")
        raise Unresolved("the name has no address", "4.4.4")

    def _sorted(self, addresses: Sequence[Address], failure: str) -> Found:
        usable = tuple(each for each in addresses if self._may_be_used(each))
        return Found(usable, tuple(each for each in addresses if each not in usable), failure)

    def _may_be_used(self, address: Address) -> bool:
        inner = _embedded(address)
        if any(each in network for network in self._allowed for each in (address, inner)):
            return True
        if isinstance(inner, IPv6Address) and inner not in _GLOBAL_UNICAST:
            return False
        return inner.is_global and not (inner.is_multicast or inner.is_reserved)


def _embedded(address: Address) -> Address:
    """The IPv4 address that packets to this one reach in the end, or itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _place(address: Address, port: int) -> Place:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return Place(family, (str(address), port))


async def system_places(host: str, port: int) -> Sequence[Place]:
    """Where the system, with its hosts file, has the host. Raises Unresolved."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise Unresolved("DNS gives no answer now", "4.4.3") from error
        found = []
    if not found:
        raise Unresolved("the name has no address", "4.4.4")
    return _interleaved([Place(family, address) for family, _, _, _, address in found])


def _interleaved(places: Sequence[Place]) -> Sequence[Place]:
    """The families by turns, that of the first place first (RFC 8305 section 4)."""
    ours = [place for place in places if place.family == places[0].family]
    others = [place for place in places if place.family != places[0].family]
    mixed = [place for pair in zip_longest(ours, others) for place in pair if place is not None]
    return mixed[:MOST_ADDRESSES]


async def race(places: Sequence[Place]) -> socket.socket:
    """A connection to the first place that answers (RFC 8305 section 5). Raises OSError.

    Each has a head start before the next, and that one begins at once when it fails.
    """
    waiting, running = deque(places), set[asyncio.Task[socket.socket]]()
    error: BaseException = OSError("there is nowhere to connect to")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connected(waiting.popleft())))
            done, _ = await asyncio.wait(
                running,
                timeout=HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                running.discard(task)
                failed = task.exception()
                if failed is None:
                    return task.result()
                error = failed
    finally:
        await _abandon(running)
    raise error


async def _connected(place: Place) -> socket.socket:
    connection = socket.socket(place.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(connection, place.address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _abandon(tasks: set[asyncio.Task[socket.socket]]) -> None:
    """Ends the attempts that came too late, and closes what they have opened."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and task.exception() is None:
            task.result().close()
