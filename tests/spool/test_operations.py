"""The rarer changes; what they mean for a message is in the contract suite."""

import sqlite3
from collections.abc import Iterator
from sqlite3 import Connection

import pytest

from filterrelay.spool import operations
from filterrelay.spool.changes import Insertion, Recording, make_all
from filterrelay.spool.codec import event_rows, microseconds
from filterrelay.spool.database import STEPS
from filterrelay.spool.operations import EventExpiry, QuarantineExpiry, Shrinking
from filterrelay.spool.statements import script
from filterrelay.spool.store import Event

from .deposits import DAY, HOUR, MINUTE, NOON, deposit, quarantined, stored


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with the schema, able to shrink."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    memory.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for step in STEPS:
        memory.executescript(script(step))
    yield memory
    memory.close()


@pytest.fixture
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "EXPIRY_STEP", 3)


@pytest.mark.usefixtures("_small_steps")
def test_a_large_quarantine_expires_in_steps(connection: Connection) -> None:
    """No single transaction keeps new mail waiting while thousands are dropped."""
    group = [Insertion.of(quarantined(f"M{n}", received=NOON - DAY), None) for n in range(7)]
    make_all(connection, group)
    expiry = QuarantineExpiry(microseconds(NOON), microseconds(NOON))
    assert [expiry.make(connection) for _ in range(3)] == [3, 3, 1]


@pytest.mark.usefixtures("_small_steps")
def test_a_long_history_expires_in_steps(connection: Connection) -> None:
    """Events of messages still there are passed over, and young ones end the search."""
    make_all(connection, [Insertion.of(deposit(stored("THERE")), None)])
    events = [Event("GONE", NOON + n * MINUTE, "attempt", {}) for n in range(20)]
    make_all(connection, [Recording(event_rows(events))])
    before = microseconds(NOON + 10 * MINUTE)
    after, steps = 0, 0
    while after := EventExpiry(before, after).make(connection):
        steps += 1
    left = connection.execute("SELECT message_id, at FROM event ORDER BY seq").fetchall()
    assert left == [("THERE", microseconds(NOON))] + [
        ("GONE", microseconds(event.at)) for event in events[10:]
    ]
    assert steps == 4


def test_free_pages_are_given_back_in_steps(connection: Connection) -> None:
    """The file shrinks a little at a time, and keeps room for the next messages."""
    make_all(connection, [Insertion.of(deposit(stored(), bytes(4096 * 50)), None)])
    connection.execute("DELETE FROM message")
    shrinking = Shrinking(keep=10, step=30)
    assert [shrinking.make(connection) for _ in range(3)] == [True, False, False]
    assert connection.execute("PRAGMA freelist_count").fetchone() == (10,)


def test_rows_come_in_the_order_asked_for(connection: Connection) -> None:
    """Leased messages keep the order in which they are due."""
    make_all(connection, [Insertion.of(deposit(stored(id_)), None) for id_ in "ABC"])
    messages, recipients = operations.read_messages(connection, ["C", "NONE", "A"])
    assert [row[0] for row in messages] == ["C", "A"]
    assert sorted(row[0] for row in recipients) == ["A", "C"]


def test_a_lease_that_began_later_doesnt_shorten_an_earlier_one(connection: Connection) -> None:
    """Who takes a message that is due again takes it for the time that it says."""
    make_all(connection, [Insertion.of(deposit(stored()), None)])
    now, until = microseconds(NOON), microseconds(NOON + HOUR)
    taken = operations.Leasing("w1", now, until, 1, [""])
    assert len(taken.make(connection)[0]) == 1
    assert taken.make(connection) == ([], [], "")
    late = operations.Leasing("w2", until, until + 1, 1, [""])
    assert [row[9] for row in late.make(connection)[0]] == ["w2"]
