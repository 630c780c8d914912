"""The kit's fixtures come with the package, through pytest's entry point."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from filterrelay.plugin.testing import FakeClock, FakeResolver, a_message, a_session, an_envelope


async def test_they_are_there_without_an_import(
    fake_clock: FakeClock,
    fake_resolver: FakeResolver,
    running_plugin: Callable[..., AbstractAsyncContextManager[Any]],
) -> None:
    """Clock, DNS, and a plugin at work."""
    async with running_plugin("dkim", clock=fake_clock, resolver=fake_resolver) as plugin:
        verdict = await plugin.on_message(a_message())
    assert verdict.finding.result == "none"
    assert (a_session().esmtp, an_envelope().return_path) == (True, "alice@office.example")
