"""A call that is begun at once is like one that is awaited."""

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest

from filterrelay.chain.begun import Begun


async def test_what_never_waits_is_done_at_once() -> None:
    """Nobody need await it, and who does gets its answer, too."""

    async def call() -> str:
        return "done"

    begun = Begun(call())
    assert not begun.waits
    assert begun.answer == await begun == "done"


async def test_what_waits_goes_on_when_it_is_awaited() -> None:
    """Several times, for futures, tasks and the loop's next turn."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def other() -> str:
        await asyncio.sleep(0)
        return "two"

    async def call() -> list[str]:
        one = await answer
        return [one, await asyncio.create_task(other()), await other()]

    begun = Begun(call())
    assert begun.waits
    asyncio.get_running_loop().call_soon(answer.set_result, "one")
    assert await begun == ["one", "two", "two"]
    assert not begun.waits


def test_what_fails_at_once_fails_where_it_is_begun() -> None:
    """As the call itself would."""

    async def call() -> None:
        raise LookupError("at once")

    with pytest.raises(LookupError, match="at once"):
        Begun(call())


async def test_what_fails_later_fails_where_it_is_awaited() -> None:
    """What it waited for may be the reason, and it may catch that."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def call() -> str:
        try:
            return await answer
        except LookupError:
            await asyncio.sleep(0)
            raise ValueError("in its own words") from None

    begun = Begun(call())
    answer.set_exception(LookupError("elsewhere"))
    with pytest.raises(ValueError, match="own words"):
        await begun


async def test_a_cancellation_gets_in() -> None:
    """It may clean up, with waits of its own, and is cancelled then."""
    cleaned = False

    async def call() -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned = True

    async def caller() -> None:
        await Begun(call())

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned


async def test_a_time_limit_holds_for_what_waits() -> None:
    """It need not have been there at the beginning."""
    begun = Begun(asyncio.sleep(60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await begun


async def test_a_call_that_was_stopped_holds_nothing() -> None:
    """Its message, which may be large, is gone without the garbage collector."""

    class Mail:
        pass

    async def call(mail: Mail) -> None:
        await asyncio.sleep(60)

    mail = Mail()
    left = weakref.ref(mail)
    gc.disable()
    try:
        with suppress(TimeoutError):  # pytest.raises would itself hold it
            async with asyncio.timeout(0.01):
                await Begun(call(mail))
        del mail
        await asyncio.sleep(0)  # till then the loop itself holds what it threw in
        assert left() is None
    finally:
        gc.enable()
