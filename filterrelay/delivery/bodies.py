"""The messages' bytes that delivery holds in memory, for as long as there is room."""

import asyncio

from filterrelay.delivery.lane import Flight, Lane, Part
from filterrelay.observe.budget import MemoryBudget
from filterrelay.spool.store import Spool


class Bodies:
    """The bodies of the messages in flight. What no sender works on is given up when need be.

    All of them are in the spool, so nothing is lost with one: it is read again at its
    turn. wait: seconds for memory to read one into.
    """

    def __init__(self, spool: Spool, memory: MemoryBudget, wait: float) -> None:
        self._spool = spool
        self._memory = memory
        self._wait = wait
        self._held: dict[str, Flight] = {}  # the one that came last at the end
        memory.relief = self.relieve

    def keep(self, flight: Flight, lane: Lane) -> None:
        """Takes a body that has come with its message, as far as there is room for it."""
        flight.share = lane.memory.reservation()
        self._held[flight.message.id] = flight
        if self._memory.short or not flight.share.try_grow(flight.reservation.octets):
            self.drop(flight)

    async def of(self, part: Part) -> bytes | None:
        """The part's body, read from the spool if need be; None for want of memory.

        Raises NoSuchMessage, SpoolUnavailable.
        """
        flight = part.flight
        if flight.body is not None:
            return flight.body
        flight.reading = flight.reading or asyncio.Lock()
        async with flight.reading:
            if flight.body is None:
                flight.share = part.lane.memory.reservation()
                self._held[flight.message.id] = flight
                try:
                    await flight.share.grow(flight.message.size, self._wait)
                    await flight.reservation.grow(flight.message.size, self._wait)
                except TimeoutError:
                    self.drop(flight)
                    return None
                flight.body = await self._spool.body(flight.message.id)
        return flight.body

    async def more_of(self, flight: Flight, octets: int) -> bool:
        """Counts so many octets more for what a sender makes of a body; whether there was room."""
        try:
            await flight.reservation.grow(flight.reservation.octets + octets, self._wait)
        except TimeoutError:
            return False
        return True

    def drop(self, flight: Flight) -> None:
        """Lets go of a body and gives its memory back."""
        self._held.pop(flight.message.id, None)
        flight.body = None
        flight.reservation.release()
        if flight.share is not None:
            flight.share.release()

    def relieve(self, octets: int) -> None:
        """Gives up so many octets of what waits its turn, the last first, or all there is."""
        given: list[Flight] = []
        for flight in reversed(self._held.values()):
            if octets <= 0:
                break
            if not flight.in_hand:
                given.append(flight)
                octets -= flight.reservation.octets
        for flight in given:
            self.drop(flight)
