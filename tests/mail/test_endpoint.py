"""Addresses to listen on or to connect to."""

import pytest

from filterrelay.mail.endpoint import Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:25", Endpoint("127.0.0.1", 25)),
        ("mx.office.example:587", Endpoint("mx.office.example", 587)),
        ("[2001:db8::1]:25", Endpoint("2001:db8::1", 25)),
        ("unix:/run/milter.sock", Endpoint(path="/run/milter.sock")),
    ],
)
def test_an_address_is_read_and_written_back(text: str, endpoint: Endpoint) -> None:
    """The three ways to write one, and each reads as it was written."""
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize("text", ["mx.office.example", "[2001:db8::1]", "2001:db8::1", "192.0.2.1"])
def test_a_port_may_be_left_out_where_one_is_usual(text: str) -> None:
    """An upstream or a resolver has its usual port."""
    assert parse_endpoint(text, default_port=53).port == 53


@pytest.mark.parametrize(
    "text",
    [
        *("", ":25", "unix:", "host", "host:", "host:smtp", "host:65536", "host:-1", "ho st:25"),
        *("[::1:25", "[::1]25", "[host]:25", "::1::25", "/run/x:1", "host:٢"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Typing errors are found before anything is bound."""
    with pytest.raises(ValueError, match=r"."):
        parse_endpoint(text)
