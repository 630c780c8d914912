"""The memory budget: more waits, first come, first served, and nothing is lost of it."""

import asyncio

import pytest

from filterrelay.observe.budget import MemoryBudget, Reservation


async def test_what_fits_is_given_at_once() -> None:
    """Reservations add up and are given back once."""
    budget = MemoryBudget(100)
    first = budget.reservation()
    await first.grow(60, timeout=0)
    await first.grow(70, timeout=0)
    assert budget.used == 70
    first.release()
    first.release()
    assert budget.used == 0


async def test_more_than_is_free_waits_until_somebody_gives_back() -> None:
    """A big message waits for memory rather than being refused at once."""
    budget = MemoryBudget(100)
    first, second = budget.reservation(), budget.reservation()
    await first.grow(80, timeout=0)
    waiting = asyncio.create_task(second.grow(50, timeout=10))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.release()
    await waiting
    assert budget.used == 50


async def test_waiting_ends_in_time_and_takes_nothing() -> None:
    """When memory stays spent, the client is told to come later."""
    budget = MemoryBudget(100)
    first, second = budget.reservation(), budget.reservation()
    await first.grow(100, timeout=0)
    with pytest.raises(TimeoutError):
        await second.grow(1, timeout=0.001)
    assert budget.used == 100
    first.release()
    assert budget.used == 0


async def test_a_small_one_does_not_overtake_a_big_one_that_waits() -> None:
    """A stream of small messages can't starve a big one."""
    budget = MemoryBudget(100)
    held, big, small = (budget.reservation() for _ in range(3))
    await held.grow(50, timeout=0)
    big_waits = asyncio.create_task(big.grow(80, timeout=10))
    await asyncio.sleep(0)
    small_waits = asyncio.create_task(small.grow(10, timeout=10))
    await asyncio.sleep(0)
    assert not small_waits.done()
    held.release()
    await asyncio.gather(big_waits, small_waits)
    assert budget.used == 90


async def test_one_that_gives_up_lets_the_next_go_on() -> None:
    """A client that leaves while waiting holds nobody up."""
    budget = MemoryBudget(100)
    held, big, small = (budget.reservation() for _ in range(3))
    await held.grow(50, timeout=0)
    big_waits = asyncio.create_task(big.grow(80, timeout=10))
    await asyncio.sleep(0)
    small_waits = asyncio.create_task(small.grow(10, timeout=10))
    await asyncio.sleep(0)
    big_waits.cancel()
    await asyncio.wait([big_waits])
    await small_waits
    assert budget.used == 60


async def test_one_message_may_be_larger_than_the_whole_budget() -> None:
    """It then takes all of it, alone."""
    budget = MemoryBudget(100)
    huge = budget.reservation()
    await huge.grow(500, timeout=0)
    with pytest.raises(TimeoutError):
        await budget.reservation().grow(1, timeout=0.001)
    huge.release()
    assert budget.used == 0


async def test_messages_that_grow_never_all_wait_for_each_other() -> None:
    """One after the other may go beyond the budget, and so all come to an end."""
    budget = MemoryBudget(100)
    growing = [budget.reservation() for _ in range(5)]
    for reservation in growing:
        await reservation.grow(20, timeout=0)
    most = 0

    async def arrive(reservation: Reservation) -> None:
        nonlocal most
        for octets in range(30, 110, 10):
            await reservation.grow(octets, timeout=10)
            most = max(most, budget.used)
            await asyncio.sleep(0)
        reservation.release()

    await asyncio.gather(*map(arrive, growing))
    assert budget.used == 0
    assert most <= 100 + 100


@pytest.mark.parametrize("moment", range(6))
async def test_a_time_out_at_the_moment_of_the_grant_loses_nothing(moment: int) -> None:
    """Whatever comes first, the octets are counted once."""
    budget = MemoryBudget(100)
    held, waiter = budget.reservation(), budget.reservation()
    await held.grow(100, timeout=0)
    task = asyncio.create_task(waiter.grow(50, timeout=10))
    for step in range(6):
        if step == moment:
            task.cancel()
        if step == 3:
            held.release()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    waiter.release()
    assert budget.used == 0
    await budget.reservation().grow(100, timeout=0)
