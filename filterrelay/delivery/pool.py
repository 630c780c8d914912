"""The connections to one next hop, kept and used again."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from prometheus_client import Gauge

from filterrelay.delivery.conversation import Conversation
from filterrelay.delivery.slots import Slots

MOST_IDLE = 30.0  # seconds without a message before a connection is closed
_TURN = 2.0  # seconds after which a connection gives way to a pool that has none
_SWEEP = 5.0

Suits = Callable[[Conversation], bool]


def speaks_for_us(conversation: Conversation) -> bool:
    """Whether the next hop takes us for ourselves there, and not for a client (XCLIENT)."""
    return conversation.client is None


@dataclass(frozen=True, slots=True)
class Wear:
    """How many connections there may be, and after what each gives way to a new one.

    messages: over one connection. age: seconds; so load spreads over new hosts.
    """

    connections: int
    messages: int
    age: float

    def has_worn(self, conversation: Conversation, now: float) -> bool:
        """Whether this one has served."""
        served = conversation.transactions >= self.messages
        return served or now - conversation.opened > self.age


class Pool:
    """So many connections at most; the one used last is used first.

    open: makes a connection, past the hosts of these ranks. stale: says of a kept one that a
    new one would be better (a host before it is back). gauge: counts them by `busy` and
    `idle`, beside others'. slots: what it shares with other pools.
    """

    def __init__(
        self,
        wear: Wear,
        open_: Callable[[Collection[int]], Awaitable[Conversation]],
        stale: Callable[[Conversation], bool],
        gauge: Callable[[str], Gauge],
        slots: Slots | None = None,
    ) -> None:
        self._wear = wear
        self._open_new = open_
        self._stale = stale
        self._busy_gauge, self._idle_gauge = gauge("busy"), gauge("idle")
        self._shown = (0, 0)
        self._slots = slots
        self._idle: list[tuple[Conversation, float]] = []
        self._count = 0
        self._waiting: deque[asyncio.Future[Conversation | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return self._count

    async def acquire(
        self,
        *,
        fresh: bool = False,
        kept: bool = False,
        past: Collection[int] = (),
        suits: Suits = speaks_for_us,
    ) -> Conversation:
        """A connection for one transaction; give it back with `release`.

        fresh: not one that was kept. kept: rather one of those that are open than a new
        one. past: the ranks of hosts that a fresh one isn't to. suits: which of those that
        were kept will do. Raises what opening raises.
        """
        if not fresh and (known := self._idle_one(suits)) is not None:
            return known
        grown = not (kept and self._count) and self._grow(fresh=fresh or bool(self._idle))
        if not grown and (handed := await self._turn(kept=kept)) is not None:
            if handed.usable and not fresh and suits(handed):
                return handed
            handed.quit()
        # The slot is ours and counted, whether it was free, handed over, or a connection's.
        try:
            conversation = await self._open_new(past)
        except BaseException:
            self._free_slot()
            raise
        conversation.on_lost = self._lost
        self.observe()
        return conversation

    def _idle_one(self, suits: Suits) -> Conversation | None:
        """The one used last of those that suit; any that is worn out on the way is closed."""
        for place in range(len(self._idle) - 1, -1, -1):
            known = self._idle[place][0]
            worn = not known.usable or self._stale(known)
            if not worn and not suits(known):
                continue
            del self._idle[place]
            if not worn:
                self._tell_idle()
                return known
            known.quit()
            self._drop()
        return None

    def release(self, conversation: Conversation) -> None:
        """Takes a connection back, to be kept if it can be."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._keeps(conversation, now):
            conversation.quit()
            self._free_slot()
            return
        if self._hand(conversation):
            return
        self._idle.append((conversation, now))
        self._tell_idle()
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP, self._sweep)

    def observe(self) -> None:
        """Brings the gauges up to date."""
        idle = len(self._idle)
        busy = self._count - idle
        self._busy_gauge.inc(busy - self._shown[0])
        self._idle_gauge.inc(idle - self._shown[1])
        self._shown = (busy, idle)

    def close(self) -> None:
        """Says goodbye on all idle connections; busy ones follow when they are released."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self.spare()
        self.observe()

    def grant(self) -> bool:
        """Gets a slot for one more, if somebody still waits for it; whether it keeps it."""
        if self._count >= self._wear.connections or not self._hand(None):
            return False
        self._count += 1
        self._ask()
        return True

    def spare(self) -> None:
        """Closes the connection that is idle longest, if there is one."""
        if self._idle:
            self._idle.pop(0)[0].quit()
            self._drop()

    def _keeps(self, conversation: Conversation, now: float) -> bool:
        if self._closed or not conversation.usable or self._wear.has_worn(conversation, now):
            return False
        starved = self._slots is not None and self._slots.starved
        return not starved or bool(self._waiting and now - conversation.opened < _TURN)

    async def _turn(self, *, kept: bool) -> Conversation | None:
        """Waits for a connection that is given back; None is a slot for a new one.

        kept: not while there are others.
        """
        while (handed := await self._handed()) is None and kept and self._count > 1:
            self._drop()
        return handed

    async def _handed(self) -> Conversation | None:
        waiter: asyncio.Future[Conversation | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._ask()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                handed = waiter.result()
                self._free_slot() if handed is None else self.release(handed)
            raise

    def _grow(self, *, fresh: bool) -> bool:
        """Takes a slot for one more connection, if it may be had at once.

        fresh: an idle connection's, if need be.
        """
        full = self._count >= self._wear.connections
        if full or not (self._slots is None or self._slots.take(self)):
            if not (fresh and self._idle):
                return False
            self.spare()
            return self._grow(fresh=False)
        self._count += 1
        return True

    def _hand(self, given: Conversation | None) -> bool:
        """Gives a connection, or a slot for one, to who has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(given)
                return True
        return False

    def _ask(self) -> None:
        """Has the slots know whether one more is waited for."""
        if self._slots is None:
            return
        if self._waiting and self._count < self._wear.connections:
            self._slots.want(self)
        else:
            self._slots.forget(self)

    def _free_slot(self) -> None:
        """A connection is gone: another may be opened in its slot."""
        starved = self._slots is not None and self._slots.starved
        if starved or not self._hand(None):
            self._drop()

    def _drop(self) -> None:
        """Gives the slot of a connection that is gone back."""
        self._count -= 1
        self._tell_idle()
        self._ask()
        if self._slots is not None:
            self._slots.back()
        self.observe()

    def _tell_idle(self) -> None:
        if self._slots is not None:
            self._slots.idle(self, has=bool(self._idle))

    def _lost(self, conversation: Conversation) -> None:
        """An idle connection that the far side closed is forgotten; a busy one is released."""
        for place, (kept, _) in enumerate(self._idle):
            if kept is conversation:
                del self._idle[place]
                self._tell_idle()
                self._free_slot()
                return

    def _sweep(self) -> None:
        """Closes what was idle too long."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - MOST_IDLE
        while self._idle and self._idle[0][1] < oldest:
            self.spare()
        self.observe()
        self._sweeper = loop.call_later(_SWEEP, self._sweep) if self._idle else None
