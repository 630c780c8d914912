"""The memory budget: message octets held at once are counted, and more have to wait."""

import asyncio
from collections import deque
from dataclasses import dataclass

from prometheus_client import Gauge


class Reservation:
    """A part of the budget. It may grow while a message arrives, and is released once."""

    __slots__ = ("_budget", "octets")

    def __init__(self, budget: "MemoryBudget") -> None:
        self._budget = budget
        self.octets = 0

    async def grow(self, octets: int, timeout: float) -> None:
        """Makes it cover that many octets. Raises TimeoutError when memory stays spent."""
        if octets > self.octets:
            await self._budget.grow(self, octets, timeout)

    def shrink(self, octets: int) -> None:
        """Gives back what goes beyond that many octets."""
        if octets < self.octets:
            self._budget.shrink(self, octets)

    def release(self) -> None:
        """Gives everything back; a second call does nothing."""
        self._budget.shrink(self, 0)


@dataclass(frozen=True, slots=True)
class _Waiting:
    reservation: Reservation
    octets: int  # what it shall cover
    granted: asyncio.Future[None]


class MemoryBudget:
    """What one process may hold of messages, first come, first served.

    Messages that grow while they arrive could all wait for each other. So one of
    those that hold something already may go beyond the budget until it is done;
    the octets held exceed the budget by at most that one message.
    """

    def __init__(self, octets: int, gauge: Gauge | None = None) -> None:
        self.used = 0
        self._total = octets
        self._gauge = gauge
        self._waiting: deque[_Waiting] = deque()
        self._favoured: Reservation | None = None

    def reservation(self) -> Reservation:
        """A new reservation of nothing."""
        return Reservation(self)

    async def grow(self, reservation: Reservation, octets: int, timeout: float) -> None:
        """Waits until the reservation may cover that many octets. Raises TimeoutError."""
        if self._may_have(reservation, octets, alone=not self._waiting):
            self._set(reservation, octets)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(reservation, octets, granted)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(timeout):
                await granted
        except BaseException:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            self._grant()
            raise

    def shrink(self, reservation: Reservation, octets: int) -> None:
        """Takes back what goes beyond that many octets, and wakes who waits for it."""
        if self._favoured is reservation and not octets:
            self._favoured = None
        if octets < reservation.octets:
            self._set(reservation, octets)
            self._grant()

    def _may_have(self, reservation: Reservation, octets: int, *, alone: bool) -> bool:
        if self._favoured is reservation:
            return True
        more = octets - reservation.octets
        if alone and (self.used + more <= self._total or not self.used):
            return True
        if self._favoured is None and reservation.octets:
            self._favoured = reservation
            return True
        return False

    def _grant(self) -> None:
        """Serves the queue: its head as far as memory goes, else the first that holds some."""
        while self._waiting:
            head = self._waiting[0]
            for waiting in (head, *self._waiting):
                if waiting.granted.done():
                    self._waiting.remove(waiting)
                    break
                if self._may_have(waiting.reservation, waiting.octets, alone=waiting is head):
                    self._waiting.remove(waiting)
                    self._set(waiting.reservation, waiting.octets)
                    waiting.granted.set_result(None)
                    break
            else:
                return

    def _set(self, reservation: Reservation, octets: int) -> None:
        self.used += octets - reservation.octets
        reservation.octets = octets
        if self._gauge is not None:
            self._gauge.set(self.used)
