"""How each connection's protection came out, as the reports on TLS want to know it."""

import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.connect import HostUnavailable, connect
from filterrelay.delivery.hops import dialing_of
from filterrelay.delivery.tls import Rung
from filterrelay.delivery.tls_session import (
    Failure,
    TlsSession,
    destinations_of,
    failure_of,
)
from filterrelay.mail.address import Address
from filterrelay.mail.endpoint import Endpoint
from filterrelay.plugin.testing import FakeResolver
from filterrelay.settings import Upstream

from .certificates import Authority, make_authority
from .far_side import LOOPBACK, FarSide, far_side

OFFERS_TLS = ("PIPELINING", "STARTTLS")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that is trusted here."""
    return make_authority(tmp_path_factory.mktemp("session"))


async def noted(
    side: FarSide,
    authority: Authority,
    tls: str,
    rung: Rung,
    resolver: FakeResolver | None = None,
) -> TlsSession:
    """What is noted of one connection to localhost."""
    config = Upstream(name="provider", hosts=("localhost",), ca_file=authority.file)
    sessions: list[TlsSession] = []
    dialing = dialing_of(config, "relay.office.example", tls, resolver)
    dialing = replace(dialing, note=sessions.append)
    with contextlib.suppress(HostUnavailable):
        conversation = await connect(Endpoint("localhost", side.port), 0, dialing, rung)
        conversation.quit()
    (session,) = sessions
    return session


@pytest.mark.parametrize(
    ("issued", "failure"),
    [
        ({}, None),
        ({"expired": True}, Failure.EXPIRED),
        ({"name": "another.example"}, Failure.WRONG_NAME),
        ({"stranger": True}, Failure.NOT_TRUSTED),
    ],
)
async def test_each_fault_of_a_certificate_has_its_name(
    authority: Authority, tmp_path: Path, issued: dict[str, Any], failure: Failure | None
) -> None:
    """Expired, for somebody else, by somebody unknown."""
    issuer = make_authority(tmp_path) if issued.pop("stranger", False) else authority
    context = issuer.server(issued.pop("name", "localhost"), **issued)
    async with far_side(extensions=OFFERS_TLS, tls=context) as side:
        session = await noted(side, authority, "required", Rung.VERIFIED)
        assert session.failure is failure
        assert session.host == "localhost"
        assert session.result == ("failed" if failure else "verified")


@pytest.mark.parametrize(
    ("offered", "rung", "result", "failure"),
    [
        (OFFERS_TLS, Rung.UNVERIFIED, "unverified", None),
        (OFFERS_TLS, Rung.PLAIN, "plain", Failure.NO_STARTTLS),
        (("PIPELINING",), Rung.VERIFIED, "plain", Failure.NO_STARTTLS),
    ],
)
async def test_what_opportunistic_makes_do_with_is_told(
    authority: Authority,
    offered: tuple[str, ...],
    rung: Rung,
    result: str,
    failure: Failure | None,
) -> None:
    """A server without TLS counts as one that failed."""
    context = authority.server("localhost")
    async with far_side(extensions=offered, tls=context) as side:
        session = await noted(side, authority, "opportunistic", rung)
        assert (session.result, session.failure) == (result, failure)


async def test_required_tells_that_tls_is_missing(authority: Authority) -> None:
    """In place of going on without."""
    async with far_side() as side:
        session = await noted(side, authority, "required", Rung.VERIFIED)
        assert (session.result, session.failure) == ("failed", Failure.NO_STARTTLS)
        assert "no STARTTLS" in session.reason


def test_a_handshake_that_broke_has_no_name_of_its_own() -> None:
    """It is a failure like another."""
    assert failure_of(ssl.SSLError("wrong version number")) is Failure.OTHER


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        (["Partner.example", "partner.example", "b.example"], ("partner.example", "b.example")),
        (["почта.example"], ("xn--80a1acny.example",)),
        (["[192.0.2.1]"], ()),
    ],
)
def test_destinations_are_called_as_dns_has_them(
    domains: list[str], expected: tuple[str, ...]
) -> None:
    """Each once; an address literal is no domain."""
    assert destinations_of([Address("bob", domain) for domain in domains]) == expected


@pytest.mark.parametrize(
    ("policy", "records", "result", "failure"),
    [
        ("may-dane", [bytes((1, 1, 1)) + bytes(32)], "unverified", Failure.BAD_TLSA),
        ("may-dane", [bytes((3, 1, 1)) + bytes(32)], "failed", Failure.OTHER),
        ("may-dane", [], "verified", None),
        ("dane", [bytes((1, 1, 1)) + bytes(32)], "failed", Failure.BAD_TLSA),
        ("dane", [], "failed", Failure.NO_TLSA),
    ],
)
async def test_what_was_wrong_with_dane_is_told(
    authority: Authority,
    policy: str,
    records: list[bytes],
    result: str,
    failure: Failure | None,
) -> None:
    """Once for a connection, also where mail goes on without a proof."""
    async with far_side(extensions=OFFERS_TLS, tls=authority.server("localhost")) as side:
        zone: dict[tuple[str, str], Sequence[str | bytes]] = {
            ("localhost", "A"): [LOOPBACK],
            (f"_{side.port}._tcp.localhost", "TLSA"): records,
        }
        resolver = FakeResolver(zone, insecure=())
        session = await noted(side, authority, policy, Rung.DANE, resolver)
        assert (session.result, session.failure) == (result, failure)
