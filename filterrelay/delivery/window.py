"""How many transactions at once a next hop is given: fewer when it asks for patience.

The window begins small, grows with what is answered and is halved by a throttling answer, as
Postfix's concurrency feedback and TCP do it (RFC 5681 section 3.1).
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filterrelay.mail.reply import Reply

FIRST_WINDOW = 5  # transactions at once with a next hop of which nothing is known yet
FIRST_REST = 15.0  # seconds that a hop is left alone which can't take even one; doubles each time
LONGEST_REST = 600.0

# The whole server is meant, or this client: RFC 3463 sections 3.3, 3.4, 3.5, 3.8. Greylisting,
# which is about one sender and recipient, mostly says 4.7.1; so that alone means nothing.
_STATUSES = re.compile(r"4\.(?:2\.1|3\.1|3\.2|4\.5|7\.(?!1\Z)\d+)\Z")
_WORDS = re.compile(
    r"too (?:many|much|fast|quick)|\brate|throttl|limit|slow down|quickly|frequen|overload",
    re.IGNORECASE,
)
_GREYLISTING = re.compile(r"gr[ae]y-?list", re.IGNORECASE)
_CODES = (450, 451, 452)
_CLOSING = 421


def is_throttling(reply: Reply) -> bool:
    """Whether the reply asks for less mail, rather than speaking of this message."""
    if _GREYLISTING.search(reply.text):
        return False
    if reply.code in _CODES:
        by_words = reply.enhanced == "4.7.1" and _WORDS.search(reply.text)
        return bool(by_words or _STATUSES.match(reply.enhanced))
    return reply.code == _CLOSING


def are_throttling(replies: Sequence[Reply]) -> bool:
    """Whether all of a transaction's replies do: one recipient's trouble is not the hop's."""
    return bool(replies) and all(is_throttling(reply) for reply in replies)


@dataclass(frozen=True, slots=True)
class Rest:
    """A time in which the hop is left alone. reply, host: why. until: in the loop's time."""

    reply: Reply
    host: str
    until: float


class Window:
    """The places for transactions at once: never more than most, in the order asked for.

    on_rest: is told of each rest that begins, and of its seconds.
    """

    def __init__(
        self,
        most: int,
        on_rest: Callable[[Rest, float], None] = lambda *_: None,
        first: int = FIRST_WINDOW,
    ) -> None:
        self._most = most
        self._size = float(min(first, most))
        self._on_rest = on_rest
        self._in_use = 0
        self._steady = False  # it has been halved once, and grows more slowly since
        self._cut_at = 0.0
        self._pause = 0.0
        self._rest: Rest | None = None
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._time: Callable[[], float] = lambda: asyncio.get_running_loop().time()

    @property
    def size(self) -> int:
        """How many may be under way now."""
        return int(self._size)

    @property
    def free(self) -> int:
        """How many more may begin now."""
        return max(0, self.size - self._in_use)

    def rest(self) -> tuple[Rest, float] | None:
        """The rest that the hop has now, and the seconds until its end."""
        if self._rest is None or (left := self._rest.until - self._time()) <= 0:
            return None
        return self._rest, left

    async def enter(self) -> bool:
        """Waits for a place, to be given back with `leave`; False when a rest began instead."""
        if self.free and not self._waiting:
            self._in_use += 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise

    def leave(self) -> None:
        """Gives a place back."""
        self._in_use -= 1
        self._let_in()

    def answered(self, began: float) -> None:
        """The far side has dealt with a transaction: it may get more, if it had all it might.

        began: when it was asked, by the loop's time; what was under way at the last cut
        says nothing new.
        """
        if began < self._cut_at:
            return
        self._pause, self._rest = 0.0, None
        if self._in_use >= self.size:
            self._size = min(self._most, self._size + (1 / self._size if self._steady else 1))

    def halve(self, began: float) -> bool:
        """It was too much at once; False when one is. began: as for answered."""
        if began < self._cut_at:
            return True
        self._cut_at, self._steady = self._time(), True
        halved = self.size > 1
        self._size = max(1.0, self._size / 2)
        return halved

    def throttled(self, reply: Reply, host: str, began: float) -> None:
        """The far side asks for less. began: as for answered."""
        if self.halve(began):
            return
        self._pause = min(max(2 * self._pause, FIRST_REST), LONGEST_REST)
        self._rest = Rest(reply, host, self._cut_at + self._pause)
        self._on_rest(self._rest, self._pause)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(False)

    def _let_in(self) -> None:
        while self.free and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_use += 1
                turn.set_result(True)
