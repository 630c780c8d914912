"""Delivery: fresh messages from memory, due ones from the spool, each leased while under way."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from filterrelay.delivery.bodies import Bodies
from filterrelay.delivery.lane import Flight, Lane, Part, Sender
from filterrelay.delivery.lanes import Lanes
from filterrelay.delivery.probes import Probes
from filterrelay.delivery.report import Reports
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.returns import Returns
from filterrelay.delivery.route import NO_ROUTE, Routes, Way
from filterrelay.delivery.sending import Sending, SignAgain
from filterrelay.delivery.settle import Settler
from filterrelay.delivery.upstream import Sent, UpstreamLike
from filterrelay.errors import FilterRelayError
from filterrelay.mail.outcome import Attempt
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool.store import (
    Deposit,
    Lease,
    Spool,
    SpoolBroken,
    StoredMessage,
    StoredRecipient,
)

_ASIDE = timedelta(minutes=1)  # until a part comes again that isn't leased by its lane's room
_FEW = 100  # next hops with mail at which a look into the spool costs nearly nothing
_SPACING = 50e-6  # seconds between looks for each hop beyond: ten times what it costs
_LAST_WORDS = 0.25  # of the time to drain in: for giving back what was not finished

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is done at once, and how often the spool is looked at.

    poll: seconds between looks for due mail. lease: how long a message is taken
    for; renewed at half of it. backlog: messages waiting for one next hop, beyond
    which they wait on disk. flights: messages held at all, beyond which fresh ones
    do, too, and each next hop has but one of those that are due. batch: due messages
    taken at one look, a quarter of which, or as many as it has connections, one next
    hop may have in hand. memory_wait: seconds that a due message waits for memory.
    """

    poll: float = 5.0
    lease: timedelta = timedelta(minutes=10)
    backlog: int = 1000
    flights: int = 10_000
    batch: int = 200
    memory_wait: float = 60.0


class Scheduler:
    """Delivers what `submit` brings and, from `start` to `stop`, what falls due in the spool.

    owner: the name in this process's leases. open_hop: makes the connections to a next
    hop. memory: the budget that bodies read from the spool count against. on_attempt: is
    told of each recipient's attempt. sign: signs what is converted on its way.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        owner: str,
        routes: Routes,
        open_hop: Callable[[Way], UpstreamLike],
        schedule: RetrySchedule,
        reports: Reports,
        clock: Clock,
        metrics: Metrics,
        memory: MemoryBudget,
        on_attempt: Callable[[Attempt], None] | None = None,
        sign: SignAgain | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._spool = spool
        self._owner = owner
        self._routes = routes
        self._clock = clock
        self._memory = memory
        self._pace = pace = pace or Pace()
        self._lanes = Lanes(open_hop, pace.batch // 4, memory.total // 2, pace.batch)
        self._flights: dict[str, Flight] = {}
        self._senders: dict[asyncio.Task[None], Sender] = {}
        self._routing: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()  # nothing more is begun that isn't under way
        self._ending = False  # no sender goes on
        self._stopped = self._ended = False  # nothing more is leased; no lease is kept
        self._first_look = True
        self._last_act: int | None = None  # of operators, by its number in the spool
        settler = Settler(spool, schedule, reports, clock, metrics, on_attempt=on_attempt)
        self._returns = Returns(spool, self.nudge, clock)
        self._probes = Probes(self.nudge)
        self._bodies = Bodies(spool, memory, pace.memory_wait)
        self._sending = Sending(
            spool, self._bodies, self._returns, settler, schedule, clock, self._leaving, sign
        )

    def submit(self, deposit: Deposit, reservation: Reservation) -> None:
        """Takes over a fresh message, durable already under our lease, to be sent from memory.

        The reservation is released when its bytes are no longer held.
        """
        message = deposit.message
        lease = message.lease or Lease(self._owner, self._clock.now() + self._pace.lease)
        flight = Flight(message, lease.until, True, reservation, deposit.body)
        self._launch(flight, message.pending())

    def start(self) -> asyncio.Task[None]:
        """Begins to look for due mail and to keep the leases, until `drain` has ended.

        The task ends early only by failing: with SpoolBroken, or by a fault of ours.
        """
        self._running = asyncio.get_running_loop().create_task(self._run())
        return self._running

    def stop(self) -> None:
        """Takes no more due mail. What is in hand goes on, and its leases are kept."""
        self._stopped = True
        self.nudge()

    def retire(self) -> None:
        """Leaves the mail to a successor, which has other next hops perhaps.

        What is under way is finished. What waits, and what still comes in, goes back.
        """
        self.stop()
        self._leaving.set()
        for lane in self._lanes:
            while lane.waiting:
                self._return(lane.waiting.popleft(), self._clock.now())

    def nudge(self) -> None:
        """Has the spool looked at for due mail now."""
        self._wake.set()

    async def _run(self) -> None:
        while not self._ended:
            try:
                more = await self._poll()
            except SpoolBroken:
                raise
            except FilterRelayError as unavailable:
                _log.error("spool_unreadable", reason=str(unavailable))
                more = False
            if not (more or self._ended):
                await self._nap()

    async def _poll(self) -> bool:
        """One look into the spool; whether there may be more that is due."""
        await self._returns.flush()
        now = self._clock.now()
        until = now + self._pace.lease
        await self._keep_leases(now, until)
        await self._take_back()
        self._lanes.forget_idle(self._clock.monotonic())
        batch = self._pace.batch
        if self._stopped or len(self._routing) >= batch:
            return False
        self._probes.begin(self._lanes.to_probe())
        rooms = self._lanes.rooms(self._pace.flights - len(self._flights))
        due = await self._spool.lease(self._owner, now, until, batch, rooms)
        for message in due:
            recipients = [
                r for r in message.pending() if r.next_attempt is None or r.next_attempt <= now
            ]
            self._take(message, recipients, until)
        await self._take_early(now, until)
        return len(due) >= batch

    async def _take_back(self) -> None:
        """Gives back what waits here and was held, redirected or deleted meanwhile."""
        more = True
        while more:
            ids, self._last_act = await self._spool.acts(self._last_act)
            for part in self._lanes.take_out(self._flights.keys() & ids):
                self._returns.as_it_is(part)
                self._forget(part)
            more = bool(ids)

    async def _take_early(self, now: datetime, until: datetime) -> None:
        """Takes what waits for next hops that are back; at the start, one message to try each."""
        lanes = self._lanes.early(self._clock.monotonic())
        if not (lanes or self._first_look):
            return
        rooms = {hop: lane.early_room for hop, lane in lanes.items()}
        others = int(self._first_look)
        for lane in lanes.values():
            lane.missed = False  # what misses its turn from now on says so again
        try:
            early = await self._spool.lease_unreached(self._owner, now, until, rooms, others)
        except FilterRelayError:
            for lane in lanes.values():
                lane.missed = True
            raise
        self._first_look = False
        for message in early:
            waiting = [r for r in message.pending() if r.unreached]
            back = [r for r in waiting if r.upstream in lanes]
            for stored in back:
                lanes[stored.upstream].missed = True  # there may be more
            self._take(message, back or waiting, until)

    def _take(
        self, message: StoredMessage, recipients: Sequence[StoredRecipient], until: datetime
    ) -> None:
        """Takes a message over from the spool, to be tried for these recipients."""
        known = self._flights.get(message.id)
        if known is not None:  # our own lease had run out, and is ours again
            known.until = until
            return
        flight = Flight(message, until, False, self._memory.reservation())
        if self._leaving.is_set():  # the end came during the look
            self._returns.message(flight)
        else:
            self._launch(flight, recipients)

    async def _keep_leases(self, now: datetime, until: datetime) -> None:
        """Prolongs the leases of all that is held here and whose time is half over."""
        half = now + self._pace.lease / 2
        ending = [flight for flight in self._flights.values() if now < flight.until < half]
        if ending:
            await self._spool.renew(self._owner, [f.message.id for f in ending], until)
            for flight in ending:
                flight.until = until

    async def _nap(self) -> None:
        """Returns at the next nudge, or when it is time to look again.

        With many next hops not sooner than what looking costs allows, however often nudged.
        """
        if (beyond := len(self._lanes) - _FEW) > 0:
            await asyncio.sleep(min(beyond * _SPACING, 1.0))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._pace.poll, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()

    async def drain(self, grace: float) -> None:
        """Finishes attempts under way and gives all other leases back, in grace seconds.

        The leases of what is under way are kept as long. The next hops are closed then.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        self.retire()
        self._ending = True
        self._probes.cancel()
        for lane in self._lanes:
            lane.wake_all()
        await _ended({*self._senders, *self._routing}, grace * (1 - _LAST_WORDS))
        await self._cut_off(grace * _LAST_WORDS / 2)
        self._ended = True
        self.nudge()
        if self._running is not None:
            await _ended({self._running}, deadline - loop.time())
        try:
            async with asyncio.timeout_at(deadline):
                await self._returns.flush()
        except TimeoutError:
            _log.warning("leases_not_returned")
        await _ended(self._senders, deadline - loop.time())
        for lane in self._lanes:
            lane.close()

    async def _cut_off(self, patience: float) -> None:
        """Ends what has no answer yet; what has one may still have its result written down."""
        interrupted = {
            task: sender.part
            for task, sender in self._senders.items()
            if sender.part is not None and not sender.part.settling
        }
        cut = {*interrupted, *self._routing}
        for task in cut:
            task.cancel()
        await _ended(cut, patience)
        for part in interrupted.values():
            if part.trying:
                self._returns.cut_off(part, self._sending.after(part))
            else:
                self._returns.untried(part, self._clock.now())
        for flight in self._flights.values():
            if not flight.parts:  # nobody has said yet where it goes
                self._returns.message(flight)

    def _launch(self, flight: Flight, recipients: Sequence[StoredRecipient]) -> None:
        self._flights[flight.message.id] = flight
        if self._routes.asks_for(recipients):
            task = asyncio.get_running_loop().create_task(self._ask(flight, recipients))
            self._routing.add(task)
            task.add_done_callback(self._routed)
        else:
            self._place(flight, self._routes.split_by_file(flight.message, recipients))

    async def _ask(self, flight: Flight, recipients: Sequence[StoredRecipient]) -> None:
        self._place(flight, await self._routes.split(flight.message, recipients))

    def _routed(self, task: asyncio.Task[None]) -> None:
        self._routing.discard(task)
        if len(self._routing) == self._pace.batch - 1:
            self.nudge()  # looks had to wait for that

    def _place(self, flight: Flight, parts: Mapping[Way, Sequence[StoredRecipient]]) -> None:
        """Puts each part into its lane; where that is full, or at the end, it waits on disk."""
        parts = {self._usable(way): recipients for way, recipients in parts.items()}
        flight.parts = flight.unsettled = len(parts)
        if flight.fresh:
            self._bodies.keep(flight, self._lanes.of(next(iter(parts))))
        now, since = self._clock.now(), self._clock.monotonic()
        for way, recipients in parts.items():
            lane = self._lanes.of(way)
            full = self._is_full(lane, flight)
            answer = _answer(way, recipients)
            part = Part(flight, lane, way.hop, recipients, since, answer, reason=way.reason)
            lane.parts += 1
            lane.spooled += not flight.fresh
            if full or self._leaving.is_set():
                # Of a full lane's mail no more is leased than it has room, but for several hops'.
                aside = full and len(flight.message.hops()) > 1
                self._return(part, now + _ASIDE if aside else now)
            elif lane.put(part):
                sender = Sender(lane)
                lane.senders += 1
                task = asyncio.get_running_loop().create_task(self._send(sender))
                self._senders[task] = sender
                task.add_done_callback(self._senders.pop)

    def _usable(self, way: Way) -> Way:
        """The way, with an answer to its mail when its next hop can't be opened."""
        try:
            self._lanes.of(way)
        except Exception:  # noqa: BLE001  # a seam: the mail waits until it is repaired
            _log.exception("hop_not_usable", upstream=str(way.hop))
            return replace(way, answer=NO_ROUTE)
        return way

    def _is_full(self, lane: Lane, flight: Flight) -> bool:
        """Whether what comes for the lane now has to wait on disk.

        What waits for several hops was leased whatever room their lanes have, as fresh mail comes.
        """
        if not flight.fresh and len(flight.message.hops()) == 1:
            return not lane.room
        return len(lane.waiting) >= self._pace.backlog or len(self._flights) > self._pace.flights

    async def _send(self, sender: Sender) -> None:
        """Takes one part after the other."""
        lane = sender.lane
        while not (self._ending or lane.closed):
            if not lane.waiting:
                await lane.sleep()
                continue
            part = sender.part = lane.waiting.popleft()
            was_reached = lane.reached
            try:
                await self._sending.deliver(part)
            except Exception:  # noqa: BLE001  # the seam: one message's trouble stops no other
                _log.exception("result_lost", message_id=part.flight.message.id)
            finally:
                self._forget(part)
            sender.part = None
            if lane.reached and not (was_reached or part.flight.fresh):
                self.nudge()  # others wait for this in the spool, too

    def _forget(self, part: Part) -> None:
        """Lets go of a part, and of the message with its last one."""
        flight, lane = part.flight, part.lane
        self._bodies.let_go(part)
        lane.let_go(part, self._clock.monotonic())
        if lane.is_drained_by(flight):
            self.nudge()
        flight.parts -= 1
        if not flight.parts:
            self._flights.pop(flight.message.id, None)
            self._bodies.drop(flight)

    def _return(self, part: Part, due: datetime) -> None:
        """Hands a part back that nobody has begun with."""
        self._returns.untried(part, due)
        self._forget(part)


def _answer(way: Way, recipients: Sequence[StoredRecipient]) -> Sent | None:
    """What becomes of them without an attempt, if that is known already."""
    if way.answer is None:
        return None
    return Sent([way.answer] * len(recipients), "", answered=False, final=True)


async def _ended(tasks: Iterable[asyncio.Task[None]], seconds: float) -> None:
    """Returns when all of them have ended, or that time is over."""
    if pending := set(tasks):
        await asyncio.wait(pending, timeout=max(0.0, seconds))
