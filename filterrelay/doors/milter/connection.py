"""The stream under a milter session: events in, octets out, time-outs, draining, the end."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import structlog

from filterrelay.doors.policy import Reception
from filterrelay.mail.reply import TRY_LATER, Reply
from filterrelay.mail.session import Session
from filterrelay.wire import milter
from filterrelay.wire.milter import Conversation, Event, State, Wishes

PROGRESS_EVERY = 5.0  # seconds; the least that an MTA waits for a reply is Sendmail's 10 s
IDLE = 7210.0  # seconds, MI_TIMEOUT of libmilter, which MTAs are used to
LOOK_EVERY = 60.0  # seconds between looks at who has been silent for too long
QUIET = 1.0  # seconds without an event after which a session is left when the door drains
BETWEEN = (State.NEW, State.READY, State.SESSION)  # messages

log = structlog.get_logger(__name__)

Work = Coroutine[Any, Any, None]


class KeepingWaiting:
    """While it is entered, tells the MTA that we are still at work, or it would give us up."""

    __slots__ = ("_loop", "_timer", "_write")

    def __init__(self, loop: asyncio.AbstractEventLoop, write: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._write = write
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(PROGRESS_EVERY, self._tell)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._write(milter.PROGRESS)
        self.__enter__()


class MilterConnection(asyncio.Protocol, ABC):
    """One connection of an MTA.

    Events are taken as they arrive. What one asks for that takes time is worked on by
    converse(); until that is done the next ones wait, and no more are read.
    """

    _stream: asyncio.Transport

    def __init__(self, reception: Reception, about: Session, wishes: Wishes) -> None:
        self.reception = reception
        self.client = about  # the MTA's client, as far as it has told
        self.mta = Conversation(wishes)
        self._loop = reception.loop
        self._events: deque[Event] = deque()
        self._work: Work | None = None
        self._asked: Event | None = None  # for that work
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._read_paused = False
        self.deaf = False  # the MTA reads too slowly
        self._draining = False
        self._heard = self._loop.time()  # when the MTA last spoke, or caught up
        self._timer: asyncio.TimerHandle | None = None
        self.keeping_waiting = KeepingWaiting(self._loop, self.write)

    @abstractmethod
    def take(self, event: Event) -> Work | None:
        """Notes an event; what takes time is given back, and answers it when it is done."""

    @abstractmethod
    def failed(self, event: Event) -> None:
        """Answers an event that could not be noted."""

    @abstractmethod
    def leave(self) -> None:
        """The SMTP session is over."""

    @property
    def patience(self) -> float:
        """Seconds for which the MTA may be silent now."""
        return IDLE

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """The log, with what tells this session from others."""
        bound: structlog.typing.FilteringBoundLogger = log.bind(
            session=self.client.id, client=self.client.client_ip
        )
        return bound

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop hands over a stream."""
        self._stream = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def data_received(self, data: bytes) -> None:
        """The loop hands over octets."""
        self._heard = self._loop.time()
        self._events.extend(self.mta.feed(data))
        if self._work is None:
            self._go_on()
        elif not self._read_paused:  # an MTA that waits for us has nothing to say
            self._read_paused = True
            self._stream.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The stream is gone; a commit under way goes on."""
        self.end()

    def pause_writing(self) -> None:
        """The MTA reads too slowly."""
        self.deaf = True

    def resume_writing(self) -> None:
        """The MTA has caught up."""
        self.deaf = False
        self._heard = self._loop.time()
        self._wake()

    def write(self, octets: bytes) -> None:
        """Sends octets, unless nobody is there any more."""
        if not self.is_left:
            self._stream.write(octets)

    @property
    def is_left(self) -> bool:
        """Whether nobody is there any more."""
        return self._stream.is_closing()

    async def writable(self) -> None:
        """Waits until the MTA has caught up, or is gone."""
        while self.deaf and not self._ended:
            await self._wait()

    def hang_up(self, reply: Reply | None) -> None:
        """Ends when nothing is awaited; the MTA has its own words for its client."""
        self.end()

    def end(self) -> None:
        """Takes no further event."""
        self._ended = True
        self._wake()

    def drain(self) -> None:
        """Ends as soon as all is quiet between two messages.

        Left in the middle of an SMTP session, an MTA puts off the rest of its mail.
        """
        self._draining = True
        self._end_when_quiet()

    @property
    def draining(self) -> bool:
        """Whether no further client is wanted."""
        return self._draining

    def _end_when_quiet(self) -> None:
        if self._ended:
            return
        quiet = self._loop.time() - self._heard
        if quiet >= QUIET and self._work is None and self.mta.state in BETWEEN:
            self.end()
        else:
            self._loop.call_later(max(QUIET - quiet, QUIET / 10), self._end_when_quiet)

    def _look(self) -> None:
        """Ends it if the MTA has neither spoken nor read for too long."""
        silent = self._loop.time() - self._heard
        if (self._work is None or self.deaf) and silent > self.patience:
            self.log.warning("milter_timed_out", state=self.mta.state.value)
            self.end()
            if self.deaf:  # closed in order, it would wait until all has been read
                self._stream.abort()
        else:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _go_on(self) -> None:
        """Takes events up to one that takes time."""
        while self._events and not self._ended:
            event = self._events.popleft()
            try:
                self._work = self.take(event)
            except Exception:  # the seam: our fault is a 451 to its client, and no more
                self.log.exception("milter_failed")
                self.failed(event)
            if self._work is not None:
                self._asked = event
                self._wake()
                return

    async def converse(self) -> None:
        """All of it, until the stream is closed."""
        try:
            while True:
                while self._work is None and not self._ended:
                    await self._wait()
                if self._work is None:
                    break
                await self._finish_work(self._work)
                self._work = None
                if self._read_paused and not self._ended:
                    self._read_paused = False
                    self._stream.resume_reading()
                self._go_on()
            self.log.debug("session_ended")
        finally:
            if self._work is not None:
                self._work.close()
            self.leave()
            if self._timer is not None:
                self._timer.cancel()  # or it would hold on to the whole session until it strikes
            self._stream.close()

    async def _finish_work(self, work: Work) -> None:
        try:
            await work
        except Exception:  # the seam: as where events are noted
            self.log.exception("milter_failed")
            if self._asked is not None:
                self.failed(self._asked)

    async def ask(self, question: Awaitable[Reply | None]) -> Reply | None:
        """What the intake says, 451 if it fails."""
        try:
            return await question
        except Exception:  # the seam: our fault is never the client's, nor told to it
            self.log.exception("intake_failed")
            return TRY_LATER

    async def ask_within(self, patience: float, question: Awaitable[Reply | None]) -> Reply | None:
        """What the intake says, 451 if it fails or takes more seconds than patience."""
        try:
            async with asyncio.timeout(patience):
                return await self.ask(question)
        except TimeoutError:
            self.log.warning("milter_too_slow", seconds=patience)
            return TRY_LATER
