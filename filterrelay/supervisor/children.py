"""What the supervisor's children do, from the fork to their exit code."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvloop

from filterrelay.app import open_doors, running_core, spool_of
from filterrelay.doors.admission import Admission
from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.multiprocess import worker_metrics
from filterrelay.settings import Settings
from filterrelay.supervisor.board import Board
from filterrelay.supervisor.control import Control
from filterrelay.supervisor.privileges import Account, drop_to

FAILED = 1  # exit codes
BROKEN = 70  # EX_SOFTWARE of sysexits.h
MMAP_THRESHOLD, ARENA_MAX = -3, -8  # glibc's mallopt(3): M_MMAP_THRESHOLD, M_ARENA_MAX
LARGE_BLOCK = 1024**2  # octets from which a block goes back to the system when it is freed
GC_THRESHOLDS = (20_000, 20, 50)  # a relay makes few cycles and many short-lived values

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Child:
    """What a child process gets from its parent.

    process: its name among the metrics. owner: the name it leases mail to.
    slot: the worker's number. life: a pipe that ends when the parent dies;
    ready: one to say that it works. tls: read before privileges are dropped.
    """

    settings: Settings
    sockets: Mapping[str, socket.socket]
    admission: Admission
    board: Board
    tls: ssl.SSLContext | None
    metrics_dir: Path
    process: str
    owner: str
    slot: int
    life: int
    ready: int
    account: Account | None

    def say_ready(self) -> None:
        """Tells the parent, once; it listens at the start of a generation only."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.ready, b"1")
        os.close(self.ready)


def fork(child: Child, main: Callable[[Child], Coroutine[Any, Any, None]]) -> int:
    """Starts main in a process of its own; returns its number in the parent."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = BROKEN
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.set_threshold(*GC_THRESHOLDS)
        _give_memory_back()
        if child.account is not None:
            drop_to(child.account)
        uvloop.run(main(child))
        code = 0
    except (FilterRelayError, OSError) as error:
        log.error("process_failed", process=child.process, reason=str(error))
        code = FAILED
    except Exception:  # the seam: whatever it was, the parent must see an exit code
        log.exception("process_failed", process=child.process)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _give_memory_back() -> None:
    """Keeps the C library from holding on to the memory of large messages that are gone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc; others have no such habit
        mallopt(MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(ARENA_MAX, 2)


def _until_told(child: Child) -> asyncio.Event:
    """An event that SIGTERM and the parent's death set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def parent_died() -> None:
        loop.remove_reader(child.life)
        stop.set()

    loop.add_reader(child.life, parent_died)
    return stop


async def work(child: Child) -> None:
    """A worker: doors and delivery both."""
    stop = _until_told(child)
    settings, clock = child.settings, SystemClock()
    metrics = worker_metrics(child.metrics_dir, child.process)
    grace = settings.delivery.drain.total_seconds()
    async with running_core(
        settings, owner=child.owner, metrics=metrics, clock=clock, processes=child.board.slots
    ) as core:
        admission = child.admission.for_worker(child.slot)
        doors = await open_doors(core, child.sockets, admission, child.tls)
        child.board.mark(child.slot, ready=True)
        child.say_ready()
        try:
            await core.deliver_until(stop)
        finally:
            child.board.mark(child.slot, ready=False)
            await asyncio.gather(*(door.drain(grace) for door in doors))
            await core.scheduler.drain(grace)


async def control(child: Child) -> None:
    """The control process."""
    stop = _until_told(child)
    settings, clock = child.settings, SystemClock()
    metrics = worker_metrics(child.metrics_dir, child.process)
    spool = spool_of(settings, metrics, clock)
    service = Control(settings, child.board, spool, metrics, child.metrics_dir, clock)
    child.say_ready()
    await service.run(child.sockets.get(settings.metrics.address), stop)


def janitor(alive: Iterable[str]) -> Callable[[Child], Coroutine[Any, Any, None]]:
    """A short-lived process that opens the spool and frees the mail of the dead."""
    owners = tuple(alive)

    async def run(child: Child) -> None:
        clock = SystemClock()
        metrics = worker_metrics(child.metrics_dir, child.process)
        spool = spool_of(child.settings, metrics, clock)
        await spool.open()
        try:
            freed = await spool.recover(clock.now(), owners)
        finally:
            await spool.close()
        if freed:
            log.info("leases_recovered", messages=freed)

    return run
