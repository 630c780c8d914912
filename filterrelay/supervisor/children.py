"""What the supervisor's children do, from the fork to their exit code."""

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
import uvloop

from filterrelay.app import (
    Background,
    Core,
    open_doors,
    running_core,
    running_resolver,
    spool_of,
)
from filterrelay.chain.probing import watch_plugins
from filterrelay.doors.admission import Admission
from filterrelay.doors.server import Door
from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.log import configure
from filterrelay.observe.multiprocess import worker_metrics
from filterrelay.observe.notes import kept, notes_file
from filterrelay.observe.process import watch_loop, watch_memory, watch_usage
from filterrelay.settings import Settings
from filterrelay.settings.log import log_options
from filterrelay.spool.store import Spool
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.control import LOOK_EVERY, LOOK_WITHIN, Control
from filterrelay.supervisor.key_watch import watch_keys
from filterrelay.supervisor.lock import ORPHANS_END
from filterrelay.supervisor.privileges import Account, drop_to

PROBING = 0  # the slot of the worker that asks plugins how they are, for all
RETIRE = signal.SIGUSR1  # what a child hears when its successors are ready
TELL = signal.SIGUSR2  # a child that hangs writes to standard error where its threads are
STDERR = 2
SESSIONS_PART = 0.8  # of a drain's time at most; deliveries go on meanwhile, and have the rest

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
    slot: the worker's number. band: its generation's place in admission. life: a
    pipe that ends when the parent dies; ready: one to say that it works. tls:
    read before privileges are dropped; certificate_end: when its certificate ends.
    """

    settings: Settings
    sockets: Mapping[str, socket.socket]
    admission: Admission
    band: int
    board: Board
    tls: ssl.SSLContext | None
    certificate_end: datetime | None
    metrics_dir: Path
    process: str
    owner: str
    slot: int
    life: int
    ready: int
    account: Account | None

    def say_ready(self) -> None:
        """Tells the parent, once."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.ready, b"1")
        os.close(self.ready)


def fork(child: Child, main: Callable[[Child], Coroutine[Any, Any, None]]) -> int:
    """Starts main in a process of its own; returns its number in the parent. Raises OSError."""
    _flush()
    pid = os.fork()
    if pid:
        return pid
    code = BROKEN
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        faulthandler.register(TELL, STDERR)
        configure(log_options(child.settings))
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
        _flush()
        os._exit(code)  # whatever happens: a child that came out of here would be a second parent


def _flush() -> None:
    """Hands on what was said, or keeps it where the disk is full or the reader gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()


def _give_memory_back() -> None:
    """Keeps the C library from holding on to the memory of large messages that are gone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc; others have no such habit
        mallopt(MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(ARENA_MAX, 2)


class Orders:
    """What the parent has told this process; its death is an order, too.

    retire: to let its sessions come to their end. stop: to end within `grace` seconds.
    """

    def __init__(self, child: Child) -> None:
        """Listens from now on."""
        self.retire, self.stop = asyncio.Event(), asyncio.Event()
        self.grace = child.settings.delivery.drain.total_seconds()
        self._life = child.life
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(RETIRE, self.retire.set)
        self._loop.add_signal_handler(signal.SIGTERM, self.stop.set)
        self._loop.add_reader(child.life, self._orphaned)

    def _orphaned(self) -> None:
        """Ends soon, since a successor waits for the state directory; nobody is left to kill it."""
        self._loop.remove_reader(self._life)
        signal.alarm(int(ORPHANS_END))
        self.grace = min(self.grace, ORPHANS_END / 2)
        self.stop.set()


async def work(child: Child) -> None:
    """A worker: doors and delivery both."""
    orders, settings, clock = Orders(child), child.settings, SystemClock()
    names = settings.metrics.top > 0
    metrics = worker_metrics(child.metrics_dir, child.process, names=names)
    async with (
        kept(metrics.notes, notes_file(child.metrics_dir, child.process)),
        running_core(
            settings, owner=child.owner, metrics=metrics, clock=clock, processes=child.board.slots
        ) as core,
    ):
        admission = child.admission.for_worker(child.slot, child.band)
        doors = await open_doors(core, child.sockets, admission, child.tls)
        child.board.mark(child.slot, Standing.READY)
        child.say_ready()
        beside, to_the_end = Background(), Background()
        beside(retire(core, doors, orders))
        beside(watch_spool(core.spool, child.board, child.slot))
        to_the_end(watch_usage(metrics, "worker"))
        to_the_end(watch_loop(metrics, clock))
        to_the_end(watch_memory(metrics, core.budget))
        if child.slot == PROBING:
            beside(until(orders.retire, watch_plugins(core.chain.plugins, metrics)))
        try:
            await core.deliver_until(orders.stop)
        finally:
            await beside.finish(timeout=0)
            child.board.mark(child.slot, Standing.ABSENT)
            await drain(core, doors, orders.grace)
            await to_the_end.finish(timeout=0)


async def until(over: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Does the work until then."""
    task = asyncio.create_task(work)
    try:
        await over.wait()
    finally:
        task.cancel()


async def retire(core: Core, doors: Sequence[Door], orders: Orders) -> None:
    """Once told to, takes no more clients, and stops when the last one has left.

    Their mail is the successor's to deliver: its file may name other next hops.
    """
    await orders.retire.wait()
    core.scheduler.retire()
    await asyncio.gather(*(door.retire() for door in doors))
    orders.stop.set()


async def watch_spool(spool: Spool, board: Board, slot: int) -> None:
    """Tells whether this process can write; the disk itself is the control process's business."""
    ailing = False
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                await spool.record(())
        except (FilterRelayError, OSError) as error:
            if not ailing:
                log.error("worker_ailing", reason=str(error) or "the spool gives no answer")
            ailing = True
            board.mark(slot, Standing.AILING)
        else:
            ailing = False
            board.mark(slot, Standing.READY)


async def drain(core: Core, doors: Sequence[Door], grace: float) -> None:
    """Ends sessions and then deliveries, all within grace seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + grace
    await asyncio.gather(*(door.drain(grace * SESSIONS_PART) for door in doors))
    await core.scheduler.drain(max(end - loop.time(), 0.0))


async def control(child: Child) -> None:
    """The control process; it ends as soon as another one is there."""
    orders, settings, clock = Orders(child), child.settings, SystemClock()
    asyncio.get_running_loop().add_signal_handler(RETIRE, orders.stop.set)
    metrics = worker_metrics(child.metrics_dir, child.process)
    spool = spool_of(settings, metrics, clock)
    service = Control(settings, child.board, spool, metrics, child.metrics_dir, clock)
    if child.certificate_end is not None:
        metrics.certificate_expiry.set(child.certificate_end.timestamp())
    beside = Background()
    async with running_resolver(settings, clock) as resolver:
        beside(watch_usage(metrics, "control"))
        beside(watch_keys(settings, resolver, metrics))
        child.say_ready()
        try:
            await service.run(child.sockets.get(settings.metrics.address), orders.stop)
        finally:
            await beside.finish(timeout=0)


def janitor(alive: Iterable[str]) -> Callable[[Child], Coroutine[Any, Any, None]]:
    """A short-lived process that opens the spool and frees the mail of the dead."""
    owners = tuple(alive)

    async def run(child: Child) -> None:
        clock = SystemClock()
        spool = spool_of(child.settings, None, clock)
        await spool.open()
        try:
            freed = await spool.recover(clock.now(), owners)
        finally:
            await spool.close()
        if freed:
            log.info("leases_recovered", messages=freed)

    return run
