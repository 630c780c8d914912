"""Group commit: who waits together, goes together, and only the faulty one fails."""

import asyncio
import errno
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from sqlite3 import Connection

import pytest

from filterrelay.observe.metrics import Metrics
from filterrelay.spool.changes import Insertion, Recording, Settling
from filterrelay.spool.codec import event_rows
from filterrelay.spool.database import STEPS, TurnLock, connect, create
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import Event, SpoolBroken, SpoolUnavailable
from filterrelay.spool.writer import Writer

from .deposits import NOON, StandingClock, delivered, deposit, stored


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with its schema."""
    path = tmp_path / "spool.sqlite"
    create(path, STEPS)
    return path


@pytest.fixture
def turn(file: Path) -> Iterator[TurnLock]:
    """The turn lock as another process has it."""
    lock = TurnLock(file)
    yield lock
    lock.close()


@pytest.fixture
def writer(file: Path, clock: StandingClock, metrics: Metrics) -> Writer:
    """A writer, not yet started."""
    return Writer(file, clock, metrics, lambda names: None)


def insertion(id_: str) -> Insertion:
    """A new message."""
    return Insertion.of(deposit(stored(id_)), None)


def sample(metrics: Metrics, name: str) -> float:
    """A series' value now."""
    value = metrics.registry.get_sample_value(f"filterrelay_spool_{name}")
    assert value is not None
    return value


class Faulty:
    """A change with a mistake in it."""

    def make(self, connection: Connection) -> None:
        """Spoils its transaction."""
        connection.execute("INSERT INTO event (message_id) VALUES (NULL)")


async def test_who_waits_together_shares_one_commit(
    writer: Writer, turn: TurnLock, metrics: Metrics
) -> None:
    """Twenty sessions that wait while another process writes cost one fsync."""
    writer.start()
    with turn:
        waiting = [writer.submit(insertion(f"M{n}")) for n in range(20)]
    await asyncio.gather(*waiting)
    assert sample(metrics, "commit_changes_count") == 1
    assert sample(metrics, "commit_changes_sum") == 20
    await writer.close()


async def test_nobody_is_told_before_it_is_durable(writer: Writer, turn: TurnLock) -> None:
    """While the commit can't happen, no session hears that it has."""
    writer.start()
    with turn:
        waiting = writer.submit(insertion("M1"))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    await writer.close()


async def test_a_faulty_change_fails_alone(writer: Writer, turn: TurnLock, file: Path) -> None:
    """One session's trouble is not its neighbours': they are committed all the same."""
    writer.start()
    with turn:
        first, faulty, second = (
            writer.submit(change) for change in (insertion("M1"), Faulty(), insertion("M2"))
        )
    await first
    await second
    with pytest.raises(SpoolUnavailable, match="NOT NULL"):
        await faulty
    await writer.close()
    connection = connect(file)
    assert connection.execute("SELECT id FROM message").fetchall() == [("M1",), ("M2",)]
    connection.close()


async def test_the_writer_outlives_a_change_that_breaks_it(writer: Writer) -> None:
    """A mistake of ours costs one change, not the spool."""

    class Broken:
        def make(self, connection: Connection) -> None:
            raise ZeroDivisionError

    writer.start()
    with pytest.raises(SpoolUnavailable, match="ZeroDivisionError"):
        await writer.submit(Broken())
    await writer.submit(insertion("M1"))
    await writer.close()


async def test_a_settlement_rides_along_with_the_next_message(
    sqlite_spool: SqliteSpool, metrics: Metrics
) -> None:
    """Mail that is delivered at once costs one fsync a message under load, not two."""
    first, second = stored("M1"), stored("M2")
    await sqlite_spool.commit(deposit(first))
    settling = asyncio.ensure_future(sqlite_spool.settle(delivered(first)))
    await asyncio.sleep(0)
    await asyncio.gather(sqlite_spool.commit(deposit(second)), settling)
    assert sample(metrics, "commit_changes_count") == 2


async def test_a_settlement_without_company_is_written_all_the_same(
    sqlite_spool: SqliteSpool,
) -> None:
    """The last message of the evening is settled in the evening."""
    message = stored()
    await sqlite_spool.commit(deposit(message))
    await sqlite_spool.settle(delivered(message))
    assert [e.kind for e in await sqlite_spool.events("M1")] == ["received", "attempt"]


async def test_the_least_patient_change_takes_the_others_along(writer: Writer) -> None:
    """A trace that may wait long is written as soon as a settlement is."""
    writer.start()
    traces = [event_rows([Event(f"M{n}", NOON, "bounce", {})]) for n in range(2)]
    patient = writer.submit(Recording(traces[0]), patience=60)
    await writer.submit(Recording(traces[1]), patience=0.01)
    assert patient.done()
    await writer.close()


async def test_closing_writes_what_waits(writer: Writer, file: Path) -> None:
    """A stop loses nothing that was handed over before it."""
    writer.start()
    rows = event_rows([Event("M1", NOON, "bounce", {})])
    waiting = writer.submit(Recording(rows), patience=60)
    await writer.close()
    await waiting
    connection = connect(file)
    assert connection.execute("SELECT count(*) FROM event").fetchone() == (1,)
    connection.close()


async def test_an_impatient_session_harms_nobody(writer: Writer, turn: TurnLock) -> None:
    """A client that hangs up during the commit leaves a durable message and no error."""
    writer.start()
    with turn:
        gone, stays = writer.submit(insertion("M1")), writer.submit(insertion("M2"))
        gone.cancel()
    await stays
    with pytest.raises(SpoolUnavailable, match="UNIQUE"):
        await writer.submit(insertion("M1"))
    await writer.close()


async def test_looking_for_work_is_no_commit(sqlite_spool: SqliteSpool, metrics: Metrics) -> None:
    """Asking for due mail when there is none writes nothing."""
    assert await sqlite_spool.lease("worker-1", NOON, NOON, 10) == []
    assert sample(metrics, "commit_changes_count") == 0


async def test_before_the_start_nothing_is_taken(writer: Writer) -> None:
    """A change that no thread would make is refused."""
    with pytest.raises(SpoolUnavailable):
        writer.submit(insertion("M1"))


async def test_a_foreign_writer_makes_the_spool_unavailable(
    writer: Writer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When somebody else keeps the database locked, mail is deferred and later taken."""
    monkeypatch.setattr("filterrelay.spool.database._FOREIGN_WRITER", 0.01)
    foreign = sqlite3.connect(file, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    writer.start()
    refused = [writer.submit(insertion(f"M{n}")) for n in range(3)]
    for waiting in refused:
        with pytest.raises(SpoolUnavailable, match="locked"):
            await waiting
    foreign.execute("ROLLBACK")
    foreign.close()
    await writer.submit(insertion("M1"))
    await writer.close()


async def test_without_the_turn_lock_mail_is_deferred(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the kernel has no locks left, sessions hear so instead of waiting for ever."""
    writer.start()

    def no_locks(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as broken:
        broken.setattr(fcntl, "flock", no_locks)
        with pytest.raises(SpoolUnavailable, match="No locks"):
            await writer.submit(insertion("M1"))
    await writer.submit(insertion("M1"))
    await writer.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_ends_unasked_strands_nobody(file: Path) -> None:
    """After a fault of ours sessions hear of it at once, and so do those that come later."""

    class BrokenClock(StandingClock):
        def monotonic(self) -> float:
            raise ZeroDivisionError

    writer = Writer(file, BrokenClock(), None, lambda names: None)
    writer.start()
    with pytest.raises(SpoolBroken, match="has ended"):
        await writer.submit(insertion("M1"))
    thread = writer._thread
    assert thread is not None
    await asyncio.to_thread(thread.join)
    with pytest.raises(SpoolBroken, match="ZeroDivisionError"):
        writer.submit(insertion("M2"))
    await writer.close()


@pytest.mark.parametrize("what", ["files", "log"])
async def test_trouble_after_a_commit_costs_neither_message_nor_writer(
    file: Path,
    clock: StandingClock,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """When no thread can be had to tidy up, what was committed counts, and more is taken."""

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    if what == "log":
        monkeypatch.setattr("filterrelay.spool.checkpoint.Checkpointer.wrote", no_thread)
    writer = Writer(file, clock, metrics, no_thread)
    writer.start()
    message = deposit(stored("M1"))
    await writer.submit(Insertion.of(message, "00/M1.1234"))
    await writer.submit(Settling.of(delivered(message.message)))
    await writer.submit(insertion("M2"))
    await writer.close()
