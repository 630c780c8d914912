"""The memory budget: message octets held at once are counted, and more have to wait."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


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

    def try_grow(self, octets: int) -> bool:
        """Makes it cover that many octets if that can be had at once; whether it could."""
        return octets <= self.octets or self._budget.take(self, octets)

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
    """What one process may hold of messages.

    One message at a time doesn't count: without it the others keep to the budget, so
    that what is held exceeds it by at most one message. So a message of any size passes,
    and those that grow while they arrive can't all wait for each other: whichever holds
    most may go on. Who waits is served in order; what fits needn't wait behind it.

    used, total: octets, now and at most. relief: asked to have octets given back when
    somebody would have to wait.
    """

    def __init__(self, octets: int) -> None:
        self.used = 0
        self.relief: Callable[[int], None] | None = None
        self.total = octets
        self._waiting: deque[_Waiting] = deque()
        self._beyond: Reservation | None = None  # the one that doesn't count

    @property
    def short(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def reservation(self) -> Reservation:
        """A new reservation of nothing."""
        return Reservation(self)

    async def grow(self, reservation: Reservation, octets: int, timeout: float) -> None:
        """Waits until the reservation may cover that many octets. Raises TimeoutError."""
        if self.take(reservation, octets):
            return
        if self.relief is not None:
            self.relief(octets - reservation.octets)
            if self.take(reservation, octets):
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
            raise

    def shrink(self, reservation: Reservation, octets: int) -> None:
        """Takes back what goes beyond that many octets, and serves who waits for it."""
        if octets < reservation.octets:
            self._set(reservation, octets)
            if self._waiting:
                self._waiting = deque(each for each in self._waiting if not self._served(each))

    def _served(self, waiting: _Waiting) -> bool:
        if not waiting.granted.done():
            if not self.take(waiting.reservation, waiting.octets):
                return False
            waiting.granted.set_result(None)
        return True

    def take(self, reservation: Reservation, octets: int) -> bool:
        """Has the reservation cover that many octets, if all but one then fit."""
        used = self.used + octets - reservation.octets
        if used > self.total and reservation is not self._beyond:
            aside = self._beyond.octets if self._beyond is not None else 0
            if used - aside > self.total:
                if used - octets > self.total:
                    return False
                self._beyond = reservation
        self._set(reservation, octets)
        return True

    def _set(self, reservation: Reservation, octets: int) -> None:
        self.used += octets - reservation.octets
        reservation.octets = octets
