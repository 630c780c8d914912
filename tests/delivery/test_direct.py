"""The mail servers that DNS names for a domain."""

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import cast

import pytest
from pytest_mock import MockerFixture

from filterrelay.delivery.addresses import HostLookup
from filterrelay.delivery.direct import MOST_HOSTS, DirectSites, Ourselves
from filterrelay.delivery.protection import Groups, Protected, Protections
from filterrelay.delivery.site import NoWay, Site
from filterrelay.mail.endpoint import Endpoint
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import FakeResolver

Record = str | tuple[int, str]
Zone = Mapping[tuple[str, str], Sequence[Record]]

ADDRESSES: Zone = {
    ("mx1.host.example", "A"): ["192.0.2.1"],
    ("mx2.host.example", "AAAA"): ["2001:db8::2"],
    ("mx3.host.example", "A"): ["192.0.2.3"],
    ("relay.office.example", "A"): ["192.0.2.9"],
    ("inside.host.example", "A"): ["10.0.0.1"],
    ("bare.example", "A"): ["192.0.2.4"],
    ("xn--bcher-kva.example", "A"): ["192.0.2.5"],
    ("xn--strae-oqa.example", "A"): ["192.0.2.6"],
}
NETWORKS = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"), ip_network("127.0.0.0/8"))
LISTENING = (Endpoint("192.0.2.3", 25), Endpoint("0.0.0.0", 26))


async def site(
    domain: str,
    *servers: Record,
    failing: Sequence[str] = (),
    port: int = 25,
    more: Zone | None = None,
) -> Site:
    """The site of that domain, when it has these MX records."""
    records = {**ADDRESSES, **(more or {}), (domain, "MX"): servers}
    resolver = FakeResolver(records, failing)
    hosts = HostLookup(resolver, NETWORKS)
    ourselves = Ourselves("Relay.office.example", LISTENING)
    return await DirectSites(resolver, hosts, ourselves, port).site(domain)


async def refused(domain: str, *servers: Record, failing: Sequence[str] = ()) -> Reply:
    """What the domain's recipients are told."""
    with pytest.raises(NoWay) as no_way:
        await site(domain, *servers, failing=failing)
    return no_way.value.reply


def code(reply: Reply) -> str:
    """Its codes."""
    return f"{reply.code} {reply.enhanced}"


async def test_servers_come_by_preference_with_equal_ones_together() -> None:
    """RFC 5321 section 5.1."""
    servers = [(20, "mx3.host.example"), (10, "MX2.host.example"), (10, "mx1.host.example")]
    found = await site("partner.example", (30, "mx1.host.example"), *servers, port=2525)
    assert found.hosts == (("mx1.host.example", "mx2.host.example"), ("mx3.host.example",))


async def test_domains_share_a_site_exactly_when_they_share_all_servers() -> None:
    """Otherwise mail would go to servers that its domain doesn't name."""
    one, two = (10, "mx1.host.example"), (20, "mx2.host.example")
    both = await site("a.example", one, two)
    assert both == await site("b.example", two, one)
    assert both == await site("c.example", (1, "mx1.host.example"), (2, "mx2.host.example"))
    others = [
        await site("d.example", one, (10, "mx2.host.example")),
        await site("e.example", one),
        await site("f.example", (20, "mx1.host.example"), (10, "mx2.host.example")),
    ]
    assert len({each.name for each in (both, *others)}) == 4
    assert (await site("e.example", one)).name == "mx1.host.example"


async def test_a_domain_without_mx_is_its_own_server() -> None:
    """When it has an address (RFC 5321 section 5.1)."""
    assert (await site("bare.example")).hosts == (("bare.example",),)


@pytest.mark.parametrize(
    ("domain", "host"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8:0::2]", "2001:db8::2")]
)
async def test_an_address_literal_is_its_own_server(domain: str, host: str) -> None:
    """RFC 5321 section 4.1.3."""
    assert (await site(domain)).hosts == ((host,),)


@pytest.mark.parametrize(
    ("domain", "host"),
    [
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
    ],
)
async def test_an_internationalised_domain_is_asked_for_as_dns_has_it(
    domain: str, host: str
) -> None:
    """Normalised, and with the letters of its own, not their look-alikes (RFC 5891)."""
    assert (await site(domain)).hosts == ((host,),)


@pytest.mark.parametrize("domain", ["-a.example", "a..example", "\u2028.example", "", "☃" * 60])
async def test_what_is_no_domain_bounces(domain: str) -> None:
    """Without asking anybody."""
    assert code(await refused(domain)) == "550 5.1.2"


async def test_a_domain_that_takes_no_mail_bounces() -> None:
    """The null MX (RFC 7505)."""
    assert code(await refused("partner.example", (0, "."))) == "556 5.1.10"


async def test_a_domain_that_does_not_exist_bounces() -> None:
    """At once: the sender has mistyped it, perhaps."""
    assert code(await refused("partner.example")) == "550 5.1.2"


async def test_servers_that_have_no_address_are_passed_over() -> None:
    """And the mail bounces when none has one."""
    gone = (10, "gone.host.example")
    found = await site("partner.example", gone, (20, "mx1.host.example"))
    assert found.hosts == (("mx1.host.example",),)
    assert code(await refused("partner.example", gone)) == "550 5.1.2"


async def test_names_that_are_no_hosts_are_passed_over() -> None:
    """An address instead of a name, a root beside others, and nonsense."""
    nonsense = [(5, "192.0.2.1"), (5, "."), (5, "a\\032b.example"), (5, "2001:db8::1")]
    found = await site("partner.example", *nonsense, (10, "mx1.host.example"))
    assert found.hosts == (("mx1.host.example",),)


async def test_no_more_servers_are_looked_at_than_are_of_use() -> None:
    """Whoever names a thousand gets the best twenty."""
    servers = [(n, f"mx{n}.many.example") for n in range(100)]
    more = {(host, "A"): ["192.0.2.1"] for _, host in servers}
    found = await site("partner.example", *servers, more=more)
    assert len(found.hosts) == MOST_HOSTS
    assert found.hosts[0] == ("mx0.many.example",)


@pytest.mark.parametrize("failing", ["partner.example", "mx1.host.example"])
async def test_dns_trouble_makes_the_mail_wait(failing: str) -> None:
    """Whether it is with the domain or with its only server."""
    reply = await refused("partner.example", (10, "mx1.host.example"), failing=[failing])
    assert code(reply) == "451 4.4.3"


async def test_a_server_whose_address_is_unknown_now_stays_a_server() -> None:
    """The site keeps its name, and another server takes the mail meanwhile."""
    servers = [(10, "mx1.host.example"), (20, "mx2.host.example")]
    assert await site("a.example", *servers) == await site(
        "a.example", *servers, failing=["mx1.host.example"]
    )


@pytest.mark.parametrize(
    ("host", "port"), [("relay.office.example", 2525), ("mx3.host.example", 25), ("lo.example", 26)]
)
async def test_only_servers_better_than_ourselves_are_delivered_to(host: str, port: int) -> None:
    """Whether the MX has our name, or an address that we listen on (RFC 5321 section 5.1)."""
    more: Zone = {("lo.example", "A"): ["127.0.0.1"]}
    ours, backup = (20, host), (30, "mx2.host.example")
    found = await site(
        "partner.example", (10, "mx1.host.example"), ours, backup, port=port, more=more
    )
    assert found.hosts == (("mx1.host.example",),)


async def test_mail_that_would_come_back_to_us_bounces() -> None:
    """It would go in a circle."""
    servers = [(10, "relay.office.example"), (10, "mx1.host.example"), (20, "mx2.host.example")]
    assert code(await refused("partner.example", *servers)) == "550 5.4.6"
    assert code(await refused("relay.office.example")) == "550 5.4.6"


class BoundAnywhere(socket.socket):
    """A socket of a machine with `net.ipv4.ip_nonlocal_bind`."""

    def bind(self, _: object) -> None:
        """As if the address were the machine's."""


async def test_what_could_be_bound_here_is_not_therefore_ours(mocker: MockerFixture) -> None:
    """Else a machine that takes over others' addresses would bounce all mail as a loop."""
    mocker.patch("filterrelay.delivery.direct.socket.socket", BoundAnywhere)
    assert (await site("partner.example", (10, "mx1.host.example"), port=26)).hosts


async def test_another_port_of_our_address_is_another_server() -> None:
    """A mail server beside the relay on one machine gets its mail."""
    assert (await site("partner.example", (10, "mx3.host.example"), port=2525)).hosts


async def test_servers_on_private_addresses_are_passed_over() -> None:
    """And the mail bounces when there are no others."""
    inside = (10, "inside.host.example")
    found = await site("partner.example", inside, (20, "mx1.host.example"))
    assert found.hosts == (("mx1.host.example",),)
    assert code(await refused("partner.example", inside)) == "550 5.4.4"
    assert code(await refused("[10.0.0.1]")) == "550 5.4.4"


@pytest.mark.parametrize(
    ("insecure", "secure"), [(None, False), ((), True), (("partner.example",), False)]
)
async def test_dnssec_must_prove_whose_servers_they_are(
    insecure: Sequence[str] | None, secure: bool
) -> None:
    """That there are no MX records, too (RFC 7672 section 2.2.1)."""
    for servers in ([(10, "mx1.host.example")], []):
        records: dict[tuple[str, str], Sequence[Record]] = {
            **ADDRESSES,
            ("partner.example", "MX"): servers,
            ("partner.example", "A"): ["192.0.2.4"],
        }
        resolver = FakeResolver(records, insecure=insecure)
        sites = DirectSites(resolver, HostLookup(resolver, NETWORKS), Ourselves("relay.example"))
        assert (await sites.site("partner.example")).secure is secure


class FakeProtections:
    """Demands DANE, and leaves only the second server."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Groups, bool]] = []

    async def of(self, domain: str, groups: Groups, *, secure: bool, tls: str = "") -> Protected:
        """Notes what it is asked."""
        self.asked.append((domain, groups, secure))
        return Protected((groups[0][1:],), "may-dane")


async def test_the_destination_says_which_servers_may_be_used_and_how() -> None:
    """Asked with the name that DNS has; an address literal is nobody's to ask."""
    records: dict[tuple[str, str], Sequence[Record]] = {
        **ADDRESSES,
        ("xn--bcher-kva.example", "MX"): [(1, "mx1.host.example"), (1, "mx2.host.example")],
    }
    resolver, protections = FakeResolver(records, insecure=()), FakeProtections()
    sites = DirectSites(
        resolver,
        HostLookup(resolver, NETWORKS),
        Ourselves("relay.example"),
        protections=cast("Protections", protections),
    )
    found = await sites.site("Bücher.example")
    assert (found.hosts, found.tls) == ((("mx2.host.example",),), "may-dane")
    both = (("mx1.host.example", "mx2.host.example"),)
    assert protections.asked == [("xn--bcher-kva.example", both, True)]
    assert (await sites.site("[192.0.2.1]")).tls == ""
    assert len(protections.asked) == 1


async def test_we_are_found_among_the_servers_before_the_destination_leaves_any_out() -> None:
    """Else a backup that the policy doesn't name would send to those behind it, and they back."""
    records: dict[tuple[str, str], Sequence[Record]] = {
        **ADDRESSES,
        ("partner.example", "MX"): [(10, "relay.office.example"), (20, "mx1.host.example")],
    }
    resolver, protections = FakeResolver(records), FakeProtections()
    sites = DirectSites(
        resolver,
        HostLookup(resolver, NETWORKS),
        Ourselves("relay.office.example"),
        protections=cast("Protections", protections),
    )
    with pytest.raises(NoWay) as no_way:
        await sites.site("partner.example")
    assert code(no_way.value.reply) == "550 5.4.6"


async def test_only_names_that_are_no_hosts_bounce_whatever_is_demanded() -> None:
    """There is nothing to ask the destination about."""
    resolver = FakeResolver({("partner.example", "MX"): [(5, "."), (5, "192.0.2.1")]})
    sites = DirectSites(
        resolver,
        HostLookup(resolver, NETWORKS),
        Ourselves("relay.example"),
        protections=cast("Protections", FakeProtections()),
    )
    with pytest.raises(NoWay) as no_way:
        await sites.site("partner.example")
    assert code(no_way.value.reply) == "550 5.1.2"
