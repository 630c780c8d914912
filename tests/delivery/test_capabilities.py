"""What the far side offers decides what it is told, and what it is spared."""

import pytest

from filterrelay.delivery.upstream import SevenBitsOnly
from filterrelay.mail.envelope import Recipient
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
