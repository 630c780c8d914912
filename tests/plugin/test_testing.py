"""The test kit itself."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.plugin import DnsError, Message, Options, Secret, hook
from filterrelay.plugin.testing import (
    FakeClock,
    FakeResolver,
    a_message,
    running,
    within_cpu_budget,
    without_blocking,
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


async def test_a_plugin_that_blocks_fails_its_test() -> None:
    """Sleeping takes no CPU time, and yet all other sessions wait for it."""
    with pytest.raises(AssertionError, match="the event loop stood still for"):
        async with without_blocking(milliseconds=100):
            time.sleep(0.3)  # noqa: ASYNC251  # the fault


async def test_a_plugin_that_waits_for_its_daemon_blocks_nobody() -> None:
    """The loop turns on meanwhile."""
    async with without_blocking(milliseconds=200):
        await asyncio.sleep(0.3)


class Settings(Options):
    """Options that are called as the kit's own parameters are, and a secret."""

    clock: str = ""
    """A word."""
    options: str = ""
    """Another."""
    key: Secret | None = None
    """A secret."""


class Takes:
    """Keeps its options."""

    options_type = Settings

    def __init__(self, options: Settings) -> None:
        self.options = options

    @hook
    async def on_message(self) -> None: ...


async def test_an_option_may_have_any_name() -> None:
    """Also one that the kit uses for something else."""
    given = {"clock": "sundial", "options": "many"}
    async with running(Takes, clock=FakeClock(), options=given) as plugin:
        assert (plugin.options.clock, plugin.options.options) == ("sundial", "many")


async def test_secrets_are_read_from_files_as_the_relay_does(tmp_path: Path) -> None:
    """A plugin is tested with the options that its users write."""
    (tmp_path / "key").write_text("sesame\n")
    async with running(Takes, base_dir=tmp_path, key_file="key") as plugin:
        assert plugin.options.key.get_secret_value() == "sesame"


def test_a_built_message_has_what_was_asked_for() -> None:
    """Usual fields, changed and left out ones."""
    message = a_message("Hi\n", subject="Test", date="")
    assert message.get("subject") == "Test"
    assert not message.all("date")
    assert message.body == b"Hi\r\n"
