"""Scripted servers for the real program to deliver to."""

import asyncio
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tests.delivery.far_side import FarSide


@contextmanager
def run_far_sides(sides: Collection[FarSide]) -> Iterator[None]:
    """Runs them, each on a port of its own, in one thread beside the test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="far-sides")
    thread.start()

    async def each(verb: str) -> None:
        for side in sides:
            await getattr(side, verb)()

    try:
        asyncio.run_coroutine_threadsafe(each("start"), loop).result(10)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(each("stop"), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
