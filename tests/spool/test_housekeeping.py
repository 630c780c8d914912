"""Cleaning up in short turns, and giving back what a flood left."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Self

import pytest

from filterrelay.spool import housekeeping
from filterrelay.spool.changes import Change, Insertion, Recording, make_all
from filterrelay.spool.codec import event_rows, microseconds
from filterrelay.spool.database import STEPS, TurnLock, connect, create
from filterrelay.spool.housekeeping import (
    TURN,
    EventExpiry,
    QuarantineExpiry,
    Shrinking,
    Spell,
    Task,
    compact,
    work_off,
)
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.statements import script
from filterrelay.spool.store import Event

from .deposits import DAY, MINUTE, NOON, StandingClock, delivered, deposit, quarantined, stored


class StepClock(StandingClock):
    """A quarter of a turn goes by with each look."""

    def monotonic(self) -> float:
        """Seconds for durations."""
        self.seconds += TURN / 4
        return self.seconds


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with the schema, able to shrink."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    memory.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for step in STEPS:
        memory.executescript(script(step))
    yield memory
    memory.close()


def spells(task: Task, connection: Connection) -> list[Task]:
    """How far it is after each turn, on a machine that manages four steps in one."""
    made, clock = [task], StepClock()
    while not made[-1].done:
        made.append(Spell(made[-1], clock).make(connection))
    return made[1:]


def test_a_large_quarantine_expires_in_turns(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No single transaction keeps new mail waiting while thousands are dropped."""
    monkeypatch.setattr(housekeeping, "_MESSAGES", 3)
    group = [Insertion.of(quarantined(f"M{n}", received=NOON - DAY), None) for n in range(17)]
    make_all(connection, group)
    expiry = QuarantineExpiry(microseconds(NOON), microseconds(NOON))
    assert spells(expiry, connection) == [
        replace(expiry, dropped=12),
        replace(expiry, dropped=17, done=True),
    ]


def test_a_long_history_expires_in_turns(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of messages still there are passed over, and young ones end the search."""
    monkeypatch.setattr(housekeeping, "_EVENTS", 2)
    make_all(connection, [Insertion.of(deposit(stored("THERE")), None)])
    events = [Event("GONE", NOON + n * MINUTE, "attempt", {}) for n in range(20)]
    make_all(connection, [Recording(event_rows(events))])
    before = microseconds(NOON + 10 * MINUTE)
    assert len(spells(EventExpiry(before), connection)) == 2
    left = connection.execute("SELECT message_id, at FROM event ORDER BY seq").fetchall()
    assert left == [("THERE", microseconds(NOON))] + [
        ("GONE", microseconds(event.at)) for event in events[10:]
    ]


def test_free_pages_are_given_back_in_turns(connection: Connection) -> None:
    """The file shrinks a little at a time, and keeps room for the next messages."""
    make_all(connection, [Insertion.of(deposit(stored(), bytes(4096 * 50)), None)])
    connection.execute("DELETE FROM message")
    assert len(spells(Shrinking(keep=10), connection)) > 5
    assert connection.execute("PRAGMA freelist_count").fetchone() == (10,)


def test_a_file_that_cannot_shrink_keeps_nobody_busy(connection: Connection) -> None:
    """An administrator may have written it anew without that ability."""
    connection.execute("PRAGMA auto_vacuum = NONE")
    connection.execute("VACUUM")
    make_all(connection, [Insertion.of(deposit(stored(), bytes(4096 * 50)), None)])
    connection.execute("DELETE FROM message")
    (step,) = spells(Shrinking(keep=10), connection)
    assert step.done


@dataclass(frozen=True)
class Counted:
    """A task of so many steps."""

    left: int

    @property
    def done(self) -> bool:
        """Whether none is left."""
        return not self.left

    def step(self, connection: Connection) -> Self:
        """One of them."""
        return replace(self, left=self.left - 1)


class Machine:
    """A writer that waits for its turn for so long, then does one step in it; and a log."""

    def __init__(self, waits: float) -> None:
        self.clock = StandingClock()
        self.copies = 0
        self._waits = waits

    def submit(self, change: Change) -> "asyncio.Future[Task]":
        """The task after a step."""
        assert isinstance(change, Spell)
        self.clock.seconds += self._waits + TURN
        made = asyncio.get_running_loop().create_future()
        made.set_result(change.task.step(sqlite3.Connection(":memory:")))
        return made

    async def shorten(self) -> None:
        """Counts."""
        self.copies += 1


@pytest.mark.parametrize(("waits", "pause"), [(0.0, 0.005), (0.3, 0.3)])
async def test_who_writes_is_left_as_much_time_as_he_took(
    monkeypatch: pytest.MonkeyPatch, waits: float, pause: float
) -> None:
    """On a busy machine the housekeeping makes way; on a quiet one it goes on."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("filterrelay.spool.housekeeping.asyncio.sleep", sleep)
    machine = Machine(waits)
    assert (await work_off(Counted(2), machine.submit, machine.shorten, machine.clock)).done
    assert pauses == pytest.approx([pause] * 2)


async def test_a_long_clean_up_waits_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving back gigabytes doesn't take gigabytes for the log first."""
    monkeypatch.setattr(housekeeping, "_SPELLS", 3)
    machine = Machine(0.0)
    await work_off(Counted(10), machine.submit, machine.shorten, machine.clock)
    assert machine.copies == 3


@pytest.fixture
def flooded(tmp_path: Path) -> Path:
    """A file of 40 MB in which next to nothing is left."""
    path = tmp_path / "spool.sqlite"
    create(path, STEPS)
    with closing(connect(path)) as connection:
        make_all(connection, [Insertion.of(deposit(stored("STAYS")), None)])
        for n in range(40):
            make_all(connection, [Insertion.of(deposit(stored(f"M{n}"), bytes(1_000_000)), None)])
        connection.execute("DELETE FROM message WHERE id <> 'STAYS'")
    return path


def _octets(path: Path) -> int:
    return path.stat().st_size


def test_a_nearly_empty_file_is_written_anew(flooded: Path) -> None:
    """What is left stays, the file can still shrink by steps, and the rest goes back at once."""
    assert _octets(flooded) > 40_000_000
    compact(flooded)
    assert _octets(flooded) < 200_000
    with closing(connect(flooded)) as connection:
        assert connection.execute("SELECT id FROM message").fetchall() == [("STAYS",)]
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)


@pytest.mark.parametrize("limit", ["_FEW", "KEEP_FREE"])
def test_a_file_in_use_is_not_written_anew(
    flooded: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Much to copy would keep mail waiting; little to gain isn't worth it."""
    monkeypatch.setattr(housekeeping, limit, 1 if limit == "_FEW" else 20_000)
    compact(flooded)
    assert _octets(flooded) > 40_000_000


async def test_the_spool_goes_on_in_a_file_written_anew(
    tmp_path: Path, clock: StandingClock, flooded: Path
) -> None:
    """Also in processes that have it open: what they had, what comes, and files to forget."""
    spool = SqliteSpool(flooded, clock, large=1024)
    await spool.open()
    await spool.commit(deposit(stored("LARGE"), bytes(2000)))
    with closing(connect(flooded, read_only=True)) as other:
        other.execute("SELECT count(*) FROM message").fetchone()
        await spool.expire(NOON, NOON)
        assert other.execute("SELECT id FROM message ORDER BY id").fetchall() == [
            ("LARGE",),
            ("STAYS",),
        ]
    assert _octets(flooded) < 200_000
    await spool.commit(deposit(stored("NEXT")))
    await spool.settle(delivered(stored("LARGE")))
    await spool.close()
    assert not [*(tmp_path / "spool.bodies").glob("*/*")]


def test_the_file_is_written_anew_in_a_turn_of_its_own(
    flooded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes it waits."""
    turns: list[str] = []
    monkeypatch.setattr(TurnLock, "__enter__", lambda self: turns.append("taken"))
    compact(flooded)
    assert turns == ["taken"]
