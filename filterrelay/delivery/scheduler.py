"""Delivery: fresh messages from memory, due ones from the spool, each leased while under way."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from filterrelay.delivery.attempt import Tried, attempt
from filterrelay.delivery.lane import Flight, Lane, Part, Sender
from filterrelay.delivery.report import Reports
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.route import NOWHERE, Routes
from filterrelay.delivery.settle import Settler
from filterrelay.delivery.upstream import Nowhere, Outage, UpstreamLike
from filterrelay.errors import FilterRelayError
from filterrelay.mail.outcome import Attempt
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.clock import Clock
from filterrelay.observe.metrics import Metrics
from filterrelay.spool.store import (
    Deposit,
    Lease,
    NoSuchMessage,
    Settlement,
    Spool,
    StoredMessage,
    StoredRecipient,
)

_log: Any = structlog.get_logger("filterrelay.delivery")


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is done at once, and how often the spool is looked at.

    poll: seconds between looks for due mail. lease: how long a message is taken
    for; renewed at half of it. backlog: messages waiting for one next hop, beyond
    which they wait on disk. batch: due messages in hand. memory_wait: seconds that
    a due message waits for memory. detour: when a due message whose lane is full
    comes again.
    """

    poll: float = 5.0
    lease: timedelta = timedelta(minutes=10)
    backlog: int = 1000
    batch: int = 200
    memory_wait: float = 60.0
    detour: timedelta = timedelta(minutes=1)


class Scheduler:
    """Delivers what `submit` brings and what falls due in the spool, while `run` runs.

    owner: the name in this process's leases. memory: the budget that bodies read
    from the spool count against. on_attempt: is told of each recipient's attempt.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        owner: str,
        routes: Routes,
        upstreams: Mapping[str, UpstreamLike],
        schedule: RetrySchedule,
        reports: Reports,
        clock: Clock,
        metrics: Metrics,
        memory: MemoryBudget,
        on_attempt: Callable[[Attempt], None] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._spool = spool
        self._owner = owner
        self._routes = routes
        self._schedule = schedule
        self._clock = clock
        self._memory = memory
        self._pace = pace or Pace()
        self._settler = Settler(spool, schedule, reports, clock, metrics, on_attempt=on_attempt)
        self._lanes = {name: Lane(upstream) for name, upstream in upstreams.items()}
        self._lanes[NOWHERE] = Lane(Nowhere())
        self._flights: dict[str, Flight] = {}
        self._leased = 0  # flights that came from the spool
        self._returns: deque[Settlement] = deque()
        self._senders: dict[asyncio.Task[None], Sender] = {}
        self._routing: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._draining = False

    def submit(self, deposit: Deposit, reservation: Reservation) -> None:
        """Takes over a fresh message, durable already under our lease, to be sent from memory.

        The reservation is released when its bytes are no longer held.
        """
        message = deposit.message
        lease = message.lease or Lease(self._owner, self._clock.now() + self._pace.lease)
        flight = Flight(message, lease.until, True, reservation, deposit.body)
        self._launch(flight, message.pending())

    async def run(self) -> None:
        """Looks for due mail, takes it and keeps the leases, until `drain`."""
        while not self._draining:
            try:
                more = await self._poll()
            except FilterRelayError as unavailable:
                _log.error("spool_unreadable", reason=str(unavailable))
                more = False
            if not (more or self._draining):
                await self._nap()

    def nudge(self) -> None:
        """Has `run` look for due mail now."""
        self._wake.set()

    async def _poll(self) -> bool:
        """One look into the spool; whether there may be more that is due."""
        await self._flush_returns()
        now = self._clock.now()
        until = now + self._pace.lease
        await self._keep_leases(now, until)
        room = self._pace.batch - self._leased
        if room <= 0 or self._draining:
            return False
        due = await self._spool.lease(self._owner, now, until, room)
        for message in due:
            self._take(message, now, until)
        return len(due) == room and self._leased < self._pace.batch

    def _take(self, message: StoredMessage, now: datetime, until: datetime) -> None:
        """Takes a due message over from the spool."""
        known = self._flights.get(message.id)
        if known is not None:  # our own lease had run out, and is ours again
            known.until = until
            return
        flight = Flight(message, until, False, self._memory.reservation(), reading=asyncio.Lock())
        self._leased += 1
        self._launch(
            flight,
            [r for r in message.pending() if r.next_attempt is None or r.next_attempt <= now],
        )

    async def _keep_leases(self, now: datetime, until: datetime) -> None:
        """Prolongs the leases of all that is held here and whose time is half over."""
        half = now + self._pace.lease / 2
        ending = [flight for flight in self._flights.values() if now < flight.until < half]
        if ending:
            await self._spool.renew(self._owner, [f.message.id for f in ending], until)
            for flight in ending:
                flight.until = until

    async def _nap(self) -> None:
        """Returns at the next nudge, or when it is time to look again."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._pace.poll, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()

    async def drain(self, grace: float) -> None:
        """Finishes attempts under way, within grace seconds, and gives all other leases back.

        The next hops are closed then.
        """
        self._draining = True
        self._ending.set()
        self.nudge()
        for lane in self._lanes.values():
            while lane.waiting:
                self._return(lane.waiting.popleft(), self._clock.now())
            lane.wake_all()
        await self._flush_returns()
        if self._senders or self._routing:
            await asyncio.wait([*self._senders, *self._routing], timeout=grace)
        interrupted = [
            (task, sender.part)
            for task, sender in self._senders.items()
            if sender.part is not None and not sender.part.settling
        ]
        for task in (*(task for task, _ in interrupted), *self._routing):
            task.cancel()
        if self._senders or self._routing:
            await asyncio.wait([*self._senders, *self._routing], timeout=grace)
        for _, part in interrupted:
            self._hand_back(part, self._after(part))
        await self._flush_returns()
        for lane in self._lanes.values():
            lane.upstream.close()

    def _launch(self, flight: Flight, recipients: Sequence[StoredRecipient]) -> None:
        self._flights[flight.message.id] = flight
        if self._routes.asks:
            task = asyncio.get_running_loop().create_task(self._ask(flight, recipients))
            self._routing.add(task)
            task.add_done_callback(self._routing.discard)
        else:
            self._place(flight, self._routes.split_by_file(recipients))

    async def _ask(self, flight: Flight, recipients: Sequence[StoredRecipient]) -> None:
        self._place(flight, await self._routes.split(flight.message.envelope, recipients))

    def _place(self, flight: Flight, parts: Mapping[str, Sequence[StoredRecipient]]) -> None:
        """Puts each part into its lane; where that is full, or at the end, it waits on disk."""
        flight.parts = flight.unsettled = len(parts)
        now, since = self._clock.now(), self._clock.monotonic()
        for name, recipients in parts.items():
            lane, part = self._lanes[name], Part(flight, recipients, since)
            if self._draining:
                self._return(part, now)
            elif len(lane.waiting) >= self._pace.backlog:
                self._return(part, now if flight.fresh else now + self._pace.detour)
            elif lane.put(part):
                sender = Sender(lane)
                lane.senders += 1
                task = asyncio.get_running_loop().create_task(self._send(sender))
                self._senders[task] = sender
                task.add_done_callback(self._senders.pop)

    async def _send(self, sender: Sender) -> None:
        """Takes one part after the other."""
        lane = sender.lane
        while not self._draining:
            if not lane.waiting:
                await lane.sleep()
                continue
            part = sender.part = lane.waiting.popleft()
            try:
                await self._deliver(lane.upstream, part)
            except NoSuchMessage:
                _log.info("deleted_meanwhile", message_id=part.flight.message.id)
            except Exception:  # noqa: BLE001  # the seam: one message's trouble stops no other
                _log.exception("delivery_failed", message_id=part.flight.message.id)
            finally:
                self._forget(part)
            sender.part = None

    async def _deliver(self, upstream: UpstreamLike, part: Part) -> None:
        flight = part.flight
        if self._clock.now() >= flight.until:
            _log.warning("lease_lost", message_id=flight.message.id)
            return
        outage = upstream.outage()
        if outage is not None and not self._explains(outage, part):
            if flight.fresh or not await self._outlast(outage):
                self._sit_out(outage, upstream, part)
                return
            outage = None
        began = self._clock.monotonic()
        if outage is not None:
            tried = [Tried(part.recipients, outage.sent(len(part.recipients)))]
        else:
            body = flight.body if flight.fresh else await self._begin(flight, part)
            if body is None:
                self._hand_back(part, self._clock.now() + self._pace.detour)
                return
            tried = await attempt(upstream, flight.message.envelope, part.recipients, body)
        part.settling = True
        await self._settler.settle(
            flight.message,
            upstream.name,
            tried,
            self._clock.monotonic() - began,
            body=flight.body,
            release=flight.settles(),
        )

    def _explains(self, outage: Outage, part: Part) -> bool:
        """Whether the failure counts as the part's own attempt: it came after the part did.

        An older one doesn't: the next hop may be back, and the next attempt is far off.
        """
        return not outage.left or outage.age <= self._clock.monotonic() - part.since

    async def _outlast(self, outage: Outage) -> bool:
        """Waits until a host may be tried again; whether that came before the end of delivery."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(outage.left):
                await self._ending.wait()
        return not self._draining

    def _sit_out(self, outage: Outage, upstream: UpstreamLike, part: Part) -> None:
        """Lets the part wait on disk, not in memory, until a host may be tried again."""
        words = str(outage.reply)
        part.recipients = [
            replace(stored, last_reply=words, upstream=upstream.name) for stored in part.recipients
        ]
        wait = 0.0 if self._draining else outage.left
        self._hand_back(part, self._clock.now() + timedelta(seconds=wait))

    async def _begin(self, flight: Flight, part: Part) -> bytes | None:
        """Records when the following attempt would be; the body, or None for want of memory."""
        assert flight.reading is not None
        async with flight.reading:
            if flight.body is None:
                try:
                    await flight.reservation.grow(flight.message.size, self._pace.memory_wait)
                except TimeoutError:
                    return None
                flight.body = await self._spool.body(flight.message.id)
        await self._spool.begin_attempt(
            flight.message.id, [r.index for r in part.recipients], self._after(part)
        )
        return flight.body

    def _after(self, part: Part) -> datetime:
        """When to try again should this attempt end without a result."""
        flight, now = part.flight, self._clock.now()
        attempts = max((r.attempts for r in part.recipients), default=0) + 1
        following = self._schedule.next_attempt(now, attempts, flight.message.queued_at)
        return following or now + self._schedule.first

    def _forget(self, part: Part) -> None:
        """Lets go of a part, and of the message with its last one."""
        flight = part.flight
        flight.parts -= 1
        if flight.parts:
            return
        self._flights.pop(flight.message.id, None)
        flight.body = None
        flight.reservation.release()
        if not flight.fresh:
            self._leased -= 1
            if self._leased < self._pace.batch // 2:
                self.nudge()

    def _return(self, part: Part, due: datetime) -> None:
        """Hands a part back that nobody has begun with."""
        self._hand_back(part, due)
        self._forget(part)

    def _hand_back(self, part: Part, due: datetime) -> None:
        """Leaves the part's recipients to whoever looks into the spool first after that time."""
        recipients = tuple(replace(stored, next_attempt=due) for stored in part.recipients)
        release = part.flight.settles()
        self._returns.append(Settlement(part.flight.message.id, recipients, release=release))
        self.nudge()

    async def _flush_returns(self) -> None:
        while self._returns:
            batch = [self._returns.popleft() for _ in range(min(len(self._returns), 64))]
            results = await asyncio.gather(
                *(self._spool.settle(settlement) for settlement in batch), return_exceptions=True
            )
            for settlement, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):  # the lease will run out by itself
                    _log.warning(
                        "lease_not_returned", message_id=settlement.message_id, reason=str(result)
                    )
