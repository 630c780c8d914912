"""A spool with some mail in it, for the commands that act on stored messages."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from filterrelay.observe.clock import SystemClock
from filterrelay.plugin.testing import a_session, an_envelope
from filterrelay.spool.opening import open_spool
from filterrelay.spool.store import Deposit, Spool, State, StoredMessage, StoredRecipient

T = TypeVar("T")

BODY = b"Subject: Lunch \x1b[31m\r\nFrom: alice@office.example\r\n\r\nHello.\r\n"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
ALICE, BOB, SPAM = "1M82V35Y0T9CKAJY1", "1M82V35Y0T9CKAJY2", "1M82V35Y0T9CKAJY3"


def in_spool(configuration: Path, work: Callable[[Spool], Coroutine[Any, Any, T]]) -> T:
    """What work says of the configuration's spool."""

    async def opened() -> T:
        spool = open_spool(
            "sqlite:///spool.sqlite",
            configuration.parent / "state",
            free_space=0,
            metrics=None,
            clock=SystemClock(),
        )
        await spool.open()
        try:
            return await work(spool)
        finally:
            await spool.close()

    return asyncio.run(opened())


def state_of(configuration: Path, id_: str) -> str:
    """Where the message stands; empty when it is gone."""

    async def ask(spool: Spool) -> str:
        found = [m for s in State for m in await _all(spool, s) if m.id == id_]
        return found[0].state.value if found else ""

    return in_spool(configuration, ask)


async def _all(spool: Spool, state: State) -> list[StoredMessage]:
    from filterrelay.spool.selection import Selection

    return await spool.select(Selection(states=(state,)), datetime.now(UTC))


def fill(configuration: Path) -> None:
    """One message deferred an hour ago, one new, and one that a filter caught."""
    now = datetime.now(UTC)

    def message(id_: str, sender: str, age: timedelta, **changes: Any) -> StoredMessage:
        envelope = an_envelope(sender)
        recipient = StoredRecipient(
            *(0, envelope.recipients[0]),
            attempts=1,
            next_attempt=now + timedelta(minutes=10),
            last_reply="450 4.2.0 Greylisted",
            upstream="provider",
        )
        facts = a_session(login="alice").facts()
        stored = StoredMessage(id_, now - age, envelope, facts, len(BODY + GTUBE), (recipient,))
        return replace(stored, **changes)

    async def commit(spool: Spool) -> None:
        for stored in (
            message(ALICE, "alice@office.example", timedelta(hours=1)),
            message(BOB, "bob@shop.example", timedelta(0)),
            message(
                *(SPAM, "eve@elsewhere.example", timedelta(0)),
                state=State.QUARANTINED,
                reason="a program is attached",
                by="attachments",
            ),
        ):
            await spool.commit(Deposit(stored, BODY + GTUBE))

    in_spool(configuration, commit)
