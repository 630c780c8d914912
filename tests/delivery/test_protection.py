"""What destinations demand, and what of it an upstream keeps."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from filterrelay.delivery.addresses import HostLookup
from filterrelay.delivery.direct import DirectSites, Ourselves
from filterrelay.delivery.hops import Hops
from filterrelay.delivery.https import Https
from filterrelay.delivery.mta_sts import MtaSts, PolicyFiles, StsPolicy, Told
from filterrelay.delivery.protection import Protected, Protections
from filterrelay.delivery.route import Way
from filterrelay.delivery.site import NoWay
from filterrelay.delivery.tls_tally import TlsTally, results_of
from filterrelay.delivery.upstream import Sent
from filterrelay.mail.hop import Hop
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import SOME_TIME, FakeClock, FakeResolver, an_envelope
from filterrelay.settings import Upstream

from .certificates import Authority, make_authority
from .far_side import BODY, LOOPBACK, FarSide, codes, far_side
from .web import Web, web

HOST = "mx.partner.example"
GROUPS = (("mx1.partner.example", "mx2.partner.example"), ("mx.backup.example",))
STRICT = StsPolicy("1", "enforce", ("mx1.partner.example", "*.backup.example"), 86_400, SOME_TIME)


class FakeSts:
    """Knows one policy, and notes whether it was asked for."""

    def __init__(self, policy: StsPolicy | None) -> None:
        self.told = Told(policy)
        self.asked = 0

    async def policy(self, domain: str) -> Told:
        """The one."""
        self.asked += 1
        return self.told


async def protected(
    policy: StsPolicy | None,
    *,
    secure: bool = False,
    groups: Any = GROUPS,
    route: str = "",
    **changes: Any,
) -> Protected:
    """What is demanded of partner.example's servers at an upstream with these settings."""
    upstream = Upstream(name="mx", protocol="mx", **changes)
    sts = cast("MtaSts", FakeSts(policy))
    return await Protections(upstream, sts).of("partner.example", groups, secure=secure, tls=route)


@pytest.mark.parametrize(
    ("enforced", "secure", "changes", "tls"),
    [
        (False, False, {}, ""),
        (False, True, {}, "may-dane"),
        (True, False, {}, "sts"),
        (True, True, {}, "sts-dane"),
        (False, True, {"dane": False}, ""),
        (True, True, {"dane": False}, "sts"),
        (True, False, {"mta_sts": False}, ""),
        (True, True, {"tls": "required"}, "sts"),
        (False, True, {"tls": "required"}, "sts"),
        (False, False, {"tls": "required"}, ""),
        (True, True, {"tls": "none"}, ""),
        (True, True, {"tls": "dane"}, ""),
    ],
)
async def test_the_strictest_that_holds_is_demanded(
    enforced: bool, secure: bool, changes: dict[str, Any], tls: str
) -> None:
    """DANE only where DNSSEC proves the servers; none of it where the file wants no TLS."""
    found = await protected(STRICT if enforced else None, secure=secure, **changes)
    assert found.tls == tls


async def test_a_policy_leaves_only_the_servers_that_it_names() -> None:
    """In the same order (RFC 8461 section 4.1)."""
    found = await protected(STRICT)
    assert found.groups == (("mx1.partner.example",), ("mx.backup.example",))


@pytest.mark.parametrize("mode", ["testing", "none"])
async def test_a_policy_that_is_not_enforced_stops_nothing(mode: Any) -> None:
    """It is for the reports only (section 5)."""
    assert await protected(replace(STRICT, mode=mode)) == Protected(GROUPS)


async def test_mail_waits_when_no_server_is_one_of_the_policy() -> None:
    """Somebody may have changed what DNS says."""
    with pytest.raises(NoWay) as no_way:
        await protected(STRICT, groups=(("mx.evil.example",),))
    assert no_way.value.reply.is_temporary


async def test_required_dane_waits_for_secure_servers() -> None:
    """Else TLSA records would prove only that somebody is who he says he is."""
    with pytest.raises(NoWay) as no_way:
        await protected(None, tls="dane")
    assert (no_way.value.reply.code, no_way.value.reply.enhanced) == (451, "4.7.5")


@pytest.mark.parametrize(
    ("own", "route", "secure", "tls"),
    [
        ("opportunistic", "opportunistic", False, "opportunistic"),
        ("opportunistic", "none", True, "none"),
        ("dane", "opportunistic", False, "opportunistic"),
        ("opportunistic", "required", False, "required"),
        ("opportunistic", "required", True, "sts"),
        ("none", "dane", True, "dane"),
    ],
)
async def test_a_routes_policy_takes_the_place_of_all_that_is_demanded(
    own: Any, route: str, secure: bool, tls: str
) -> None:
    """So mail can go to a destination that has broken what it demands."""
    servers = (("mx.evil.example",),)
    found = await protected(STRICT, groups=servers, secure=secure, route=route, tls=own)
    assert found == Protected(servers, tls)


async def test_a_route_that_requires_dane_waits_for_secure_servers() -> None:
    """What DNSSEC doesn't prove may be anybody's (RFC 7672 section 2.2.1)."""
    with pytest.raises(NoWay):
        await protected(None, route="dane")


async def test_a_domain_is_told_that_its_policy_names_no_server(tmp_path: Path) -> None:
    """Its DNS may not be its own any more."""
    tally = TlsTally(tmp_path, "one", FakeClock())
    sts = cast("MtaSts", FakeSts(STRICT))
    protections = Protections(Upstream(name="mx", protocol="mx"), sts, tally)
    with pytest.raises(NoWay):
        await protections.of("partner.example", (("mx.evil.example",),), secure=False)
    tally.flush()
    ((result, count),) = results_of(tmp_path / f"{SOME_TIME:%Y-%m-%d}")
    assert (result.domain, result.host) == ("partner.example", "mx.evil.example")
    assert (result.kind, result.failure, count) == ("sts", "validation-failure", 1)


@dataclass
class Partner:
    """partner.example: its web server with the policy, and how mail is delivered to it."""

    server: Web
    authority: Authority
    resolver: FakeResolver
    directory: Path

    def publish(self, mode: str, mx: str = HOST) -> None:
        """The policy."""
        text = f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n"
        self.server.text("/.well-known/mta-sts.txt", text.encode())

    async def deliver(self, side: FarSide, **envelope_changes: Any) -> Sent:
        """One message, the way it would go. Raises NoWay."""
        config = Upstream(
            name="mx",
            protocol="mx",
            port=side.port,
            ca_file=self.authority.file,
            allow_networks=("127.0.0.0/8",),
            connect_timeout="2s",
            timeout="2s",
        )
        hosts = HostLookup(self.resolver, config.allow_networks)
        trusted = ssl.create_default_context(cafile=str(self.authority.file))
        https = Https(hosts.places, trusted, self.server.port)
        sts = MtaSts(self.resolver, https, PolicyFiles(self.directory), FakeClock())
        sites = DirectSites(
            self.resolver,
            hosts,
            Ourselves("relay.office.example"),
            side.port,
            protections=Protections(config, sts),
        )
        site = await sites.site("partner.example")
        hops = Hops([config], [], "relay.office.example", Metrics(), resolver=self.resolver)
        upstream = hops.open(Way(Hop("mx", site.tls, site.name), site=site))
        try:
            envelope = an_envelope(**envelope_changes)
            return await upstream.send(envelope, envelope.recipients, BODY)
        finally:
            upstream.close()


@pytest.fixture
def partner(tmp_path: Path) -> Iterator[Partner]:
    """The domain with its record."""
    authority = make_authority(tmp_path)
    records: dict[tuple[str, str], Any] = {
        ("partner.example", "MX"): [(10, HOST)],
        (HOST, "A"): [LOOPBACK],
        ("mta-sts.partner.example", "A"): [LOOPBACK],
        ("_mta-sts.partner.example", "TXT"): [b"v=STSv1; id=1;"],
    }
    with web(authority.server("mta-sts.partner.example")) as server:
        yield Partner(server, authority, FakeResolver(records), tmp_path / "mta-sts")


@pytest.mark.parametrize(
    ("mode", "certificate", "expected"),
    [
        ("enforce", HOST, "250 2.0.0"),
        ("enforce", "another.example", "451 4.7.5"),
        ("enforce", "", "451 4.7.4"),
        ("testing", "another.example", "250 2.0.0"),
        ("testing", "", "250 2.0.0"),
        ("none", "", "250 2.0.0"),
    ],
)
async def test_mail_goes_as_the_mta_sts_policy_says(
    partner: Partner, mode: str, certificate: str, expected: str
) -> None:
    """Enforced: to the named server with a good certificate, and never in plain text."""
    partner.publish(mode)
    context = partner.authority.server(certificate) if certificate else None
    offered = ("PIPELINING", *(["STARTTLS"] if certificate else []))
    async with far_side(extensions=offered, tls=context) as side:
        assert codes(await partner.deliver(side)) == [expected]
        assert ("MAIL" in side.verbs()) is expected.startswith("250")


async def test_another_server_gets_no_mail(partner: Partner) -> None:
    """However good its certificate is."""
    partner.publish("enforce", mx="mx.elsewhere.example")
    async with far_side(tls=partner.authority.server(HOST)) as side:
        with pytest.raises(NoWay):
            await partner.deliver(side)
        assert not side.connections


@pytest.mark.parametrize(("mode", "expected"), [("enforce", "250 2.0.0"), ("none", "550 5.7.30")])
async def test_requiretls_needs_a_policy_that_names_the_server(
    partner: Partner, mode: str, expected: str
) -> None:
    """A good certificate is not enough where anybody could have named it (RFC 8689 4.2.1)."""
    partner.publish(mode)
    context = partner.authority.server(HOST)
    async with far_side(extensions=("STARTTLS", "REQUIRETLS"), tls=context) as side:
        assert codes(await partner.deliver(side, requiretls=True)) == [expected]
