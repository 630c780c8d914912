"""The Spool protocol, and with it the values that go in and out: the face of the package.

Leases: who delivers a message holds its lease (`owner`, `until`). A message is
due when one of its recipients' next_attempt has come and no lease holds it. A
fresh message is committed with the lease of the process that accepted it and
delivered from memory; its next_attempt is then the lease's end, so that after a
crash somebody else tries it soon. For every later attempt, begin_attempt
records the time of the next one before connecting.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from filterrelay.mail.envelope import Envelope
from filterrelay.spool.selection import Place, Search, Selection
from filterrelay.spool.values import (
    Backlog,
    Deposit,
    Depth,
    Event,
    Lease,
    NoSuchMessage,
    NotQueued,
    RecipientState,
    Settlement,
    SpoolBroken,
    SpoolFull,
    SpoolUnavailable,
    State,
    StoredMessage,
    StoredRecipient,
    address_of,
    hop_of,
    recipients_due,
)

__all__ = [
    "Backlog",
    "Deposit",
    "Depth",
    "Event",
    "Lease",
    "NoSuchMessage",
    "NotQueued",
    "RecipientState",
    "Settlement",
    "Spool",
    "SpoolBroken",
    "SpoolFull",
    "SpoolUnavailable",
    "State",
    "StoredMessage",
    "StoredRecipient",
    "address_of",
    "hop_of",
    "recipients_due",
]


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

    async def bodies(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of those of the messages that are here, by ID, all in memory at once."""
        ...

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the messages that are here, or were and weren't deleted, as the trace has it."""
        ...

    async def begin_attempt(
        self, message_id: str, recipients: Sequence[StoredRecipient], next_attempt: datetime
    ) -> frozenset[int]:
        """Counts an attempt for these recipients and records when the next would be.

        recipients: as they were leased. Returns the indexes of those for whom it begins: not
        of who has ended or been redirected since then, who are left as they are. Raises
        NoSuchMessage or NotQueued when somebody has deleted it, or set it aside.
        """
        ...

    async def as_leased(
        self, message_id: str, recipients: Sequence[StoredRecipient]
    ) -> frozenset[int]:
        """For whom begin_attempt would begin one, at the price of one look. Raises as it does."""
        ...

    async def acts(self, after: int | None) -> tuple[Sequence[str], int]:
        """The messages held, redirected or deleted since that act, and the number of the last.

        A page at a time: when it is empty there are no more. after: None for the number only.
        """
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
        self,
        message_id: str,
        envelope: Envelope,
        body: bytes,
        at: datetime,
        *,
        passed: str = "",
        redirect: str = "",
    ) -> None:
        """Makes a quarantined message due now, to leave with this envelope and these bytes.

        All in one change: a crash leaves it as it was, or on its way. Raises
        NoSuchMessage when it isn't in quarantine any more. passed: as in release. redirect: the
        upstream that it goes to whatever the routes say.
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
