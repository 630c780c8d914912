"""Reports as the sender's mail program reads them."""

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from filterrelay.delivery.report import MOST_RETURNED, Action, Reports, Told, decode_xtext
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import SOME_TIME, FakeClock
from filterrelay.spool.store import StoredMessage

from .hop import BODY, a_stored_message

REFUSED = Reply(550, "5.1.1", "No such user")
HOST = "mx.partner.example:25"


async def written(
    message: StoredMessage,
    action: Action = Action.FAILED,
    reply: Reply = REFUSED,
    body: bytes = BODY,
    host: str = HOST,
    **options: Any,
) -> tuple[Envelope, bytes]:
    """The one report on all recipients."""
    sent: list[tuple[Envelope, bytes]] = []

    async def submit(envelope: Envelope, raw: bytes, about: str) -> str:
        sent.append((envelope, raw))
        return f"REPORT-ON-{about}"

    told = [Told(stored.recipient, reply, host) for stored in message.recipients]
    until = SOME_TIME + timedelta(days=5) if action is Action.DELAYED else None
    reports = Reports("relay.office.example", submit, FakeClock(), **options)
    assert await reports.send(action, message, told, body, until=until)
    ((envelope, raw),) = sent
    return envelope, raw


async def parsed(message: StoredMessage, *args: Any, **kwargs: Any) -> EmailMessage:
    """The report as Python's own parser reads it; whatever it finds wrong fails the test."""
    _, raw = await written(message, *args, **kwargs)
    strict = policy.SMTP.clone(raise_on_defect=True)
    return message_from_bytes(raw, EmailMessage, policy=strict)


def status(report: EmailMessage, block: int) -> dict[str, str]:
    """One block of the machine's part: 0 is about the message, then one a recipient."""
    part = report.get_payload(1)
    return dict(part.get_payload(block).items())  # type: ignore[union-attr]  # a status part's payload is its blocks


async def test_a_bounce_has_the_three_parts_of_rfc_3464() -> None:
    """A text for people, fields for programs, and the original's header."""
    report = await parsed(a_stored_message())
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    types = [part.get_content_type() for part in report.iter_parts()]
    assert types == ["text/plain", "message/delivery-status", "text/rfc822-headers"]


async def test_the_fields_say_who_what_and_why() -> None:
    """RFC 3464 sections 2.2 and 2.3."""
    report = await parsed(a_stored_message())
    assert status(report, 0)["Reporting-MTA"] == "dns; relay.office.example"
    assert status(report, 1) == {
        "Final-Recipient": "rfc822; bob@partner.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.partner.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user",
        "Last-Attempt-Date": "Fri, 02 Jan 2026 03:04:05 +0000",
        "Final-Log-ID": "ID",
    }


async def test_what_the_client_gave_comes_back_decoded() -> None:
    """ENVID and ORCPT are what the sender knows its mail by (RFC 3461 sections 4.2 and 4.4)."""
    message = a_stored_message(envid="QQ+2B17", orcpt="rfc822;bob+2Boffice@partner.example")
    report = await parsed(message)
    assert status(report, 0)["Original-Envelope-Id"] == "QQ+17"
    assert status(report, 1)["Original-Recipient"] == "rfc822; bob+office@partner.example"


@pytest.mark.parametrize(
    ("xtext", "text"),
    [("a+2Bb", "a+b"), ("a+0D+0ABcc: x", "a  Bcc: x"), ("\\x{2603}", "☃"), ("\\x{D800}", "")],
)
def test_decoded_xtext_cannot_start_another_field(xtext: str, text: str) -> None:
    """Line ends within are blanks, surrogates vanish."""
    assert decode_xtext(xtext) == text


async def test_a_report_answers_its_message() -> None:
    """Mail programs show it in the same thread; robots don't answer it."""
    report = await parsed(a_stored_message())
    assert report["In-Reply-To"] == "<1@office.example>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["To"] == "alice@office.example" or report["To"] == "<alice@office.example>"


async def test_the_text_names_the_subject_as_it_was_written() -> None:
    """Also when it is an encoded one."""
    body = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello.\r\n"
    report = await parsed(a_stored_message(), body=body)
    text = next(report.iter_parts()).get_payload(decode=True)
    assert isinstance(text, bytes)
    assert '"Grüße"' in text.decode()


async def test_only_the_header_comes_back_unless_all_is_asked_for() -> None:
    """RET=HDRS, or nothing said: the text of a letter isn't copied around."""
    _, raw = await written(a_stored_message())
    assert b"Message-ID: <1@office.example>" in raw
    assert b"Hello." not in raw


async def test_ret_full_brings_the_whole_message_back() -> None:
    """As a message of its own."""
    report = await parsed(a_stored_message(ret="FULL"))
    assert [part.get_content_type() for part in report.iter_parts()][2] == "message/rfc822"


async def test_of_what_asked_for_tls_all_the_way_nothing_comes_back() -> None:
    """The way back may not be encrypted: neither text nor header goes (RFC 8689 section 5)."""
    message = a_stored_message(ret="FULL", requiretls=True)
    report = await parsed(message)
    types = [part.get_content_type() for part in report.iter_parts()]
    assert types == ["text/plain", "message/delivery-status"]
    _, raw = await written(message)
    assert b"Your message of " in raw
    for secret in (b"Hello.", b"Lunch", b"<1@office.example>"):
        assert secret not in raw


async def test_a_report_names_the_message_as_the_log_does() -> None:
    """Whoever looks after the mail finds its trace by the ID, in the text and in the fields."""
    report = await parsed(a_stored_message("0A1B2C"))
    assert status(report, 0)["X-Filterrelay-ID"] == "0A1B2C"
    assert "known as 0A1B2C" in str(next(report.iter_parts()).get_payload())


async def test_the_fields_are_ascii_unless_the_report_is_international() -> None:
    """message/delivery-status is 7bit (RFC 3464 section 2.1), whatever the far side said."""
    message = a_stored_message(envid="+E4", orcpt="rfc822;b+F6b@partner.example")
    report = await parsed(message, reply=Reply(550, "5.1.1", "Kein Empfänger"))
    part = list(report.iter_parts())[1]
    assert part["Content-Transfer-Encoding"] == "7bit"
    _, raw = await written(message, reply=Reply(550, "5.1.1", "Kein Empfänger"))
    assert b"Diagnostic-Code: smtp; 550 5.1.1 Kein Empf?nger\r\n" in raw


async def test_a_huge_message_does_not_come_back_whole() -> None:
    """Nor does a huge header: reports stay small."""
    body = b"".join(b"X-%06d: %s\r\n" % (i, b"x" * 60) for i in range(20_000))
    _, raw = await written(a_stored_message(ret="FULL"), body=body + b"\r\n" + b"y" * MOST_RETURNED)
    assert len(raw) < 20_000
    assert raw.count(b"x" * 60 + b"\r\n") == raw.count(b"X-0")


async def test_a_delay_notice_says_until_when() -> None:
    """And is no failure, for programs that look."""
    report = await parsed(a_stored_message(), Action.DELAYED, Reply(451, "4.4.1", "refused"))
    fields = status(report, 1)
    assert (fields["Action"], fields["Status"]) == ("delayed", "4.4.1")
    assert fields["Will-Retry-Until"] == "Wed, 07 Jan 2026 03:04:05 +0000"


@pytest.mark.parametrize("action", [Action.RELAYED, Action.DELIVERED])
async def test_relayed_and_delivered_are_successes(action: Action) -> None:
    """Status class 2 (RFC 3464 section 2.3.4)."""
    report = await parsed(a_stored_message(notify=("SUCCESS",)), action)
    assert (status(report, 1)["Action"], status(report, 1)["Status"][0]) == (action.value, "2")


async def test_a_report_speaks_the_language_of_the_file() -> None:
    """Subject and author in encoded words on short lines, as RFC 2047 section 2 has them."""
    message = a_stored_message()
    report = await parsed(message, language="ru")
    assert report["Subject"] == "Ваше письмо не доставлено"
    assert report["From"] == "Служба доставки почты <MAILER-DAEMON@relay.office.example>"
    assert next(report.iter_parts())["Content-Language"] == "ru"
    _, raw = await written(message, language="ru")
    assert max(map(len, raw[: raw.index(b"\r\nDate:")].split(b"\r\n"))) <= 76


async def test_reports_can_come_from_another_address() -> None:
    """Of a domain that has a key to sign with."""
    report = await parsed(a_stored_message(), author="bounces@office.example")
    assert report["From"] == "Mail Delivery System <bounces@office.example>"


POSTMASTER = Address("postmaster", "office.example")


def a_stored_report(to: str = "alice@office.example") -> StoredMessage:
    """One of the relay's own, as the spool has it."""
    report = a_stored_message("REPORT", to, notify=("NEVER",), sender="")
    return replace(report, session={"door": "report"})


async def test_a_report_that_fails_goes_to_the_postmaster() -> None:
    """With the whole report in it, from nobody, and asking for no report on itself."""
    _, bounce = await written(a_stored_message(), body=b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n")
    envelope, raw = await written(a_stored_report(), body=bounce, postmaster=POSTMASTER)
    assert envelope.sender is None
    assert [(str(r), r.notify) for r in envelope.recipients] == [
        ("postmaster@office.example", ("NEVER",))
    ]
    assert b"Subject: A report could not be delivered\r\n" in raw
    assert (
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + bounce in raw
    )


@pytest.mark.parametrize(
    ("message", "postmaster"),
    [
        (a_stored_report(), None),
        (a_stored_report(), Address("alice", "OFFICE.example")),
        (a_stored_message(sender=""), POSTMASTER),
    ],
    ids=["nobody is named", "it went there itself", "it isn't ours"],
)
async def test_a_postmaster_is_never_told_in_a_circle(
    message: StoredMessage, postmaster: Address | None
) -> None:
    """Nor of other people's bounces that pass through."""

    async def submit(*_: Any) -> str:
        raise AssertionError("nobody is to be told")

    reports = Reports("relay.office.example", submit, FakeClock(), postmaster=postmaster)
    told = [Told(message.recipients[0].recipient, REFUSED)]
    assert await reports.send(Action.FAILED, message, told, BODY) == ""


async def test_words_of_our_own_name_no_remote_server() -> None:
    """When nobody answered, nobody is quoted."""
    report = await parsed(a_stored_message(), host="")
    assert "Remote-MTA" not in status(report, 1)
    assert status(report, 1)["Diagnostic-Code"].startswith("x-filterrelay; ")


async def test_a_sender_beyond_ascii_gets_an_international_report() -> None:
    """RFC 6533's types, sent with SMTPUTF8."""
    message = a_stored_message("ID", "bøb@partner.example", smtputf8=True, sender="ånn@o.example")
    envelope, raw = await written(message)
    assert envelope.smtputf8
    assert b"Content-Type: message/global-delivery-status\r\n" in raw
    assert "\r\nTo: <ånn@o.example>\r\n".encode() in raw
    assert "Final-Recipient: utf-8; bøb@partner.example\r\n".encode() in raw


async def test_a_sender_whose_domain_alone_is_beyond_ascii_gets_a_report_in_ascii() -> None:
    """It arrives through servers without SMTPUTF8, too."""
    message = a_stored_message(sender="ann@büro.example", smtputf8=True)
    envelope, raw = await written(message)
    assert not envelope.smtputf8
    assert b"To: <ann@xn--bro-hoa.example>\r\n" in raw
    assert b"message/delivery-status" in raw


async def test_a_recipient_beyond_ascii_is_reported_in_ascii() -> None:
    """Where no SMTPUTF8 is, the mail was returned for that, and its report must arrive.

    The address is in the form of RFC 6533 section 3 for that; the text has it as it is.
    """
    message = a_stored_message("ID", "b+ø=b@partner.example", orcpt="utf-8;\\x{F8}@p.example")
    envelope, raw = await written(message)
    assert not envelope.smtputf8
    assert raw[: raw.index(b"\r\n\r\n")].isascii()
    assert b"Content-Type: message/delivery-status\r\n" in raw
    assert rb"Final-Recipient: utf-8; b\x{2B}\x{F8}\x{3D}b@partner.example" in raw
    assert rb"Original-Recipient: utf-8; \x{F8}@p.example" in raw
    assert "  b+ø=b@partner.example\r\n".encode() in raw


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mx.partner.example:25", "mx.partner.example"),
        ("192.0.2.1:25", "[192.0.2.1]"),
        ("[2001:db8::1]:25", "[IPv6:2001:db8::1]"),
    ],
)
async def test_the_server_is_named_as_it_is_in_smtp(host: str, name: str) -> None:
    """Without the port; a bare address as a literal (RFC 5321 section 4.1.3)."""
    report = await parsed(a_stored_message(), host=host)
    assert status(report, 1)["Remote-MTA"] == f"dns; {name}"


async def test_a_socket_is_no_server_that_a_sender_should_know() -> None:
    """Its words are quoted nevertheless."""
    report = await parsed(a_stored_message(), host="unix:/run/dovecot/lmtp")
    assert "Remote-MTA" not in status(report, 1)
    assert status(report, 1)["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user"


async def test_a_hostile_reply_writes_no_fields_of_its_own() -> None:
    """What the far side says is one line in the report, of bounded length."""
    reply = Reply(550, "5.7.1", "no\r\n\r\n--=_boundary\r\nBcc: x\n" + "y" * 5000)
    _, raw = await written(a_stored_message(), reply=reply)
    assert not any(line.startswith((b"Bcc", b"--=_b")) for line in raw.split(b"\r\n"))
    assert max(map(len, raw.split(b"\r\n"))) < 998


async def test_every_line_ends_with_crlf() -> None:
    """It goes into the spool as it is."""
    _, raw = await written(a_stored_message())
    assert raw.replace(b"\r\n", b"").count(b"\n") == raw.replace(b"\r\n", b"").count(b"\r") == 0


LONG = [
    b"References: " + b" ".join(b"<%d@office.example>" % n for n in range(200)),
    b"X-Token: " + b"a" * 3000,
    b"X-Blanks: " + b" " * 3000,
    b"X-Cut-Off: " + b"b" * 20_000,
]


@pytest.mark.parametrize("field", LONG, ids=lambda field: field[:9].decode())
async def test_no_line_of_a_report_is_too_long_for_a_strict_server(field: bytes) -> None:
    """Else it would refuse the bounce, and the sender would hear nothing (RFC 5322 2.1.1)."""
    words = Reply(550, "5.1.1", "Kein Anschluß ☃ " * 100)
    original = b"Subject: Lunch\r\n" + field + b"\r\nTo: bob@partner.example\r\n\r\n" + BODY
    for ret in ("HDRS", "FULL"):
        message = a_stored_message(orcpt="utf-8;" + "☃" * 400)
        message = replace(message, envelope=replace(message.envelope, ret=ret, envid="☃" * 400))
        _, raw = await written(message, reply=words, body=original)
        assert max(map(len, raw.split(b"\r\n"))) <= 998
        assert b"\r\nSubject: Lunch\r\n" in raw


async def test_a_folded_field_reads_as_it_did() -> None:
    """Folds go where blanks are."""
    report = await parsed(a_stored_message(), body=LONG[0] + b"\r\n\r\nHello\r\n")
    returned = report.get_payload(2).get_payload(decode=True)  # type: ignore[union-attr]  # the third part
    assert isinstance(returned, bytes)
    assert returned.replace(b"\r\n", b"").replace(b"\n", b"") == LONG[0]


async def test_nobody_is_told_of_what_nobody_wants_to_hear() -> None:
    """A null sender, or NOTIFY=NEVER: nothing is handed over."""
    message = a_stored_message(notify=("NEVER",))
    calls: list[bytes] = []

    async def submit(envelope: Envelope, raw: bytes, about: str) -> str:
        calls.append(raw)
        return about

    reports = Reports("relay.office.example", submit, FakeClock())
    told = [Told(message.recipients[0].recipient, REFUSED)]
    bounce = replace(message, envelope=replace(message.envelope, sender=None))
    assert not await reports.send(Action.FAILED, message, told, BODY)
    assert not await reports.send(Action.FAILED, bounce, told, BODY)
    assert calls == []
