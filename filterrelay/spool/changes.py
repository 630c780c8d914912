"""What the writer does inside one transaction: the changes as values, and how they are made.

Deposits and finished messages, of which there are many, are made together
with one step a table; all others one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any, Protocol

from filterrelay.errors import FilterRelayError
from filterrelay.spool import codec, statements
from filterrelay.spool.statements import SQL, Row
from filterrelay.spool.store import Deposit, RecipientState, Settlement


class Change(Protocol):
    """Something to be done to the database."""

    def make(self, connection: Connection) -> Any:
        """Does it inside the open transaction. A FilterRelayError must have changed nothing."""
        ...


@dataclass(slots=True, eq=False)
class Insertion:
    """A new message. file: where its body lies when it isn't in the database."""

    message: Row
    content: Row = field(repr=False)
    recipients: list[Row] = field(repr=False)
    events: list[Row] = field(repr=False)

    @classmethod
    def of(cls, deposit: Deposit, file: str | None) -> "Insertion":
        """The rows of the deposit.

        The envelope's recipients are kept with their standing only, so each needs
        its stored one: anything else is a mistake of the caller, and a ValueError.
        """
        message = deposit.message
        if len(message.recipients) != len(message.envelope.recipients):
            raise ValueError("each recipient of the envelope needs its delivery state")
        return cls(
            codec.message_row(message, file),
            (
                codec.envelope_text(message.envelope),
                codec.json_object(message.session),
                deposit.body if file is None else None,
            ),
            codec.recipient_rows(message.id, message.recipients),
            codec.event_rows(deposit.events),
        )

    def make(self, connection: Connection) -> None:
        """Inserts it alone."""
        insert(connection, [self])


def insert(connection: Connection, insertions: Sequence[Insertion]) -> None:
    """Inserts messages, contents and recipients; the events are the batch's business."""
    messages: list[Row] = []
    contents = [insertion.content for insertion in insertions]
    for count, _, last in statements.INSERT_CONTENT.run(connection, contents):
        # One statement's rows follow each other: the writer's lock keeps all others out.
        first = last - count + 1
        done = len(messages)
        messages += [
            (*insertion.message, first + i)
            for i, insertion in enumerate(insertions[done : done + count])
        ]
    statements.INSERT_MESSAGE.all(connection, messages)
    statements.INSERT_RECIPIENT.all(
        connection, [row for insertion in insertions for row in insertion.recipients]
    )


@dataclass(slots=True, eq=False)
class Settling:
    """An attempt's result.

    ended_below: all recipients below this index have ended with it, and it
    says nothing of others; 0 when that isn't so.
    """

    message_id: str
    recipients: list[Row]
    ended_below: int
    release: bool
    owner: str
    events: list[Row]

    @classmethod
    def of(cls, settlement: Settlement) -> "Settling":
        """The rows of the settlement."""
        recipients = settlement.recipients
        whole = all(
            stored.index == place and stored.state is not RecipientState.QUEUED
            for place, stored in enumerate(recipients)
        )
        return cls(
            settlement.message_id,
            [codec.settled_row(settlement.message_id, stored) for stored in recipients],
            len(recipients) if whole else 0,
            settlement.release,
            settlement.owner,
            codec.event_rows(settlement.events),
        )

    def make(self, connection: Connection) -> None:
        """Settles it alone."""
        connection.executemany(SQL["settle_recipient"], self.recipients)
        if not connection.execute(SQL["delete_if_ended"], {"id": self.message_id}).rowcount:
            connection.execute(
                SQL["settle_message"],
                {"id": self.message_id, "release": self.release, "owner": self.owner},
            )


def settle(connection: Connection, settlings: Sequence[Settling]) -> None:
    """Settles them: in one step those messages that are finished, as most are at once."""
    finishing = [s for s in settlings if s.ended_below]
    slow = [s for s in settlings if not s.ended_below]
    deleted = statements.DELETE_ENDED.all(
        connection, [(s.message_id, s.ended_below) for s in finishing]
    )
    if deleted < len(finishing):
        ids = codec.json_list(s.message_id for s in finishing)
        living = {id_ for (id_,) in connection.execute(SQL["living"], (ids,))}
        slow += [s for s in finishing if s.message_id in living]
    for settling in slow:
        settling.make(connection)


@dataclass(slots=True, eq=False)
class Recording:
    """Events and nothing else."""

    events: list[Row]

    def make(self, connection: Connection) -> None:
        """Does nothing: events are the batch's business."""


def make_all(connection: Connection, changes: Sequence[Change]) -> list[Any]:
    """Makes the changes in the open transaction; returns each one's result or its error."""
    insertions = [c for c in changes if isinstance(c, Insertion)]
    settlings = [c for c in changes if isinstance(c, Settling)]
    if insertions:
        insert(connection, insertions)
    results = [
        None if isinstance(c, Insertion | Settling) else _made(connection, c) for c in changes
    ]
    if settlings:
        settle(connection, settlings)
    events = [
        row for c in changes if isinstance(c, Insertion | Settling | Recording) for row in c.events
    ]
    if events:
        statements.INSERT_EVENT.all(connection, events)
    return results


def _made(connection: Connection, change: Change) -> Any:
    try:
        return change.make(connection)
    except FilterRelayError as error:
        return error
