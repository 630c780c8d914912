"""Another process at the same spool: `python -m tests.spool.other_process JOB FILE NAME`."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from filterrelay.observe.clock import SystemClock
from filterrelay.spool.sqlite import SqliteSpool

from .deposits import HOUR, NOON, deposit, stored

LARGE = 4096


def body_of(id_: str) -> bytes:
    """A message's bytes, told by its ID; every seventh is large."""
    return id_.encode() * (1000 if int(id_.split("-")[1]) % 7 == 0 else 1)


async def accept_for_ever(spool: SqliteSpool, name: str) -> None:
    """Commits from eight sessions at once and prints each ID that is safe."""
    numbers = count()

    async def session() -> None:
        while True:
            id_ = f"{name}-{next(numbers)}"
            await spool.commit(deposit(stored(id_), body_of(id_)))
            print(id_, flush=True)

    await asyncio.gather(*(session() for _ in range(8)))


async def accept_and_lease(spool: SqliteSpool, name: str) -> None:
    """Commits 60 messages and leases whatever is due meanwhile; then, when told, the rest."""

    async def lease() -> bool:
        leased = await spool.lease(name, NOON, NOON + HOUR, 3)
        for message in leased:
            print(message.id, flush=True)
        return bool(leased)

    for number in range(60):
        await asyncio.gather(spool.commit(deposit(stored(f"{name}-{number}"))), lease())
    print("committed", flush=True)
    sys.stdin.readline()
    while await lease():
        pass


async def main(job: str, file: str, name: str) -> None:
    """Does one of the two."""
    spool = SqliteSpool(Path(file), SystemClock(), large=LARGE)
    await spool.open()
    await {"accept": accept_for_ever, "share": accept_and_lease}[job](spool, name)
    await spool.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
