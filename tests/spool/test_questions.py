"""Listings over many messages; the selections themselves are in the contract suite."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

import pytest

from filterrelay.spool import database, questions
from filterrelay.spool.changes import Insertion, make_all
from filterrelay.spool.codec import microseconds
from filterrelay.spool.database import STEPS
from filterrelay.spool.selection import Selection
from filterrelay.spool.statements import SQL, script
from filterrelay.spool.store import State

from .deposits import HOUR, MINUTE, NOON, deposit, stored

T = TypeVar("T")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """Ten messages of five minutes in turns queued and held, listed three at a time."""
    monkeypatch.setattr(questions, "_PAGE", 3)
    memory = sqlite3.connect(":memory:", isolation_level=None)
    for step in STEPS:
        memory.executescript(script(step))
    for n in range(10):
        message = stored(f"M{n}", received=NOON + n // 2 * MINUTE)
        message = replace(message, state=State.HELD if n % 2 else State.QUEUED)
        make_all(memory, [Insertion.of(deposit(message), None)])
    yield memory
    memory.close()


def listed(selection: Selection, connection: Connection) -> str:
    """The numbers of the messages meant."""
    return "".join(m.id[1:] for m in questions.select(selection, NOON + HOUR, connection))


def test_pages_join_without_gap_or_double(connection: Connection) -> None:
    """Messages of one moment don't get lost between two pages of a long listing."""
    assert listed(Selection(), connection) == "0123456789"
    assert listed(Selection(states=(State.HELD,)), connection) == "13579"


def test_a_message_that_goes_meanwhile_is_whole_or_not_there(tmp_path: Path) -> None:
    """Never one without recipients, which would look as if nobody waited for it."""
    database.create(tmp_path / "spool.sqlite", STEPS)
    with (
        closing(database.connect(tmp_path / "spool.sqlite")) as writer,
        closing(database.connect(tmp_path / "spool.sqlite", read_only=True)) as reader,
    ):
        make_all(writer, [Insertion.of(deposit(stored()), None)])

        def deliver_before_the_recipients(sql: str) -> None:
            if "FROM recipient" in sql:
                writer.execute("DELETE FROM message")

        reader.set_trace_callback(deliver_before_the_recipients)
        assert len(questions.get("M1", reader).recipients) == 1
        assert questions.select(Selection(), NOON, reader) == []


def test_a_limit_counts_what_is_shown(connection: Connection) -> None:
    """Messages that the filter passes over don't count."""
    assert listed(Selection(limit=4, sender="*@office.example"), connection) == "0123"
    assert listed(Selection(limit=4, sender="*@other.example"), connection) == ""


def test_a_state_named_twice_is_listed_once(connection: Connection) -> None:
    """No message appears twice."""
    assert listed(Selection(states=(State.HELD, State.HELD)), connection) == "13579"


@pytest.mark.parametrize(
    ("pattern", "like"),
    [
        ("", ""),
        ("*", ""),
        ("a@x.example", "a@x.example"),
        ("*@x.example", "%@x.example"),
        ("*.x.example", "%.x.example"),
        ("x.example", "%@x.example"),
        ("*@bücher.example", ""),
    ],
)
def test_patterns_are_narrowed_by_the_database(pattern: str, like: str) -> None:
    """A listing of one sender among a million messages doesn't build a million values."""
    assert questions._like(pattern) == like


def counted(connection: Connection, question: Callable[[Connection], T]) -> tuple[T, int]:
    """The answer, and how many steps it takes the database."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    connection.set_progress_handler(count, 1)
    answer = question(connection)
    connection.set_progress_handler(None, 1)
    return answer, steps


def steps_of(connection: Connection, rooms: dict[str, int], after: str = "") -> tuple[str, int]:
    """The hops whose mail is due, and how many steps it takes the database to say so."""
    at = microseconds(NOON + HOUR)
    hops, steps = counted(connection, partial(questions.due_hops, at, after, 10, rooms))
    return " ".join(hops), steps


def test_a_full_lanes_queue_is_not_even_read(connection: Connection) -> None:
    """However many messages wait for a dead next hop, a look for work costs no more."""
    make_all(connection, [Insertion.of(deposit(stored(f"L{n}")), None) for n in range(2000)])
    connection.execute("UPDATE message SET hop = iif(id = 'M2', 'alive', 'dead')")
    hops, steps = steps_of(connection, {"dead": 0})
    assert hops == "alive"
    assert steps < 1000


def test_the_hops_that_are_down_are_found_without_reading_their_queues(
    connection: Connection,
) -> None:
    """One look each: the first thing that every worker asks, while it alone may write."""
    make_all(connection, [Insertion.of(deposit(stored(f"L{n}")), None) for n in range(2000)])
    connection.execute("UPDATE message SET unreached = iif(id = 'M2', 'b', 'a')")
    hops, steps = counted(connection, lambda c: c.execute(SQL["unreached_hops"]).fetchall())
    assert hops == [("a",), ("b",)]
    assert steps < 1000


def test_reasons_of_many_hops_are_found_in_one_pass(connection: Connection) -> None:
    """A summary of held mail takes as many steps more as there is more mail."""

    def steps_for(hops: int) -> int:
        connection.execute("DELETE FROM message")
        for n in range(hops):
            held = replace(stored(f"H{n}"), state=State.HELD, reason="ask Bob")
            make_all(connection, [Insertion.of(deposit(held), None)])
        connection.execute("UPDATE message SET hop = id")
        found, steps = counted(connection, partial(questions.backlogs, True))
        assert {each.words for each in found} == {"ask Bob"}
        return steps

    assert steps_for(400) < 6 * steps_for(100)


def test_hops_have_their_turn_from_the_last_one_on(connection: Connection) -> None:
    """Round and round; those whose mail isn't due yet are left out."""
    for n in range(0, 10, 2):
        connection.execute("UPDATE message SET hop = ? WHERE id = ?", (f"h{n}", f"M{n}"))
    connection.execute(
        "UPDATE message SET due = ? WHERE id = 'M4'", (microseconds(NOON + 2 * HOUR),)
    )
    assert steps_of(connection, {})[0] == "h0 h2 h6 h8"
    assert steps_of(connection, {}, after="h2")[0] == "h6 h8 h0 h2"
    assert steps_of(connection, {}, after="h9")[0] == "h0 h2 h6 h8"
