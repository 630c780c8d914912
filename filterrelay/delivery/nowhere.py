"""The next hop of mail that needs none."""

from collections.abc import Sequence

from filterrelay.delivery.upstream import Outage, Sent
from filterrelay.mail.envelope import Envelope, Recipient


class Nowhere:
    """The next hop of mail that is answered without an attempt."""

    connections = recipients = 1

    def outage(self) -> Outage | None:
        """Never one."""
        return None

    def room(self) -> int | None:
        """Always."""
        return None

    async def admit(self, recipients: int) -> Outage | None:
        """At once."""
        return None

    def leave(self) -> None:
        """Nothing was taken."""

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """Never called: what is here has its answer."""
        raise AssertionError("there is no way to nowhere")

    async def probe(self) -> bool:
        """Always there."""
        return True

    def close(self) -> None:
        """Has nothing to close."""
