"""Reading beside writing."""

import threading
from pathlib import Path
from sqlite3 import Connection

import pytest

from filterrelay.spool.database import STEPS, create
from filterrelay.spool.reader import Reader
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import SpoolUnavailable

from .deposits import NOON, deposit, stored


async def test_a_slow_listing_holds_up_neither_commits_nor_bodies(
    sqlite_spool: SqliteSpool,
) -> None:
    """While an operator lists a long queue, mail is taken and retried as ever."""
    begun, finished = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        connection.execute("SELECT count(*) FROM message").fetchone()
        begun.set()
        assert finished.wait(60)

    sqlite_spool._listings._thread.leave(sqlite_spool._listings._answer, slow)
    begun.wait(60)
    await sqlite_spool.commit(deposit(stored()))
    assert await sqlite_spool.body("M1")
    assert len(await sqlite_spool.lease("worker-1", NOON, NOON, 10)) == 1
    finished.set()


async def test_a_closed_reader_says_so(tmp_path: Path) -> None:
    """Questions after the end are answered by an error of the spool's."""
    create(tmp_path / "spool.sqlite", STEPS)
    reader = Reader(tmp_path / "spool.sqlite", "reader")
    reader.open()
    assert await reader.ask(lambda connection: connection.total_changes) == 0
    await reader.close()
    with pytest.raises(SpoolUnavailable):
        await reader.ask(lambda connection: connection.total_changes)


async def test_trouble_with_the_file_is_the_spools(tmp_path: Path) -> None:
    """A question that SQLite can't answer fails as unavailable."""
    create(tmp_path / "spool.sqlite", STEPS)
    reader = Reader(tmp_path / "spool.sqlite", "reader")
    reader.open()
    with pytest.raises(SpoolUnavailable, match="no such table"):
        await reader.ask(lambda connection: connection.execute("SELECT * FROM missing"))
    await reader.close()
