"""From the ways that mail goes to the connections that it goes over."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.hops import BadUpstream, Hops, dialing_of, direct_upstreams
from filterrelay.delivery.route import Way
from filterrelay.delivery.site import Site
from filterrelay.delivery.tls_session import TlsSession
from filterrelay.mail.address import AddressPattern
from filterrelay.mail.hop import Hop
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import FakeResolver
from filterrelay.settings import Destination, RouteRule, Upstream

from .certificates import make_authority
from .far_side import LOOPBACK, far_side, send, upstream_settings

PROVIDER = Upstream(name="provider", hosts=("127.0.0.1:1",), tls="none")


def hops(
    *upstreams: Upstream,
    routes: tuple[RouteRule, ...] = (),
    destinations: tuple[Destination, ...] = (),
) -> Hops:
    """The next hops of a file with these upstreams."""
    return Hops(
        *(upstreams, routes, "relay.office.example", Metrics()),
        resolver=FakeResolver(),
        destinations=destinations,
    )


async def test_all_mail_for_an_upstream_shares_its_connections() -> None:
    """Under one policy; under another they are others."""
    ours = hops(PROVIDER)
    first = ours.open(Way(Hop("provider")))
    assert ours.open(Way(Hop("provider"), reason="route 2")) is first
    assert ours.open(Way(Hop("provider", "opportunistic"))) is not first


async def test_connections_that_only_a_destinations_mail_used_end_with_goodbye() -> None:
    """Its lane leaves them to other mail, of which there was none."""
    slow = Destination.model_validate({"name": "slow", "domains": ["slow.example"]})
    async with far_side() as side:
        ours = hops(upstream_settings(side), destinations=(slow,))
        opened = ours.open(Way(Hop("provider", shape="slow")))
        await send(opened)
        opened.close()
        assert "QUIT" not in side.verbs()
        ours.close()
        await asyncio.wait_for(side.closed.wait(), 5)
        assert side.verbs()[-1] == "QUIT"


async def test_a_site_is_opened_with_the_settings_of_direct_delivery() -> None:
    """Those of the upstream called mx, which is there also when the file hasn't it."""
    tuned = Upstream(name="mx", protocol="mx", connections=3)
    site = Site("mx.host.example", (("mx.host.example",),))
    for upstreams, connections in (((PROVIDER,), 20), ((PROVIDER, tuned), 3)):
        opened = hops(*upstreams).open(Way(Hop("mx", site=site.name), site=site))
        assert opened.connections == connections


def test_every_direct_upstream_is_known_by_name() -> None:
    """The file's and the one that is always there."""
    strict = Upstream(name="strict", protocol="mx", tls="required")
    assert sorted(direct_upstreams([PROVIDER, strict])) == ["mx", "strict"]


def test_a_policy_that_only_a_route_names_is_tried_at_the_start() -> None:
    """It is no surprise at the first message."""
    hosts = ("127.0.0.1:1",)
    bad = Upstream(name="provider", hosts=hosts, tls="none", ca_file="/nowhere/ca.pem")
    hops(bad)
    with pytest.raises(BadUpstream):
        hops(bad, routes=(RouteRule(upstream="provider", tls="required"),))


@pytest.mark.parametrize(
    ("own", "tls"),
    [
        ("opportunistic", "sts"),
        ("opportunistic", "may-dane"),
        ("opportunistic", "sts-dane"),
        ("required", "sts"),
    ],
)
async def test_no_certificate_is_read_while_mail_waits_for_it(
    tmp_path: Path, own: Any, tls: str
) -> None:
    """A file that is just being renewed must not stop what a destination demands."""
    file = tmp_path / "ca.pem"
    file.write_bytes(make_authority(tmp_path).file.read_bytes())
    site = Site("mx.host.example", (("mx.host.example",),))
    ours = hops(Upstream(name="mx", protocol="mx", tls=own, ca_file=file))
    file.unlink()
    assert ours.open(Way(Hop("mx", tls, site.name), site=site))


@pytest.mark.parametrize(("extensions", "lacks"), [(("8BITMIME",), False), ((), True)])
async def test_what_an_upstream_lacks_is_known_once_it_has_said_so(
    extensions: tuple[str, ...], *, lacks: bool
) -> None:
    """Before that nothing is, and of others nothing."""
    async with far_side(extensions=extensions) as side:
        ours = hops(upstream_settings(side))
        hop = Hop("provider")
        assert not ours.lacks_eight_bit(hop)
        await send(ours.open(Way(hop)))
        assert ours.lacks_eight_bit(hop) is lacks
        assert not ours.lacks_eight_bit(Hop("other"))
        ours.open(Way(hop)).close()


async def test_connections_are_counted_by_their_protection() -> None:
    """And of those of direct delivery the destinations are told."""
    told: list[TlsSession] = []
    metrics = Metrics()
    resolver = FakeResolver({("localhost", "A"): [LOOPBACK]})
    async with far_side() as side:
        direct = Upstream(name="mx", protocol="mx", port=side.port, allow_networks=("127.0.0.0/8",))
        smart = Upstream(name="provider", hosts=(side.host,), tls="none")
        ours = Hops(
            [smart, direct],
            [],
            "relay.office.example",
            metrics,
            resolver=resolver,
            note=told.append,
        )
        site = Site("localhost", (("localhost",),))
        for way in (Way(Hop("provider")), Way(Hop("mx", site=site.name), site=site)):
            opened = ours.open(way)
            await send(opened)
            opened.close()
    counted = [
        metrics.registry.get_sample_value(
            "filterrelay_tls_sessions_total",
            {"upstream": name, "version": "none", "result": "plain"},
        )
        for name in ("provider", "mx")
    ]
    assert counted == [1, 1]
    assert [session.host for session in told] == ["localhost"]


@pytest.mark.parametrize(
    ("protocol", "tls", "proved"),
    [
        ("smtp", "", True),
        ("mx", "", False),
        ("mx", "required", False),
        ("mx", "sts", True),
        ("mx", "may-dane", True),
        ("mx", "dane", True),
    ],
)
def test_requiretls_needs_servers_whose_names_are_proved(
    protocol: str, tls: str, proved: bool
) -> None:
    """By the file, by DNSSEC or by MTA-STS (RFC 8689 section 4.2.1)."""
    hosts = () if protocol == "mx" else ("127.0.0.1:1",)
    config = Upstream.model_validate({"name": "x", "protocol": protocol, "hosts": hosts})
    assert dialing_of(config, "relay.example", tls, FakeResolver()).proved is proved


GOOGLE = Destination(
    name="google",
    domains=(AddressPattern("gmail.example"),),
    connections=2,
    rate="1/m",
    recipients=10,
)


def a_site(name: str, shape: str = "") -> Way:
    """The way to a site of direct delivery."""
    site = Site(name, ((name,),))
    return Way(Hop("mx", site=name, shape=shape), site=site)


async def test_a_site_has_its_destinations_limits() -> None:
    """Where they are smaller than those of direct delivery."""
    ours = hops(Upstream(name="mx", protocol="mx", recipients=5), destinations=(GOOGLE,))
    opened = ours.open(a_site("mx.gmail.example", "google"))
    assert (opened.connections, opened.recipients, opened.room()) == (2, 5, 1)
    assert ours.open(a_site("mx.host.example")).room() is None


async def test_all_sites_together_keep_to_the_rate_of_direct_delivery() -> None:
    """It is the relay that a provider of addresses judges, not one of its connections."""
    ours = hops(Upstream(name="mx", protocol="mx", rate="1/m"))
    one, two = ours.open(a_site("one.example")), ours.open(a_site("two.example"))
    assert await one.admit(1) is None
    assert (one.room(), two.room()) == (0, 0)


async def test_a_destination_keeps_to_its_rate_over_all_ways() -> None:
    """By two sites and through the provider; other mail through that one goes on."""
    ours = hops(PROVIDER, destinations=(GOOGLE,))
    site = ours.open(a_site("mx.gmail.example", "google"))
    provider = ours.open(Way(Hop("provider", shape="google")))
    assert await provider.admit(1) is None
    assert (provider.room(), site.room()) == (0, 0)
    assert ours.open(Way(Hop("provider"))).room() is None
