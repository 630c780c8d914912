"""The composition root: the one place that wires the parts together."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from filterrelay.chain.chain import Chain
from filterrelay.chain.loader import load_plugins
from filterrelay.chain.step import Step
from filterrelay.chain.threads import PluginThreads
from filterrelay.delivery.configured import (
    Destinations,
    keeps_requiretls,
    known_destinations,
    reporting_tls,
    reports_of,
    routes_of,
    schedule_of,
)
from filterrelay.delivery.hops import Hops
from filterrelay.delivery.passages import Passages
from filterrelay.delivery.record import Recorder
from filterrelay.delivery.scheduler import Scheduler
from filterrelay.delivery.tls_report import Send
from filterrelay.doors.admission import WorkerAdmission
from filterrelay.doors.milter.session import MilterSession
from filterrelay.doors.policy import DoorPolicy
from filterrelay.doors.proxy import ProxySession
from filterrelay.doors.server import Door, OpenSession
from filterrelay.doors.smtp import SmtpSession
from filterrelay.intake.conversion import signed_again
from filterrelay.intake.relaying import IntakeRules, RelayRules
from filterrelay.intake.transaction import Intake
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Attempt
from filterrelay.mail.session import Session
from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.resolver import DnsResolver
from filterrelay.plugin.services import Resolver, Services
from filterrelay.settings import Listener, Settings, TlsFiles
from filterrelay.spool.opening import open_spool
from filterrelay.spool.store import Spool

log = structlog.get_logger(__name__)

SESSIONS: Mapping[str, OpenSession] = {  # of the doors that need no more
    "smtp": SmtpSession,
    "milter": MilterSession,
}


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
    """The parts of one process at work. passages: by the name of the listener that passes on."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    chain: Chain
    spool: Spool
    intake: Intake
    scheduler: Scheduler
    budget: MemoryBudget
    hops: Hops
    passages: Mapping[str, Passages]

    async def deliver_until(self, stop: asyncio.Event) -> None:
        """Runs delivery until stop is set; its failure ends the process.

        What is in hand then goes on, under its leases, until the scheduler is drained.
        """
        delivering = self.scheduler.start()
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({delivering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if delivering.done():
                delivering.result()
        finally:
            stopping.cancel()
            self.scheduler.stop()


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
async def running_resolver(settings: Settings, clock: Clock) -> AsyncIterator[DnsResolver]:
    """The DNS as the configuration has it, for all parts of a process. Raises BadDnsServers."""
    resolver = DnsResolver(
        settings.dns.servers, settings.dns.timeout, clock, validating=settings.dns.validating
    )
    try:
        yield resolver
    finally:
        await resolver.close()


@asynccontextmanager
async def running_chain(
    settings: Settings, resolver: Resolver, *, metrics: Metrics, clock: Clock
) -> AsyncIterator[Chain]:
    """The chain with every plugin inside its lifespan."""
    plugins = load_plugins(settings, clock, metrics)
    chain = Chain(plugins, settings.limits.chain_timeout.total_seconds())
    threads: dict[str, PluginThreads] = {}
    try:
        async with chain.running(services_for(settings, clock, resolver, threads)):
            yield chain
    finally:
        for pool in threads.values():
            pool.close()


@asynccontextmanager
async def running_core(
    settings: Settings, *, owner: str, metrics: Metrics, clock: Clock, processes: int = 1
) -> AsyncIterator[Core]:
    """Everything between the doors and the next hop.

    owner: whom fresh mail is leased to. processes: how many share the memory budget
    and the next hops' rates.
    """
    spool = spool_of(settings, metrics, clock)
    background = Background()
    async with (
        running_resolver(settings, clock) as resolver,
        known_destinations(settings, resolver, owner, clock) as known,
        running_chain(settings, resolver, metrics=metrics, clock=clock) as chain,
    ):
        await spool.open()
        try:
            core = _core(
                settings, chain, known, spool, owner, processes, background, metrics, clock
            )
            async with reporting_tls(settings, known, _submitting(core), clock, metrics):
                yield core
            core.hops.close()  # also those that only a destination's mail went to
            await background.finish(timeout=10)
        finally:
            await spool.close()


def _core(
    settings: Settings,
    chain: Chain,
    known: Destinations,
    spool: Spool,
    owner: str,
    processes: int,
    background: Background,
    metrics: Metrics,
    clock: Clock,
) -> Core:
    """Delivery needs the intake for its reports, and the intake delivery for its mail."""

    async def submit(envelope: Envelope, raw: bytes, about: str) -> str:
        report = await intake.submit(envelope, raw, about=about)
        scheduler.nudge()
        return report

    def told(attempt: Attempt) -> None:
        background(chain.tell_attempt(attempt))

    def lacks_eight_bit(session: Session, envelope: Envelope) -> bool:
        if session.listener in passages:
            return hops.lacks_eight_bit(Hop(passages[session.listener].config.name))
        ways = (
            routes.by_file(envelope.sender, each.address, session.login)
            for each in envelope.recipients
        )
        return any(hops.lacks_eight_bit(way.hop) for way in ways)

    budget = MemoryBudget(settings.limits.in_flight_memory // processes)
    hops = Hops(
        settings.upstream,
        settings.route,
        settings.hostname,
        metrics,
        processes,
        known.resolver,
        known.tally.note if settings.delivery.tls_reports else None,
        destinations=settings.destination,
    )
    routes = routes_of(settings, chain.route if chain.routes else None, known)
    tell = told if chain.observed("on_attempt") else None
    configured = {each.name: each for each in settings.upstream}
    passages = {
        each.name: Passages(
            config=configured[each.upstream],
            upstream=hops.named(each.upstream),
            hostname=settings.hostname,
            spool=spool,
            clock=clock,
            metrics=metrics,
            recorder=Recorder(metrics, tell),
            background=background,
        )
        for each in settings.listener
        if each.kind == "proxy"
    }
    scheduler = Scheduler(
        spool=spool,
        owner=owner,
        routes=routes,
        open_hop=hops.open,
        schedule=schedule_of(settings),
        reports=reports_of(settings, submit, clock),
        clock=clock,
        metrics=metrics,
        memory=budget,
        on_attempt=tell,
        sign=partial(signed_again, chain),
    )
    rules = {
        each.name: RelayRules(each, settings.hostname, routes.refusal) for each in settings.listener
    }
    intake = Intake(
        IntakeRules(settings.hostname, rules, settings.limits.received_headers),
        chain,
        spool,
        owner,
        scheduler.submit,
        clock,
        metrics,
        background,
        lacks_eight_bit,
    )
    return Core(settings, clock, metrics, chain, spool, intake, scheduler, budget, hops, passages)


def _submitting(core: Core) -> Send:
    """Signs and spools mail of the relay's own, of each ID once, and has it sent."""

    async def submit(envelope: Envelope, raw: bytes, id_: str) -> None:
        if not await core.spool.events(id_):
            await core.intake.submit(envelope, raw, id_=id_)
            core.scheduler.nudge()

    return submit


def server_tls(files: TlsFiles) -> ssl.SSLContext | None:
    """What the doors encrypt with, if there is a certificate."""
    if files.certificate is None or files.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if files.minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    )
    context.load_cert_chain(files.certificate, files.key)
    return context


def session_of(core: Core, listener: Listener) -> OpenSession:
    """What speaks with the listener's clients."""
    if listener.kind == "proxy":
        return partial(ProxySession, passages=core.passages[listener.name])
    return SESSIONS[listener.kind]


async def open_doors(
    core: Core,
    sockets: Mapping[str, socket.socket],
    admission: WorkerAdmission,
    tls: ssl.SSLContext | None,
) -> list[Door]:
    """Every listener's door, taking connections. sockets: by the listeners' addresses."""
    settings = core.settings
    kept = keeps_requiretls(settings)
    doors = []
    for listener in settings.listener:
        policy = DoorPolicy(
            listener=listener,
            limits=settings.limits,
            hostname=settings.hostname,
            tls=None if listener.tls == "none" else tls,
            offer_requiretls=listener.requiretls and kept,
        )
        door = Door(
            policy,
            session_of(core, listener),
            core.intake,
            core.budget,
            admission,
            core.metrics,
            core.clock,
        )
        await door.start(sockets[listener.address])
        doors.append(door)
    return doors
