"""One thread and one read-only connection: what is asked here never holds up a commit."""

from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from filterrelay.spool.database import connect
from filterrelay.spool.threads import Threads

T = TypeVar("T")


class Reader:
    """Answers one question after the other, each from a snapshot of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._thread = Threads(1, name, path)
        self._connection: Connection | None = None

    def open(self) -> None:
        """Takes questions from now on."""
        self._thread.open()

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """The question's answer. Raises SpoolUnavailable."""
        return await self._thread.run(self._answer, question)

    def _answer(self, question: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = connect(self._path, read_only=True)
        return question(self._connection)

    async def close(self) -> None:
        """Finishes what was asked and closes."""
        await self._thread.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
