"""Which next hop a recipient's mail goes to."""

import pytest

from filterrelay.delivery.route import NOWHERE, BadRoute, RouteHook, Routes
from filterrelay.mail.address import AddressPattern
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.outcome import Route
from filterrelay.plugin.testing import an_envelope
from filterrelay.settings import RouteRule
from filterrelay.spool.store import StoredRecipient

NAMES = ("provider", "partner", "archive")
ENVELOPE = an_envelope("alice@office.example", "bob@partner.example", "eve@mail.partner.example")


def stored(envelope: Envelope = ENVELOPE) -> list[StoredRecipient]:
    """The envelope's recipients, none of them tried."""
    return [StoredRecipient(i, r) for i, r in enumerate(envelope.recipients)]


def rule(pattern: str, upstream: str) -> RouteRule:
    """A [[route]] of the file."""
    return RouteRule(recipients=(AddressPattern(pattern),), upstream=upstream)


def test_without_routes_all_goes_to_the_first_upstream() -> None:
    """In one transaction."""
    assert Routes([], NAMES, "provider").split_by_file(stored()) == {"provider": stored()}


def test_the_first_matching_route_wins() -> None:
    """In the file's order; what matches none goes the default way."""
    rules = [rule("*.partner.example", "archive"), rule("eve@mail.partner.example", "partner")]
    bob, eve = stored()
    routes = Routes(rules, NAMES, "provider")
    assert routes.split_by_file([bob, eve]) == {"provider": [bob], "archive": [eve]}


@pytest.mark.parametrize("upstream", ["nobody", "mx"])
def test_a_route_to_an_unknown_upstream_is_refused_at_the_start(upstream: str) -> None:
    """A typo is no surprise at the first message."""
    with pytest.raises(BadRoute):
        Routes([rule("*", upstream)], NAMES, "provider")


async def ask(hook: RouteHook) -> dict[str, list[str]]:
    """Where a plugin's routing sends the two recipients."""
    parts = await Routes([], NAMES, "provider", hook).split(ENVELOPE, stored(), "smtp")
    return {name: [str(r.recipient) for r in members] for name, members in parts.items()}


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

    assert list(await ask(hook)) == [NOWHERE]


async def test_a_plugin_that_names_an_unknown_upstream_makes_the_mail_wait() -> None:
    """The operator finds it in the log."""

    async def hook(_: Envelope, recipient: Recipient, listener: str) -> Route | None:
        return Route("nobody")

    assert list(await ask(hook)) == [NOWHERE]
