"""The rarer changes; what they mean for a message is in the contract suite."""

import sqlite3
from collections.abc import Iterator
from sqlite3 import Connection

import pytest

from filterrelay.spool import operations
from filterrelay.spool.changes import Insertion, make_all
from filterrelay.spool.codec import microseconds
from filterrelay.spool.database import STEPS
from filterrelay.spool.statements import script

from .deposits import HOUR, NOON, deposit, stored


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with the schema."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    for step in STEPS:
        memory.executescript(script(step))
    yield memory
    memory.close()


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


def test_a_lease_given_after_the_look_for_orphans_stays(connection: Connection) -> None:
    """What a living owner took meanwhile is his."""
    make_all(connection, [Insertion.of(deposit(stored(id_)), None) for id_ in "AB"])
    now, until = microseconds(NOON), microseconds(NOON + HOUR)
    for owner in ("dead", "alive"):
        operations.Leasing(owner, now, until, 1, [""]).make(connection)
    assert operations.Recovery(now, ["A", "B"], '["alive"]').make(connection) == 1
    owners = connection.execute("SELECT owner FROM message ORDER BY owner").fetchall()
    assert owners == [(None,), ("alive",)]
