"""A week's outage, and weeks of trouble of every kind, by a clock that a test moves."""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from filterrelay.delivery.report import Reports
from filterrelay.delivery.retry import RetrySchedule
from filterrelay.delivery.route import Routes
from filterrelay.delivery.scheduler import Pace, Scheduler
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.outcome import Attempt
from filterrelay.mail.reply import Reply
from filterrelay.observe.budget import MemoryBudget
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import FakeClock
from filterrelay.spool import writer
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.selection import Selection
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import Deposit, NoSuchMessage, Spool, State, StoredMessage

from .hop import BODY, LATER, LEASE, TAKEN, UNKNOWN, FakeHop, a_stored_message, a_while, an_outage

LOOK = timedelta(minutes=30)  # between looks into the spool
FIRST, LONGEST = timedelta(minutes=15), timedelta(hours=4)
WARN, END = timedelta(hours=4), timedelta(days=5)
A_DAY = 48  # looks

_IN_MEMORY = Path("/dev/shm")


@dataclass
class Week:
    """A relay whose time passes in looks."""

    spool: Spool
    hop: FakeHop
    clock: FakeClock
    end: timedelta = END
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    reports: list[tuple[str, bytes]] = field(default_factory=list)
    accepted: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = MemoryBudget(1_000_000)
        self.scheduler = Scheduler(
            spool=self.spool,
            owner="worker-1",
            routes=Routes((), ["provider"], "provider", None),
            open_hop=lambda _: self.hop,
            schedule=RetrySchedule(FIRST, LONGEST, WARN, self.end),
            reports=Reports("relay.office.example", self._report, self.clock),
            clock=self.clock,
            metrics=Metrics(),
            memory=self.memory,
            on_attempt=self._tried,
            pace=Pace(poll=3600),
        )

    async def _report(self, envelope: Envelope, raw: bytes, about: str) -> str:
        self.reports.append((about, raw))
        return f"REPORT-ON-{about}"

    def _tried(self, attempt: Attempt) -> None:
        self.attempts.setdefault(f"{attempt.message_id} {attempt.recipient}", []).append(attempt)

    async def submit(self, *to: str) -> str:
        """A new message, a moment after the one before."""
        self.clock.advance(timedelta(microseconds=1 + 37 * len(self.accepted)))
        id_ = f"M{len(self.accepted):04}"
        self.accepted[id_] = self.clock.now()
        deposit = Deposit(a_stored_message(id_, *to, now=self.clock.now()), BODY)
        await self.spool.commit(deposit)
        reservation = self.memory.reservation()
        await reservation.grow(len(BODY), 1)
        self.scheduler.submit(deposit, reservation)
        return id_

    async def look(self) -> None:
        """Time passes, and all is done that is due then."""
        await self._quiet()  # a lease mustn't run out under what is under way
        self.clock.advance(LOOK)
        await self._quiet()

    async def _quiet(self) -> None:
        async with asyncio.timeout(60):
            busy = True
            while busy:
                self.scheduler.nudge()
                await a_while()
                busy = await self._is_busy()

    async def _is_busy(self) -> bool:
        now = self.clock.now()
        up = not self.hop.outages
        return any(
            (message.lease is not None and message.lease.owner == "worker-1")
            or any(
                (r.next_attempt or now) <= now or (up and r.unreached) for r in message.pending()
            )
            for message in await self.waiting()
            if message.lease is None or message.lease.owner == "worker-1"
        )

    async def waiting(self, *states: State) -> list[StoredMessage]:
        """The messages in one of these states, or queued."""
        selection = Selection(states=states or (State.QUEUED,))
        return await self.spool.select(selection, self.clock.now())

    def told(self, id_: str) -> list[str]:
        """What kinds of reports the message's sender got, in order."""
        kinds = [b"failed", b"delayed"]
        return [
            kind.decode()
            for about, raw in self.reports
            for kind in kinds
            if about == id_ and b"Action: " + kind in raw
        ]

    def check_schedule(self, id_: str, attempts: list[Attempt]) -> None:
        """Each interval is twice the one before, up to four hours, give or take a tenth.

        But for those that end with the delay notice's time, or at the end.
        """
        accepted = self.accepted[id_]
        for number, (one, other) in enumerate(pairwise(attempts)):
            pause = min(FIRST * 2**number, LONGEST)
            gap = other.at - one.at
            marks = (accepted + WARN, accepted + END)
            assert gap <= pause * 1.1 + LOOK
            assert gap >= pause * 0.9 or any(one.at < mark <= other.at for mark in marks)


@pytest.fixture(params=["memory", "sqlite"])
def make_spool(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[FakeClock], Spool]]:
    """Each spool in turn, in a hurry: in memory, because a week has thousands of commits."""
    monkeypatch.setattr(writer, "PATIENCE", 0.0)
    monkeypatch.setattr(writer, "_COMPANY", 0.0)
    if request.param == "memory":
        yield MemorySpool
        return
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.exists() else None) as made:
        yield lambda clock: SqliteSpool(Path(made) / "spool.sqlite", clock)


@asynccontextmanager
async def a_week(make: Callable[[FakeClock], Spool], end: timedelta = END) -> AsyncIterator[Week]:
    """A relay at work on an empty spool."""
    clock = FakeClock()
    spool = make(clock)
    await spool.open()
    week = Week(spool, FakeHop(), clock, end)
    running = week.scheduler.start()
    while week.scheduler._first_look:  # which tries a message of each hop, whenever it came
        await week.look()
    try:
        yield week
    finally:
        await week.scheduler.drain(0.4)
        await running
        await spool.close()


async def test_after_a_weeks_outage_every_message_has_come_to_its_end(
    make_spool: Callable[[FakeClock], Spool],
) -> None:
    """Tried on schedule, told of once, and delivered, returned, or still held by an operator."""
    async with a_week(make_spool) as week:
        week.hop.outages = [an_outage()]
        held: set[str] = set()
        for number in range(7 * A_DAY):
            if number % 12 == 0:
                for _ in range(3):
                    await week.submit()
            await week.look()
            if number == 100:
                held = {await week.submit() for _ in range(3)}
                await week.look()
                assert await week.spool.hold(sorted(held), "look at it", week.clock.now()) == 3
        down_until = week.clock.now()
        assert week.hop.asked == []
        week.hop.outages, week.hop.there = [], True
        await week.look()
        assert await week.waiting() == []
        assert {message.id for message in await week.waiting(State.HELD)} == held
        delivered, bounced = set(), set()
        for key, attempts in week.attempts.items():
            id_ = key.split()[0]
            if id_ in held:
                assert [each.result for each in attempts] == ["deferred"] * len(attempts)
                continue
            *tries, last = attempts
            assert {each.result for each in tries} == {"deferred"}
            assert [each.number for each in attempts] == [*range(1, len(attempts) + 1)]
            week.check_schedule(id_, tries if last.result == "delivered" else attempts)
            assert last.at <= week.accepted[id_] + END + LOOK
            if last.result == "delivered":
                delivered.add(id_)
                assert last.at <= down_until + LOOK
            else:
                bounced.add(id_)
            late = last.at >= week.accepted[id_] + WARN
            expected = ["delayed"] * late + ["failed"] * (id_ in bounced)
            assert week.told(id_) == expected
        assert len(delivered) + len(bounced) + len(held) == len(week.accepted)
        assert len(delivered) > 10 < len(bounced)
        assert Counter(map(tuple, week.hop.asked)).total() == len(delivered)


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_each_recipient_comes_to_one_end(
    make_spool: Callable[[FakeClock], Spool], seed: int
) -> None:
    """Answers of all kinds, outages, operators and dying processes in any order: none is lost,
    none comes twice, and every bounce is told of once.
    """
    chance = random.Random(seed)
    people = ["ann", "bob", "grey", "never", "unknown"]
    taken: list[str] = []

    async with a_week(make_spool, timedelta(days=1)) as week:

        def answer(_: int, recipient: Recipient) -> Reply:
            name = recipient.address.local.split("-")[0]
            if name == "unknown":
                return UNKNOWN
            if name == "never" or chance.random() < 0.7:
                return LATER
            taken.append(str(recipient))
            return TAKEN

        week.hop.answer = answer
        recipients: dict[str, list[str]] = {}
        for number in range(3 * A_DAY):
            if number < 60:
                chosen = chance.sample(people, chance.randint(1, 3))
                to = [f"{name}-{number}@p.example" for name in chosen]
                recipients[await week.submit(*to)] = to
            if chance.random() < 0.1:
                week.hop.outages = [] if week.hop.outages else [an_outage()]
                week.hop.there = not week.hop.outages
            await _disturb(week, chance)
            await week.look()
        week.hop.outages, week.hop.there = [], True
        left = await week.waiting(State.HELD)
        await week.spool.release([message.id for message in left], week.clock.now())
        for _ in range(A_DAY + 2):
            await week.look()
        assert await week.waiting(*State) == []
        for id_, to in recipients.items():
            for one in to:
                attempts = week.attempts[f"{id_} {one}"]
                assert [each.result for each in attempts[:-1]] == ["deferred"] * (len(attempts) - 1)
                assert attempts[-1].result in ("delivered", "bounced")
                assert taken.count(one) == (attempts[-1].result == "delivered")
                bounces = sum(
                    b"Action: failed" in raw and f"rfc822; {one}\r\n".encode() in raw
                    for about, raw in week.reports
                    if about == id_
                )
                assert bounces == (attempts[-1].result == "bounced")


async def _disturb(week: Week, chance: random.Random) -> None:
    """An operator at work, or a process that takes mail and dies, perhaps in an attempt."""
    now = week.clock.now()
    queued, held = await week.waiting(), await week.waiting(State.HELD)
    if queued and chance.random() < 0.1:
        await week.spool.hold([chance.choice(queued).id], "look at it", now)
    if held and chance.random() < 0.3:
        await week.spool.release([chance.choice(held).id], now)
    if queued and chance.random() < 0.1:
        await week.spool.retry([chance.choice(queued).id], now)
    if queued and chance.random() < 0.1:
        way = chance.choice(["provider", ""])
        await week.spool.redirect([chance.choice(queued).id], way, now)
    if chance.random() < 0.1:
        for message in await week.spool.lease("dead", now + LEASE, now + 2 * LEASE, 2):
            if chance.random() < 0.5:
                following = now + timedelta(hours=1)
                with suppress(NoSuchMessage):  # whose it was may have ended it just now
                    await week.spool.begin_attempt(message.id, message.pending(), following)
        if chance.random() < 0.5:
            await week.spool.recover(now, ["worker-1"])
