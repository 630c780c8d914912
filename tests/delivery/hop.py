"""A next hop without a network, and a scheduler around it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from filterrelay.delivery.contact import Contact
from filterrelay.delivery.report import Reports
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.route import RouteHook, Routes
from filterrelay.delivery.scheduler import Pace, Scheduler
from filterrelay.delivery.upstream import Outage, Sent
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.hop import Hop
from filterrelay.mail.outcome import Attempt
from filterrelay.mail.reply import Reply
from filterrelay.observe.budget import MemoryBudget, Reservation
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import SOME_TIME, FakeClock, an_envelope
from filterrelay.settings import RouteRule
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import (
    Deposit,
    Lease,
    NoSuchMessage,
    Settlement,
    StoredMessage,
    StoredRecipient,
)

TAKEN = Reply(250, "2.0.0", "Queued")
LATER = Reply(450, "4.2.0", "Greylisted")
UNKNOWN = Reply(550, "5.1.1", "No such user")
BODY = b"Subject: Lunch\r\nMessage-ID: <1@office.example>\r\n\r\nHello.\r\n"
THROTTLED = Reply(421, "4.7.0", "Too much mail from you")
REFUSED = Reply(451, "4.4.1", "connect to mx:25: refused")
TO_PROVIDER = Hop("provider")
LEASE = timedelta(minutes=10)
QUARTER = timedelta(minutes=17)  # the first interval with its jitter


class FakeHop:
    """A next hop that notes what it is asked.

    answer: for the recipient at that place of a transaction. gate: while it is
    clear, transactions wait. outages: what `outage` says, one after the other. may: what
    `room` says.
    """

    def __init__(
        self, answer: Callable[[int, Recipient], Reply] = lambda *_: TAKEN, name: str = "provider"
    ) -> None:
        self.name = name
        self.connections = 2
        self.dsn = self.final = False
        self.contact = Contact()
        self.recipients = 100
        self.may: int | None = None
        self.outages: list[Outage | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self.asked: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.closed = False
        self.answered = True
        self.there = False
        self.probes = 0
        self.answer = answer

    def outage(self) -> Outage | None:
        """As it was told; the last one stays."""
        if len(self.outages) > 1:
            return self.outages.pop(0)
        return self.outages[0] if self.outages else None

    def room(self) -> int | None:
        """As it was told."""
        return self.may

    async def admit(self, recipients: int) -> Outage | None:
        """At once, but for an outage."""
        return self.outage()

    def leave(self) -> None:
        """Takes no note."""

    async def send(self, envelope: Envelope, recipients: Sequence[Recipient], body: bytes) -> Sent:
        """Answers, once the gate is open."""
        self.asked.append([str(r) for r in recipients])
        self.bodies.append(body)
        self.reached.set()
        await self.gate.wait()
        replies = [self.answer(i, r) for i, r in enumerate(recipients)]
        host = "mx.provider.example:25"
        return Sent(
            *(replies, host, "TLSv1.3"),
            dsn=self.dsn,
            final=self.final,
            contact=self.contact,
            answered=self.answered,
        )

    async def probe(self) -> bool:
        """As `there` says."""
        self.probes += 1
        return self.there

    def close(self) -> None:
        """Is closed."""
        self.closed = True


class NotingSpool(MemorySpool):
    """A spool that says when something is settled."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.settled = asyncio.Event()
        self.settlements: list[Settlement] = []

    async def settle(self, settlement: Settlement) -> None:
        """Settles."""
        await super().settle(settlement)
        self.settlements.append(settlement)
        self.settled.set()


@dataclass
class Site:
    """A scheduler at work, and all that it works with."""

    scheduler: Scheduler
    spool: NotingSpool
    clock: FakeClock
    memory: MemoryBudget
    metrics: Metrics
    reports: list[tuple[Envelope, bytes]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    async def submit(self, id_: str = "ID", *to: str, **changes: Any) -> Reservation:
        """Commits a fresh message and hands it to delivery, as the door does."""
        deposit = self.deposit(id_, *to, **changes)
        reservation = self.memory.reservation()
        await reservation.grow(len(deposit.body), 1)
        await self.spool.commit(deposit)
        self.scheduler.submit(deposit, reservation)
        return reservation

    def deposit(self, id_: str = "ID", *to: str, **changes: Any) -> Deposit:
        """A fresh message under this process's lease."""
        message = a_stored_message(id_, *to, now=self.clock.now(), **changes)
        return Deposit(message, BODY)

    async def submitted(self, id_: str = "ID", *to: str, **changes: Any) -> None:
        """Submits and waits for the result to be recorded."""
        await self.submit(id_, *to, **changes)
        await self.result()

    async def spend(self) -> Reservation:
        """Takes all the memory there is; there is some again when this is released."""
        all_of_it, beyond = self.memory.reservation(), self.memory.reservation()
        await all_of_it.grow(self.memory.total, 1)
        await beyond.grow(self.memory.total, 1)
        return all_of_it

    async def result(self) -> None:
        """Returns when a result has been recorded."""
        await asyncio.wait_for(self.spool.settled.wait(), 5)
        self.spool.settled.clear()

    async def later(self, by: timedelta) -> None:
        """Lets time pass, has the spool looked at, and waits for the result."""
        self.clock.advance(by)
        self.scheduler.nudge()
        await self.result()


def a_stored_message(
    id_: str = "ID", *to: str, now: datetime = SOME_TIME, **changes: Any
) -> StoredMessage:
    """A fresh message; changes are the envelope's, `notify` and `orcpt` every recipient's.

    session: the facts of who sent it.
    """
    notify, orcpt = changes.pop("notify", ()), changes.pop("orcpt", "")
    session = changes.pop("session", {})
    sender = changes.pop("sender", "alice@office.example")
    envelope = an_envelope(sender, *to, **changes)
    envelope = replace(
        envelope,
        recipients=tuple(replace(r, notify=notify, orcpt=orcpt) for r in envelope.recipients),
    )
    recipients = tuple(
        StoredRecipient(i, r, next_attempt=now + LEASE) for i, r in enumerate(envelope.recipients)
    )
    return StoredMessage(
        id_, now, envelope, session, len(BODY), recipients, lease=Lease("worker-1", now + LEASE)
    )


@asynccontextmanager
async def delivering(
    *hops: FakeHop,
    rules: Sequence[RouteRule] = (),
    pace: Pace | None = None,
    octets: int = 10_000,
    submit: Callable[[Envelope, bytes, str], Any] | None = None,
    hook: RouteHook | None = None,
    postmaster: Address | None = None,
    spool: NotingSpool | None = None,
) -> AsyncIterator[Site]:
    """A scheduler over these next hops, the first the default; drained in the end."""
    clock = FakeClock()
    spool = spool or NotingSpool(clock)
    memory, metrics = MemoryBudget(octets), Metrics()
    reports: list[tuple[Envelope, bytes]] = []
    attempts: list[Attempt] = []

    async def note(envelope: Envelope, raw: bytes, about: str) -> str:
        reports.append((envelope, raw))
        return f"REPORT-ON-{about}"

    upstreams: Mapping[str, FakeHop] = {hop.name: hop for hop in hops}
    scheduler = Scheduler(
        spool=spool,
        owner="worker-1",
        routes=Routes(rules, upstreams, hops[0].name, hook),
        open_hop=lambda way: upstreams[way.hop.upstream],
        schedule=RetrySchedule(),
        reports=Reports("relay.office.example", submit or note, clock, postmaster=postmaster),
        clock=clock,
        metrics=metrics,
        memory=memory,
        on_attempt=attempts.append,
        pace=pace or Pace(poll=3600),
    )
    running = scheduler.start()
    try:
        yield Site(scheduler, spool, clock, memory, metrics, reports, attempts)
    finally:
        await scheduler.drain(0.4)
        await running


def an_outage(left: float = 30.0) -> Outage:
    """All hosts have failed, and will be tried again in so many seconds."""
    return Outage(REFUSED, "mx:25", answered=False, why="down", left=left)


def a_rest(left: float = 30.0) -> Outage:
    """The next hop has asked for patience, for so many seconds."""
    return Outage(THROTTLED, "mx:25", answered=True, why="rest", left=left)


def a_wait(left: float) -> Outage:
    """The rate lets nothing go for so many seconds."""
    return Outage(REFUSED, "", answered=False, why="rate", left=left)


async def get(site: Site, id_: str = "ID") -> StoredMessage:
    """What the spool has of the message."""
    return await site.spool.get(id_)


async def gone(site: Site, id_: str = "ID") -> bool:
    """Whether the spool has forgotten the message, but for its trace."""
    try:
        await site.spool.get(id_)
    except NoSuchMessage:
        return True
    return False


def due(message: StoredMessage) -> StoredMessage:
    """The message as a process left it that is no more."""
    recipients = tuple(replace(each, next_attempt=message.received) for each in message.recipients)
    return replace(message, recipients=recipients, lease=None)


async def a_while() -> None:
    """Lets everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)
