"""Group commit: one thread makes everything that waits in one transaction.

While one group is on its way to the disk the next one gathers, within this
process and, by the turn lock, in all that share the file.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import structlog

from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool.changes import Change, Insertion, make_all
from filterrelay.spool.checkpoint import Checkpointer
from filterrelay.spool.database import TurnLock, concerns_all, connect, rollback, spool_error
from filterrelay.spool.store import SpoolBroken, SpoolUnavailable

PATIENCE = 0.05  # seconds that a change without haste waits for company
TRACE_PATIENCE = 0.25  # seconds that a trace does, which no mail depends on
_COMPANY = 0.001  # seconds that one with haste waits for as many as came along last time

_PAGES_A_GROUP = 64 * 1024  # octets of index pages that a commit writes, whatever its size
_A_CHANGE = 1024  # octets beside the body

_log: Any = structlog.get_logger("filterrelay.spool")

_Waiting = tuple[Change, "asyncio.Future[Any]"]


class Writer:
    """The thread that owns the writing connection, as the event loop sees it."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        metrics: Metrics | None,
        forget_files: Callable[[Sequence[str]], None],
    ) -> None:
        """forget_files: is given the names of bodies whose messages are gone for good."""
        self._path = path
        self._clock = clock
        self._metrics = metrics
        self._forget_files = forget_files
        self._waiting: deque[_Waiting] = deque()
        self._bell = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._due = math.inf  # when patience is lost, by the loop's time
        self._closing = False
        self._broken: SpoolBroken | None = None

    def start(self) -> None:
        """Starts the thread. Raises sqlite3.Error or OSError."""
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._bell.acquire(blocking=False)
        session = _Session(self._path, self._clock, self._metrics, self._forget_files)
        self._thread = threading.Thread(
            target=self._run, args=(session,), name="spool-writer", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Writes what waits and ends the thread."""
        if self._thread is None:
            return
        self._closing = True
        self._ring()
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    def submit(self, change: Change, *, patience: float = 0) -> "asyncio.Future[Any]":
        """Has the change made; the result comes when it is durable.

        patience: seconds for which it may wait for company.
        """
        if self._broken is not None:
            raise self._broken
        if self._thread is None or self._closing or self._loop is None:
            raise SpoolUnavailable("it is not open")
        done = self._loop.create_future()
        self._waiting.append((change, done))
        if not patience:
            self._ring()
        elif self._loop.time() + patience < self._due:
            self._due = self._loop.time() + patience
            self._loop.call_later(patience, self._lose_patience)
        return done

    def _lose_patience(self) -> None:
        self._due = math.inf
        if self._waiting:
            self._ring()

    def _ring(self) -> None:
        """Wakes the thread; only the event loop calls it, and only the thread unrings."""
        if self._bell.locked():
            self._bell.release()

    def _run(self, session: "_Session") -> None:
        company = 0
        try:
            while not self._closing:
                self._bell.acquire()
                if len(self._waiting) < company:
                    # A transaction of its own costs more CPU than ten more messages in one.
                    time.sleep(_COMPANY)
                company = self._write(session)
            self._write(session)
        except BaseException as fault:
            self._broken = SpoolBroken(f"its writer has ended: {type(fault).__name__}: {fault}")
            raise
        finally:
            self._closing = True
            stranded = _taken(self._waiting)
            ended = self._broken or SpoolUnavailable("its writer has ended")
            self._tell(stranded, [ended] * len(stranded))
            session.close()

    def _write(self, session: "_Session") -> int:
        """Returns how many changes to expect in the next group: none after a lone message."""
        group = session.write(self._waiting, self._tell)
        messages = sum(isinstance(change, Insertion) for change, _ in group)
        return len(group) if messages > 1 else 0

    def _tell(self, group: Sequence[_Waiting], results: Sequence[Any]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, group, results)


def _resolve(group: Sequence[_Waiting], results: Sequence[Any]) -> None:
    for (_, done), result in zip(group, results, strict=True):
        if done.done():
            continue
        if isinstance(result, BaseException):
            done.set_exception(result)
        else:
            done.set_result(result)


class _Session:
    """What the thread works with: connection, turn lock and the checkpointer."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        metrics: Metrics | None,
        forget_files: Callable[[Sequence[str]], None],
    ) -> None:
        self._path = path
        self._clock = clock
        self._metrics = metrics
        self._forget_files = forget_files
        self._forgotten: list[str] = []
        self._connection = _connect(path, self._forgotten.append)
        self._turn = TurnLock(path)
        self._checkpointer = Checkpointer(path)

    def write(
        self,
        waiting: deque[_Waiting],
        tell: Callable[[Sequence[_Waiting], Sequence[Any]], None],
    ) -> list[_Waiting]:
        """Makes all that waits once it is this process's turn, and tells the results."""
        group: list[_Waiting] = []
        if not waiting:
            return group
        try:
            with self._turn:
                self._write_group(group, waiting, tell)
        except OSError as error:
            group += _taken(waiting)
            tell(group, [spool_error(error, self._path)] * len(group))
        except BaseException as fault:
            tell(group, [SpoolBroken(f"its writer has ended: {fault!r}")] * len(group))
            raise
        return group

    def _write_group(
        self,
        group: list[_Waiting],
        waiting: deque[_Waiting],
        tell: Callable[[Sequence[_Waiting], Sequence[Any]], None],
    ) -> None:
        started = self._clock.monotonic()
        before = self._connection.total_changes
        group += _taken(waiting)
        changes = [change for change, _ in group]
        results = self._transact(changes)
        wrote = self._connection.total_changes > before
        if wrote and self._metrics is not None:
            self._metrics.commit_seconds.observe(self._clock.monotonic() - started)
            self._metrics.commit_batch.observe(len(group))
        tell(group, results)
        if wrote:
            self._follow_up(changes)

    def _transact(self, changes: Sequence[Change]) -> list[Any]:
        """Makes the changes in one transaction; if one spoils it, each in its own."""
        connection = self._connection
        forgotten = len(self._forgotten)
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = make_all(connection, changes)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # the thread must outlive whatever a change does
            rollback(connection)
            del self._forgotten[forgotten:]
            if len(changes) > 1 and not concerns_all(error):
                return [self._transact([change])[0] for change in changes]
            return [spool_error(error, self._path)] * len(changes)
        return results

    def _follow_up(self, changes: Sequence[Change]) -> None:
        """Removes files and shortens the log, as far as that can be done.

        A file that stays is found by the housekeeping, and a log by the next commit.
        """
        try:
            if self._forgotten:
                self._forget_files(self._forgotten.copy())
            self._checkpointer.wrote(_octets(changes), self._connection)
        except Exception:  # noqa: BLE001  # a seam: what is durable stays so, whatever becomes of this
            _log.exception("commit_not_followed_up")
        finally:
            self._forgotten.clear()

    def close(self) -> None:
        """Closes everything; the last process to do so empties the log."""
        self._checkpointer.close()
        self._connection.close()
        self._turn.close()


def _connect(path: Path, forget_file: Callable[[str], None]) -> Connection:
    """The writing connection, which notices when a message's body file is no longer needed."""
    connection = connect(path)
    connection.create_function("forget_file", 1, forget_file)
    for event in ("DELETE", "UPDATE OF file"):
        connection.execute(
            f"CREATE TEMP TRIGGER forget_after_{event[:6]} AFTER {event} ON main.message "
            "WHEN OLD.file IS NOT NULL BEGIN SELECT forget_file(OLD.file); END"
        )
    return connection


def _taken(waiting: deque[_Waiting]) -> list[_Waiting]:
    """What waits now, taken out; the event loop may append meanwhile."""
    return [waiting.popleft() for _ in range(len(waiting))]


def _octets(changes: Sequence[Change]) -> int:
    """About how much these add to the log."""
    bodies = sum(len(c.content[2] or b"") for c in changes if isinstance(c, Insertion))
    return _PAGES_A_GROUP + _A_CHANGE * len(changes) + bodies
