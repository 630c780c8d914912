"""What the spool knows of mail that came back without a result."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from filterrelay.delivery.lane import Flight, Lane, Part
from filterrelay.delivery.memory import Commons
from filterrelay.delivery.returns import Returns
from filterrelay.observe.budget import MemoryBudget
from filterrelay.plugin.testing import FakeClock
from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.store import Deposit, Settlement, SpoolUnavailable, StoredRecipient

from .hop import BODY, LEASE, TO_PROVIDER, FakeHop, a_stored_message

SOON = FakeClock().now() + LEASE / 2


@pytest.fixture
def spool() -> MemorySpool:
    """An empty one."""
    return MemorySpool(FakeClock())


async def a_part(spool: MemorySpool, *, counted: bool = False) -> Part:
    """The only part of a message, tried once before; or twice, as the spool knows when counted."""
    message = a_stored_message()
    tried = tuple(replace(each, attempts=1) for each in message.recipients)
    message = replace(message, recipients=tried)
    await spool.commit(Deposit(message, BODY))
    if counted:
        await spool.begin_attempt("ID", message.recipients, SOON)
    flight = Flight(message, SOON, False, MemoryBudget(1).reservation(), unsettled=1, parts=1)
    return Part(
        flight,
        Lane(FakeHop(), 1, Commons(1000)),
        TO_PROVIDER,
        message.recipients,
        0.0,
        counted=counted,
    )


async def after(spool: MemorySpool, returns: Returns) -> StoredRecipient:
    """What the spool says of the recipient then; the lease has ended."""
    await returns.flush()
    message = await spool.get("ID")
    assert message.lease is None
    return message.recipients[0]


async def test_what_nobody_began_with_waits_for_its_next_hop(spool: MemorySpool) -> None:
    """It wasn't tried, and the spool knows now which lane it is for."""
    told: list[bool] = []
    returns = Returns(spool, lambda: told.append(True), FakeClock())
    returns.untried(await a_part(spool), SOON, "451 4.4.1 refused")
    stored = await after(spool, returns)
    assert (stored.attempts, stored.next_attempt, stored.upstream) == (1, SOON, "provider")
    assert (stored.last_reply, told) == ("451 4.4.1 refused", [True])


@pytest.mark.parametrize("counted", [False, True])
async def test_an_attempt_that_was_cut_off_counts_once(spool: MemorySpool, counted: bool) -> None:
    """Whether the spool had counted it when it began, or not."""
    returns = Returns(spool, lambda: None, FakeClock())
    returns.cut_off(await a_part(spool, counted=counted), SOON)
    stored = await after(spool, returns)
    assert (stored.attempts, stored.next_attempt) == (2, SOON)


async def test_what_an_operator_did_stays(spool: MemorySpool) -> None:
    """Given back as it is, only the lease ends."""
    returns = Returns(spool, lambda: None, FakeClock())
    part = await a_part(spool)
    before = (await spool.get("ID")).recipients[0]
    returns.as_it_is(part)
    assert await after(spool, returns) == before


async def test_one_that_cant_be_returned_stops_no_other(
    spool: MemorySpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again until it can be, or its lease has run out by itself."""
    clock = FakeClock()
    returns, settled, failing = Returns(spool, lambda: None, clock), list[str](), {"BAD", "WORSE"}

    async def settle(settlement: Settlement) -> None:
        await asyncio.sleep(0)
        if settlement.message_id in failing:
            raise SpoolUnavailable("disk")
        settled.append(settlement.message_id)

    monkeypatch.setattr(spool, "settle", settle)
    ids: Sequence[str] = ["A", "BAD", "WORSE", *(f"M{n}" for n in range(100))]
    for id_ in ids:
        message = replace(a_stored_message(), id=id_)
        returns.message(Flight(message, SOON, False, MemoryBudget(1).reservation()))
    await returns.flush()
    assert settled == [id_ for id_ in ids if id_ not in failing]
    failing.remove("BAD")
    await returns.flush()
    assert settled[-1] == "BAD"
    clock.advance(SOON - clock.now())
    await returns.flush()
    failing.clear()
    await returns.flush()
    assert "WORSE" not in settled
