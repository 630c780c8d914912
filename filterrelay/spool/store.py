"""The Spool protocol and the values that go in and out of it.

States: a message is `queued`, `held` or `quarantined`; each of its recipients
is `queued` until it is `delivered` or `bounced`. When the last recipient has
ended, the message and its body are gone and only its events stay, for the trace.

Leases: who delivers a message holds its lease (`owner`, `until`). A message is
due when one of its recipients' next_attempt has come and no lease holds it. A
fresh message is committed with the lease of the process that accepted it and
delivered from memory; its next_attempt is then the lease's end, so that after a
crash somebody else tries it soon. For every later attempt, begin_attempt
records the time of the next one before connecting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from filterrelay.errors import FilterRelayError
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient

if TYPE_CHECKING:
    from filterrelay.spool.selection import Place, Search, Selection


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
    """The message waits for no attempt any more: somebody has set it aside."""

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


def recipients_due(envelope: Envelope, at: datetime) -> tuple[StoredRecipient, ...]:
    """The envelope's recipients, none of them tried, to be tried then."""
    return tuple(
        [
            StoredRecipient(i, recipient, next_attempt=at)
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


class Spool(Protocol):
    """A durable store for accepted mail; every change is durable when the call returns.

    Raises SpoolFull from commit and probe, SpoolUnavailable from everything.
    """

    async def open(self) -> None:
        """Makes the store ready, migrating its schema when an older version left it."""
        ...

    async def close(self) -> None:
        """Writes what waits and closes."""
        ...

    async def commit(self, deposit: Deposit) -> None:
        """Makes the message durable; many waiting commits share one fsync.

        Each recipient of the envelope needs its StoredRecipient. Once begun it is
        carried out, also when the caller is cancelled.
        """
        ...

    async def lease(
        self,
        owner: str,
        now: datetime,
        until: datetime,
        limit: int,
        rooms: Mapping[str, int] | None = None,
    ) -> list[StoredMessage]:
        """Takes due messages for owner until then, limit in all, of each hop the earliest first.

        rooms: how many at most of those that wait for a hop, by its text; of those that
        wait for another one, or for none, `limit`. So a long queue for one next hop
        neither hides another's mail nor has to be read. Where not all can be taken, each
        hop has its turn, whatever waits for the others. A message waits for a hop when
        all its recipients do who have not ended.
        """
        ...

    async def lease_unreached(
        self,
        owner: str,
        now: datetime,
        until: datetime,
        rooms: Mapping[str, int],
        others: int = 0,
    ) -> list[StoredMessage]:
        """Takes messages before their time that wait for a hop which couldn't be reached.

        The first accepted of each hop first, so many as rooms says by the hop's text; of all
        other hops so many as others says. Nothing is written for those that stay, so that
        a queue of any length costs nothing when its hop comes back.
        """
        ...

    async def renew(self, owner: str, ids: Sequence[str], until: datetime) -> None:
        """Prolongs leases that owner still holds."""
        ...

    async def recover(self, now: datetime, alive: Sequence[str]) -> int:
        """Ends the leases of all owners but those alive; returns how many.

        What had never been attempted to the end becomes due at once; the rest
        keeps its recorded time. For the start, and for a worker that died.
        """
        ...

    async def body(self, message_id: str) -> bytes:
        """The message's bytes. Raises NoSuchMessage."""
        ...

    async def begin_attempt(
        self, message_id: str, indexes: Sequence[int], next_attempt: datetime
    ) -> None:
        """Counts an attempt for these recipients and records when the next would be.

        Raises NoSuchMessage or NotQueued when somebody has deleted it, or set it aside,
        since it was leased.
        """
        ...

    async def state(self, message_id: str) -> State:
        """Where the message stands, at the price of one look. Raises NoSuchMessage."""
        ...

    async def settle(self, settlement: Settlement) -> None:
        """Records an attempt's result; the message goes when no recipient is left.

        It may wait a moment for others to share an fsync with: don't hold a
        connection meanwhile. A recipient that has ended stays so, and the events
        are noted also when the message is gone.
        """
        ...

    async def select(self, selection: "Selection", now: datetime) -> list[StoredMessage]:
        """The messages meant, oldest first."""
        ...

    async def places(self, selection: "Selection", now: datetime) -> "list[Place]":
        """Where the messages meant stand, oldest first: select without the messages."""
        ...

    async def get(self, message_id: str) -> StoredMessage:
        """One message. Raises NoSuchMessage."""
        ...

    async def hold(self, ids: Sequence[str], reason: str, at: datetime) -> int:
        """Sets queued messages aside until released; returns how many.

        Like release, retry, redirect and delete it is noted in the trace.
        """
        ...

    async def release(self, ids: Sequence[str], at: datetime, *, passed: str = "") -> int:
        """Makes held or quarantined messages due now; returns how many.

        passed: the plugin that is overruled, noted with the message.
        """
        ...

    async def release_as(
        self, message_id: str, envelope: Envelope, body: bytes, at: datetime, *, passed: str = ""
    ) -> None:
        """Makes a quarantined message due now, to leave with this envelope and these bytes.

        All in one change: a crash leaves it as it was, or on its way. Raises
        NoSuchMessage when it isn't in quarantine any more. passed: as in release.
        """
        ...

    async def retry(self, ids: Sequence[str], at: datetime) -> int:
        """Makes queued messages due now; returns how many."""
        ...

    async def redirect(self, ids: Sequence[str], upstream: str, at: datetime) -> int:
        """Has queued and held messages go elsewhere; returns how many.

        upstream: as StoredRecipient.redirect has it; empty: where the routes say. The
        queued ones are due now. An attempt under way goes on; whom it leaves undelivered
        is due when it ends.
        """
        ...

    async def delete(self, ids: Sequence[str], at: datetime) -> int:
        """Removes messages without telling anybody; returns how many."""
        ...

    async def record(self, events: Sequence[Event]) -> None:
        """Adds events to the trace."""
        ...

    async def events(self, message_id: str) -> list[Event]:
        """The message's events, oldest first; of messages that are gone, too."""
        ...

    async def probe(self) -> None:
        """Writes something and takes it back: who returns could have stored mail.

        Raises SpoolFull as commit does.
        """
        ...

    async def search(self, search: "Search") -> list[Event]:
        """The `received` events of the messages meant, newest first; of those gone, too."""
        ...

    async def depth(self) -> Depth:
        """How much lies here, and how old it is."""
        ...

    async def backlogs(self, *, words: bool = False) -> list[Backlog]:
        """What is queued and held by next hop, the most messages first.

        A second for 1,000,000 messages. words: whether theirs are wanted, too.
        """
        ...

    async def expire(self, quarantined_before: datetime, events_before: datetime) -> int:
        """Drops old quarantined messages and old events of messages that are gone.

        Returns how many messages; gives the space back.
        """
        ...
