"""Plugins that are asked whether what they depend on answers."""

import asyncio
import math
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from filterrelay.chain import probing
from filterrelay.chain.probing import watch_plugins
from filterrelay.observe.metrics import Metrics

from .plugins import Answers, step


class Probed(Answers):
    """Depends on something; `answer` is what it says of it, or raises."""

    probes = 0

    async def probe(self) -> str:
        self.probes += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return "well"


class Hanging(Probed):
    """Gives no answer, and cannot be stopped, until it is let go."""

    def __init__(self, options: object) -> None:
        super().__init__(options)  # type: ignore[arg-type]  # the chain gives it its options
        self.gate = asyncio.Event()

    async def probe(self) -> str:
        self.probes += 1
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        return "late"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is short."""
    monkeypatch.setattr(probing, "EVERY", 0.01)
    monkeypatch.setattr(probing, "PATIENCE", 0.03)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """What is logged."""
    with capture_logs() as captured:
        yield captured


def up(metrics: Metrics, name: str = "first") -> float | None:
    """What the gauge says."""
    return metrics.registry.get_sample_value("filterrelay_plugin_up", {"plugin": name})


async def until(metrics: Metrics, value: float) -> None:
    """Returns when the gauge says that."""
    async with asyncio.timeout(5):
        while up(metrics) != value:  # noqa: ASYNC110  # a gauge sets no event
            await asyncio.sleep(0.005)


async def test_a_daemon_that_dies_shows_before_mail_meets_it(lines: list[EventDict]) -> None:
    """And one that is back; the log tells of each change once, whatever fails beside it."""
    metrics, sick, well = Metrics(), step(Probed), step(Probed, "other")
    watching = asyncio.create_task(watch_plugins([sick, well], metrics))
    await until(metrics, 1)
    sick.plugin.instance.answer = ConnectionRefusedError("nobody listens")
    await until(metrics, 0)
    asked = sick.plugin.instance.probes
    async with asyncio.timeout(5):
        while sick.plugin.instance.probes < asked + 3:  # noqa: ASYNC110  # it sets no event
            await asyncio.sleep(0.01)
    assert up(metrics, "other") == 1
    sick.plugin.instance.answer = None
    await until(metrics, 1)
    watching.cancel()
    assert [line["event"] for line in lines] == ["plugin_unavailable", "plugin_back"]
    assert lines[0]["reason"] == "ConnectionRefusedError: nobody listens"


async def test_what_was_known_is_told_no_longer_at_the_end() -> None:
    """After a reload without the plugin, nobody is woken because of it."""
    metrics, sick = Metrics(), step(Probed)
    sick.plugin.instance.answer = ConnectionRefusedError("nobody listens")
    watching = asyncio.create_task(watch_plugins([sick], metrics))
    await until(metrics, 0)
    watching.cancel()
    await asyncio.wait({watching})
    assert math.isnan(up(metrics) or 0.0)


async def test_a_warning_is_no_reason_to_call_it_down(lines: list[EventDict]) -> None:
    """Mail flows, which `filterrelay check` says, too."""
    metrics, warns = Metrics(), step(Probed)
    warns.plugin.instance.answer = UserWarning("nobody can log in")
    watching = asyncio.create_task(watch_plugins([warns], metrics))
    await until(metrics, 1)
    watching.cancel()
    assert not lines


async def test_a_probe_that_ends_itself_ends_nothing_else() -> None:
    """Whatever it raises, it is asked again."""
    metrics, odd = Metrics(), step(Probed)
    odd.plugin.instance.answer = asyncio.CancelledError()
    watching = asyncio.create_task(watch_plugins([odd], metrics))
    await until(metrics, 0)
    odd.plugin.instance.answer = None
    await until(metrics, 1)
    watching.cancel()


async def test_a_probe_that_hangs_is_down_and_not_asked_twice(lines: list[EventDict]) -> None:
    """However it clings to life, there is one of it at most."""
    metrics, hangs = Metrics(), step(Hanging)
    watching = asyncio.create_task(watch_plugins([hangs], metrics))
    await until(metrics, 0)
    await asyncio.sleep(0.1)
    assert hangs.plugin.instance.probes == 1
    assert lines[0]["reason"] == "no answer within 0.03 s"
    hangs.plugin.instance.gate.set()
    await until(metrics, 1)
    watching.cancel()


async def test_who_depends_on_nothing_has_no_gauge() -> None:
    """Nobody is to wonder what it would mean."""
    metrics = Metrics()
    await watch_plugins([step(Answers)], metrics)
    assert up(metrics) is None
