"""The DNS resolver against a name server on the loopback, by UDP and TCP."""

import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from filterrelay.observe.clock import SystemClock
from filterrelay.plugin.resolver import (
    MAX_RECORDS,
    BadDnsServers,
    Cache,
    DnsResolver,
    Known,
)
from filterrelay.plugin.services import DnsError
from filterrelay.plugin.testing import FakeClock
from tests.acceptance.peers.process import udp_and_tcp


class NameServer(asyncio.DatagramProtocol):
    """Answers from zone lines by name and kind; counts what it is asked.

    silent, failing: names that get no answer, or SERVFAIL. insecure: names whose answers
    DNSSEC doesn't prove. big: names whose answer doesn't fit into UDP. held: set an
    event here to keep answers back.
    """

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.ttl = 300
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.insecure: set[str] = set()
        self.big: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.by_tcp = 0
        self.held: asyncio.Event | None = None
        self.heard = asyncio.Event()
        self.waiting: set[asyncio.Task[None]] = set()
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._respond(data, addr))
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)

    async def _respond(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self.answer(dns.message.from_wire(data))
        if self.held:
            await self.held.wait()
        if response is None:
            return
        if response.question[0].name.to_text(True) in self.big:
            response.answer.clear()
            response.flags |= dns.flags.TC
        self.transport.sendto(response.to_wire(), addr)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        response = self.answer(dns.message.from_wire(await reader.readexactly(size)))
        self.by_tcp += 1
        assert response is not None
        wire = response.to_wire(max_size=65_535)
        writer.write(struct.pack("!H", len(wire)) + wire)
        await writer.drain()
        writer.close()

    def answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text(True).lower(), question.rdtype.name
        self.asked.append((name, kind))
        self.heard.set()
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if query.flags & dns.flags.AD and name not in self.insecure:
            response.flags |= dns.flags.AD
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        for type_ in (kind, "CNAME"):
            if (name, type_) in self.zone:
                rrset = dns.rrset.from_text_list(
                    question.name, self.ttl, "IN", type_, self.zone[name, type_]
                )
                response.answer.append(rrset)
                return response
        soa = f"ns. host. 1 3600 600 86400 {self.ttl}"
        response.authority.append(dns.rrset.from_text(".", self.ttl, "IN", "SOA", soa))
        if not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    """A name server at work."""
    loop = asyncio.get_running_loop()
    by_udp, by_tcp = udp_and_tcp()
    transport, server = await loop.create_datagram_endpoint(NameServer, sock=by_udp)
    tcp = await asyncio.start_server(server.serve_tcp, sock=by_tcp)
    yield server
    for task in list(server.waiting):
        task.cancel()
    transport.close()
    tcp.close()
    await tcp.wait_closed()


@pytest.fixture
async def clock() -> FakeClock:
    """The resolver's idea of time."""
    return FakeClock()


@pytest.fixture
async def resolver(server: NameServer, clock: FakeClock) -> AsyncIterator[DnsResolver]:
    """A resolver that asks the name server."""
    made = DnsResolver([f"127.0.0.1:{server.port}"], timedelta(seconds=2), clock)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        ("A", ["192.0.2.1", "192.0.2.2"], {"192.0.2.1", "192.0.2.2"}),
        ("AAAA", ["2001:db8::1"], {"2001:db8::1"}),
        ("TXT", ['"v=spf1 " "-all"', '"other"'], {b"v=spf1 -all", b"other"}),
        ("MX", ["10 mx.office.example."], {(10, "mx.office.example")}),
        ("PTR", ["host.office.example."], {"host.office.example"}),
        ("NS", ["ns.office.example."], {"ns.office.example"}),
        ("CNAME", ["other.example."], {"other.example"}),
    ],
)
async def test_records_come_in_the_shape_that_plugins_expect(
    server: NameServer,
    resolver: DnsResolver,
    kind: str,
    written: list[str],
    read: set[object],
) -> None:
    """As `Resolver.lookup` tells."""
    server.zone["office.example", kind] = written
    assert set(await resolver.lookup("office.example", kind)) == read


async def test_a_name_that_does_not_exist_is_an_empty_answer(resolver: DnsResolver) -> None:
    """NXDOMAIN is no error."""
    assert list(await resolver.lookup("gone.example", "A")) == []


async def test_a_name_without_such_records_is_an_empty_answer(
    server: NameServer, resolver: DnsResolver
) -> None:
    """Neither is a name of other records."""
    server.zone["office.example", "A"] = ["192.0.2.1"]
    assert list(await resolver.lookup("office.example", "AAAA")) == []


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", ".".join(["x" * 60] * 5), "\\"])
async def test_an_impossible_name_is_an_empty_answer(
    server: NameServer, resolver: DnsResolver, name: str
) -> None:
    """No zone could have it, so no server is asked."""
    assert list(await resolver.lookup(name, "A")) == []
    assert server.asked == []


async def test_a_server_that_fails_is_an_error(server: NameServer, resolver: DnsResolver) -> None:
    """SERVFAIL says nothing about the name."""
    server.failing.add("office.example")
    with pytest.raises(DnsError, match=r"^office\.example TXT: DNS answered SERVFAIL$"):
        await resolver.lookup("office.example", "TXT")


async def test_a_server_that_keeps_silent_is_an_error(server: NameServer) -> None:
    """After the configured time."""
    server.silent.add("office.example")
    resolver = DnsResolver([f"127.0.0.1:{server.port}"], timedelta(milliseconds=50), SystemClock())
    with pytest.raises(DnsError, match=r"^office\.example A: DNS time-out$"):
        await resolver.lookup("office.example", "A")
    await resolver.close()


async def test_an_answer_too_big_for_udp_comes_by_tcp(
    server: NameServer, resolver: DnsResolver
) -> None:
    """DKIM keys of 4096 bits and long SPF records need it."""
    server.zone["office.example", "TXT"] = [" ".join(['"' + "x" * 250 + '"'] * 8)]
    server.big.add("office.example")
    (text,) = await resolver.lookup("office.example", "TXT")
    assert text == b"x" * 2000
    assert server.by_tcp == 1


async def test_an_answer_is_asked_for_once_while_it_is_valid(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    """Until the TTL is over, whatever the letter case or a final dot."""
    server.zone["office.example", "A"] = ["192.0.2.1"]
    await resolver.lookup("office.example", "A")
    clock.advance(timedelta(seconds=299))
    await resolver.lookup("OFFICE.example.", "A")
    assert len(server.asked) == 1
    clock.advance(timedelta(seconds=2))
    await resolver.lookup("office.example", "A")
    assert len(server.asked) == 2


async def test_absence_is_remembered_as_long_as_the_zone_says(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    """RFC 2308 section 5."""
    server.ttl = 60
    await resolver.lookup("gone.example", "A")
    clock.advance(timedelta(seconds=59))
    await resolver.lookup("gone.example", "A")
    assert len(server.asked) == 1
    clock.advance(timedelta(seconds=2))
    await resolver.lookup("gone.example", "A")
    assert len(server.asked) == 2


async def test_absence_is_never_believed_for_hours(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    """A record published now shall work within a quarter of an hour."""
    server.ttl = 86_400
    await resolver.lookup("gone.example", "A")
    clock.advance(timedelta(minutes=16))
    await resolver.lookup("gone.example", "A")
    assert len(server.asked) == 2


async def test_a_failure_is_remembered_for_seconds(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    """A dead zone costs one time-out every few seconds, not one a message (RFC 9520)."""
    server.failing.add("office.example")
    for _ in range(3):
        with pytest.raises(DnsError):
            await resolver.lookup("office.example", "A")
    assert len(server.asked) == 1
    server.failing.clear()
    clock.advance(timedelta(seconds=6))
    assert list(await resolver.lookup("office.example", "A")) == []


async def test_a_ttl_of_nothing_still_spares_a_burst(
    server: NameServer, resolver: DnsResolver
) -> None:
    """A few seconds are kept in any case."""
    server.ttl = 0
    server.zone["office.example", "A"] = ["192.0.2.1"]
    await resolver.lookup("office.example", "A")
    await resolver.lookup("office.example", "A")
    assert len(server.asked) == 1


async def test_the_same_question_at_once_is_asked_once(
    server: NameServer, resolver: DnsResolver
) -> None:
    """Fifty messages of one sender arriving together are one look-up."""
    server.zone["office.example", "A"] = ["192.0.2.1"]
    answers = await asyncio.gather(*(resolver.lookup("office.example", "A") for _ in range(50)))
    assert all(list(answer) == ["192.0.2.1"] for answer in answers)
    assert len(server.asked) == 1


async def test_who_gives_up_does_not_take_the_answer_from_the_others(
    server: NameServer, resolver: DnsResolver
) -> None:
    """The first to ask may time out; the second still gets what it asked for."""
    server.zone["office.example", "A"] = ["192.0.2.1"]
    server.held = asyncio.Event()
    first = asyncio.create_task(resolver.lookup("office.example", "A"))
    second = asyncio.create_task(resolver.lookup("office.example", "A"))
    await server.heard.wait()
    first.cancel()
    server.held.set()
    assert list(await second) == ["192.0.2.1"]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_alias_is_followed_across_answers(
    server: NameServer, resolver: DnsResolver
) -> None:
    """Also when the server leaves that to us."""
    server.zone["s1._domainkey.office.example", "CNAME"] = ["keys.provider.example."]
    server.zone["keys.provider.example", "TXT"] = ['"v=DKIM1; p="']
    found = await resolver.lookup("s1._domainkey.office.example", "TXT")
    assert list(found) == [b"v=DKIM1; p="]


async def test_an_alias_to_nothing_is_an_empty_answer(
    server: NameServer, resolver: DnsResolver
) -> None:
    """The name at its end doesn't exist."""
    server.zone["alias.example", "CNAME"] = ["gone.example."]
    assert list(await resolver.lookup("alias.example", "A")) == []


async def test_aliases_in_a_circle_are_an_error(server: NameServer, resolver: DnsResolver) -> None:
    """Followed only so far."""
    server.zone["a.example", "CNAME"] = ["b.example."]
    server.zone["b.example", "CNAME"] = ["a.example."]
    with pytest.raises(DnsError, match="CNAME"):
        await resolver.lookup("a.example", "A")


async def test_a_thousand_records_are_not_all_taken(
    server: NameServer, resolver: DnsResolver
) -> None:
    """What a stranger's zone can make grow has a limit."""
    server.zone["office.example", "A"] = [f"10.0.{i // 250}.{i % 250}" for i in range(1000)]
    server.big.add("office.example")
    assert len(await resolver.lookup("office.example", "A")) == MAX_RECORDS


async def test_the_second_server_is_asked_when_the_first_is_not_there(
    server: NameServer, unused_udp_port: int
) -> None:
    """In the order of the configuration."""
    server.zone["office.example", "A"] = ["192.0.2.1"]
    servers = [f"127.0.0.1:{unused_udp_port}", f"127.0.0.1:{server.port}"]
    resolver = DnsResolver(servers, timedelta(seconds=1), SystemClock())
    assert list(await resolver.lookup("office.example", "A")) == ["192.0.2.1"]
    await resolver.close()


async def test_closing_ends_what_is_under_way(server: NameServer) -> None:
    """Nobody waits for an answer after the end."""
    server.silent.add("office.example")
    resolver = DnsResolver([f"127.0.0.1:{server.port}"], timedelta(seconds=60), SystemClock())
    asking = asyncio.create_task(resolver.lookup("office.example", "A"))
    await server.heard.wait()
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("text", ["dns.office.example", "127.0.0.1:port", "[::1", ""])
def test_a_server_must_be_an_address(text: str) -> None:
    """A name would need a resolver to be found."""
    with pytest.raises(BadDnsServers, match="is no address of a server"):
        DnsResolver([text], timedelta(seconds=1), SystemClock())


def test_the_machines_own_servers_are_the_default() -> None:
    """When the configuration names none."""
    assert DnsResolver([], timedelta(seconds=1), SystemClock())


def test_the_cache_forgets_the_least_recently_used() -> None:
    """Its number of answers has a limit."""
    cache = Cache(entries=2)
    for name in ("a", "b"):
        cache.put((name, "A"), Known(("192.0.2.1",), "", 10))
    assert cache.get(("a", "A"), now=0)
    cache.put(("c", "A"), Known(("192.0.2.1",), "", 10))
    assert [bool(cache.get((name, "A"), now=0)) for name in "abc"] == [True, False, True]


def test_the_cache_holds_only_so_many_octets() -> None:
    """Sixty-four kilobytes of TXT a name would fill any memory."""
    cache = Cache(octets=5000)
    for number in range(10):
        cache.put((str(number), "TXT"), Known((b"x" * 1000,), "", 10))
    assert len(cache) == 4


def test_what_is_put_anew_counts_once() -> None:
    """The octets of the old answer are given back, those of an expired one too."""
    cache = Cache(octets=3000)
    for _ in range(10):
        cache.put(("a", "TXT"), Known((b"x" * 1000,), "", 10))
    assert cache.get(("a", "TXT"), now=11) is None
    cache.put(("b", "TXT"), Known((b"x" * 2000,), "", 10))
    assert cache.get(("b", "TXT"), now=0)


async def test_a_validating_server_is_believed(resolver: DnsResolver, server: NameServer) -> None:
    """What it proves is secure, also that a name or a record isn't there."""
    server.zone["_25._tcp.mx.example", "TLSA"] = ["3 1 1 " + "ab" * 32]
    found = await resolver.lookup_secure("_25._tcp.mx.example", "TLSA")
    assert (list(found.records), found.secure) == ([bytes((3, 1, 1)) + b"\xab" * 32], True)
    for name in ("_25._tcp.mx.example", "nobody.example"):
        absent = await resolver.lookup_secure(name, "A")
        assert (list(absent.records), absent.secure, absent.name) == ([], True, name)
    server.insecure.add("open.example")
    assert not (await resolver.lookup_secure("open.example", "A")).secure


@pytest.mark.parametrize("weak", ["mx.example", "mx.host.example"])
async def test_a_chain_of_aliases_is_as_secure_as_its_weakest_link(
    resolver: DnsResolver, server: NameServer, weak: str
) -> None:
    """And the name at its end is told."""
    server.zone["mx.example", "CNAME"] = ["mx.host.example."]
    server.zone["mx.host.example", "A"] = ["192.0.2.1"]
    assert (await resolver.lookup_secure("mx.example", "A")).secure
    server.insecure.add(weak)
    server.zone["mx.host.example", "AAAA"] = ["2001:db8::1"]
    found = await resolver.lookup_secure("mx.example", "AAAA")
    assert (found.secure, found.name) == (False, "mx.host.example")


@pytest.mark.parametrize(
    ("servers", "said", "trusted"),
    [
        (["127.0.0.1", "::1"], None, True),
        (["127.0.0.1", "192.0.2.1"], None, False),
        (["127.0.0.11"], None, False),
        (["192.0.2.1"], True, True),
        (["127.0.0.1"], False, False),
    ],
)
async def test_servers_elsewhere_are_believed_only_when_the_file_says_so(
    servers: list[str], said: bool | None, trusted: bool
) -> None:
    """On the way here anybody could say that an answer is authentic."""
    resolver = DnsResolver(servers, timedelta(seconds=1), SystemClock(), validating=said)
    assert resolver.validating is trusted
    await resolver.close()
