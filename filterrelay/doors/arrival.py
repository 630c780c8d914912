"""A message on its way in: its content, and the memory and the time that it may take."""

from filterrelay.doors import replies
from filterrelay.doors.policy import Reception
from filterrelay.mail.reply import NO_MEMORY, Reply
from filterrelay.observe.budget import Reservation
from filterrelay.wire.data import Content, Fault

FIRST_RESERVATION = 64 * 1024  # octets, unless the client announces less
WASTE = 1024 * 1024  # octets reserved in vain that are worth giving back
MEMORY_PATIENCE = 30.0  # seconds to wait for memory

FAULTS = {
    Fault.TOO_LARGE: replies.MESSAGE_TOO_LARGE,
    Fault.LINE_TOO_LONG: replies.MESSAGE_LINE_TOO_LONG,
    Fault.BARE_LINE_END: replies.BARE_LINE_END,
    Fault.NUL: replies.HAS_NUL,
    Fault.HEADER_TOO_LARGE: replies.HEADER_TOO_LARGE,
    Fault.TOO_MANY_FIELDS: replies.TOO_MANY_FIELDS,
    Fault.CONTINUATION_FIRST: replies.CONTINUATION_FIRST,
}


class Arrival:
    """One message as it comes in.

    announced: octets that SIZE spoke of (RFC 1870). They are only a promise, so
    memory is reserved for what has come, and SIZE bounds what is reserved ahead.
    until: when all of it must have come, by the loop's time. came: octets that
    did. told: what the client was told when the message was refused.
    """

    __slots__ = ("_announced", "came", "content", "refused", "reservation", "told", "until")

    def __init__(self, reception: Reception, announced: int | None) -> None:
        policy, limits = reception.policy, reception.policy.limits
        self._announced = announced or limits.message_size
        self.until = reception.loop.time() + limits.data_timeout.total_seconds()
        self.content = Content(policy.bounds)
        self.reservation: Reservation = reception.budget.reservation()
        self.refused: Reply | None = None
        self.told: Reply | None = None
        self.came = 0

    async def make_room(self, octets: int) -> None:
        """Reserves memory for that many octets and some more; without it the rest isn't kept."""
        if not self.has_room(octets):
            try:
                await self.reservation.grow(self._ahead(octets), MEMORY_PATIENCE)
            except TimeoutError:
                self.refuse(NO_MEMORY)

    def has_room(self, octets: int) -> bool:
        """Whether nobody need wait for that memory: it is there now, or isn't wanted any more."""
        if self.content.fault is not None:
            self.reservation.release()
            return True
        if octets <= self.reservation.octets or self.refused is not None:
            return True
        return self.reservation.try_grow(self._ahead(octets))

    def _ahead(self, octets: int) -> int:
        """What to reserve for that many octets, so that not every block asks for more."""
        ahead = min(max(2 * self.reservation.octets, FIRST_RESERVATION), self._announced)
        return max(octets, ahead)

    def refuse(self, reply: Reply) -> None:
        """Keeps nothing any more; the reply is for later."""
        self.refused = reply
        self.content.drop()
        self.reservation.release()

    def take(self) -> bytes:
        """The whole message, handed over once; memory reserved far ahead of it is given back."""
        if self.reservation.octets > self.content.octets + WASTE:
            self.reservation.shrink(self.content.octets)
        return self.content.take()

    @property
    def fault(self) -> Reply | None:
        """Why the message can't be taken, or None."""
        if self.refused is not None:
            return self.refused
        return FAULTS[self.content.fault] if self.content.fault is not None else None
