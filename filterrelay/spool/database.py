"""The SQLite file: how it is opened, brought up to date and shared between processes."""

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

from filterrelay.errors import FilterRelayError
from filterrelay.spool.free_space import octets_free
from filterrelay.spool.statements import script
from filterrelay.spool.store import SpoolFull, SpoolUnavailable

STEPS = ("sqlite_1.sql",)  # PRAGMA user_version counts those that a file has seen

PAGE = 8 * 1024  # octets of a page of a new file

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_FOREIGN_WRITER = 10.0  # seconds to wait for one that knows no lock file, such as a backup
_DATABASE_TROUBLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
)
_LONGEST_LOG = 64 * 1024 * 1024  # octets to which a log shrinks that a reader made grow
_CACHE = 16 * 1024  # KiB of pages a connection keeps


class TurnLock:
    """Whose turn it is to write, among the processes that share the file.

    A lock on a file beside the database, waited for in the kernel: SQLite's
    own lock can only be polled. It is free again when its holder dies.
    """

    def __init__(self, database: Path) -> None:
        """Opens the lock file, made if need be."""
        path = database.with_name(database.name + ".lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closes the lock file."""
        os.close(self._file)


def create(path: Path, steps: Sequence[str]) -> None:
    """Makes the file if need be, readable for its owner only, and brings its schema up to date."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(TurnLock(path)) as turn, turn, closing(connect(path)) as connection:
        if not _version(connection):
            # Only a file without tables can still choose these. Twice SQLite's page has room for
            # three small messages instead of one, and the free ones are found in less time.
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        _migrate(connection, path, steps)


def _version(connection: Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _migrate(connection: Connection, path: Path, steps: Sequence[str]) -> None:
    version = _version(connection)
    if version > len(steps):
        raise SpoolUnavailable(f"{path} was written by a newer filterrelay (schema {version})")
    for number, step in enumerate(steps[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;{script(step)};PRAGMA user_version = {number};")
        connection.execute("COMMIT")


def connect(path: Path, *, read_only: bool = False) -> Connection:
    """A connection for one thread at a time that begins and ends its transactions itself."""
    connection = sqlite3.connect(
        path,
        timeout=_FOREIGN_WRITER,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    for pragma in (
        "synchronous = FULL",
        "secure_delete = OFF",  # Debian builds SQLite to zero what is freed: twice the writing
        "temp_store = MEMORY",
        f"journal_size_limit = {_LONGEST_LOG}",
        "wal_autocheckpoint = 0",  # it would make a commit wait; see checkpoint.py
        f"cache_size = -{_CACHE}",
        f"query_only = {int(read_only)}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def rollback(connection: Connection) -> None:
    """Ends a failed transaction that SQLite has not ended itself."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def concerns_all(error: BaseException) -> bool:
    """Whether the failure is the database's own, so that no other change would fare better."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DATABASE_TROUBLE


def spool_error(error: BaseException, path: Path) -> FilterRelayError:
    """What the failure means for the caller: full, or unavailable."""
    full = isinstance(error, OSError) and error.errno in _NO_SPACE
    code = getattr(error, "sqlite_errorcode", None)
    if full or code == sqlite3.SQLITE_FULL:
        return SpoolFull(octets_free(path.parent))
    return SpoolUnavailable(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises SpoolFull or SpoolUnavailable in place of SQLite's and the system's errors."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise spool_error(error, path) from error
