"""One connection: transactions in good weather and in bad."""

import asyncio

import pytest

from .far_side import BODY, Act, FarSide, Opener, codes, far_side, send, upstream_settings


async def test_a_server_without_pipelining_is_asked_step_by_step(open_upstream: Opener) -> None:
    """The message arrives just the same."""
    async with far_side(extensions=()) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.example", "b@p.example")
        assert codes(sent) == ["250 2.0.0"] * 2
        assert len(side.received[0].recipients) == 2


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


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
@pytest.mark.parametrize(
    "answer", ["451 4.3.0 Not now", "421 4.3.2 Going down", Act.DROP, Act.HANG]
)
@pytest.mark.parametrize(
    ("verb", "stage"), [("MAIL", "mail"), ("RCPT", "rcpt"), ("DATA", "data"), (".", "after-dot")]
)
async def test_it_is_known_how_far_a_transaction_came(
    open_upstream: Opener, extensions: tuple[str, ...], answer: str | Act, verb: str, stage: str
) -> None:
    """Whether it was refused or broke off; and after one that was taken there is nothing to say."""
    config = {"timeout": "100ms"}
    async with far_side(once={verb: answer}, extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side, **config))
        contact = (await send(upstream, "a@p.x", "b@p.x")).contact
        assert contact.failed is not None
        assert contact.failed.value == stage
        assert contact.address == side.host
    async with far_side(extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side))
        contacts = [(await send(upstream)).contact for _ in range(2)]
        assert [(contact.failed, contact.kept) for contact in contacts] == [
            (None, False),
            (None, True),
        ]


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


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
async def test_a_250_to_data_delivers_nothing(
    open_upstream: Opener, extensions: tuple[str, ...]
) -> None:
    """A server that says 250 where 354 belongs has no message: it is tried again later."""
    async with far_side(answers={"DATA": "250 2.0.0 Ok"}, extensions=extensions) as side:
        sent = await send(open_upstream(upstream_settings(side)))
        assert codes(sent) == ["451 4.5.0"]
        assert side.received == []


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
async def test_an_endless_reply_is_cut_off(open_upstream: Opener, stage: str, flood: bytes) -> None:
    """A reply without end takes no memory without end."""
    async with far_side(answers={stage: flood}) as side:
        sent = await asyncio.wait_for(send(open_upstream(upstream_settings(side))), 5)
        assert [reply.code // 100 for reply in sent.replies] == [4]


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


async def test_giving_up_in_the_middle_closes_the_connection(open_upstream: Opener) -> None:
    """A cancelled transaction leaves no connection half-way that another message could get."""
    async with far_side(answers={"DATA": [Act.HANG, "354 Go on"]}) as side:
        upstream = open_upstream(upstream_settings(side, timeout="30s"))
        sending = asyncio.ensure_future(send(upstream))
        await side.hung.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.connections == 2


@pytest.mark.parametrize("extensions", [("PIPELINING",), ("PIPELINING", "CHUNKING")])
@pytest.mark.parametrize("body", [BODY, b"Subject: big\r\n\r\n" + b"x\r\n" * 100_000])
async def test_what_was_not_sent_was_not_taken(
    open_upstream: Opener, extensions: tuple[str, ...], body: bytes
) -> None:
    """A kept connection that ends right before the message: it goes over a fresh one, once."""
    go = "RCPT" if "CHUNKING" in extensions else "DATA"
    usual = b"250 Ok\r\n" if go == "RCPT" else b"354 Go on\r\n"
    told = {go: [usual, usual + b"250 And more\r\n", usual]}
    async with far_side(answers=told, extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side, timeout="5s"))
        await send(upstream)
        assert codes(await send(upstream, body=body)) == ["250 2.0.0"]
        assert [len(message.data) for message in side.received] == [len(BODY), len(body)]
        assert side.connections == 2
