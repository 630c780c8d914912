"""One thread and one read-only connection: what is asked here never holds up a commit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from filterrelay.spool.database import connect, translated

T = TypeVar("T")


class Reader:
    """Answers one question after the other, each from a snapshot of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, name)
        self._connection: Connection | None = None

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """The question's answer. Raises SpoolUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._answer, question
        )

    def _answer(self, question: Callable[[Connection], T]) -> T:
        with translated(self._path):
            if self._connection is None:
                self._connection = connect(self._path, read_only=True)
            return question(self._connection)

    async def close(self) -> None:
        """Finishes what was asked and closes."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
