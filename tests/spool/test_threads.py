"""Threads that open, close and answer in the spool's own errors."""

import errno
import threading
from pathlib import Path

import pytest

from filterrelay.spool.store import SpoolFull, SpoolUnavailable
from filterrelay.spool.threads import Threads


@pytest.fixture
def threads(tmp_path: Path) -> Threads:
    """One thread, not yet open."""
    return Threads(1, "test", tmp_path / "spool.sqlite")


async def test_work_runs_beside_the_event_loop(threads: Threads) -> None:
    """Blocking work never blocks the sessions."""
    threads.open()
    assert await threads.run(threading.current_thread) is not threading.current_thread()
    await threads.close()


async def test_closed_threads_take_no_work(threads: Threads) -> None:
    """Neither before the start nor after the end."""
    for _ in range(2):
        with pytest.raises(SpoolUnavailable):
            await threads.run(int)
        threads.open()
        await threads.close()


async def test_a_full_disk_has_its_name(threads: Threads) -> None:
    """The caller can tell full from broken."""

    def fill() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    threads.open()
    with pytest.raises(SpoolFull):
        await threads.run(fill)
    await threads.close()


async def test_work_left_behind_is_done_before_the_end(threads: Threads) -> None:
    """Files that nobody waits for are removed all the same."""
    done: list[int] = []
    threads.open()
    threads.leave(done.append, 1)
    await threads.close()
    assert done == [1]
