"""A message as a mail server tells it: field by field, then the body in pieces."""

from filterrelay.doors.arrival import Arrival
from filterrelay.doors.policy import Reception
from filterrelay.mail.reply import Reply
from filterrelay.observe.budget import Reservation
from filterrelay.wire.data import ChunkDecoder

HEADER_BLOCK = 64 * 1024  # octets of fields that are put together before they are looked at


class MilterContent:
    """One message's content, under the same limits as everywhere.

    Each addition says whether there is room for it; if not, make_room must be awaited.
    """

    __slots__ = ("_arrival", "_chunks", "_fields", "_in_header", "_octets")

    def __init__(self, reception: Reception, announced: int | None) -> None:
        self._arrival = Arrival(reception, announced)
        self._chunks = ChunkDecoder(self._arrival.content)
        self._fields: list[bytes] = []
        self._octets = 0  # of these fields
        self._in_header = True

    def add_field(self, field: bytes) -> bool:
        """One field of the header section, final CRLF included."""
        self._fields.append(field)
        self._octets += len(field)
        return self._octets < HEADER_BLOCK or self._add(b"")

    def add_body(self, octets: bytes) -> bool:
        """A piece of the body, cut anywhere; the empty line before the first is put there."""
        if self._in_header:
            self._in_header = False
            self._fields.append(b"\r\n")
        return self._add(octets)

    def _add(self, octets: bytes) -> bool:
        arrival = self._arrival
        arrival.came += self._octets + len(octets)
        self._chunks.feed(b"".join([*self._fields, octets]))
        self._fields.clear()
        self._octets = 0
        return arrival.has_room(arrival.content.octets)

    async def make_room(self) -> None:
        """Waits for memory; without it nothing is kept."""
        await self._arrival.make_room(self._arrival.content.octets)

    async def complete(self, rest: bytes) -> None:
        """Takes the last piece, which most often is empty."""
        if (rest or self._in_header) and not self.add_body(rest):
            await self.make_room()
        self._chunks.finish()

    @property
    def fault(self) -> Reply | None:
        """Why the message can't be taken, or None."""
        return self._arrival.fault

    @property
    def came(self) -> int:
        """Octets that have come."""
        return self._arrival.came

    def take(self) -> bytes:
        """The whole message, handed over once."""
        return self._arrival.take()

    @property
    def reservation(self) -> Reservation:
        """The memory that it takes."""
        return self._arrival.reservation

    def release(self) -> None:
        """Gives the memory back."""
        self._arrival.reservation.release()
