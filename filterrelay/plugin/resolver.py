"""The real DNS: dnspython's asynchronous stub resolver behind a cache of our own.

Identical look-ups under way are made once, and answers are kept as long as DNS
says, within bounds: names that don't exist (RFC 2308) and failures (RFC 9520)
too, so that a dead zone costs one time-out every few seconds, not one a message.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from dns.asyncresolver import Resolver as StubResolver
from dns.exception import DNSException, Timeout
from dns.flags import AD, RD
from dns.message import QueryMessage
from dns.name import Name, from_text
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, Answer, NoNameservers, NoResolverConfiguration

from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import parse_endpoint
from filterrelay.observe.clock import Clock
from filterrelay.plugin.services import DnsAnswer, DnsError

Record = str | bytes | tuple[int, str]

DNS_PORT = 53
MAX_RECORDS = 100  # of one answer; more are left out
MAX_CHAIN = 8  # CNAMEs followed from one answer to the next
MAX_ENTRIES = 20_000  # answers kept
MAX_OCTETS = 16 * 1024 * 1024  # of all answers kept, roughly
MAX_AT_ONCE = 256  # look-ups on the wire; each holds a socket
UDP_PAYLOAD = 1232  # octets; what passes everywhere without fragments
TRY_NEXT_SERVER = 2.0  # seconds without a word from one

_DOCKER = "127.0.0.11"

SHORTEST = 5.0  # seconds an answer is kept at least, even with a TTL of 0
LONGEST = 86_400.0  # and at most
LONGEST_NEGATIVE = 900.0  # RFC 2308 section 5 allows hours; a new record shall work sooner
FAILURE = 5.0  # RFC 9520 section 3.2: at least a second, at most five minutes

_SHAPES: dict[str, Callable[[Any], Record]] = {
    "A": lambda rdata: str(rdata.address),
    "AAAA": lambda rdata: str(rdata.address),
    "PTR": lambda rdata: _plain(rdata.target),
    "CNAME": lambda rdata: _plain(rdata.target),
    "NS": lambda rdata: _plain(rdata.target),
    "TXT": lambda rdata: b"".join(rdata.strings),
    "MX": lambda rdata: (int(rdata.preference), _plain(rdata.exchange)),
    "TLSA": lambda rdata: bytes((rdata.usage, rdata.selector, rdata.mtype)) + rdata.cert,
}


@dataclass
class BadDnsServers(FilterRelayError):
    """The DNS servers to ask can't be told."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Known:
    """One answer: its records, or why there is none, and until when it is believed.

    secure: the servers say that DNSSEC proves it. name: where its CNAMEs end.
    """

    records: tuple[Record, ...]
    failure: str
    until: float  # on the monotonic clock
    secure: bool = False
    name: str = ""

    @property
    def octets(self) -> int:
        """Roughly what it takes in memory."""
        return 200 + len(self.name) + sum(50 + len(record) for record in self.records)


class Cache:
    """Answers by name and kind, the least recently used forgotten first."""

    def __init__(self, entries: int = MAX_ENTRIES, octets: int = MAX_OCTETS) -> None:
        """Takes its bounds."""
        self._entries = entries
        self._octets = octets
        self._held = 0
        self._known: dict[tuple[str, str], Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: tuple[str, str], now: float) -> Known | None:
        """What is known, unless its time is over."""
        known = self._known.pop(key, None)
        if known is None:
            return None
        if known.until <= now:
            self._held -= known.octets
            return None
        self._known[key] = known
        return known

    def put(self, key: tuple[str, str], known: Known) -> None:
        """Keeps the answer, and forgets others for it."""
        old = self._known.pop(key, None)
        self._held += known.octets - (old.octets if old else 0)
        self._known[key] = known
        while len(self._known) > self._entries or self._held > self._octets:
            forgotten = self._known.pop(next(iter(self._known)))
            self._held -= forgotten.octets


class DnsResolver:
    """Look-ups through the configured servers, or the machine's own.

    Implements `SecureResolver` of services.py. Close it before its event loop ends.
    """

    def __init__(
        self,
        servers: Sequence[str],
        timeout: timedelta,
        clock: Clock,
        *,
        validating: bool | None = None,
    ) -> None:
        """servers: `address` or `address:port`. Raises BadDnsServers.

        validating: whether to believe what they say of DNSSEC; None: if all are on this machine.
        """
        self._stub = _stub(servers, timeout.total_seconds())
        self.validating = _are_local(self._stub) if validating is None else validating
        self._clock = clock
        self._cache = Cache()
        self._under_way: dict[tuple[str, str], asyncio.Task[Known]] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def lookup(self, name: str, kind: str) -> Sequence[Record]:
        """The records of a name, in the shapes that `Resolver.lookup` tells. Raises DnsError."""
        return (await self._known(name, kind)).records

    async def lookup_secure(self, name: str, kind: str) -> DnsAnswer:
        """The same, and whether DNSSEC proves it. Raises DnsError."""
        known = await self._known(name, kind)
        return DnsAnswer(known.records, known.secure and self.validating, known.name)

    async def _known(self, name: str, kind: str) -> Known:
        key = (name.rstrip(".").lower(), kind)
        known = self._cache.get(key, self._clock.monotonic())
        if known is None:
            known = await self._ask_once(key)
        if known.failure:
            raise DnsError(known.failure)
        return known

    async def close(self) -> None:
        """Gives up every look-up under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_once(self, key: tuple[str, str]) -> Known:
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(*key))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # Whoever asked first may give up; the others still wait for the answer.
        return await asyncio.shield(task)

    async def _ask(self, name: str, kind: str) -> Known:
        asked = _name(name)
        if asked is None:
            return Known((), "", self._clock.monotonic() + LONGEST_NEGATIVE)
        try:
            async with self._slots:
                known = await self._follow(asked, kind)
        except (DNSException, DnsError, OSError) as error:
            reason = f"{name} {kind}: {_words(error)}"
            known = Known((), reason, self._clock.monotonic() + FAILURE)
        else:
            most = LONGEST if known.records else LONGEST_NEGATIVE
            kept = min(max(known.until, SHORTEST), most)
            known = replace(known, until=self._clock.monotonic() + kept)
        self._cache.put((name, kind), known)
        return known

    async def _follow(self, name: Name, kind: str) -> Known:
        """The answer along CNAMEs that the server doesn't follow itself; until: its TTL."""
        shortest, secure = LONGEST, True
        for _ in range(MAX_CHAIN):
            try:
                answer = await self._stub.resolve(
                    name, kind, raise_on_no_answer=False, search=False
                )
            except NXDOMAIN as error:
                end, proved = _absent(error, name)
                shortest = min(shortest, _negative_ttl(error))
                return Known((), "", shortest, secure and proved, _plain(end))
            shortest = min(shortest, answer.chaining_result.minimum_ttl)
            secure = secure and bool(answer.response.flags & AD)
            if answer.rrset is not None or answer.canonical_name == name:
                end = answer.canonical_name
                return Known(_records(answer, kind), "", shortest, secure, _plain(end))
            name = answer.canonical_name
        raise DnsError(f"more than {MAX_CHAIN} CNAMEs")


def _stub(servers: Sequence[str], timeout: float) -> StubResolver:
    try:
        stub = StubResolver(configure=not servers)
        if servers:
            stub.nameservers = [_server(text) for text in servers]
    except NoResolverConfiguration:
        reason = "the machine's resolv.conf names no DNS server; set dns.servers"
        raise BadDnsServers(reason) from None
    stub.lifetime = timeout
    stub.timeout = min(TRY_NEXT_SERVER, timeout / len(stub.nameservers))  # each gets its turn
    stub.use_edns(0, 0, UDP_PAYLOAD)
    stub.flags = RD | AD  # RFC 6840 section 5.7: the answer shall say whether it is authentic
    return stub


def _are_local(stub: StubResolver) -> bool:
    """Whether nobody on the way could have changed the AD bit (RFC 4035 section 4.9.3).

    Docker's server looks as if it were here, and hands on whatever comes from elsewhere.
    """
    addresses = [str(getattr(server, "address", server)) for server in stub.nameservers]
    try:
        return all(ip_address(each).is_loopback and each != _DOCKER for each in addresses)
    except ValueError:
        return False  # a server that is reached by HTTPS has a URL


def _server(text: str) -> Do53Nameserver:
    try:
        endpoint = parse_endpoint(text, DNS_PORT)
        return Do53Nameserver(str(ip_address(endpoint.host)), endpoint.port)
    except ValueError:
        raise BadDnsServers(f"dns.servers: {text!r} is no address of a server") from None


def _name(text: str) -> Name | None:
    """The name, or None for one that no zone could have."""
    try:
        return from_text(text)
    except (DNSException, UnicodeError):
        return None


def _words(error: Exception) -> str:
    """What went wrong, without our servers' addresses: senders are told of it, too."""
    match error:
        case Timeout():
            return "DNS time-out"
        case NoNameservers():
            said = {str(told) for _, _, _, told, _ in error.kwargs["errors"]}
            return f"DNS answered {', '.join(sorted(said))}"
        case _:
            return str(error)


def _plain(name: Name) -> str:
    return name.to_text(omit_final_dot=True)


def _records(answer: Answer, kind: str) -> tuple[Record, ...]:
    if answer.rrset is None:
        return ()
    shape = _SHAPES[kind]
    return tuple(shape(rdata) for rdata in list(answer.rrset)[:MAX_RECORDS])


def _absent(error: NXDOMAIN, name: Name) -> tuple[Name, bool]:
    """Which name at the end of the CNAMEs doesn't exist, and whether that is authentic."""
    responses: dict[Name, QueryMessage] = error.kwargs["responses"]
    try:
        response = responses[name]
        return response.resolve_chaining().canonical_name, bool(response.flags & AD)
    except (DNSException, KeyError):
        return name, False


def _negative_ttl(error: NXDOMAIN) -> float:
    """How long the name may be thought absent: by the zone's SOA (RFC 2308 section 5)."""
    responses: dict[Name, QueryMessage] = error.kwargs["responses"]
    try:
        return min(response.resolve_chaining().minimum_ttl for response in responses.values())
    except (DNSException, ValueError):
        return SHORTEST
