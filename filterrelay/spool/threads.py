"""Threads for work that blocks, which answer in the spool's own errors."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from filterrelay.spool.database import translated
from filterrelay.spool.store import SpoolUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """So many threads between open and close. Constructing it starts none."""

    def __init__(self, count: int, name: str, path: Path) -> None:
        self._count = count
        self._name = name
        self._path = path
        self._executor: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Takes work from now on."""
        self._executor = self._executor or ThreadPoolExecutor(self._count, self._name)

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the work. Raises SpoolFull or SpoolUnavailable."""
        if self._executor is None:
            raise SpoolUnavailable("it is not open")

        def translating() -> T:
            with translated(self._path):
                return work(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._executor, translating)

    def leave(self, work: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Has the work done some time before close; nobody waits for it."""
        if self._executor is not None:
            self._executor.submit(work, *args, **kwargs)

    async def close(self) -> None:
        """Finishes what was begun and takes no more."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown)
