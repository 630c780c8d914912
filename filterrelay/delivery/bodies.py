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
        flight.share, flight.lane = lane.memory.reservation(), lane
        self._held[flight.message.id] = flight
        if self._memory.short or not flight.share.try_grow(flight.reservation.octets):
            self.drop(flight)

    async def of(self, part: Part) -> bytes | None:
        """The part's body, read from the spool if need be; None for want of memory.

        It stays in hand until `let_go`. Who waits for its lane's memory holds up no other
        part of the message. Raises NoSuchMessage, SpoolUnavailable.
        """
        flight = part.flight
        try:
            await self._take_in_hand(part)
            flight.reading = flight.reading or asyncio.Lock()
            async with flight.reading:
                if flight.body is None:
                    self._held[flight.message.id] = flight
                    await flight.reservation.grow(flight.message.size, self._wait)
                    flight.body = await self._spool.body(flight.message.id)
        except TimeoutError:
            return None
        return flight.body

    async def _take_in_hand(self, part: Part) -> None:
        """Has the part's lane answer for the body. Raises TimeoutError."""
        flight = part.flight
        if flight.share is not None and flight.lane is part.lane:
            share, flight.share = flight.share, None
        else:
            share = part.lane.memory.reservation()
        try:
            await share.grow(flight.message.size, self._wait)
        except BaseException:
            share.release()
            raise
        part.share = share
        flight.in_hand += 1

    def let_go(self, part: Part) -> None:
        """The part is done with the body; another one may still need it."""
        if part.share is not None:
            part.share.release()
            part.share = None
            part.flight.in_hand -= 1

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
            flight.share = None

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
