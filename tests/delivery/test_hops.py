"""From the ways that mail goes to the connections that it goes over."""

import pytest

from filterrelay.delivery.hops import BadUpstream, Hops, direct_upstreams
from filterrelay.delivery.route import Way
from filterrelay.delivery.site import Site
from filterrelay.mail.address import AddressPattern
from filterrelay.mail.hop import Hop
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Destination, RouteRule, Upstream

PROVIDER = Upstream(name="provider", hosts=("127.0.0.1:1",), tls="none")


def hops(
    *upstreams: Upstream,
    routes: tuple[RouteRule, ...] = (),
    destinations: tuple[Destination, ...] = (),
) -> Hops:
    """The next hops of a file with these upstreams."""
    return Hops(upstreams, routes, "relay.office.example", Metrics(), destinations=destinations)


async def test_all_mail_for_an_upstream_shares_its_connections() -> None:
    """Under one policy; under another they are others."""
    ours = hops(PROVIDER)
    first = ours.open(Way(Hop("provider")))
    assert ours.open(Way(Hop("provider"), reason="route 2")) is first
    assert ours.open(Way(Hop("provider", "opportunistic"))) is not first


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
