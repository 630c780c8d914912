"""Arguments of MAIL, RCPT and BDAT are taken to the letter of the standards, or refused."""

import pytest

from filterrelay.doors.esmtp import (
    BadArgument,
    Offer,
    parse_chunk,
    parse_mail,
    parse_rcpt,
    taken_mail,
    taken_rcpt,
)
from filterrelay.mail.address import Address

OFFER = Offer(esmtp=True, requiretls=True, max_octets=1000)


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        ("FROM:<>", None),
        ("from:<a@office.example>", Address("a", "office.example")),
        ("FROM: <a@office.example>", Address("a", "office.example")),
        ('FROM:<"a> b"@office.example> SIZE=1', Address('"a> b"', "office.example")),
        (r'FROM:<"a\">b"@office.example>', Address(r'"a\">b"', "office.example")),
        ("FROM:<a@[192.0.2.1]>  BODY=7bit ", Address("a", "[192.0.2.1]")),
    ],
)
def test_senders_are_read(argument: str, sender: Address | None) -> None:
    """The path ends at its own bracket, quotes and all."""
    assert parse_mail(argument, OFFER).sender == sender


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("", "501 5.5.4"),
        ("<a@office.example>", "501 5.5.4"),
        ("FROM:a@office.example", "501 5.5.4"),
        ("FROM:<a@office.example", "501 5.5.4"),
        ("FROM:<a@office.example>SIZE=1", "501 5.5.4"),
        ("FROM:<a@office.example>>", "501 5.5.4"),
        ('FROM:<"a@office.example>', "501 5.5.4"),
        ("FROM:<a@b@office.example>", "553 5.1.7"),
        ("FROM:<a b@office.example>", "553 5.1.7"),
        ("FROM:<@relay.example:a@office.example>", "553 5.1.7"),
        ("FROM:<postmaster>", "553 5.1.7"),
        ("FROM:<ü@office.example>", "553 5.6.7"),
        ("FROM:<a@office.example> SIZE", "501 5.5.4"),
        ("FROM:<a@office.example> SIZE=", "501 5.5.4"),
        ("FROM:<a@office.example> SIZE=-1", "501 5.5.4"),
        ("FROM:<a@office.example> SIZE=٣", "501 5.5.4"),
        ("FROM:<a@office.example> SIZE=1e3", "501 5.5.4"),
        ("FROM:<a@office.example> SIZE=" + "9" * 21, "501 5.5.4"),
        ("FROM:<a@office.example> SIZE=1001", "552 5.3.4"),
        ("FROM:<a@office.example> SIZE=1 SIZE=2", "501 5.5.4"),
        ("FROM:<a@office.example> BODY=BINARYMIME", "501 5.5.4"),
        ("FROM:<a@office.example> BODY=9BIT", "501 5.5.4"),
        ("FROM:<a@office.example> SMTPUTF8=yes", "501 5.5.4"),
        ("FROM:<a@office.example> REQUIRETLS=1", "501 5.5.4"),
        ("FROM:<a@office.example> RET=ALL", "501 5.5.4"),
        ("FROM:<a@office.example> ENVID=a+b", "501 5.5.4"),
        ("FROM:<a@office.example> ENVID=" + "a" * 101, "501 5.5.4"),
        ("FROM:<a@office.example> AUTH=a=b", "501 5.5.4"),
        ("FROM:<a@office.example> HOLDFOR=60", "555 5.5.4"),
        ("FROM:<a@office.example> \u017fIZE=1", "555 5.5.4"),
        ("FROM:<a@office.example> BODY=8B\u0131TMIME", "501 5.5.4"),
        ("FROM:<a@office.example> =1", "555 5.5.4"),
        ("FROM:<a@office.example> NOTIFY=NEVER", "555 5.5.4"),
    ],
)
def test_bad_senders_are_refused(argument: str, code: str) -> None:
    """Every refusal says which code of RFC 5321 and RFC 3463 it is."""
    with pytest.raises(BadArgument) as refused:
        parse_mail(argument, OFFER)
    assert str(refused.value.reply).startswith(code)


def test_parameters_are_kept_as_they_came() -> None:
    """Only keywords lose their letter case; ENVID and AUTH are the client's own words."""
    envelope = parse_mail(
        "FROM:<a@office.example> size=12 body=8BITMIME smtputf8 RequireTLS ret=Full "
        "EnvId=AbC+2B AUTH=Anna@office.example",
        OFFER,
    )
    assert (envelope.size, envelope.body, envelope.ret) == (12, "8BITMIME", "FULL")
    assert (envelope.envid, envelope.auth) == ("AbC+2B", "Anna@office.example")
    assert envelope.smtputf8
    assert envelope.requiretls


@pytest.mark.parametrize(
    "offer",
    [Offer(esmtp=True, requiretls=False, max_octets=1), Offer(False, True, max_octets=1)],
    ids=["not kept", "HELO"],
)
def test_what_is_not_offered_is_not_taken(offer: Offer) -> None:
    """REQUIRETLS without TLS, and any parameter after HELO, get 555."""
    with pytest.raises(BadArgument) as refused:
        parse_mail("FROM:<a@office.example> REQUIRETLS", offer)
    assert refused.value.reply.code == 555


def test_a_recipient_is_read_with_its_wishes() -> None:
    """NOTIFY and ORCPT stay with the recipient (RFC 3461)."""
    recipient = parse_rcpt(
        "TO:<b@partner.example> NOTIFY=delay,FAILURE,delay ORCPT=rfc822;B+2B@old.example",
        OFFER,
        utf8=False,
    )
    assert recipient.notify == ("DELAY", "FAILURE")
    assert recipient.orcpt == "rfc822;B+2B@old.example"


def test_postmaster_needs_no_domain() -> None:
    """RFC 5321 section 4.5.1 names this one address without a domain."""
    assert parse_rcpt("TO:<Postmaster>", OFFER, utf8=False).address == Address("Postmaster", "")


def test_utf8_recipients_want_smtputf8() -> None:
    """The transaction's MAIL decides (RFC 6531 section 3.6), also for ORCPT (RFC 6533)."""
    argument = "TO:<ü@partner.example> ORCPT=utf-8;ü@old.example"
    assert parse_rcpt(argument, OFFER, utf8=True).address.local == "ü"
    with pytest.raises(BadArgument):
        parse_rcpt(argument, OFFER, utf8=False)


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("TO:<>", "553 5.1.3"),
        ("TO:b@partner.example", "501 5.5.4"),
        ("TO:<b@partner.example> <c@partner.example>", "555 5.5.4"),
        ("TO:<@relay.example:b@partner.example>", "553 5.1.3"),
        ("TO:<b@partner.example> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("TO:<b@partner.example> NOTIFY=", "501 5.5.4"),
        ("TO:<b@partner.example> NOTIFY=FA\u0131LURE", "501 5.5.4"),
        ("TO:<b@partner.example> NOTIFY=SOMETIMES", "501 5.5.4"),
        ("TO:<b@partner.example> ORCPT=b@old.example", "501 5.5.4"),
        ("TO:<b@partner.example> ORCPT=rfc822;", "501 5.5.4"),
        ("TO:<b@partner.example> ORCPT=rfc822;" + "b" * 500, "501 5.5.4"),
        ("TO:<b@partner.example> SIZE=1", "555 5.5.4"),
    ],
)
def test_bad_recipients_are_refused(argument: str, code: str) -> None:
    """A recipient that isn't quite right is nobody."""
    with pytest.raises(BadArgument) as refused:
        parse_rcpt(argument, OFFER, utf8=False)
    assert str(refused.value.reply).startswith(code)


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", (0, False)),
        ("12 last", (12, True)),
        ("  12   LAST", (12, True)),
        ("", None),
        ("LAST", None),
        ("-1", None),
        ("+1", None),
        ("0x10", None),
        ("1_0", None),
        ("٣", None),
        ("1 2", None),
        ("1 LA\u017fT", None),
        ("1 LAST x", None),
        ("9" * 21, None),
    ],
)
def test_chunks_have_a_plain_size(argument: str, chunk: tuple[int, bool] | None) -> None:
    """Digits, and LAST or nothing (RFC 3030 section 2)."""
    assert parse_chunk(argument) == chunk


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("ann@office.example", Address("ann", "office.example")),
        ("@a.example,@b.example:ann@office.example", Address("ann", "office.example")),
        ('"a@b"@office.example', Address('"a@b"', "office.example")),
        ("root", Address("root", "")),
        ("ann@", Address("ann", "")),
        ("@office.example", Address("", "office.example")),
        ("grün@bücher.example", Address("grün", "bücher.example")),
        ("a b..c@office_.example", Address("a b..c", "office_.example")),
    ],
)
def test_what_a_mail_server_took_for_an_address_is_one(path: str, address: Address) -> None:
    """Its rules aren't ours, and its mail has been accepted."""
    assert taken_rcpt(path, ()).address == address
    assert taken_mail(path, ()).sender == address


def test_parameters_that_a_mail_server_took_are_kept_where_they_can_be_read() -> None:
    """The others are left out, and so is the second of a name."""
    words = ("size=12", "BODY=7bit", "BODY=8BITMIME", "RET=some", "FOO", "SMTPUTF8", "ENVID=a=b")
    envelope = taken_mail("", words)
    assert (envelope.sender, envelope.size, envelope.body) == (None, 12, "7BIT")
    assert (envelope.ret, envelope.envid, envelope.smtputf8) == ("", "", True)
    recipient = taken_rcpt("a@b.example", ("NOTIFY=never", "ORCPT=what", "X=y"))
    assert (recipient.notify, recipient.orcpt) == (("NEVER",), "")
