"""The supervisor: binds sockets, starts processes, keeps them alive, drains, reloads.

It handles no mail and runs no event loop. A generation is one configuration's
processes; SIGHUP starts the next beside the present one, which is drained as
soon as the new one is ready. Every child watches a pipe that ends when the
supervisor dies, so that nothing outlives it for longer than it takes to drain.
"""

import contextlib
import gc
import os
import secrets
import select
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from filterrelay.app import server_tls
from filterrelay.doors.admission import Admission
from filterrelay.errors import FilterRelayError
from filterrelay.observe.metrics import forget_gauges, worker_metrics
from filterrelay.settings import Settings
from filterrelay.supervisor.board import Board
from filterrelay.supervisor.children import Child, control, fork, janitor, work
from filterrelay.supervisor.lock import state_lock
from filterrelay.supervisor.privileges import account_to_become, hand_over
from filterrelay.supervisor.sockets import listen

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
READY_WITHIN = 60.0  # seconds for a new generation
QUICK_DEATH = 5.0  # seconds; a process that lived less is started again after a pause
PAUSE = 1.0  # seconds at first, doubled with each quick death
LONGEST_PAUSE = 30.0  # seconds
MARGIN = 5.0  # seconds beyond the drain time before SIGKILL

log = structlog.get_logger(__name__)


@dataclass
class CantStart(FilterRelayError):
    """A process could not start; the log says why."""

    process: str


@dataclass
class CantReload(FilterRelayError):
    """That can't be changed while running."""

    key: str


@dataclass(slots=True)
class Generation:
    """One configuration's processes and sockets.

    missing: processes that died, and when each is started again. quick_deaths:
    how many died young in a row. until: when a draining generation is killed.
    """

    number: int
    settings: Settings
    sockets: dict[str, socket.socket]
    admission: Admission
    board: Board
    tls: ssl.SSLContext | None
    children: dict[int, tuple[Child, float]] = field(default_factory=dict)
    missing: list[tuple[Child, float]] = field(default_factory=list)
    quick_deaths: int = 0
    until: float = 0.0

    def owners(self) -> list[str]:
        """Who of it may hold leases."""
        return [child.owner for child, _ in self.children.values()]


class Supervisor:
    """The parent of all processes. load: reads and checks the configuration file."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        """Starts nothing yet."""
        self._load = load
        self._boot = secrets.token_hex(4)
        self._forks = 0
        self._generations: list[Generation] = []
        self._life = os.pipe()

    @property
    def _present(self) -> Generation:
        return self._generations[-1]

    def run(self) -> int:
        """Serves until told to stop; returns the exit code. Raises FilterRelayError at start."""
        settings = self._load()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        chosen = "user" in settings.model_fields_set
        self._account = account_to_become(settings.user, chosen=chosen)
        if os.geteuid() == 0 and self._account is None:
            log.warning("RUNNING AS ROOT", reason=f"there is no user {settings.user}")
        with state_lock(settings.state_dir):
            self._metrics_dir = settings.state_dir / "metrics"
            shutil.rmtree(self._metrics_dir, ignore_errors=True)
            self._metrics_dir.mkdir(parents=True)
            hand_over(settings.state_dir, self._account)
            self._restarts = worker_metrics(self._metrics_dir, "supervisor").worker_restarts
            try:
                self._generations = [self._start(settings)]
                log.info("serving", workers=self._present.board.slots, pid=os.getpid())
                self._watch()
            finally:
                self._stop()
        log.info("stopped")
        return 0

    def _start(self, settings: Settings) -> Generation:
        """A new generation, ready. Raises CantListen, CantStart."""
        before = self._present if self._generations else None
        workers = settings.workers or len(os.sched_getaffinity(0))
        generation = Generation(
            number=before.number + 1 if before else 0,
            settings=settings,
            sockets={},
            admission=Admission(workers),
            board=Board(workers),
            tls=server_tls(settings.tls),
        )
        try:
            for address in _addresses(settings):
                known = before.sockets.get(address) if before else None
                generation.sockets[address] = known.dup() if known else listen(address)
            self._clean_up_after(generation)
            gc.collect()
            gc.freeze()
            pipes = [self._fork_worker(generation, slot) for slot in range(workers)]
            pipes.append(self._fork(generation, "control", control, slot=-1))
            _await_ready(pipes)
        except BaseException:
            self._kill(generation)
            raise
        return generation

    def _clean_up_after(self, generation: Generation) -> None:
        """Opens the spool once, and frees the mail whose process is gone."""
        alive = [owner for other in self._generations for owner in other.owners()]
        run = janitor(alive)
        child = self._child(generation, "janitor", slot=-1, ready=os.open(os.devnull, os.O_WRONLY))
        pid = fork(child, run)
        os.close(child.ready)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status):
            raise CantStart("spool")

    def _child(self, generation: Generation, process: str, *, slot: int, ready: int) -> Child:
        self._forks += 1
        return Child(
            settings=generation.settings,
            sockets=generation.sockets,
            admission=generation.admission,
            board=generation.board,
            tls=generation.tls,
            metrics_dir=self._metrics_dir,
            process=process,
            owner=f"{self._boot}-{self._forks}",
            slot=slot,
            life=self._life[0],
            ready=ready,
            account=self._account,
        )

    def _fork_worker(self, generation: Generation, slot: int) -> tuple[str, int]:
        return self._fork(generation, f"g{generation.number}w{slot}", work, slot=slot)

    def _fork(
        self,
        generation: Generation,
        process: str,
        main: Callable[[Child], Coroutine[Any, Any, None]],
        *,
        slot: int,
    ) -> tuple[str, int]:
        """Starts a child; returns its name and the pipe on which it says that it is ready."""
        reading, writing = os.pipe()
        child = self._child(generation, process, slot=slot, ready=writing)

        async def alone(child: Child) -> None:
            os.close(reading)
            os.close(self._life[1])
            await main(child)

        pid = fork(child, alone)
        os.close(writing)
        generation.children[pid] = (child, time.monotonic())
        return process, reading

    def _watch(self) -> None:
        """Handles signals until told to stop."""
        while True:
            received = signal.sigtimedwait(SIGNALS, 0.2 if self._present.missing else 1.0)
            self._reap()
            self._replace_missing()
            self._end_overdue()
            match received.si_signo if received else None:
                case signal.SIGTERM | signal.SIGINT:
                    return
                case signal.SIGHUP:
                    self._reload()

    def _reap(self) -> None:
        """Takes note of children that ended; the present generation's will start again."""
        for pid in _ended():
            for generation in self._generations:
                if pid not in generation.children:
                    continue
                child, started = generation.children.pop(pid)
                forget_gauges(self._metrics_dir, child.process)
                if generation is self._present:
                    self._miss(generation, child, time.monotonic() - started)
                break
        for generation in [g for g in self._generations[:-1] if not g.children]:
            _close(generation)
            self._generations.remove(generation)
            log.info("drained", generation=generation.number)

    def _miss(self, generation: Generation, child: Child, lived: float) -> None:
        """Plans the start of another in its place: at once, or later if it keeps dying."""
        log.error("process_died", process=child.process, lived_seconds=round(lived, 1))
        self._restarts.inc()
        pause = 0.0
        if lived < QUICK_DEATH:
            pause = min(PAUSE * 2**generation.quick_deaths, LONGEST_PAUSE)
            generation.quick_deaths = min(generation.quick_deaths + 1, 10)
        else:
            generation.quick_deaths = 0
        if child.slot >= 0:
            generation.board.mark(child.slot, ready=False)
            generation.admission.clear_worker(child.slot)
        generation.missing.append((child, time.monotonic() + pause))

    def _replace_missing(self) -> None:
        """Starts those again whose time has come."""
        generation, now = self._present, time.monotonic()
        due = [child for child, at in generation.missing if at <= now]
        generation.missing = [(child, at) for child, at in generation.missing if at > now]
        if any(child.slot >= 0 for child in due):
            with contextlib.suppress(CantStart):  # the janitor said why; the worker may do better
                self._clean_up_after(generation)
        for child in due:
            if child.slot >= 0:
                _, ready = self._fork_worker(generation, child.slot)
            else:
                _, ready = self._fork(generation, child.process, control, slot=child.slot)
            os.close(ready)

    def _reload(self) -> None:
        """The next generation, if its configuration is good; else all stays as it is."""
        try:
            settings = self._load()
            if settings.state_dir != self._present.settings.state_dir:
                raise CantReload("state_dir")
            generation = self._start(settings)
        except (FilterRelayError, OSError) as error:
            log.error("reload_refused", reason=str(error))
            return
        self._drain(self._present)
        self._generations.append(generation)
        log.info("reloaded", generation=generation.number)

    def _drain(self, generation: Generation) -> None:
        grace = generation.settings.delivery.drain.total_seconds()
        generation.until = time.monotonic() + 2 * grace + MARGIN
        for pid in generation.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _end_overdue(self) -> None:
        for generation in self._generations:
            if generation.until and time.monotonic() > generation.until:
                self._kill(generation)

    def _kill(self, generation: Generation) -> None:
        for pid in generation.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in generation.children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        generation.children.clear()
        _close(generation)

    def _stop(self) -> None:
        """Drains all, and kills what takes too long."""
        log.info("stopping")
        for generation in self._generations:
            _close(generation)
            if not generation.until:
                self._drain(generation)
        while any(generation.children for generation in self._generations):
            for pid in _ended():
                for generation in self._generations:
                    generation.children.pop(pid, None)
            self._end_overdue()
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)


def _addresses(settings: Settings) -> list[str]:
    """Everything to listen on."""
    wanted = [listener.address for listener in settings.listener]
    return [*wanted, settings.metrics.address] if settings.metrics.address else wanted


def _await_ready(pipes: list[tuple[str, int]]) -> None:
    """Waits until every child has said that it is ready. Raises CantStart."""
    deadline = time.monotonic() + READY_WITHIN
    try:
        for process, pipe in pipes:
            left = max(deadline - time.monotonic(), 0)
            readable, _, _ = select.select([pipe], [], [], left)
            if not readable or not os.read(pipe, 1):
                raise CantStart(process)
    finally:
        for _, pipe in pipes:
            os.close(pipe)


def _ended() -> list[int]:
    """The children that ended since the last look."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.append(pid)
    return ended


def _close(generation: Generation) -> None:
    for sock in generation.sockets.values():
        sock.close()
    generation.sockets.clear()
