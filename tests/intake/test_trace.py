"""The trace fields say what RFC 5321 and RFC 8601 want, and no more than is wanted."""

from email import message_from_bytes
from email.policy import SMTP

import pytest

from filterrelay.intake.trace import (
    authentication_results,
    protocol_of,
    received,
    without_forged_results,
)
from filterrelay.mail.edits import AddHeader, edit_message
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.session import Tls
from filterrelay.plugin.testing import (
    SOME_TIME,
    a_message,
    a_session,
    an_envelope,
    within_cpu_budget,
)

HOST = "relay.office.example"
TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


def received_value(*, client: bool, **session: object) -> str:
    """Received for one recipient."""
    field = received(a_session(**session), an_envelope(), HOST, "ID7", SOME_TIME, client=client)
    return " ".join(field.value.split())


def test_received_names_both_sides_the_protocol_the_id_and_the_time() -> None:
    """RFC 5321 section 4.4."""
    assert received_value(client=True) == (
        "from client.example ([192.0.2.1]) "
        "by relay.office.example with ESMTP id ID7 for <bob@partner.example>"
        "; Fri, 02 Jan 2026 03:04:05 +0000"
    )


def test_received_does_not_leak_a_users_address() -> None:
    """Where somebody works from is nobody's business."""
    value = received_value(client=False, login="alice", tls=TLS)
    assert "192.0.2.1" not in value
    assert "client.example" not in value
    assert value.startswith("by relay.office.example with ESMTPSA id ID7 (TLSv1.3")


def test_received_marks_ipv6_as_such() -> None:
    """RFC 5321 section 4.1.3."""
    assert "([IPv6:2001:db8::1])" in received_value(client=True, client_ip="2001:db8::1")


def test_received_names_no_recipient_when_there_are_several() -> None:
    """Blind copies stay blind."""
    envelope = an_envelope("a@office.example", "b@c.example", "d@e.example")
    field = received(a_session(), envelope, HOST, "ID7", SOME_TIME, client=True)
    assert "for <" not in field.value


@pytest.mark.parametrize(
    ("session", "smtputf8", "word"),
    [
        ({"esmtp": False}, False, "SMTP"),
        ({}, False, "ESMTP"),
        ({"tls": TLS}, False, "ESMTPS"),
        ({"login": "a"}, False, "ESMTPA"),
        ({"tls": TLS, "login": "a"}, False, "ESMTPSA"),
        ({"tls": TLS, "login": "a"}, True, "UTF8SMTPSA"),
    ],
)
def test_the_protocol_word_is_the_registered_one(
    session: dict[str, object], smtputf8: bool, word: str
) -> None:
    """RFC 3848 and RFC 6531 section 4.3."""
    assert protocol_of(a_session(**session), an_envelope(smtputf8=smtputf8)) == word


def test_results_of_all_filters_stand_in_one_field() -> None:
    """RFC 8601 section 2.2; a value that needs quotes gets them."""
    findings = [
        Finding("x", auth=(AuthResult("spf", "pass", "", (("smtp.mailfrom", "a.example"),)),)),
        Finding("x"),
        Finding("x", auth=(AuthResult("dkim", "fail", 'body "changed"', (("header.b", "a b"),)),)),
    ]
    (edit,) = authentication_results(HOST, findings)
    message = edit_message(a_message(), [edit])
    value = message_from_bytes(message.raw, policy=SMTP)["Authentication-Results"]
    assert " ".join(str(value).split()) == (
        "relay.office.example; spf=pass smtp.mailfrom=a.example; "
        r'dkim=fail reason="body \"changed\"" header.b="a b"'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("office.example", "office.example"),
        ("rsa-sha256", "rsa-sha256"),
        ("alice+x@office.example", "alice+x@office.example"),
        ("@office.example", "@office.example"),
        ("ab/cd+=e", '"ab/cd+=e"'),
        ("SRS0=x=a=b@office.example", '"SRS0=x=a=b@office.example"'),
        ("[192.0.2.1]", '"[192.0.2.1]"'),
        ('"x@y"@bank.example', r'"\"x@y\"@bank.example"'),
        ("a\\b", r'"a\\b"'),
        ("a..b@office.example", '"a..b@office.example"'),
        ("a@b@office.example", '"a@b@office.example"'),
        ("x; dkim=pass", '"x; dkim=pass"'),
        ("zoë@büro.example", '"zoë@büro.example"'),
        ("", '""'),
    ],
)
def test_a_property_s_value_is_quoted_unless_it_is_a_token_or_an_address(
    value: str, written: str
) -> None:
    """RFC 8601 section 2.2 has the token of RFC 2045: neither / nor = is of it."""
    result = AuthResult("dkim", "pass", "", (("header.x", value),))
    (edit,) = authentication_results(HOST, [Finding("x", auth=(result,))])
    assert isinstance(edit, AddHeader)
    assert edit.value == f"relay.office.example;\r\n\tdkim=pass header.x={written}"


def test_no_results_make_no_field() -> None:
    """A chain without checks claims nothing."""
    assert not list(authentication_results(HOST, [Finding("clean")]))


@pytest.mark.parametrize(
    ("value", "removed"),
    [
        ("relay.office.example; spf=pass", True),
        ("RELAY.Office.Example 1; spf=pass", True),
        ("relay.office.example (comment); spf=pass", True),
        ('"relay.office.example"; spf=pass', True),
        ("(c) relay.office.example; spf=pass", True),
        ("(a;b) relay.office.example; spf=pass", True),
        (r"(a (b) \) ;) relay.office.example (c) 1 (d); spf=pass", True),
        ("relay.office.example\t1; spf=pass", True),
        ("\r\n relay.office.example\r\n 1; spf=pass", True),
        ("relay.office.example", True),
        (r'"relay.office\.example"; spf=pass', True),
        ('"relay.office.example."; spf=pass', True),
        ("relay.office.example.; spf=pass", True),
        ("relay.office.example/1; spf=pass", True),
        ("relay.office(c).example; spf=pass", True),
        ("(never closed relay.office.example; spf=pass", True),
        ("(" * 2000 + ")" * 2000 + "relay.office.example; spf=pass", True),
        ("; spf=pass", True),
        ("spf=pass smtp.mailfrom=bank.example", True),
        ("relay.office.example.evil.example; spf=pass", False),
        ("mx.partner.example; spf=pass", False),
        ("mx.partner.example (relay.office.example); spf=pass", False),
        ("(c) mx.partner.example 1 (d); none", False),
        ("mx.partner.example", False),
        ('"mx.partner.example"; spf=pass reason="relay.office.example; x"', False),
    ],
)
def test_forged_results_of_our_own_are_removed(value: str, removed: bool) -> None:
    """Nobody else may speak in our name, however it is written (RFC 8601 section 5)."""
    message = a_message(authentication_results=value)
    cleaned = edit_message(message, list(without_forged_results(HOST, message)))
    assert (not cleaned.all("authentication-results")) is removed


def test_several_forged_fields_are_all_removed() -> None:
    """Honest ones between them stay."""
    message = edit_message(
        a_message(),
        [
            AddHeader("Authentication-Results", value)
            for value in (f"{HOST}; spf=pass", "mx.partner.example; spf=fail", f"{HOST}; none")
        ],
    )
    cleaned = edit_message(message, list(without_forged_results(HOST, message)))
    assert [f.value for f in cleaned.all("authentication-results")] == [
        "mx.partner.example; spf=fail"
    ]


def test_a_header_full_of_forged_results_is_cleaned_at_once() -> None:
    """Nobody else's mail waits for it."""
    forged = "".join(f"Authentication-Results: {HOST}; spf=pass\n" for _ in range(10_000))
    deep = f"Authentication-Results: {'(' * 500_000}\n"
    message = a_message(f"{deep}{forged}Subject: a\n\nb\n".encode())
    with within_cpu_budget(500):
        cleaned = edit_message(message, list(without_forged_results(HOST, message)))
    assert cleaned.raw == b"Subject: a\r\n\r\nb\r\n"
