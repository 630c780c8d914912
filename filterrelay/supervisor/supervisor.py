"""The supervisor: binds sockets, starts processes, keeps them alive, drains, reloads.

It handles no mail and runs no event loop, and it waits for nothing but signals
and the time: what takes long is begun, and looked after at each turn. SIGHUP
has a new generation come; when it is ready, the present one is retired. Every
child watches a pipe that ends when the supervisor dies, so that nothing
outlives it for long.
"""

import contextlib
import gc
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import FrameType

import structlog
from cryptography import x509

from filterrelay import __version__
from filterrelay.app import server_tls
from filterrelay.doors.admission import Admission
from filterrelay.errors import FilterRelayError
from filterrelay.observe.log import configure
from filterrelay.observe.metrics import RELOAD_RESULTS
from filterrelay.observe.multiprocess import empty, fold, forget_gauges, worker_metrics
from filterrelay.settings import Settings, TlsFiles
from filterrelay.settings.log import log_options
from filterrelay.supervisor.activation import PassedSockets
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.generation import CONTROL, PAUSE, Generation
from filterrelay.supervisor.lock import state_lock
from filterrelay.supervisor.notify import ServiceManager
from filterrelay.supervisor.parent import Parent
from filterrelay.supervisor.privileges import NoSuchUser, account_of, hand_over
from filterrelay.supervisor.same import listened_on, require_same
from filterrelay.supervisor.sockets import listen
from filterrelay.supervisor.vigil import Vigil

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
GENERATIONS = 4  # at once; before there is another one, the oldest must end
LOAD_WITHIN = 30.0  # seconds for reading the file and making its plugins at a reload
CLEAN_WITHIN = 30.0  # seconds for freeing the mail of the dead: with half of the unit's
# WatchdogSec= less than the whole, for meanwhile there may be no worker, and so no sign of life

log = structlog.get_logger(__name__)


@dataclass
class CantStart(FilterRelayError):
    """A process could not start; the log says why."""

    process: str


class Supervisor:
    """The parent of all processes.

    load: reads and checks the configuration file. manager: who started us. passed: the
    sockets that it has bound.
    """

    def __init__(
        self, load: Callable[[], Settings], manager: ServiceManager, passed: PassedSockets
    ) -> None:
        """Starts nothing yet."""
        self._load = load
        self._manager = manager
        self._passed = passed
        self._present: Generation | None = None
        self._coming: Generation | None = None
        self._former: list[Generation] = []  # the oldest first
        self._begun = 0  # generations
        self._janitor = 0  # the process that frees the mail of the dead, while it works
        self._clean_by = math.inf
        self._clean_at = 0.0  # when it is wanted next; the first one opens the spool
        self._reload_wanted = False
        self._gone: list[str] = []  # processes whose counts are yet to be folded
        self._vigil = Vigil()

    def _living(self) -> list[Generation]:
        return [*self._former, *filter(None, (self._present, self._coming))]

    def run(self) -> int:
        """Serves until told to stop; returns the exit code. Raises FilterRelayError at start."""
        settings = self._load()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        account = account_of(settings)
        if os.geteuid() == 0 and account is None:
            log.warning("running_as_root", reason=str(NoSuchUser(settings.user)))
        with state_lock(settings.state_dir):
            self._metrics_dir = settings.state_dir / "metrics"
            empty(self._metrics_dir)
            self._metrics = worker_metrics(self._metrics_dir, "supervisor")
            self._metrics.build_info.labels(__version__).set(1)
            self._reloads = {
                result: self._metrics.reloads.labels(result) for result in RELOAD_RESULTS
            }
            with contextlib.suppress(OSError):  # a disk that is full
                fold(self._metrics_dir, ())
            hand_over(settings, account)
            self._parent = Parent(self._metrics_dir, account)
            try:
                self._begin(settings)
                self._watch()
            finally:
                self._stop()
        log.info("stopped")
        return 0

    def _watch(self) -> None:
        """Does what is to be done, until told to stop. Raises CantStart when nothing serves."""
        while True:
            received = signal.sigtimedwait(SIGNALS, self._patience())
            match received.si_signo if received else None:
                case signal.SIGTERM | signal.SIGINT:
                    return
                case signal.SIGHUP:
                    self._reload_wanted = True
            self._reap()
            self._vigil.look(self._living())
            self._clean_up()
            self._fill_slots()
            self._welcome()
            self._part()
            self._give_sign()
            if self._reload_wanted and self._coming is None:
                self._reload()

    def _give_sign(self) -> None:
        """Tells the service manager that all is well, or that it has to wait.

        Nothing is well while no worker is there. One that can't store mail counts: a new
        start frees no disk, and ends what can still be done.
        """
        if self._present is None:
            self._manager.patience("starting: it opens the spool, and starts its workers")
        elif self._present.board.count(Standing.ABSENT) < self._present.board.slots:
            self._manager.alive()

    def _patience(self) -> float:
        """Seconds until something other than a signal may have happened."""
        if self._coming is not None:
            return 0.02
        return 0.2 if self._present is not None and self._present.missing else 1.0

    def _begin(self, settings: Settings) -> None:
        """Has a new generation come. Raises CantListen."""
        before = self._present
        workers = settings.workers or len(os.sched_getaffinity(0))
        table = before.admission if before else None
        if table is None or table.workers != workers:
            table = Admission(workers, GENERATIONS)
        taken = {other.band for other in self._living() if other.admission is table}
        generation = Generation(
            number=self._begun,
            settings=settings,
            loaded=time.time(),
            sockets={},
            admission=table,
            band=min(set(range(GENERATIONS)) - taken),
            board=Board(workers),
            tls=server_tls(settings.tls),
            certificate_end=certificate_end(settings.tls),
        )
        self._begun += 1
        self._coming = generation
        names = {one.address: one.name for one in settings.listener}
        for address, options in listened_on(settings).items():
            known = before.sockets.get(address) if before else None
            generation.sockets[address] = (
                known.dup()
                if known
                else self._passed.take(address, names.get(address, "metrics"))
                or listen(address, **options)
            )
        self._passed.close_rest()
        for slot in generation.slots():
            generation.wants(slot, 0.0)
        gc.collect()
        gc.freeze()

    def _reap(self) -> None:
        """Takes note of children that ended."""
        for pid, code in _ended():
            if pid == self._janitor:
                self._janitor, self._clean_by = 0, math.inf
                if code and self._present is None:
                    raise CantStart("spool")
            for generation in self._living():
                if pid in generation.children:
                    self._lose(generation, pid, code)

    def _lose(self, generation: Generation, pid: int, code: int) -> None:
        """A child ended: the present generation's starts again, and its mail is freed."""
        lived = time.monotonic() - generation.children[pid][1]
        child = generation.lost(pid)
        forget_gauges(self._metrics_dir, child.process)
        if code and child.slot != CONTROL:
            self._clean_at = time.monotonic()
        if code or generation is self._present:
            log.error(
                "process_died", process=child.process, lived_seconds=round(lived, 1), exit_code=code
            )
        if generation is self._coming:
            self._give_up(CantStart(child.process))
        elif generation is self._present:
            self._metrics.worker_restarts.inc()
            generation.wants(child.slot, time.monotonic() + generation.pause_after(lived))

    def _clean_up(self) -> None:
        """Has the spool opened at the start, and the mail of a dead worker freed."""
        now = time.monotonic()
        if self._janitor and now > self._clean_by:
            self._clean_by = math.inf
            os.kill(self._janitor, signal.SIGKILL)
        generation = self._present or self._coming
        if self._janitor or now < self._clean_at or generation is None:
            return
        try:
            self._janitor = self._parent.clean_up(generation, self._living())
        except OSError as error:
            log.error("cannot_fork", process="janitor", reason=str(error))
            self._clean_at = now + PAUSE
            return
        self._clean_at = math.inf
        if self._present is not None:  # the first one may have a schema to bring up to date
            self._clean_by = now + CLEAN_WITHIN

    def _fill_slots(self) -> None:
        """Starts those whose time has come, unless the dead are still being cleaned up after."""
        if self._janitor or self._clean_at < math.inf:
            return
        for generation in filter(None, (self._present, self._coming)):
            for slot in generation.due():
                others = [other for other in self._living() if other is not generation]
                try:
                    self._parent.start(generation, slot, others)
                except OSError as error:
                    log.error("cannot_fork", process=generation.name(slot), reason=str(error))
                    generation.wants(slot, time.monotonic() + PAUSE)
                    if generation is self._coming:
                        self._give_up(CantStart(generation.name(slot)))
                        break

    def _welcome(self) -> None:
        """Lets the coming generation serve as soon as it is ready."""
        if self._present is not None:
            self._present.hear()
        coming = self._coming
        if coming is None:
            return
        coming.hear()
        if time.monotonic() > coming.ready_by:
            self._give_up(CantStart(next(iter(coming.unready.values()), "all")))
        elif coming.is_ready():
            before, self._present, self._coming = self._present, coming, None
            self._metrics.configured.set(coming.loaded)
            self._manager.ready(_serving(coming))
            if before is None:
                log.info("serving", workers=coming.board.slots, pid=os.getpid())
                return
            before.retire()
            self._former.append(before)
            configure(log_options(coming.settings), final=False)
            self._reloads["done"].inc()
            log.info("reloaded", generation=coming.number)

    def _give_up(self, error: Exception) -> None:
        """The coming generation won't do: the present one stays. Raises the error if none does."""
        if self._coming is not None:
            self._coming.kill()
            self._former.insert(0, self._coming)
            self._coming = None
        if self._present is None:
            raise error
        self._reloads["refused"].inc()
        log.error("reload_refused", reason=str(error))
        self._manager.ready(f"{_serving(self._present)}; reload refused: {error}")

    def _part(self) -> None:
        """Ends those that have had their time, and forgets those that have ended."""
        for generation in [*self._former]:
            generation.end_overdue()
            if not generation.children:
                self._former.remove(generation)
                self._gone += map(generation.name, generation.slots())
                log.info("generation_ended", generation=generation.number)
        if self._gone:
            with contextlib.suppress(OSError):  # a scrape is under way, or the disk is full
                fold(self._metrics_dir, self._gone)
                self._gone.clear()

    def _reload(self) -> None:
        """Begins the next generation if its configuration is good; else all stays as it is."""
        if len(self._living()) >= GENERATIONS:
            if not any(former.is_draining() for former in self._former):
                log.warning("reload_waits", generation=self._former[0].number)
                self._former[0].drain()
            return
        self._reload_wanted = False
        assert self._present is not None  # none is coming, so there is one
        self._manager.reloading()
        try:
            with _limited(LOAD_WITHIN):
                settings = self._load()
            require_same(settings, self._present.settings)
            self._begin(settings)
        except (FilterRelayError, OSError) as error:
            self._give_up(error)
        except Exception as error:  # the seam: a plugin may raise anything while it is loaded
            log.exception("reload_failed")
            self._give_up(error)

    def _stop(self) -> None:
        """Drains all, and kills what takes too long."""
        log.info("stopping")
        self._manager.stopping()
        for generation in self._living():
            if not generation.is_draining():
                generation.drain()
        if self._janitor:
            os.kill(self._janitor, signal.SIGTERM)
        while any(generation.children for generation in self._living()) or self._janitor:
            for pid, _ in _ended():
                self._janitor = 0 if pid == self._janitor else self._janitor
                for generation in self._living():
                    generation.children.pop(pid, None)
            for generation in self._living():
                generation.end_overdue()
            self._manager.patience("draining")
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)


def certificate_end(files: TlsFiles) -> datetime | None:
    """When the certificate that the doors have just read ends, if there is one.

    None also for one that OpenSSL takes, and cryptography doesn't.
    """
    if files.certificate is None:
        return None
    try:
        return x509.load_pem_x509_certificate(files.certificate.read_bytes()).not_valid_after_utc
    except ValueError:
        return None


def _serving(generation: Generation) -> str:
    workers = generation.board.slots
    return f"serving with {workers} worker{'' if workers == 1 else 's'}"


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises TimeoutError where the work within takes longer."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it was not loaded within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _ended() -> Iterator[tuple[int, int]]:
    """The children that ended since the last look, and their exit codes."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)
