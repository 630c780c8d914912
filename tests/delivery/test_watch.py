"""The times of an attempt."""

from filterrelay.delivery.contact import Stage
from filterrelay.delivery.watch import Watch

from .far_side import Opener, far_side, send, upstream_settings


async def test_without_a_connection_all_time_was_waiting() -> None:
    """And there is nobody to name."""
    seen = Watch().seen(None, Stage.CONNECT)
    assert (seen.address, seen.kept, seen.took, seen.failed) == ("", False, 0.0, Stage.CONNECT)
    assert seen.waited >= 0.0


async def test_a_connection_that_was_there_before_is_known(open_upstream: Opener) -> None:
    """Its address, too."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        contacts = [(await send(upstream)).contact for _ in range(2)]
    assert [contact.kept for contact in contacts] == [False, True]
    assert {contact.address for contact in contacts} == {side.host}
