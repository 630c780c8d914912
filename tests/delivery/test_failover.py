"""Hosts in order, and what a failed one costs."""

import asyncio
from collections.abc import Sequence

import pytest

from filterrelay.delivery.failover import Hosts, Unreachable
from filterrelay.delivery.hops import Hops, dialing_of
from filterrelay.mail.endpoint import parse_endpoint
from filterrelay.observe.metrics import Metrics

from .far_side import Act, Answer, FarSide, Opener, codes, far_side, send, upstream_settings


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


def hosts_of(*groups: Sequence[FarSide]) -> Hosts:
    """The hosts that these sides are, in groups of equal preference."""
    endpoints = [[parse_endpoint(side.host) for side in group] for group in groups]
    dialing = dialing_of(upstream_settings(), "relay.office.example")
    return Hosts("mx", endpoints, dialing, Metrics().hosts_down.labels("mx"))


async def test_hosts_of_equal_preference_share_the_mail() -> None:
    """In another order for each connection, and those of worse preference get none of it."""
    async with far_side() as first, far_side() as second, far_side() as backup:
        hosts = hosts_of([first, second], [backup])
        opened = [await hosts.open() for _ in range(32)]
        for conversation in opened:
            conversation.abort("done")
        assert first.connections + second.connections == 32
        assert min(first.connections, second.connections) > 0
        assert backup.connections == 0


async def test_a_connection_gives_way_to_a_host_of_better_preference_alone() -> None:
    """Not to another that is as good."""
    async with far_side() as first, far_side() as second, far_side() as backup:
        hosts = hosts_of([first], [second, backup])
        await first.stop()
        conversations = [await hosts.open() for _ in range(8)]
        assert not any(hosts.better_than(each.peer.rank) for each in conversations)
        assert hosts_of([first], [second, backup]).better_than(2)
        for conversation in conversations:
            conversation.abort("done")


@pytest.mark.parametrize(
    ("answers", "tries"), [({"GREETING": "421 4.3.2 Busy"}, 2), ({"AUTH": "535 5.7.8 Wrong"}, 1)]
)
async def test_who_hurries_has_a_host_tried_again_after_a_moment(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer | list[Answer]], tries: int
) -> None:
    """Not at once, and never one that locks an account after too many logins."""
    monkeypatch.setattr("filterrelay.delivery.failover._MOMENT", 0.05)
    async with far_side(answers=answers, extensions=["AUTH PLAIN"]) as side:
        config = upstream_settings(username="relay", password="secret")
        dialing = dialing_of(config, "relay.example")
        down = Metrics().hosts_down.labels("x")
        hosts = Hosts("x", [[parse_endpoint(side.host)]], dialing, down)
        for _ in range(2):
            hosts.hurry()
            with pytest.raises(Unreachable):
                await hosts.open()
        assert side.connections == 1
        await asyncio.sleep(0.06)
        hosts.hurry()
        with pytest.raises(Unreachable):
            await hosts.open()
        assert side.connections == tries


@pytest.mark.parametrize(
    "answers",
    [
        {"GREETING": "421 4.3.2 Too busy"},
        {"GREETING": "554 5.3.2 No mail here"},
        {"GREETING": Act.DROP},
        {"GREETING": Act.HANG},
        {"EHLO": "450 4.3.2 Not now"},
        {"EHLO": "421 4.3.2 Not now"},
        {"EHLO": "451 4.3.0 Broken", "HELO": "451 4.3.0 Broken"},
        {"EHLO": Act.DROP},
    ],
    ids=str,
)
async def test_a_host_that_takes_nothing_now_is_no_reason_to_wait(
    open_upstream: Opener, answers: dict[str, Answer | list[Answer]]
) -> None:
    """Whatever goes wrong before the message, the next host gets it at once."""
    async with far_side(answers=answers) as side, far_side() as other:
        sent = await send(open_upstream(upstream_settings(side, other)))
        assert (codes(sent), sent.host) == (["250 2.0.0"], other.host)
        assert side.connections == 1


async def test_one_connection_finds_out_whether_a_dead_host_is_back(
    open_upstream: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't hammered by all that wait; they go when it has answered."""
    monkeypatch.setattr("filterrelay.delivery.failover.FIRST_PAUSE", 0.0)
    async with far_side(answers={"GREETING": ["421 4.3.2 Down", Act.HANG]}) as side:
        upstream = open_upstream(upstream_settings(side))
        await send(upstream)
        side.connections = 0
        results = asyncio.gather(*(send(upstream) for _ in range(10)))
        await side.hung.wait()
        await asyncio.sleep(0.05)
        assert side.connections == 1
        side.answers.clear()
        side.hang_up()
        assert {code for sent in await results for code in codes(sent)} <= {
            "250 2.0.0",
            "451 4.4.2",
        }
        assert codes(await send(upstream)) == ["250 2.0.0"]


async def test_others_pass_a_host_that_is_being_tried_again(
    open_upstream: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another host there, nobody but the one that tries waits for the answer."""
    monkeypatch.setattr("filterrelay.delivery.failover.FIRST_PAUSE", 0.0)
    down: dict[str, Answer | list[Answer]] = {"GREETING": ["421 4.3.2 Down", Act.HANG]}
    async with far_side(answers=down) as first, far_side() as second:
        upstream = open_upstream(upstream_settings(first, second, timeout="2s"))
        assert (await send(upstream)).host == second.host
        probing = asyncio.ensure_future(send(upstream))
        await first.hung.wait()
        for _ in range(5):
            assert (await send(upstream)).host == second.host
        assert not probing.done()
        assert first.connections == 2
        first.hang_up()
        assert (await probing).host == second.host


async def test_a_host_that_is_full_is_not_down(open_upstream: Opener) -> None:
    """It refuses one more connection while it serves another: who is refused waits for that."""
    async with far_side(answers={".": Act.HANG}) as side:
        upstream = open_upstream(upstream_settings(side, timeout="5s"))
        first = asyncio.ensure_future(send(upstream))
        await side.hung.wait()
        side.answers["GREETING"] = "421 4.7.0 Too many connections"
        second = asyncio.ensure_future(send(upstream))
        await asyncio.sleep(0.1)
        assert (side.connections, second.done()) == (2, False)
        assert upstream.outage() is None
        side.answers.clear()
        side.hang_up()
        assert codes(await first) == ["451 4.4.2"]
        assert codes(await second) == ["250 2.0.0"]


async def test_hosts_that_are_down_are_counted_until_they_are_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An operator sees that mail goes the second way; nobody is down once nobody asks."""
    monkeypatch.setattr("filterrelay.delivery.failover.FIRST_PAUSE", 0.0)
    metrics = Metrics()

    def down() -> float | None:
        labels = {"upstream": "provider"}
        return metrics.registry.get_sample_value("filterrelay_upstream_hosts_down", labels)

    async with far_side() as first, far_side() as second:
        config = upstream_settings(first, second)
        upstream = Hops([config], [], "relay.office.example", metrics).named(config.name)
        assert down() == 0
        await first.stop()
        assert (await send(upstream)).host == second.host
        assert down() == 1
        await first.start()
        assert (await send(upstream)).host == first.host
        assert down() == 0
        await first.stop()
        await send(upstream)
        assert down() == 1
        upstream.close()
        assert down() == 0
