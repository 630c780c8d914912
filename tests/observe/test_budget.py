"""The memory budget: what doesn't fit waits, and nothing is lost of it."""

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


async def test_who_can_do_without_needs_not_wait() -> None:
    """Asked for what is there now, the answer is yes or no."""
    budget = MemoryBudget(100)
    first, beyond, late = (budget.reservation() for _ in range(3))
    assert first.try_grow(100)
    assert first.try_grow(50)
    assert beyond.try_grow(100)
    assert not late.try_grow(1)
    assert budget.used == 200


async def test_more_than_fits_waits_until_somebody_gives_back() -> None:
    """A message waits for memory rather than being refused at once."""
    budget = MemoryBudget(100)
    first, beyond, late = (budget.reservation() for _ in range(3))
    await first.grow(80, timeout=0)
    await beyond.grow(50, timeout=0)
    waiting = asyncio.create_task(late.grow(30, timeout=10))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert budget.short
    first.release()
    await waiting
    assert (budget.used, budget.short) == (80, False)


async def test_waiting_ends_in_time_and_takes_nothing() -> None:
    """When memory stays spent, the client is told to come later."""
    budget = MemoryBudget(100)
    first, beyond, late = (budget.reservation() for _ in range(3))
    await first.grow(100, timeout=0)
    await beyond.grow(1, timeout=0)
    with pytest.raises(TimeoutError):
        await late.grow(1, timeout=0.001)
    assert (budget.used, budget.short) == (101, False)


async def test_small_ones_pass_a_big_one_that_waits_and_dont_starve_it() -> None:
    """What fits goes on; the big one is the next to go beyond, however many small ones come."""
    budget = MemoryBudget(100)
    held, beyond, big = (budget.reservation() for _ in range(3))
    await held.grow(50, timeout=0)
    await beyond.grow(80, timeout=0)
    big_waits = asyncio.create_task(big.grow(90, timeout=10))
    await asyncio.sleep(0)
    small = [budget.reservation() for _ in range(5)]
    for each in small:
        await each.grow(10, timeout=0)
    one_too_many = asyncio.create_task(budget.reservation().grow(10, timeout=10))
    await asyncio.sleep(0)
    assert not big_waits.done()
    beyond.release()
    await big_waits
    assert not one_too_many.done()
    small[0].release()
    await one_too_many
    assert budget.used == 50 + 90 + 50


async def test_one_that_gives_up_leaves_the_others_their_places() -> None:
    """A client that leaves while waiting holds nobody up."""
    budget = MemoryBudget(100)
    held, beyond, *late = (budget.reservation() for _ in range(4))
    await held.grow(100, timeout=0)
    await beyond.grow(100, timeout=0)
    leaves, stays = (asyncio.create_task(each.grow(50, timeout=10)) for each in late)
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    held.release()
    await stays
    assert budget.used == 150


async def test_a_message_larger_than_the_whole_budget_passes() -> None:
    """However many workers share the memory; beside it the small ones keep to the budget."""
    budget = MemoryBudget(100)
    huge, other = budget.reservation(), budget.reservation()
    for octets in range(100, 600, 100):
        await huge.grow(octets, timeout=0)
    await budget.reservation().grow(100, timeout=0)
    with pytest.raises(TimeoutError):
        await other.grow(500, timeout=0.001)
    huge.release()
    await other.grow(500, timeout=0)
    assert budget.used == 600


async def test_before_anybody_waits_others_are_asked_to_give_back() -> None:
    """Memory that is held for comfort only is not what a client waits for."""
    budget = MemoryBudget(100)
    comfort, needed, late = (budget.reservation() for _ in range(3))
    await comfort.grow(90, timeout=0)
    await needed.grow(90, timeout=0)
    asked: list[int] = []

    def relief(octets: int) -> None:
        asked.append(octets)
        comfort.release()

    budget.relief = relief
    await late.grow(60, timeout=0)
    assert (asked, budget.used) == ([60], 150)


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
    held, beyond, waiter = (budget.reservation() for _ in range(3))
    await held.grow(100, timeout=0)
    await beyond.grow(100, timeout=0)
    task = asyncio.create_task(waiter.grow(50, timeout=10))
    for step in range(6):
        if step == moment:
            task.cancel()
        if step == 3:
            held.release()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    waiter.release()
    held.release()
    beyond.release()
    assert budget.used == 0
    await budget.reservation().grow(100, timeout=0)
