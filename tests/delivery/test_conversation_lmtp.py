"""LMTP (RFC 2033): each recipient has a reply of its own at the end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.upstream import Interrupted

from .far_side import Act, FarSide, Opener, codes, far_side, send, upstream_settings

TO = ("a@p.x", "b@p.x", "c@p.x")
USUAL = ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME")
EXTENSIONS = [USUAL, (*USUAL, "CHUNKING"), ()]
BIG = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 12_000


def lmtp_settings(side: FarSide, **changes: Any) -> Any:
    """The upstream that speaks LMTP with it."""
    return upstream_settings(side, protocol="lmtp", **changes)


@pytest.mark.parametrize("extensions", EXTENSIONS)
@pytest.mark.parametrize("body", [b"Hi.\r\n", BIG])
async def test_each_recipient_has_its_own_last_word(
    open_upstream: Opener, extensions: tuple[str, ...], body: bytes
) -> None:
    """One is over quota, one was refused before, and the connection is kept."""
    finals = ["250 2.0.0 Saved", "452 4.2.2 Full", "250 2.0.0 Saved"]
    told = {"RCPT": ["250 Ok", "250 Ok", "550 5.1.1 No", "250 Ok"], ".": finals, "LAST": finals}
    async with far_side(answers=told, extensions=extensions, lmtp=True) as side:
        upstream = open_upstream(lmtp_settings(side, timeout="5s"))
        sent = await send(upstream, "a@p.x", "b@p.x", "no@p.x", body=body)
        assert codes(sent) == ["250 2.0.0", "452 4.2.2", "550 5.1.1"]
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.verbs()[0] == "LHLO"
        assert side.connections == 1


@pytest.mark.parametrize("extensions", EXTENSIONS)
@pytest.mark.parametrize("end", [Act.DROP, Act.HANG, "421 4.3.2 Closing"])
async def test_who_has_a_reply_keeps_it_when_the_connection_breaks(
    open_upstream: Opener, extensions: tuple[str, ...], end: Act | str
) -> None:
    """The others are deferred, and it isn't repeated for anybody at once."""
    finals = ["250 2.0.0 Saved", end]
    told = {".": finals, "LAST": finals}
    async with far_side(answers=told, extensions=extensions, lmtp=True) as side:
        sent = await send(open_upstream(lmtp_settings(side)), *TO)
        given = [reply.code for reply in sent.replies]
        assert given[0] == 250
        assert given[1:] == ([421] * 2 if isinstance(end, str) else [451] * 2)
        assert side.connections == 1


@pytest.mark.parametrize("extensions", EXTENSIONS)
async def test_who_has_a_reply_keeps_it_when_we_break_off(
    open_upstream: Opener, extensions: tuple[str, ...]
) -> None:
    """Of what is cancelled it is known who has it, and who was refused before."""
    finals = ["250 2.0.0 Saved", Act.HANG]
    told = {"RCPT": ["250 Ok", "550 5.1.1 No", "250 Ok"], ".": finals, "LAST": finals}
    async with far_side(answers=told, extensions=extensions, lmtp=True) as side:
        upstream = open_upstream(lmtp_settings(side, timeout="5s"))
        sending = asyncio.ensure_future(send(upstream, *TO))
        await side.hung.wait()
        await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(Interrupted) as cut:
            await sending
        assert (cut.value.places, codes(cut.value.sent)) == ([0, 1], ["250 2.0.0", "550 5.1.1"])
        assert (cut.value.sent.host, cut.value.sent.final) == (side.host, True)


async def test_nobody_accepted_is_no_message(open_upstream: Opener) -> None:
    """A server that asks for one all the same is left (RFC 2033 section 4.2)."""
    told = {"RCPT": ["550 5.1.1 No", "250 Ok"]}
    async with far_side(answers=told, extensions=USUAL, lmtp=True) as side:
        upstream = open_upstream(lmtp_settings(side))
        assert codes(await send(upstream)) == ["550 5.1.1"]
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert len(side.received) == 1


async def test_a_unix_socket_is_a_host(open_upstream: Opener, tmp_path: Path) -> None:
    """Without TLS, even where it is offered: there is nobody to hide from."""
    extensions = (*USUAL, "STARTTLS")
    async with far_side(path=str(tmp_path / "lmtp"), extensions=extensions, lmtp=True) as side:
        sent = await send(open_upstream(lmtp_settings(side, tls="opportunistic")), *TO)
        assert codes(sent) == ["250 2.0.0"] * 3
        assert sent.tls == "none"
        assert sent.host == side.host


async def test_a_unix_socket_that_is_not_there_defers(
    open_upstream: Opener, tmp_path: Path
) -> None:
    """As a refused connection does."""
    side = FarSide(path=str(tmp_path / "nobody"))
    sent = await send(open_upstream(lmtp_settings(side)))
    assert codes(sent) == ["451 4.4.1"]
    assert "No such file" in sent.replies[0].text


@pytest.mark.parametrize("stage", ["GREETING", "LHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("act", [Act.HANG, Act.DROP, "554 5.3.2 No"])
async def test_trouble_at_any_stage_has_a_result(
    open_upstream: Opener, stage: str, act: Act | str
) -> None:
    """Deferred, or refused where the message itself is meant."""
    async with far_side(answers={stage: act}, extensions=USUAL, lmtp=True) as side:
        sent = await asyncio.wait_for(send(open_upstream(lmtp_settings(side)), *TO), 5)
        refused = isinstance(act, str) and stage not in ("GREETING", "LHLO")
        assert [reply.code // 100 for reply in sent.replies] == [5 if refused else 4] * 3
