"""Parts that are given back to the spool without a result."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from filterrelay.delivery.lane import Flight, Part
from filterrelay.observe.clock import Clock
from filterrelay.spool.store import Settlement, Spool, StoredRecipient

_AT_ONCE = 256  # settlements in one go

_log: Any = structlog.get_logger("filterrelay.delivery")


class Returns:
    """What is to be given back, and is with the next `flush`.

    on_first: is told when there is something to flush.
    """

    def __init__(self, spool: Spool, on_first: Callable[[], None], clock: Clock) -> None:
        self._spool = spool
        self._on_first = on_first
        self._clock = clock
        self._waiting: deque[tuple[Settlement, Flight]] = deque()

    def untried(self, part: Part, due: datetime, last_reply: str = "") -> None:
        """Nobody has begun with it: it is for whoever looks first after that time.

        It counts as waiting for its next hop from now on. last_reply: why it waits.
        """
        self._add(part, [self._waits(each, part, due, last_reply) for each in part.recipients])

    def cut_off(self, part: Part, due: datetime) -> None:
        """Its attempt was ended without a result, and counts as one."""
        if part.counted:
            self.as_it_is(part)
            return
        waiting = [self._waits(each, part, due, "") for each in part.recipients]
        self._add(part, [replace(each, attempts=each.attempts + 1) for each in waiting])

    def as_it_is(self, part: Part) -> None:
        """What the spool says of it stays true; only the lease ends."""
        self._add(part, ())

    def message(self, flight: Flight) -> None:
        """A message of which nothing was taken yet."""
        self._put(Settlement(flight.message.id, (), owner=flight.message.owner), flight)

    def _waits(
        self, stored: StoredRecipient, part: Part, due: datetime, last_reply: str
    ) -> StoredRecipient:
        return replace(
            stored,
            next_attempt=due,
            upstream=str(part.hop),
            last_reply=last_reply or stored.last_reply,
        )

    def _add(self, part: Part, recipients: "list[StoredRecipient] | tuple[()]") -> None:
        release = part.flight.settles()
        message = part.flight.message
        settlement = Settlement(message.id, tuple(recipients), release=release, owner=message.owner)
        self._put(settlement, part.flight)

    def _put(self, settlement: Settlement, flight: Flight) -> None:
        self._waiting.append((settlement, flight))
        self._on_first()

    async def flush(self) -> None:
        """Writes down what waits. What can't be is tried again next time, while its lease lasts."""
        again: list[tuple[Settlement, Flight]] = []
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
            results = await asyncio.gather(
                *(self._spool.settle(settlement) for settlement, _ in batch),
                return_exceptions=True,
            )
            for (settlement, flight), result in zip(batch, results, strict=True):
                if not isinstance(result, Exception):
                    continue
                _log.warning(
                    "lease_not_returned", message_id=settlement.message_id, reason=str(result)
                )
                if self._clock.now() < flight.until:
                    again.append((settlement, flight))
        self._waiting += again
