"""Which next hop a recipient's mail goes to."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from filterrelay.delivery.route import (
    DISCARDED,
    NO_ROUTE,
    BadRoute,
    RouteHook,
    Routes,
    Way,
)
from filterrelay.delivery.site import NoWay, Site
from filterrelay.mail.address import Address, AddressPattern
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Route
from filterrelay.mail.reply import Reply
from filterrelay.settings import Destination, RouteRule
from filterrelay.spool.store import StoredMessage, StoredRecipient

from .hop import a_stored_message

NAMES = ("provider", "partner", "archive")
MESSAGE = a_stored_message("ID", "bob@partner.example", "eve@mail.partner.example")
BOB, EVE = MESSAGE.recipients
PROVIDER = Way(Hop("provider"))


def rule(upstream: str, *recipients: str, **more: Any) -> RouteRule:
    """A [[route]] of the file."""
    return RouteRule(recipients=tuple(map(AddressPattern, recipients)), upstream=upstream, **more)


def split(
    *rules: RouteRule, message: StoredMessage = MESSAGE, **more: Any
) -> Mapping[Way, Sequence[StoredRecipient]]:
    """The message's recipients by the way the file has them go."""
    return Routes(rules, NAMES, "provider", **more).split_by_file(message, message.recipients)


def test_a_long_list_is_told_in_short() -> None:
    """The reason stands in the trace of each message, and a list may have thousands."""
    domains = [f"*@d{number}.example" for number in range(5)]
    routes = Routes([rule("partner", *domains)], NAMES, "provider")
    way = routes.by_file(None, Address("ann", "d4.example"), "")
    assert way.reason == "route 1: recipients *@d0.example, *@d1.example, *@d2.example and 2 more"


def test_without_routes_all_goes_to_the_first_upstream() -> None:
    """In one transaction."""
    assert split() == {PROVIDER: MESSAGE.recipients}


def test_the_first_matching_route_wins() -> None:
    """In the file's order; what matches none goes the default way."""
    rules = [
        rule("archive", "*.partner.example"),
        rule("partner", "eve@mail.partner.example"),
    ]
    assert split(*rules) == {PROVIDER: [BOB], Way(Hop("archive")): [EVE]}


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        ({"senders": (AddressPattern("*@office.example"),)}, True),
        ({"senders": (AddressPattern("*@shop.example"),)}, False),
        ({"logins": ("alice",)}, True),
        ({"logins": ("*",)}, True),
        ({"logins": ("bob",)}, False),
        ({"logins": ("alice",), "senders": (AddressPattern("*@shop.example"),)}, False),
    ],
)
def test_sender_and_login_count_too(asked: dict[str, Any], matches: bool) -> None:
    """All that a route says must match."""
    message = replace(MESSAGE, session={"identity": {"login": "alice"}})
    found = split(rule("archive", **asked), message=message)
    assert list(found) == [Way(Hop("archive")) if matches else PROVIDER]


def test_nobody_logged_in_is_no_login() -> None:
    """Nor is a null sender anybody's."""
    assert list(split(rule("archive", logins=("*",)))) == [PROVIDER]
    bounce = replace(MESSAGE, envelope=replace(MESSAGE.envelope, sender=None))
    any_sender = rule("archive", senders=(AddressPattern("*"),))
    assert list(split(any_sender, message=bounce)) == [PROVIDER]


def test_a_closed_domain_is_refused_and_another_thrown_away() -> None:
    """Without an attempt; in the words that the file has for it."""
    rules = [
        rule("reject", "*@partner.example", reply="550 5.1.1 Closed since 2024"),
        rule("discard", "*.partner.example"),
    ]
    assert split(*rules) == {
        Way(Hop("reject"), Reply(550, "5.1.1", "Closed since 2024")): [BOB],
        Way(Hop("discard"), DISCARDED): [EVE],
    }


def test_the_policy_of_a_route_is_part_of_the_hop() -> None:
    """What is sent under another policy uses other connections."""
    found = split(rule("partner", "*@partner.example", tls="required"))
    assert list(found) == [Way(Hop("partner", "required")), PROVIDER]


def test_the_limits_of_a_destination_are_part_of_the_hop() -> None:
    """Its mail waits beside the other mail for the same upstream."""
    slow = Destination(name="slow", domains=(AddressPattern("partner.example"),))
    found = split(destinations=[slow])
    assert list(found) == [Way(Hop("provider", shape="slow")), PROVIDER]


def test_an_operators_word_goes_before_the_file() -> None:
    """A redirected recipient goes where it was redirected to; an unknown place makes it wait."""
    redirected = replace(BOB, redirect="archive"), replace(EVE, redirect="gone")
    message = replace(MESSAGE, recipients=redirected)
    found = split(message=message)
    assert list(found) == [Way(Hop("archive")), Way(Hop(""), NO_ROUTE)]


@pytest.mark.parametrize("upstream", ["nobody", "mx"])
def test_a_route_to_an_unknown_upstream_is_refused_at_the_start(upstream: str) -> None:
    """A typo is no surprise at the first message."""
    with pytest.raises(BadRoute):
        Routes([rule(upstream)], NAMES, "provider")


async def ask(hook: RouteHook) -> dict[str, list[str]]:
    """Where a plugin's routing sends the two recipients."""
    parts = await Routes([], NAMES, "provider", hook).split(MESSAGE, MESSAGE.recipients)
    return {
        str(way.hop) if way.answer is None else str(way.answer): [
            str(stored.recipient) for stored in members
        ]
        for way, members in parts.items()
    }


async def test_a_plugin_is_asked_before_the_file() -> None:
    """What it doesn't know goes by the file."""

    async def hook(_: Envelope, recipient: Recipient, listener: str) -> Route | None:
        return Route("archive") if recipient.address.local == "bob" else None

    assert await ask(hook) == {
        "archive": ["bob@partner.example"],
        "provider": ["eve@mail.partner.example"],
    }


async def test_a_plugin_that_fails_makes_the_mail_wait() -> None:
    """It is not sent a way that nobody chose."""

    async def hook(_: Envelope, recipient: Recipient, listener: str) -> Route | None:
        raise RuntimeError("directory down")

    assert list(await ask(hook)) == [str(NO_ROUTE)]


async def test_a_plugin_that_names_an_unknown_upstream_makes_the_mail_wait() -> None:
    """The operator finds it in the log."""

    async def hook(_: Envelope, recipient: Recipient, listener: str) -> Route | None:
        return Route("nobody")

    assert list(await ask(hook)) == [str(NO_ROUTE)]


async def test_a_plugin_that_names_no_upstream_at_all_makes_the_mail_wait() -> None:
    """A plugin of somebody's may be wrong in any way; no message is forgotten for that."""

    async def hook(_: Envelope, recipient: Recipient, listener: str) -> Route | None:
        return Route(["provider"])  # type: ignore[arg-type]  # that is its fault

    assert list(await ask(hook)) == [str(NO_ROUTE)]


class Dns:
    """Servers of destinations: one site for all, but for those that have none."""

    async def site(self, domain: str, tls: str = "") -> Site:
        """As DNS has it."""
        if domain == "partner.example":
            raise NoWay(Reply(556, "5.1.10", "The domain takes no mail"))
        return Site("mx.host.example", (("mx.host.example",),), "required")


async def test_direct_delivery_is_grouped_by_the_servers_that_dns_names() -> None:
    """Two domains with the same servers share a transaction; one without has its answer."""
    message = a_stored_message("ID", "a@x.example", "b@y.example", "c@partner.example")
    routes = Routes([rule("mx")], NAMES, "provider", direct={"mx": Dns()})
    assert routes.asks_for(message.recipients)
    first, second, third = message.recipients
    site = Way(Hop("mx", "required", "mx.host.example"))
    assert await routes.split(message, message.recipients) == {
        site: [first, second],
        Way(Hop("mx"), Reply(556, "5.1.10", "The domain takes no mail")): [third],
    }


async def test_a_destination_is_known_by_its_mail_server_too() -> None:
    """Many domains are with one provider, whose limits hold for all of them together."""
    message = a_stored_message("ID", "a@x.example")
    shapes = [
        Destination(name="own", domains=(AddressPattern("x.example"),)),
        Destination(name="provider", domains=(AddressPattern("*.host.example"),)),
    ]
    for destinations, shape in ((shapes, "own"), (shapes[1:], "provider"), ([], "")):
        routes = Routes(
            [rule("mx")], NAMES, "provider", direct={"mx": Dns()}, destinations=destinations
        )
        (way,) = await routes.split(message, message.recipients)
        assert way.hop == Hop("mx", "required", "mx.host.example", shape)


async def test_what_an_operator_redirects_to_direct_delivery_is_looked_up() -> None:
    """Although no route leads there."""
    message = replace(MESSAGE, recipients=(replace(EVE, redirect="mx"),))
    routes = Routes([], NAMES, "provider", direct={"mx": Dns()})
    assert routes.asks_for(message.recipients)
    assert not routes.asks_for(MESSAGE.recipients)
    (way,) = await routes.split(message, message.recipients)
    assert way.site is not None


@pytest.mark.parametrize(("site", "policy"), [("", "dane"), ("sts", "sts")])
async def test_a_routes_policy_counts_when_the_servers_are_chosen(site: str, policy: str) -> None:
    """Who knows them says what it comes to there."""
    asked = []

    class Asked(Dns):
        async def site(self, domain: str, tls: str = "") -> Site:
            asked.append(tls)
            return replace(await super().site(domain), tls=site)

    routes = Routes([rule("mx", tls="dane")], NAMES, "provider", direct={"mx": Asked()})
    (way,) = await routes.split(MESSAGE, [EVE])
    assert (asked, way.hop.tls) == (["dane"], policy)


def test_an_operator_has_mail_returned_in_words_of_his_own() -> None:
    """Or in ours; either way its sender gets a report, without an attempt."""
    returned = (
        replace(BOB, redirect="reject:The office has closed"),
        replace(EVE, redirect="reject:"),
    )
    found = split(message=replace(MESSAGE, recipients=returned))
    assert [str(way.answer) for way in found] == [
        "554 5.7.1 Returned by the postmaster: The office has closed",
        "554 5.7.1 Returned by the postmaster",
    ]


def test_only_a_closed_destination_is_refused_at_the_door() -> None:
    """What is discarded, or has no route now, is taken."""
    routes = Routes(
        [rule("discard", "a.example"), rule("reject", "b.example", logins=("eve",))], NAMES, ""
    )
    a, b = Address("x", "a.example"), Address("x", "b.example")
    assert [routes.refusal(None, a, "eve"), routes.refusal(None, b, "")] == [None, None]
    refused = routes.refusal(None, b, "eve")
    assert refused is not None
    assert refused.code == 550
    assert Routes([], NAMES, "").refusal(None, b, "eve") is None


def test_a_way_names_the_rule_that_says_so() -> None:
    """So that an operator finds its line in the file."""
    routes = Routes([rule("archive", "a.example"), rule("partner", "b.example")], NAMES, "provider")
    ways = [routes.by_file(None, Address("x", f"{name}.example"), "") for name in "abc"]
    assert [way.rule for way in ways] == [1, 2, 0]
