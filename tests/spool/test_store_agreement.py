"""Whatever is done in whatever order, both stores say the same of what they hold."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from filterrelay.errors import FilterRelayError
from filterrelay.spool import codec
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.selection import Selection
from filterrelay.spool.sqlite import SqliteSpool
from filterrelay.spool.store import (
    Lease,
    RecipientState,
    Settlement,
    State,
    StoredMessage,
    StoredRecipient,
)

from .deposits import MINUTE, StandingClock, deposit, stored

_HOPS = ("provider", "backup", "mx:a.example", "mx:b.example")
_REDIRECTIONS = ("backup", "", "reject:We moved: x")
_STEPS = 40
_EVERYTHING = Selection(states=tuple(State))


class Play:
    """The same changes to both stores, drawn by lot. known: messages as somebody last saw them."""

    def __init__(self, seed: int, file: Path) -> None:
        self.lot = random.Random(seed)  # repeatable, not secret
        self.clock = StandingClock()
        self.file = file
        self.memory = MemorySpool(self.clock)
        self.sqlite = SqliteSpool(file, self.clock, large=1024)
        self.known: dict[str, StoredMessage] = {}

    async def both(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """The one answer, or kind of error, that both give."""
        answers = []
        for spool in (self.memory, self.sqlite):
            try:
                answers.append(await getattr(spool, verb)(*arguments, **options))
            except FilterRelayError as error:
                answers.append(type(error))
        assert answers[0] == answers[1], (verb, arguments)
        return answers[0]

    async def step(self) -> None:
        """One change, some time after the last."""
        self.clock.time += timedelta(seconds=self.lot.choice((1, 30, 600)))
        kinds = (self.arrive, self.deliver, self.deliver, self.operate)
        await self.lot.choice(kinds)(self.clock.time)

    async def arrive(self, now: datetime) -> None:
        """A new message, fresh with somebody's lease or due."""
        to = [f"r{n}@partner.example" for n in range(self.lot.randint(1, 3))]
        lease = self.lot.choice((None, Lease("A", now + 10 * MINUTE)))
        message = stored(f"M{len(self.known):02}", to, received=now, lease=lease)
        self.known[message.id] = message
        await self.both("commit", deposit(message))

    async def deliver(self, now: datetime) -> None:
        """What workers do, with what they know."""
        owner, until = self.lot.choice("AB"), now + 10 * MINUTE
        match self.lot.choice(("lease", "early", "begin", "settle", "settle", "recover", "renew")):
            case "lease":
                rooms = {hop: self.lot.choice((0, 100)) for hop in self.lot.sample(_HOPS, 2)}
                for message in await self.both("lease", owner, now, until, 1000, rooms):
                    self.known[message.id] = message
            case "early":
                rooms = dict.fromkeys(self.lot.sample(_HOPS, 2), 100)
                early = [
                    sorted(await spool.lease_unreached(owner, now, until, rooms, 1), key=_id)
                    for spool in (self.memory, self.sqlite)
                ]
                assert early[0] == early[1]
                self.known |= {message.id: message for message in early[0]}
            case "begin":
                for message in self.some():
                    tried = [r for r in message.recipients if self.lot.random() < 0.7]
                    await self.both("as_leased", message.id, tried)
                    await self.both("begin_attempt", message.id, tried, now + 15 * MINUTE)
            case "settle":
                for message in self.some():
                    await self.both("settle", self.result(message, now))
            case "recover":
                await self.both("recover", now, [owner])
            case "renew":
                await self.both("renew", owner, self.ids(), now + 20 * MINUTE)

    async def operate(self, now: datetime) -> None:
        """What an operator does."""
        match self.lot.choice(("hold", "release", "retry", "redirect", "redirect", "delete")):
            case "hold":
                await self.both("hold", self.ids(), "why", now)
            case "redirect":
                await self.both("redirect", self.ids(), self.lot.choice(_REDIRECTIONS), now)
            case "delete":
                await self.both("delete", self.ids()[:1], now)
            case verb:
                await self.both(verb, self.ids(), now)

    def some(self) -> list[StoredMessage]:
        """Up to three messages, of which some may be gone."""
        return [self.known[id_] for id_ in self.ids()]

    def ids(self) -> list[str]:
        """The same by ID."""
        return self.lot.sample([*self.known], min(len(self.known), 3))

    def result(self, message: StoredMessage, now: datetime) -> Settlement:
        """What may become of an attempt for some recipients."""
        hop = self.lot.choice(_HOPS)

        def after(recipient: StoredRecipient) -> StoredRecipient:
            state = self.lot.choice((RecipientState.QUEUED, *RecipientState))
            waits = state is RecipientState.QUEUED
            return replace(
                recipient,
                state=state,
                attempts=recipient.attempts + 1,
                next_attempt=now + 15 * MINUTE if waits else None,
                last_reply="451 4.4.1 refused",
                upstream=hop,
                unreached=waits and self.lot.random() < 0.6,
            )

        tried = [after(r) for r in message.pending() if self.lot.random() < 0.7]
        owner = self.lot.choice((message.owner, ""))
        release = self.lot.random() < 0.8
        return Settlement(message.id, tuple(tried), release=release, owner=owner)

    async def compare(self) -> None:
        """Both hold the same, and the columns that are looked for are those of the recipients."""
        now = self.clock.time
        held: Sequence[StoredMessage] = await self.both("select", _EVERYTHING, now)
        await self.both("places", _EVERYTHING, now)
        await self.both("depth")
        summed = [await spool.backlogs() for spool in (self.memory, self.sqlite)]
        assert {*summed[0]} == {*summed[1]}
        with closing(sqlite3.connect(self.file)) as connection:
            rows = {id_: row for id_, *row in connection.execute(_COLUMNS)}
        for message in held:
            hops = message.hops()
            waits_for = next(iter(hops)) if len(hops) == 1 else ""
            unreached = next((r.upstream for r in message.pending() if r.unreached), "")
            assert rows[message.id] == [codec.due(message.recipients), waits_for, unreached]


_COLUMNS = "SELECT id, due, hop, unreached FROM message"


def _id(message: StoredMessage) -> str:
    return message.id


@pytest.mark.parametrize("seed", range(6))
async def test_both_stores_agree(tmp_path: Path, seed: int) -> None:
    """After every change of a long day."""
    play = Play(seed, tmp_path / "spool.sqlite")
    await play.sqlite.open()
    try:
        for _ in range(_STEPS):
            await play.step()
            await play.compare()
    finally:
        await play.sqlite.close()
