"""Scripted servers for the real program to deliver to."""

import asyncio
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from tests.delivery.far_side import FarSide

from .program import Program

# What `FarSide.once` calls the moments of a transaction, by names that may stand in a domain.
STAGES = {stage: stage.upper() for stage in ("greeting", "ehlo", "mail", "rcpt", "data", "body")}
STAGES["dot"] = "."


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


def add_upstream(program: Program, name: str, *sides: FarSide, **settings: Any) -> None:
    """Has the program deliver the mail for `name.example` to these hosts."""
    hosts = [side.host for side in sides]
    program.config["upstream"].append({"name": name, "hosts": hosts, "tls": "none", **settings})
    route = {"recipients": [f"*@{name}.example"], "upstream": name}
    program.config.setdefault("route", []).append(route)
