"""One configuration's processes and sockets, from their start to their end."""

import contextlib
import math
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from filterrelay.doors.admission import Admission
from filterrelay.settings import Settings
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.children import RETIRE, Child

CONTROL = -1  # the slot of the control process
READY_WITHIN = 60.0  # seconds for a new generation
RETIRED_FOR = 3600.0  # seconds that sessions may last in one that has been replaced
MARGIN = 5.0  # seconds beyond the drain time before SIGKILL
QUICK_DEATH = 5.0  # seconds; a process that lived less is started again after a pause
PAUSE = 1.0  # seconds at first, doubled with each quick death
LONGEST_PAUSE = 30.0  # seconds

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Generation:
    """It comes, serves, is retired when the next one serves, and is drained at the end.

    loaded: when its configuration was read, in Unix time. certificate_end: when what `tls` has
    ends. band: its place in the table of admission. missing: slots to be filled, and
    when each is. unready: pipes of processes that have yet to say that they work,
    with their names. quick_deaths: how many died young in a row. ready_by,
    drain_at, kill_at: monotonic seconds at which patience ends.
    """

    number: int
    settings: Settings
    loaded: float
    sockets: dict[str, socket.socket]
    admission: Admission
    band: int
    board: Board
    tls: ssl.SSLContext | None
    certificate_end: datetime | None
    children: dict[int, tuple[Child, float]] = field(default_factory=dict)
    missing: list[tuple[int, float]] = field(default_factory=list)
    unready: dict[int, str] = field(default_factory=dict)
    quick_deaths: int = 0
    ready_by: float = math.inf
    drain_at: float = math.inf
    kill_at: float = math.inf

    def slots(self) -> tuple[int, ...]:
        """Those of the workers and of the control process."""
        return (*range(self.board.slots), CONTROL)

    def name(self, slot: int) -> str:
        """What the process there is called among the metrics and in the log."""
        return f"g{self.number}control" if slot == CONTROL else f"g{self.number}w{slot}"

    def owners(self) -> Iterator[str]:
        """Who of it may hold leases."""
        for child, _ in self.children.values():
            yield child.owner

    def wants(self, slot: int, at: float) -> None:
        """Has the slot filled at that time."""
        self.missing.append((slot, at))

    def due(self) -> list[int]:
        """The slots to be filled now; they are no longer missing."""
        now = time.monotonic()
        due = [slot for slot, at in self.missing if at <= now]
        self.missing = [(slot, at) for slot, at in self.missing if at > now]
        return due

    def took_in(self, pid: int, child: Child, ready: int) -> None:
        """A process was started. ready: the pipe on which it says that it works."""
        now = time.monotonic()
        self.children[pid] = (child, now)
        self.unready[ready] = child.process
        if self.ready_by == math.inf:
            self.ready_by = now + READY_WITHIN

    def hear(self) -> None:
        """Notes who has said that it works; who ends without a word never has."""
        readable, _, _ = select.select([*self.unready], [], [], 0)
        for pipe in readable:
            if os.read(pipe, 1):
                os.close(pipe)
                del self.unready[pipe]

    def is_ready(self) -> bool:
        """Whether all of it works."""
        return len(self.children) == len(self.slots()) and not (self.missing or self.unready)

    def lost(self, pid: int) -> Child:
        """One of its processes has ended: what it held is free."""
        child, _ = self.children.pop(pid)
        for pipe in [pipe for pipe, process in self.unready.items() if process == child.process]:
            os.close(pipe)
            del self.unready[pipe]
        if child.slot != CONTROL:
            self.board.mark(child.slot, Standing.ABSENT)
            self.admission.clear_worker(child.slot, self.band)
        return child

    def pause_after(self, lived: float) -> float:
        """Seconds before a process that lived so long is started again."""
        if lived >= QUICK_DEATH:
            self.quick_deaths = 0
            return 0.0
        pause = min(PAUSE * 2.0**self.quick_deaths, LONGEST_PAUSE)
        self.quick_deaths = min(self.quick_deaths + 1, 10)
        return pause

    def retire(self) -> None:
        """Another one serves: sessions go on to their own end, for a long time at most."""
        self._withdraw()
        self.drain_at = time.monotonic() + RETIRED_FOR
        self._signal(RETIRE)

    def drain(self) -> None:
        """Ends it within the drain time of its configuration."""
        self._withdraw()
        grace = self.settings.delivery.drain.total_seconds()
        self.drain_at, self.kill_at = math.inf, time.monotonic() + grace + MARGIN
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it now."""
        self._withdraw()
        self.drain_at, self.kill_at = math.inf, time.monotonic() + MARGIN
        self._signal(signal.SIGKILL)

    def is_draining(self) -> bool:
        """Whether it has been told to end."""
        return self.kill_at < math.inf

    def end_overdue(self) -> None:
        """Drains or kills it when it has had its time."""
        now = time.monotonic()
        if now > self.kill_at and self.children:
            log.warning("killed_overdue", generation=self.number, processes=len(self.children))
            self.kill()
        elif now > self.drain_at:
            self.drain()

    def let_go(self, keep: Collection[str] = ()) -> None:
        """Closes this process's ends of its pipes and sockets. keep: addresses it needs."""
        for address in [address for address in self.sockets if address not in keep]:
            self.sockets.pop(address).close()
        for pipe in self.unready:
            os.close(pipe)
        self.unready.clear()

    def _withdraw(self) -> None:
        """Starts nothing more; a port that isn't listened on any longer is free."""
        self.missing.clear()
        self.let_go()

    def _signal(self, number: int) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
