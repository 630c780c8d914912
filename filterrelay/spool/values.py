"""The values that go in and out of a spool.

States: a message is `queued`, `held` or `quarantined`; each of its recipients
is `queued` until it is `delivered` or `bounced`. When the last recipient has
ended, the message and its body are gone and only its events stay, for the trace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient


@dataclass
class SpoolFull(FilterRelayError):
    """The spool refuses new messages until space is freed."""

    free: int  # octets left where the spool lies


@dataclass
class SpoolUnavailable(FilterRelayError):
    """The spool can't be read or written now."""

    reason: str


@dataclass
class SpoolBroken(SpoolUnavailable):
    """The spool can't be written to again by this process; a new one may be able to."""


@dataclass
class NoSuchMessage(FilterRelayError):
    """The spool holds no message of this ID."""

    id: str


@dataclass
class NotQueued(FilterRelayError):
    """The message waits for no such attempt: somebody has set it aside, or sent it elsewhere."""

    id: str


class State(StrEnum):
    """Where a message stands."""

    QUEUED = "queued"
    HELD = "held"
    QUARANTINED = "quarantined"


class RecipientState(StrEnum):
    """Where one recipient of a message stands."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a message, for the trace.

    kind: `received`, `attempt`, `delay-notice`, `bounce`, `relayed-report`,
    `delivered-report`, `double-bounce`, `nobody-told`, `held`, `released`, `retried`,
    `redirected`, `deleted`, `quarantined`. data: JSON values only.
    """

    message_id: str
    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a message and until when the others leave it alone."""

    owner: str
    until: datetime


@dataclass(frozen=True, slots=True)
class StoredRecipient:
    """One recipient with its delivery state.

    index: its place in the envelope. attempts: those begun. warned: whether the
    sender got the delay notice. last_reply: of the last attempt. upstream: the hop that it
    went to then, or waits for, as its text. redirect: the upstream that an operator has
    chosen in place of the routes' one; as `reject:words` it is returned to its sender.
    unreached: the last attempt failed because the hop couldn't be reached, which says
    nothing of the recipient.
    """

    index: int
    recipient: Recipient
    state: RecipientState = RecipientState.QUEUED
    attempts: int = 0
    next_attempt: datetime | None = None
    last_reply: str = ""
    upstream: str = ""
    warned: bool = False
    redirect: str = ""
    unreached: bool = False


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in the spool, without its body.

    received: when it was accepted. envelope: as it shall leave, all recipients
    in it, those that have ended too. session: what the trace and the reports
    say of the client, JSON values. size: octets of the body as stored.
    reason, by: why and by which plugin it was held or quarantined. passed: the
    plugins whose verdict an operator has overruled by releasing it. released: when
    an operator last did so, None for never.
    """

    id: str
    received: datetime
    envelope: Envelope
    session: Mapping[str, Any]
    size: int
    recipients: tuple[StoredRecipient, ...]
    state: State = State.QUEUED
    reason: str = ""
    by: str = ""
    lease: Lease | None = None
    passed: tuple[str, ...] = ()
    released: datetime | None = None

    @property
    def queued_at(self) -> datetime:
        """Since when it is to be delivered: from there on patience with the next hop counts."""
        return self.released or self.received

    @property
    def owner(self) -> str:
        """Who has it under lease, or empty."""
        return self.lease.owner if self.lease else ""

    def pending(self) -> tuple[StoredRecipient, ...]:
        """The recipients that have not ended."""
        return tuple(r for r in self.recipients if r.state is RecipientState.QUEUED)

    def hops(self) -> frozenset[str]:
        """Those that it waits for; an empty one for recipients that never waited for any."""
        return frozenset(stored.upstream for stored in self.pending())


def recipients_due(
    envelope: Envelope, at: datetime, redirect: str = ""
) -> tuple[StoredRecipient, ...]:
    """The envelope's recipients, none of them tried, to be tried then. redirect: of each."""
    return tuple(
        [
            StoredRecipient(i, recipient, next_attempt=at, redirect=redirect)
            for i, recipient in enumerate(envelope.recipients)
        ]
    )


@dataclass(frozen=True, slots=True)
class Deposit:
    """A message to be made durable: its row, its bytes and its first events.

    own: it is a report of the relay's, without which its subject couldn't end; so it is
    taken also when space is too short for new mail.
    """

    message: StoredMessage
    body: bytes = field(repr=False)
    events: tuple[Event, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """The result of an attempt for some recipients of one message.

    recipients: their new state; delivered and bounced ones have ended, queued
    ones carry next_attempt. release: whether the lease ends now (it does when
    no recipient is left to try at once). owner: whose lease that is; another's, who has
    taken over since, goes on. Empty for anybody's.
    """

    message_id: str
    recipients: tuple[StoredRecipient, ...]
    events: tuple[Event, ...] = ()
    release: bool = True
    owner: str = ""


def hop_of(redirect: str) -> str:
    """The text of the hop that mail redirected so waits for."""
    return redirect.partition(":")[0]


def address_of(text: str) -> Address:
    """The address that str() made this of; only the bare `postmaster` has no @."""
    local, at, domain = text.rpartition("@")
    return Address(local, domain) if at else Address(text, "")


@dataclass(frozen=True, slots=True)
class Depth:
    """How much lies in the spool: messages by state, and when the oldest came."""

    messages: Mapping[State, int]
    oldest: Mapping[State, datetime | None]


@dataclass(frozen=True, slots=True)
class Backlog:
    """The messages in one state that wait for one next hop.

    hop: its text, empty before the first attempt. oldest: when the first was received.
    words: of those that wait, the most frequent last reply among a sample, the first due;
    of those that are held, the most frequent reason; empty when not asked for.
    """

    hop: str
    state: State
    messages: int
    oldest: datetime
    words: str = ""
