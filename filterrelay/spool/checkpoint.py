"""Moves committed pages from the write-ahead log into the database without holding up commits.

The bulk is copied by a thread of its own while commits go on. The log starts
over only when everything in it has been copied and nobody appends, so the
writer copies the small rest itself, when the log has become long.
"""

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

from filterrelay.spool.database import connect

_COPY_AFTER = 32 * 1024 * 1024  # octets written since the last copy
_RESTART_AT = 2048  # pages in the log: 16 MiB
_REST = 256  # pages that the writer may copy itself: a few milliseconds


class Checkpointer:
    """Decides when to copy, and has it done. Used by the writer's thread only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "spool-checkpoint")
        self._copying: Future[tuple[int, int]] | None = None
        self._written = 0

    def wrote(self, octets: int, writer: Connection) -> None:
        """Is told after each commit, while no other process can write."""
        self._written += octets
        if self._copying is not None:
            if self._copying.done():
                self._finish(writer)
        elif self._written >= _COPY_AFTER:
            self._written = 0
            self._copying = self._thread.submit(self._copy)

    def _copy(self) -> tuple[int, int]:
        return shorten(self._path)

    def _finish(self, writer: Connection) -> None:
        assert self._copying is not None
        copying, self._copying = self._copying, None
        if copying.exception() is None:
            pages, copied = copying.result()
            if pages >= _RESTART_AT and pages - copied <= _REST:
                checkpoint(writer)

    def close(self) -> None:
        """Waits for the copying under way."""
        self._thread.shutdown()


def shorten(path: Path) -> tuple[int, int]:
    """The same as `checkpoint`, over a connection of its own.

    The file becomes shorter, after pages were given back, only with a copy of all the log.
    """
    with closing(connect(path)) as connection:
        return checkpoint(connection)


def checkpoint(connection: Connection) -> tuple[int, int]:
    """Copies what it can without waiting; returns the pages in the log and those copied.

    A failure only leaves the log longer: what it holds is as durable there.
    """
    try:
        _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:
        return 0, 0
    return pages, copied
