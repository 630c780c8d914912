"""What waits for one next hop, and who sends it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from filterrelay.delivery.upstream import UpstreamLike
from filterrelay.observe.budget import Reservation
from filterrelay.spool.store import StoredMessage, StoredRecipient

SETTLING = 16  # senders beyond the connections, whose message is sent and whose result is written


@dataclass(slots=True, eq=False)
class Flight:
    """A message that this process is delivering.

    until: the end of its lease. fresh: it came from the door just now, and its
    first attempt is recorded with its result. body: its bytes, None until they
    are read from the spool. unsettled: parts whose result isn't recorded yet.
    parts: those that are still held here.
    """

    message: StoredMessage
    until: datetime
    fresh: bool
    reservation: Reservation
    body: bytes | None = field(default=None, repr=False)
    unsettled: int = 0
    parts: int = 0
    reading: asyncio.Lock | None = None

    def settles(self) -> bool:
        """Takes note that one more part's result is being recorded; whether it is the last."""
        self.unsettled -= 1
        return self.unsettled == 0


@dataclass(slots=True, eq=False)
class Part:
    """The recipients of one message that go to one next hop.

    since: when it was put there, by the clock's monotonic time. settling: the far
    side has answered, and the result is on its way to disk.
    """

    flight: Flight
    recipients: Sequence[StoredRecipient]
    since: float
    settling: bool = False


@dataclass(slots=True, eq=False)
class Sender:
    """One loop that takes parts from a lane; part is what it works on."""

    lane: "Lane"
    part: Part | None = None


class Lane:
    """The parts that wait for one next hop, first come, first served."""

    def __init__(self, upstream: UpstreamLike) -> None:
        self.upstream = upstream
        self.most_senders = upstream.connections + SETTLING
        self.senders = 0
        self.waiting: deque[Part] = deque()
        self._idle: list[asyncio.Future[None]] = []

    def put(self, part: Part) -> bool:
        """Adds a part; whether another sender is wanted for it."""
        self.waiting.append(part)
        while self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                return False
        return self.senders < self.most_senders

    async def sleep(self) -> None:
        """Returns when there may be something to send."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(sleeper)
        await sleeper

    def wake_all(self) -> None:
        """Wakes every sleeping sender."""
        while self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
