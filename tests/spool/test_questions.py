"""Listings over many messages; the selections themselves are in the contract suite."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from sqlite3 import Connection

import pytest

from filterrelay.spool import questions
from filterrelay.spool.changes import Insertion, make_all
from filterrelay.spool.database import STEPS
from filterrelay.spool.selection import Selection
from filterrelay.spool.statements import script
from filterrelay.spool.store import State

from .deposits import HOUR, MINUTE, NOON, deposit, stored


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
