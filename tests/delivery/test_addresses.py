"""Addresses of hosts: which may be used, and which answers first."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest

from filterrelay.delivery.addresses import (
    HEAD_START,
    MOST_ADDRESSES,
    HostLookup,
    Place,
    Unresolved,
    race,
    system_places,
)
from filterrelay.plugin.testing import FakeResolver

DOCUMENTATION = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
LOOPBACK = ip_network("::1/128")
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


async def found(address: str, *allowed: str) -> bool:
    """Whether mail may go to that address."""
    kind = "AAAA" if ":" in address else "A"
    resolver = FakeResolver({("mx.host.example", kind): [address]})
    lookup = HostLookup(resolver, [ip_network(text) for text in allowed])
    answer = await lookup.find("mx.host.example")
    assert (*answer.usable, *answer.refused) == (ip_address(address),)
    return bool(answer.usable)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1"),
        *("::", "::1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "::127.0.0.1"),
        *("::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:7f00:1::"),
    ],
)
async def test_no_mail_goes_to_what_is_not_on_the_internet(address: str) -> None:
    """A stranger's zone can't point the relay at machines behind it."""
    assert not await found(address)


@pytest.mark.parametrize(
    "address", ["9.9.9.9", "2620:fe::9", "64:ff9b::9.9.9.9", "::ffff:9.9.9.9", "2002:909:909::"]
)
async def test_mail_goes_to_the_internet(address: str) -> None:
    """By either family, and through translators."""
    assert await found(address)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("::1", "::1/128"),
        ("127.0.0.2", "127.0.0.0/8"),
    ],
)
async def test_an_allowed_network_is_delivered_to(address: str, network: str) -> None:
    """And its neighbours are not."""
    assert await found(address, network)
    assert not await found("172.16.0.1", network)


async def test_the_families_take_turns_and_ipv6_begins() -> None:
    """At most a few addresses, in a new order each time (RFC 8305 section 4)."""
    records = {
        ("mx.host.example", "A"): [f"192.0.2.{n}" for n in range(10)],
        ("mx.host.example", "AAAA"): ["2001:db8::1", "2001:db8::2"],
    }
    lookup = HostLookup(FakeResolver(records), DOCUMENTATION)
    tried = [await lookup.places("mx.host.example", 25) for _ in range(20)]
    families = [place.family for place in tried[0]]
    assert families[:5] == [FAMILIES[6], FAMILIES[4], FAMILIES[6], FAMILIES[4], FAMILIES[4]]
    assert {len(places) for places in tried} == {MOST_ADDRESSES}
    assert len({places[1] for places in tried}) > 1


@pytest.mark.parametrize(
    ("records", "failing", "reason", "status"),
    [
        ({}, ("mx.host.example",), "set to fail", "4.4.3"),
        ({}, (), "the name has no address", "4.4.4"),
        ({("mx.host.example", "A"): ["127.0.0.1"]}, (), "no mail goes to 127.0.0.1", "4.4.4"),
    ],
)
async def test_a_host_without_a_usable_address_is_explained(
    records: dict[tuple[str, str], list[str]], failing: tuple[str, ...], reason: str, status: str
) -> None:
    """In words, whichever it lacks."""
    lookup = HostLookup(FakeResolver(records, failing))
    with pytest.raises(Unresolved, match=reason) as unresolved:
        await lookup.places("mx.host.example", 25)
    assert unresolved.value.status == status


async def test_the_system_knows_its_own_names() -> None:
    """A smart host may stand in /etc/hosts."""
    places = await system_places("localhost", 25)
    assert {place.address[:2] for place in places} <= {("127.0.0.1", 25), ("::1", 25)}


@pytest.mark.parametrize(
    ("number", "reason"),
    [(socket.EAI_NONAME, "the name has no address"), (socket.EAI_AGAIN, "DNS gives no answer")],
)
async def test_the_systems_refusal_is_put_into_words(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    """Instead of an error number."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "in the system's words")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(Unresolved, match=reason):
        await system_places("gone.host.example", 25)


@contextmanager
def listening() -> Iterator[Place]:
    """A place that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Place(socket.AF_INET, server.getsockname())


@contextmanager
def silent() -> Iterator[Place]:
    """A place that never answers: its backlog is full, so that the system drops what comes."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield Place(socket.AF_INET, server.getsockname())


def refusing() -> Place:
    """A place where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return Place(socket.AF_INET, taken.getsockname())


async def winner(*places: Place) -> Place:
    """Which of them the race connected to."""
    with await race(places) as connection:
        return Place(connection.family, connection.getpeername())


async def test_the_first_that_answers_wins_and_a_silent_one_costs_its_head_start() -> None:
    """A broken IPv6 is hardly noticed (RFC 8305 section 5)."""
    loop = asyncio.get_running_loop()
    with silent() as dead, listening() as alive, listening() as other:
        assert await winner(alive, other) == alive
        began = loop.time()
        assert await winner(dead, alive) == alive
        assert HEAD_START <= loop.time() - began < 4 * HEAD_START


async def test_a_server_that_has_ipv6_alone_is_reached() -> None:
    """By the address that DNS has."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        lookup = HostLookup(FakeResolver({("mx.host.example", "AAAA"): ["::1"]}), [LOOPBACK])
        places = await lookup.places("mx.host.example", server.getsockname()[1])
        with await race(places) as connection:
            assert connection.getpeername()[:2] == server.getsockname()[:2]


async def test_one_that_refuses_gives_way_at_once() -> None:
    """Without its head start."""
    loop = asyncio.get_running_loop()
    with listening() as alive:
        began = loop.time()
        assert await winner(refusing(), refusing(), refusing(), alive) == alive
        assert loop.time() - began < HEAD_START


async def test_when_all_refuse_the_last_refusal_is_told() -> None:
    """As the system has it."""
    with pytest.raises(ConnectionRefusedError):
        await race([refusing(), refusing()])


async def test_a_race_that_is_given_up_leaves_nothing_behind() -> None:
    """Neither tasks nor sockets."""
    with silent() as one, silent() as two, pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * HEAD_START):
            await race([one, two])
    assert asyncio.all_tasks() == {asyncio.current_task()}
