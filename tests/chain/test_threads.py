"""Threads for blocking work."""

import asyncio
import threading

from filterrelay.chain.threads import PluginThreads


async def test_blocking_work_runs_beside_the_loop_and_no_more_than_allowed_at_once() -> None:
    """A slow daemon takes its own threads and nobody else's."""
    threads = PluginThreads("slow", threads=2)
    gate, running, most = threading.Event(), list[int](), list[int]()
    two_at_work = threading.Semaphore(0)

    def work(number: int) -> int:
        running.append(number)
        most.append(len(running))
        two_at_work.release()
        gate.wait(10)
        running.remove(number)
        return number

    tasks = [asyncio.create_task(threads(work, n)) for n in range(5)]
    for _ in range(2):
        await asyncio.to_thread(two_at_work.acquire, timeout=10)
    gate.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3, 4]
    assert max(most) <= 2
    threads.close()
