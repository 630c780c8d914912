"""What is said of upstreams, routes, destinations and reports that can't work."""

from pathlib import Path
from typing import Any

import pytest

from filterrelay.settings import Settings
from filterrelay.settings.delivery_checks import destinations, reports, routes, upstreams

PROVIDER = {"name": "provider", "hosts": ["smtp.provider.example"]}


def complaints(**sections: Any) -> list[tuple[str, str]]:
    """The keys and reasons, as `upstream.0.tls`."""
    listener = {"kind": "smtp", "address": "127.0.0.1:25"}
    settings = Settings.model_validate({"listener": [listener], "upstream": [PROVIDER]} | sections)
    found = (
        *upstreams(settings),
        *routes(settings),
        *destinations(settings),
        *reports(settings),
    )
    return [(".".join(map(str, path)), why) for path, why in found]


@pytest.mark.parametrize(
    ("upstream", "key", "why"),
    [
        ({"name": "a+b"}, "name", "can't be an upstream's name"),
        ({"name": "reject"}, "name", "a route means something else by it"),
        ({"name": "mx"}, "name", 'give it protocol = "mx"'),
        ({"protocol": "mx"}, "hosts", "DNS names them"),
        ({"hosts": []}, "hosts", "is missing"),
        ({"port": 2525}, "port", "is for direct delivery"),
        ({"allow_networks": ["10.0.0.0/8"]}, "allow_networks", "is for direct delivery"),
        ({"mta_sts": False}, "mta_sts", "is for direct delivery"),
        ({"protocol": "lmtp", "dane": True}, "dane", "is for direct delivery"),
        ({"protocol": "lmtp", "xclient": True}, "xclient", "is for the next hop of a proxy"),
        ({"recipient_rate": "fast"}, "recipient_rate", "fast"),
        ({"certificate": "nowhere.pem"}, "certificate", "there is no file nowhere.pem"),
        ({"key": __file__}, "certificate", "the other one is missing"),
        ({"hosts": ["unix:/run/lmtp"]}, "hosts", "only LMTP"),
        (
            {"hosts": ["unix:/run/lmtp"], "protocol": "lmtp", "tls": "required"},
            "tls",
            "can't be had on a Unix socket",
        ),
    ],
)
def test_an_upstream_that_cannot_work(upstream: dict[str, Any], key: str, why: str) -> None:
    """Its key is named, and the reason."""
    found = complaints(upstream=[PROVIDER | upstream])
    assert any(path == f"upstream.0.{key}" and why in text for path, text in found), found


def test_direct_delivery_shows_no_login() -> None:
    """It would be shown to whatever server a recipient's domain names."""
    upstream = {"name": "mx", "protocol": "mx", "username": "us", "password": "secret"}
    found = complaints(upstream=[upstream])
    assert any(key == "upstream.0.username" and "logs in nowhere" in why for key, why in found)


def test_direct_delivery_needs_no_hosts() -> None:
    """Also as the upstream called mx, which tunes it."""
    assert not complaints(upstream=[PROVIDER, {"name": "mx", "protocol": "mx"}])


@pytest.mark.parametrize(
    ("route", "key"),
    [
        ({"upstream": "nobody"}, "upstream"),
        ({"upstream": "provider", "reply": "550 5.1.1 Closed"}, "reply"),
        ({"upstream": "reject", "reply": "450 4.1.1 Later"}, "reply"),
    ],
)
def test_a_route_that_cannot_work(route: dict[str, Any], key: str) -> None:
    """It leads nowhere, or says what it can't mean."""
    assert [path for path, _ in complaints(route=[route])] == [f"route.0.{key}"]


def test_lmtp_goes_over_a_unix_socket() -> None:
    """Unless a route asks for TLS there."""
    local = {"name": "local", "protocol": "lmtp", "hosts": ["unix:/run/lmtp"]}
    assert not complaints(upstream=[local], route=[{"upstream": "local"}])
    found = complaints(upstream=[local], route=[{"upstream": "local", "tls": "implicit"}])
    assert [path for path, _ in found] == ["route.0.tls"]


def test_routes_may_lead_to_no_upstream() -> None:
    """Direct delivery, and what isn't delivered at all."""
    named = ({"upstream": name} for name in ("mx", "discard", "reject", "provider"))
    assert not complaints(route=[*named])


def test_a_destination_that_cannot_work() -> None:
    """Twice the same name, a name that is none, a rate that is none."""
    domains = ["slow.example"]
    found = complaints(
        destination=[
            {"name": "slow", "domains": domains, "rate": "x"},
            {"name": "slow", "domains": domains},
            {"name": "a:b", "domains": domains},
        ]
    )
    assert [path for path, _ in found] == [
        "destination.1.name",
        "destination.0.rate",
        "destination.2.name",
    ]


def test_a_client_certificate_is_a_pair(tmp_path: Path) -> None:
    """Both files are there."""
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).touch()
    pair = {"certificate": tmp_path / "c.pem", "key": tmp_path / "k.pem"}
    assert not complaints(upstream=[PROVIDER | pair])


@pytest.mark.parametrize("key", ["report_from", "postmaster"])
@pytest.mark.parametrize("text", ["postmaster", "a b@office.example", "bücher@office.example"])
def test_reports_go_and_come_by_whole_addresses(key: str, text: str) -> None:
    """In ASCII, which every server takes; a bare postmaster is nobody's elsewhere."""
    ((path, why),) = complaints(delivery={key: text})
    assert path == f"delivery.{key}"
    assert text in why
    assert not complaints(delivery={key: "postmaster@office.example"})


@pytest.mark.parametrize(
    ("dns", "works"),
    [
        ({}, True),
        ({"servers": ["127.0.0.1:5353", "[::1]"]}, True),
        ({"servers": ["127.0.0.1"], "validating": False}, False),
        ({"servers": ["192.0.2.1"]}, False),
        ({"servers": ["192.0.2.1"], "validating": True}, True),
    ],
)
def test_dane_needs_servers_that_can_be_believed(dns: dict[str, Any], works: bool) -> None:
    """Else all mail would wait for an answer that never counts."""
    found = complaints(
        upstream=[PROVIDER | {"tls": "dane"}], route=[{"upstream": "mx", "tls": "dane"}], dns=dns
    )
    assert [path for path, _ in found] == ([] if works else ["upstream.0.tls", "route.0.tls"])
