"""Messages in chunks (RFC 3030): as they are, and only as far as they are wanted."""

import pytest

from .far_side import Act, Opener, codes, far_side, send, upstream_settings

BIG = b"Subject: big\r\n\r\n" + b".x" * 500_000 + b"\r\n"  # four chunks
EXTENSIONS = [("PIPELINING", "CHUNKING"), ("CHUNKING",)]


@pytest.mark.parametrize("extensions", EXTENSIONS)
@pytest.mark.parametrize("body", [b".\r\n..\r\n.x\r\n", BIG, BIG[:262_144], BIG[:262_145]])
async def test_a_message_arrives_as_it_is(
    open_upstream: Opener, extensions: tuple[str, ...], body: bytes
) -> None:
    """No dot is doubled, no octet is added, and no DATA is said."""
    async with far_side(extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side, timeout="5s"))
        for _ in range(2):
            assert codes(await send(upstream, body=body)) == ["250 2.0.0"]
        assert [message.data for message in side.received] == [body] * 2
        assert not {"DATA", "RSET"} & {*side.verbs()}


async def test_a_small_message_is_one_chunk(open_upstream: Opener) -> None:
    """With the end in it."""
    async with far_side(extensions=EXTENSIONS[0]) as side:
        await send(open_upstream(upstream_settings(side)), body=b"x" * 1000 + b"\r\n")
        assert side.commands[-1] == "BDAT 1002 LAST"


@pytest.mark.parametrize("extensions", EXTENSIONS)
async def test_a_refused_envelope_is_followed_by_no_chunk(
    open_upstream: Opener, extensions: tuple[str, ...]
) -> None:
    """A server that doesn't skip it would take it for commands."""
    told = {"MAIL": ["550 5.7.1 No", "250 Ok"], "RCPT": "550 5.1.1 Unknown"}
    async with far_side(answers=told, extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side))
        assert codes(await send(upstream)) == ["550 5.7.1"]
        assert codes(await send(upstream)) == ["550 5.1.1"]
        assert "BDAT" not in side.verbs()


async def test_those_who_are_accepted_get_the_message(open_upstream: Opener) -> None:
    """One of three is refused, one deferred."""
    answers = ["250 2.1.5 Ok", "450 4.2.0 Greylisted", "550 5.1.1 Unknown"]
    async with far_side(answers={"RCPT": answers}, extensions=EXTENSIONS[0]) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.x", "b@p.x", "c@p.x")
        assert codes(sent) == ["250 2.0.0", "450 4.2.0", "550 5.1.1"]
        assert side.received[0].recipients == ["RCPT TO:<a@p.x>"]


@pytest.mark.parametrize("extensions", EXTENSIONS)
@pytest.mark.parametrize("verb", ["BDAT", "LAST"])
async def test_after_a_refused_chunk_nothing_more_of_the_message_is_sent(
    open_upstream: Opener, extensions: tuple[str, ...], verb: str
) -> None:
    """RSET ends it, and the next message goes over the same connection."""
    told = {verb: ["552 5.3.4 Too big", "250 2.0.0 Ok"]}
    async with far_side(answers=told, extensions=extensions) as side:
        upstream = open_upstream(upstream_settings(side, timeout="5s"))
        assert codes(await send(upstream, body=BIG)) == ["552 5.3.4"]
        assert ("LAST" in " ".join(side.commands)) is (verb == "LAST")
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.verbs()[-4:] == ["RSET", "MAIL", "RCPT", "BDAT"]
        assert side.connections == 1


@pytest.mark.parametrize(
    ("verb", "answer", "after"),
    [("BDAT", Act.DROP, False), ("BDAT", Act.HANG, False), ("LAST", Act.DROP, True)],
)
async def test_only_what_has_its_end_may_have_been_taken(
    open_upstream: Opener, verb: str, answer: Act, *, after: bool
) -> None:
    """Before the last chunk nothing can be; then nobody knows, and it isn't repeated at once."""
    async with far_side(answers={verb: answer}, extensions=EXTENSIONS[0]) as side:
        sent = await send(open_upstream(upstream_settings(side)), body=BIG)
        assert codes(sent) == ["451 4.4.2"]
        assert ("after the end" in sent.replies[0].text) is after
        assert side.connections == 1


async def test_a_kept_connection_that_ends_at_mail_costs_nothing(open_upstream: Opener) -> None:
    """No chunk was sent, so the message goes out at once over a fresh one."""
    told = {"MAIL": ["250 2.1.0 Ok", Act.DROP, "250 2.1.0 Ok"]}
    async with far_side(answers=told, extensions=EXTENSIONS[0]) as side:
        upstream = open_upstream(upstream_settings(side))
        await send(upstream)
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert (side.connections, len(side.received)) == (2, 2)


async def test_421_between_chunks_defers_with_the_servers_words(open_upstream: Opener) -> None:
    """It ends the transaction for all (RFC 5321 section 3.8)."""
    told = {"BDAT": ["250 2.0.0 Ok", "421 4.3.2 Closing"]}
    async with far_side(answers=told, extensions=EXTENSIONS[0]) as side:
        sent = await send(open_upstream(upstream_settings(side)), "a@p.x", "b@p.x", body=BIG)
        assert codes(sent) == ["421 4.3.2", "421 4.3.2"]
        assert side.received == []
