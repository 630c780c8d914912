"""DANE: which TLSA records count, and which servers they let through."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from filterrelay.delivery.dane import Dane, Demand, Tlsa, usable
from filterrelay.delivery.hops import Hops
from filterrelay.delivery.route import Way
from filterrelay.delivery.site import Site
from filterrelay.delivery.upstream import Sent
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.hop import Hop
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.services import DnsError
from filterrelay.plugin.testing import FakeResolver
from filterrelay.settings import Upstream as UpstreamSettings

from .certificates import Authority, Issued, make_authority
from .far_side import FarSide, codes, far_side, send

OFFERS_TLS = ("PIPELINING", "STARTTLS")
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody knows but by DNS."""
    return make_authority(tmp_path_factory.mktemp("dane"))


def tlsa(usage: int, selector: int, matching: int, issued: Issued | Authority) -> bytes:
    """The record about that certificate."""
    certificate = issued.certificate
    octets = (
        certificate.public_bytes(Encoding.DER)
        if selector == 0
        else certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    digest = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}
    return bytes((usage, selector, matching)) + digest[matching]


def a_resolver(
    port: int,
    *records: bytes,
    extra: Mapping[tuple[str, str], Sequence[Any]] | None = None,
    failing: Sequence[str] = (),
    insecure: Sequence[str] | None = (),
) -> FakeResolver:
    """A signed zone that has localhost and these records of its port."""
    zone: dict[tuple[str, str], Sequence[Any]] = {("localhost", "A"): ["127.0.0.1"]}
    if records:
        zone[f"_{port}._tcp.localhost", "TLSA"] = records
    return FakeResolver(zone | dict(extra or {}), failing, insecure=insecure)


@pytest.fixture
async def deliver() -> AsyncIterator[Callable[..., Any]]:
    """Sends one message to a side that is called localhost, as direct delivery does."""
    made: list[Any] = []

    async def run(side: FarSide, resolver: FakeResolver, tls: str = "may-dane") -> Sent:
        config = UpstreamSettings(
            name="mx",
            protocol="mx",
            port=side.port,
            allow_networks=("127.0.0.0/8",),
            connect_timeout="2s",
            timeout="2s",
        )
        hops = Hops([config], [], "relay.office.example", Metrics(), resolver=resolver)
        site = Site("localhost", (("localhost",),), tls)
        upstream = hops.open(Way(Hop("mx", tls, site.name), site=site))
        made.append(upstream)
        return await asyncio.wait_for(send(upstream), 10)

    yield run
    for upstream in made:
        upstream.close()


@pytest.mark.parametrize(("selector", "matching"), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)])
async def test_a_server_is_known_by_its_own_certificate(
    deliver: Open, authority: Authority, selector: int, matching: int
) -> None:
    """Whatever name it is for, and even when it has expired (RFC 7672 section 3.1.1)."""
    issued = authority.issue("another.example", expired=True)
    async with far_side(extensions=OFFERS_TLS, tls=issued.context) as side:
        resolver = a_resolver(side.port, tlsa(3, selector, matching, issued))
        sent = await deliver(side, resolver, "dane")
        assert codes(sent) == ["250 2.0.0"]
        assert sent.tls.startswith("TLSv1.")


@pytest.mark.parametrize("policy", ["may-dane", "dane", "sts-dane"])
async def test_another_certificate_gets_no_mail(
    deliver: Open, authority: Authority, policy: str
) -> None:
    """Once DNS says how the server is known there is no way around it."""
    async with far_side(extensions=OFFERS_TLS, tls=authority.server("localhost")) as side:
        resolver = a_resolver(side.port, tlsa(3, 1, 1, authority.issue("localhost")))
        sent = await deliver(side, resolver, policy)
        assert codes(sent) == ["451 4.7.5"]
        assert "TLSA" in sent.replies[0].text
        assert "MAIL" not in side.verbs()
        assert side.connections == 1


@pytest.mark.parametrize(
    ("name", "expired", "expected"),
    [
        ("localhost", False, "250 2.0.0"),
        ("another.example", False, "451 4.7.5"),
        ("localhost", True, "451 4.7.5"),
    ],
)
async def test_an_authority_vouches_for_names_and_times(
    deliver: Open, authority: Authority, name: str, expired: bool, expected: str
) -> None:
    """DANE-TA: the chain must lead to it (RFC 7672 section 3.1.2)."""
    issued = authority.issue(name, expired=expired)
    async with far_side(extensions=OFFERS_TLS, tls=issued.context) as side:
        sent = await deliver(side, a_resolver(side.port, tlsa(2, 1, 1, authority)))
        assert codes(sent) == [expected]


@pytest.mark.parametrize(("by_ours", "expected"), [(True, "250 2.0.0"), (False, "451 4.7.5")])
async def test_an_authority_that_the_record_holds_needs_no_place_in_the_chain(
    deliver: Open, authority: Authority, tmp_path: Path, by_ours: bool, expected: str
) -> None:
    """The server shows its own certificate alone (RFC 7671 section 5.2.2)."""
    issued = (authority if by_ours else make_authority(tmp_path)).issue("localhost")
    own = issued.certificate.public_bytes(Encoding.PEM)
    key = issued.file.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    file = tmp_path / "alone.pem"
    file.write_bytes(key + own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    async with far_side(extensions=OFFERS_TLS, tls=context) as side:
        records = (b"\x02\x00\x00no certificate", tlsa(2, 0, 0, authority))
        assert codes(await deliver(side, a_resolver(side.port, *records))) == [expected]


async def test_a_server_is_no_authority(
    deliver: Open, authority: Authority, tmp_path: Path
) -> None:
    """A certificate that only stands in the chain doesn't vouch for others."""
    stranger = make_authority(tmp_path)
    issued = stranger.issue("localhost")
    issued.file.write_bytes(
        issued.file.read_bytes() + authority.certificate.public_bytes(Encoding.PEM)
    )
    async with far_side(extensions=OFFERS_TLS, tls=issued.context) as side:
        sent = await deliver(side, a_resolver(side.port, tlsa(2, 0, 1, authority)))
        assert codes(sent) == ["451 4.7.5"]


def test_a_name_that_no_certificate_can_be_for_is_a_reason(authority: Authority) -> None:
    """Not a fault of ours; the next host has its turn."""
    (record,) = usable([tlsa(2, 1, 1, authority)])
    chain = [
        each.public_bytes(Encoding.DER)
        for each in (authority.issue("localhost").certificate, authority.certificate)
    ]
    demand = Demand((record,), "mx_1.partner.example")
    assert "mx_1.partner.example" in demand.refusal(chain, [demand.base], datetime.now(UTC))
    assert not demand.refusal(chain, [demand.base, "localhost"], datetime.now(UTC))


@pytest.mark.parametrize("selector", [0, 1])
def test_a_key_of_unknown_kind_in_the_chain_is_passed_over(
    authority: Authority, selector: int
) -> None:
    """A server may show what it likes beside what counts."""
    known = bytes.fromhex("06082a8648ce3d030107")  # the curve P-256
    unknown = known[:-1] + b"\x7f"
    der = authority.certificate.public_bytes(Encoding.DER)
    server = authority.issue("localhost").certificate.public_bytes(Encoding.DER)
    (record,) = usable([tlsa(2, selector, 1, authority)])
    demand = Demand((record,), "localhost")
    chain = [server, der.replace(known, unknown), der]
    assert not demand.refusal(chain, ["localhost"], datetime.now(UTC))
    assert demand.refusal(chain[1:], ["localhost"], datetime.now(UTC))


async def test_a_stripped_starttls_stops_the_mail(deliver: Open, authority: Authority) -> None:
    """TLSA records are a promise of TLS (RFC 7672 section 2.2)."""
    async with far_side() as side:
        resolver = a_resolver(side.port, tlsa(3, 1, 1, authority))
        assert codes(await deliver(side, resolver)) == ["451 4.7.4"]
        assert "MAIL" not in side.verbs()


async def test_records_that_cannot_be_used_still_demand_tls(
    deliver: Open, authority: Authority
) -> None:
    """With any certificate (RFC 7672 section 2.2); and whoever requires DANE waits."""
    record = tlsa(1, 1, 1, authority)
    async with far_side(extensions=OFFERS_TLS, tls=authority.server("a.example")) as side:
        sent = await deliver(side, a_resolver(side.port, record))
        assert codes(sent) == ["250 2.0.0"]
        assert sent.tls.startswith("TLSv1.")
        assert codes(await deliver(side, a_resolver(side.port, record), "dane")) == ["451 4.7.5"]
    async with far_side() as plain:
        assert codes(await deliver(plain, a_resolver(plain.port, record))) == ["451 4.7.4"]


@pytest.mark.parametrize(("policy", "expected"), [("may-dane", "250 2.0.0"), ("dane", "451 4.7.5")])
async def test_without_records_only_who_requires_dane_waits(
    deliver: Open, policy: str, expected: str
) -> None:
    """The others get what opportunistic TLS gives."""
    async with far_side() as side:
        assert codes(await deliver(side, a_resolver(side.port), policy)) == [expected]


async def test_records_that_are_not_secure_count_for_nothing(
    deliver: Open, authority: Authority
) -> None:
    """Anybody could have written them."""
    async with far_side() as side:
        record = tlsa(3, 1, 1, authority)
        unsigned = a_resolver(side.port, record, insecure=None)
        assert codes(await deliver(side, unsigned)) == ["250 2.0.0"]
        assert not any(kind == "TLSA" for _, kind in unsigned.asked)


async def test_a_look_up_that_fails_stops_the_mail(deliver: Open) -> None:
    """Who can stop the answer can't have the mail for it (RFC 7672 section 2.1.2)."""
    async with far_side() as side:
        resolver = a_resolver(side.port, failing=[f"_{side.port}._tcp.localhost"])
        assert codes(await deliver(side, resolver)) == ["451 4.7.5"]
        assert side.connections == 0


@pytest.mark.parametrize(
    ("insecure", "at_alias", "expected"),
    [
        ((), False, "mx.host.example"),
        ((), True, "mx.example"),
        (("mx.host.example",), True, "mx.example"),
    ],
)
async def test_an_aliass_records_stand_under_either_name(
    insecure: Sequence[str], at_alias: bool, expected: str
) -> None:
    """First where the alias leads, if all is signed till there (RFC 7672 section 2.2.3)."""
    record = bytes((3, 1, 1)) + bytes(32)
    place = "mx.example" if at_alias else "mx.host.example"
    zone: dict[tuple[str, str], Sequence[Any]] = {
        ("mx.example", "CNAME"): ["mx.host.example"],
        ("mx.host.example", "A"): ["192.0.2.1"],
        (f"_25._tcp.{place}", "TLSA"): [record],
    }
    dane = Dane(FakeResolver(zone, insecure=insecure), SystemClock())
    demand = await dane.demand(Endpoint("mx.example", 25))
    assert demand is not None
    assert demand.base == expected


async def test_the_failing_address_of_a_host_is_no_reason_to_do_without() -> None:
    """It might be one with records."""
    dane = Dane(FakeResolver(failing=["mx.example"], insecure=()), SystemClock())
    with pytest.raises(DnsError):
        await dane.demand(Endpoint("mx.example", 25))


def test_weak_digests_beside_strong_ones_are_left_out() -> None:
    """A digest that will be broken must not be the way in (RFC 7671 section 9)."""
    weak, strong = bytes((3, 1, 1)) + bytes(32), bytes((3, 1, 2)) + bytes(64)
    other = bytes((3, 0, 1)) + bytes(32)
    assert usable([weak, strong, other]) == (Tlsa(3, 1, 2, bytes(64)), Tlsa(3, 0, 1, bytes(32)))


@pytest.mark.parametrize(
    "record",
    [
        bytes((0, 1, 1)) + bytes(32),
        bytes((1, 1, 1)) + bytes(32),
        bytes((3, 2, 1)) + bytes(32),
        bytes((3, 1, 3)) + bytes(32),
        bytes((3, 1, 1)) + bytes(31),
        bytes((3, 1)),
        bytes((3, 1, 0)),
    ],
)
def test_records_of_another_kind_are_left_out(record: bytes) -> None:
    """And those that are cut off."""
    assert usable([record]) == ()
