"""Hosts in order, and what a failed one costs."""

import pytest

from filterrelay.delivery.failover import Hosts
from filterrelay.delivery.hops import dialing_of
from filterrelay.mail.endpoint import parse_endpoint

from .far_side import Opener, codes, far_side, send, upstream_settings


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
        outage = upstream.outage()
    assert side.connections == 1
    assert codes(first) == codes(second) == ["421 4.3.2"]
    assert outage is not None
    assert [outage.reply] == list(second.replies)
    assert 0 < outage.left <= 5


async def test_hosts_of_equal_preference_share_the_mail() -> None:
    """In another order for each connection, and those of worse preference get none of it."""
    async with far_side() as first, far_side() as second, far_side() as backup:
        groups = [[parse_endpoint(side.host) for side in (first, second)]]
        groups.append([parse_endpoint(backup.host)])
        hosts = Hosts("mx", groups, dialing_of(upstream_settings(), "relay.office.example"))
        opened = [await hosts.open() for _ in range(32)]
        assert not any(hosts.better_than(conversation.peer.rank) for conversation in opened)
        for conversation in opened:
            conversation.abort("done")
        assert first.connections + second.connections == 32
        assert min(first.connections, second.connections) > 0
        assert backup.connections == 0
