"""What the far side offers decides what it is told, and what it is spared."""

import pytest

from filterrelay.delivery.capabilities import (
    Capabilities,
    capabilities_of,
    extensions_in,
    rcpt_command,
)
from filterrelay.delivery.upstream import SevenBitsOnly
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import an_envelope

from .far_side import BODY, Opener, codes, far_side, send, upstream_settings


async def test_dsn_parameters_go_on_where_they_are_understood(open_upstream: Opener) -> None:
    """NOTIFY, ORCPT, RET and ENVID reach a server with DSN, as they came (RFC 3461)."""
    envelope = an_envelope(ret="HDRS", envid="QQ+2B1")
    recipient = Recipient(
        envelope.recipients[0].address, ("SUCCESS", "FAILURE"), "rfc822;bob+2B@office.example"
    )
    async with far_side(extensions=("PIPELINING", "DSN")) as side:
        sent = await open_upstream(upstream_settings(side)).send(envelope, [recipient], BODY)
        assert sent.dsn
        assert side.commands[1:3] == [
            "MAIL FROM:<alice@office.example> RET=HDRS ENVID=QQ+2B1",
            "RCPT TO:<bob@partner.example> NOTIFY=SUCCESS,FAILURE "
            "ORCPT=rfc822;bob+2B@office.example",
        ]


async def test_dsn_parameters_stay_where_they_are_not_understood(open_upstream: Opener) -> None:
    """The task of reporting stays here with them (RFC 3461 section 5.2.2)."""
    envelope = an_envelope(ret="HDRS", envid="QQ1")
    recipient = Recipient(envelope.recipients[0].address, ("NEVER",), "rfc822;bob@office.example")
    async with far_side() as side:
        sent = await open_upstream(upstream_settings(side)).send(envelope, [recipient], BODY)
        assert not sent.dsn
        assert side.commands[1:3] == [
            "MAIL FROM:<alice@office.example>",
            "RCPT TO:<bob@partner.example>",
        ]


async def test_an_original_recipient_beyond_ascii_has_an_ascii_form(open_upstream: Opener) -> None:
    """For a server with DSN and without SMTPUTF8 (RFC 6533 section 3)."""
    envelope = an_envelope()
    recipient = Recipient(envelope.recipients[0].address, (), "utf-8;jürgen@office.example")
    async with far_side(extensions=("DSN",)) as side:
        await open_upstream(upstream_settings(side)).send(envelope, [recipient], BODY)
        assert side.commands[2].endswith(r" ORCPT=utf-8;j\x{FC}rgen@office.example")


async def test_an_address_with_letters_that_leave_no_trace_holds_up_no_mail(
    open_upstream: Opener,
) -> None:
    """RFC 6531 allows a soft hyphen or a wide blank, and the others' mail goes with it."""
    envelope = an_envelope(
        "al\u00adice@office.example", "b\u3000b@p.example", "eve@p.example", smtputf8=True
    )
    async with far_side(extensions=("SMTPUTF8",)) as side:
        upstream = open_upstream(upstream_settings(side))
        sent = await upstream.send(envelope, envelope.recipients, BODY)
        assert codes(sent) == ["250 2.0.0"] * 2
        assert side.commands[2] == "RCPT TO:<b\u3000b@p.example>"


@pytest.mark.parametrize("local", ["bob>\r\nRSET\r\n<", "bob\x00", "b\x7fb"])
def test_a_command_never_holds_a_control_character(local: str) -> None:
    """Whatever a plugin has made of an address, it begins no command of its own."""
    with pytest.raises(ValueError, match="control character"):
        rcpt_command(Capabilities(), Recipient(Address(local, "partner.example")))


async def test_a_message_too_big_for_the_next_hop_bounces(open_upstream: Opener) -> None:
    """SIZE says so beforehand: 5.3.4, without sending it."""
    async with far_side(extensions=("PIPELINING", "SIZE 20")) as side:
        sent = await send(open_upstream(upstream_settings(side)))
        assert codes(sent) == ["552 5.3.4"]
        assert "MAIL" not in side.verbs()


async def test_addresses_beyond_ascii_need_smtputf8(open_upstream: Opener) -> None:
    """Without it the mail bounces with 5.6.7; with it, it goes (RFC 6531)."""
    envelope = an_envelope("ålice@office.example", smtputf8=True)
    async with far_side() as old, far_side(extensions=("PIPELINING", "SMTPUTF8")) as new:
        sent = await open_upstream(upstream_settings(old)).send(envelope, envelope.recipients, BODY)
        assert codes(sent) == ["553 5.6.7"]
        sent = await open_upstream(upstream_settings(new)).send(envelope, envelope.recipients, BODY)
        assert codes(sent) == ["250 2.0.0"]
        assert new.received[0].mail == "MAIL FROM:<ålice@office.example> SMTPUTF8"


async def test_a_domain_beyond_ascii_has_an_ascii_form(open_upstream: Opener) -> None:
    """A server without SMTPUTF8 gets it in A-labels, one with it as it is."""
    envelope = an_envelope("ann@büro.example", "bob@straße.example", smtputf8=True)
    async with far_side() as old, far_side(extensions=("SMTPUTF8",)) as new:
        for side in (old, new):
            upstream = open_upstream(upstream_settings(side))
            assert codes(await upstream.send(envelope, envelope.recipients, BODY)) == ["250 2.0.0"]
        assert old.received[0].mail == "MAIL FROM:<ann@xn--bro-hoa.example>"
        assert old.received[0].recipients == ["RCPT TO:<bob@xn--strae-oqa.example>"]
        assert new.received[0].mail == "MAIL FROM:<ann@büro.example> SMTPUTF8"
        assert new.received[0].recipients == ["RCPT TO:<bob@straße.example>"]


async def test_a_header_beyond_ascii_needs_smtputf8(open_upstream: Opener) -> None:
    """When it was sent with it; without it is an old habit, which most servers bear."""
    body = "Subject: Grüße\r\n\r\nHello.\r\n".encode()
    async with far_side(extensions=("8BITMIME",)) as side:
        upstream = open_upstream(upstream_settings(side))
        for smtputf8, code in ((True, "553 5.6.7"), (False, "250 2.0.0")):
            envelope = an_envelope(smtputf8=smtputf8)
            assert codes(await upstream.send(envelope, envelope.recipients, body)) == [code]


async def test_an_address_that_a_filter_brought_in_needs_smtputf8_too(
    open_upstream: Opener,
) -> None:
    """Whatever the client said."""
    envelope = an_envelope("ålice@office.example")
    async with far_side() as old, far_side(extensions=("SMTPUTF8",)) as new:
        sent = await open_upstream(upstream_settings(old)).send(envelope, envelope.recipients, BODY)
        assert codes(sent) == ["553 5.6.7"]
        await open_upstream(upstream_settings(new)).send(envelope, envelope.recipients, BODY)
        assert new.received[0].mail == "MAIL FROM:<ålice@office.example> SMTPUTF8"


@pytest.mark.parametrize(
    ("extensions", "code"),
    [
        (("CHUNKING", "BINARYMIME"), "250 2.0.0"),
        (("BINARYMIME", "8BITMIME"), "554 5.6.3"),
        (("CHUNKING", "8BITMIME"), "554 5.6.3"),
    ],
)
async def test_binary_content_goes_in_chunks_only(
    open_upstream: Opener, extensions: tuple[str, ...], code: str
) -> None:
    """And only to who says that it takes it (RFC 3030 section 3)."""
    envelope = an_envelope(body="BINARYMIME")
    async with far_side(extensions=extensions) as side:
        sent = await open_upstream(upstream_settings(side)).send(
            envelope, envelope.recipients, BODY
        )
        assert codes(sent) == [code]
        assert [message.mail for message in side.received] == [
            "MAIL FROM:<alice@office.example> BODY=BINARYMIME"
        ] * code.startswith("250")


def test_ehlos_answer_is_read_as_keywords_with_what_they_say() -> None:
    """The first line is the server's name, and no keyword."""
    said = "chunking.example\nSIZE 1000\nXCLIENT NAME addr\nXFORWARD NAME\n8BITMIME"
    offered = capabilities_of(extensions_in(Reply(250, "", said)))
    assert (offered.size, offered.eight_bit, offered.chunking) == (1000, True, False)
    assert offered.xclient == {"NAME", "ADDR"}
    assert offered.xforward == {"NAME"}


async def test_what_a_server_does_not_master_is_not_used(open_upstream: Opener) -> None:
    """Whatever it offers; the file says so."""
    async with far_side(extensions=("PIPELINING", "CHUNKING", "SIZE 1")) as side:
        config = upstream_settings(side, ignore_extensions=("chunking", "size"))
        assert codes(await send(open_upstream(config))) == ["250 2.0.0"]
        assert side.verbs() == ["EHLO", "MAIL", "RCPT", "DATA"]


async def test_smtputf8_said_but_not_needed_stops_nothing(open_upstream: Opener) -> None:
    """A plain message goes to an old server although its client said SMTPUTF8."""
    envelope = an_envelope(smtputf8=True)
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        assert codes(await upstream.send(envelope, envelope.recipients, BODY)) == ["250 2.0.0"]


EIGHT = "Subject: Lunch\r\n\r\nGrüße\r\n".encode()


@pytest.mark.parametrize(
    ("extensions", "mail"),
    [(("8BITMIME",), "MAIL FROM:<alice@office.example> BODY=8BITMIME"), ((), None)],
)
async def test_eight_bits_go_where_they_are_taken(
    open_upstream: Opener, extensions: tuple[str, ...], mail: str | None
) -> None:
    """Elsewhere nothing is sent before the message is converted."""
    envelope = an_envelope(body="8BITMIME")
    async with far_side(extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side))
        if mail is None:
            with pytest.raises(SevenBitsOnly):
                await upstream.send(envelope, envelope.recipients, EIGHT)
        await upstream.send(envelope, envelope.recipients, EIGHT if mail else BODY)
        assert [message.mail for message in side.received] == [
            mail or "MAIL FROM:<alice@office.example>"
        ]
        assert side.connections == 1
