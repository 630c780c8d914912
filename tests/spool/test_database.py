"""The SQLite file: schema, migration, modes, and whose turn it is."""

import errno
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from filterrelay.spool import database
from filterrelay.spool.database import (
    STEPS,
    TurnLock,
    concerns_all,
    connect,
    create,
    spool_error,
    translated,
)
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.statements import script
from filterrelay.spool.store import SpoolFull, SpoolUnavailable

from .deposits import StandingClock, deposit, stored


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "state" / "spool.sqlite"


def pragma(file: Path, name: str) -> object:
    """A setting as a new connection finds it."""
    with closing(connect(file)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def with_next_step(monkeypatch: pytest.MonkeyPatch, sql: str) -> Sequence[str]:
    """The steps of a later version, which has one more."""
    monkeypatch.setattr(database, "script", lambda name: sql if name == "next" else script(name))
    return (*STEPS, "next")


def test_a_new_file_has_the_newest_schema(file: Path) -> None:
    """The version counts the steps, so a later filterrelay knows which are missing."""
    create(file, STEPS)
    assert pragma(file, "user_version") == len(STEPS)
    assert pragma(file, "journal_mode") == "wal"
    assert pragma(file, "auto_vacuum") == 2


def test_every_commit_reaches_the_disk(file: Path) -> None:
    """250 is a promise: synchronous=FULL (2) makes each commit an fsync."""
    create(file, STEPS)
    assert pragma(file, "synchronous") == 2


async def test_mail_survives_a_migration(
    file: Path, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade with mail in the queue loses none of it, and happens once."""
    spool = SqliteSpool(file, clock)
    await spool.open()
    await spool.commit(deposit(stored()))
    await spool.close()
    steps = with_next_step(monkeypatch, "ALTER TABLE message ADD COLUMN note TEXT;")
    for _ in range(2):
        newer = SqliteSpool(file, clock, steps=steps)
        await newer.open()
        assert await newer.get("M1") == stored()
        await newer.close()
    assert pragma(file, "user_version") == len(STEPS) + 1


def test_a_failed_migration_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a new schema would fit neither version."""
    create(file, STEPS)
    steps = with_next_step(monkeypatch, "CREATE TABLE half (id); CREATE TABLE half (id);")
    with pytest.raises(sqlite3.OperationalError):
        create(file, steps)
    assert pragma(file, "user_version") == len(STEPS)
    with closing(connect(file)) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT * FROM half")


def test_a_newer_file_is_left_alone(file: Path) -> None:
    """After a downgrade nothing is written that the newer version wouldn't understand."""
    create(file, STEPS)
    with closing(connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SpoolUnavailable, match="newer filterrelay"):
        create(file, STEPS)


def test_two_processes_may_start_at_once(file: Path) -> None:
    """Workers that create the same spool together all find it ready."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            create(file, STEPS)
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            failures.append(error)

    workers = [threading.Thread(target=start) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def test_what_is_new_is_for_the_owner_only(file: Path) -> None:
    """Mail is read by the relay's user and nobody else."""
    create(file, STEPS)
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    """While one holds the turn, the other waits; then it goes on."""
    mine, other = TurnLock(tmp_path / "spool.sqlite"), TurnLock(tmp_path / "spool.sqlite")
    order: list[str] = []
    waiting = threading.Event()

    def write() -> None:
        waiting.set()
        with other:
            order.append("other")

    with mine:
        thread = threading.Thread(target=write)
        thread.start()
        waiting.wait()
        order.append("mine")
    thread.join()
    assert order == ["mine", "other"]
    mine.close()
    other.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_mean_full(tmp_path: Path, code: int) -> None:
    """Both are answered 452: the client comes back when there is room."""
    error = spool_error(OSError(code, "full"), tmp_path / "spool.sqlite")
    assert isinstance(error, SpoolFull)
    assert error.free > 0


def test_a_full_database_means_full(tmp_path: Path) -> None:
    """SQLite's own word for it counts as well."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        with pytest.raises(SpoolFull), translated(tmp_path / "spool.sqlite"):
            connection.execute("CREATE TABLE a AS SELECT zeroblob(100000)")


def test_any_other_trouble_means_unavailable(tmp_path: Path) -> None:
    """The reason is kept for the operator."""
    with pytest.raises(SpoolUnavailable, match="Input/output"), translated(tmp_path / "x"):
        raise OSError(errno.EIO, "Input/output error")


def test_readers_cannot_write(file: Path) -> None:
    """A listing can't change anything, whatever its statement says."""
    create(file, STEPS)
    with (
        closing(connect(file, read_only=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM message")


def test_trouble_of_the_database_is_everybodys() -> None:
    """A locked or broken file fails a whole group at once; a bad row only its own message."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE one (id PRIMARY KEY)")
        connection.execute("INSERT INTO one VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError) as twice:
            connection.execute("INSERT INTO one VALUES (1)")
        connection.execute("PRAGMA query_only = 1")
        with pytest.raises(sqlite3.OperationalError) as readonly:
            connection.execute("INSERT INTO one VALUES (2)")
    assert not concerns_all(twice.value)
    assert concerns_all(readonly.value)
    assert not concerns_all(ZeroDivisionError())
