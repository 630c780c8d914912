"""One transaction with a next hop, in good weather and in bad."""

import asyncio
from collections.abc import Callable

import pytest

from filterrelay.delivery.upstream import BadUpstream, Sent, Upstream
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.reply import Reply
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import an_envelope
from filterrelay.settings import Upstream as UpstreamSettings

from .far_side import Act, FarSide, far_side, upstream_settings

BODY = b"Subject: Lunch\r\n\r\nHello.\r\n"
Opener = Callable[[UpstreamSettings], Upstream]


async def send(upstream: Upstream, *to: str, body: bytes = BODY) -> Sent:
    envelope = an_envelope("alice@office.example", *(to or ("bob@partner.example",)))
    return await upstream.send(envelope, envelope.recipients, body)


def codes(sent: Sent) -> list[str]:
    return [f"{reply.code} {reply.enhanced}" for reply in sent.replies]


async def test_a_message_is_handed_over_with_its_envelope(open_upstream: Opener) -> None:
    """The next hop gets sender, recipients and exactly the bytes, and its words come back."""
    async with far_side() as side:
        sent = await send(open_upstream(upstream_settings(side)))
    assert list(sent.replies) == [Reply(250, "2.0.0", "Queued as 4711")]
    assert sent.host == side.host
    (message,) = side.received
    assert message.mail == "MAIL FROM:<alice@office.example>"
    assert message.recipients == ["RCPT TO:<bob@partner.example>"]
    assert message.data == BODY


async def test_a_connection_is_kept_for_the_next_message(open_upstream: Opener) -> None:
    """Ten messages go over one connection, greeted once."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        for _ in range(10):
            await send(upstream)
        assert (side.connections, len(side.received)) == (1, 10)


async def test_a_server_without_pipelining_is_asked_step_by_step(open_upstream: Opener) -> None:
    """The message arrives just the same."""
    async with far_side(extensions=()) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.example", "b@p.example")
        assert codes(sent) == ["250 2.0.0"] * 2
        assert len(side.received[0].recipients) == 2


async def test_a_server_that_only_knows_helo_gets_mail(open_upstream: Opener) -> None:
    """EHLO refused is no reason not to deliver (RFC 5321 section 3.2)."""
    async with far_side(answers={"EHLO": "502 5.5.1 Unknown"}) as side:
        sent = await send(open_upstream(upstream_settings(side)))
        assert codes(sent) == ["250 2.0.0"]


async def test_each_recipient_gets_its_own_result(open_upstream: Opener) -> None:
    """One deferred and one refused of three: the third is delivered."""
    answers = ["250 2.1.5 Ok", "450 4.2.0 Greylisted", "550 5.1.1 Unknown"]
    async with far_side(answers={"RCPT": answers}) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.x", "b@p.x", "c@p.x")
        assert codes(sent) == ["250 2.0.0", "450 4.2.0", "550 5.1.1"]
        assert side.received[0].recipients == ["RCPT TO:<a@p.x>"]


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
async def test_after_a_refusal_the_next_message_starts_clean(
    open_upstream: Opener, extensions: tuple[str, ...]
) -> None:
    """All recipients refused leaves the connection usable: RSET goes ahead of the next MAIL."""
    told = {"RCPT": ["550 5.1.1 Unknown", "250 Ok"], "DATA": ["554 5.5.1 None", "354 Go"]}
    if not extensions:
        del told["DATA"]
    async with far_side(answers=told, extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side))
        assert codes(await send(upstream)) == ["550 5.1.1"]
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.connections == 1
        assert side.verbs().count("RSET") == 1


async def test_a_refused_sender_is_the_result_for_all(open_upstream: Opener) -> None:
    """The reply to MAIL counts, not the complaints about what was pipelined behind it."""
    told = {
        "MAIL": "550 5.7.1 Go away",
        "RCPT": "503 5.5.1 Need MAIL",
        "DATA": "503 5.5.1 Need RCPT",
    }
    async with far_side(answers=told) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.x", "b@p.x")
        assert codes(sent) == ["550 5.7.1", "550 5.7.1"]


async def test_a_354_without_recipients_sends_nothing_but_the_dot(open_upstream: Opener) -> None:
    """RFC 2920 section 3.1: no message for nobody."""
    async with far_side(answers={"RCPT": "550 5.1.1 Unknown", "DATA": "354 Go"}) as side:
        sent = await send(open_upstream(upstream_settings(side)))
        assert codes(sent) == ["550 5.1.1"]
        assert [message.data for message in side.received] == [b""]


async def test_lines_that_start_with_a_dot_arrive_as_they_were(open_upstream: Opener) -> None:
    """Dots are doubled on the way (RFC 5321 section 4.5.2), in big messages too."""
    body = b".first\r\n" + b"x" * 65_528 + b"\r\n.second\r\n" + b"..\r\n" * 50_000
    async with far_side() as side:
        sent = await send(open_upstream(upstream_settings(side, timeout="5s")), body=body)
        assert codes(sent) == ["250 2.0.0"]
        assert side.received[0].data == body.replace(b"\r\n.", b"\r\n..").replace(
            b".first", b"..first"
        )


async def test_25_megabytes_go_through(open_upstream: Opener) -> None:
    """A big message is written at the pace at which it is taken."""
    body = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 336_000
    async with far_side() as side:
        sent = await send(open_upstream(upstream_settings(side, timeout="20s")), body=body)
        assert codes(sent) == ["250 2.0.0"]
        assert len(side.received[0].data) == len(body)


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."])
async def test_a_server_that_hangs_defers_the_message(open_upstream: Opener, stage: str) -> None:
    """Whatever it hangs at, there is a temporary result in time."""
    async with far_side(answers={stage: Act.HANG}, extensions=()) as side:
        sent = await asyncio.wait_for(send(open_upstream(upstream_settings(side))), 5)
        assert [reply.code // 100 for reply in sent.replies] == [4]
        assert not sent.answered


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."])
async def test_a_server_that_hangs_up_defers_the_message(open_upstream: Opener, stage: str) -> None:
    """Whenever the connection breaks, nothing is lost and nothing bounces."""
    async with far_side(answers={stage: Act.DROP}) as side:
        sent = await asyncio.wait_for(send(open_upstream(upstream_settings(side))), 5)
        assert [reply.code // 100 for reply in sent.replies] == [4]


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("noise", [b"HTTP/1.1 400 Bad Request\r\n", b"\x16\x03\x01\x00\r\n"])
async def test_a_server_that_talks_nonsense_defers_the_message(
    open_upstream: Opener, stage: str, noise: bytes
) -> None:
    """What is no SMTP is no answer."""
    async with far_side(answers={stage: noise}) as side:
        sent = await asyncio.wait_for(send(open_upstream(upstream_settings(side))), 5)
        assert [reply.code // 100 for reply in sent.replies] == [4]


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "."])
@pytest.mark.parametrize("flood", [b"250-more\r\n" * 100_000, b"2" * 1_000_000])
async def test_an_endless_reply_is_cut_off(
    open_upstream: Opener, stage: str, flood: bytes
) -> None:
    """A reply without end takes no memory without end."""
    async with far_side(answers={stage: flood}) as side:
        sent = await asyncio.wait_for(send(open_upstream(upstream_settings(side))), 5)
        assert [reply.code // 100 for reply in sent.replies] == [4]


async def test_a_drop_after_the_final_dot_is_not_repeated_at_once(open_upstream: Opener) -> None:
    """It may have been taken: it waits for the schedule, and no other host gets it now."""
    async with far_side(answers={".": Act.DROP}) as side, far_side() as other:
        sent = await send(open_upstream(upstream_settings(side, other)))
        assert codes(sent) == ["451 4.4.2"]
        assert "after the end" in sent.replies[0].text
        assert other.connections == 0


async def test_a_greeting_of_554_is_no_bounce(open_upstream: Opener) -> None:
    """A host that takes no mail at all says nothing about the message (RFC 5321 section 3.1)."""
    async with far_side(answers={"GREETING": "554 No mail here"}) as side:
        sent = await send(open_upstream(upstream_settings(side)))
        assert sent.replies[0].is_temporary
        assert "554 No mail here" in sent.replies[0].text


async def test_421_before_the_message_goes_to_the_next_host(open_upstream: Opener) -> None:
    """A server about to stop is not waited for."""
    async with far_side(answers={"MAIL": "421 4.3.2 Stopping"}) as side, far_side() as other:
        sent = await send(open_upstream(upstream_settings(side, other)))
        assert codes(sent) == ["250 2.0.0"]
        assert sent.host == other.host


async def test_421_to_a_recipient_defers_with_the_servers_words(open_upstream: Opener) -> None:
    """In the middle of a transaction 421 ends it for all (RFC 5321 section 3.8)."""
    told = {"RCPT": ["250 2.1.5 Ok", "421 4.7.0 Too fast"]}
    async with far_side(answers=told) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.x", "b@p.x")
        assert codes(sent) == ["421 4.7.0", "421 4.7.0"]


async def test_a_kept_connection_closed_while_idle_costs_nothing(open_upstream: Opener) -> None:
    """The next message goes out at once over a fresh connection."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        await send(upstream)
        side.hang_up(b"421 4.4.2 Idle too long\r\n")
        await side.closed.wait()
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.connections == 2


@pytest.mark.parametrize("end", [Act.DROP, "421 4.4.2 Idle too long"])
async def test_a_kept_connection_that_ends_at_mail_is_replaced(
    open_upstream: Opener, end: Act | str
) -> None:
    """The close crossed our MAIL on the wire: no failure, one more connection."""
    async with far_side(answers={"MAIL": ["250 2.1.0 Ok", end, "250 2.1.0 Ok"]}) as side:
        upstream = open_upstream(upstream_settings(side))
        await send(upstream)
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert (side.connections, len(side.received)) == (2, 2)


async def test_the_second_host_takes_over_and_the_first_comes_back(
    open_upstream: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failover in order; once the first host answers again, it gets the mail again."""
    monkeypatch.setattr("filterrelay.delivery.failover.FIRST_PAUSE", 0.0)
    async with far_side() as first, far_side() as second:
        upstream = open_upstream(upstream_settings(first, second))
        await first.stop()
        assert (await send(upstream)).host == second.host
        assert (await send(upstream)).host == second.host
        await first.start()
        assert (await send(upstream)).host == first.host


async def test_hosts_that_are_down_are_left_alone(open_upstream: Opener) -> None:
    """After a failure, messages are deferred with its words, without another connection."""
    async with far_side(answers={"GREETING": "421 4.3.2 Down"}) as side:
        upstream = open_upstream(upstream_settings(side))
        first = await send(upstream)
        second = await send(upstream)
        outage = upstream.outage(1)
    assert side.connections == 1
    assert codes(first) == codes(second) == ["421 4.3.2"]
    assert outage is not None
    assert list(outage.replies) == list(second.replies)


async def test_no_more_connections_than_allowed(open_upstream: Opener) -> None:
    """The rest wait for their turn, and all get through."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, connections=3))
        results = await asyncio.gather(*(send(upstream) for _ in range(30)))
        assert [codes(sent) for sent in results] == [["250 2.0.0"]] * 30
        assert side.connections == 3


async def test_a_server_that_refuses_early_is_believed(open_upstream: Opener) -> None:
    """A refusal in the middle of a big message counts, and its end is never sent."""
    side = FarSide()
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        for answer in (b"250 mx\r\n", b"250 Ok\r\n", b"250 Ok\r\n", b"354 Go\r\n"):
            await reader.readline()
            writer.write(answer)
        await reader.read(10_000)
        writer.write(b"552 5.3.4 Too big\r\n")
        rest = await reader.read()
        assert b"\r\n.\r\n" not in rest[-5:]
        writer.close()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16)
    side.port = server.sockets[0].getsockname()[1]
    try:
        body = (b"x" * 76 + b"\r\n") * 400_000
        sent = await send(open_upstream(upstream_settings(side, timeout="5s")), body=body)
        await done.wait()
    finally:
        server.close()
    assert codes(sent) == ["552 5.3.4"]


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


async def test_giving_up_in_the_middle_closes_the_connection(open_upstream: Opener) -> None:
    """A cancelled transaction leaves no connection half-way that another message could get."""
    async with far_side(answers={"DATA": [Act.HANG, "354 Go on"]}) as side:
        upstream = open_upstream(upstream_settings(side, timeout="30s"))
        sending = asyncio.ensure_future(send(upstream))
        while "DATA" not in side.verbs():
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.connections == 2


@pytest.mark.parametrize(
    "change",
    [{"protocol": "lmtp"}, {"hosts": ("mx:port",)}, {"rate": "fast"}, {"hosts": ("unix:/x",)}],
)
def test_what_cannot_work_is_refused_at_the_start(change: dict[str, object]) -> None:
    """A configuration that can't deliver is no surprise at the first message."""
    with pytest.raises(BadUpstream):
        Upstream(upstream_settings(FarSide(port=25), **change), "relay.example", Metrics())
