"""The memory budget: message octets held at once are counted, and more have to wait."""

import asyncio
from collections import deque

from prometheus_client import Gauge


class Reservation:
    """A part of the budget. It may grow while a message arrives, and is released once."""

    __slots__ = ("_budget", "octets")

    def __init__(self, budget: "MemoryBudget") -> None:
        self._budget = budget
        self.octets = 0

    async def grow(self, octets: int, timeout: float) -> None:
        """Makes it cover that many octets. Raises TimeoutError when memory stays spent."""
        more = octets - self.octets
        if more > 0:
            await self._budget.take(more, timeout)
            self.octets = octets

    def shrink(self, octets: int) -> None:
        """Gives back what goes beyond that many octets."""
        if self.octets > octets:
            more, self.octets = self.octets - octets, octets
            self._budget.give(more)

    def release(self) -> None:
        """Gives everything back; a second call does nothing."""
        octets, self.octets = self.octets, 0
        self._budget.give(octets)


class MemoryBudget:
    """What one process may hold of messages, first come, first served."""

    def __init__(self, octets: int, gauge: Gauge | None = None) -> None:
        self._free = octets
        self._total = octets
        self._gauge = gauge
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Octets held now."""
        return self._total - self._free

    def reservation(self) -> Reservation:
        """A new reservation of nothing."""
        return Reservation(self)

    async def take(self, octets: int, timeout: float) -> None:
        """Waits until that many octets are free and takes them. Raises TimeoutError."""
        octets = min(octets, self._total)
        if not self._waiting and octets <= self._free:
            self._change(-octets)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (octets, granted)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout):
                await granted
        except BaseException:
            if granted.done() and not granted.cancelled():
                self._change(octets)
            else:
                self._waiting.remove(entry)
            self._grant()
            raise

    def give(self, octets: int) -> None:
        """Puts octets back and wakes who waits for them."""
        if octets:
            self._change(min(octets, self._total - self._free))
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            octets, granted = self._waiting.popleft()
            self._change(-octets)
            granted.set_result(None)

    def _change(self, octets: int) -> None:
        self._free += octets
        if self._gauge is not None:
            self._gauge.set(self.used)
