"""From the ways that mail goes to the connections that it goes over."""

import pytest

from filterrelay.delivery.hops import BadUpstream, Hops, direct_upstreams
from filterrelay.delivery.route import Way
from filterrelay.delivery.site import Site
from filterrelay.mail.hop import Hop
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import FakeResolver
from filterrelay.settings import RouteRule, Upstream

PROVIDER = Upstream(name="provider", hosts=("127.0.0.1:1",), tls="none")


def hops(*upstreams: Upstream, routes: tuple[RouteRule, ...] = ()) -> Hops:
    """The next hops of a file with these upstreams."""
    return Hops(upstreams, routes, "relay.office.example", Metrics(), resolver=FakeResolver())


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
