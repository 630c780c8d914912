"""Cleaning up: what is old is dropped and the disk gets its space back, beside mail that flows."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Protocol, Self, TypeVar

from filterrelay.observe.clock import Clock
from filterrelay.spool.changes import Change
from filterrelay.spool.codec import json_list
from filterrelay.spool.database import TurnLock, connect
from filterrelay.spool.operations import drop_expired
from filterrelay.spool.statements import SQL

TURN = 0.02  # seconds of steps in one transaction, for which a commit may have to wait
KEEP_FREE = 2048  # pages that stay with the file for the next messages: 16 MiB

_BREATH = 0.005  # seconds between two transactions, at least, in which others write
_SPELLS = 50  # until the log is copied: some ten MiB
_MESSAGES = 20  # a step; each may have as many pages as the largest body in the database
_EVENTS = 500  # a step: about a millisecond
_FEW = 1024  # pages, 8 MiB, that are written anew in some ten milliseconds


class Task(Protocol):
    """A long clean-up as far as it is done."""

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        ...

    def step(self, connection: Connection) -> Self:
        """Does a little more inside the open transaction; returns how far it is then."""
        ...


T = TypeVar("T", bound=Task)


@dataclass(frozen=True, slots=True)
class Spell:
    """As many steps as fit into a turn: a slow disk has it do fewer, and commits wait no longer."""

    task: Task
    clock: Clock

    def make(self, connection: Connection) -> Task:
        """Returns how far it is then."""
        task, ends = self.task, self.clock.monotonic() + TURN
        while not task.done:
            task = task.step(connection)
            if self.clock.monotonic() >= ends:
                break
        return task


async def work_off(
    task: T,
    submit: Callable[[Change], "asyncio.Future[Any]"],
    shorten: Callable[[], Awaitable[object]],
    clock: Clock,
) -> T:
    """Does all of it; between two spells others write, for as long as they kept the last waiting.

    submit: has a change made, as the writer does. shorten: copies the log, which would else
    grow faster than it can be copied.
    """
    spells = 0
    while not task.done:
        asked = clock.monotonic()
        task = await submit(Spell(task, clock))
        await asyncio.sleep(max(_BREATH, clock.monotonic() - asked - TURN))
        spells += 1
        if spells % _SPELLS == 0:
            await shorten()
    return task


@dataclass(frozen=True, slots=True)
class QuarantineExpiry:
    """Drops the quarantined messages received before a moment; so many up to now."""

    before: int
    at: int
    dropped: int = 0
    done: bool = False

    def step(self, connection: Connection) -> Self:
        """Drops some."""
        overdue = connection.execute(SQL["overdue_quarantined"], (self.before, _MESSAGES))
        ids = [id_ for (id_,) in overdue]
        drop_expired(connection, ids, self.at)
        return replace(self, dropped=self.dropped + len(ids), done=len(ids) < _MESSAGES)


@dataclass(frozen=True, slots=True)
class EventExpiry:
    """Drops old events of messages that are gone; after: the last one looked at, 0 at the start."""

    before: int
    after: int = 0
    done: bool = False

    def step(self, connection: Connection) -> Self:
        """Looks at the next stretch; younger ones end the search."""
        stretch = connection.execute(SQL["oldest_events"], (self.after, _EVENTS)).fetchall()
        old = [(seq, gone) for seq, at, gone in stretch if at < self.before]
        connection.execute(SQL["delete_events"], (json_list(seq for seq, gone in old if gone),))
        if not old or len(stretch) < _EVENTS:
            return replace(self, done=True)
        return replace(self, after=stretch[-1][0])


@dataclass(frozen=True, slots=True)
class Shrinking:
    """Gives free pages back to the disk, but keeps some for the next messages.

    A page costs the more the longer the list of free ones is, which SQLite searches each
    time: up to 2 microseconds for each 16 MiB of them.
    """

    keep: int
    done: bool = False

    def step(self, connection: Connection) -> Self:
        """Gives the last page back, after moving what lies in it to a free one."""
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free <= self.keep:
            return replace(self, done=True)
        connection.execute("PRAGMA incremental_vacuum(1)")
        (left,) = connection.execute("PRAGMA freelist_count").fetchone()
        return replace(self, done=left == free)  # of a file that somebody made unable to shrink


def compact(path: Path) -> None:
    """Writes a file of which little is in use anew: milliseconds, however many pages are free."""
    with closing(TurnLock(path)) as turn, turn, closing(connect(path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free > KEEP_FREE and pages - free <= _FEW:
            connection.execute("VACUUM")
