"""The store in memory: the contract holds it; this is what it does beyond."""

from filterrelay.spool.memory import MemorySpool

from .deposits import BODY, StandingClock, deposit, stored


async def test_a_test_may_close_it_and_look_again(clock: StandingClock) -> None:
    """Mail stays for the length of the process, so that a test can play a restart."""
    spool = MemorySpool(clock)
    await spool.open()
    await spool.commit(deposit(stored()))
    await spool.close()
    await spool.open()
    assert await spool.body("M1") == BODY
