"""What waits for one next hop, and who sends it."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from filterrelay.delivery.attempt import Tried
from filterrelay.delivery.memory import Commons, LaneMemory
from filterrelay.delivery.upstream import Outage, Sent, UpstreamLike
from filterrelay.mail.hop import Hop
from filterrelay.observe.budget import Reservation
from filterrelay.spool.store import RecipientState, StoredMessage, StoredRecipient

_WHILE_DOWN = 10  # times as much from the spool, while each part only hears of an outage
SETTLING = 16  # senders beyond the connections, whose message is sent and whose result is written


@dataclass(slots=True, eq=False)
class Flight:
    """A message that this process is delivering.

    until: the end of its lease. fresh: it came from the door just now, and its
    first attempt is recorded with its result. body: its bytes, None while they are
    in the spool only. share: what the lane gave that the body waits for, while nobody has
    it in hand. unsettled: parts whose result isn't recorded yet. parts: those that are
    still held here. in_hand: those that a sender has the body for. left: recipients that
    aren't done with, those that aren't due included.
    """

    message: StoredMessage
    until: datetime
    fresh: bool
    reservation: Reservation
    body: bytes | None = field(default=None, repr=False)
    share: Reservation | None = None
    lane: "Lane | None" = None
    unsettled: int = 0
    parts: int = 0
    in_hand: int = 0
    reading: asyncio.Lock | None = None
    left: int = field(init=False)

    def __post_init__(self) -> None:
        queued = RecipientState.QUEUED
        self.left = sum(each.state is queued for each in self.message.recipients)

    def settles(self) -> bool:
        """Takes note that one more part's result is being recorded; whether it is the last."""
        self.unsettled -= 1
        return self.unsettled == 0


@dataclass(slots=True, eq=False)
class Part:
    """The recipients of one message that go to one next hop.

    since: when it was put there, by the clock's monotonic time. answer: what becomes of
    it without an attempt, None when there is to be one. counted: the spool knows of the
    attempt. trying: the far side may have seen something of it. tried: what it has answered
    so far that isn't settled, where an attempt takes several transactions. settling: the far
    side has answered, and the result is on its way to disk. reason: why it goes this way,
    for the trace. share: of its lane's memory, while it has the body in hand.
    """

    flight: Flight
    lane: "Lane"
    hop: Hop
    recipients: Sequence[StoredRecipient]
    since: float
    answer: Sent | None = None
    counted: bool = False
    trying: bool = False
    tried: list[Tried] = field(default_factory=list)
    settling: bool = False
    reason: str = ""
    share: Reservation | None = None

    def untried(self) -> Sequence[StoredRecipient]:
        """The recipients without a result."""
        known = {stored.index for each in self.tried for stored in each.recipients}
        return [stored for stored in self.recipients if stored.index not in known]


@dataclass(slots=True, eq=False)
class Sender:
    """One loop that takes parts from a lane; part is what it works on."""

    lane: "Lane"
    part: Part | None = None


class Lane:
    """The parts that wait for one next hop, first come, first served.

    memory: what their bodies may take, so that a next hop that hangs leaves the rest to
    others. parts: how many are held here. spooled: how many of them are of messages from
    the spool, most_spooled at a time; the rest of a long queue waits on disk, in nobody's
    way. last_used: when a part was last done with, by the clock's monotonic time. reached:
    whether the next hop answered when it was last tried, None when nobody knows. missed:
    whether mail may wait in the spool that had its turn while it couldn't be reached.
    """

    def __init__(self, upstream: UpstreamLike, most_spooled: int, commons: Commons) -> None:
        self.upstream = upstream
        self.memory = LaneMemory(commons)
        self.most_senders = upstream.connections + SETTLING
        self.most_spooled = max(upstream.connections, most_spooled)
        self.senders = 0
        self.spooled = 0
        self.parts = 0
        self.closed = False
        self.reached: bool | None = None
        self.missed = True
        self.last_used = 0.0
        self.waiting: deque[Part] = deque()
        self._idle: list[asyncio.Future[None]] = []

    @property
    def room(self) -> int:
        """How many more parts from the spool may come, and be sent before long.

        In an outage many: each of them only hears of it.
        """
        if self.upstream.outage() is not None:
            return max(0, self.most_spooled * _WHILE_DOWN - self.spooled)
        room = self.most_spooled - self.spooled
        soon = self.upstream.room()
        if soon is not None:
            room = min(room, soon - len(self.waiting))
        return max(0, room)

    @property
    def early_room(self) -> int:
        """How many parts may come before their time, now that the next hop can be reached.

        One to try it with while nobody knows.
        """
        if self.reached is False or self.upstream.outage() is not None:
            return 0
        return self.room if self.reached else min(self.room, 1)

    def learn(self, sent: Sent) -> None:
        """Takes note of what the last attempt tells of the next hop."""
        self.reached = False if sent.unreached else sent.answered or None

    def hear_of(self, outage: Outage) -> None:
        """Takes note of it: after a rest, one message shows whether it is over."""
        if outage.why != "rate":
            self.reached = None if outage.why == "rest" else False

    def let_go(self, part: Part, now: float) -> None:
        """A part is done with. now: monotonic seconds."""
        self.parts -= 1
        self.spooled -= not part.flight.fresh
        self.last_used = now

    def is_drained_by(self, flight: Flight) -> bool:
        """Whether more from the spool is wanted now that this one has gone.

        Not when the next hop doesn't answer: that can wait for the next look.
        """
        half = self.most_spooled // 2
        return not flight.fresh and self.spooled < half and bool(self.reached)

    def is_idle_since(self, moment: float) -> bool:
        """Whether nothing has been here from then on. moment: monotonic seconds."""
        return not self.parts and self.last_used <= moment

    def close(self) -> None:
        """Ends its senders and its connections; nothing more will come."""
        self.closed = True
        self.wake_all()
        self.upstream.close()

    def put(self, part: Part) -> bool:
        """Adds a part; whether another sender is wanted for it."""
        self.waiting.append(part)
        while self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                return False
        return self.senders < self.most_senders

    def take_out(self, ids: Collection[str]) -> list[Part]:
        """What waits of these messages, which waits no more then."""
        taken = [part for part in self.waiting if part.flight.message.id in ids]
        if taken:
            self.waiting = deque(p for p in self.waiting if p.flight.message.id not in ids)
        return taken

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
