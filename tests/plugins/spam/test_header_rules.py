"""Rules on the header."""

import pytest
from filterrelay_plugins.spam.rules import hits

from .conftest import Reader

NEIGHBOURS = "mara@x.example, marc@x.example, mark@y.example, mary@z.example"


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ({"from": ""}, "FROM_MISSING"),
        ({"from": '"service@bank.example" <x@evil.example>'}, "FROM_DISGUISED"),
        ({"from": "x <win123456789@evil.example>"}, "FROM_DIGITS"),
        ({"date": ""}, "DATE_MISSING"),
        ({"date": "yesterday evening"}, "DATE_WRONG"),
        ({"date": "Fri, 09 Jan 2026 03:04:05 +0000"}, "DATE_WRONG"),
        ({"message_id": "<no at sign>"}, "MESSAGE_ID_WRONG"),
        ({"subject": "MAKE MONEY FAST TODAY"}, "SUBJECT_CAPITALS"),
        ({"subject": "Hurry!!!"}, "SUBJECT_SHOUTED"),
        ({"subject": "Earn $5,000 weekly"}, "SUBJECT_MONEY"),
        ({"subject": "ADV: cheap things"}, "SUBJECT_ADVERTISING"),
        ({"to": ""}, "NO_RECIPIENT"),
        ({"date": "Fri, 02 Jan 2026 03:04:05"}, "DATE_UNZONED"),
        ({"reply_to": "x@gmail.com"}, "REPLY_ELSEWHERE"),
        (
            {"to": "mara@x.example, marc@x.example, mark@y.example, mary@z.example"},
            "RECIPIENTS_ALIKE",
        ),
        ({"subject": "buy this        qwzxy"}, "SUBJECT_TRAIL"),
        ({"from": "x@gmail.com", "message_id": "<1@evil.example>"}, "FREEMAIL_PRETENDED"),
        ({"from": "x@gmail.com", "content_type": "text/html"}, "FREEMAIL_HTML"),
        ({"message_id": "<0925c5750200$0fa2bc10$3bb78ec3@x>"}, "OUTLOOK_ID"),
        ({"x_msmail_priority": "High"}, "OUTLOOK_PRETENDED"),
        ({"x_priority": "1"}, "PRIORITY_ALONE"),
        ({"from": "<x@evil.example>"}, "SENDER_BARE"),
        ({"subject": "Re: Lunch", "in_reply_to": "<1@partner.example>"}, "REPLY"),
    ],
)
def test_a_rule_holds_where_it_should(reading: Reader, headers: dict[str, str], rule: str) -> None:
    """One field is odd, and the rule on it says so; a usual header it leaves alone."""
    assert rule in [hit.name for hit in hits(reading(**headers))]
    assert rule not in [hit.name for hit in hits(reading())]


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        (b"MiME-Version: 1.0", "MIME_MISSPELT"),
        (b"From: a@b.example\r\nFrom: c@d.example", "FIELD_TWICE"),
        (b"Subject: gr\xfc\xdfe", "SUBJECT_RAW"),
    ],
)
def test_a_field_that_no_mail_program_writes_is_odd(
    reading: Reader, field: bytes, rule: str
) -> None:
    """Only programs for spam make these mistakes."""
    assert rule in [hit.name for hit in hits(reading(field + b"\r\n\r\nHello.\r\n"))]


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ({"from": "x@hotmail.com", "message_id": "<A@B.PROD.OUTLOOK.COM>"}, "FREEMAIL_PRETENDED"),
        (
            {
                "message_id": "<0925c5750200$0fa2bc10$3bb78ec3@x>",
                "x_mailer": "Microsoft Outlook 16",
            },
            "OUTLOOK_ID",
        ),
        ({"x_priority": "1", "user_agent": "Mozilla Thunderbird"}, "PRIORITY_ALONE"),
        ({"subject": "=?utf-8?q?gr=C3=BC=C3=9Fe?="}, "SUBJECT_RAW"),
        ({"from": '"a@office.example" <a@office.example>'}, "FROM_DISGUISED"),
    ],
)
def test_the_real_program_is_not_taken_for_its_forgery(
    reading: Reader, headers: dict[str, str], rule: str
) -> None:
    """What Outlook, Thunderbird and the big providers write hits none of the rules on them."""
    assert rule not in [hit.name for hit in hits(reading(**headers))]
