"""The log is copied into the database, and starts over."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from filterrelay.spool import checkpoint as module
from filterrelay.spool.checkpoint import Checkpointer, checkpoint
from filterrelay.spool.database import STEPS, connect, create


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with its schema."""
    path = tmp_path / "spool.sqlite"
    create(path, STEPS)
    return path


@pytest.fixture
def writer(file: Path) -> Iterator[Connection]:
    """The writing connection."""
    connection = connect(file)
    yield connection
    connection.close()


def write(connection: Connection, pages: int) -> None:
    """Commits so many pages."""
    body = bytes(pages * 4096)
    connection.execute("INSERT INTO content (envelope, session, body) VALUES ('', '', ?)", (body,))


def test_a_long_log_starts_over(
    file: Path, writer: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much mail comes, the log's file stays about as long as it once was."""
    monkeypatch.setattr(module, "_COPY_AFTER", 100 * 4096)
    monkeypatch.setattr(module, "_RESTART_AT", 100)
    checkpointer = Checkpointer(file)
    sizes = []
    for _ in range(20):
        write(writer, 100)
        checkpointer.wrote(100 * 4096, writer)
        if checkpointer._copying is not None:
            checkpointer._copying.result()
            checkpointer.wrote(0, writer)
        sizes.append(file.with_name("spool.sqlite-wal").stat().st_size)
    checkpointer.close()
    assert max(sizes) < 3 * 100 * 4096


def test_a_little_mail_is_not_copied_at_once(file: Path, writer: Connection) -> None:
    """Copying costs two fsyncs more, so it waits until it is worth while."""
    checkpointer = Checkpointer(file)
    checkpointer.wrote(4096, writer)
    assert checkpointer._copying is None
    checkpointer.close()


def test_a_reader_delays_copying_and_nothing_else(file: Path, writer: Connection) -> None:
    """While a listing reads an old snapshot, commits go on and the log only grows."""
    write(writer, 10)
    with closing(connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM content").fetchone()
        write(writer, 10)
        pages, copied = checkpoint(writer)
        assert copied < pages
    assert checkpoint(writer) == (pages, pages)


def test_a_failed_checkpoint_is_not_a_failed_commit(file: Path) -> None:
    """What the log holds is safe there; copying is tried again later."""
    connection = connect(file)
    connection.close()
    with pytest.raises(Exception, match="closed"):
        connection.execute("SELECT 1")
    assert checkpoint(connection) == (0, 0)
