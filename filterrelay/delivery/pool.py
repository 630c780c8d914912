"""The connections to one next hop, kept and used again."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from prometheus_client import Gauge

from filterrelay.delivery.conversation import Conversation

MOST_AGE = 300.0  # seconds; then a connection gives way to a new one, so that load spreads
MOST_IDLE = 30.0  # seconds without a message before a connection is closed
_SWEEP = 5.0


class Pool:
    """At most `limit` connections; the one used last is used first.

    open: makes a connection. stale: says of a kept one that a new one would be
    better (a host before it is back). gauge: counts them by `busy` and `idle`.
    """

    def __init__(
        self,
        limit: int,
        open_: Callable[[], Awaitable[Conversation]],
        stale: Callable[[Conversation], bool],
        gauge: Callable[[str], Gauge],
    ) -> None:
        self._limit = limit
        self._open_new = open_
        self._stale = stale
        self._busy_gauge, self._idle_gauge = gauge("busy"), gauge("idle")
        self._idle: list[tuple[Conversation, float]] = []
        self._count = 0
        self._waiting: deque[asyncio.Future[Conversation | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return self._count

    async def acquire(self, *, fresh: bool = False) -> Conversation:
        """A connection for one transaction; give it back with `release`.

        fresh: not one that was kept. Raises what opening raises.
        """
        if fresh:
            self._make_room()
        while self._idle and not fresh:
            kept = self._idle.pop()[0]
            if kept.usable and not self._stale(kept):
                return kept
            kept.quit()
            self._count -= 1
        if self._count < self._limit:
            self._count += 1
        elif (handed := await self._turn()) is not None:
            if handed.usable and not fresh:
                return handed
            handed.quit()
        # The place is ours and counted, whether it was free, handed over, or a connection's.
        try:
            conversation = await self._open_new()
        except BaseException:
            self._free_place()
            raise
        conversation.on_lost = self._lost
        self.observe()
        return conversation

    def release(self, conversation: Conversation) -> None:
        """Takes a connection back, to be kept if it can be."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._closed or not conversation.usable or now - conversation.opened > MOST_AGE:
            conversation.quit()
            self._free_place()
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(conversation)
                return
        self._idle.append((conversation, now))
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP, self._sweep)

    def observe(self) -> None:
        """Brings the gauges up to date."""
        self._idle_gauge.set(len(self._idle))
        self._busy_gauge.set(self._count - len(self._idle))

    def close(self) -> None:
        """Says goodbye on all idle connections; busy ones follow when they are released."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._idle.pop()[0].quit()
            self._free_place()
        self.observe()

    async def _turn(self) -> Conversation | None:
        """Waits for a connection that is given back; None is a free place for a new one."""
        waiter: asyncio.Future[Conversation | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                handed = waiter.result()
                self._free_place() if handed is None else self.release(handed)
            raise

    def _free_place(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._count -= 1
        self.observe()

    def _make_room(self) -> None:
        if self._count >= self._limit and self._idle:
            self._idle.pop(0)[0].quit()
            self._count -= 1

    def _lost(self, conversation: Conversation) -> None:
        """An idle connection that the far side closed is forgotten; a busy one is released."""
        for place, (kept, _) in enumerate(self._idle):
            if kept is conversation:
                del self._idle[place]
                self._free_place()
                return

    def _sweep(self) -> None:
        """Closes what was idle too long."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - MOST_IDLE
        while self._idle and self._idle[0][1] < oldest:
            self._idle.pop(0)[0].quit()
            self._free_place()
        self.observe()
        self._sweeper = loop.call_later(_SWEEP, self._sweep) if self._idle else None
