"""Events in Postfix's words."""

from typing import Any

import pytest

from filterrelay.observe.summary import summary

ID = "06FZZZZZZZZZZZZZZ"
MESSAGE: dict[str, Any] = {
    "event": "message",
    "message_id": ID,
    "verdict": "pass",
    "by": "",
    "sender": "anna@office.example",
    "recipients": ["bob@partner.example", "carl@partner.example"],
    "recipient_count": 2,
    "header_message_id": "<1@office.example>",
    "size": 512,
    "client": "192.0.2.7",
    "helo": "pc",
    "protocol": "ESMTP",
    "login": "anna",
    "listener": "smtp",
    "door": "smtp",
    "reply": f"250 2.0.0 OK, queued as {ID}",
}
ENVELOPE = "from=<anna@office.example> to=<bob@partner.example>"
WHO = "proto=ESMTP helo=<pc> sasl_username=<anna>"
RECEIVED = [
    ("smtpd", f"{ID}: client=unknown[192.0.2.7], sasl_username=anna"),
    ("cleanup", f"{ID}: message-id=<1@office.example>"),
]
QUEUED = f"{ID}: from=<anna@office.example>, size=512, nrcpt=2"
ATTEMPT: dict[str, Any] = {
    "event": "delivered",
    "message_id": ID,
    "sender": "anna@office.example",
    "recipients": ["bob@partner.example", "carl@partner.example"],
    "upstream": "provider",
    "host": "mx.partner.example:25",
    "address": "192.0.2.9:25",
    "tls": "TLSv1.3",
    "reply": "250 2.1.5 OK",
    "delay": 1.25,
    "delays": {"queue": 1.0, "connection": 0.2, "transaction": 0.05},
    "door": "smtp",
}
DELAYS = "delay=1.25, delays=0/1/0.2/0.05"


def lines(base: dict[str, Any], **other: Any) -> list[tuple[str, str]]:
    """The event's lines in the mail log, with other values."""
    told = summary({**base, **other})
    return [] if told is None else list(told.lines())


def test_an_accepted_message_is_told_as_postfix_tells_it() -> None:
    """Who sent it, what it is called, from whom and how much."""
    assert lines(MESSAGE) == [*RECEIVED, ("qmgr", f"{QUEUED} (queue active)")]
    assert str(summary(MESSAGE)) == (
        f"{ID}: client=unknown[192.0.2.7], sasl_username=anna, message-id=<1@office.example>, "
        "from=<anna@office.example>, size=512, nrcpt=2 (queue active)"
    )


def test_a_client_is_told_as_the_mail_server_in_front_knows_it() -> None:
    """With its name, and what the message is called there; a local one has no address."""
    (first, *_, last) = lines(
        MESSAGE, client_name="pc.office.example", queue_id="4ABC", login="", door="milter"
    )
    assert first[1] == f"{ID}: client=pc.office.example[192.0.2.7], orig_queue_id=4ABC"
    assert last[1] == f"{QUEUED} (passed on)"
    assert lines(MESSAGE, client="", login="")[0][1] == f"{ID}: client=localhost[local]"


@pytest.mark.parametrize(
    ("verdict", "kind", "words", "after"),
    [
        ("quarantine", "milter-hold", "milter triggers HOLD action", ["(queue hold)"]),
        ("discard", "milter-discard", "milter triggers DISCARD action", []),
    ],
)
def test_what_is_set_aside_or_thrown_away_is_received(
    verdict: str, kind: str, words: str, after: list[str]
) -> None:
    """Its client has heard 250."""
    refusal = f"{ID}: {kind}: END-OF-MESSAGE from unknown[192.0.2.7]: {words}; {ENVELOPE} {WHO}"
    queued = [("qmgr", f"{QUEUED} {where}") for where in after]
    assert lines(MESSAGE, verdict=verdict, by="spam") == [*RECEIVED, ("cleanup", refusal), *queued]


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("clamav", ("cleanup", "milter-reject: END-OF-MESSAGE from unknown[192.0.2.7]: 5.7.1 No")),
        ("", ("smtpd", "reject: END-OF-MESSAGE from unknown[192.0.2.7]: 550 5.7.1 No")),
    ],
)
def test_a_refused_message_is_not_received(by: str, told: tuple[str, str]) -> None:
    """A filter's refusal is told as a milter's; the ID at its end would make each one different."""
    (line,) = lines(MESSAGE, verdict="reject", by=by, reply=f"550 5.7.1 No [{ID}]")
    assert line == (told[0], f"{ID}: {told[1]}; {ENVELOPE} {WHO}")


@pytest.mark.parametrize(
    ("event", "reply", "status"),
    [
        ("delivered", "250 2.1.5 OK", "dsn=2.1.5, status=sent (250 2.1.5 OK)"),
        ("deferred", "451 later", "dsn=4.0.0, status=deferred (451 later)"),
        ("bounced", "550 5.1.1 who?", "dsn=5.1.1, status=bounced (550 5.1.1 who?)"),
    ],
)
def test_an_attempt_is_a_line_for_each_recipient(event: str, reply: str, status: str) -> None:
    """Which is what is counted."""
    rest = f"relay=mx.partner.example[192.0.2.9]:25, {DELAYS}, {status}"
    assert lines(ATTEMPT, event=event, reply=reply) == [
        ("smtp", f"{ID}: to=<bob@partner.example>, {rest}"),
        ("smtp", f"{ID}: to=<carl@partner.example>, {rest}"),
    ]
    shown = f"{ID}: to=<bob@partner.example>, to=<carl@partner.example>, {rest}"
    assert str(summary({**ATTEMPT, "event": event, "reply": reply})) == shown


@pytest.mark.parametrize(
    ("place", "relay"),
    [
        ({"host": "", "address": ""}, "none"),
        ({"host": "unix:/run/lmtp", "address": ""}, "unix:/run/lmtp"),
        (
            {"host": "[2001:db8::1]:25", "address": "[2001:db8::1]:25"},
            "[2001:db8::1][2001:db8::1]:25",
        ),
    ],
)
def test_a_relay_is_named_as_far_as_it_is_known(place: dict[str, str], relay: str) -> None:
    """None where no host was spoken to."""
    assert f", relay={relay}, " in lines(ATTEMPT, **place)[0][1]


def test_what_a_proxys_next_hop_refuses_is_no_bounce() -> None:
    """The client hears it, and the message's line says so."""
    assert lines(ATTEMPT, event="bounced", reply="550 5.1.1 who?", door="proxy") == []
    assert len(lines(ATTEMPT, door="proxy")) == 2


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("on_connect", "CONNECT from unknown[192.0.2.7]: 550 5.7.1 <unknown[192.0.2.7]>: No;"),
        ("on_helo", "HELO from unknown[192.0.2.7]: 550 5.7.1 <pc>: No;"),
        (
            "on_sender",
            "MAIL from unknown[192.0.2.7]: 550 5.7.1 <a@office.example>: No; "
            "from=<a@office.example>",
        ),
        (
            "on_recipient",
            "RCPT from unknown[192.0.2.7]: 550 5.7.1 <b@partner.example>: No; "
            "from=<a@office.example> to=<b@partner.example>",
        ),
    ],
)
def test_a_refusal_before_the_message_names_what_is_refused(hook: str, told: str) -> None:
    """As Postfix does at each stage."""
    at_recipient = hook == "on_recipient"
    refused = {
        **MESSAGE,
        "event": "refused",
        "hook": hook,
        "reply": "550 5.7.1 No",
        "sender": "a@office.example",
        "recipient": "b@partner.example" if at_recipient else "",
        "login": "",
    }
    assert lines(refused) == [("smtpd", f"NOQUEUE: reject: {told} proto=ESMTP helo=<pc>")]


def test_our_own_mail_and_the_end_of_any_are_told() -> None:
    """A bounce comes from nobody and from no client."""
    report = {**MESSAGE, "event": "report_queued", "sender": "", "recipient_count": 1, "about": ""}
    queued = f"{ID}: from=<>, size=512, nrcpt=1 (queue active"
    assert lines(report) == [RECEIVED[1], ("qmgr", f"{queued})")]
    assert lines(report, about="06F")[1] == ("qmgr", f"{queued}, report on 06F)")
    assert lines({"event": "removed", "message_id": ID}) == [("qmgr", f"{ID}: removed")]


def test_a_failed_login_is_a_warning_for_those_who_block_guessers() -> None:
    """In the words that fail2ban's filter for Postfix knows; others are not told."""
    login = {"event": "login", "client": "192.0.2.7", "mechanism": "PLAIN", "login": "anna"}
    failed = "SASL PLAIN authentication failed: bad, sasl_username=anna"
    assert lines(login, result="bad") == [("smtpd", f"warning: unknown[192.0.2.7]: {failed}")]
    assert lines(login, result="ok") == []


@pytest.mark.parametrize(
    "event",
    [
        {"event": "serving"},
        {"event": "message", "plugin": "mine", **MESSAGE},
        {"event": "message", "text": "a library's"},
        {"event": "message", **MESSAGE, "reply": None},
    ],
)
def test_postfix_says_nothing_of_other_events(event: dict[str, Any]) -> None:
    """Nor does a plugin's own event of the same name do any harm."""
    assert summary(event) is None
