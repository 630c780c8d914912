"""The composition root: the one place that wires the parts together."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from filterrelay.chain.chain import Chain
from filterrelay.chain.loader import load_plugins
from filterrelay.chain.step import Step
from filterrelay.chain.threads import PluginThreads
from filterrelay.delivery.report import Reports
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.route import Routes
from filterrelay.delivery.scheduler import Scheduler
from filterrelay.delivery.upstream import Upstream
from filterrelay.doors.admission import WorkerAdmission
from filterrelay.doors.server import SmtpDoor
from filterrelay.intake.relaying import RelayRules
from filterrelay.intake.transaction import Intake, IntakeRules
from filterrelay.mail.outcome import Attempt
from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.resolver import DnsResolver
from filterrelay.plugin.services import Resolver, Services
from filterrelay.settings import Listener, Settings, TlsFiles
from filterrelay.spool.opening import open_spool
from filterrelay.spool.store import Spool

log = structlog.get_logger(__name__)


class Background:
    """Owns the coroutines that nobody waits for, and lets them finish at the end."""

    def __init__(self) -> None:
        """Owns nothing yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background_work_failed", exc_info=task.exception())

    async def finish(self, timeout: float) -> None:
        """Waits for what runs, then cancels the rest."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of one process at work."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    chain: Chain
    spool: Spool
    intake: Intake
    scheduler: Scheduler
    budget: MemoryBudget

    async def deliver_until(self, stop: asyncio.Event) -> None:
        """Runs delivery until stop is set; its failure ends the process."""
        delivering = asyncio.create_task(self.scheduler.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({delivering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if delivering.done():
                delivering.result()
        finally:
            stopping.cancel()
            delivering.cancel()
            await asyncio.wait({delivering, stopping})


def spool_of(settings: Settings, metrics: Metrics | None, clock: Clock) -> Spool:
    """The configuration's spool, not yet opened."""
    return open_spool(
        settings.spool.url,
        settings.state_dir,
        free_space=settings.spool.free_space,
        metrics=metrics,
        clock=clock,
    )


def services_for(
    settings: Settings, clock: Clock, resolver: Resolver, threads: dict[str, PluginThreads]
) -> Callable[[Step], Services]:
    """What each plugin is lent; its threads are noted in `threads`."""

    def services(step: Step) -> Services:
        in_thread = threads.setdefault(step.name, PluginThreads(step.name))
        return Services(
            hostname=settings.hostname,
            clock=clock,
            resolver=resolver,
            in_thread=in_thread,
            state_dir=settings.state_dir / step.name,
            base_dir=settings.base_dir,
            log=structlog.get_logger("plugin").bind(plugin=step.name),
        )

    return services


@asynccontextmanager
async def running_chain(
    settings: Settings, *, metrics: Metrics, clock: Clock
) -> AsyncIterator[Chain]:
    """The chain with every plugin inside its lifespan."""
    chain = Chain(
        load_plugins(settings, clock, metrics), settings.limits.chain_timeout.total_seconds()
    )
    resolver = DnsResolver(settings.dns.servers, settings.dns.timeout.total_seconds())
    threads: dict[str, PluginThreads] = {}
    try:
        async with chain.running(services_for(settings, clock, resolver, threads)):
            yield chain
    finally:
        for pool in threads.values():
            pool.close()


@asynccontextmanager
async def running_core(
    settings: Settings, *, owner: str, metrics: Metrics, clock: Clock
) -> AsyncIterator[Core]:
    """Everything between the doors and the next hop. owner: whom fresh mail is leased to."""
    spool = spool_of(settings, metrics, clock)
    workers = settings.workers or 1
    budget = MemoryBudget(settings.limits.in_flight_memory // workers, metrics.memory)
    background = Background()
    async with running_chain(settings, metrics=metrics, clock=clock) as chain:
        await spool.open()
        try:
            yield _core(settings, chain, spool, owner, budget, background, metrics, clock)
            await background.finish(timeout=10)
        finally:
            await spool.close()
