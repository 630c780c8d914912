"""Connections are kept, used again, and never too many."""

import asyncio

from .far_side import Opener, codes, far_side, send, upstream_settings


async def test_a_connection_is_kept_for_the_next_message(open_upstream: Opener) -> None:
    """Ten messages go over one connection, greeted once."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side))
        for _ in range(10):
            await send(upstream)
        assert (side.connections, len(side.received)) == (1, 10)


async def test_no_more_connections_than_allowed(open_upstream: Opener) -> None:
    """The rest wait for their turn, and all get through."""
    async with far_side() as side:
        upstream = open_upstream(upstream_settings(side, connections=3))
        results = await asyncio.gather(*(send(upstream) for _ in range(30)))
        assert [codes(sent) for sent in results] == [["250 2.0.0"]] * 30
        assert side.connections == 3
