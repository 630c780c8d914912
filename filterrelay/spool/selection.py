"""Which messages an operator means: of those in the spool, and of those in the trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from filterrelay.mail.address import AddressPattern
from filterrelay.mail.hop import is_of
from filterrelay.spool.values import Event, State, StoredMessage, address_of


class Place(NamedTuple):
    """Where a message stands in a listing."""

    received: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages an operator means; empty fields don't restrict.

    ids: these messages. sender, recipient: address patterns (`*@office.example`).
    upstream: a hop's whole text, or only its upstream's name.
    recipient and upstream are asked of those that have not ended: who has the
    message already is no reason to hold or to delete the others' copy.
    older_than: received at least that long ago. limit: at most so many, oldest first.
    after: those behind that place, so that a long listing can go on where a page ended.
    """

    states: tuple[State, ...] = (State.QUEUED, State.HELD)
    ids: tuple[str, ...] = ()
    sender: str = ""
    recipient: str = ""
    upstream: str = ""
    older_than: timedelta | None = None
    limit: int | None = None
    after: Place | None = None

    def means(self, message: StoredMessage, now: datetime) -> bool:
        """Whether the message is one of those meant, the limit left aside."""
        sender = AddressPattern(self.sender or "*")
        recipient = AddressPattern(self.recipient or "*")
        envelope, pending = message.envelope, message.pending()
        return (
            message.state in self.states
            and (not self.ids or message.id in self.ids)
            and (not self.after or (message.received, message.id) > self.after)
            and (not self.older_than or message.received <= now - self.older_than)
            and (not self.upstream or any(is_of(r.upstream, self.upstream) for r in pending))
            and (not self.sender or bool(envelope.sender and sender.matches(envelope.sender)))
            and (not self.recipient or any(recipient.matches(r.recipient.address) for r in pending))
        )


@dataclass(frozen=True, slots=True)
class Search:
    """Which messages an operator looks for by how they came in; empty fields don't restrict.

    sender, recipient: address patterns. queue_id: what the mail server that asked us
    calls the message. since, until: when the message was received, both included.
    limit: at most so many, newest first.
    """

    sender: str = ""
    recipient: str = ""
    queue_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None

    def means(self, event: Event) -> bool:
        """Whether the event opens the trace of a message meant, the limit left aside."""
        if event.kind != "received":
            return False
        sender, recipients = event.data["sender"], event.data["recipients"]
        return (
            (self.since is None or event.at >= self.since)
            and (self.until is None or event.at <= self.until)
            and (not self.sender or _any_is([sender] if sender else [], self.sender))
            and (not self.recipient or _any_is(recipients, self.recipient))
            and (not self.queue_id or event.data["session"].get("queue_id") == self.queue_id)
        )


def _any_is(addresses: Sequence[str], pattern: str) -> bool:
    meant = AddressPattern(pattern)
    return any(meant.matches(address_of(text)) for text in addresses)
