"""What a listener's rules make of a client."""

import pytest

from filterrelay.doors.policy import Counters, DoorPolicy
from filterrelay.mail.session import Session
from filterrelay.observe.metrics import Metrics
from filterrelay.settings import Limits, Listener


def policy(**listener: object) -> DoorPolicy:
    """A listener's rules, without a certificate."""
    rules = Listener.model_validate({"kind": "smtp", "address": "127.0.0.1:0", **listener})
    return DoorPolicy(rules, Limits(), "relay.example")


@pytest.mark.parametrize(
    ("networks", "client", "trusted"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "198.51.100.7", False),
        (["192.0.2.0/24"], "2001:db8::1", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["127.0.0.0/8"], "", True),
        (["192.0.2.0/24"], "", False),
        ([], "", False),
    ],
)
def test_trust_follows_the_networks(networks: list[str], client: str, trusted: bool) -> None:
    """A client on a unix socket is trusted where loopback is."""
    assert policy(trusted_networks=networks).trusts(client) is trusted


@pytest.mark.parametrize(
    ("networks", "proxy", "believed"),
    [
        ([], "127.0.0.1", True),
        ([], "::1", True),
        ([], "", True),
        ([], "10.0.0.1", False),
        (["10.0.0.0/8"], "10.0.0.1", True),
        (["10.0.0.0/8"], "192.0.2.1", False),
        (["10.0.0.0/8"], "127.0.0.1", False),
    ],
)
def test_a_proxy_is_believed_from_its_networks(
    networks: list[str], proxy: str, believed: bool
) -> None:
    """Where nothing is said only the machine's own may speak for clients."""
    assert policy(proxy_protocol=True, proxy_from=networks).believes(proxy) is believed


@pytest.mark.parametrize(
    ("networks", "peer", "may"),
    [
        (["10.0.0.0/8"], "10.0.0.1", True),
        (["10.0.0.0/8"], "192.0.2.1", False),
        (["127.0.0.0/8"], "", True),
        ([], "127.0.0.1", False),
    ],
)
def test_only_listed_mail_servers_may_say_who_their_client_is(
    networks: list[str], peer: str, may: bool
) -> None:
    """Whoever may could pose as anybody."""
    assert policy(xclient_from=networks).speaks_for_clients(peer) is may


def test_starttls_needs_a_certificate() -> None:
    """Without a TLS context nothing is offered that can't be kept."""
    assert not policy(tls="starttls").offers_starttls
    session = Session("id", "smtp", "smtp", "")
    assert "STARTTLS" not in policy(tls="starttls").ehlo(session).text


@pytest.mark.parametrize("names_clients", [False, True])
def test_only_who_may_name_clients_is_offered_it(*, names_clients: bool) -> None:
    """With the attributes that are understood."""
    offered = policy().ehlo(Session("id", "smtp", "smtp", ""), names_clients=names_clients).text
    assert ("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" in offered) is names_clients
    assert ("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE" in offered) is names_clients


def test_series_exist_from_the_start() -> None:
    """A counter that was never counted up is 0, not missing."""
    metrics = Metrics()
    Counters(metrics, "smtp")
    labels = {"listener": "smtp", "result": "locked"}
    assert metrics.registry.get_sample_value("filterrelay_logins_total", labels) == 0
