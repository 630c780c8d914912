"""Deposits and settlements in one transaction, many at a time."""

import sqlite3
from collections.abc import Iterator
from sqlite3 import Connection

import pytest

from filterrelay.errors import FilterRelayError
from filterrelay.spool.changes import Change, Insertion, Recording, Settling, make_all
from filterrelay.spool.codec import event_rows
from filterrelay.spool.database import STEPS
from filterrelay.spool.operations import Beginning
from filterrelay.spool.statements import script
from filterrelay.spool.store import Event, NoSuchMessage

from .deposits import HOUR, NOON, deferred, delivered, deposit, stored


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with the schema."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    for step in STEPS:
        memory.executescript(script(step))
    yield memory
    memory.close()


def bodies(connection: Connection) -> dict[str, bytes]:
    """Each message's body."""
    rows = connection.execute("SELECT id, body FROM message JOIN content ON seq = content")
    return dict(rows.fetchall())


def messages(count: int) -> list[Insertion]:
    """New messages with bodies of their own."""
    return [Insertion.of(deposit(stored(f"M{n}"), b"%d" % n), None) for n in range(count)]


@pytest.mark.parametrize("count", [1, 7, 70])
def test_each_message_gets_its_own_body(connection: Connection, count: int) -> None:
    """However many are committed together, none is delivered with another's text."""
    make_all(connection, messages(count))
    assert bodies(connection) == {f"M{n}": b"%d" % n for n in range(count)}


def test_bodies_keep_apart_after_deletions(connection: Connection) -> None:
    """Places that became free are used again without mixing anything up."""
    make_all(connection, messages(10))
    make_all(connection, [Settling.of(delivered(stored(f"M{n}"))) for n in range(5, 10)])
    more = [Insertion.of(deposit(stored(f"N{n}"), b"n%d" % n), None) for n in range(9)]
    make_all(connection, more)
    assert bodies(connection) == {
        **{f"M{n}": b"%d" % n for n in range(5)},
        **{f"N{n}": b"n%d" % n for n in range(9)},
    }


def test_finished_messages_leave_nothing_but_events(connection: Connection) -> None:
    """Message, body and recipients go together."""
    make_all(connection, messages(3))
    make_all(connection, [Settling.of(delivered(stored(f"M{n}"))) for n in range(3)])
    for table, rows in (("message", 0), ("content", 0), ("recipient", 0), ("event", 6)):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,), table


def test_finished_and_unfinished_settle_together(connection: Connection) -> None:
    """In one group some go, some wait, and one has another recipient left."""
    both = stored("BOTH", to=("a@x.example", "b@x.example"))
    group = [*messages(2), Insertion.of(deposit(both), None)]
    make_all(connection, group)
    settlements = (
        delivered(stored("M0")),
        deferred(stored("M1"), NOON + HOUR),
        delivered(both, 0),
    )
    make_all(connection, [Settling.of(settlement) for settlement in settlements])
    assert sorted(bodies(connection)) == ["BOTH", "M1"]


def test_a_message_may_come_and_go_in_one_group(connection: Connection) -> None:
    """New messages are made before anything that speaks of them."""
    group: list[Change] = [Settling.of(delivered(stored("M0"))), *messages(1)]
    make_all(connection, group)
    assert bodies(connection) == {}


def test_what_is_refused_is_a_result_and_no_failure(connection: Connection) -> None:
    """An attempt at a deleted message tells its caller and leaves the group alone."""
    recording = Recording(event_rows([Event("M1", NOON, "bounce", {})]))
    results = make_all(connection, [Beginning("NONE", stored().recipients, 0), recording])
    assert isinstance(results[0], NoSuchMessage)
    assert isinstance(results[0], FilterRelayError)
    assert connection.execute("SELECT kind FROM event").fetchall() == [("bounce",)]


def test_a_body_never_shows_in_a_repr() -> None:
    """What is logged of a change holds no mail."""
    assert "secret" not in repr(Insertion.of(deposit(stored(), b"secret"), None))
