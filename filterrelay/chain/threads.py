"""Threads for blocking work, bounded for each plugin."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

THREADS = 8  # a plugin and process; more work waits its turn


class PluginThreads:
    """One plugin's threads, started when first needed."""

    def __init__(self, name: str, threads: int = THREADS) -> None:
        """Starts nothing yet."""
        self._name = name
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(self, work: Callable[..., T], /, *args: Any) -> T:
        """The result of work(*args), made in a thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, f"plugin-{self._name}")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """Lets running work finish in the background and takes no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
