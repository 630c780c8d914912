"""The control process: metrics and health over HTTP, figures of the spool, housekeeping."""

import asyncio
import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from filterrelay.errors import FilterRelayError
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.observe.scrape import Summed, encoder
from filterrelay.settings import Settings
from filterrelay.spool.store import Spool, SpoolFull
from filterrelay.supervisor.board import Board, Standing
from filterrelay.supervisor.http import Answer, Request, said, serving
from filterrelay.supervisor.present import Present
from filterrelay.supervisor.queue_gauges import QueueGauges

LOOK_EVERY = 5.0  # seconds between looks at the spool
LOOK_WITHIN = 10.0  # seconds after which a look has failed
CLEAN_EVERY = 600.0  # seconds between clean-ups

log = structlog.get_logger(__name__)


class Health:
    """Whether the relay can take mail. spool_trouble: why the spool can't; empty if it can."""

    def __init__(self, board: Board) -> None:
        """Knows nothing of the spool yet."""
        self._board = board
        self.spool_trouble = "the spool has not been looked at yet"

    def troubles(self) -> list[str]:
        """Why no mail can be taken; empty when it can."""
        found = [self.spool_trouble] if self.spool_trouble else []
        if ailing := self._board.count(Standing.AILING):
            found.append(f"{ailing} of {self._board.slots} workers can't store mail")
        elif not self._board.count(Standing.READY):
            silent = self._board.count(Standing.SILENT)
            found.append("all workers hang" if silent else "no worker is ready")
        return found


class Control:
    """What the control process does until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        board: Board,
        spool: Spool,
        metrics: Metrics,
        metrics_dir: Path,
        clock: Clock,
    ) -> None:
        """Takes an unopened spool of its own."""
        self._settings = settings
        self._spool = spool
        self._metrics = metrics
        self._clock = clock
        self.health = Health(board)
        names = [upstream.name for upstream in settings.upstream]
        top = settings.metrics.top
        self._queues = QueueGauges(names, spool, metrics, clock, top)
        self._registry = CollectorRegistry()
        self._registry.register(Summed(metrics_dir, clock, top))
        self._registry.register(self._queues)
        self._registry.register(Present(self.health.troubles, board, clock))
        self._scraping = ThreadPoolExecutor(1, "scrape")  # one at a time, whoever asks

    async def run(self, sock: socket.socket | None, stop: asyncio.Event) -> None:
        """Serves and keeps house until stop is set. sock: where HTTP is asked, or None."""
        async with serving(sock, self._answer) if sock is not None else contextlib.nullcontext():
            await self._spool.open()
            try:
                async with asyncio.TaskGroup() as tasks:
                    # Neither holds up the watch; a long clean-up goes on at the next start.
                    work = (self._keep_clean(), self._keep_count())
                    beside = [tasks.create_task(each) for each in work]
                    await self._keep_watch(stop)
                    for task in beside:
                        task.cancel()
            finally:
                await self._spool.close()

    async def _keep_watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_WITHIN):
                    await self._look()
                self.health.spool_trouble = ""
            except SpoolFull as error:
                self._ail("the disk of the spool is nearly full", error)
            except TimeoutError as error:
                self._ail(f"the spool gives no answer within {LOOK_WITHIN:g} s", error)
            except (FilterRelayError, OSError) as error:
                self._ail(f"the spool can't be used: {error}", error)
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await stop.wait()
            except TimeoutError:
                continue

    def _ail(self, trouble: str, error: Exception) -> None:
        if trouble != self.health.spool_trouble:
            log.error("spool_ailing", trouble=trouble, reason=str(error))
        self.health.spool_trouble = trouble

    async def _look(self) -> None:
        """Sets the spool's gauges, and finds out whether mail can be stored."""
        depth, now = await self._spool.depth(), self._clock.now()
        for state, count in depth.messages.items():
            oldest = depth.oldest.get(state)
            age = (now - oldest).total_seconds() if oldest else 0.0
            self._metrics.spool_messages.labels(state.value).set(count)
            self._metrics.spool_oldest.labels(state.value).set(max(age, 0.0))
        await self._spool.probe()

    async def _keep_count(self) -> None:
        """Counts the queue by upstream, as long as that takes."""
        while True:
            try:
                await self._queues.look()
            except (FilterRelayError, OSError) as error:
                log.error("queue_not_counted", reason=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def _keep_clean(self) -> None:
        """Cleans up now and then, and as long as it takes: after a flood that is minutes."""
        while True:
            try:
                await self._clean()
            except (FilterRelayError, OSError) as error:
                log.error("not_cleaned_up", reason=str(error))
            await asyncio.sleep(CLEAN_EVERY)

    async def _clean(self) -> None:
        now = self._clock.now()
        removed = await self._spool.expire(
            now - self._settings.quarantine.keep, now - self._settings.spool.history
        )
        if removed:
            log.info("expired", messages=removed)

    async def _answer(self, request: Request) -> Answer:
        match request.path:
            case "/metrics":
                encode, kind = encoder(request.accept)
                loop = asyncio.get_running_loop()
                text = await loop.run_in_executor(self._scraping, encode, self._registry)
                return Answer(HTTPStatus.OK, text, kind)
            case "/healthz":
                return said(HTTPStatus.OK, "alive")
            case "/readyz":
                troubles = self.health.troubles()
                status = HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK
                return said(status, "\n".join(troubles) or "ready")
            case _:
                return said(HTTPStatus.NOT_FOUND, "/metrics, /healthz or /readyz")
