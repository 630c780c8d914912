"""What the SQLite store adds to the contract: crashes, several processes, files, full disks."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool import operations, writer
from filterrelay.spool.bodies import BodyFiles
from filterrelay.spool.database import connect
from filterrelay.spool.operations import Recovery
from filterrelay.spool.selection import Selection
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import Lease, NoSuchMessage, SpoolFull, SpoolUnavailable, State

from .deposits import (
    BODY,
    DAY,
    HOUR,
    NOON,
    StandingClock,
    delivered,
    deposit,
    quarantined,
    stored,
)
from .other_process import LARGE, body_of

ROOT = Path(__file__).parents[2]
LARGE_BODY = b"a large attachment\r\n" * 200


def other_process(job: str, file: Path, name: str) -> subprocess.Popen[str]:
    """Another process at the same file."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.spool.other_process", job, str(file), name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def body_files(tmp_path: Path) -> list[Path]:
    """The bodies that lie beside the database."""
    return [path for path in (tmp_path / "spool.bodies").rglob("*") if path.is_file()]


async def test_nothing_that_was_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """After 250 a message is there, whatever happens to the process that said so."""
    file = tmp_path / "spool.sqlite"
    with other_process("accept", file, "m") as child:
        assert child.stdout is not None
        safe = [child.stdout.readline().strip() for _ in range(100)]
        child.send_signal(signal.SIGKILL)
        safe += [line.strip() for line in child.stdout if line.endswith("\n")]
    spool = SqliteSpool(file, SystemClock(), large=LARGE)
    await spool.open()
    for id_ in safe:
        assert await spool.body(id_) == body_of(id_)
        assert [event.kind for event in await spool.events(id_)] == ["received"]
    assert len(safe) <= (await spool.depth()).messages[State.QUEUED] <= len(safe) + 8
    await spool.close()


def test_two_processes_never_lease_the_same_message(tmp_path: Path) -> None:
    """Workers that accept and deliver at the same time share one queue without doubles."""
    file = tmp_path / "spool.sqlite"
    leased: list[str] = []
    with other_process("share", file, "a") as a, other_process("share", file, "b") as b:
        for child in (a, b):
            assert child.stdout is not None
            leased += [line.strip() for line in iter(child.stdout.readline, "committed\n")]
        for child in (a, b):
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in (a, b):
            assert child.stdout is not None
            leased += [line.strip() for line in child.stdout]
    assert sorted(leased) == sorted(f"{name}-{n}" for name in "ab" for n in range(60))


async def test_a_spool_may_be_made_before_a_fork(tmp_path: Path, clock: StandingClock) -> None:
    """Constructing it opens no file and starts no thread; those would not survive a fork."""
    threads = threading.active_count()
    SqliteSpool(tmp_path / "state" / "spool.sqlite", clock)
    assert not (tmp_path / "state").exists()
    assert threading.active_count() == threads


async def test_mail_outlives_a_restart(tmp_path: Path, clock: StandingClock) -> None:
    """A spool that is closed and opened again holds what it held."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock)
    await spool.open()
    await spool.commit(deposit(stored()))
    await spool.close()
    await spool.open()
    assert [m.id for m in await spool.select(Selection(), NOON)] == ["M1"]
    await spool.close()


async def test_a_closed_spool_says_so(sqlite_spool: SqliteSpool) -> None:
    """Mail that comes after the end is deferred, not lost."""
    await sqlite_spool.close()
    for size in (10, 10_000):
        with pytest.raises(SpoolUnavailable):
            await sqlite_spool.commit(deposit(stored(), bytes(size)))
    with pytest.raises(SpoolUnavailable):
        await sqlite_spool.get("M1")


async def test_others_on_the_machine_cant_read_mail(
    sqlite_spool: SqliteSpool, tmp_path: Path
) -> None:
    """Database, log, lock and bodies are for the relay's own user only."""
    await sqlite_spool.commit(deposit(stored(), LARGE_BODY))
    everything = list(tmp_path.rglob("*"))  # noqa: ASYNC240  # nothing else runs here
    assert body_files(tmp_path)
    assert [path for path in everything if path.stat().st_mode & 0o077] == []


async def test_a_large_body_lies_in_a_file_of_its_own(
    sqlite_spool: SqliteSpool, tmp_path: Path
) -> None:
    """What would swell the database lies beside it, as it came."""
    await sqlite_spool.commit(deposit(stored(), LARGE_BODY))
    (file,) = body_files(tmp_path)
    assert file.read_bytes() == LARGE_BODY


async def test_a_delivered_large_body_is_removed(tmp_path: Path, clock: StandingClock) -> None:
    """The file goes when its message has gone."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock, large=1024)
    await spool.open()
    message = stored()
    await spool.commit(deposit(message, LARGE_BODY))
    await spool.settle(delivered(message))
    await spool.close()
    assert body_files(tmp_path) == []


async def test_a_replaced_large_body_is_removed(tmp_path: Path, clock: StandingClock) -> None:
    """Of two bodies of a message only the one that leaves is kept."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock, large=1024)
    await spool.open()
    await spool.commit(replace(quarantined("M1"), body=LARGE_BODY))
    await spool.release_as("M1", stored().envelope, LARGE_BODY + b"signed\r\n", NOON)
    await spool.close()
    assert [file.read_bytes() for file in body_files(tmp_path)] == [LARGE_BODY + b"signed\r\n"]


async def test_a_refused_large_body_leaves_no_file(
    sqlite_spool: SqliteSpool, tmp_path: Path
) -> None:
    """A message that couldn't be committed takes no room."""
    await sqlite_spool.commit(deposit(stored()))
    with pytest.raises(SpoolUnavailable):
        await sqlite_spool.commit(deposit(stored(), LARGE_BODY))
    with pytest.raises(NoSuchMessage):
        await sqlite_spool.release_as("NONE", stored().envelope, LARGE_BODY, NOON)
    assert body_files(tmp_path) == []


async def test_a_vanished_body_is_no_missing_message(
    sqlite_spool: SqliteSpool, tmp_path: Path
) -> None:
    """When a file was taken away from under a message, the message isn't called gone."""
    await sqlite_spool.commit(deposit(stored(), LARGE_BODY))
    body_files(tmp_path)[0].unlink()
    with pytest.raises(SpoolUnavailable):
        await sqlite_spool.body("M1")


async def test_left_over_bodies_are_removed_by_the_housekeeping(
    tmp_path: Path, clock: StandingClock
) -> None:
    """A crash between file and row leaves no file for ever; a file in the making stays."""
    bodies = BodyFiles(tmp_path / "spool.bodies")
    bodies.open()
    old, new = (tmp_path / "spool.bodies" / bodies.write(id_, b"x") for id_ in ("OLD", "NEW"))
    os.utime(old, (0, (NOON - DAY).timestamp()))
    os.utime(new, (0, NOON.timestamp()))
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock)
    await spool.open()
    assert set(body_files(tmp_path)) == {old, new}
    await spool.expire(NOON, NOON)
    assert body_files(tmp_path) == [new]
    await spool.close()


async def test_old_bodies_of_waiting_mail_stay(tmp_path: Path, clock: StandingClock) -> None:
    """Only files that no message names are left over, however old they are."""
    for _ in range(2):
        spool = SqliteSpool(tmp_path / "spool.sqlite", clock, large=1024)
        await spool.open()
        if not body_files(tmp_path):
            await spool.commit(deposit(stored(), LARGE_BODY))
        os.utime(body_files(tmp_path)[0], (0, 0))
        await spool.expire(NOON - DAY, NOON - DAY)
        await spool.close()
    assert len(body_files(tmp_path)) == 1


async def test_a_large_message_doesnt_hold_up_small_ones(
    sqlite_spool: SqliteSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a large body is on its way to the disk, small messages are committed."""
    written = threading.Event()
    write = BodyFiles.write

    def slow_write(self: BodyFiles, message_id: str, body: bytes) -> str:
        assert written.wait(60)
        return write(self, message_id, body)

    monkeypatch.setattr(BodyFiles, "write", slow_write)
    large = asyncio.ensure_future(sqlite_spool.commit(deposit(stored("LARGE"), LARGE_BODY)))
    for n in range(3):
        await sqlite_spool.commit(deposit(stored(f"S{n}")))
    assert not large.done()
    written.set()
    await large
    assert await sqlite_spool.body("LARGE") == LARGE_BODY


async def test_a_full_disk_refuses_new_mail_and_keeps_the_old(
    tmp_path: Path, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing more fits, the client is told so, and what is there still gets out."""

    def small_disk(path: Path) -> object:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 40")
        return connection

    monkeypatch.setattr(writer, "connect", small_disk)
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock)
    await spool.open()
    messages = [stored(f"M{n}") for n in range(100)]
    results = await asyncio.gather(
        *(spool.commit(deposit(message, b"x" * 3000)) for message in messages),
        return_exceptions=True,
    )
    taken = [message for message, refused in zip(messages, results, strict=True) if not refused]
    assert {type(refused) for refused in results if refused} == {SpoolFull}
    assert taken
    for message in taken:
        assert await spool.body(message.id) == b"x" * 3000
        await spool.settle(delivered(message))
    await spool.commit(deposit(stored("NEXT")))
    await spool.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE content SET envelope = '{\"from_the_future\": 1}' WHERE seq = 1",
        "UPDATE content SET session = 'no JSON' WHERE seq = 1",
        "UPDATE recipient SET state = 'teleported' WHERE message_id = 'BAD'",
        "DELETE FROM content WHERE seq = 1",
    ],
)
async def test_a_message_that_cant_be_read_is_held_and_stops_no_other(
    sqlite_spool: SqliteSpool, tmp_path: Path, damage: str
) -> None:
    """It is set aside with the reason, listed and deleted like any held one; the rest goes out."""
    await sqlite_spool.commit(deposit(stored("BAD")))
    await sqlite_spool.commit(deposit(stored("GOOD")))
    connection = sqlite3.connect(tmp_path / "spool.sqlite")
    with connection:
        connection.execute(damage)
    connection.close()
    leased = await sqlite_spool.lease("worker-1", NOON, NOON + HOUR, 10)
    assert [message.id for message in leased] == ["GOOD"]
    (held,) = await sqlite_spool.select(Selection(states=(State.HELD,)), NOON)
    assert (held.id, "can't be read" in held.reason) == ("BAD", True)
    assert await sqlite_spool.delete(["BAD"], NOON) == 1


async def test_mail_is_refused_before_the_disk_is_full(
    tmp_path: Path, clock: StandingClock, metrics: Metrics
) -> None:
    """Below the floor of free space nothing new is taken, so that the rest can go out."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock, free_space=2**62, metrics=metrics)
    await spool.open()
    with pytest.raises(SpoolFull) as refused:
        await spool.commit(deposit(stored()))
    assert metrics.registry.get_sample_value("filterrelay_spool_free_bytes") == refused.value.free
    await spool.close()


async def test_reports_are_taken_below_the_floor(tmp_path: Path, clock: StandingClock) -> None:
    """Without its bounce a refused message could never end, and give its space back."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock, free_space=2**62)
    await spool.open()
    await spool.commit(replace(deposit(stored()), own=True))
    assert await spool.body("M1") == BODY
    await spool.close()


async def test_a_directory_that_cant_be_used_is_named(tmp_path: Path, clock: StandingClock) -> None:
    """A start without a usable spool fails with a reason."""
    (tmp_path / "file").write_text("in the way")
    spool = SqliteSpool(tmp_path / "file" / "spool.sqlite", clock)
    with pytest.raises(SpoolUnavailable, match="file"):
        await spool.open()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock: StandingClock) -> None:
    """Nothing is written into a file that belongs to something else."""
    file = tmp_path / "spool.sqlite"
    file.write_bytes(b"something else entirely" * 100)
    with pytest.raises(SpoolUnavailable):
        await SqliteSpool(file, clock).open()
    assert file.read_bytes() == b"something else entirely" * 100


async def test_expiry_gives_space_back(tmp_path: Path, clock: StandingClock) -> None:
    """When a flood has been dropped the file becomes smaller again."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock)
    await spool.open()
    body = bytes(250_000)
    for n in range(160):
        message = quarantined(f"M{n}", received=NOON - DAY).message
        await spool.commit(deposit(message, body))
    assert await spool.expire(NOON, NOON - HOUR) == 160
    await spool.close()
    assert (tmp_path / "spool.sqlite").stat().st_size < 20 * 1024 * 1024


async def test_space_is_given_back_while_the_spool_is_open(sqlite_spool: SqliteSpool) -> None:
    """Also by a quiet relay, whose log would not be copied for a long time."""
    file = sqlite_spool._path
    ids = [f"M{n}" for n in range(40)]
    sqlite_spool._large = 10**9
    for id_ in ids:
        await sqlite_spool.commit(deposit(stored(id_), bytes(1_000_000)))
    log = file.with_name("spool.sqlite-wal")
    assert file.stat().st_size + log.stat().st_size > 40_000_000
    await sqlite_spool.delete(ids, NOON)
    await sqlite_spool.expire(NOON, NOON - HOUR)
    assert file.stat().st_size < 20_000_000


async def test_many_messages_are_deleted_in_steps(sqlite_spool: SqliteSpool) -> None:
    """A long list of messages is worked off to its end."""
    ids = [f"M{n}" for n in range(1100)]
    await asyncio.gather(*(sqlite_spool.commit(deposit(stored(id_))) for id_ in ids))
    assert await sqlite_spool.delete(ids, NOON) == len(ids)
    assert (await sqlite_spool.depth()).messages[State.QUEUED] == 0


async def test_the_leases_of_a_dead_worker_end_in_steps(
    sqlite_spool: SqliteSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of them in one transaction would hold up the mail that others take."""
    group = [deposit(stored(f"M{n}", lease=Lease("dead", HOUR + NOON))) for n in range(5)]
    await asyncio.gather(*(sqlite_spool.commit(each) for each in group))
    steps: list[int] = []

    class Noted(Recovery):
        def make(self, connection: sqlite3.Connection) -> int:
            steps.append(super().make(connection))
            return steps[-1]

    monkeypatch.setattr(operations, "Recovery", Noted)
    monkeypatch.setattr(operations, "STEP", 2)
    assert await sqlite_spool.recover(NOON, ["alive"]) == 5
    assert steps == [2, 2, 1]


async def test_a_probe_is_written_to_the_disk(tmp_path: Path, sqlite_spool: SqliteSpool) -> None:
    """A disk that is readable only, or full, is found out by trying."""
    with closing(connect(tmp_path / "spool.sqlite", read_only=True)) as other:
        (before,) = other.execute("PRAGMA data_version").fetchone()
        await sqlite_spool.probe()
        (after,) = other.execute("PRAGMA data_version").fetchone()
    assert after != before


async def test_a_probe_finds_a_disk_nearly_full(tmp_path: Path, clock: StandingClock) -> None:
    """It refuses what a message would be refused for."""
    spool = SqliteSpool(tmp_path / "spool.sqlite", clock, free_space=1 << 60)
    await spool.open()
    with pytest.raises(SpoolFull):
        await spool.probe()
    await spool.close()
