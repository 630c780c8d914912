"""How many transactions at once a next hop is given."""

import asyncio

import pytest

from filterrelay.delivery.window import FIRST_REST, LONGEST_REST, Rest, Window, is_throttling
from filterrelay.mail.reply import Reply

SLOWER = Reply(421, "4.7.0", "Too many connections")


class Hop:
    """What a far side does to a window, at a time that the test tells."""

    def __init__(self, most: int = 20) -> None:
        self.now = 100.0
        self.rests: list[float] = []
        self.window = Window(most, self._note)
        self.window._time = lambda: self.now

    def _note(self, rest: Rest, seconds: float) -> None:
        self.rests.append(seconds)

    async def fill(self) -> int:
        """As many transactions as may begin; returns how many are under way."""
        while self.window.free:
            assert await self.window.enter()
        return self.window.size

    def answered(self) -> None:
        """A good answer to something that was asked just now."""
        self.now += 1
        self.window.answered(self.now)

    def throttled(self) -> None:
        """An answer to something that was asked just now."""
        self.now += 1
        self.window.throttled(SLOWER, "mx.example:25", self.now)


async def test_it_begins_small_and_grows_with_what_is_answered() -> None:
    """One more with each answer, up to the connections, as long as all are in use."""
    hop = Hop(most=8)
    assert await hop.fill() == 5
    for size in (6, 7, 8, 8):
        hop.answered()
        assert await hop.fill() == size


async def test_an_idle_hop_gets_no_more() -> None:
    """Nobody knows whether it would take twenty at once that has only ever had one."""
    hop = Hop()
    for _ in range(50):
        await hop.window.enter()
        hop.answered()
        hop.window.leave()
    assert hop.window.size == 5


async def test_it_is_halved_once_for_what_was_under_way_together() -> None:
    """Five answers that say the same are one piece of news; then it grows slowly."""
    hop = Hop(most=8)
    for _ in range(3):
        await hop.fill()
        hop.answered()
    await hop.fill()
    began, hop.now = hop.now, hop.now + 1
    for _ in range(8):
        hop.window.throttled(SLOWER, "mx.example:25", began)
    assert hop.window.size == 4
    for _ in range(4):
        hop.answered()
    assert hop.window.size == 4
    hop.answered()
    assert hop.window.size == 5


async def test_a_hop_that_takes_not_even_one_is_left_alone_longer_each_time() -> None:
    """And then tried by one transaction alone."""
    hop = Hop(most=2)
    hop.throttled()
    assert hop.window.rest() is None
    for _ in range(8):
        hop.throttled()
        found = hop.window.rest()
        assert found is not None
        rest, left = found
        assert (rest.reply, left) == (SLOWER, hop.rests[-1])
        hop.now += left
        assert hop.window.rest() is None
        assert hop.window.size == 1
    assert hop.rests == [min(FIRST_REST * 2**n, LONGEST_REST) for n in range(8)]
    hop.answered()
    hop.window.throttled(SLOWER, "mx.example:25", hop.now + 1)
    assert hop.rests[-1] == FIRST_REST


async def test_a_good_answer_from_before_the_rest_doesnt_end_it() -> None:
    """It was asked before the refusals, and only took longer."""
    hop = Hop(most=1)
    began = hop.now
    hop.throttled()
    hop.window.answered(began)
    assert hop.window.rest() is not None
    hop.answered()
    assert hop.window.rest() is None


async def test_a_hop_that_is_full_gets_less_and_no_rest() -> None:
    """It serves what it has."""
    hop = Hop(most=4)
    for size in (2, 1, 1, 1):
        hop.now += 1
        hop.window.halve(hop.now)
        assert hop.window.size == size
    assert hop.window.rest() is None


async def test_who_waits_is_let_in_in_order_or_told_of_a_rest() -> None:
    """Nobody waits in memory for a hop that is left alone."""
    hop = Hop(most=1)
    await hop.fill()
    waiting = [asyncio.ensure_future(hop.window.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    hop.window.leave()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting[1:]] == [True, False]
    hop.throttled()
    assert [await task for task in waiting[1:]] == [True, False]


async def test_a_place_that_came_too_late_is_given_back() -> None:
    """Who is cancelled just as its turn comes keeps nobody else waiting."""
    hop = Hop(most=1)
    await hop.fill()
    waiting = asyncio.ensure_future(hop.window.enter())
    await asyncio.sleep(0)
    hop.window.leave()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert hop.window.free == 1


@pytest.mark.parametrize(
    ("code", "status", "text", "throttles"),
    [
        (421, "4.7.0", "[TSS04] Messages temporarily deferred due to user complaints", True),
        (421, "4.7.28", "Our system has detected an unusual rate of mail", True),
        (421, "", "Too many concurrent SMTP connections", True),
        (451, "4.7.652", "The mail server has exceeded the maximum number of connections", True),
        (450, "4.7.1", "Error: too much mail from 192.0.2.7", True),
        (450, "4.2.1", "The user is receiving mail at a rate that prevents more", True),
        (452, "4.3.1", "Insufficient system storage", True),
        (451, "4.7.1", "Try again later", False),
        (451, "4.7.1", "Greylisting in action, please come back later", False),
        (450, "4.2.0", "Greylisted", False),
        (421, "4.7.0", "Greylisted, try later", False),
        (452, "4.2.2", "Mailbox full", False),
        (450, "4.1.1", "User unknown in moderate company", False),
        (250, "2.0.0", "Ok", False),
        (550, "5.7.1", "Too many bad recipients", False),
    ],
)
def test_what_asks_for_less_mail(code: int, status: str, text: str, throttles: bool) -> None:
    """What large receivers say when it is too much, apart from what they say of one message."""
    assert is_throttling(Reply(code, status, text)) is throttles
