"""A next hop as a whole: retries at once, results, and what can't work."""

import asyncio

import pytest

from filterrelay.delivery.hops import BadUpstream, Hops
from filterrelay.delivery.route import Way
from filterrelay.mail.hop import Hop
from filterrelay.mail.reply import Reply
from filterrelay.observe.metrics import Metrics

from .far_side import BODY, Act, Answer, FarSide, Opener, codes, far_side, send, upstream_settings


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


async def test_the_rate_is_shared_by_all_workers() -> None:
    """Of 20 a second each of ten workers has two: what the provider allows is kept to."""
    async with far_side() as side:
        config = upstream_settings(side, rate="20/s")
        hops = Hops([config], [], "relay.office.example", Metrics(), processes=10)
        upstream = hops.open(Way(Hop(config.name)))
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            assert await upstream.admit(1) is None
            await send(upstream)
            upstream.leave()
        assert asyncio.get_running_loop().time() - began > 0.4
        upstream.close()


async def test_a_server_that_only_knows_helo_gets_mail(open_upstream: Opener) -> None:
    """EHLO refused is no reason not to deliver (RFC 5321 section 3.2)."""
    async with far_side(answers={"EHLO": "502 5.5.1 Unknown"}) as side:
        sent = await send(open_upstream(upstream_settings(side)))
        assert codes(sent) == ["250 2.0.0"]


async def test_a_drop_after_the_final_dot_is_not_repeated_at_once(open_upstream: Opener) -> None:
    """It may have been taken: it waits for the schedule, and no other host gets it now."""
    async with far_side(answers={".": Act.DROP}) as side, far_side() as other:
        sent = await send(open_upstream(upstream_settings(side, other)))
        assert codes(sent) == ["451 4.4.2"]
        assert "after the end" in sent.replies[0].text
        assert other.connections == 0


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


async def test_only_a_host_that_cant_be_had_is_unreached(open_upstream: Opener) -> None:
    """What it said, or broke off, when it was there is about the message."""
    for verb, reply in (("GREETING", "421 4.3.2 No service"), ("RCPT", "450 4.2.1 Later")):
        async with far_side(answers={verb: reply}) as side:
            sent = await send(open_upstream(upstream_settings(side)))
            assert (sent.unreached, sent.attempted) == (verb == "GREETING", True)
    upstream = open_upstream(upstream_settings(side))
    assert (await send(upstream)).unreached
    outage = upstream.outage()
    assert outage is not None
    told = outage.sent(2)
    assert (told.unreached, told.attempted, len(told.replies)) == (True, False, 2)


async def test_a_probe_finds_out_whether_a_host_is_there(open_upstream: Opener) -> None:
    """The connection that it makes is the next message's."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        assert await upstream.probe()
        assert codes(await send(upstream)) == ["250 2.0.0"]
        assert side.connections == 1
    assert not await open_upstream(upstream_settings(side)).probe()


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


@pytest.mark.parametrize(
    "change",
    [{"hosts": ("mx:port",)}, {"rate": "fast"}, {"hosts": ("unix:/x",)}],
)
def test_what_cannot_work_is_refused_at_the_start(change: dict[str, object]) -> None:
    """A configuration that can't deliver is no surprise at the first message."""
    with pytest.raises(BadUpstream):
        Hops([upstream_settings(FarSide(port=25), **change)], [], "relay.example", Metrics())


async def test_a_next_hop_that_is_new_gets_few_messages_at_once(open_upstream: Opener) -> None:
    """And more with each that it takes."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        for _ in range(5):
            assert await upstream.admit(1) is None
        waiting = [asyncio.ensure_future(upstream.admit(1)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await send(upstream)
        upstream.leave()
        await asyncio.wait_for(asyncio.gather(*waiting[:2]), 1)
        assert not waiting[2].done()
        waiting[2].cancel()


async def test_who_asks_for_patience_gets_less_and_then_nothing_for_a_while(
    open_upstream: Opener,
) -> None:
    """What waits isn't tried then; it learns why, and when there is another try."""
    told = {"MAIL": "451 4.7.1 Too many messages from you"}
    async with far_side(answers=told) as side:
        upstream = open_upstream(upstream_settings(side))
        for _ in range(3):
            assert upstream.outage() is None
            assert await upstream.admit(1) is None
            assert codes(await send(upstream)) == ["451 4.7.1"]
            upstream.leave()
        outage = await upstream.admit(1)
        assert outage is not None
        assert "Too many messages" in outage.reply.text
        assert 10 < outage.left <= 15
        assert len([verb for verb in side.verbs() if verb == "MAIL"]) == 3


@pytest.mark.parametrize(
    "told", [{"RCPT": ["450 4.7.0 Slow down", "250 2.1.5 Ok"]}, {"RCPT": "450 4.2.0 Greylisted"}]
)
async def test_one_recipients_trouble_is_not_the_hops(
    open_upstream: Opener, told: dict[str, Answer | list[Answer]]
) -> None:
    """Greylisting, a full mailbox, a limit for one: the rest of its mail goes on."""
    async with far_side(answers=told) as side:
        upstream = open_upstream(upstream_settings(side))
        for _ in range(10):
            await send(upstream, "a@p.example", "b@p.example")
            side.answers = dict(told)
        assert upstream.outage() is None


async def test_mail_waits_in_memory_only_for_a_near_turn(open_upstream: Opener) -> None:
    """The rate's next place in a minute is an outage until then, and no room for more."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, rate="1/m"))
        assert upstream.room() == 1
        assert await upstream.admit(1) is None
        upstream.leave()
        assert upstream.room() == 0
        outage = await upstream.admit(1)
        assert outage is not None
        assert (outage.answered, round(outage.left)) == (False, 60)


async def test_who_gives_up_its_turn_leaves_its_place(open_upstream: Opener) -> None:
    """Cancelled while it waits for the rate, it takes nobody else's place."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, connections=1, rate="1/s"))
        assert await upstream.admit(1) is None
        upstream.leave()
        waiting = asyncio.ensure_future(upstream.admit(1))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await upstream.admit(1) is None
