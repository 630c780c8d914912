"""The watch over workers that hang: they say where, and after a while are ended."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

import structlog

from filterrelay.supervisor.board import Standing
from filterrelay.supervisor.children import TELL
from filterrelay.supervisor.generation import CONTROL, Generation

ENDED_AFTER = 90.0  # seconds more than board.SILENT_AFTER
_LONGEST_STEP = 2.0  # seconds; a pause of the whole machine is no worker's fault

log = structlog.get_logger(__name__)


class Vigil:
    """Looks at each worker about once a second. kill: ends a process or asks it something."""

    def __init__(self, kill: Callable[[int, int], None] = os.kill) -> None:
        self._kill = kill
        self._silent: dict[int, float] = {}  # seconds by process number
        self._looked = time.monotonic()

    def look(self, generations: Iterable[Generation]) -> None:
        """Asks who has become silent where it hangs, and ends who has been so for long.

        Such a process would hold its clients, and the mail that it has leased, for ever; its
        end gives both free, and another one starts.
        """
        now, silent = time.monotonic(), self._silent
        step, self._looked = min(now - self._looked, _LONGEST_STEP), now
        self._silent = {}
        for generation in generations:
            for pid, (child, _) in generation.children.items():
                if child.slot == CONTROL or not _hangs(generation, child.slot):
                    continue
                if pid not in silent:
                    log.error("worker_silent", process=child.process)
                    self._signal(pid, TELL)
                self._silent[pid] = silent.get(pid, 0.0) + step
                if self._silent[pid] > ENDED_AFTER:
                    self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._kill(pid, number)


def _hangs(generation: Generation, slot: int) -> bool:
    return generation.board.standing(slot) is Standing.SILENT
