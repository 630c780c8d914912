"""The test kit itself."""

import asyncio
from datetime import timedelta

import pytest

from filterrelay.plugin import DnsError, Message, Options, hook
from filterrelay.plugin.testing import (
    FakeClock,
    FakeResolver,
    a_message,
    running,
    within_cpu_budget,
)


def test_the_clock_goes_on_when_told() -> None:
    """Wall clock and durations together."""
    clock = FakeClock()
    before = clock.now()
    clock.advance(timedelta(seconds=5))
    assert clock.now() - before == timedelta(seconds=5)
    assert clock.monotonic() == 5


async def test_the_dns_knows_what_it_was_given() -> None:
    """Names in any case, with or without the final dot; what fails, fails."""
    resolver = FakeResolver(
        {("Office.example", "MX"): [(10, "mx.office.example")]}, ["down.example"]
    )
    assert list(await resolver.lookup("office.EXAMPLE.", "MX")) == [(10, "mx.office.example")]
    assert not await resolver.lookup("office.example", "TXT")
    with pytest.raises(DnsError):
        await resolver.lookup("down.example", "A")
    assert resolver.asked[0] == ("office.example", "MX")


class Leaks:
    """Starts a task and forgets it."""

    def __init__(self, options: Options) -> None: ...

    @hook
    async def on_message(self, message: Message) -> None:
        self.task = asyncio.create_task(asyncio.sleep(60))


async def test_a_plugin_that_leaves_tasks_behind_fails_its_test() -> None:
    """A leak is found before it is in production."""
    with pytest.raises(AssertionError, match="left tasks behind"):
        async with running(Leaks) as plugin:
            await plugin.on_message(a_message())
    plugin.task.cancel()


def test_a_slow_plugin_fails_its_test() -> None:
    """CPU time counts, not waiting."""
    with pytest.raises(AssertionError, match="ms of CPU"), within_cpu_budget(milliseconds=1):
        sum(range(3_000_000))


def test_a_built_message_has_what_was_asked_for() -> None:
    """Usual fields, changed and left out ones."""
    message = a_message("Hi\n", subject="Test", date="")
    assert message.get("subject") == "Test"
    assert not message.all("date")
    assert message.body == b"Hi\r\n"
