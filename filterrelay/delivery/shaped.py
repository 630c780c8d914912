"""The limits of a destination in front of an upstream that it shares with other mail."""

import asyncio
from collections.abc import Sequence

from filterrelay.delivery.rate import Rates, transactions
from filterrelay.delivery.upstream import Outage, Sent, UpstreamLike, in_turn
from filterrelay.delivery.window import Window
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.settings import Destination


class Shaped:
    """An upstream as one destination may use it: fewer at once, and at its own rates.

    Who waits for a limit of the destination holds nothing of the upstream's. upstream:
    stays open when this is closed.
    """

    def __init__(self, destination: Destination, upstream: UpstreamLike, rates: Rates) -> None:
        self.connections = least(upstream.connections, destination.connections)
        self.recipients = least(upstream.recipients, destination.recipients)
        self._upstream = upstream
        self._rates = rates
        self._window = Window(self.connections, first=self.connections)

    def outage(self) -> Outage | None:
        """The upstream's."""
        return self._upstream.outage()

    def room(self) -> int | None:
        """How many messages it may take within the next seconds; None when any number."""
        rooms = (self._upstream.room(), self._rates.room(asyncio.get_running_loop().time()))
        return min((room for room in rooms if room is not None), default=None)

    async def admit(self, recipients: int) -> Outage | None:
        """Waits for the destination's limits, then for the upstream's."""
        if (outage := self.outage()) is not None:
            return outage
        await self._window.enter()
        admitted = False
        try:
            outage = self.outage() or await in_turn(self._rates, self.recipients, recipients)
            outage = outage or await self._beyond(recipients)
            admitted = outage is None
        finally:
            if not admitted:
                self._window.leave()
        return outage

    async def _beyond(self, recipients: int) -> Outage | None:
        """Waits for the upstream's limits; the destination's rate is for what they let go."""
        admitted = False
        try:
            outage = await self._upstream.admit(recipients)
            admitted = outage is None
        finally:
            if not admitted:
                self._rates.give_back(transactions(recipients, self.recipients), recipients)
        return outage

    def leave(self) -> None:
        """Gives both places back."""
        self._upstream.leave()
        self._window.leave()

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """One transaction of the upstream's."""
        return await self._upstream.send(envelope, recipients, body)

    async def probe(self) -> bool:
        """As the upstream's."""
        return await self._upstream.probe()

    def close(self) -> None:
        """Leaves the upstream to its other mail."""


def least(limit: int, other: int | None) -> int:
    """The smaller one of both, where there are two."""
    return limit if other is None else min(limit, other)
